"""What is changed in aiortc 1.16: connection by connection, nothing for the whole process.

==================================  ====================================================================================
aiortc                              here
==================================  ====================================================================================
a frame leaves when the next one    :mod:`avatar.streams.rtc_jitter`: it leaves on its marked last packet
begins; 80 ms of sound prefetched
x264 preset *medium*, low caps,     :mod:`avatar.streams.rtc_codecs`
Opus time stamps from zero
a sender report pairs the RTP time  :class:`LiveSender` pairs it with the media's own time on one line that sound and
of the last packet with the moment  picture share, so encoding time and queues do not shift the lips
it was sent
first report after 0.5-1.5 s        two more at the start: a browser synchronizes from each track's second report on
all packets of a picture at once    :class:`avatar.streams.rtc_rate.Pacer`: a key frame's are spread
whatever is asked for is sent again  :class:`avatar.streams.rtc_rate.Repeats`: within what goes through
a browser's feedback is not read      :mod:`avatar.streams.rtc_feedback`
only the receiver's estimate counts :class:`avatar.streams.rtc_rate.SendRate`: queues and losses do too
what is lost is sent again when     on a lossy network everything is sent twice (:class:`Losses`), so that hardly
the receiver has missed it          anything is missed: a picture that waits for its packets comes after its sound
==================================  ====================================================================================

The changes reach into private attributes, so :func:`check_aiortc` looks for every one of them before the first use.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from queue import Queue
from threading import Thread
from typing import Any

from aiortc import RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver, clock
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpparameters import RTCRtpParameters as Offered
from aiortc.rtcrtpreceiver import TimestampMapper
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import (
    RTP_HISTORY_SIZE,
    AnyRtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
)

from avatar.core.types import SECOND, Ns
from avatar.errors import RunError
from avatar.streams.rtc_codecs import live_encoder
from avatar.streams.rtc_feedback import Flight, Numbered, agree, arrivals, feedbacks
from avatar.streams.rtc_jitter import PictureBuffer, SoundBuffer, WholeFrame
from avatar.streams.rtc_rate import MOST, Pacer, Repeats
from avatar.streams.rtc_shared import Packer, Viewer

_SENDER_USES = (
    *("encoder", "ntp_timestamp", "rtp_timestamp", "packet_count", "octet_count"),
    *("rtp_history", "rtx_payload_type", "transport", "rtp_task", "lsr", "lsr_time"),
)
_RECEIVER_USES = ("jitter_buffer", "codecs", "decoder_queue", "decoder_thread", "timestamp_mapper")


@cache
def check_aiortc() -> None:
    """Raises RunError where the installed aiortc is not one whose insides we know."""
    found = version("aiortc")
    sender = set(RTCRtpSender.__init__.__code__.co_names) | set(RTCRtpSender._run_rtp.__code__.co_names)
    receiver = set(RTCRtpReceiver.__init__.__code__.co_names) | set(RTCRtpReceiver._handle_rtp_packet.__code__.co_names)
    missing = [name for name in _SENDER_USES if f"_RTCRtpSender__{name}" not in sender]
    missing += [name for name in _RECEIVER_USES if f"_RTCRtpReceiver__{name}" not in receiver]
    missing += [
        name
        for owner, name in (
            (RTCRtpSender, "_next_encoded_frame"),
            (RTCRtpSender, "_send_rtcp"),
            (RTCRtpSender, "_retransmit"),
            (RTCRtpSender, "_handle_rtcp_packet"),
            (RTCRtpSender, "_send_keyframe"),
            (RTCRtpReceiver, "_handle_rtp_packet"),
        )
        if not hasattr(owner, name)
    ]
    if missing or not found.startswith("1.16."):
        detail = f" (no {', '.join(missing)})" if missing else ""
        raise RunError(f"aiortc {found} is not supported{detail}; install it with: pip install 'aiortc>=1.16,<1.17'")


class NtpLine:
    """The session's timeline as RTCP writes time: seconds since 1900, 32 bits before and 32 after the point.

    All tracks of all peers share one line, so a receiver that compares sender reports gets back the session's times.
    """

    def __init__(self) -> None:
        self._zero: int | None = None

    def anchor(self, pts: Ns) -> None:
        """An item of this time is being sent now. Only the first call counts."""
        if self._zero is None:
            self._zero = clock.current_ntp_time() - (pts << 32) // SECOND

    def at(self, ticks: int, rate: int) -> int:
        """NTP time of the session time ``ticks / rate`` seconds; 0 before :meth:`anchor`."""
        return 0 if self._zero is None else self._zero + (ticks << 32) // rate


class LostShare:
    """What share of a stream gets lost, by the receiver's counters: a browser that misses something reports fifty times
    a second, and the share of the three packets since the last report says nothing."""

    WINDOW_S = 0.4

    def __init__(self) -> None:
        self._last: tuple[int, int, float] | None = None

    def since(self, highest: int, lost: int, now: float) -> float | None:
        """The share since a window ago; None while a window is not full.

        :param highest: highest number received, with wraps counted. :param lost: packets lost in all.
        """
        if self._last is None:
            self._last = highest, lost, now
            return None
        was, before, at = self._last
        if now - at < self.WINDOW_S or highest <= was:
            return None
        self._last = highest, lost, now
        return min(max((lost - before) / (highest - was), 0.0), 1.0)


class Losses:
    """Whether so many of a peer's packets get lost that everything is worth sending twice; sound and picture share one.

    A second copy lowers a loss of 10 % to 1 %, at twice the bits, which a talking face can afford; asking for a packet
    again takes a round trip, and the picture with all that follow it is late by that. Once lossy, a network counts as
    lossy for a while: where second copies arrive, a receiver reports hardly any loss.
    """

    HIGH = 0.02
    """Share of packets."""
    HOLD = 30.0
    """Seconds."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._share: dict[int, float] = {}
        self._until = float("-inf")

    def report(self, ssrc: int, share: float) -> None:
        """A receiver report says that this share of a stream's latest packets is missing."""
        self._share[ssrc] = mean = 0.7 * self._share.get(ssrc, 0.0) + 0.3 * share
        if mean > self.HIGH:
            self._until = self._seconds() + self.HOLD

    @property
    def high(self) -> bool:
        return self._seconds() < self._until


