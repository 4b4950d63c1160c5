"""Sound laid on the session's timeline: written as it arrives, read as one unbroken line."""

from __future__ import annotations

from collections import deque

import numpy as np

from avatar.core.types import MILLISECOND, SECOND, AudioChunk, LipCue, Ns, freeze

SLIP = MILLISECOND
"""How far a source may run ahead or behind before its next chunks are stretched by a sample."""
JUMP = 60 * MILLISECOND
"""A larger difference is a gap or a seek, not clock drift: the chunk goes where its time says."""


class AudioTimeline:
    """A ring of the last seconds of sound, addressed by session time.

    The reader gets silence wherever nothing was written, so that what leaves never has a hole. A source whose clock
    drifts is followed by stretching chunks by one sample (below a fifth of a percent, which nobody hears), never by
    a jump. Overlapping writes replace.

    :param rate: samples a second of everything written and read.
    :param length: seconds kept.
    """

    def __init__(self, rate: int, length: float = 4.0) -> None:
        self.rate = rate
        self._ring = np.zeros(round(rate * length), np.float32)
        self._read = 0
        self._next: int | None = None
        self._scripts: deque[tuple[int, int, tuple[LipCue, ...]]] = deque()
        self.late = 0
        """Samples that came after their time had been read."""
        self.slips = 0
        """Chunks that were stretched."""

    def _index(self, t: int) -> int:
        return round(t * self.rate / SECOND)

    def write(self, chunk: AudioChunk) -> None:
        """Lay down a chunk at its ``pts``. Raises ValueError for another sample rate."""
        if chunk.rate != self.rate:
            raise ValueError(f"{chunk.rate} Hz on a timeline of {self.rate} Hz")
        start, samples = self._index(chunk.pts), chunk.samples
        if self._next is not None and not chunk.discontinuity:
            behind = start - self._next
            if abs(behind) * SECOND < JUMP * self.rate:
                start = self._next
                if abs(behind) * SECOND > SLIP * self.rate and len(samples) > 2:
                    n = len(samples) + (1 if behind > 0 else -1)
                    places = np.linspace(0, len(samples) - 1, n)
                    samples = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
                    self.slips += 1
        self._next = start + len(samples)
        if chunk.lips is not None:
            self._scripts.append((start, self._next, chunk.lips))
        late = min(len(samples), max(0, self._read - start))
        self.late += late
        start, samples = start + late, samples[late:]
        samples = samples[: max(0, self._read + len(self._ring) - start)]  # far ahead: no room yet
        if len(samples):
            self._ring[np.arange(start, start + len(samples)) % len(self._ring)] = samples

    @property
    def position(self) -> Ns:
        """Time of the next sample to be read."""
        return self._time(self._read)

    def skip(self, t: Ns) -> None:
        """Start reading at ``t``, forgetting everything before and all that is written."""
        self._ring[:] = 0
        self._read = self._index(t)
        self._next = None
        self._scripts.clear()

    def cut(self) -> None:
        """The source has changed: what it wrote ahead is taken back, the next write starts afresh."""
        self._ring[:] = 0
        self._next = None
        self._scripts.clear()

    def read(self, n: int) -> AudioChunk:
        """The next ``n`` samples; silence where there is none."""
        start = self._read
        where = np.arange(start, start + n) % len(self._ring)
        samples = self._ring[where]
        self._ring[where] = 0
        self._read = start + n
        while self._scripts and self._scripts[0][1] <= start:
            self._scripts.popleft()
        begin, end = self._time(start), self._time(start + n)
        scripted = [lips for a, b, lips in self._scripts if a < start + n and b > start]
        lips = tuple(c for script in scripted for c in script if begin <= c.pts < end) if scripted else None
        return AudioChunk(begin, freeze(samples), self.rate, lips=lips)

    def _time(self, index: int) -> Ns:
        return Ns(round(index * SECOND / self.rate))
