"""Sample rates, as a stage. libsoxr does the work (python-soxr)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import soxr

from avatar.core.types import SECOND, AudioChunk, Ns, freeze


class Resampler:
    """Chunks of any rate to ``rate``; those that have it already pass through untouched.

    Streams: the filter's delay is taken off the time stamps, so that ``pts`` stays the time at which it was heard. A
    discontinuity or another input rate starts afresh. Lip cues keep their own times.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._stream: soxr.ResampleStream | None = None
        self._input_rate = 0
        self._origin = Ns(0)
        self._given = self._taken = 0

    def step(self, chunk: AudioChunk) -> AudioChunk:
        """A chunk at the new rate; it may be empty while the filter fills."""
        if chunk.rate == self.rate:
            return chunk
        fresh = self._stream is None or chunk.discontinuity or chunk.rate != self._input_rate
        expected = self._origin + self._taken * SECOND // self._input_rate if not fresh else 0
        if fresh or abs(chunk.pts - expected) > SECOND // 20:
            self._stream = soxr.ResampleStream(chunk.rate, self.rate, 1, dtype="float32", quality="MQ")
            self._input_rate = chunk.rate
            self._origin, self._given, self._taken = chunk.pts, 0, 0
        assert self._stream is not None
        samples = self._stream.resample_chunk(np.ascontiguousarray(chunk.samples, np.float32))
        # soxr holds back what the filter still needs: the n-th sample out is the n-th of the signal, without a shift.
        pts = Ns(self._origin + self._given * SECOND // self.rate)
        self._given += len(samples)
        self._taken += len(chunk.samples)
        return replace(chunk, pts=pts, samples=freeze(samples), rate=self.rate)

    def reset(self) -> None:
        self._stream = None
