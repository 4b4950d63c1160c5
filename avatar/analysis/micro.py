"""Micro-expressions: small, short movements of single action units, found in a tracked face and enlarged on request.

Here they last 40 to 200 ms (Yan, Wu, Liang, Chen & Fu, "How fast are the leaked facial expressions", J. Nonverbal
Behavior 2013, find them up to half a second) and are weak. They are found by how much a unit stands out against what it
was shortly before and after (feature-difference contrast: Li et al., "Towards reading hidden emotions", IEEE TAC 2018),
against a threshold that follows the tracker's own noise; while the jaw moves, the mouth's units are left out. They are
enlarged as Eulerian magnification enlarges motion in a band (Wu et al., SIGGRAPH 2012), one sample at a time and
without delay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.types import MILLISECOND, SECOND, Ns

UNITS: Mapping[int, tuple[str, ...]] = {
    1: ("browInnerUp",),
    2: ("browOuterUpLeft", "browOuterUpRight"),
    4: ("browDownLeft", "browDownRight"),
    5: ("eyeWideLeft", "eyeWideRight"),
    9: ("noseSneerLeft", "noseSneerRight"),
    10: ("mouthUpperUpLeft", "mouthUpperUpRight"),
    12: ("mouthSmileLeft", "mouthSmileRight"),
    14: ("mouthDimpleLeft", "mouthDimpleRight"),
    15: ("mouthFrownLeft", "mouthFrownRight"),
    17: ("mouthShrugLower",),
    20: ("mouthStretchLeft", "mouthStretchRight"),
    24: ("mouthPressLeft", "mouthPressRight"),
}
"""The action units that are watched; lids and gaze have quick movements of their own."""
SHORTEST, LONGEST = 40 * MILLISECOND, 200 * MILLISECOND
BEFORE = 200 * MILLISECOND
"""How far from its peak a movement must have come and gone."""
WEAKEST, STRONGEST = 0.02, 0.4
"""Contrast: less is the tracker, more is an expression that everybody sees."""
SIGMAS = 5.0
"""Deviations of the unit's own noise that a movement must stand out by."""
MEMORY = 4 * SECOND
"""Over which the noise is measured."""
CROWD = 3
"""More units at once are a movement of the whole face, or the tracker's."""
SPEAKS = 0.06
"""Range of ``jawOpen`` around the peak beyond which the mouth speaks."""
_LEAST = 12
"""Samples without which nothing is said."""
_LID = 0.35
"""A lid that shuts further than this takes brows and cheeks with it."""
_WATCHED = np.zeros((len(UNITS), len(facs.ARKIT)))
for _row, _names in enumerate(UNITS.values()):
    _WATCHED[_row, [facs.INDEX[n] for n in _names]] = 1 / len(_names)
_NUMBERS = tuple(UNITS)
_MOUTH_ROWS = [row for row, number in enumerate(_NUMBERS) if number >= 10]
_LIDS = [facs.INDEX["eyeBlinkLeft"], facs.INDEX["eyeBlinkRight"]]


@dataclass(frozen=True, slots=True)
class Micro:
    """One movement that was found."""

    pts: Ns
    """Of its peak."""
    unit: int
    """Action unit."""
    amplitude: float
    """By how much it stood out, in [0, 1]."""
    duration: Ns
    """Between the moments at half its height."""


