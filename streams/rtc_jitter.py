"""Jitter buffers that hand a frame on as soon as it is whole.

aiortc's buffer learns that a frame is complete from the first packet of the *next* frame, which adds a frame's time to
every picture (33 ms at 30 fps), and it collects four sound packets (80 ms) before it passes the first one on. Here

- a picture leaves on its last packet, which RTP marks (RFC 7741 section 4.1 for VP8, RFC 6184 section 5.1 for H.264);
- a sound packet leaves at once, and a missing one is waited for only as long as packets usually overtake each other;
- only whole frames leave, the first one a key frame. Where a packet stays missing, everything up to the next key frame
  is thrown away and a new key frame is asked for, instead of showing a smeared picture.

Both buffers are sans-I/O: time is what the packets' RTP time stamps say.
"""

from __future__ import annotations

from collections.abc import Callable

from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

MAX_LATE = 100
"""A packet that is older than this many is no straggler: the sender has begun anew."""
MAX_AHEAD = 3000
"""Nor is a jump this far ahead a loss."""
STAP_A, SPS = 24, 7
"""Types of H.264 packets and units (RFC 6184 table 1): several units in one, a key frame's parameters."""


class WholeFrame(JitterFrame):
    """One coded frame, put together from its packets."""

    def __init__(self, data: bytes, timestamp: int, payload_type: int) -> None:
        super().__init__(data, timestamp)
        self.payload_type = payload_type


def data_of(packet: RtpPacket) -> bytes:
    """What the packet carries of the coded frame; aiortc's receiver puts it there before the buffer sees the packet."""
    return packet._data  # type: ignore[attr-defined]  # set from outside, so no stub knows it


def unwrap(sequence: int, near: int) -> int:
    """The number that is ``sequence`` modulo 2**16 and closest to ``near``."""
    return near + ((sequence - near + 0x8000) & 0xFFFF) - 0x8000


