"""Which emotion is held while its evidence comes and goes, so that a face does not flicker.

Both ways of changing are cumulative sums (CUSUM: Page, Biometrika 41, 1954): what speaks for another class is added up,
what speaks against it taken off, and at a height the class changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar.core.types import EMOTIONS, F32, EmotionLabel

STEP_S = 0.1
"""Seconds from one step to the next."""
_IMPROBABLE = -0.3
"""At most what a class adds a second that is less probable than neutral by more than it may be."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """When neutral is left: by how many of a speaker's own deviations another class must lead, for how long.

    The lead is the log odds of a class over neutral. Its mean and deviation are those of the strongest class while
    neutral is held, so who reads in a lively voice must lead by more, and who speaks evenly is not waited for.
    """

    deviations: float
    """Taken off a lead, which is counted in deviations above the speaker's mean."""
    owed: float
    """Deviations times seconds that have to sum up."""
    most: float
    """Deviations that one step counts at most: one loud word is not enough."""
    against: float
    """Deviations (negative) that one step takes off at most."""
    least: float
    """Log odds over neutral below which a class is not taken up."""
    narrowest: float
    """The least deviation, log odds."""
    memory: float
    """Steps after which a lead counts a third."""
    usual: tuple[float, float, float]
    """Number, mean and deviation of the leads that somebody new is taken to have had."""

    @classmethod
    def of(cls, numbers: list[float]) -> Leaving:
        """From ten numbers in this order. Raises ValueError where there are more or fewer."""
        deviations, owed, most, against, least, narrowest, memory, *usual = numbers
        number, mean, deviation = usual
        return cls(deviations, owed, most, against, least, narrowest, memory, (number, mean, deviation))


class HeldClass:
    """Which class is held, from one set of probabilities after another: another takes over once its lead in
    probability, less a margin, has summed up to ``owed`` seconds.

    :param leaving: how neutral is left; None = as every other class.
    """

    def __init__(self, margin: float, owed: float, leaving: Leaving | None = None) -> None:
        self._margin, self._owed, self._leaving = margin, owed, leaving
        number, mean, deviation = leaving.usual if leaving is not None else (1.0, 0.0, 1.0)
        self._count, self._sum, self._square = number, number * mean, number * (mean**2 + deviation**2)
        self.reset()

    def reset(self) -> None:
        """Neutral is held. What the speaker's leads are like stays known."""
        self.index = 0
        self._lead = np.zeros(len(EMOTIONS))

    def step(self, probabilities: F32, odds: F32 | None = None, trust: float = 1.0) -> EmotionLabel:
        """The class that is held after the next 100 ms.

        :param probabilities: (7,) over EMOTIONS. :param odds: (7,) log odds of each class over neutral, before they
            were made smaller for want of trust; None where nothing was judged. :param trust: in them, [0, 1].
        """
        if self.index == 0 and self._leaving is not None:
            ahead, owed = self._ahead_of_neutral(self._leaving, odds, trust), self._leaving.owed
        else:
            ahead, owed = probabilities - probabilities[self.index] - self._margin, self._owed
        self._lead = np.maximum(0.0, self._lead + ahead * STEP_S)
        self._lead[self.index] = 0.0
        best = int(self._lead.argmax())
        if self._lead[best] >= owed:
            self.index = best
            self._lead[:] = 0.0
        return EMOTIONS[self.index]

    def _ahead_of_neutral(self, leaving: Leaving, odds: F32 | None, trust: float) -> np.ndarray:
        """(7,) deviations above what is owed."""
        if odds is None:
            return np.full(len(EMOTIONS), -1.0)
        mean = self._sum / self._count
        deviation = max(leaving.narrowest, np.sqrt(max(0.0, self._square / self._count - mean**2)))
        out = np.clip((odds - mean) / deviation - leaving.deviations, leaving.against, leaving.most)
        out = np.where(odds > leaving.least, out, np.minimum(out, _IMPROBABLE))
        self._remember(float(odds[1:].max()), 1 - 1 / leaving.memory)
        return np.asarray(np.where(out > 0, out * trust, out))

    def _remember(self, lead: float, kept: float) -> None:
        self._count = self._count * kept + 1
        self._sum = self._sum * kept + lead
        self._square = self._square * kept + lead**2