class PacedTransport:
    """Stands between a sender of pictures and its connection: its packets leave one after the other, at a pace."""

    def __init__(self, sender: LiveSender) -> None:
        self._sender = sender
        self._pacer = Pacer()
        self._flight = Flight()
        self._reported = time.monotonic()
        self._bytes = 0
        self.numbers = Numbered()
        self.wait = 0.0
        """Seconds that the next packet ought to wait; less than a timer's grain is none."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sender._RTCRtpSender__transport, name)

    def listen(self) -> None:
        """Take the receiver's feedback on every packet from now on; aiortc reads only the beginning of it."""
        transport = self._sender._RTCRtpSender__transport
        others = transport._handle_rtcp_data

        async def handle(data: bytes) -> None:
            for feedback in feedbacks(data):
                with contextlib.suppress(ValueError):  # one that is cut off says nothing; the next one does
                    found = self._flight.heard(arrivals(feedback), time.monotonic())
                    if found is not None:
                        self._sender._viewer.measured(found)
            await others(data)

        transport._handle_rtcp_data = handle

    async def _send_rtp(self, data: bytes) -> None:
        if (number := self.numbers.take()) is not None:
            self._flight.leave(number, len(data), time.monotonic())
        await self._sender._RTCRtpSender__transport._send_rtp(data)
        self._bytes += len(data)
        wait = self._pacer.sent(len(data), self._sender._viewer.estimate)
        self.wait = wait if wait > 0.001 else 0.0
        # After the packet, not before it: its header says when it was sent. Reports and what is asked for again do
        # not wait, or nothing could be heard from the viewer meanwhile; they count.
        if self.wait and asyncio.current_task() is self._sender._RTCRtpSender__rtp_task:
            await asyncio.sleep(self.wait)

    def rate(self) -> float:
        """Bits a second that were sent since this was last asked."""
        now = time.monotonic()
        bits = 8 * self._bytes / max(now - self._reported, 1e-3)
        self._bytes, self._reported = 0, now
        return bits


