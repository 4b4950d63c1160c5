"""Recipe of engine ``eri``: the donors' ratio images, filtered adaptively, and their regression on what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.core.types import F32
from avatar.engines.classical.eri import adaptive_smoothing
from avatar.engines.classical.flat import packed
from avatar.engines.head_folds import MeanFace, fold_weights
from avatar.models.folds.mean_face import mean_face, region
from avatar.models.folds.ridge import symmetric_ridge
from avatar.models.laboratory.people import Example, Shown, write
from avatar.portrait.basis import HeadBasis
from avatar.portrait.fit import INNER_LIPS, LEFT_EYE, RIGHT_EYE

NAMES = ("smile", "squint", "upper_lip")
"""What the smiles of the data consist of (:data:`avatar.engines.head_folds.FOLDS`)."""
PENALTY = 0.02


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from the folder ``faces/london`` of ``data``."""
    return write(learn, data, target)


def learn(people: Sequence[Example], fold: int | None, basis: HeadBasis) -> Mapping[str, np.ndarray]:
    """The arrays that :class:`avatar.engines.classical.eri.EriEngine` loads."""
    face = mean_face([person.neutral.points for person in people])
    reach = skin(face)[..., None]
    ratios = np.stack([ratio_image(face, person.neutral, person.smile) for person in people]) * reach
    shown = np.stack([fold_weights(person.weights[fold], NAMES) for person in people])
    maps = np.stack([symmetric_ridge(ratios[..., c], shown, PENALTY, mean=False) for c in range(3)], -1)
    return {"names": np.array(NAMES), **packed("maps", maps)}


def logs(face: MeanFace, shown: Shown) -> F32:
    """(152, 128, 3): logarithm of the colours in the mean face's frame; black is not infinitely dark."""
    smooth = cv2.GaussianBlur(shown.picture.astype(np.float32), (0, 0), 0.6)
    return face.bring(np.log(smooth + 8), shown.points)


def ratio_image(face: MeanFace, before: Shown, after: Shown) -> F32:
    """(152, 128, 3): log ratio of two photos of one person, in the mean face's frame, without the exposure's change,
    smoothed adaptively."""
    a, b = logs(face, before), logs(face, after)
    ratio = b - a
    ratio -= np.median(ratio[face.inside], 0)
    return adaptive_smoothing(ratio, a.mean(-1), b.mean(-1))


def skin(face: MeanFace) -> F32:
    """(152, 128): where ratios mean anything: the face without eyes and the inside of the mouth, fading at its edge."""
    covered = region(face, RIGHT_EYE, LEFT_EYE) | region(face, INNER_LIPS, grow=1)
    mask = np.where(covered, 0, 1).astype(np.float32)
    depth = cv2.distanceTransform(np.pad(face.inside.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    edge = np.clip(depth / 8, 0, 1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8) * mask * edge, np.float32)
