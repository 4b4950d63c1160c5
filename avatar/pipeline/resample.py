"""Sample rates, as a stage."""

from __future__ import annotations

import math
from dataclasses import replace

from avatar.core.interpolate import Interpolator, Varispeed
from avatar.core.types import SECOND, AudioChunk, Ns, freeze

GAP = SECOND // 20
"""A chunk that begins further than this from where the last one ended is not its continuation."""


class Resampler:
    """Chunks of any rate to ``rate``; those that have it already pass through untouched.

    Streams, with a delay of 24 samples of the lower rate: half a millisecond at 48 kHz, 1.5 ms at 16 kHz. (Resamplers
    that work in blocks hold back up to 40 ms, varying from chunk to chunk.) ``pts`` stays the time at which the sound
    was heard, also where the source's clock drifts. A discontinuity or another input rate starts afresh. Lip cues keep
    their own times.
    """

    HALF = 24
    CUTOFF = 0.93
    """Of the lower Nyquist frequency."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._speed: Varispeed | None = None
        self._input_rate = 0
        self._end = Ns(0)

    def step(self, chunk: AudioChunk) -> AudioChunk:
        """A chunk at the new rate; it may be empty while the filter fills."""
        if chunk.rate == self.rate:
            self._speed = None
            return chunk
        ratio = chunk.rate / self.rate
        broken = chunk.discontinuity or abs(chunk.pts - self._end) > GAP
        if self._speed is None or chunk.rate != self._input_rate or broken:
            wide = max(1.0, ratio)
            self._speed = Varispeed(Interpolator(math.ceil(self.HALF * wide), self.CUTOFF / wide))
            self._input_rate = chunk.rate
        pts = Ns(chunk.pts - round(self._speed.ahead * SECOND / chunk.rate))
        self._end = chunk.end
        return replace(chunk, pts=pts, samples=freeze(self._speed.process(chunk.samples, ratio)), rate=self.rate)

    def reset(self) -> None:
        self._speed = None
