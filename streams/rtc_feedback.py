"""Transport-wide feedback: when every packet arrived, as browsers report it (draft-holmer-rmcat-transport-wide-cc-01).

Chromium has stopped sending estimates of its own (REMB), so without this a browser's network is not known at all.
Every packet of the pictures carries a number; the receiver answers several times a second with which of them came and
when. From that follow what goes through, what is lost, and what waits in a queue on the way. No I/O, told the time.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap

URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
RTPFB, FORMAT = 205, 15
"""RTCP packet type and message type of a feedback."""
TICK_S, REFERENCE_S = 0.00025, 0.064
"""Units of the differences between arrivals, and of the time that they begin from."""
ALL = 0.9
"""Share of lost packets above which the network was away, which says nothing of what it carries."""


def agree(
    extensions: list[RTCRtpHeaderExtensionParameters],
    codecs: list[RTCRtpCodecParameters],
    offered: list[RTCRtpHeaderExtensionParameters],
    offered_codecs: list[RTCRtpCodecParameters],
) -> bool:
    """Add to what was agreed with a peer that it sends this feedback, if it has offered to; whether it has."""
    able = {codec.payloadType for codec in offered_codecs for kind in codec.rtcpFeedback if kind.type == "transport-cc"}
    found = [extension for extension in offered if extension.uri == URI]
    if not found or not any(codec.payloadType in able for codec in codecs):
        return False
    extensions.append(found[0])
    for codec in codecs:
        if codec.payloadType in able:
            codec.rtcpFeedback.append(RTCRtcpFeedback(type="transport-cc"))
    return True


class Numbered(HeaderExtensionsMap):
    """Gives every packet that is written the next number."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0
        self.written: int | None = None
        """The number of the packet that was written last, until :meth:`take`."""

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        self.written = values.transport_sequence_number = self._next
        self._next = (self._next + 1) % 65536
        written: tuple[int, bytes] = super().set(values)
        return written

    def take(self) -> int | None:
        """The number of the packet that goes out now; None for what carries none."""
        number, self.written = self.written, None
        return number


def feedbacks(data: bytes) -> Iterator[bytes]:
    """The transport-wide feedbacks in a compound RTCP packet, each from its base number on."""
    at = 0
    while at + 4 <= len(data):
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 * (words + 1)
        if end > len(data):
            return
        if kind == RTPFB and first & 31 == FORMAT and end - at >= 20:
            yield data[at + 12 : end]
        at = end


def arrivals(data: bytes) -> list[tuple[int, float | None]]:
    """(number, seconds of the receiver's clock modulo about 12 days, None = has not come) of each packet in a feedback.

    Raises ValueError for one that is cut off.
    """
    try:
        base, count, reference = struct.unpack_from("!HHI", data)
        statuses, at = _statuses(data, count)
        time = (reference >> 8) * REFERENCE_S
        found: list[tuple[int, float | None]] = []
        for n, status in enumerate(statuses):
            number = (base + n) % 65536
            if status not in (1, 2):
                found.append((number, None))
                continue
            (ticks,) = struct.unpack_from("!B" if status == 1 else "!h", data, at)
            at += status
            time += ticks * TICK_S
            found.append((number, time))
    except struct.error:
        raise ValueError("a feedback is cut off") from None
    return found


def _statuses(data: bytes, count: int) -> tuple[list[int], int]:
    """0 = has not come, 1 and 2 = came, with so many bytes for the time; and where the times begin."""
    found: list[int] = []
    at = 8
    while len(found) < count:
        (chunk,) = struct.unpack_from("!H", data, at)
        at += 2
        if not chunk >> 15:  # a run of one status
            found += [chunk >> 13 & 3] * min(chunk & 0x1FFF, count - len(found))
            if not chunk & 0x1FFF:
                raise ValueError("a feedback has an empty run")
        elif chunk >> 14 & 1:  # seven of two bits
            found += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:  # fourteen of one
            found += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    return found[:count], at


@dataclass(frozen=True, slots=True)
class Measured:
    """What the packets of the last while have met. Sizes are those on the wire, with the headers of IP and UDP."""

    sent: float
    """Bits a second."""
    through: float
    """Bits a second that arrived."""
    lost: float
    """Share of the packets."""
    queue: float
    """Seconds that even the fastest of them took longer than the fastest of :data:`Flight.REMEMBERED_S`."""
    queue_now: float = 0.0
    """The same of the latest of them: sooner to know, and less certain."""
    carries: float | None = None
    """Bits a second at which packets came out of a queue that stood; None where none did."""
    since: float = float("inf")
    """When the first of the packets went out."""
    latest: float = float("inf")
    """When the first of those that :attr:`queue_now` is about went out."""
    under_way: float = 0.0
    """Bits that went out after the last packet of which something is known."""


