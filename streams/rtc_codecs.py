"""Encoders set up for a live talking head, in the place of aiortc's own.

aiortc pins x264's preset *medium* (10.8 ms a frame of 512x512 against 0.8 ms for *ultrafast*), lets VP8 remove camera
noise that a drawn face does not have, caps the bit rate at 1.5 (VP8) and 3 Mbit/s, and counts the time stamps of Opus
from the first packet, which loses the session's timeline. These keep the timeline: a frame's ``pts`` is its RTP time.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import ClassVar

import av
import numpy as np
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.frame import Frame
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

AUDIO_RATE = 48_000
AUDIO_TIME_BASE = Fraction(1, AUDIO_RATE)
FRAME_SAMPLES = 960
"""20 ms, the usual length of an Opus packet."""
PIXELS = 512 * 512
"""The picture that the bit rates below are meant for; other sizes get a rate in proportion."""


def rtp_time(item: Frame | Packet, base: Fraction) -> int:
    """The time of a frame or packet in ticks of ``base``. Raises ValueError where it has none."""
    if item.pts is None or item.time_base is None:
        raise ValueError("a frame without a time")
    return convert_timebase(item.pts, item.time_base, base)


class _BitRate:
    """The rate that an encoder aims at, and when to follow the receiver's estimate.

    libvpx and libx264 take no new rate through FFmpeg, so a change costs a new encoder and a key frame. Small changes
    are therefore not followed, and rises not more often than every few seconds.
    """

    RISE_AFTER = 2.0
    """Seconds."""

    def __init__(self, default: int, low: int, high: int) -> None:
        self._default, self._range = default, (low, high)
        self._asked: int | None = None
        self.scale = 1.0
        self._used = 0
        self._since = 0.0

    @property
    def wanted(self) -> int:
        """Bits a second."""
        low, high = (self.scale * limit for limit in self._range)
        return round(min(max(self.scale * self._default if self._asked is None else self._asked, low), high))

    def ask(self, rate: int) -> None:
        self._asked = rate

    def fit(self, pixels: int) -> None:
        """Scale the range to a picture's size."""
        self.scale = min(max(pixels / PIXELS, 0.4), 2.5)

    @property
    def must_change(self) -> bool:
        if self.wanted < 0.8 * self._used:
            return True
        return self.wanted > 1.3 * self._used and time.monotonic() - self._since > self.RISE_AFTER

    def use(self) -> int:
        self._used, self._since = self.wanted, time.monotonic()
        return self._used


class LiveVideoEncoder(ABC):
    """What the two video encoders share: the codec is made anew when the size or the rate changes."""

    codec: VideoCodecContext | None
    rate: _BitRate

    @property
    def target_bitrate(self) -> int:
        """Bits a second; aiortc sets it to the receiver's estimate (REMB)."""
        return self.rate.wanted

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self.rate.ask(bitrate)

    @abstractmethod
    def _create(self, bitrate: int) -> VideoCodecContext: ...

    def packet(self, frame: av.VideoFrame, force_keyframe: bool) -> Packet | None:
        """An encoded picture with its time; None where the encoder has left it out. It is to be packed by ``pack``."""
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p")
        self.rate.fit(frame.width * frame.height)
        codec = self.codec
        if codec is None or (frame.width, frame.height) != (codec.width, codec.height) or self.rate.must_change:
            codec = self._create(self.rate.use())
            codec.width, codec.height = frame.width, frame.height
            codec.pix_fmt = "yuv420p"
            codec.time_base = VIDEO_TIME_BASE
            codec.framerate = Fraction(30)
            codec.gop_size = 3000  # key frames only when somebody asks
            codec.thread_count = 1  # one picture is too small to share among threads
            self.codec = codec
        frame.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        packets = codec.encode(frame)
        if not packets:
            return None
        (packet,) = packets  # nothing is held back, so one picture is one packet
        packet.pts, packet.time_base = rtp_time(frame, VIDEO_TIME_BASE), VIDEO_TIME_BASE
        return packet


