"""A small z-buffer renderer for looking at heads while the basis is built: correct rather than fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.core.facs import arkit_vector
from avatar.models.head_basis.mesh import vertex_normals
from avatar.portrait.basis import PARTS, HeadBasis

F64 = NDArray[np.float64]


COLORS: Mapping[str, tuple[float, float, float]] = {
    "skin": (0.82, 0.62, 0.53), "lining": (0.32, 0.1, 0.1), "gums": (0.7, 0.35, 0.35), "teeth": (0.92, 0.9, 0.84),
    "teeth_upper": (0.92, 0.9, 0.84), "teeth_lower": (0.92, 0.9, 0.84), "tongue": (0.7, 0.32, 0.32),
    "eye_left": (0.93, 0.93, 0.93), "eye_right": (0.93, 0.93, 0.93),
}  # fmt: skip
"""Colours of the drawn parts, RGB in [0, 1]."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along -z."""

    size: int = 800
    """Width and height of the picture in pixels."""
    eye: tuple[float, float, float] = (0.0, -3.5, 95.0)
    """Where it stands, cm."""
    half_angle: float = 10.0
    """Half the field of view in degrees."""

    def project(self, vertices: F64) -> F64:
        """(V, 3) cm to (V, 3): x right and y down in pixels, z in cm (larger = nearer)."""
        focal = self.size / 2 / np.tan(np.deg2rad(self.half_angle))
        scale = focal / (self.eye[2] - vertices[:, 2])
        x = self.size / 2 + scale * (vertices[:, 0] - self.eye[0])
        y = self.size / 2 - scale * (vertices[:, 1] - self.eye[1])
        return np.stack([x, y, vertices[:, 2]], axis=1)


@njit(cache=True)
def _fill(points, triangles, depth, number, weights):
    height, width = depth.shape
    for t in range(len(triangles)):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        den = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if den > -1e-9:  # seen from behind (y points down)
            continue
        x0, x1 = max(0, int(np.ceil(min(a[0], b[0], c[0])))), min(width - 1, int(max(a[0], b[0], c[0])))
        y0, y1 = max(0, int(np.ceil(min(a[1], b[1], c[1])))), min(height - 1, int(max(a[1], b[1], c[1])))
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                u = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / den
                v = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / den
                if u < -1e-6 or v < -1e-6 or u + v > 1 + 1e-6:
                    continue
                z = a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2])
                if z > depth[y, x]:
                    depth[y, x] = z
                    number[y, x] = t
                    weights[y, x, 0] = u
                    weights[y, x, 1] = v


def rasterize(points: F64, triangles: NDArray[np.integer], size: int) -> tuple[NDArray[np.int32], F64]:
    """Visible triangle of every pixel (size, size), -1 where none, and its barycentric weights (size, size, 3).

    ``points`` (V, 3) are pixels and depth as :meth:`Camera.project` gives them; triangles seen from behind are
    left out.
    """
    depth = np.full((size, size), -np.inf)
    number = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 2))
    _fill(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(triangles, np.int64), depth, number, weights)
    return number, np.concatenate([1 - weights.sum(-1, keepdims=True), weights], axis=-1)


def shade(
    vertices: F64,
    triangles: NDArray[np.integer],
    colors: F64,
    camera: Camera,
    light: tuple[float, float, float] = (-0.3, 0.35, 0.9),
) -> NDArray[np.uint8]:
    """Picture (size, size, 3) RGB of a mesh with vertex colours (V, 3) in [0, 1], lit from ``light``."""
    direction = np.array(light) / np.linalg.norm(light)
    lit = colors * (0.4 + 0.65 * np.clip(vertex_normals(vertices, triangles) @ direction, 0, 1))[:, None]
    number, weights = rasterize(camera.project(vertices), triangles, camera.size)
    picture = (lit[triangles[number]] * weights[..., None]).sum(2)
    picture[number < 0] = (0.4, 0.42, 0.45)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def look(basis: HeadBasis, coefficients: Mapping[str, float], camera: Camera) -> NDArray[np.uint8]:
    """Picture (size, size, 3) RGB of the bare head with named ARKit coefficients."""
    colors = np.array([COLORS[part] for part in PARTS])[basis.vertex_part]
    return shade(basis.shape(arkit_vector(coefficients)).astype(np.float64), basis.triangles, colors, camera)


def visible_parts(basis: HeadBasis, coefficients: Mapping[str, float], camera: Camera) -> dict[str, int]:
    """How many pixels of the picture show each part."""
    points = camera.project(basis.shape(arkit_vector(coefficients)).astype(np.float64))
    number, _ = rasterize(points, basis.triangles, camera.size)
    counts = np.bincount(basis.triangle_part[number[number >= 0]], minlength=len(PARTS))
    return dict(zip(PARTS, counts.tolist(), strict=True))
