"""The common engine of the learned methods: a small network's change of the face, laid onto the photo.

The network answers at 64 x 64. What is laid onto the photo is the difference between its answer and its answer at rest,
enlarged: a still face is the photo to the last bit, and detail that the network cannot see survives. Turns of the head
and of the eyes are the flat methods' (:mod:`avatar.engines.classical.plane`).
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import cv2
import numpy as np

from avatar.core.facs import to_action_units
from avatar.core.types import F32, U8, FaceState, Gaze
from avatar.engines.classical.flat import FlatEngine
from avatar.engines.head import shape_weights
from avatar.engines.learned.face import SIZE, cut, frame, planes, units_of
from avatar.portrait.fit import LANDMARKS

_EDGE = 5
"""Pixels of the crop over which a change fades out to its border."""


class ChangedEngine(FlatEngine):
    """Sizes 256 to 1024. Limits of all of them: 64 pixels for a face, so that what moves is soft; thirteen action
    units, no speech beyond an opening jaw and rounded or stretched lips; learnt from drawn faces."""

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        into = frame(landmarks)
        self._photo = portrait
        self.seen = planes(cut(portrait, into)[None])
        """(1, 3, 64, 64) what the network sees of the photo."""
        back = cv2.invertAffineTransform(into)
        corners = (
            np.array([(x, y) for x in (-0.5, SIZE - 0.5) for y in (-0.5, SIZE - 0.5)]) @ back[:, :2].T + back[:, 2]
        )
        x0, y0 = (int(v) for v in np.clip(np.floor(corners.min(0)), 0, len(portrait) - 2))
        x1, y1 = (int(v) for v in np.clip(np.ceil(corners.max(0)) + 1, (x0 + 2, y0 + 2), len(portrait)))
        self._place = x0, y0, x1, y1
        self._into = np.c_[into[:, :2], into[:, 2] + into[:, :2] @ (x0, y0)]
        fade = np.clip((np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1]) + 0.5) / _EDGE, 0, 1).astype(np.float32)
        self._fade = (fade[:, None] * fade[None, :] * np.float32(127.5))[..., None]
        self.load(weights)
        self._still = np.zeros((LANDMARKS, 3), np.float32)

    @abstractmethod
    def load(self, weights: Path) -> None:
        """Load the network, and ask it what does not change. Raises ModelFileError."""

    @abstractmethod
    def change(self, units: F32) -> F32:
        """(3, 64, 64) in [-1, 1]: the difference to the face at rest that ``units`` (13,), not all zero, make."""

    def render(self, state: FaceState) -> U8:
        weights, yaw, pitch = shape_weights(state)
        units = units_of(to_action_units(weights))
        texture = self.laid(self.change(units)) if units.any() else None
        return self.plane.draw(self._still, state.head, Gaze(yaw, pitch), texture)

    def laid(self, change: F32) -> U8:
        """The photo (s, s, 3) with a change (3, 64, 64) on it."""
        x0, y0, x1, y1 = self._place
        made, small = self._photo.copy(), change.transpose(1, 2, 0) * self._fade
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        large = cv2.warpAffine(small, self._into, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_CONSTANT)
        made[y0:y1, x0:x1] = np.clip(made[y0:y1, x0:x1] + large + 0.5, 0, 255)
        return made
