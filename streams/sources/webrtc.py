"""A page's microphone and camera as sources of the session.

Media enter at :class:`PeerInput`, which every incoming track is drained into, wanted or not (aiortc queues what nobody
reads). The sources that read from it follow the peer that was chosen last and simply wait while there is none.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from typing import ClassVar, Generic, Literal, TypeVar

import av
import numpy as np

from avatar.core.clock import ArrivalClock, Clock
from avatar.core.types import MILLISECOND, SECOND, AudioChunk, Ns, VideoFrame, freeze
from avatar.streams.base import Source

Kind = Literal["audio", "video"]
T = TypeVar("T", AudioChunk, VideoFrame)
MAX_WIDTH = 640
"""Wider pictures are scaled down: the face tracker gains nothing from more."""


def to_mono(frame: av.AudioFrame) -> np.ndarray:
    """A decoded frame, packed 16 bit, as (n,) float32 in [-1, 1], the mean of its channels."""
    pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
    return freeze(pcm.mean(axis=1, dtype=np.float32) / np.float32(32768))


def to_rgb(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as (height, width, 3) RGB, at most :data:`MAX_WIDTH` wide."""
    width, height = frame.width, frame.height
    if width > MAX_WIDTH:
        width, height = MAX_WIDTH, max(2, round(height * MAX_WIDTH / width / 2) * 2)
    return freeze(frame.to_ndarray(format="rgb24", width=width, height=height))


def nanoseconds(frame: av.AudioFrame | av.VideoFrame) -> int:
    """A frame's time on its sender's clock."""
    if frame.pts is None or frame.time_base is None:
        raise ValueError("a frame without a time")
    return frame.pts * SECOND * frame.time_base.numerator // frame.time_base.denominator


class PeerInput:
    """Where the media of all peers enter, and who reads them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._readers: set[_PeerSource] = set()
        self._chosen: dict[Kind, str | None] = {"audio": None, "video": None}

    def choose(self, kind: Kind, peer: str | None) -> None:
        """Take this kind of media from this peer from now on; None for nobody."""
        self._chosen[kind] = peer

    def chosen(self, kind: Kind) -> str | None:
        return self._chosen[kind]

    async def deliver(self, kind: Kind, peer: str, frame: av.AudioFrame | av.VideoFrame) -> None:
        """A frame of a peer has just arrived. Whatever no source wants is dropped here."""
        arrived = self._clock.now()
        for reader in [r for r in self._readers if r.kind == kind and r.wants(peer)]:
            await reader.take(peer, frame, arrived)

    def gone(self, peer: str) -> None:
        """A peer has left."""
        for kind, chosen in self._chosen.items():
            if chosen == peer:
                self._chosen[kind] = None
        for reader in list(self._readers):
            if reader.peer == peer:
                reader.end()


class _PeerSource(Source[T], Generic[T]):
    """Reads one kind of media from one peer, or from whichever is chosen.

    :param peer: follow only this one, and end when it leaves; None = follow the choice and never end by oneself.
    """

    kind: ClassVar[Kind]
    DEPTH: ClassVar[int]
    """Items that wait for the consumer; then the oldest is lost, counted, and the next one marked."""

    def __init__(self, inlet: PeerInput, peer: str | None = None) -> None:
        self.peer = peer
        self._inlet = inlet
        self._stamps = ArrivalClock(late=150 * MILLISECOND)  # a network's jitter is larger than a driver's
        self._from: str | None = None
        self._items: deque[T] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._last = Ns(-1)
        self.dropped = 0

    async def open(self, clock: Clock) -> None:
        """``clock`` is the one that the input stamps arrivals with."""
        self._ended = False
        self._inlet._readers.add(self)

    async def close(self) -> None:
        self.end()
        self._items.clear()

    def end(self) -> None:
        """No more comes; what has come already is still yielded."""
        self._inlet._readers.discard(self)
        self._ended = True
        self._arrived.set()

    def wants(self, peer: str) -> bool:
        return peer == (self.peer or self._inlet.chosen(self.kind))

    async def take(self, peer: str, frame: av.AudioFrame | av.VideoFrame, arrived: Ns) -> None:
        """A frame of a peer that this source wants."""
        if peer != self._from:
            self._from = peer
            self._stamps.reset()
            self._start_anew()
        pts = self._stamps.stamp(nanoseconds(frame), arrived)
        item = await self._convert(pts, frame)
        if item is None or self._ended:
            return
        self._last = item.pts
        if len(self._items) >= self.DEPTH:
            self._items.popleft()
            self.dropped += 1
            self._mark_loss()
        self._items.append(item)
        self._arrived.set()

    async def items(self) -> AsyncIterator[T]:
        while True:
            while self._items:
                yield self._items.popleft()
            if self._ended:
                return
            self._arrived.clear()
            await self._arrived.wait()

    @abstractmethod
    async def _convert(self, pts: Ns, frame: av.AudioFrame | av.VideoFrame) -> T | None: ...

    def _start_anew(self) -> None:
        """Another peer speaks from now on."""

    def _mark_loss(self) -> None:
        """The oldest waiting item was just lost."""


class PeerAudioSource(_PeerSource[AudioChunk]):
    """A page's microphone: 48 kHz mono in chunks of the packets' length, usually 20 ms."""

    name: ClassVar[str] = "peer-audio"
    kind: ClassVar[Kind] = "audio"
    DEPTH: ClassVar[int] = 50

    SLEW = MILLISECOND // 2
    """A chunk's start moves towards the fitted line by no more, so that sound stays in one piece."""
    GAP = 60 * MILLISECOND
    """Further off than this, something was lost or the clock jumped."""

    def __init__(self, inlet: PeerInput, peer: str | None = None) -> None:
        super().__init__(inlet, peer)
        self._next_device: int | None = None
        self._next_pts = Ns(0)

    def _start_anew(self) -> None:
        self._next_device = None

    def _mark_loss(self) -> None:
        if self._items:
            first = self._items[0]
            self._items[0] = AudioChunk(first.pts, first.samples, first.rate, discontinuity=True)

    async def _convert(self, pts: Ns, frame: av.AudioFrame | av.VideoFrame) -> AudioChunk | None:
        assert isinstance(frame, av.AudioFrame)
        samples = to_mono(frame)
        device = nanoseconds(frame)
        broken = self._next_device is None or abs(device - self._next_device) > MILLISECOND
        off = pts - self._next_pts
        if not broken and abs(off) < self.GAP:
            pts = Ns(self._next_pts + max(-self.SLEW, min(self.SLEW, off)))
        else:
            broken = True
        chunk = AudioChunk(Ns(max(pts, self._last + 1)), samples, frame.sample_rate, discontinuity=broken)
        self._next_device = device + chunk.duration
        self._next_pts = chunk.end
        return chunk


class PeerVideoSource(_PeerSource[VideoFrame]):
    """A page's camera, RGB, at most :data:`MAX_WIDTH` wide. Only the newest pictures wait."""

    name: ClassVar[str] = "peer-video"
    kind: ClassVar[Kind] = "video"
    DEPTH: ClassVar[int] = 2

    async def _convert(self, pts: Ns, frame: av.AudioFrame | av.VideoFrame) -> VideoFrame | None:
        assert isinstance(frame, av.VideoFrame)
        pixels = await asyncio.to_thread(to_rgb, frame)
        return VideoFrame(pts, pixels) if pts > self._last else None
