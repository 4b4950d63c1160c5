"""The common engine of the learned methods: a small network's change of the face, laid onto the photo.

The networks answer at 64 x 64, by a flow of what they see and a change of its colours. The flow, enlarged, moves the
photo itself: brows, lids and lips stay as sharp as they are. What the flow does not explain of the answer is enlarged
and added. Both are differences to the answer at rest, so a still face is the photo to the last bit. Turns of the head
and of the eyes are the flat methods' (:mod:`avatar.engines.classical.plane`).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Change:
    """The difference to the face at rest."""

    flow: F32
    """(2, 64, 64): where each pixel of the crop comes from, x and y in pixels of the crop beside its own place."""
    colour: F32
    """(3, 64, 64) in [-2, 2], on the moved picture."""


class ChangedEngine(FlatEngine):
    """Sizes 256 to 1024. Limits of all of them: 64 pixels for a face, so that what appears is soft; thirteen action
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
        self._out = np.asarray(np.linalg.inv(into[:, :2]), np.float32)
        """(2, 2): a way in the crop's pixels to one in the photo's."""
        columns, rows = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
        self._at = np.stack([columns, rows], -1)
        self._seen_rows = np.ascontiguousarray(self.seen[0].transpose(1, 2, 0))
        self._small_at = np.indices((SIZE, SIZE), np.float32)[::-1]
        fade = np.clip((np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1]) + 0.5) / _EDGE, 0, 1).astype(np.float32)
        self._fade = (fade[:, None] * fade[None, :])[..., None]
        self.load(weights)
        self._still = np.zeros((LANDMARKS, 3), np.float32)

    @abstractmethod
    def load(self, weights: Path) -> None:
        """Load the network, and ask it what does not change. Raises ModelFileError."""

    @abstractmethod
    def change(self, units: F32) -> Change:
        """What ``units`` (13,), not all zero, change."""

    def explained(self, made: F32, flow: F32) -> Change:
        """An answer ``made`` (3, 64, 64) in [-1, 1] as a flow (2, 64, 64) in pixels and what that leaves."""
        x, y = self._small_at + flow
        moved = cv2.remap(self._seen_rows, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return Change(flow, np.asarray(made - moved.transpose(2, 0, 1), np.float32))

    def render(self, state: FaceState) -> U8:
        weights, yaw, pitch = shape_weights(state)
        units = units_of(to_action_units(weights))
        texture = self.laid(self.change(units)) if units.any() else None
        return self.plane.draw(self._still, state.head, Gaze(yaw, pitch), texture)

    def laid(self, change: Change) -> U8:
        """The photo (s, s, 3) with a change on it."""
        x0, y0, x1, y1 = self._place
        away = self._enlarged(change.flow.transpose(1, 2, 0) @ self._out.T)
        moved = cv2.remap(self._photo, self._at + away, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        colour = self._enlarged(change.colour.transpose(1, 2, 0) * np.float32(127.5))
        made = self._photo.copy()
        made[y0:y1, x0:x1] = cv2.add(colour, moved, dtype=cv2.CV_8U)
        return made

    def _enlarged(self, maps: F32) -> F32:
        """``maps`` (64, 64, k) over the part of the photo that the crop covers, (h, w, k), fading at its border."""
        x0, y0, x1, y1 = self._place
        flags, border = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, cv2.BORDER_CONSTANT
        large = cv2.warpAffine(maps * self._fade, self._into, (x1 - x0, y1 - y0), flags=flags, borderMode=border)
        return np.asarray(large, np.float32)
