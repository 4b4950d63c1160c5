"""Engines ``stargan`` (Choi et al. 2018) and ``exprgan`` (Ding et al. 2018): whole expressions, mixed into a state.

The networks know expressions, not action units. They are asked once for each as the avatar is loaded; a state is then
as much of each expression as explains its units best (non-negative least squares on the prototypes), and the changes
are added. ExprGAN is asked for four strengths, and what lies between two is mixed; StarGAN knows one.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnxruntime
from scipy.optimize import nnls

from avatar.core.types import F32
from avatar.engines.learned.changed import Change, ChangedEngine
from avatar.engines.learned.face import EXPRESSIONS, LABELS, SIZE, controller, units_of
from avatar.network import one_thread_session

_PROTOTYPES = np.stack([units_of(EXPRESSIONS[label]) for label in LABELS[1:]], 1).astype(np.float64)
"""(13, 6)."""


def shares(units: F32) -> F32:
    """(6,) in [0, 1]: how much of each expression of :data:`.face.LABELS` but the first explains ``units`` (13,)."""
    found, _ = nnls(_PROTOTYPES, np.asarray(units, np.float64))
    return np.clip(found, 0, 1).astype(np.float32)


class ExpressionsEngine(ChangedEngine):
    """No network runs while it draws."""

    file: ClassVar[str]
    strengths: ClassVar[tuple[float, ...]]
    """Ascending, the last one being 1."""

    def load(self, weights: Path) -> None:
        session = one_thread_session(weights / self.file)
        rest = self._asked(session, 0, 0.0)
        self._changes = np.stack([
            [np.zeros_like(rest), *(self._asked(session, label, strength) - rest for strength in self.strengths)]
            for label in range(1, len(LABELS))
        ])  # fmt: skip
        """(6, 1 + strengths, 5, 64, 64), from nothing to full: flows in pixels, and colours of the answer."""

    def _asked(self, session: onnxruntime.InferenceSession, label: int, strength: float) -> F32:
        picture, told = (given.name for given in session.get_inputs())
        asked = {picture: self.seen, told: self.condition(label, strength)[None]}
        made, flow = (out[0] for out in session.run(["made", "flow"], asked))
        return np.concatenate([np.float32(SIZE / 2) * flow, np.clip(made, -1, 1)]).astype(np.float32)

    @abstractmethod
    def condition(self, label: int, strength: float) -> F32:
        """What the network is told."""

    def change(self, units: F32) -> Change:
        levels = np.array((0.0, *self.strengths))
        made = np.zeros_like(self._changes[0, 0])
        for of, share in zip(self._changes, shares(units), strict=True):
            if share > 0:
                above = int(np.searchsorted(levels, share))
                part = np.float32((share - levels[above - 1]) / (levels[above] - levels[above - 1]))
                made += (1 - part) * of[above - 1] + part * of[above]
        return self.explained(self.seen[0] + made[2:], made[:2])


class StarganEngine(ExpressionsEngine):
    """Seven classes."""

    name = "stargan"
    file = "stargan.onnx"
    strengths = (1.0,)

    def condition(self, label: int, strength: float) -> F32:
        return np.eye(len(LABELS), dtype=np.float32)[label]


class ExprganEngine(ExpressionsEngine):
    """Six expressions of any strength."""

    name = "exprgan"
    file = "exprgan.onnx"
    strengths = (0.25, 0.5, 0.75, 1.0)

    def condition(self, label: int, strength: float) -> F32:
        return controller(label, strength)
