"""From a photo's landmarks to this person's head: pose, identity, the rest of the shape, and shapes that fit the lids.

The head is fitted in four steps: (1) scaled-orthographic pose and identity coefficients by alternating ridge regression
(as in Romdhani & Vetter 2003, with landmarks alone); (2) what the landmarks still miss is spread over the skin by a
radial basis function, with the jaw's motion as a fourth coordinate, so that the lips do not pull at each other;
(3) a closed mouth is closed exactly; (4) lid shapes are rescaled so that a blink lands on this person's lower lid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from avatar.core.facs import ARKIT, INDEX
from avatar.core.types import F32
from avatar.portrait.basis import PARTS, HeadBasis

LANDMARKS = 468
"""Landmarks on the skin; the ten after them are the irises."""

# Contours by MediaPipe's numbers. The right eye's lids run from the outer corner inwards, the left eye's from the inner
# corner outwards: both left to right in the picture.
RIGHT_UPPER_LID = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_LOWER_LID = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_UPPER_LID = (362, 398, 384, 385, 386, 387, 388, 466, 263)
LEFT_LOWER_LID = (362, 382, 381, 380, 374, 373, 390, 249, 263)
RIGHT_EYE = RIGHT_UPPER_LID + RIGHT_LOWER_LID[-2:0:-1]
LEFT_EYE = LEFT_UPPER_LID + LEFT_LOWER_LID[-2:0:-1]
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
RIGHT_IRIS = (468, 469, 470, 471, 472)
LEFT_IRIS = (473, 474, 475, 476, 477)
UPPER_INNER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
INNER_LIPS = UPPER_INNER_LIP + LOWER_INNER_LIP[-2:0:-1]
OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

OPEN_MOUTH = 0.045
"""Gap between the inner lips, in eye distances, from which a photo counts as open-mouthed."""
SQUINT_CLOSES = 0.42
"""Part of the eye's opening that eyeSquint = 1 closes."""
CHEEK_CLOSES = 0.35
"""Part of it that cheekSquint = 1 closes, at most."""
_IDENTITY_RIDGE = 6.0
_OVAL_WEIGHT = 0.3
"""The face oval slides over the cheek with the view; it says less about shape than the rest."""
_JAW_COORDINATE = 0.6
_UNTRUSTED = ("eye", "mouthRoll", "mouthClose", "mouthShrug", "mouthPress", "cheek", "jawForward")
"""Coefficients that trackers read from still photos too badly to explain the shape with."""
_PART_SKIN, _PART_LINING, _PART_EYE_LEFT, _PART_EYE_RIGHT = map(
    PARTS.index, ("skin", "lining", "eye_left", "eye_right")
)


@dataclass(frozen=True)
class FittedHead:
    """One person's head as their photo shows it."""

    rest: F32
    """(V, 3) centimetres, in the head's own frame; it projects onto the photo's landmarks."""
    expressions: F32
    """(52, V, 3) displacements from ``rest``."""
    rotation: NDArray[np.float64]
    """(3, 3) from the head's frame to the camera's: x right, y up, z towards the viewer."""
    scale: float
    """Pixels per centimetre."""
    offset: NDArray[np.float64]
    """(2,) where the origin lies, in pixels, y *up* (minus the picture's y)."""
    mouth_open: bool
    """The photo shows an open mouth."""
    error: float
    """Mean distance in pixels of the landmarks from the fitted model before the residual was added."""

    def project(self, vertices: NDArray[np.floating]) -> F32:
        """Vertices (n, 3) in the head's frame to (n, 3): x and y in pixels (y down), nearness in pixels."""
        camera = vertices @ self.rotation.T * self.scale
        return np.stack([camera[:, 0] + self.offset[0], -(camera[:, 1] + self.offset[1]), camera[:, 2]], axis=1).astype(
            np.float32
        )


