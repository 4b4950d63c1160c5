"""The mean face's frame, and its regions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import Delaunay, cKDTree

from avatar.core.types import F32
from avatar.engines.head_folds import FRAME, LANDMARKS, MeanFace
from avatar.models.expression.align import MIDDLE
from avatar.portrait.fit import (
    LEFT_BROW,
    LEFT_LOWER_LID,
    LEFT_UPPER_LID,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_LOWER_LID,
    RIGHT_UPPER_LID,
)

_SCALE, _TOP = 2 / 3, 20
"""Pixels of the frame in one of an aligned picture, and the aligned picture's row that is the frame's first."""
_NOSTRILS = (98, 97, 2, 326, 327, 294, 278, 344, 440, 275, 4, 45, 220, 115, 48, 64)


def mean_face(faces: Sequence[F32]) -> MeanFace:
    """Of aligned landmarks (468, 2): their mean, and that of its mirror image."""
    points = np.mean(faces, 0).astype(np.float64)
    points[:, 0] -= points[[10, 152, 1, 168], 0].mean()
    mirrored = points * (-1, 1)
    # The nearest point is the partner of all but a few that lie on the middle line themselves.
    partner = cKDTree(points).query(mirrored)[1]
    points = (points + mirrored[partner]) / 2 + (MIDDLE[0], 0)
    points = (points - (MIDDLE[0], _TOP)) * _SCALE + ((FRAME[1] - 1) / 2, 0)
    triangles = Delaunay(points).simplices.astype(np.int32)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles[area > 0] = triangles[area > 0][:, ::-1]
    assert len(points) == LANDMARKS
    return MeanFace(points.astype(np.float32), triangles)


def region(face: MeanFace, *contours: Sequence[int], grow: int = 0) -> np.ndarray:
    """(h, w) bool: inside the hulls of landmarks, and ``grow`` pixels around."""
    mask = np.zeros(FRAME, np.uint8)
    for contour in contours:
        hull = cv2.convexHull(np.round(face.points[list(contour)]).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 1)
    if grow:
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1)))
    return mask > 0


def skin_mask(face: MeanFace) -> F32:
    """(h, w): 1 on skin that folds, softly 0 on eyes, lips, brows, nostrils and towards the face's edge. There the
    engine's contours are not exactly the real ones, and what is left is no fold."""
    covered = (
        region(face, (*RIGHT_UPPER_LID, *RIGHT_LOWER_LID), (*LEFT_UPPER_LID, *LEFT_LOWER_LID), grow=1)
        | region(face, OUTER_LIPS, grow=2)
        | region(face, RIGHT_BROW, LEFT_BROW, grow=1)
    )
    mask = 1 - cv2.GaussianBlur(covered.astype(np.float32), (0, 0), 1.0)
    mask = np.where(covered, 0, np.clip(1.6 * mask - 0.6, 0, 1)).astype(np.float32)
    nose = cv2.GaussianBlur(region(face, _NOSTRILS).astype(np.float32), (0, 0), 1.5)
    depth = cv2.distanceTransform(np.pad(face.inside.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    edge = np.clip((depth - 2) / 9, 0, 1)
    mask = mask * (1 - 0.7 * nose) * edge * edge * (3 - 2 * edge)
    return np.asarray(np.minimum(mask, mask[:, ::-1]), np.float32)
