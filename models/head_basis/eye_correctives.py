"""Correctives of brows and lids that the carried-over shapes need. Lengths are centimetres, +x the subject's left.

Each function takes and returns a :class:`Head`; ``correct`` of :mod:`.correctives` applies them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avatar.core.facs import INDEX
from avatar.models.head_basis.heads import Head

F64 = NDArray[np.float64]


def _bump(values: F64, centre: float, low: float, high: float) -> F64:
    """1 at ``centre``, falling like a Gaussian of width ``low`` below it and ``high`` above it."""
    return np.exp(-(((values - centre) / np.where(values < centre, low, high)) ** 2))


def _sides(head: Head) -> tuple[tuple[str, float, F64], ...]:
    """Side, its sign, and the skin's x outwards from the middle; the eyes' corners lie near 2.0 and 4.4, the brow from
    1.2 to 5.7, 1 to 1.6 above."""
    return tuple((side, sign, head.vertices[:, 0] * sign) for side, sign in (("Left", 1.0), ("Right", -1.0)))


def _skin(head: Head) -> F64:
    mask = np.zeros(len(head.vertices))
    mask[head.vertices_of("skin")] = 1
    return mask * np.clip(head.vertices[:, 2] + 1.5, 0, 1)


def frown(head: Head) -> Head:
    """browDown: the corrugators draw the inner ends down and together, more than the middle."""
    expressions = head.expressions.copy()
    y, skin = head.vertices[:, 1], _skin(head)
    for side, sign, x in _sides(head):
        inner = skin * _bump(x, 1.35, 0.85, 1.2) * _bump(y, 1.1, 0.8, 1.3)
        delta = expressions[INDEX["browDown" + side]]
        delta[:, 1] -= 0.36 * inner
        delta[:, 0] -= sign * 0.14 * inner * np.clip(x / 0.6, 0, 1)
    return replace(head, expressions=expressions)


def raise_brows(head: Head) -> Head:
    """browInnerUp lifts the inner ends alone; browOuterUp the outer two thirds without the inner ends or the cheek."""
    expressions = head.expressions.copy()
    y = head.vertices[:, 1]
    outwards = np.abs(head.vertices[:, 0])
    keep = 1 - 0.75 * np.clip((outwards - 2.6) / 1.8, 0, 1)
    above = np.clip((y - 0.2) / 0.6, 0, 1)
    expressions[INDEX["browInnerUp"]] *= (1.35 * keep * above)[:, None]
    for side, _, x in _sides(head):
        share = 0.4 + 0.6 * np.clip((x - 1.2) / 2.2, 0, 1)
        expressions[INDEX["browOuterUp" + side]] *= (share * above)[:, None]
    return replace(head, expressions=expressions)


def wide_and_squint(head: Head) -> Head:
    """eyeWide shows white above the iris and leaves the brow alone; cheekSquint lifts lower lid and cheek, draws the
    outer corner in, and leaves the brow alone; eyeBlink takes the lower lid's skin a little up and
    the brow's underside a hair's breadth down, as the ring of muscle around the eye contracts."""
    expressions = head.expressions.copy()
    y = head.vertices[:, 1]
    below = np.clip((0.55 - y) / 0.4, 0, 1)
    for side, _, x in _sides(head):
        wide, cheek, blink = (expressions[INDEX[name + side]] for name in ("eyeWide", "cheekSquint", "eyeBlink"))
        wide *= (1.0 + 0.2 * np.clip((1.0 - y) / 0.4, 0, 1))[:, None] * np.clip((1.3 - y) / 0.5, 0, 1)[:, None]
        cheek *= below[:, None]
        lid = _bump(y, -0.7, 0.9, 0.8)
        near = _bump(x, 3.3, 1.5, 1.5) * _bump(y, 0.9, 1.0, 0.7)
        blink += 0.6 * cheek * lid[:, None] + 0.3 * expressions[INDEX["browDown" + side]] * near[:, None]
        cheek += 0.55 * expressions[INDEX["eyeSquint" + side]] * below[:, None]
    return replace(head, expressions=expressions)
