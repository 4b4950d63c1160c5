"""Engine ``ganimation`` (Pumarola et al. 2018): action units told to a network that paints a mask and a colour.

    picture = (1 - A) C + A photo                                                                     (equation 1)

A and C are 64 x 64; the photo's part of the sum is left at its own size. Recipe and losses:
``avatar.models.recipes.ganimation``, ``avatar train ganimation``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatar.core.types import F32
from avatar.engines.learned.changed import ChangedEngine
from avatar.engines.learned.face import UNITS
from avatar.network import drawing_session

FILE = "ganimation.onnx"


class GanimationEngine(ChangedEngine):
    """One run of the network for each picture."""

    name = "ganimation"

    def load(self, weights: Path) -> None:
        self._session = drawing_session(weights / FILE)
        self._rest = self._painted(np.zeros(len(UNITS), np.float32))

    def change(self, units: F32) -> F32:
        return np.asarray(self._painted(units) - self._rest, np.float32)

    def _painted(self, units: F32) -> F32:
        mask, colour = self._session.run(["mask", "colour"], {"picture": self.seen, "units": units[None]})
        return np.asarray((1 - mask[0]) * (colour[0] - self.seen[0]), np.float32)
