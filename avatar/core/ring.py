"""Sound laid on the session's timeline: written as it arrives, read as one unbroken line."""

from __future__ import annotations

from collections import deque

import numpy as np

from avatar.core.interpolate import Interpolator, Varispeed
from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, LipCue, Move, Ns, freeze

SLIP = MILLISECOND
"""How far a source may run ahead or behind before it is played faster or slower; clocks that agree are not touched."""
JUMP = 60 * MILLISECOND
"""A larger difference is a gap or a seek, not clock drift: the chunk goes where its time says."""
GAIN = 0.2
"""Per second: the share of a difference that is taken back each second. A clock that is 200 ppm off stays 1 ms off."""
MAX_STRETCH = 2e-3
"""A fifth of a percent, 3.5 cents: less than anybody hears as another pitch."""
FADE = 2 * MILLISECOND
"""Where two pieces of sound do not belong together, one ends and the other begins within this, without a click."""


class AudioTimeline:
    """A ring of the last seconds of sound, addressed by session time.

    The reader gets silence wherever nothing was written, so that what leaves never has a hole. A source whose clock
    drifts is followed by playing it a little faster or slower (:class:`~avatar.core.interpolate.Varispeed`), never by
    a jump. Overlapping writes replace.

    :param rate: samples a second of everything written and read.
    :param length: seconds kept.
    """

    def __init__(self, rate: int, length: float = 4.0) -> None:
        self.rate = rate
        self._ring = np.zeros(round(rate * length), np.float32)
        self._read = 0
        self._next: int | None = None
        self._interpolator = Interpolator()
        self._speed: Varispeed | None = None
        self._history: F32 = np.zeros(0, np.float32)
        self._scripts: deque[tuple[int, int, tuple[LipCue, ...]]] = deque()
        self._moves: deque[Move] = deque()
        self.late = 0
        """Samples that came after their time had been read."""
        self.overruns = 0
        """Samples so far ahead of their time that there was no room."""
        self.stretch = 0.0
        """By how much the source is slowed down now, 1e-6 = one part per million."""

    def _index(self, t: int) -> int:
        return round(t * self.rate / SECOND)

    def write(self, chunk: AudioChunk) -> None:
        """Lay down a chunk at its ``pts``. Raises ValueError for another sample rate."""
        if chunk.rate != self.rate:
            raise ValueError(f"{chunk.rate} Hz on a timeline of {self.rate} Hz")
        start, samples = self._index(chunk.pts), chunk.samples
        behind = 0.0 if self._next is None else self._behind(chunk.pts)
        if self._next is None or chunk.discontinuity or abs(behind) * SECOND >= JUMP * self.rate:
            samples = self._part(start, samples)
        else:
            start, samples = self._next, self._follow(samples, behind)
        self._next = start + len(samples)
        if chunk.lips is not None:
            self._scripts.append((start, self._next, chunk.lips))
        self._moves.extend(chunk.moves)
        self._lay(start, samples)

    def _behind(self, pts: Ns) -> float:
        """Samples by which a chunk of this time comes later than the end of what is laid down."""
        assert self._next is not None
        waiting = 0.0 if self._speed is None else self._speed.ahead * (1 + self.stretch)
        return pts * self.rate / SECOND - self._next - waiting

    def _follow(self, samples: F32, behind: float) -> F32:
        """The next samples of a source that is in one piece."""
        if self._speed is None:
            if abs(behind) * SECOND <= SLIP * self.rate:
                self._history = samples if len(samples) >= self._interpolator.half else self._history
                return samples
            self._speed = Varispeed(self._interpolator, self._history)
        self.stretch = max(-MAX_STRETCH, min(MAX_STRETCH, GAIN * behind / self.rate))
        return self._speed.process(samples, 1 / (1 + self.stretch))

    def _part(self, start: int, samples: F32) -> F32:
        """The first samples of another piece, which begins at ``start``: let the one before fade out, this one in."""
        fade = min(len(samples), round(FADE * self.rate / SECOND))
        self._history, self._speed, self.stretch = samples, None, 0.0
        if self._next is None or not fade:
            return samples
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        end = min(start, self._next)
        places = np.arange(max(self._read, end - fade), end)
        self._ring[places % len(self._ring)] *= ramp[::-1][fade - len(places) :]
        return np.concatenate([samples[:fade] * ramp, samples[fade:]])

    def _lay(self, start: int, samples: F32) -> None:
        late = min(len(samples), max(0, self._read - start))
        self.late += late
        start, samples = start + late, samples[late:]
        room = max(0, self._read + len(self._ring) - start)
        self.overruns += max(0, len(samples) - room)
        samples = samples[:room]
        if len(samples):
            self._ring[np.arange(start, start + len(samples)) % len(self._ring)] = samples

    @property
    def position(self) -> Ns:
        """Time of the next sample to be read."""
        return self._time(self._read)

    def skip(self, t: Ns) -> None:
        """Start reading at ``t``, forgetting everything before and all that is written."""
        self._read = self._index(t)
        self.cut()

    def cut(self) -> None:
        """The source has changed: what it wrote ahead is taken back, the next write starts afresh."""
        self._ring[:] = 0
        self._next, self._speed, self.stretch = None, None, 0.0
        self._scripts.clear()
        self._moves.clear()

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
        moves: list[Move] = []
        while self._moves and self._moves[0].pts < end:
            moves.append(self._moves.popleft())
        return AudioChunk(begin, freeze(samples), self.rate, lips=lips, moves=tuple(moves))

    def _time(self, index: int) -> Ns:
        return Ns(round(index * SECOND / self.rate))
