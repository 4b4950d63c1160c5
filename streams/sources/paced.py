"""Sources that make their own sound and let it out at the pace of real time."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import soxr
from numpy.typing import NDArray

from avatar.core.clock import Clock
from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, LipCue, Ns, freeze
from avatar.streams.base import Source

RATE = 48_000
"""Samples a second of every source's sound."""
CHUNK = RATE // 50
"""20 ms, as WebRTC has it."""


class PacedAudioSource(Source[AudioChunk]):
    """Plays chunks whose ``pts`` count from 0.

    A chunk is let out at its ``pts``. When the session could not keep up for longer than ``MAX_LAG`` (the machine
    slept) nothing is left out: the rest plays later, and the first late chunk is marked as a discontinuity.
    """

    MAX_LAG = 200 * MILLISECOND
    _AHEAD = 25
    """Chunks made at a time, in a thread: reading a file must not stall the event loop."""

    def __init__(self) -> None:
        self._clock: Clock | None = None
        self.lags = 0
        """How often the session could not keep up."""

    @abstractmethod
    def chunks(self) -> Iterator[AudioChunk]:
        """The sound from its beginning, contiguous, 48 kHz."""

    def begin(self, now: Ns) -> Ns:
        """When the first chunk is to be heard: at ``now``, unless a source needs a certain moment. Asked again after a
        stop, for the moment at which the first chunk would have had to be heard."""
        return now

    def check(self) -> None:
        """Raise the error that playing would raise; called by ``open``."""
        return

    async def open(self, clock: Clock) -> None:
        await asyncio.to_thread(self.check)
        self._clock = clock

    async def items(self) -> AsyncIterator[AudioChunk]:
        if self._clock is None:
            raise RuntimeError("items before open")
        clock, start = self._clock, self.begin(self._clock.now())
        made = self.chunks()
        while batch := await asyncio.to_thread(lambda: list(islice(made, self._AHEAD))):
            for chunk in batch:
                gap = clock.now() - (start + chunk.pts) > self.MAX_LAG
                if gap:
                    start = self.begin(Ns(clock.now() - chunk.pts))
                    self.lags += 1
                await clock.sleep_until(Ns(start + chunk.pts))
                yield _shifted(chunk, start, gap)

    async def close(self) -> None:
        self._clock = None


def _shifted(chunk: AudioChunk, by: Ns, gap: bool) -> AudioChunk:
    lips = chunk.lips
    if lips is not None:
        lips = tuple(replace(cue, pts=Ns(cue.pts + by)) for cue in lips)
    return replace(chunk, pts=Ns(chunk.pts + by), lips=lips, discontinuity=chunk.discontinuity or gap)


def resampled(blocks: Iterable[tuple[F32, int]]) -> Iterator[AudioChunk]:
    """Pieces of sound ``((n,), rate)``, all of one rate, as 20 ms chunks of 48 kHz counted from 0; the last one is
    filled up with silence."""
    stream: soxr.ResampleStream | None = None
    rest = np.zeros(0, np.float32)
    made = 0
    for samples, rate in blocks:
        if stream is None and rate != RATE:
            stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        rest = np.concatenate([rest, stream.resample_chunk(samples) if stream is not None else samples])
        while len(rest) >= CHUNK:
            yield chunk_at(made, rest[:CHUNK])
            rest, made = rest[CHUNK:], made + 1
    if stream is not None:
        rest = np.concatenate([rest, stream.resample_chunk(np.zeros(0, np.float32), last=True)])
    for i in range(0, len(rest), CHUNK):
        part = rest[i : i + CHUNK]
        yield chunk_at(made, np.pad(part, (0, CHUNK - len(part))))
        made += 1


def chunk_at(index: int, samples: NDArray[np.floating], lips: tuple[LipCue, ...] | None = None) -> AudioChunk:
    """The ``index``-th chunk of 20 ms; ``samples`` (960,)."""
    return AudioChunk(Ns(index * CHUNK * SECOND // RATE), freeze(samples.astype(np.float32)), RATE, lips=lips)
