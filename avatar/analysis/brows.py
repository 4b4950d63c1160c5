"""Brows that rise with accents (Swerts & Krahmer 2008: brow movements go with accented words), one hop at a time."""

from __future__ import annotations

import numpy as np

from avatar.analysis.headpose import Spring
from avatar.analysis.prosody import Melody
from avatar.core.facs import ARKIT, INDEX
from avatar.core.types import F32

SHARE = 0.3
"""Accents that raise the brows."""
_INNER = INDEX["browInnerUp"]
_OUTER = [INDEX["browOuterUpLeft"], INDEX["browOuterUpRight"]]


class BrowAccents:
    """Upper-face coefficients from accents.

    :param seed: any integer.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        self._random = np.random.default_rng((self._seed, 0xB20))
        self._spring = Spring(0.14)
        self._target = 0.0
        self._left = 0

    def step(self, melody: Melody) -> F32:
        """(52,): only brow entries are ever set, at most 0.35."""
        if melody.accent > 0 and self._random.random() < SHARE:
            self._target = min(0.35, 0.12 + 0.25 * melody.accent * float(self._random.uniform(0.7, 1.3)))
            self._left = int(self._random.integers(16, 34))
        self._left -= 1
        value = self._spring.step(self._target if self._left > 0 else 0.0)
        out = np.zeros(len(ARKIT), np.float32)
        if value > 1e-3:
            out[_INNER] = value
            out[_OUTER] = 0.8 * value
        return out
