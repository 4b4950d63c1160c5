"""A source and a sink that live in memory and keep to their contracts, for tests of anything in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import ClassVar

import numpy as np

from avatar.core.clock import Clock
from avatar.core.types import SECOND, AudioChunk, AvatarFrame, FaceState, Ns, freeze
from avatar.errors import DeviceError
from avatar.streams.base import Sink, Source, StreamFormat

RATE = 48_000


def silence(seconds: float, rate: int = RATE, start: Ns = Ns(0)) -> list[AudioChunk]:  # noqa: B008 - an int
    """Chunks of 20 ms of nothing."""
    n = rate // 50
    zeros = freeze(np.zeros(n, np.float32))
    return [AudioChunk(Ns(start + i * SECOND // 50), zeros, rate) for i in range(round(seconds * 50))]


def picture(state: FaceState, size: int = 16) -> AvatarFrame:
    """A frame of one colour."""
    return AvatarFrame(state.pts, freeze(np.full((size, size, 3), 128, np.uint8)), state)


class FakeSource(Source[AudioChunk]):
    """Yields ``chunks`` at their times, from the moment it is opened.

    :param fail_after: raise DeviceError after so many chunks, the first time it is opened.
    :param ppm: how much longer its second is than the session's, in parts per million.
    """

    name: ClassVar[str] = "fake"

    def __init__(self, chunks: Iterable[AudioChunk], fail_after: int | None = None, ppm: float = 0.0) -> None:
        self._chunks = chunks
        self._fail_after = fail_after
        self._stretch = 1 + ppm * 1e-6
        self._clock: Clock | None = None
        self.opened = self.closed = 0

    async def open(self, clock: Clock) -> None:
        self._clock = clock
        self.opened += 1

    async def items(self) -> AsyncIterator[AudioChunk]:
        assert self._clock is not None, "open first"
        start = self._clock.now()
        for index, chunk in enumerate(self._chunks):
            if self.opened == 1 and index == self._fail_after:
                raise DeviceError("unplugged")
            pts = Ns(start + round(chunk.pts * self._stretch))
            await self._clock.sleep_until(Ns(pts + chunk.duration))  # a device gives a chunk when it is over
            yield AudioChunk(pts, chunk.samples, chunk.rate, chunk.discontinuity, chunk.lips)

    async def close(self) -> None:
        self.closed += 1


class MemorySink(Sink):
    """Keeps what it gets, with the time at which it came.

    :param delay: seconds that it takes for each picture.
    :param error: raised instead of taking a picture.
    """

    name: ClassVar[str] = "memory"

    def __init__(self, clock: Clock, delay: float = 0.0, error: Exception | None = None) -> None:
        self._clock = clock
        self._delay = Ns(round(delay * SECOND))
        self._error = error
        self.watched = True
        self.frames: list[tuple[Ns, AvatarFrame]] = []
        self.chunks: list[tuple[Ns, AudioChunk]] = []
        self.opened = self.closed = 0

    @property
    def active(self) -> bool:
        return self.watched

    async def open(self, form: StreamFormat = StreamFormat()) -> None:  # noqa: B008 - immutable
        self.opened += 1

    async def video(self, frame: AvatarFrame) -> None:
        if self._delay:
            await self._clock.sleep_until(Ns(self._clock.now() + self._delay))
        if self._error is not None:
            raise self._error
        self.frames.append((self._clock.now(), frame))

    async def audio(self, chunk: AudioChunk) -> None:
        self.chunks.append((self._clock.now(), chunk))

    async def close(self) -> None:
        self.closed += 1
