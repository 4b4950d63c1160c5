"""Recipe of engine ``map``: mean face, displacement of each shape, the mean inside of a mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.core.facs import ARKIT, INDEX
from avatar.core.types import F32
from avatar.engines.classical import interior
from avatar.engines.classical.plane import frame_between
from avatar.models.folds.mean_face import mean_face
from avatar.models.laboratory.people import Example, write
from avatar.portrait.basis import HeadBasis
from avatar.portrait.fit import on_landmarks

PENALTY = 0.6
"""Of the squared corrections, in sums of squared weights."""
_FLIP = np.array((1.0, -1.0, -1.0))
"""Basis to picture: y down, z away from the viewer."""
LIGHT = 5.0
"""Smiles that must show a depth of the mouth before its mean counts in full."""


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from the folder ``faces/london`` of ``data``."""
    return write(learn, data, target)


def learn(people: Sequence[Example], fold: int | None, basis: HeadBasis) -> Mapping[str, np.ndarray]:
    """The arrays that :class:`avatar.engines.classical.flat.FlatEngine` loads."""
    mean, shapes = basis_shapes(basis)
    shapes = corrected(mean, shapes, people, fold)
    face = mean_face([person.neutral.points for person in people])
    return {
        "mean": mean.astype(np.float32),
        "shapes": shapes.astype(np.float16),
        "mouth": mouth(people)[0].astype(np.float16),
        "frame": face.points,
        "triangles": face.triangles.astype(np.int16),
    }


def basis_shapes(basis: HeadBasis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean face (468, 3) and the shapes' displacements (52, 468, 3), in the picture's axes and in distances between
    the outer corners of the eyes."""
    mean = on_landmarks(basis, basis.vertices) * _FLIP
    unit = np.hypot(*(mean[33, :2] - mean[263, :2]))
    return mean / unit, on_landmarks(basis, basis.expressions) * _FLIP / unit


def motion(mean: NDArray[np.floating], person: Example) -> NDArray[np.float64]:
    """(468, 3): how the smile moved the landmarks, on the mean face: head turns, scale and rotation taken out."""
    before, after = person.neutral.landmarks, person.smile.landmarks
    same = frame_between(after, before)
    moved = after @ (same.scale * same.rotation).T + same.shift
    return np.asarray(frame_between(mean, before).back(moved - before), np.float64)


def mirror(mean: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The landmark (468,) and the shape (52,) on the other side."""
    points = cKDTree(mean).query(mean * (-1, 1, 1))[1]
    swap = {"Left": "Right", "Right": "Left"}
    shapes = []
    for name in ARKIT:
        side = next((s for s in swap if name.endswith(s)), None)
        shapes.append(INDEX[name] if side is None else INDEX.get(name.removesuffix(side) + swap[side], INDEX[name]))
    return np.asarray(points), np.array(shapes)


def corrected(
    mean: NDArray[np.float64], shapes: NDArray[np.float64], people: Sequence[Example], fold: int | None
) -> NDArray[np.float64]:
    """``shapes``, corrected by what they miss of real smiles: ridge regression, both sides of a face alike."""
    points, sides = mirror(mean)
    weights = np.stack([person.weights[fold] for person in people]).astype(np.float64)
    moved = np.stack([motion(mean, person) for person in people])
    missed = moved - np.tensordot(weights, shapes, 1)
    missed[..., 2] = 0  # a landmark's depth is the network's guess
    both = np.concatenate([weights, weights[:, sides]])
    goal = np.concatenate([missed, missed[:, points] * (-1, 1, 1)]).reshape(len(both), -1)
    normal = both.T @ both + PENALTY * np.eye(both.shape[1])
    return shapes + np.linalg.solve(normal, both.T @ goal).reshape(shapes.shape)


def mouth(people: Sequence[Example], light: float = LIGHT) -> tuple[F32, bool]:
    """(rows, columns, 3): the mean inside of parted lips in shares of the skin's brightness, and whether anybody's are.

    :param light: smiles that must show a depth of the mouth before its mean counts in full; below, it is darker.
    """
    shape = interior.ROWS, interior.COLUMNS
    total, count = np.zeros((*shape, 3)), np.zeros(shape)
    for person in people:
        points = person.smile.points
        if interior.gap(points) < 0.04:
            continue
        picture = person.smile.picture
        upper, lower = interior.contours(points)
        inside = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(inside, [np.round(np.concatenate([upper, lower[::-1]])).astype(np.int32)], 1)
        inside = cv2.erode(inside, np.ones((3, 3), np.uint8))
        yy, xx = np.nonzero(inside)
        across, down = interior.places(points, np.zeros(2), picture.shape[:2])
        u, v = np.round(across[yy, xx]).astype(int), np.round(down[yy, xx]).astype(int)
        ok = (u >= 0) & (u < shape[1]) & (v >= 0) & (v < shape[0])
        level = float(interior.brightness(picture, points).mean())
        np.add.at(total, (v[ok], u[ok]), picture[yy[ok], xx[ok]] / level)
        np.add.at(count, (v[ok], u[ok]), 1)
    soft = cv2.GaussianBlur(np.dstack([total, count]), (0, 0), 1.0)
    soft = (soft + soft[:, ::-1]) / 2
    seen = soft[..., 3:]
    made = soft[..., :3] / np.maximum(seen, 1e-6)
    dark = np.array((0.16, 0.08, 0.08))
    trust = np.clip(seen / light, 0, 1)
    return np.asarray(dark + (made - dark) * trust, np.float32), bool(count.any())