class Flight:
    """The packets on their way to one receiver."""

    WINDOW_S = 0.4
    """What rates and losses are made of."""
    LATEST_S, LATEST = 0.1, 3
    """What is the latest: the packets of so long, and so many of them. A stall of the receiver, a gust of jitter or a
    large picture delays some; a queue on the way all."""
    QUEUED_S = 0.03
    """Packets that take so much longer than the fastest stood in a queue."""
    HEADERS = 38
    """Bytes that every packet has on the wire besides its RTP: IPv4, UDP, and the seal of SRTP."""
    REMEMBERED_S = 20.0
    WRAP_S = (1 << 24) * REFERENCE_S

    def __init__(self) -> None:
        self._sent: dict[int, tuple[float, int]] = {}
        self._window: list[tuple[float, int, float | None]] = []
        self._fastest: deque[tuple[float, float]] = deque()
        self._newest: float | None = None

    def leave(self, number: int, size: int, now: float) -> None:
        """Packet ``number`` of ``size`` bytes goes out."""
        self._sent.pop(number, None)
        self._sent[number] = now, size + self.HEADERS
        while len(self._sent) > 4096:
            del self._sent[next(iter(self._sent))]

    def heard(self, found: list[tuple[int, float | None]], now: float) -> Measured | None:
        """Take a feedback: what the packets up to it have met; None where they are too few. What is reported twice
        counts once."""
        known = [(*out, self._unwrapped(at)) for number, at in found if (out := self._sent.pop(number, None))]
        if not known:
            return None
        newest = known[-1][0]
        self._window = [packet for packet in self._window if packet[0] > newest - self.WINDOW_S] + known
        if newest - self._window[0][0] < self.LATEST_S:
            return None
        measured = self._measured(newest, now)
        if measured.lost >= ALL:
            self._window.clear()  # the network was away, and what follows is to be seen by itself
        return measured

    def _measured(self, newest: float, now: float) -> Measured:
        window = self._window
        came = [(left, size, arrived) for left, size, arrived in window if arrived is not None]
        span = max(newest - window[0][0], self.WINDOW_S)
        under_way = sum(size for left, size in self._sent.values() if left > newest)
        met = Measured(
            sent=8 * sum(size for _, size, _ in window) / span,
            through=0.0,
            lost=1 - len(came) / len(window),
            queue=0.0,
            since=window[0][0],
            under_way=8 * under_way,
        )
        if not came:
            return met
        times = [arrived for _, _, arrived in came]
        latest = [packet for packet in came if packet[0] >= newest - self.LATEST_S]
        latest = latest if len(latest) >= self.LATEST else came[-self.LATEST :]
        fastest = min(arrived - left for left, _, arrived in came)
        self._fastest.append((now, fastest))
        while now - self._fastest[0][0] > self.REMEMBERED_S:
            self._fastest.popleft()
        best = min(way for _, way in self._fastest)
        return replace(
            met,
            through=8 * sum(size for _, size, _ in came) / max(max(times) - min(times), span),
            queue=fastest - best,
            queue_now=min(arrived - left for left, _, arrived in latest) - best,
            carries=self._carries(came, best),
            latest=latest[0][0],
        )

    def _carries(self, came: list[tuple[float, int, float]], best: float) -> float | None:
        """Bits a second at which the last packets, all of which waited, came one after the other."""
        waited: list[tuple[float, int]] = []
        for left, size, arrived in reversed(came):
            if arrived - left - best < self.QUEUED_S:
                break
            waited.append((arrived, size))
        if len(waited) < self.LATEST + 1:
            return None
        waited.sort()
        passed = waited[-1][0] - waited[0][0]
        return 8 * sum(size for _, size in waited[1:]) / passed if passed >= self.LATEST_S else None

    def _unwrapped(self, arrived: float | None) -> float | None:
        if arrived is None:
            return None
        if self._newest is not None:
            arrived += round((self._newest - arrived) / self.WRAP_S) * self.WRAP_S
        self._newest = max(arrived, self._newest or arrived)
        return arrived
