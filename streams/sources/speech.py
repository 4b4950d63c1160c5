"""Speech whose mouth shapes are known, played at the pace of real time: the demo voice, and what is typed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

import numpy as np

from avatar.core.clock import Clock
from avatar.core.types import SECOND, AudioChunk, Ns, freeze
from avatar.streams.base import Source
from avatar.streams.sources.text import Speech


class SpeechSource(Source[AudioChunk]):
    """Plays ``speech`` once, or for ever with ``pause`` seconds of silence in between."""

    name: ClassVar[str] = "speech"

    def __init__(self, speech: Speech, loop: bool = False, pause: float = 1.5, rate: int = 48_000) -> None:
        self._speech = speech
        self._loop = loop
        self._pause = round(pause * SECOND)
        self._rate = rate
        self._clock: Clock | None = None

    async def open(self, clock: Clock) -> None:
        self._clock = clock

    async def items(self) -> AsyncIterator[AudioChunk]:
        assert self._clock is not None, "open first"
        start = self._clock.now()
        while True:
            end = start
            for chunk in self._speech.chunks(start, rate=self._rate):
                await self._clock.sleep_until(chunk.pts)
                yield chunk
                end = chunk.end
            if not self._loop:
                return
            start = Ns(end + self._pause)
            for chunk in self._silence(end, start):
                await self._clock.sleep_until(chunk.pts)
                yield chunk

    def _silence(self, start: Ns, end: Ns) -> Iterator[AudioChunk]:
        """A source that gives nothing for a while has stalled; one that pauses says that it is silent."""
        still = freeze(np.zeros(self._rate // 50, np.float32))
        for pts in range(start, end, SECOND // 50):
            count = min(len(still), round((end - pts) * self._rate / SECOND))
            yield AudioChunk(Ns(pts), still[:count], self._rate, lips=())

    async def close(self) -> None:
        self._clock = None
