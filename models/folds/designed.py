"""Folds for which the data hold no example: ridges along anatomical lines. Designed, not learnt.

Lines across the forehead lie elsewhere in every face, so that their mean over faces is next to nothing; nobody in the
data wrinkles the nose; crow's feet likewise. Each is a dark line with lighter flanks, as light from above makes it.
"""

from __future__ import annotations

import numpy as np

from avatar.core.types import F32
from avatar.engines.head_folds import FRAME, MeanFace

Point = tuple[float, float]

_FLANK, _SHARE = 2.6, 0.38
"""Width of the flanks in widths of the line, and their height in its depth: the mean tone stays."""


def line(start: Point, middle: Point, end: Point, depth: float, width: float) -> F32:
    """(h, w) log ratio of a dark line along a quadratic curve, which tapers at both ends.

    :param start, middle, end: its points in the frame; it passes through ``middle``.
    :param depth: of the line's middle. :param width: sigma in pixels.
    """
    t = np.linspace(0, 1, 161)  # dense, or the line would be a row of beads
    bend = 2 * np.array(middle) - (np.array(start) + end) / 2
    curve = np.outer((1 - t) ** 2, start) + np.outer(2 * t * (1 - t), bend) + np.outer(t**2, end)
    yy, xx = np.mgrid[: FRAME[0], : FRAME[1]]
    distance = (xx[..., None] - curve[:, 0]) ** 2 + (yy[..., None] - curve[:, 1]) ** 2
    nearest = distance.argmin(-1)
    squared = distance.min(-1)
    taper = np.sin(np.pi * t)[nearest]
    # Wider where it is deep, so that the ends run out finely.
    sigma = width * (0.6 + 0.4 * taper)
    dark = np.exp(-squared / (2 * sigma**2))
    light = np.exp(-squared / (2 * (_FLANK * sigma) ** 2))
    return np.asarray(depth * taper * (_SHARE * light - (1 + _SHARE) * dark), np.float32)


def forehead(face: MeanFace) -> tuple[F32, F32]:
    """Lines across the forehead of inner and of outer ends of the brows that rise: together whole lines."""
    made = np.zeros(FRAME, np.float32)
    points = face.points
    centre = (FRAME[1] - 1) / 2
    hair = float(points[10, 1])
    brow = float(points[[66, 296], 1].mean())
    reach = 0.92 * float(points[334, 0] - centre)
    for share, depth, wide in ((0.30, 0.075, 0.85), (0.50, 0.10, 1.0), (0.70, 0.075, 0.9)):
        y = brow + share * (hair - brow)
        across = reach * wide
        # Lines dip a little in the middle, where the two bellies of the muscle meet.
        for side in (-1, 1):
            made += line((centre + side * 1.0, y + 0.8), (centre + side * across * 0.5, y - 1.4),
                         (centre + side * across, y + 2.2), depth, 1.05)  # fmt: skip
        made += line((centre - 9, y), (centre, y + 0.6), (centre + 9, y), depth * 0.8, 1.0)
    xx = np.abs(np.arange(FRAME[1]) - centre) / reach
    inner = np.exp(-((xx / 0.55) ** 2))[None].astype(np.float32)
    return made * inner, made * (1 - inner)


def crows_feet(face: MeanFace) -> F32:
    """Three short lines from each outer corner of the eyes."""
    x, y = face.points[263]
    made = np.zeros(FRAME, np.float32)
    for rise, length, depth in ((-0.42, 10, 0.06), (0.05, 12, 0.08), (0.5, 10, 0.06)):
        start = np.array((x + 3.5, y + 4 * rise))
        end = start + length * np.array((1.0, rise + 0.12))
        made += line(tuple(start), tuple((start + end) / 2 + (0, 0.6)), tuple(end), depth, 0.75)
    return _both(made)


def nose(face: MeanFace) -> F32:
    """Oblique lines at the sides of the nose's root, one across it."""
    points = face.points
    centre = (FRAME[1] - 1) / 2
    root, bridge = float(points[168, 1]), float(points[197, 1])
    made = np.zeros(FRAME, np.float32)
    for share, depth in ((0.35, 0.10), (0.75, 0.10), (1.1, 0.07)):
        y = root + share * (bridge - root)
        made += line((centre + 2.5, y + 0.5), (centre + 6, y + 2.0), (centre + 9.5, y + 5.5), depth, 0.9)
    made = _both(made)
    return made + line((centre - 7, root + 1), (centre, root + 0.4), (centre + 7, root + 1), 0.07, 0.9)


def chin(face: MeanFace) -> F32:
    """The crease between lower lip and chin, deeper."""
    points = face.points
    centre = (FRAME[1] - 1) / 2
    y = 0.55 * float(points[18, 1]) + 0.45 * float(points[200, 1])
    return line((centre - 13, y + 2.5), (centre, y), (centre + 13, y + 2.5), 0.12, 1.9)


def _both(made: F32) -> F32:
    return made + made[:, ::-1]
