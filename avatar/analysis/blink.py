"""Blinks with the statistics that people have.

Rates of 17 a minute at rest and 26 in conversation (Bentivoglio et al. 1997), log-normal intervals, 100 to 400 ms with
a fast closing and a slow opening (Evinger, Manning & Sibony 1991).
"""

from __future__ import annotations

import math

import numpy as np

from avatar.core.types import MILLISECOND, SECOND, BlinkCue, Ns

REST_PER_MINUTE, TALK_PER_MINUTE = 17.0, 26.0
_SPREAD = 0.65
"""Standard deviation of the logarithm of the intervals."""
_CLOSING = 0.32
"""Share of a blink's duration spent closing."""
_HOLD = 0.10
_MIN_GAP = 100 * MILLISECOND


def _ease(x: float) -> float:
    return x * x * (3 - 2 * x)


def lid(phase: float) -> float:
    """Closure at a share of a blink's duration: 0 outside (0, 1), 1 while shut."""
    if not 0 < phase < 1:
        return 0.0
    if phase < _CLOSING:
        return _ease(phase / _CLOSING)
    if phase < _CLOSING + _HOLD:
        return 1.0
    return _ease((1 - phase) / (1 - _CLOSING - _HOLD))


class BlinkModel:
    """One person's blinking. The same seed and times give the same blinks, at any frame rate.

    :param seed: any integer.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        self._random = np.random.default_rng((self._seed, 0xB11))
        self._pts: Ns | None = None
        self._progress = 0.0
        # The first interval is cut short at random, as if the viewer came in the middle of it.
        self._next = self._interval() * float(self._random.uniform(0.1, 0.8))
        self._start = self._length = 0
        self._depth = 1.0

    def _interval(self) -> float:
        """Mean 1; in units of the mean interval, so that the rate may change within one."""
        return math.exp(self._random.normal(-0.5 * _SPREAD**2, _SPREAD))

    def step(self, pts: Ns, speaking: bool) -> BlinkCue:
        """The lids at ``pts``; ``pts`` never goes back. ``speaking`` makes blinks more frequent."""
        if self._pts is None:
            self._pts = pts
        rate = (TALK_PER_MINUTE if speaking else REST_PER_MINUTE) / 60 / SECOND
        elapsed = max(0, pts - self._pts)
        # A long gap (the machine slept) is not made up for.
        progress = self._progress + min(elapsed, 10 * SECOND) * rate
        while progress >= self._next:
            begin = pts - round((progress - self._next) / rate)
            begin = max(begin, self._start + self._length + _MIN_GAP)
            self._start = begin
            self._length = round(min(0.4, max(0.1, math.exp(self._random.normal(math.log(0.2), 0.3)))) * SECOND)
            self._depth = 1.0 if self._random.random() < 0.92 else float(self._random.uniform(0.6, 0.9))
            progress -= self._next
            self._next = self._interval()
        self._progress, self._pts = progress, pts
        closure = self._depth * lid((pts - self._start) / self._length) if self._length else 0.0
        return BlinkCue(pts, closure, closure)
