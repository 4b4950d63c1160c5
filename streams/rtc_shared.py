"""One encode for all who watch: pictures are encoded once for each codec, and relayed to every viewer.

A viewer who joins, or lost too much, needs a key frame; such requests are gathered, so that a crowd which joins at
once costs one. The bit rate is what the weakest viewer's network carries; but whoever is far behind the others gets
another encode, shared by all who are, so that one bad network does not spoil the picture for everybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from statistics import median
from typing import ClassVar

import av
import cv2
import numpy as np
from aiortc.codecs.base import Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.frame import Frame
from av.packet import Packet

from avatar.core.types import U8
from avatar.streams.rtc_codecs import LiveVideoEncoder, live_encoder
from avatar.streams.rtc_feedback import Measured
from avatar.streams.rtc_rate import SendRate

BEHIND, CAUGHT_UP = 0.5, 0.75
"""Shares of the viewers' median estimate: below the first, a viewer gets the weaker encode; above the second, the
better one again."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is given up before the picture falls apart."""

    least: float
    """Bits a second for 512 x 512 below which the next step is taken."""
    shrink: int
    """The picture's sides are divided by it."""
    every: int
    """One in so many pictures is sent."""


STEPS = (Step(380_000, 1, 1), Step(125_000, 2, 1), Step(0, 2, 2))
"""Half the sides at full rate first: a mouth in step is worth more than its pores."""
STEADY_S = 3.0


@dataclass(eq=False, slots=True)
class Viewer:
    """What one connection's receiver says of itself."""

    codec: str
    """As in ``video/VP8``."""
    estimate: int | None = None
    """Bits a second that its network carries, where it has said so."""
    twice: bool = False
    """Whether every packet is sent twice."""
    rate: SendRate = field(default_factory=SendRate)
    weak: bool = False
    """Whether it gets the encode for those far behind."""
    wants_key: bool = True
    """Whether it asks for a key frame."""
    lost: bool = True
    """Whether nothing but a key frame is of any use to it."""
    anew: bool = False
    """Whether a key frame goes out after a loss, so that nothing from before it is of use any more."""
    _paused: bool = False

    def remb(self, bits: int) -> None:
        """Its receiver estimates that so many bits a second go through."""
        self.rate.remb(bits)
        self.estimate = self.rate.bits

    def report(self, lost: float, sent: float, trip: float | None) -> None:
        """Its receiver misses this share of ``sent`` bits a second, which take ``trip`` seconds there and back."""
        self.rate.report(lost, sent, trip)
        self.estimate = self.rate.bits

    def measured(self, found: Measured) -> None:
        """What its packets have met."""
        if self.rate.measured(found):
            self.lose()
        self.estimate = self.rate.bits

    @property
    def affords(self) -> int | None:
        """Bits a second for its pictures."""
        return self.estimate // 2 if self.twice and self.estimate is not None else self.estimate

    @property
    def allows_repeats(self) -> bool:
        """Whether packets that it asks for again are of use, and come in time; it is better served with a key frame
        where it waits for one."""
        return not self.lost and self.rate.allows_repeats

    def lose(self) -> None:
        """The pictures that it gets are not in one piece any more."""
        self.lost = self.wants_key = True

    def takes(self, key: bool) -> bool:
        """Whether the next picture, a key frame or not, is of use to it: not while a queue on the way to it drains, and
        after that it goes on from a key frame."""
        if self.rate.pausing:
            self.lost = self._paused = True
        elif key:
            self.anew |= self.lost
            self.lost = self.wants_key = self._paused = False
        elif self._paused:
            self.wants_key, self._paused = True, False
        return not self.lost


@dataclass(frozen=True, slots=True)
class Coded:
    """An encoded picture."""

    packet: Packet
    key: bool


@dataclass(eq=False, slots=True)
class Rung:
    """One encoder, and who asks what of it."""

    encoder: LiveVideoEncoder
    key_at: float = float("-inf")
    """When it made its last key frame, in seconds."""
    viewers: list[Viewer] = field(default_factory=list)
    step: int = 0
    """Number in :data:`STEPS`."""
    SLOW: ClassVar = 4500
    """Pictures that are so far apart in any case (1/90000 s) are few enough."""
    _ticks: int | None = None
    _apart: float = 3000.0
    _coded: float = 0.0
    _count: int = 0
    _rises: float | None = None
    """Since when the network has carried the next better step, in seconds."""

    def climb(self, bits: float, now: float) -> None:
        """Choose the step for a network that carries ``bits`` a second for 512 x 512: down at once, up one at a time,
        after :data:`STEADY_S` in which more would have gone through."""
        lowest = next((k for k, step in enumerate(STEPS) if bits >= step.least), len(STEPS) - 1)
        if lowest > self.step:
            self.step, self._rises = lowest, None
        elif lowest < self.step and bits >= 1.3 * STEPS[self.step - 1].least:
            self._rises = now if self._rises is None else self._rises
            if now - self._rises >= STEADY_S:
                self.step, self._rises = self.step - 1, None
        else:
            self._rises = None

    def skips(self, ticks: int) -> bool:
        """Whether the picture of this time is left out: so that fewer are sent, or because it would have to wait at
        every viewer."""
        if self._ticks is not None:
            self._apart += 0.1 * (min(ticks - self._ticks, 2 * self._apart) - self._apart)
        self._ticks = ticks
        if self.viewers and all(viewer.rate.holds for viewer in self.viewers):
            return True
        self._count += 1
        return self._count % self._every != 0

    @property
    def _every(self) -> int:
        return STEPS[self.step].every if self._apart < self.SLOW else 1

    def clock(self) -> int:
        """The time of the next picture as the encoder is told it, in 1/90000 s: without what was left out and stalls,
        for which it would make up with pictures that are too large for the network."""
        self._coded += self._apart * self._every
        return round(self._coded)


