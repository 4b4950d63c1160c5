"""A notice in the sound that what is seen with it is generated: three soft tones, at the start and now and then.

For those who listen without seeing the badge. Off unless ``output.notice`` says "tone".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, freeze

EVERY = 60 * SECOND
TONES_HZ = (880.0, 1108.7, 1318.5)
"""A major third and a fifth: not the beeps of a call program."""
_TONE, _GAP, _AFTER = 140 * MILLISECOND, 60 * MILLISECOND, 200 * MILLISECOND
LOUDNESS = 0.08
"""Amplitude, about -22 dB full scale: heard under speech, not over it."""


def melody(rate: int) -> F32:
    """(n,) at ``rate``: the notice once."""
    parts = [np.zeros(rate * _AFTER // SECOND, np.float32)]
    t = np.arange(rate * _TONE // SECOND) / rate
    swell = np.sin(np.pi * np.arange(len(t)) / len(t)) ** 2
    for hertz in TONES_HZ:
        parts.append((LOUDNESS * swell * np.sin(2 * np.pi * hertz * t)).astype(np.float32))
        parts.append(np.zeros(rate * _GAP // SECOND, np.float32))
    return np.concatenate(parts)


class ToneNotice:
    """A stage: sound in, sound with the notice out. It counts the session's own time, so every sink hears the same."""

    def __init__(self, every: int = EVERY) -> None:
        self._every = every
        self._melody: dict[int, F32] = {}

    def step(self, chunk: AudioChunk) -> AudioChunk:
        tune = self._melody.setdefault(chunk.rate, melody(chunk.rate))
        period = self._every * chunk.rate // SECOND
        at = ((chunk.pts * chunk.rate + SECOND // 2) // SECOND) % period + np.arange(len(chunk.samples))
        at %= period
        heard = at < len(tune)
        if not heard.any():
            return chunk
        mixed = chunk.samples.copy()
        mixed[heard] += tune[at[heard]]
        return replace(chunk, samples=freeze(np.clip(mixed, -1, 1)))

    def reset(self) -> None:
        """Nothing is remembered."""
