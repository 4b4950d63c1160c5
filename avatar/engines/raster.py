"""Compiled kernels of the head engine: sparse blend shapes, a z-buffer, the flow around the face.

Everything is float32 and runs without Python's lock. Pixel centres lie on whole numbers.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

NOTHING, SKIN, EYE, MOUTH, TONGUE, TEETH = 0, 1, 2, 3, 4, 5
"""What a pixel of the z-buffer shows. TEETH: upper ones of which a photo exists; else they are MOUTH as the rest."""

_FAR = np.float32(-1e9)


@njit(nogil=True, cache=True, fastmath=True)
def add_shapes(vertices, weights, starts, rows, deltas):
    """Add weighted sparse displacements to ``vertices`` (n, 3) in place.

    Shape k moves the vertices ``rows[starts[k]:starts[k + 1]]`` by the same slice of ``deltas`` (m, 3).
    """
    for k in range(len(weights)):
        w = weights[k]
        if w == 0:
            continue
        for j in range(starts[k], starts[k + 1]):
            i = rows[j]
            vertices[i, 0] += w * deltas[j, 0]
            vertices[i, 1] += w * deltas[j, 1]
            vertices[i, 2] += w * deltas[j, 2]


@njit(nogil=True, cache=True, fastmath=True)
def rotate_part(vertices, first, last, centre, rotation):
    """Turn the vertices ``first`` to ``last`` about ``centre`` in place."""
    for i in range(first, last):
        x = vertices[i, 0] - centre[0]
        y = vertices[i, 1] - centre[1]
        z = vertices[i, 2] - centre[2]
        for k in range(3):
            vertices[i, k] = centre[k] + rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z


@njit(nogil=True, cache=True, fastmath=True)
def project(vertices, matrix, offset, points):
    """Affine map of ``vertices`` (n, 3) by ``matrix`` (3, 3) and ``offset`` (3,) into ``points`` (n, 3)."""
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        for k in range(3):
            points[i, k] = matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] * z + offset[k]


@njit(nogil=True, cache=True, fastmath=True)
def on_landmarks(points, vertices, weights, out):
    """Barycentric points: row k of ``out`` (k, 3) is the mean of ``points[vertices[k]]`` weighted by ``weights[k]``."""
    for k in range(len(vertices)):
        for c in range(3):
            out[k, c] = (
                points[vertices[k, 0], c] * weights[k, 0]
                + points[vertices[k, 1], c] * weights[k, 1]
                + points[vertices[k, 2], c] * weights[k, 2]
            )


@njit(nogil=True, cache=True, fastmath=True)
def rasterize(points, attributes, triangles, kinds, count, depth, values, shown):
    """Draw triangles with a z-buffer; only those that face the viewer (clockwise in the picture, y down).

    :param points: (n, 3) x, y in pixels and nearness (larger = nearer).
    :param attributes: (n, 3) interpolated into ``values``.
    :param triangles: (m, 3), of which the first ``count`` are drawn. :param kinds: (m,) uint8 written to ``shown``.
    :param depth: (h, w), values: (h, w, 3), shown: (h, w) uint8; ``depth`` and ``shown`` are cleared first.
    """
    height, width = shown.shape
    depth[:] = _FAR
    shown[:] = 0
    low, high = np.float32(-1e-4), np.float32(1.0001)
    for t in range(count):
        ia, ib, ic = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = points[ia, 0], points[ia, 1], points[ia, 2]
        bx, by, bz = points[ib, 0] - ax, points[ib, 1] - ay, points[ib, 2] - az
        cx, cy, cz = points[ic, 0] - ax, points[ic, 1] - ay, points[ic, 2] - az
        area = bx * cy - cx * by
        if area > -1e-6:
            continue
        zero = np.float32(0)
        x0 = max(0, math.ceil(ax + min(zero, bx, cx)))
        x1 = min(width - 1, math.floor(ax + max(zero, bx, cx)))
        y0 = max(0, math.ceil(ay + min(zero, by, cy)))
        y1 = min(height - 1, math.floor(ay + max(zero, by, cy)))
        if x0 > x1 or y0 > y1:
            continue
        inverse = np.float32(1) / area
        ux, uy = cy * inverse, -cx * inverse
        vx, vy = -by * inverse, bx * inverse
        a0, a1, a2 = attributes[ia, 0], attributes[ia, 1], attributes[ia, 2]
        b0, b1, b2 = attributes[ib, 0] - a0, attributes[ib, 1] - a1, attributes[ib, 2] - a2
        c0, c1, c2 = attributes[ic, 0] - a0, attributes[ic, 1] - a1, attributes[ic, 2] - a2
        kind = kinds[t]
        for y in range(y0, y1 + 1):
            dx, dy = np.float32(x0) - ax, np.float32(y) - ay
            u = dx * ux + dy * uy
            v = dx * vx + dy * vy
            entered = False
            for x in range(x0, x1 + 1):
                if u >= low and v >= low and u + v <= high:
                    entered = True
                    z = az + u * bz + v * cz
                    if z > depth[y, x]:
                        depth[y, x] = z
                        shown[y, x] = kind
                        values[y, x, 0] = a0 + u * b0 + v * c0
                        values[y, x, 1] = a1 + u * b1 + v * c1
                        values[y, x, 2] = a2 + u * b2 + v * c2
                elif entered:
                    break
                u += ux
                v += vx
