"""The rhythm of pictures."""

from __future__ import annotations

from avatar.core.types import SECOND, Ns


class Cadence:
    """A fixed grid of moments, ``fps`` a second. Late ticks are skipped and counted, never stacked."""

    def __init__(self, fps: float) -> None:
        if fps <= 0:
            raise ValueError(f"{fps} frames a second: more than 0")
        self.fps = fps
        self.skipped = 0
        self._last = -1

    def time(self, index: int) -> Ns:
        return Ns(round(index * SECOND / self.fps))

    def next(self, now: Ns) -> Ns:
        """The first grid time at or after ``now`` that has not been given out."""
        index = max(0, -(-now * round(self.fps * 1000) // (SECOND * 1000)))
        while self.time(index) < now:
            index += 1
        if self._last >= 0:
            self.skipped += max(0, index - self._last - 1)
            index = max(index, self._last + 1)
        self._last = index
        return self.time(index)

    def slower(self, n: int, fps: float) -> Cadence:
        """A grid of every ``n``-th moment of ``fps`` a second that goes on after what this one has given out."""
        made = Cadence(fps / n)
        made.skipped = self.skipped
        if self._last >= 0:
            made._last = int(self.time(self._last) * made.fps / SECOND + 1e-6)
        return made

    def pause(self) -> None:
        """Nobody watches: what passes until the next tick is not skipped."""
        self._last = -1
