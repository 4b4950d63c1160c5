"""A face drawn with simple shapes, whose landmarks are the head basis itself seen from the front."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

import avatar.models
from avatar.core.types import freeze, zeros
from avatar.portrait.basis import HeadBasis
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import FACE_OVAL, LEFT_BROW, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE

WEIGHTS = Path(avatar.models.__file__).parent / "weights"


@cache
def basis() -> HeadBasis:
    return HeadBasis.load(WEIGHTS / "head_basis.npz")


@cache
def drawn_face(size: int = 512) -> AvatarBundle:
    """A bundle with a portrait of ``size`` pixels, mouth closed, eyes open, facing the camera."""
    scale = size / 33.0
    at = basis().landmarks(basis().vertices) * scale
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:468] = at * (1, -1, -1)
    landmarks[:, :2] += (size / 2, size * 0.36)
    for first, contour in ((468, RIGHT_EYE), (473, LEFT_EYE)):
        centre = landmarks[list(contour)].mean(0)
        radius = 0.6 * scale
        landmarks[first : first + 5] = centre + radius * np.array(
            [(0, 0, 0), (1, 0, 0), (0, -1, 0), (-1, 0, 0), (0, 1, 0)], np.float32
        )

    picture = np.full((size, size, 3), (90, 120, 150), np.uint8)
    picture[:: max(4, size // 32)] = (70, 95, 120)  # stripes: motion of the background would show

    def fill(points: np.ndarray, colour: tuple[int, int, int]) -> None:
        cv2.fillPoly(picture, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA)

    oval = landmarks[list(FACE_OVAL), :2]
    fill(oval.mean(0) + (oval - oval.mean(0)) * (1.08, 1.12), (205, 160, 135))
    for brow in (RIGHT_BROW, LEFT_BROW):
        fill(cv2.convexHull(landmarks[list(brow), :2])[:, 0], (70, 45, 35))
    for contour, iris in ((RIGHT_EYE, 468), (LEFT_EYE, 473)):
        eye = np.zeros((size, size), np.uint8)
        cv2.fillPoly(eye, [np.round(landmarks[list(contour), :2]).astype(np.int32)], 255)
        picture[eye > 0] = (235, 232, 228)
        disc = np.zeros_like(eye)
        centre = tuple(round(float(v)) for v in landmarks[iris, :2])
        cv2.circle(disc, centre, max(2, round(0.6 * scale)), 255, -1)
        picture[(eye > 0) & (disc > 0)] = (60, 90, 60)
    fill(landmarks[list(OUTER_LIPS), :2], (170, 80, 85))
    nose = tuple(round(float(v)) for v in landmarks[1, :2])
    cv2.circle(picture, nose, max(2, size // 100), (120, 60, 50), -1)
    return AvatarBundle(
        name="drawn",
        title="Drawn",
        portrait=freeze(cv2.GaussianBlur(picture, (0, 0), 0.7)),
        landmarks=freeze(landmarks),
        coefficients=zeros(52),
        consent="synthetic",
        created="2026-01-01T00:00:00Z",
    )
