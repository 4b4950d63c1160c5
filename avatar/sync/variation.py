"""What keeps a held expression alive: two sides that differ, and slow variation that never repeats."""

from __future__ import annotations

import numpy as np

from avatar.core import facs
from avatar.core.types import F32, SECOND, Ns

SIDES = 0.06
"""Standard deviation of the difference between a person's two sides, as a share of the movement. Spontaneous and posed
smiles are about equally asymmetric (Schmidt, Ambadar, Cohn & Reed 2006); the degree is ours, small enough that nobody
looks lopsided."""
LEFT = 0.02
"""The subject's left moves a little more in most people (Borod, Haywood & Koff 1997)."""
OCTAVES: tuple[tuple[float, float], ...] = ((0.9, 0.025), (3.7, 0.05))
"""Seconds from one random value to the next, and their standard deviation as a share of the movement."""
_LIMIT = 2.0
"""Standard deviations; beyond this a face would be odd, however seldom."""

_REGIONS: tuple[tuple[str, ...], ...] = (
    ("brow",), ("eyeWide", "eyeSquint", "cheekSquint"), ("noseSneer",), ("mouth", "jaw", "cheekPuff"),
)  # fmt: skip
_KINDS = sorted({name.removesuffix("Left").removesuffix("Right") for name in facs.ARKIT})
_KIND = np.array([_KINDS.index(name.removesuffix("Left").removesuffix("Right")) for name in facs.ARKIT])
_REGION = np.array(
    [next((i for i, r in enumerate(_REGIONS) if name.startswith(r)), len(_REGIONS)) for name in facs.ARKIT]
)
_SIDE = np.array([1.0 if n.endswith("Left") else -1.0 if n.endswith("Right") else 0.0 for n in facs.ARKIT])
_COUNT = len(_KINDS) + len(_REGIONS) + 1


class Variation:
    """Factors near 1 for each coefficient, as a function of time: the same seed and time give the same factors in
    whatever steps they are asked for. Being factors, they leave a face at rest at rest.

    :param seed: any integer; a person's sides go with it.
    """

    def __init__(self, seed: int = 0) -> None:
        self._key = int(seed) & 0xFFFFFFFF
        sides = np.random.default_rng((self._key, 0x51DE)).standard_normal(len(_REGIONS) + 1)
        self._sides = np.append(LEFT + SIDES * np.clip(sides[:-1], -_LIMIT, _LIMIT), 0.0) / 2
        self._known: dict[tuple[int, int], np.ndarray] = {}

    def at(self, t: Ns) -> F32:
        """(52,) factors at ``t``."""
        moved = np.zeros(_COUNT)
        for octave, (period, size) in enumerate(OCTAVES):
            turn, rest = divmod(t / SECOND, period)
            rest /= period
            smooth = rest * rest * (3 - 2 * rest)
            a, b = self._value(octave, int(turn)), self._value(octave, int(turn) + 1)
            moved += size * ((1 - smooth) * a + smooth * b)
        kinds, regions = moved[: len(_KINDS)], moved[len(_KINDS) :]
        sides = self._sides + 0.35 * regions
        return np.asarray((1 + kinds[_KIND]) * (1 + _SIDE * sides[_REGION]), np.float32)

    def _value(self, octave: int, index: int) -> np.ndarray:
        """(_COUNT,) standard normal, limited: the random values of one moment, the same whenever they are asked for."""
        found = self._known.get((octave, index))
        if found is None:
            if len(self._known) > 16:
                self._known.clear()
            source = np.random.default_rng((self._key, octave, index & 0xFFFFFFFF))
            found = self._known[octave, index] = np.clip(source.standard_normal(_COUNT), -_LIMIT, _LIMIT)
        return found
