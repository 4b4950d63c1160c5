"""Engine ``ganimation`` (Pumarola et al. 2018): action units told to a network that paints a mask and a colour.

    picture = (1 - A) C + A photo                                                                     (equation 1)

A and C are 64 x 64. C is what the network sees, moved by a flow, and a change of its colours; where A keeps a part of
the photo, the flow is as much shorter: two pictures of a brow are not laid over each other. Recipe and losses:
``avatar.models.recipes.ganimation``, ``avatar train ganimation``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatar.core.types import F32
from avatar.engines.learned.changed import Change, ChangedEngine
from avatar.engines.learned.face import SIZE, UNITS
from avatar.network import drawing_session

FILE = "ganimation.onnx"


class GanimationEngine(ChangedEngine):
    """One run of the network for each picture."""

    name = "ganimation"

    def load(self, weights: Path) -> None:
        self._session = drawing_session(weights / FILE)
        self._rest, self._rest_flow = self._answer(np.zeros(len(UNITS), np.float32))

    def change(self, units: F32) -> Change:
        made, flow = self._answer(units)
        return self.explained(self.seen[0] + made - self._rest, flow - self._rest_flow)

    def _answer(self, units: F32) -> tuple[F32, F32]:
        """The picture (3, 64, 64), and the flow (2, 64, 64) in pixels."""
        asked = {"picture": self.seen, "units": units[None]}
        mask, colour, flow = (out[0] for out in self._session.run(["mask", "colour", "flow"], asked))
        shown = np.float32(1) - mask
        return shown * colour + mask * self.seen[0], np.float32(SIZE / 2) * shown * flow
