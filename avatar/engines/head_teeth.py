"""The person's own upper teeth, from a second photo in which they smile.

Upper teeth are rigid with the skull. So where the z-buffer shows one, its place in the second photo follows from the
two cameras alone, whatever jaw and lips do. A mouth that is opened wider bares more of the teeth than the photo shows;
there the painted ones take over, in the colour of the real ones.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from avatar.core.facs import INDEX
from avatar.core.types import F32, U8
from avatar.engines.head_mesh import TEETH_LOWER, TEETH_UPPER, DrawMesh
from avatar.engines.head_own import OwnSmile
from avatar.engines.raster import MOUTH, TEETH
from avatar.portrait.fit import INNER_LIPS, LOWER_INNER_LIP, UPPER_INNER_LIP, eye_distance

_LEAST_GAP = 0.045
"""Height between the inner lips, in distances between the eyes' outer corners, from which teeth are looked for."""
_LEAST_TEETH = 0.25
"""Share of the opening that must look like teeth."""
_MARGIN, _SOFT = 0.010, 0.008
"""Width of the lips' shadow that is left out, and softness of the edge, in the same unit."""
_HIGH = 0.4
"""Share of the opening between the upper lip and where the upper teeth begin, at most."""
_TWO = 0.3
"""Share of the columns with two rows of teeth from which the jaw is open: which row is which is unsure."""
_SURE, _LIKELY, _PART = (0.6, 0.6, 0.06), (0.42, 0.95, 0.14), 8
"""Brightness of teeth in shares of the brightest there; redness (r - g) / r, at most, in shares of the skin's; what
counts as not red in any case. Sure ones, likely ones, and how many of the former make the latter count."""
_BETWEEN = 0.012
"""Half of the widest dark gap between two teeth of one row."""
_BARING = [INDEX[name + side] for name in ("mouthSmile", "mouthUpperUp") for side in ("Left", "Right")]
_CHEEKS = (50, 280, 101, 330, 118, 347)
_GAIN = (0.75, 1.4)
"""What the two photos' light may differ by."""
_MOST_SHADE = 1.3
"""What the mouth's drawing darkens the teeth by, at most."""
_WIDER = 0.5
"""Share by which a mouth may be wider open than in the photo until nothing but the colour is taken from it: what the
lips hide there of the teeth would leave a seam."""
_UNDER_LIP = 0.75
"""Light on teeth that the lips hardly bare, in shares of that in the second photo."""
_COLOUR = (0.6, 1.15)
"""What painted teeth may be multiplied by to look like the real ones."""


