"""Finds the visible badge in a picture by template match, anywhere, at 5 to 12 % of the shorter side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from avatar.core.types import U8
from avatar.engines.badge import MIN_SHARE, Badge

SIDE = 512
"""Pictures are looked at with their shorter side at this many pixels."""
SIZES = tuple(np.geomspace(0.95, 2.4, 24).tolist())
"""Sizes of the badge in parts of the smallest one."""
SURE = 0.7
"""Correlation from which on a badge is one: what else looks like letters reached .64 on 60 photos."""


@dataclass(frozen=True, slots=True)
class FoundBadge:
    """Where the badge is."""

    score: float
    """Correlation with the best template, at most 1."""
    x: float
    """Centre in parts of the picture's width."""
    y: float
    """Centre in parts of the picture's height."""
    share: float
    """Its height in parts of the picture's shorter side."""


@cache
def _template(size: float) -> U8:
    """The letters of a badge ``size`` times as high as the smallest, with a little of the pill around them, grey."""
    badge = Badge(2 * SIDE)
    picture = np.full((2 * SIDE, 2 * SIDE, 3), 128, np.uint8)
    badge.apply(picture)
    grey = cv2.cvtColor(np.ascontiguousarray(picture[badge.region]), cv2.COLOR_RGB2GRAY)
    rows, columns = np.nonzero(grey > 160)
    letters = grey[rows.min() - 4 : rows.max() + 5, columns.min() - 4 : columns.max() + 5]
    zoom = MIN_SHARE * SIDE * size / grey.shape[0]
    shape = (round(letters.shape[1] * zoom), round(letters.shape[0] * zoom))
    return np.asarray(cv2.resize(letters, shape, interpolation=cv2.INTER_AREA), np.uint8)


def find(picture: U8) -> FoundBadge | None:
    """The badge of a picture (h, w, 3) RGB, None where there is none."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    scale = SIDE / min(grey.shape)
    shape = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    grey = cv2.resize(grey, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    best: FoundBadge | None = None
    for size in SIZES:
        template = _template(size)
        height, width = template.shape
        if width > grey.shape[1] or height > grey.shape[0]:
            continue
        _, score, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(grey, template, cv2.TM_CCOEFF_NORMED))
        if best is None or score > best.score:
            place = (x + width / 2) / grey.shape[1], (y + height / 2) / grey.shape[0]
            best = FoundBadge(round(score, 3), round(place[0], 3), round(place[1], 3), round(MIN_SHARE * size, 3))
    return best if best is not None and best.score >= SURE else None