class Pictures:
    """The session's pictures, encoded. :meth:`encode` runs on a thread of its own; everything else on the loop.

    :param seconds: the time; for tests.
    """

    KEY_APART = 0.3
    """Seconds between key frames, at least: whoever asks sooner waits."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._rungs: dict[tuple[str, bool], Rung] = {}

    @property
    def encodes(self) -> int:
        """Encoders at work."""
        return len(self._rungs)

    def plan(self, viewers: Collection[Viewer]) -> list[Rung]:
        """Who gets which encode, and at what rate; to be called before each picture. Encoders that nobody needs end."""
        known = [bits for viewer in viewers if (bits := viewer.affords) is not None]
        usual = median(known) if len(known) > 1 else 0.0
        groups: dict[tuple[str, bool], list[Viewer]] = {}
        for viewer in viewers:
            bits = viewer.affords
            weak = bits is not None and bits < usual * (CAUGHT_UP if viewer.weak else BEHIND)
            if weak != viewer.weak:
                viewer.weak = weak
                viewer.lose()
            groups.setdefault((viewer.codec, weak), []).append(viewer)
        self._rungs = {key: self._rungs.get(key) or Rung(video_encoder(key[0])) for key in groups}
        for key, group in groups.items():
            rung = self._rungs[key]
            rung.viewers = group
            rates = [bits for viewer in group if (bits := viewer.affords) is not None]
            if rates:
                rung.climb(min(rates), self._seconds())
                rung.encoder.target_bitrate = min(rates)
        return list(self._rungs.values())

    def encode(self, rung: Rung, i420: U8, ticks: int) -> Coded | None:
        """Encode a picture; a key frame where a viewer needs one and the last is long enough ago.

        :param i420: (3/2 h, w). :param ticks: its time in 1/90000 s.
        """
        now = self._seconds()
        if rung.skips(ticks):
            return None
        i420 = shrunk(i420, STEPS[rung.step].shrink)
        key = any(viewer.wants_key for viewer in rung.viewers) and now - rung.key_at >= self.KEY_APART
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts, frame.time_base = rung.clock(), VIDEO_TIME_BASE
        packet = rung.encoder.packet(frame, key)
        if packet is None:
            return None
        packet.pts = ticks
        if packet.is_keyframe:
            rung.key_at = now
        return Coded(packet, packet.is_keyframe)


def shrunk(i420: U8, by: int) -> U8:
    """Planar YUV 4:2:0 (3/2 h, w) with its sides divided by ``by``, and even."""
    if by == 1:
        return i420
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    high, wide = height // by & ~1, width // by & ~1
    planes = np.split(i420.ravel(), [height * width, height * width * 5 // 4])
    sizes = ((height, width, high, wide), *[(height // 2, width // 2, high // 2, wide // 2)] * 2)
    small = [
        cv2.resize(plane.reshape(h, w), (to_w, to_h), interpolation=cv2.INTER_AREA).ravel()
        for plane, (h, w, to_h, to_w) in zip(planes, sizes, strict=True)
    ]
    return np.concatenate(small).reshape(high * 3 // 2, wide)


def video_encoder(mime: str) -> LiveVideoEncoder:
    """Raises ValueError for a codec that we do not offer."""
    made = live_encoder(RTCRtpCodecParameters(mimeType=mime, clockRate=90_000))
    assert isinstance(made, LiveVideoEncoder)
    return made


class Packer(Encoder):
    """Stands where aiortc keeps a connection's encoder: packs what was encoded for all, and passes on what this
    connection's receiver says."""

    def __init__(self, codec: RTCRtpCodecParameters, viewer: Viewer) -> None:
        self._wrap = live_encoder(codec)
        self._viewer = viewer

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Not used."""
        raise TypeError("pictures reach the viewers as packets")

    def pack(self, packet: Packet) -> tuple[list[bytes], int]:
        """Returns the payloads of the RTP packets, and the RTP time (90 kHz)."""
        return self._wrap.pack(packet)

    @property
    def target_bitrate(self) -> int:
        """Bits a second; aiortc sets it to the receiver's estimate (REMB)."""
        return self._viewer.estimate or 0

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._viewer.remb(bitrate)