def fit_head(basis: HeadBasis, landmarks: F32, coefficients: F32) -> FittedHead:
    """Fit the head to one photo.

    :param landmarks: (478, 3) in pixels, y down, z smaller = nearer, as in the avatar bundle.
    :param coefficients: (52,) ARKit coefficients of the photo; they keep a smile out of the identity.
    """
    target = np.asarray(landmarks[:LANDMARKS], np.float64) * [1, -1, -1]
    gap = np.hypot(*(landmarks[13, :2] - landmarks[14, :2])) / eye_distance(landmarks)
    mouth_open = bool(gap > OPEN_MOUTH)
    photo = photo_weights(coefficients, mouth_open)
    if not mouth_open:
        target = _close_lips(target)

    shape = basis.vertices + np.tensordot(photo, basis.expressions, 1)
    identity, rotation, scale, offset, residual = _pose_and_identity(
        on_landmarks(basis, shape), on_landmarks(basis, basis.identities), target
    )
    rest = shape + np.tensordot(identity.astype(np.float32), basis.identities, 1)
    rest = (rest + _spread_residual(basis, residual)).astype(np.float32)
    expressions = basis.expressions.copy()
    for side, upper, lower in (
        ("Left", LEFT_UPPER_LID, LEFT_LOWER_LID),
        ("Right", RIGHT_UPPER_LID, RIGHT_LOWER_LID),
    ):
        _fit_lids(basis, rest, expressions, side, upper, lower)
    return FittedHead(
        rest=rest,
        expressions=expressions,
        rotation=rotation,
        scale=scale,
        offset=offset,
        mouth_open=mouth_open,
        error=float(np.hypot(residual @ rotation[0], residual @ rotation[1]).mean() * scale),
    )


def eye_distance(landmarks: NDArray[np.floating]) -> float:
    """Distance between the outer corners of the eyes in the landmarks' unit."""
    return float(np.hypot(*(landmarks[33, :2] - landmarks[263, :2])))