def elapsed(newer: int, older: int) -> int:
    """RTP ticks from ``older`` to ``newer``, both modulo 2**32; negative where ``newer`` is the older one."""
    return ((newer - older + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def starts_key_frame(codec: str, payload: bytes) -> bool:
    """Whether this packet is the first of a picture that can be decoded without any before it.

    :param codec: ``VP8`` or ``H264``.
    """
    if codec == "VP8":
        try:
            head, data = VpxPayloadDescriptor.parse(payload)
        except ValueError:
            return False
        # The lowest bit of the frame header is 0 for a key frame (RFC 6386 section 9.1).
        return head.partition_start == 1 and head.partition_id == 0 and len(data) > 0 and not data[0] & 1
    if codec == "H264" and payload:
        kind = payload[0] & 0x1F
        if kind != STAP_A:
            return kind == SPS
        at = 1
        while at + 2 < len(payload):
            if payload[at + 2] & 0x1F == SPS:
                return True
            at += 2 + int.from_bytes(payload[at : at + 2], "big")
    return False


class SoundBuffer:
    """Puts sound packets in order; every packet is a frame.

    :param reorder: a missing packet is given up when one this many places later is there.
    """

    def __init__(self, reorder: int = 3) -> None:
        self._reorder = reorder
        self._packets: dict[int, RtpPacket] = {}
        self._next: int | None = None
        self._ssrc: int | None = None
        self.lost = 0

    def add(self, packet: RtpPacket) -> tuple[bool, WholeFrame | None]:
        """Take a packet; returns (False, the next frame in order or None). Call :meth:`more` until it has no other."""
        if self._next is None or packet.ssrc != self._ssrc:
            number = self._restart(packet)
        else:
            number = unwrap(packet.sequence_number, self._next)
            if not -MAX_LATE < number - self._next < MAX_AHEAD:
                number = self._restart(packet)
        assert self._next is not None
        if number >= self._next:
            self._packets[number] = packet
        if self._packets and self._next not in self._packets and max(self._packets) - self._next >= self._reorder:
            first = min(self._packets)
            self.lost += first - self._next
            self._next = first
        return False, self.more()

    def more(self) -> WholeFrame | None:
        """The next frame, if it is there."""
        if self._next is None or (packet := self._packets.pop(self._next, None)) is None:
            return None
        self._next += 1
        return WholeFrame(data_of(packet), packet.timestamp, packet.payload_type)

    def _restart(self, packet: RtpPacket) -> int:
        self._packets.clear()
        self._ssrc = packet.ssrc
        self._next = packet.sequence_number
        return packet.sequence_number


class PictureBuffer:
    """Puts the packets of pictures together.

    :param codec_of: payload type -> codec name (``VP8``, ``H264``).
    :param hold: RTP ticks (90 kHz) for which a missing packet is waited for; long enough for it to be sent again.
    """

    CAPACITY = 2048
    """Packets; more than any picture has."""
    ASK_EVERY = 45_000
    """RTP ticks between two requests for a key frame."""
    REORDER = 64
    """Packets kept while no key frame has begun: its first packet may be overtaken by others."""

    def __init__(self, codec_of: Callable[[int], str], hold: int = 22_500) -> None:
        self._codec_of = codec_of
        self._hold = hold
        self._packets: dict[int, RtpPacket] = {}
        self._ssrc: int | None = None
        self._next: int | None = None  # first packet of the frame that comes next; None = waiting for a key frame
        self._highest = 0
        self._newest = 0
        self._asked: int | None = None
        self.lost = 0

    def add(self, packet: RtpPacket) -> tuple[bool, WholeFrame | None]:
        """Take a packet; returns (whether to ask for a key frame, a whole frame or None). Then call :meth:`more`."""
        if packet.ssrc != self._ssrc:
            self._restart(packet)
        number = unwrap(packet.sequence_number, self._highest)
        if not -MAX_AHEAD < number - self._highest < MAX_AHEAD:
            self._restart(packet)
            number = packet.sequence_number
        if number >= self._highest:
            self._highest, self._newest = number, packet.timestamp
        if self._next is not None and number < self._next:
            if self._next - number >= MAX_LATE:
                self._restart(packet)
                number = packet.sequence_number
            else:
                return False, None  # too late, or here twice
        self._packets[number] = packet
        if self._next is None:
            if self._is_key_start(packet):
                self._begin(number)
            else:
                self._forget(self._highest - self.REORDER)
        frame = self.more()
        if frame is None and self._next is not None and self._hopeless():
            self._give_up()
        return self._must_ask(), frame

    def more(self) -> WholeFrame | None:
        """The next whole frame, if it is there."""
        if self._next is None:
            return None
        # A sender that probes for bandwidth sends packets of padding between the frames.
        while (first := self._packets.get(self._next)) is not None and not data_of(first):
            del self._packets[self._next]
            self._next += 1
        if first is not None and (frame := self._take(self._next)):
            return frame
        # Something is missing. A whole key frame further on makes it pointless to wait.
        for number in sorted(n for n, p in self._packets.items() if n > self._next and self._is_key_start(p)):
            skipped = number - self._next
            if frame := self._take(number):
                self.lost += skipped
                return frame
        return None

    def _take(self, start: int) -> WholeFrame | None:
        """The frame that begins at ``start``, if all its packets are there; it and all before it leave the buffer."""
        first = self._packets[start]
        parts: list[bytes] = []
        at = start
        while (packet := self._packets.get(at)) is not None:
            if packet.timestamp != first.timestamp:
                break  # a sender that does not mark the last packet
            parts.append(data_of(packet))
            at += 1
            if packet.marker:
                break
        else:
            return None
        self._begin(at)
        return WholeFrame(b"".join(parts), first.timestamp, first.payload_type)

    def _is_key_start(self, packet: RtpPacket) -> bool:
        return bool(packet.payload) and starts_key_frame(self._codec_of(packet.payload_type), packet.payload)

    def _hopeless(self) -> bool:
        if not self._packets:
            return False
        waiting = elapsed(self._newest, self._packets[min(self._packets)].timestamp)
        return waiting > self._hold or len(self._packets) > self.CAPACITY

    def _give_up(self) -> None:
        self.lost += 1
        assert self._next is not None
        keys = [n for n, p in self._packets.items() if n > self._next and self._is_key_start(p)]
        self._next = None
        self._asked = None
        if keys:
            self._begin(max(keys))  # it has begun already
        else:
            self._packets.clear()

    def _must_ask(self) -> bool:
        if self._next is not None:
            return False
        if self._asked is not None and 0 <= elapsed(self._newest, self._asked) < self.ASK_EVERY:
            return False
        self._asked = self._newest
        return True

    def _begin(self, number: int) -> None:
        self._next = number
        self._forget(number)

    def _forget(self, before: int) -> None:
        for number in [n for n in self._packets if n < before]:
            del self._packets[number]

    def _restart(self, packet: RtpPacket) -> None:
        self._packets.clear()
        self._ssrc = packet.ssrc
        self._next = None
        self._asked = None
        self._highest, self._newest = packet.sequence_number, packet.timestamp
