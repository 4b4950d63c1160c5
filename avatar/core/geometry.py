"""Rotations of the head, and maps between pictures. Pure functions on numpy arrays.

Axes: x towards the picture's right edge (the subject's left), y up, z out of the picture towards the viewer.
Angles in degrees at the edges: yaw > 0 = nose towards the right edge, pitch > 0 = nose up, roll > 0 = head turned
anticlockwise in the picture. The rotation is ``R = Ry(yaw) @ Rx(-pitch) @ Rz(roll)``.
Quaternions are ``(w, x, y, z)``, unit length.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Quaternion = tuple[float, float, float, float]
IDENTITY: Quaternion = (1.0, 0.0, 0.0, 0.0)


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Hamilton product: first ``b``, then ``a``."""
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def from_euler(yaw: float, pitch: float, roll: float) -> Quaternion:
    """Unit quaternion of yaw, pitch and roll in degrees."""
    y, p, r = (math.radians(v) / 2 for v in (yaw, -pitch, roll))
    q = multiply((math.cos(y), 0.0, math.sin(y), 0.0), (math.cos(p), math.sin(p), 0.0, 0.0))
    return multiply(q, (math.cos(r), 0.0, 0.0, math.sin(r)))


def to_matrix(q: Quaternion) -> NDArray[np.float64]:
    """Rotation matrix (3, 3) of a unit quaternion; it acts on column vectors."""
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@lru_cache(maxsize=64)  # every protocol asks for the same head's angles
def to_euler(q: Quaternion) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees. At pitch = +-90 the split between yaw and roll is arbitrary."""
    return matrix_to_euler(to_matrix(q))


def matrix_to_euler(rotation: NDArray[np.floating]) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees of a rotation matrix (3, 3); a uniform scale in it is ignored."""
    m = np.asarray(rotation, dtype=np.float64)
    m = m / np.linalg.norm(m, axis=0, keepdims=True)
    forward = m[:, 2]
    yaw = math.atan2(forward[0], forward[2])
    pitch = math.asin(max(-1.0, min(1.0, forward[1])))
    # R = Ry Rx Rz, so its middle row is (cos(pitch) sin(roll), cos(pitch) cos(roll), sin(pitch)).
    roll = math.atan2(m[1, 0], m[1, 1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def slerp(a: Quaternion, b: Quaternion, t: float) -> Quaternion:
    """Shortest-arc spherical interpolation, ``t`` in [0, 1] (Shoemake 1985)."""
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    if dot < 0:
        b, dot = (-b[0], -b[1], -b[2], -b[3]), -dot
    if dot > 0.9995:  # nearly the same: the sine would divide by zero
        mixed = tuple(p + t * (q - p) for p, q in zip(a, b, strict=True))
    else:
        angle = math.acos(dot)
        ka, kb = math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
        mixed = tuple(ka * p + kb * q for p, q in zip(a, b, strict=True))
    norm = math.sqrt(sum(v * v for v in mixed))
    w, x, y, z = (v / norm for v in mixed)
    return (w, x, y, z)


def scale(q: Quaternion, factor: float) -> Quaternion:
    """The same axis, ``factor`` times the angle."""
    return slerp(IDENTITY, q, factor) if factor <= 1 else multiply(q, slerp(IDENTITY, q, factor - 1))


def similarity(points: NDArray[np.floating], targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """(2, 3): turn, scale and shift that bring ``points`` (n, 2) nearest to ``targets`` (n, 2)."""
    mean, goal = points.mean(0, dtype=np.float64), targets.mean(0, dtype=np.float64)
    p, t = points - mean, targets - goal
    a, b = (p * t).sum(), (p[:, 0] * t[:, 1] - p[:, 1] * t[:, 0]).sum()
    turn = np.array([[a, -b], [b, a]]) / (p * p).sum()
    return np.c_[turn, goal - turn @ mean]


def mapped(matrix: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float32]:
    """``points`` (n, 2) through ``matrix`` (2, 3)."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