def on_landmarks(basis: HeadBasis, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Values at vertices (..., V, 3) to values at the 468 landmarks (..., 468, 3)."""
    picked = vectors[..., basis.landmark_vertices, :].astype(np.float64)
    return (picked * basis.landmark_weights[:, :, None]).sum(-2)


def photo_weights(coefficients: F32, mouth_open: bool) -> F32:
    """(52,) of the shapes that a photo with these ``coefficients`` is taken to show."""
    weights = np.zeros(len(ARKIT), np.float32)
    for i, name in enumerate(ARKIT):
        if not name.startswith(_UNTRUSTED):
            # Trackers read some motion into every resting face.
            weights[i] = np.clip((np.nan_to_num(coefficients[i]) - 0.08) * 1.05, 0, 1)
    if not mouth_open:
        for name in ("jawOpen", "mouthFunnel", "mouthUpperUp", "mouthLowerDown"):
            for i, other in enumerate(ARKIT):
                if other.startswith(name):
                    weights[i] = 0
    return weights


def _close_lips(target: NDArray[np.float64]) -> NDArray[np.float64]:
    target = target.copy()
    upper, lower = list(UPPER_INNER_LIP), list(LOWER_INNER_LIP)
    target[upper] = target[lower] = (target[upper] + target[lower]) / 2
    return target


def _pose_and_identity(
    shape: NDArray[np.float64], identities: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64], NDArray[np.float64]]:
    """Identity (K,), rotation, scale, offset and the residual (468, 3) in centimetres in the head's frame."""
    weight = np.ones(LANDMARKS)
    weight[list(FACE_OVAL)] = _OVAL_WEIGHT
    count = len(identities)
    identity = np.zeros(count)
    rotation = np.eye(3)
    for _ in range(6):
        points = shape + np.tensordot(identity, identities, 1)
        rotation, scale, offset = scaled_orthographic(points, target[:, :2], weight)
        missing = (target[:, :2] - ((points @ rotation.T)[:, :2] * scale + offset)) / scale
        jacobian = np.einsum("ij,knj->nik", rotation[:2], identities).reshape(-1, count)
        w = np.repeat(weight, 2)
        normal = (jacobian * w[:, None]).T @ jacobian + _IDENTITY_RIDGE * np.eye(count)
        identity = np.linalg.solve(normal, (jacobian * w[:, None]).T @ (missing.ravel() + jacobian @ identity))
    points = shape + np.tensordot(identity, identities, 1)
    rotation, scale, offset = scaled_orthographic(points, target[:, :2], weight)
    missing = (target[:, :2] - ((points @ rotation.T)[:, :2] * scale + offset)) / scale
    return identity, rotation, scale, offset, np.c_[missing, np.zeros(LANDMARKS)] @ rotation


def scaled_orthographic(
    points: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Rotation (3, 3), scale and offset (2,) with ``target ~ scale * (rotation @ points)[:2] + offset``."""
    mean_p, mean_t = np.average(points, 0, weight), np.average(target, 0, weight)
    root = np.sqrt(weight)[:, None]
    rows = np.linalg.lstsq((points - mean_p) * root, (target - mean_t) * root, rcond=None)[0].T
    scale = float(np.linalg.norm(rows, axis=1).mean())
    u, _, v = np.linalg.svd(rows, full_matrices=False)
    first, second = u @ v
    rotation = np.stack([first, second, np.cross(first, second)])
    return rotation, scale, mean_t - scale * (rotation[:2] @ mean_p)


def _spread_residual(basis: HeadBasis, residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """The landmarks' residual (468, 3) at every vertex (V, 3)."""
    jaw = basis.expressions[INDEX["jawOpen"], :, 1:2] * _JAW_COORDINATE
    feature = np.hstack([basis.vertices, jaw]).astype(np.float64)
    at = np.hstack([on_landmarks(basis, basis.vertices), on_landmarks(basis, jaw.repeat(3, 1))[:, :1]])
    # Paired lip landmarks may coincide; a hair's breadth keeps the system solvable.
    at += np.random.default_rng(0).normal(scale=1e-3, size=at.shape)
    field = RBFInterpolator(at, residual, kernel="linear", smoothing=0.02)
    out = np.zeros(basis.vertices.shape)
    part = basis.vertex_part
    skin = (part == _PART_SKIN) | (part == _PART_LINING)
    out[skin] = field(feature[skin])
    out[~skin] = residual[list(OUTER_LIPS)].mean(0)  # teeth, gums and tongue follow the lips as one piece
    out[part == _PART_EYE_LEFT] = residual[list(LEFT_EYE)].mean(0)
    out[part == _PART_EYE_RIGHT] = residual[list(RIGHT_EYE)].mean(0)
    return out


def _fit_lids(
    basis: HeadBasis, rest: F32, expressions: F32, side: str, upper: Sequence[int], lower: Sequence[int]
) -> None:
    """Rescale eyeBlink, eyeSquint and cheekSquint of one eye in place, so that they suit this person's opening."""
    inner = slice(1, -1)
    at_upper, at_lower = list(upper)[inner], list(lower)[inner]
    rest_at = on_landmarks(basis, rest)
    opening = np.maximum((rest_at[at_upper] - rest_at[at_lower])[:, 1], 0.02)

    def closing(shape: F32) -> NDArray[np.float64]:
        at = on_landmarks(basis, shape)
        return (at[at_lower] - at[at_upper])[:, 1]

    squint = expressions[INDEX["eyeSquint" + side]]
    share = float(np.median(closing(squint) / opening))
    squint *= np.clip(SQUINT_CLOSES / max(share, 0.05), 0.3, 4.0)

    # A raised cheek narrows a small eye by no more than a large one: only its lids are held back, not the cheek.
    cheek = expressions[INDEX["cheekSquint" + side]]
    share = float(np.median(closing(cheek) / opening))
    if share > CHEEK_CLOSES:
        middle = (rest_at[at_upper].mean(0) + rest_at[at_lower].mean(0)) / 2
        near = np.exp(-((np.linalg.norm(rest - middle, axis=1) / 1.3) ** 4)).astype(np.float32)
        cheek *= 1 - (1 - CHEEK_CLOSES / share) * near[:, None]

    blink = expressions[INDEX["eyeBlink" + side]]
    blink *= np.clip(np.median(opening / np.maximum(closing(blink), 0.1)), 0.3, 2.5)
    # Then column by column: the margin is moved by what is missing, the lid above it by its share of the margin's way.
    missing = opening - closing(blink) + 0.02
    columns = rest_at[at_upper, 0]
    order = np.argsort(columns)
    travel = -on_landmarks(basis, blink)[at_upper, 1]
    moving = (basis.vertex_part == _PART_SKIN) & (blink[:, 1] < -0.05)
    x = rest[moving, 0]
    share_of_margin = -blink[moving, 1] / np.maximum(np.interp(x, columns[order], travel[order]), 0.1)
    blink[moving, 1] -= np.interp(x, columns[order], missing[order]) * np.clip(share_of_margin, 0, 1)