class OwnTeeth:
    """Looks up teeth in the second photo.

    :param own: at the drawn size. :param portrait, landmarks: the first photo, whose light counts.
    """

    def __init__(self, own: OwnSmile, portrait: U8, landmarks: F32) -> None:
        inner = own.landmarks[list(INNER_LIPS), :2]
        unit = eye_distance(own.landmarks)
        low = np.maximum(0, np.floor(inner.min(0)) - 3).astype(int)
        high = np.minimum(len(own.picture), np.ceil(inner.max(0)) + 4).astype(int)
        patch = own.picture[low[1] : high[1], low[0] : high[0]].astype(np.float32)
        opening = np.zeros(patch.shape[:2], np.uint8)
        cv2.fillPoly(opening, [np.round((inner - low) * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
        self.gain = _light(portrait, landmarks) / np.maximum(_light(own.picture, own.landmarks), 1.0)
        patch *= np.clip(self.gain, *_GAIN)
        self._low = low.astype(np.float32)
        self._to_picture = own.to_picture
        self._opened = 1.0
        depth = cv2.distanceTransform((opening > 127).astype(np.uint8), cv2.DIST_L2, 5)
        likely, sure = _teeth(patch, depth > _MARGIN * unit, _light(portrait, landmarks))
        side = 2 * max(1, round(_BETWEEN * unit)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        row = _largest(cv2.morphologyEx(likely, cv2.MORPH_CLOSE, disc))
        self._row = row > 0
        alpha = np.clip((depth - _MARGIN * unit) / max(1.0, _SOFT * unit), 0, 1)
        self._rgba = np.ascontiguousarray(np.dstack([patch, alpha]), np.float32)
        self._bares = _bares(own.weights)
        gaps = np.hypot(*(own.landmarks[list(UPPER_INNER_LIP), :2] - own.landmarks[list(LOWER_INNER_LIP), :2]).T)
        open_ = int((depth > _MARGIN * unit).sum())
        enough = gaps.max() > _LEAST_GAP * unit and row.sum() > max(40, _LEAST_TEETH * open_)
        self.found = bool(enough and hangs(sure & self._row, opening) < _HIGH and rows_of(sure & self._row) < _TWO)

    def lay(
        self,
        values: F32,
        shown: np.ndarray,
        depth: F32,
        box: tuple[int, int, int, int],
        camera: tuple[F32, F32],
        back: float,
        bared: float,
        opened: float,
    ) -> None:
        """Write the photo's colours over the upper teeth's in ``values`` (s, s, 3).

        :param camera: matrix and offset with which the picture was drawn.
        :param back: pixels that the teeth were pushed back by in ``depth``.
        :param box: x0, y0, x1, y1 of the mouth. :param bared: how far the lips are drawn from
            the teeth, 1 as in the photo. :param opened: how far the mouth is open.
        """
        matrix, offset = camera
        back_to_head = np.linalg.inv(matrix.astype(np.float64))
        whole = np.vstack([self._to_picture, (0, 0, 0, 1)])[:2] @ np.vstack(
            [np.c_[back_to_head, back_to_head @ ((0, 0, back) - offset.astype(np.float64))], (0, 0, 0, 1)]
        )
        whole[:, 3] -= self._low
        light = np.float32(_UNDER_LIP + (1 - _UNDER_LIP) * min(1.0, max(0.0, bared)))
        wider = (opened / max(self._opened, 1e-3) - 1) / _WIDER
        like = np.float32(1 - min(1.0, max(0.0, wider)))
        _lay(values, shown, depth, box, whole.astype(np.float32), self._rgba, light, like)

    def bared(self, weights: F32) -> float:
        """How far these weights (52,) draw the lips from the teeth: 0 not at all, 1 as in the photo."""
        return _bares(weights) / max(self._bares, 0.1)

    def match(self, mesh: DrawMesh, picture: U8, values: F32, shown: np.ndarray, opened: float) -> None:
        """Undo the shade that the mouth's drawing adds, since the photo has its own, and give the painted teeth of
        ``mesh`` the colour of the real ones.

        :param picture, values, shown, opened: as drawn at the second photo's strength with the painted teeth.
        """
        self._opened = opened
        teeth = shown == TEETH
        if not teeth.any():
            return
        drawn = np.median(values[teeth], axis=0)
        shade = float(np.median(values[teeth].mean(1) / np.maximum(picture[teeth].mean(1), 1.0)))
        self._rgba[..., :3] = np.minimum(self._rgba[..., :3] * np.float32(np.clip(shade, 1.0, _MOST_SHADE)), 255)
        real = np.median(self._rgba[self._row, :3], axis=0)
        both = (mesh.parts == TEETH_UPPER) | (mesh.parts == TEETH_LOWER)
        factor = np.clip(real / np.maximum(drawn, 1.0), *_COLOUR)
        # Half of the tint: the mirror of lips and skin in wet teeth is no colour of theirs.
        mesh.attributes[both] *= np.sqrt(factor * factor.mean()).astype(np.float32)


def mark_upper_teeth(mesh: DrawMesh) -> None:
    """Let the z-buffer tell upper teeth from the rest of the mouth."""
    upper = mesh.parts[mesh.triangles[:, 0]] == TEETH_UPPER
    mesh.kinds[upper & (mesh.kinds == MOUTH)] = TEETH


def _teeth(rgb: F32, inside: np.ndarray, skin: F32) -> tuple[U8, np.ndarray]:
    """(h, w) 1 on teeth: bright and much less red than the ``skin`` (3,), against lips, gums, tongue and the dark; and
    what hangs together with that and is somewhat so. And the sure part alone."""
    if not inside.any():
        return np.zeros(inside.shape, np.uint8), inside
    top = np.maximum(rgb.max(2), 1.0)
    full = np.percentile(top[inside], 95)
    red = float(max(skin[0] - skin[1], 0.0) / max(float(skin[0]), 1.0))
    redness = (rgb[..., 0] - rgb[..., 1]) / top
    sure, likely = (
        inside & (top > bright * full) & (redness < max(least, share * red))
        for bright, share, least in (_SURE, _LIKELY)
    )
    _, labels = cv2.connectedComponents(likely.astype(np.uint8), connectivity=4)
    counts = np.bincount(labels[sure], minlength=labels.max() + 1)
    counts[0] = 0
    return np.isin(labels, np.flatnonzero(counts >= _PART)).astype(np.uint8), sure


def hangs(row: np.ndarray, opening: U8) -> float:
    """Median share of the opening (h, w) between the upper lip and a row of teeth: small where it is the upper row."""
    columns = np.flatnonzero(row.any(0))
    if not len(columns):
        return 1.0
    inside = opening[:, columns] > 127
    top, height = inside.argmax(0), np.maximum(inside.sum(0), 1)
    return float(np.median((row[:, columns].argmax(0) - top) / height))


def rows_of(teeth: np.ndarray) -> float:
    """Share of the columns of ``teeth`` (h, w) in which there are two, one over the other."""
    columns = teeth[:, teeth.any(0)]
    if not columns.size:
        return 0.0
    starts = np.diff(np.pad(columns.astype(np.int8), ((1, 0), (0, 0))), axis=0) > 0
    return float((starts.sum(0) > 1).mean())


def _bares(weights: F32) -> float:
    return float(weights[_BARING].sum()) / 2


def _largest(mask: U8) -> U8:
    """Only the largest part that hangs together."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return mask
    return (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)


def _light(picture: U8, landmarks: F32) -> F32:
    """(3,) median colour of the cheeks."""
    radius = max(2, round(0.06 * eye_distance(landmarks)))
    parts = []
    for point in _CHEEKS:
        x, y = np.round(landmarks[point, :2]).astype(int)
        parts.append(picture[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius].reshape(-1, 3))
    pixels = np.concatenate(parts)
    return np.median(pixels, axis=0).astype(np.float32) if len(pixels) else np.full(3, 128, np.float32)


@njit(nogil=True, cache=True, fastmath=True)
def _lay(values, shown, depth, box, whole, rgba, light, like):
    """``whole`` (2, 4) maps x, y, depth, 1 of the drawn picture to the pixels of ``rgba`` (h, w, 4), whose last value,
    times ``like``, is how much they count; ``light`` multiplies the colours."""
    height, width = rgba.shape[:2]
    one = np.float32(1)
    for y in range(box[1], box[3]):
        for x in range(box[0], box[2]):
            if shown[y, x] != TEETH:
                continue
            z = depth[y, x]
            u = whole[0, 0] * x + whole[0, 1] * y + whole[0, 2] * z + whole[0, 3]
            v = whole[1, 0] * x + whole[1, 1] * y + whole[1, 2] * z + whole[1, 3]
            if u < 0 or v < 0 or u >= width - 1 or v >= height - 1:
                continue
            i, j = int(u), int(v)
            u -= np.float32(i)
            v -= np.float32(j)
            w00, w10, w01, w11 = (one - u) * (one - v), u * (one - v), (one - u) * v, u * v
            a, b, c, d = rgba[j, i], rgba[j, i + 1], rgba[j + 1, i], rgba[j + 1, i + 1]
            cover = (a[3] * w00 + b[3] * w10 + c[3] * w01 + d[3] * w11) * like
            for k in range(3):
                colour = (a[k] * w00 + b[k] * w10 + c[k] * w01 + d[k] * w11) * light
                values[y, x, k] += cover * (colour - values[y, x, k])