class LiveVp8Encoder(LiveVideoEncoder, Vp8Encoder):
    """VP8 by libvpx in real-time mode."""

    LIMITS: ClassVar = (2_000_000, 200_000, 4_000_000)
    """Default, lowest and highest bits a second for 512x512 at 30 fps."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = _BitRate(*self.LIMITS)

    def _create(self, bitrate: int) -> VideoCodecContext:
        codec = av.CodecContext.create("libvpx", "w")
        codec.bit_rate = bitrate
        # A drawn face at quantiser 10 has 45 dB; finer ones triple the packets and take a third more time for nothing
        # that is seen. For the same reason no lower limit: a still face costs next to nothing.
        codec.qmin, codec.qmax = 10, 52
        codec.options = {
            "deadline": "realtime",
            "cpu-used": "-8",
            "lag-in-frames": "0",
            "maxrate": str(bitrate),
            "bufsize": str(bitrate),  # one second
            # Percent of a frame's share: a key frame is not to stall the ones behind it, in a bottleneck least of all.
            "max-intra-rate": "600" if bitrate > 400_000 else "300",
            "undershoot-pct": "100",
            "overshoot-pct": "15",
            "noise-sensitivity": "0",  # a drawn face has no camera noise
            # What hardly changes is not coded again: an eighth less time and packets for 0.2 dB (44.9 of 45.1).
            "static-thresh": "500",
        }
        return codec

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Returns the payloads of the RTP packets, and the RTP time (90 kHz)."""
        assert isinstance(frame, av.VideoFrame)
        packet = self.packet(frame, force_keyframe)
        return self.pack(packet) if packet is not None else ([], rtp_time(frame, VIDEO_TIME_BASE))


class LiveH264Encoder(LiveVideoEncoder, H264Encoder):
    """H.264 by x264, constrained baseline, without look-ahead."""

    LIMITS: ClassVar = (2_500_000, 250_000, 5_000_000)

    def __init__(self) -> None:
        super().__init__()
        self.rate = _BitRate(*self.LIMITS)

    def _create(self, bitrate: int) -> VideoCodecContext:
        codec = av.CodecContext.create("libx264", "w")
        codec.bit_rate = bitrate
        codec.profile = "Baseline"
        codec.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "level": "31",
            "maxrate": str(bitrate),
            "bufsize": str(bitrate // 2),
            "forced-idr": "1",
        }
        return codec

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Returns the payloads of the RTP packets, and the RTP time (90 kHz)."""
        assert isinstance(frame, av.VideoFrame)
        packet = self.packet(frame, force_keyframe)
        return self.pack(packet) if packet is not None else ([], rtp_time(frame, VIDEO_TIME_BASE))


class LiveOpusEncoder(Encoder):
    """Mono Opus, 20 ms a packet, whose time stamps are the session's.

    The session's sound is encoded once for all peers (:meth:`packet`); each peer's sender only wraps it (:meth:`pack`).
    """

    BIT_RATE = 64_000

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "w")
        codec.bit_rate = self.BIT_RATE
        codec.format = "s16"
        codec.layout = "mono"
        codec.sample_rate = AUDIO_RATE
        codec.time_base = AUDIO_TIME_BASE
        codec.options = {"application": "audio"}
        self.codec = codec
        self._ahead: int | None = None

    def packet(self, samples: NDArray[np.int16], at: int) -> Packet:
        """Encode 20 ms.

        :param samples: (960,).
        :param at: time of the first one in 1/48000 s.
        :returns: a packet whose ``pts`` is the time of the first sample that it decodes to. That is 6.5 ms before
            ``at``: Opus looks ahead, and its packets carry a time stamp that allows for it.
        """
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, at, AUDIO_TIME_BASE
        (packet,) = self.codec.encode(frame)
        if self._ahead is None:
            assert packet.pts is not None
            self._ahead = at - packet.pts
        packet.pts = at - self._ahead  # FFmpeg goes on counting for one packet after a gap
        return packet

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Not used: a peer's encoder gets packets (:class:`avatar.streams.sinks.webrtc.SoundTrack`)."""
        raise TypeError("sound reaches the peers as packets")

    def pack(self, packet: Packet) -> tuple[list[bytes], int]:
        """Returns the payload of the RTP packet, and the RTP time (48 kHz)."""
        return [bytes(packet)], rtp_time(packet, AUDIO_TIME_BASE)


def live_encoder(codec: RTCRtpCodecParameters) -> Encoder:
    """The encoder for a negotiated codec. Raises ValueError for one that we do not offer."""
    encoders: dict[str, type[Encoder]] = {
        "video/vp8": LiveVp8Encoder,
        "video/h264": LiveH264Encoder,
        "audio/opus": LiveOpusEncoder,
    }
    try:
        return encoders[codec.mimeType.lower()]()
    except KeyError:
        raise ValueError(f"no encoder for {codec.mimeType}") from None
