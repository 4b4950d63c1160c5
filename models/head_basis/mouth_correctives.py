"""Correctives of mouth and jaw, linear in the coefficients: each function takes and returns a :class:`Head`.

A shape should move what its action unit moves and nothing else. Lengths are centimetres.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.core.facs import ARKIT, INDEX
from avatar.models.head_basis.heads import Head
from avatar.models.head_basis.landmarks import SurfacePoints

F64 = NDArray[np.float64]

CORNERS = (61, 291)
"""Landmarks of the lip corners."""
_UPPER_EDGE, _LOWER_EDGE = 0, 17
_BETWEEN = 0.36
"""Where the corners lie between the lips' outer edges when nothing pulls at them: part of the way down."""
_AROUND = 1.0
"""Centimetres around a corner in which the skin goes with it."""
LEVEL = {"mouthShrugLower": 1.0, "mouthShrugUpper": 1.0, "mouthStretch": 0.7, "jawOpen": 0.5, "mouthFunnel": 0.7}
"""Shapes that lift or drop the lips with their corners, and how much of what the corners miss is made up."""
STEADY = {"mouthUpperUp": 0.9, "mouthLowerDown": 0.9, "jawOpen": 0.4}
"""Shapes that must not narrow the mouth, and how much of the corners' way inwards is taken back."""
_LID_NEAR, _LID_FAR = 0.5, 1.9
"""Centimetres from the lids' edges within which mouth and jaw move nothing, and beyond which they move all."""
_LID_KEEPS = 0.1
"""A smile does push the lower lid up a little."""


def level_corners(head: Head, marks: SurfacePoints) -> Head:
    """The corners keep their place between the lips: chin raiser and jaw are no lip corner depressors."""
    expressions = head.expressions.copy()
    near = _corner_weights(head, marks)
    for one, part in _shapes(LEVEL):
        y = marks.on(expressions[one])[:, 1]
        wanted = y[_UPPER_EDGE] + _BETWEEN * (y[_LOWER_EDGE] - y[_UPPER_EDGE])
        # A one-sided shape owes its half to the corner of its own side alone.
        own = [k for k, mark in enumerate(CORNERS) if abs(y[mark]) >= 0.3 * np.abs(y[list(CORNERS)]).max()]
        for k in own if ARKIT[one] not in LEVEL else range(2):
            expressions[one, :, 1] += part * (wanted - y[CORNERS[k]]) * near[k]
    return replace(head, expressions=expressions)


def steady_corners(head: Head, marks: SurfacePoints) -> Head:
    """Lips that part do not draw the corners inwards."""
    expressions = head.expressions.copy()
    near = _corner_weights(head, marks)
    for one, part in _shapes(STEADY):
        x = marks.on(expressions[one])[:, 0]
        for k, mark in enumerate(CORNERS):
            expressions[one, :, 0] -= part * x[mark] * near[k]
    return replace(head, expressions=expressions)


def spare_lids(head: Head) -> Head:
    """Mouth and jaw leave the eyes as they are: lids have shapes of their own."""
    edges = np.concatenate([c for eye in (head.eye_left, head.eye_right) for c in (eye.upper, eye.lower)])
    distance, _ = cKDTree(head.vertices[edges]).query(head.vertices)
    share = np.clip((distance - _LID_NEAR) / (_LID_FAR - _LID_NEAR), 0, 1)
    keep = _LID_KEEPS + (1 - _LID_KEEPS) * share * share * (3 - 2 * share)
    expressions = head.expressions.copy()
    for i, name in enumerate(ARKIT):
        if name.startswith(("mouth", "jaw")):
            expressions[i] *= keep[:, None]
    return replace(head, expressions=expressions)


def funnel_goal(upper: F64, lower: F64) -> tuple[F64, F64]:
    """Heights that make the opening of mouthFunnel an ellipse.

    :param upper: (n, 3) and ``lower`` (m, 3): the lips' moved edges from corner to corner, same corners.
    :returns: what to add to the heights of both, (n,) and (m,).
    """
    half = (upper[-1, 0] - upper[0, 0]) / 2
    middle = (upper[-1, 0] + upper[0, 0]) / 2

    def heights(x: F64) -> tuple[F64, F64]:
        return np.interp(x, upper[:, 0], upper[:, 1]), np.interp(x, lower[:, 0], lower[:, 1])

    top, bottom = heights(np.array([middle]))
    gap, centre = float(top[0] - bottom[0]), float(top[0] + bottom[0]) / 2

    def goal(chain: F64, sign: float) -> F64:
        share = np.clip(np.abs(chain[:, 0] - middle) / (_ROUND * half), 0, 1)
        high, low = heights(chain[:, 0])
        flat = (high + low) / 2 * share**2 + centre * (1 - share**2)
        return flat + sign * 0.5 * gap * np.sqrt(1 - share**2) - chain[:, 1]

    return goal(upper, 1.0), goal(lower, -1.0)


_ROUND = 0.86
"""Part of the width that mouthFunnel opens; towards the corners the lips stay together."""


def lower_funnel(head: Head) -> Head:
    """A funnel opens downwards more than upwards: raising the upper lip is AU 10's."""
    expressions = head.expressions.copy()
    for side in ("Left", "Right"):
        expressions[INDEX["mouthFunnel"]] += 0.35 * expressions[INDEX["mouthLowerDown" + side]]
        expressions[INDEX["mouthFunnel"]] -= 0.5 * expressions[INDEX["mouthUpperUp" + side]]
    return replace(head, expressions=expressions)


def protrude_funnel(head: Head, marks: SurfacePoints) -> Head:
    """The lips of a funnel stand out from the face."""
    at = marks.on(head.vertices)
    middle = at[[13, 14]].mean(0)
    skin = head.vertices_of("skin", "lining")
    flat = head.vertices[skin] - middle
    near = np.exp(-((flat[:, 0] / 1.9) ** 2) - (flat[:, 1] / 1.3) ** 2) * np.clip(1 + flat[:, 2] / 2.0, 0, 1)
    expressions = head.expressions.copy()
    expressions[INDEX["mouthFunnel"], skin, 2] += _OUT * near
    return replace(head, expressions=expressions)


_OUT = 0.25


def _shapes(table: Mapping[str, float]) -> Iterator[tuple[int, float]]:
    """Number and value of every shape that a table names; a name without a side stands for both sides."""
    for name, value in table.items():
        yield from ((i, value) for i, known in enumerate(ARKIT) if known in (name, name + "Left", name + "Right"))


def _corner_weights(head: Head, marks: SurfacePoints) -> F64:
    """(2, V): 1 at each corner of the lips, fading around it; other parts than skin and lining 0."""
    at = marks.on(head.vertices)[list(CORNERS)]
    soft = head.vertices_of("skin", "lining")
    out = np.zeros((2, len(head.vertices)))
    for k in range(2):
        out[k, soft] = np.exp(-(((head.vertices[soft] - at[k]) ** 2).sum(1)) / _AROUND**2)
    return out / np.array([[float(marks.on(w[:, None])[c, 0])] for w, c in zip(out, CORNERS, strict=True)])
