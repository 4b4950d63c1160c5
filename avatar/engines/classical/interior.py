"""The inside of a mouth that opens: what no warp and no ratio of a photo with shut lips can show.

A small mean texture, learnt from real smiles, hangs from the upper lip: its columns run from corner to corner, its rows
count from the lip downwards in widths of the mouth, and below what was ever seen it is dark. The portrait's brightness
scales it. One set of teeth for everybody.
"""

from __future__ import annotations

import cv2
import numpy as np

from avatar.core.types import F32, U8
from avatar.portrait.fit import LOWER_INNER_LIP, UPPER_INNER_LIP

ROWS, COLUMNS = 40, 64
"""Of the texture."""
DEPTH = 0.5
"""Rows reach so many widths of the mouth down from the upper lip."""
_SKIN = (50, 280, 4, 195, 205, 425)
"""Landmarks of cheeks and nose: whose brightness the inside goes with."""
_PURSED = 0.65
"""Part of the mouth's width at rest at which its inside is darkest."""
_PARTED = 0.012, 0.05
"""Growth of the gap in widths of the mouth over which the inside appears."""


def contours(points: F32) -> tuple[np.ndarray, np.ndarray]:
    """(11, 2) of the upper and the lower inner lip in ``points`` (468 or more, 2 or more), left to right."""
    return points[list(UPPER_INNER_LIP), :2], points[list(LOWER_INNER_LIP), :2]


def gap(points: F32) -> float:
    """Mean height of the opening, in widths of the mouth."""
    upper, lower = contours(points)
    return float((lower[2:-2, 1] - upper[2:-2, 1]).mean() / max(1e-3, np.hypot(*(upper[-1] - upper[0]))))


def _width(points: F32) -> float:
    """Of the mouth, in distances between the outer corners of the eyes."""
    mouth, eyes = points[61, :2] - points[291, :2], points[33, :2] - points[263, :2]
    return float(np.hypot(*mouth) / max(1e-3, np.hypot(*eyes)))


def brightness(picture: U8, points: F32) -> F32:
    """(3,): median colour of cheeks and nose."""
    at = np.clip(np.round(points[list(_SKIN), :2]).astype(int), 2, len(picture) - 3)
    patches = [picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3) for x, y in at]
    return np.median(np.concatenate(patches), 0).astype(np.float32)


def places(points: F32, corner: np.ndarray, shape: tuple[int, int]) -> tuple[F32, F32]:
    """Column and row (h, w) in the texture of the pixels of a box that begins at ``corner`` (x, y)."""
    upper, _ = contours(points)
    along = upper[-1] - upper[0]
    width = max(1e-3, float(np.hypot(*along)))
    along = along / width
    down = np.array((-along[1], along[0]))
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    offset = np.dstack([xx + corner[0], yy + corner[1]]) - upper[0]
    u = offset @ along / width
    lip = (upper - upper[0]) @ np.c_[along, down]
    v = offset @ down / width - np.interp(u, lip[:, 0] / width, lip[:, 1] / width)
    return (u * (COLUMNS - 1)).astype(np.float32), (v / DEPTH * (ROWS - 1)).astype(np.float32)


class Interior:
    """Lays the inside of the mouth under the lips of one portrait.

    :param texture: (:data:`ROWS`, :data:`COLUMNS`, 3) in shares of the skin's brightness. :param landmarks: (478, 3).
    """

    def __init__(self, texture: F32, portrait: U8, landmarks: F32) -> None:
        level = brightness(portrait, landmarks)
        self._texture = np.ascontiguousarray(texture * float(level.mean()), np.float32)
        self._rest = gap(landmarks)
        self._width = _width(landmarks)

    def lay(self, picture: U8, points: F32) -> None:
        """In place, between the lips at ``points`` (468, 3)."""
        low, high = _PARTED
        share = float(np.clip((gap(points) - max(0.0, self._rest) - low) / (high - low), 0, 1))
        if share == 0:
            return
        upper, lower = contours(points)
        outline = np.concatenate([upper, lower[-2:0:-1]])
        corner = np.maximum(np.floor(outline.min(0)).astype(int) - 2, 0)
        end = np.minimum(np.ceil(outline.max(0)).astype(int) + 3, len(picture))
        if (end - corner).min() < 4:
            return
        shape = int(end[1] - corner[1]), int(end[0] - corner[0])
        mask = np.zeros(shape, np.float32)
        cv2.fillPoly(mask, [np.round((outline - corner) * 16).astype(np.int32)], share, cv2.LINE_AA, 4)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, len(picture) / 600))[..., None]
        across, down = places(points, corner, shape)
        inside = cv2.remap(self._texture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # Pursed lips stand before the teeth and shade them.
        inside *= np.float32(np.clip((_width(points) / self._width - _PURSED) / (1 - _PURSED), 0.3, 1))
        part = picture[corner[1] : end[1], corner[0] : end[0]]
        part[:] = np.clip(part + (inside - part) * mask + 0.5, 0, 255)