class LiveSender(RTCRtpSender):
    """A sender whose reports say what time the media *are*, not when they were sent, and which is proof against
    losses."""

    EARLY_REPORTS = (2, 12)
    """Reports are sent before these frames, besides aiortc's one a second."""
    AGAIN_AFTER = 0.02
    """Seconds between a packet and its second copy, so that one burst of losses does not take both."""

    repeated: int
    """Packets sent a second time without having been asked for."""
    _line: NtpLine
    _losses: Losses
    _viewer: Viewer
    _paced: PacedTransport | None
    _copies: set[asyncio.Task[None]]
    _repeats: Repeats
    _lost: LostShare
    _rate: int
    _ticks: int
    _frames: int
    _ntp: int
    _RTCRtpSender__transport: Any
    _RTCRtpSender__rtp_task: asyncio.Future[None] | None
    _RTCRtpSender__rtp_timestamp: int
    _RTCRtpSender__lsr: int | None
    _RTCRtpSender__lsr_time: float | None
    _RTCRtpSender__packet_count: int
    _RTCRtpSender__octet_count: int
    _RTCRtpSender__rtp_history: dict[int, RtpPacket]
    _RTCRtpSender__rtx_payload_type: int | None

    @classmethod
    def adopt(
        cls, transceiver: RTCRtpTransceiver, line: NtpLine, losses: Losses, viewer: Viewer, offered: Offered | None
    ) -> None:
        """Turn a transceiver's sender, which has negotiated but not begun to send, into this class.

        :param viewer: told of the codec that its pictures are to be in, and of what the receiver reports.
        """
        sender: Any = transceiver.sender
        codec = transceiver._codecs[0]
        sender.__class__ = cls
        sender._line, sender._rate = line, codec.clockRate
        sender._losses, sender._copies, sender._repeats = losses, set(), Repeats()
        sender._lost = LostShare()
        sender._ticks = sender._frames = sender._ntp = sender.repeated = 0
        sender._viewer = viewer
        sender._paced = PacedTransport(sender) if transceiver.kind == "video" else None
        if transceiver.kind == "video":
            viewer.codec = codec.mimeType
            sender._RTCRtpSender__encoder = Packer(codec, viewer)
            if offered is not None and agree(
                transceiver._headerExtensions, transceiver._codecs, offered.headerExtensions, offered.codecs
            ):
                sender._RTCRtpSender__rtp_header_extensions_map = sender._paced.numbers
                sender._paced.listen()
        else:
            sender._RTCRtpSender__encoder = live_encoder(codec)

    @property
    def transport(self) -> Any:
        return self._paced or self._RTCRtpSender__transport

    def _send_keyframe(self) -> None:
        self._viewer.wants_key = True

    # aiortc assigns these two after each packet, first the NTP time, then the RTP time, without a pause between them.
    @property
    def _RTCRtpSender__ntp_timestamp(self) -> int:
        return self._ntp

    @_RTCRtpSender__ntp_timestamp.setter
    def _RTCRtpSender__ntp_timestamp(self, sent: int) -> None:
        self._ntp = self._line.at(self._ticks, self._rate)

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        if self._frames + 1 in self.EARLY_REPORTS:
            await self._send_report()
        # A probe of half sends every other picture again, one of all every picture.
        if self._frames and (self._viewer.twice or self._probing > 0.5 * (self._frames % 2)):
            # Asked for the next frame, so the last one has been sent.
            last = self._RTCRtpSender__rtp_timestamp
            history = self._RTCRtpSender__rtp_history
            numbers = [packet.sequence_number for packet in history.values() if packet.timestamp == last]
            task = asyncio.create_task(self._send_again(numbers))
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)
        frame = await super()._next_encoded_frame(codec)
        if frame is not None:
            self._frames += 1
            self._ticks = frame.timestamp
        if self._paced is not None and self._viewer.anew:
            self._RTCRtpSender__rtp_history.clear()
            self._viewer.anew = False
        return frame

    @property
    def _probing(self) -> float:
        """What share of the pictures is sent again to see whether more goes through; none where that would be the same
        packet bit by bit, which a receiver may leave out of its feedback."""
        able = self._paced is not None and self._RTCRtpSender__rtx_payload_type is not None
        return self._viewer.rate.probing if able else 0.0

    async def _send_again(self, numbers: list[int]) -> None:
        await asyncio.sleep(self.AGAIN_AFTER)
        with contextlib.suppress(ConnectionError):  # the viewer has left meanwhile
            for number in numbers:
                await self._resend(number)
                self.repeated += 1
                await asyncio.sleep(self._paced.wait if self._paced else 0)

    async def _retransmit(self, sequence_number: int) -> None:
        """The receiver asks for a packet again."""
        packet = self._RTCRtpSender__rtp_history.get(sequence_number % RTP_HISTORY_SIZE)
        allowed = self._viewer.allows_repeats if self._paced else self._viewer.rate.allows_repeats
        if (
            packet is not None
            and allowed
            and self._repeats.allows(sequence_number, len(packet.payload), self._viewer.estimate)
        ):
            await self._resend(sequence_number)

    async def _resend(self, sequence_number: int) -> None:
        packet = self._RTCRtpSender__rtp_history.get(sequence_number % RTP_HISTORY_SIZE)
        if packet is not None and self._RTCRtpSender__rtx_payload_type is not None:
            # The receiver estimates the bandwidth from send times: the first copy's would look like a jam. (Without a
            # stream of its own the copy must be the same bit by bit: it is encrypted under the same number.)
            packet.extensions.abs_send_time = (clock.current_ntp_time() >> 14) & 0x00FFFFFF
        await super()._retransmit(sequence_number)

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == self._ssrc:
                    self._heed(report)
        await super()._handle_rtcp_packet(packet)

    def _heed(self, report: RtcpReceiverInfo) -> None:
        asked = self._RTCRtpSender__lsr_time if report.lsr == self._RTCRtpSender__lsr and report.dlsr else None
        trip = max(time.time() - asked - report.dlsr / 65536, 0.0) if asked is not None else None
        lost = self._lost.since(report.highest_sequence, report.packets_lost, time.monotonic())
        if lost is None:
            return
        if self._viewer.rate.allows_copies and lost < MOST:  # what a bottleneck drops is not lost by chance
            self._losses.report(report.ssrc, lost)
        if self._paced is not None:
            self._viewer.report(lost, self._paced.rate(), trip)
        self._viewer.twice = self._losses.high and self._viewer.rate.allows_copies

    async def _send_report(self) -> None:
        info = RtcpSenderInfo(
            ntp_timestamp=self._ntp,
            rtp_timestamp=self._RTCRtpSender__rtp_timestamp,
            packet_count=self._RTCRtpSender__packet_count & 0xFFFFFFFF,
            octet_count=self._RTCRtpSender__octet_count & 0xFFFFFFFF,
        )
        await self._send_rtcp([RtcpSrPacket(ssrc=self._ssrc, sender_info=info)])

    async def _send_rtcp(self, packets: list[AnyRtcpPacket]) -> None:
        # Before the first packet aiortc would report that RTP time 0 is the year 1900.
        unsent = isinstance(packets[0], RtcpSrPacket) and packets[0].sender_info.packet_count == 0
        if not unsent:
            await super()._send_rtcp(packets)


