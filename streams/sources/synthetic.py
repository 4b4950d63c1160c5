"""Test signals whose every sample is known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import ClassVar

import numpy as np

from avatar.core import facs
from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, LipCue, Ns, freeze, zeros
from avatar.streams.sources.paced import CHUNK, RATE, PacedAudioSource, chunk_at


class _Synthetic(PacedAudioSource):
    """:param duration: seconds; None = for ever."""

    def __init__(self, duration: float | None = None) -> None:
        super().__init__()
        self._count = None if duration is None else round(duration * RATE / CHUNK)

    def _indices(self) -> Iterator[int]:
        return count() if self._count is None else iter(range(self._count))


class SilenceSource(_Synthetic):
    """Zeros."""

    name: ClassVar[str] = "silence"

    def chunks(self) -> Iterator[AudioChunk]:
        return (chunk_at(i, np.zeros(CHUNK, np.float32)) for i in self._indices())


class ToneSource(_Synthetic):
    """A sine without a click at chunk borders.

    :param frequency: hertz.
    :param level: peak in [0, 1].
    """

    name: ClassVar[str] = "tone"

    def __init__(self, frequency: float = 440.0, level: float = 0.25, duration: float | None = None) -> None:
        super().__init__(duration)
        self._frequency, self._level = frequency, level

    def chunks(self) -> Iterator[AudioChunk]:
        n = np.arange(CHUNK)
        for i in self._indices():
            yield chunk_at(i, self._level * np.sin(2 * np.pi * self._frequency * (i * CHUNK + n) / RATE))


class NoiseSource(_Synthetic):
    """White noise, the same for the same seed.

    :param level: RMS in [0, 1].
    """

    name: ClassVar[str] = "noise"

    def __init__(self, level: float = 0.05, seed: int = 0, duration: float | None = None) -> None:
        super().__init__(duration)
        self._level, self._seed = level, seed

    def chunks(self) -> Iterator[AudioChunk]:
        random = np.random.default_rng(self._seed)
        for i in self._indices():
            yield chunk_at(i, np.clip(self._level * random.standard_normal(CHUNK), -1, 1))


class FlashBeepSource(_Synthetic):
    """A clapperboard: on every full second since its start a beep and, from the same moment, an open mouth.

    The beep is 20 ms of 1 kHz. The mouth is open for 100 ms, three pictures at 30 a second, so that a picture always
    falls into it; it opens and closes within a millisecond.
    """

    name: ClassVar[str] = "flash_beep"
    FREQUENCY = 1_000.0
    OPEN = 100 * MILLISECOND

    def begin(self, now: Ns) -> Ns:
        """On a full second of the session, where a picture of every usual frame rate falls too: otherwise the next
        picture would be up to a frame late, which is not the fault of what is measured."""
        return Ns(-(-now // SECOND) * SECOND)

    def chunks(self) -> Iterator[AudioChunk]:
        per_second, open_chunks = RATE // CHUNK, self.OPEN * RATE // (CHUNK * 1_000 * MILLISECOND)
        beep = 0.5 * np.sin(2 * np.pi * self.FREQUENCY * np.arange(CHUNK) / RATE)
        for i in self._indices():
            phase = i % per_second
            chunk = chunk_at(i, beep if phase == 0 else np.zeros(CHUNK, np.float32))
            # Two cues hold the value over the whole chunk: interpolation then cannot smear the step.
            times = (chunk.pts, Ns(chunk.end - MILLISECOND))
            yield chunk_at(i, chunk.samples, tuple(_jaw(t, phase < open_chunks) for t in times))


def _jaw(pts: Ns, is_open: bool) -> LipCue:
    visemes = np.zeros(len(facs.VISEMES), np.float32)
    visemes[facs.VISEME_INDEX["aa" if is_open else "sil"]] = 1
    mouth: F32 = facs.arkit_vector({"jawOpen": 1.0}) if is_open else zeros(len(facs.ARKIT))
    return LipCue(pts, freeze(visemes), freeze(mouth), voiced=is_open)
