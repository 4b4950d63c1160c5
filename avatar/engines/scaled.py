"""An engine that draws fewer pixels than are shown: for machines that cannot draw them all in time."""

from __future__ import annotations

import cv2
import numpy as np

from avatar.core.types import U8, FaceState
from avatar.engines.base import Engine


class ScaledEngine(Engine):
    """Shows what ``inner`` draws at (size, size, 3), enlarged. It goes by the name of the engine that draws."""

    def __init__(self, inner: Engine, size: int) -> None:
        self.inner, self.bundle, self.size = inner, inner.bundle, size
        self.name, self.precision = inner.name, inner.precision

    def render(self, state: FaceState) -> U8:
        return self._enlarged(self.inner.render(state))

    def set_background(self, name: str) -> None:
        self.inner.set_background(name)

    @property
    def background(self) -> str:
        return self.inner.background

    @property
    def alpha(self) -> U8 | None:
        alpha = self.inner.alpha
        return None if alpha is None else self._enlarged(alpha)

    def _enlarged(self, picture: U8) -> U8:
        return np.asarray(cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_LINEAR), np.uint8)
