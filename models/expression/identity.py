"""Whose face is it? 128 numbers a face, by dlib's ResNet (King 2017); two photos of one person are about 0.2 to 0.5
apart, two people usually above 0.6.

The network sees the face's own landmarks from MediaPipe; dlib's landmark models are not used (one of them is trained on
data that forbid commercial use).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from avatar.core.types import F32, U8

# dlib's five points: outer and inner corner of the eye on the picture's right, the same on its left, base of the nose.
_POINTS = (263, 362, 33, 133, 2)
_WEIGHTS = "models/dlib_face_recognition_resnet_model_v1.dat"


class FaceNet:
    """Raises ModuleNotFoundError where dlib or the package with its weights is not installed."""

    def __init__(self) -> None:
        import dlib

        # The package is only located: importing it needs pkg_resources, which newer setuptools no longer have.
        spec = importlib.util.find_spec("face_recognition_models")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("no face_recognition_models", name="face-recognition-models")
        self._lib: Any = dlib
        self._net: Any = dlib.face_recognition_model_v1(str(Path(spec.origin).parent / _WEIGHTS))

    def describe(self, rgb: U8, points: F32) -> F32:
        """(128,) of the face in ``rgb`` (height, width, 3) whose landmarks are ``points`` (468 or more, 2 or more)."""
        parts = [self._lib.point(round(float(x)), round(float(y))) for x, y in points[list(_POINTS), :2]]
        low, high = np.floor(points[:, :2].min(0)), np.ceil(points[:, :2].max(0))
        box = self._lib.rectangle(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        found = self._net.compute_face_descriptor(
            np.ascontiguousarray(rgb), self._lib.full_object_detection(box, parts)
        )
        return np.asarray(found, np.float32)


def distances(pictures: list[F32], gallery: list[F32]) -> F32:
    """(n, m) Euclidean distances of descriptors."""
    a, b = np.stack(pictures), np.stack(gallery)
    return np.linalg.norm(a[:, None] - b[None], axis=-1).astype(np.float32)