class LiveReceiver(RTCRtpReceiver):
    """A receiver that passes every frame on as soon as it is whole."""

    _buffer: SoundBuffer | PictureBuffer
    _RTCRtpReceiver__codecs: dict[int, RTCRtpCodecParameters]
    _RTCRtpReceiver__decoder_thread: Thread | None
    _RTCRtpReceiver__decoder_queue: Queue[tuple[RTCRtpCodecParameters, WholeFrame]]
    _RTCRtpReceiver__timestamp_mapper: TimestampMapper

    @classmethod
    def adopt(cls, transceiver: RTCRtpTransceiver) -> None:
        """Turn a transceiver's receiver, which has not begun to receive, into this class."""
        receiver: Any = transceiver.receiver
        names = {codec.payloadType: codec.name for codec in transceiver._codecs}
        receiver.__class__ = cls
        if transceiver.kind == "video":
            receiver._buffer = PictureBuffer(lambda payload_type: names.get(payload_type, ""))
        else:
            receiver._buffer = SoundBuffer()
        receiver._RTCRtpReceiver__jitter_buffer = receiver._buffer

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        await super()._handle_rtp_packet(packet, arrival_time_ms)
        # A packet that fills a gap can complete several frames; aiortc takes one for each packet.
        while (frame := self._buffer.more()) is not None:
            self._decode(frame)

    def _decode(self, frame: WholeFrame) -> None:
        codec = self._RTCRtpReceiver__codecs.get(frame.payload_type)
        if codec is not None and self._RTCRtpReceiver__decoder_thread:
            frame.timestamp = self._RTCRtpReceiver__timestamp_mapper.map(frame.timestamp)
            self._RTCRtpReceiver__decoder_queue.put((codec, frame))


def make_live(
    transceiver: RTCRtpTransceiver, line: NtpLine, losses: Losses, viewer: Viewer, offered: Offered | None = None
) -> None:
    """Change both halves of a transceiver whose codecs are negotiated, before the connection is up.

    :param losses: one for each connection. :param viewer: the same.
    :param offered: what the peer has said that it can do with this medium, where it was the one to offer.
    """
    check_aiortc()
    if transceiver.sender.track is not None:
        LiveSender.adopt(transceiver, line, losses, viewer, offered)
    LiveReceiver.adopt(transceiver)
