"""The second photo: the same person, smiling. It is refused where it is not, with one line."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from avatar.core.facs import INDEX
from avatar.core.types import F32, U8, freeze
from avatar.errors import PhotoError
from avatar.portrait.bundle import AvatarBundle, Smile
from avatar.portrait.checks import mouth_gap
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import take

SMILES, MORE = 0.2, 0.1
"""mouthSmile, mean of both sides, that a smile has, and has more than the first photo."""
PARTED = 0.05
"""Gap between the lips, in distances between the eyes, that shows teeth; then a faint smile will do."""
OTHER, UNSURE = 0.40, 0.60
""":func:`likeness` below which two photos show two people, and below which they may. Of 82 people's own pairs all lie
above 0.52; of 6,642 pairs of two people, two thirds lie below that."""
_SIDE = 96
_EYES_AT, _NOSE_AT = ((0.28, 0.38), (0.72, 0.38)), (0.5, 0.85)
"""Where eyes and the nose's base come to lie, in sides of the compared picture."""
_STABLE = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 55, 285, 107, 336, 70, 300, 46, 276, 105, 334)
"""Landmarks that an expression moves little."""
_SHAPE_COUNTS = 4.0


def with_smile(
    made: AvatarBundle, rgb: U8, detector: LandmarkDetector, glasses: GlassesFinder | None = None
) -> AvatarBundle:
    """``made`` with the smile that the photo ``rgb`` (height, width, 3) shows.

    Raises PhotoError: the codes of :func:`avatar.portrait.onboard.take`, and "no_smile", "other_person", "glasses".
    """
    try:
        shot = take(rgb, detector)
    except PhotoError as error:
        raise PhotoError(f"the smile photo: {error}", error.code) from error
    shown = smile_of(shot.face.coefficients)
    parted = mouth_gap(shot.face.landmarks) > max(PARTED, mouth_gap(made.landmarks) + PARTED / 2)
    if not parted and (shown < SMILES or shown < smile_of(made.coefficients) + MORE):
        raise PhotoError(
            "the smile photo does not smile more than the first; smile with your teeth showing, or leave it out",
            "no_smile",
        )
    like = likeness(made.portrait, made.landmarks, shot.portrait, shot.face.landmarks)
    if like < OTHER:
        raise PhotoError(
            "the smile photo seems to show another person, or quite another light; use two photos of one moment",
            "other_person",
        )
    if glasses is not None and made.glasses is None and glasses.mask(shot.portrait, shot.face.landmarks) is not None:
        raise PhotoError("the smile photo shows glasses and the first does not; take them off for both", "glasses")
    warnings = made.warnings
    if like < UNSURE:
        warnings += ("the two photos differ much; if the smile looks odd, take both in one light, or leave it out",)
    smile = Smile(freeze(shot.portrait), shot.face.landmarks, shot.face.coefficients)
    return replace(made, smile=smile, warnings=warnings)


def smile_of(coefficients: F32) -> float:
    """Mean of both sides' mouthSmile, of (52,)."""
    return float(coefficients[[INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]]].mean())


def likeness(first: U8, points: F32, second: U8, other: F32) -> float:
    """How much two portraits (n, n, 3) look like one person around eyes and nose: the correlation of their band-passed
    log luminance, less the distance of their shapes (Procrustes). Landmarks are (478, 3).

    It looks at one moment's two photos: another light, another beard or make-up make it smaller too.
    """
    a, b = _appearance(first, points), _appearance(second, other)
    best = max(_correlation(a, np.roll(b, shift, (0, 1))) for shift in ((y, x) for y in (-2, 0, 2) for x in (-1, 0, 1)))
    return best - _SHAPE_COUNTS * _shape_distance(points, other)


def _appearance(portrait: U8, points: F32) -> F32:
    source = np.array([points[[33, 133], :2].mean(0), points[[362, 263], :2].mean(0), points[2, :2]], np.float32)
    matrix = cv2.getAffineTransform(source, np.array((*_EYES_AT, _NOSE_AT), np.float32) * _SIDE)
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    grey = cv2.GaussianBlur(grey, (0, 0), max(0.3, 0.5 / max(scale, 1e-3)))
    tones = np.log(cv2.warpAffine(grey, matrix, (_SIDE, _SIDE)).astype(np.float32) + 12)
    return np.asarray(cv2.GaussianBlur(tones, (0, 0), 1.2) - cv2.GaussianBlur(tones, (0, 0), 8), np.float32)


def _correlation(a: F32, b: F32) -> float:
    yy, xx = np.mgrid[:_SIDE, :_SIDE]
    middle = (_SIDE - 1) / 2
    weight = np.exp(-(((xx - middle) / 34.0) ** 4) - ((yy - middle) / 36.0) ** 4)
    a, b = a - np.average(a, weights=weight), b - np.average(b, weights=weight)
    return float((weight * a * b).sum() / np.sqrt((weight * a * a).sum() * (weight * b * b).sum() + 1e-12))


def _shape_distance(a: F32, b: F32) -> float:
    """Of the stable landmarks, in their own spread, in the plane of the second picture."""

    def shape(points: F32) -> np.ndarray:
        chosen = points[list(_STABLE), :3].astype(np.float64)
        chosen -= chosen.mean(0)
        return chosen / np.sqrt((chosen**2).sum(1).mean())

    first, second = shape(a), shape(b)
    u, _, v = np.linalg.svd(first.T @ second)
    return float(np.sqrt((((first @ u @ v) - second)[:, :2] ** 2).sum(1).mean()))