class MicroSpotter:
    """Coefficients in, movements out, each about 200 ms after its peak.

    :param sigmas: deviations of the noise that count.
    """

    def __init__(self, sigmas: float = SIGMAS) -> None:
        self._sigmas = sigmas
        self.reset()

    def reset(self) -> None:
        """Forget the face."""
        self._times: deque[int] = deque()
        self._values: deque[NDArray[np.float64]] = deque()
        self._lids: deque[float] = deque()
        self._jaws: deque[float] = deque()
        self._contrasts: deque[tuple[int, NDArray[np.float64]]] = deque()
        self._judged = -1
        self._due = 0
        self._deviation: NDArray[np.float64] = np.zeros(len(UNITS))

    def step(self, pts: Ns, shapes: NDArray[np.floating]) -> tuple[Micro, ...]:
        """Take coefficients (52,), not smoothed, relative to rest. Times rise; after a gap it begins anew."""
        if self._times and not 0 < pts - self._times[-1] <= BEFORE:
            self.reset()
        self._times.append(pts)
        self._values.append(_WATCHED @ shapes)
        self._lids.append(max(float(shapes[i]) for i in _LIDS))
        self._jaws.append(float(shapes[facs.INDEX["jawOpen"]]))
        while self._times[0] < pts - 5 * BEFORE:
            self._times.popleft()
            self._values.popleft()
            self._lids.popleft()
            self._jaws.popleft()
        return self._judge()

    def _judge(self) -> tuple[Micro, ...]:
        times = np.array(self._times)
        middle = int(np.searchsorted(times, times[-1] - BEFORE, side="right")) - 1
        first = int(np.searchsorted(times, times[middle] - BEFORE))
        if middle < 2 or first >= middle or times[middle] - times[0] < BEFORE or times[middle] <= self._judged:
            return ()
        self._judged = int(times[middle])
        here, before, after = self._values[middle], self._values[first], self._values[-1]
        # Against the higher of before and after: a step up or down is no pulse.
        contrast = here - np.maximum(before, after)
        deviation = self._noise(int(times[middle]), here - 0.5 * (before + after))
        if len(self._contrasts) < _LEAST or max(list(self._lids)[first:]) > _LID:
            return ()
        stands_out = contrast > np.maximum(WEAKEST, self._sigmas * deviation)
        if stands_out.sum() > CROWD:
            return ()
        if np.ptp(list(self._jaws)[first:]) > SPEAKS:
            stands_out[_MOUTH_ROWS] = False
        found = []
        values = np.array(self._values) if stands_out.any() else np.zeros((0, 0))
        for row in np.flatnonzero(stands_out):
            track = values[first:, row]
            if contrast[row] > STRONGEST or here[row] < track.max():
                continue
            duration = _width(times[first:], track, middle - first, contrast[row])
            if duration is not None and SHORTEST <= duration <= LONGEST:
                found.append(Micro(Ns(int(times[middle])), _NUMBERS[row], float(contrast[row]), Ns(duration)))
        return tuple(found)

    def _noise(self, t: int, contrast: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each unit's robust standard deviation (median absolute deviation) of the last seconds."""
        self._contrasts.append((t, contrast))
        while self._contrasts[0][0] < t - MEMORY:
            self._contrasts.popleft()
        self._due -= 1
        if self._due <= 0:  # noise does not change from one picture to the next
            self._due = 6
            self._deviation = 1.4826 * np.median(np.abs([c for _, c in self._contrasts]), axis=0)
        return self._deviation


def _width(times: NDArray[np.int64], track: NDArray[np.float64], peak: int, height: float) -> int | None:
    """Nanoseconds between the crossings of half the height on both sides of the peak, or None where there is none."""
    half = track[peak] - height / 2
    ends = []
    for step in (-1, 1):
        i = peak
        while 0 <= i + step < len(track) and track[i + step] > half:
            i += step
        j = i + step
        if not 0 <= j < len(track):
            return None
        share = (track[i] - half) / max(1e-9, track[i] - track[j])
        ends.append(times[i] + share * (times[j] - times[i]))
    return round(ends[1] - ends[0])


class Magnifier:
    """Makes small, short movements larger, without delay. What lasts or is large ends up as it is; since nobody knows
    of a movement that begins how far it will go, its beginning is enlarged as well, by :data:`MOST` at most.

    :param gain: 1 = as they are, 5 = five times.
    """

    WINDOW, LONG = SECOND // 2, 2 * SECOND
    """The unit's usual value is its median over the first; over the second, where it was before an expression."""
    SMALL, LARGE = 0.2, 0.35
    """Movements up to the first are enlarged in full, beyond the second not at all."""
    MOST = 0.3
    FLOOR = 3.0
    """Deviations of the noise that are not enlarged."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain
        self.reset()

    def reset(self) -> None:
        """Forget the face."""
        self._past: deque[tuple[int, NDArray[np.float64]]] = deque()

    def step(self, pts: Ns, shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients (52,) with the watched units' movements enlarged, in [0, 1]."""
        if self.gain == 1.0:
            return shapes
        if self._past and not 0 < pts - self._past[-1][0] <= self.WINDOW:
            self._past.clear()
        self._past.append((pts, shapes))
        while self._past[0][0] < pts - self.LONG:
            self._past.popleft()
        past = np.array([values for _, values in self._past])
        recent = past[[t >= pts - self.WINDOW for t, _ in self._past]]
        usual = np.median(recent, axis=0)
        deviation = 1.4826 * np.median(np.abs(recent - usual), axis=0)
        moved = shapes - usual
        far = np.maximum(np.abs(moved), np.abs(shapes - np.median(past, axis=0)))
        size = np.maximum(0.0, np.abs(moved) - np.minimum(self.FLOOR * deviation, 0.05))
        left = np.clip((self.LARGE - far) / (self.LARGE - self.SMALL), 0, 1)
        more = np.minimum(self.MOST, (self.gain - 1) * left * size)
        return np.where(_WATCHED.any(axis=0), np.clip(shapes + np.sign(moved) * more, 0, 1), shapes)
