"""Glasses: drawn over the face with the head's rigid motion alone, so that no brow, lid or cheek bends them.

The portrait is painted clear of its frames once; what moves is that bare face. The frames' pixels come from the photo
and lie on a surface a little in front of the face, whose depth depends on the column alone. At rest they cover exactly
what was painted, so the picture is the photo.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from avatar.core.types import F32, U8
from avatar.engines.raster import NOTHING
from avatar.portrait.fit import eye_distance

_AROUND, _SHADOW, _SOFT = 0.022, 0.02, 0.018
"""Distances between the eyes' outer corners: what goes with the frame around it and, as its shadow, below it; and the
width of the soft edge."""
_FRONT = 0.6
"""Centimetres from the nearest skin of brows and cheeks to the frame."""
_INPAINT = 4.0


class Glasses:
    """The frames of one portrait.

    :param portrait: (s, s, 3) and :param landmarks: (478, 3) in its pixels. :param mask: (s, s), above 127 on frames.
    :param scale: texels in a pixel of the enlarged portrait.
    """

    def __init__(self, portrait: U8, landmarks: F32, mask: U8, scale: int) -> None:
        unit = eye_distance(landmarks)
        side = 2 * max(1, round(_AROUND * unit)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        core = cv2.dilate((mask > 127).astype(np.uint8), disc)
        drop = max(1, round(_SHADOW * unit))
        core[drop:] |= core[:-drop].copy()
        away = cv2.distanceTransform(1 - core, cv2.DIST_L2, 5)
        alpha = np.clip(1 - away / max(1.5, _SOFT * unit), 0, 1).astype(np.float32)
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        size = len(portrait)
        self._box = (
            max(0, int(columns[0]) - 1), max(0, int(rows[0]) - 1),
            min(size, int(columns[-1]) + 2), min(size, int(rows[-1]) + 2),
        )  # fmt: skip
        x0, y0, x1, y1 = self._box
        self.bare = np.asarray(cv2.inpaint(portrait, core, _INPAINT, cv2.INPAINT_TELEA), np.uint8)
        self.bare[core == 0] = portrait[core == 0]
        self._alpha = np.ascontiguousarray(alpha[y0:y1, x0:x1])
        matrix = np.array([[scale, 0, -scale * x0], [0, scale, -scale * y0]], np.float64)
        self._texture = cv2.warpAffine(
            portrait,
            matrix,
            (scale * (x1 - x0), scale * (y1 - y0)),
            flags=cv2.INTER_LANCZOS4,
            borderMode=cv2.BORDER_REPLICATE,
        )
        self._scale = np.float32(scale)
        self._unit, self._middle = unit, float(landmarks[168, 0])
        self._depth = np.zeros(size, np.float32)

    def set_depth(self, depth: F32, shown: np.ndarray, centimetre: float) -> None:
        """Lay the frames in front of the resting face. :param depth: (s, s) pixels, larger = nearer."""
        _, y0, _, y1 = self._box
        known = shown[y0:y1] != NOTHING
        # The nose is no part of what frames lie on, and beyond the eyes' corners the face falls back too steeply.
        away = np.abs(np.arange(len(depth)) - self._middle) / self._unit
        columns = np.flatnonzero(known.any(0) & (away > 0.14) & (away < 0.52))
        if len(columns) < 5:
            return
        nearest = np.where(known, depth[y0:y1], -np.inf).max(0)[columns]
        across = (np.arange(len(depth)) - self._middle) / self._unit
        curve = np.polyfit(across[columns], nearest, 2)
        curve[0] = min(curve[0], 0.0)
        curve[2] += float(np.median(nearest - np.polyval(curve, across[columns]))) + _FRONT * centimetre
        self._depth[:] = np.polyval(curve, across)

    def draw(self, picture: U8, rigid: F32) -> None:
        """Into ``picture`` (s, s, 3), in place. :param rigid: (2, 4) maps (x, y, 1, depth) to the photo's x, y."""
        x0, y0, x1, y1 = self._box
        corners = np.array([(x, y) for x in (x0, x1) for y in (y0, y1)], np.float64)
        deep = self._depth[[min(len(self._depth) - 1, int(x)) for x, _ in corners]]
        there = np.linalg.solve(
            rigid[:, :2].astype(np.float64), (corners - rigid[:, 2] - rigid[:, 3] * deep[:, None]).T
        ).T
        low, high = np.floor(there.min(0)).astype(int) - 2, np.ceil(there.max(0)).astype(int) + 3
        size = len(picture)
        box = (max(0, int(low[0])), max(0, int(low[1])), min(size, int(high[0])), min(size, int(high[1])))
        _lay(picture, box, rigid, self._depth, self._alpha, self._texture, self._scale, np.float32(x0), np.float32(y0))


@njit(nogil=True, cache=True, fastmath=True)
def _lay(picture, box, rigid, depth, alpha, texture, scale, x0, y0):
    """``alpha`` (h, w) and ``texture`` (scale h, scale w, 3) begin at ``x0``, ``y0`` of the photo."""
    height, width = alpha.shape
    last = len(depth) - 1
    one, half = np.float32(1), np.float32(0.5)
    for y in range(box[1], box[3]):
        for x in range(box[0], box[2]):
            z = depth[x]
            base = rigid[0, 0] * x + rigid[0, 1] * y + rigid[0, 2]
            # The depth belongs to the photo's column, which depends on the depth: twice is enough.
            z = depth[min(last, max(0, int(base + rigid[0, 3] * z + half)))]
            u = base + rigid[0, 3] * z - x0
            v = rigid[1, 0] * x + rigid[1, 1] * y + rigid[1, 2] + rigid[1, 3] * z - y0
            if u < 0 or v < 0 or u >= width - 1 or v >= height - 1:
                continue
            i, j = int(u), int(v)
            p, q = u - i, v - j
            a = alpha[j, i] + p * (alpha[j, i + 1] - alpha[j, i])
            b = alpha[j + 1, i] + p * (alpha[j + 1, i + 1] - alpha[j + 1, i])
            a += q * (b - a)
            if a < np.float32(0.004):
                continue
            u *= scale
            v *= scale
            i, j = int(u), int(v)
            p, q = u - i, v - j
            w00, w10, w01, w11 = (one - p) * (one - q), p * (one - q), (one - p) * q, p * q
            for c in range(3):
                colour = texture[j, i, c] * w00 + texture[j, i + 1, c] * w10
                colour += texture[j + 1, i, c] * w01 + texture[j + 1, i + 1, c] * w11
                picture[y, x, c] = np.uint8(picture[y, x, c] * (one - a) + colour * a + half)
