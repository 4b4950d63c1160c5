"""How an expression comes and goes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from avatar.core.types import EmotionLabel
from avatar.sync.expression import FELT

ONSET: Mapping[EmotionLabel, float] = {
    "happiness": 0.6,
    "sadness": 1.4,
    "anger": 0.7,
    "fear": 0.45,
    "disgust": 0.5,
    "surprise": 0.3,
}
"""Seconds from 5 to 95 % of an expression. Smiles rise in 0.4 to 0.8 s (Schmidt, Cohn & Tian 2003). The others are ours
in an order that was found: sadness is recognised best when slow, happiness and surprise when fast, anger in between
(Kamachi et al. 2001), disgust when fast or moderate (Recio, Schacht & Sommer 2013)."""
OFFSET: Mapping[EmotionLabel, float] = {
    "happiness": 1.3,
    "sadness": 2.2,
    "anger": 1.4,
    "fear": 1.0,
    "disgust": 0.9,
    "surprise": 0.8,
}
"""Seconds from 95 to 5 %: an expression goes more slowly than it came."""

_SPAN = 4.389
"""``w`` times the seconds from 5 to 95 % of a critically damped spring."""
_RISE, _FALL = (_SPAN / np.array([table[label] for label in FELT]) for table in (ONSET, OFFSET))


class Onset:
    """Degrees (6,) that follow their targets, each with the onset and offset of its emotion.

    Critically damped springs, solved exactly for each step: no jump in value or speed, no overshoot of a step, and the
    same course at any number of pictures a second.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to nothing felt."""
        self.degrees = np.zeros(len(FELT))
        self._speed = np.zeros(len(FELT))

    def step(self, dt: float, target: NDArray[np.floating]) -> NDArray[np.float64]:
        """The degrees (6,) ``dt`` seconds later, on their way to ``target`` (6,)."""
        away = self.degrees - target
        w = np.where(away <= 0, _RISE, _FALL)
        fade = np.exp(-w * dt)
        push = self._speed + w * away
        degrees = target + (away + push * dt) * fade
        self._speed = (self._speed - w * push * dt) * fade
        # A spring that was on its way up when its target fell may swing below rest: a face has no less than nothing.
        self._speed[degrees < 0] = 0.0
        self.degrees = np.maximum(degrees, 0.0)
        return self.degrees
