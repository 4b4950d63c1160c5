"""The person's own upper teeth, from a second photo in which they smile.

Upper teeth are rigid with the skull. So where the z-buffer shows one, its place in the second photo follows from the
two cameras alone, whatever jaw and lips do. What that photo does not show of the teeth keeps the painted ones, in the
colour of the real ones.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

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
"""Width of the lips' shadow that is left out, and softness of the edge, in distances between the eyes' outer corners."""
_BETWEEN = 0.012
"""Half of the widest dark gap between two teeth of one row."""
_FRONT, _SEEN = 0.8, 0.5
"""Half-width (cm) of the incisors, and share of the painted ones' height that the photo must show."""
_CHEEKS = (50, 280, 101, 330, 118, 347)
_GAIN = (0.75, 1.4)
"""What the two photos' light may differ by."""
_COLOUR = (0.6, 1.15)
"""What painted teeth may be multiplied by to look like the real ones."""


class OwnTeeth:
    """Looks up teeth in the second photo.

    :param own: at the drawn size. :param portrait, landmarks: the first photo, whose light counts.
    :param cavity: (3,) colour of the mouth's dark.
    """

    def __init__(self, own: OwnSmile, portrait: U8, landmarks: F32, cavity: F32) -> None:
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
        self._cavity = cavity.astype(np.float32)
        depth = cv2.distanceTransform((opening > 127).astype(np.uint8), cv2.DIST_L2, 5)
        sure = _teeth(patch, depth > _MARGIN * unit)
        side = 2 * max(1, round(_BETWEEN * unit)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        row = _largest(cv2.morphologyEx(sure.astype(np.uint8), cv2.MORPH_CLOSE, disc))
        self._row = row > 0
        alpha = np.clip((cv2.distanceTransform(row, cv2.DIST_L2, 5) - 0.8) / max(1.5, _SOFT * unit), 0, 1)
        self._rgba = np.ascontiguousarray(np.dstack([patch, alpha]), np.float32)
        gaps = np.hypot(*(own.landmarks[list(UPPER_INNER_LIP), :2] - own.landmarks[list(LOWER_INNER_LIP), :2]).T)
        open_ = int((depth > _MARGIN * unit).sum())
        self.found = bool(gaps.max() > _LEAST_GAP * unit and row.sum() > max(40, _LEAST_TEETH * open_))

    def lay(
        self, values: F32, shown: np.ndarray, depth: F32, box: tuple[int, int, int, int], camera: tuple[F32, F32], back: float
    ) -> None:
        """Write the photo's colours over the upper teeth's in ``values`` (s, s, 3).

        :param camera: matrix and offset with which the picture was drawn. :param back: pixels that the teeth were pushed
            back by in ``depth``. :param box: x0, y0, x1, y1 of the mouth.
        """
        matrix, offset = camera
        back_to_head = np.linalg.inv(matrix.astype(np.float64))
        whole = np.vstack([self._to_picture, (0, 0, 0, 1)])[:2] @ np.vstack(
            [np.c_[back_to_head, back_to_head @ ((0, 0, back) - offset.astype(np.float64))], (0, 0, 0, 1)]
        )
        whole[:, 3] -= self._low
        _lay(values, shown, depth, box, whole.astype(np.float32), self._rgba, self._cavity)

    def end_at_edge(self, mesh: DrawMesh) -> None:
        """Nothing of the painted teeth may hang out below the photo's, or there would be a seam across them. A photo that
        shows but a strip of them gives their colour only.
        """
        upper = mesh.rest[mesh.parts == TEETH_UPPER]
        front = upper[np.abs(upper[:, 0]) < _FRONT]
        at = np.c_[front, np.ones(len(front))] @ self._to_picture[:2].T - self._low
        columns = self._rgba[..., 3] > 0.2
        near = np.abs(np.arange(columns.shape[1]) - np.median(at[:, 0])) < np.ptp(at[:, 0]) / 2
        middle = np.flatnonzero(columns.any(0) & near)
        if not len(middle):
            return
        height = columns.shape[0]
        bottom = height - 1 - columns[::-1].argmax(0)
        top, edge = float(np.median(columns.argmax(0)[middle])), float(np.median(bottom[middle]))
        if edge - top < _SEEN * (float(at[:, 1].max()) - top):
            self._rgba[..., 3] = 0
            return
        shown = np.flatnonzero(columns.any(0))
        line = np.interp(np.arange(columns.shape[1]), shown, bottom[shown])
        below = np.arange(height)[:, None] > cv2.GaussianBlur(line[None].astype(np.float32), (0, 0), 0.8) + 0.5
        self._rgba[..., 3] = np.where(below, -1, self._rgba[..., 3])

    def match(self, mesh: DrawMesh, picture: U8, values: F32, shown: np.ndarray) -> None:
        """Undo the shade that the mouth's drawing adds, since the photo has its own, and give the painted teeth of
        ``mesh`` the colour of the real ones.

        :param picture, values, shown: as drawn at the second photo's strength, with these teeth.
        """
        teeth = shown == TEETH
        if teeth.any():
            shade = np.median(values[teeth].mean(1) / np.maximum(picture[teeth].mean(1), 1.0))
            self._rgba[..., :3] = np.minimum(self._rgba[..., :3] * np.float32(np.clip(shade, 1.0, 1.45)), 255)
        real = self._rgba[self._row, :3]
        painted = np.percentile(mesh.attributes[mesh.parts == TEETH_UPPER], 75, axis=0)
        both = (mesh.parts == TEETH_UPPER) | (mesh.parts == TEETH_LOWER)
        factor = np.clip(np.percentile(real, 65, axis=0) / np.maximum(painted, 1.0), *_COLOUR)
        mesh.attributes[both] *= factor.astype(np.float32)


def mark_upper_teeth(mesh: DrawMesh) -> None:
    """Let the z-buffer tell upper teeth from the rest of the mouth."""
    upper = mesh.parts[mesh.triangles[:, 0]] == TEETH_UPPER
    mesh.kinds[upper & (mesh.kinds == MOUTH)] = TEETH


def _teeth(rgb: F32, inside: np.ndarray) -> np.ndarray:
    """(h, w): bright and hardly coloured, against lips, gums and the dark."""
    top, least = rgb.max(2), rgb.min(2)
    bright = top > 0.6 * np.percentile(top[inside], 95) if inside.any() else top > 255
    return inside & bright & ((top - least) < 0.38 * top)


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
def _lay(values, shown, depth, box, whole, rgba, cavity):
    """``whole`` (2, 4) maps x, y, depth, 1 of the drawn picture to the pixels of ``rgba`` (h, w, 4), whose last value is
    how much it counts; below 0 there is no tooth but ``cavity`` (3,)."""
    height, width = rgba.shape[:2]
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
            w00, w10 = (np.float32(1) - u) * (np.float32(1) - v), u * (np.float32(1) - v)
            w01, w11 = (np.float32(1) - u) * v, u * v
            if rgba[j, i, 3] < 0 or rgba[j + 1, i, 3] < 0:
                values[y, x, 0], values[y, x, 1], values[y, x, 2] = cavity[0], cavity[1], cavity[2]
                continue
            a = rgba[j, i, 3] * w00 + rgba[j, i + 1, 3] * w10 + rgba[j + 1, i, 3] * w01 + rgba[j + 1, i + 1, 3] * w11
            for c in range(3):
                colour = rgba[j, i, c] * w00 + rgba[j, i + 1, c] * w10
                colour += rgba[j + 1, i, c] * w01 + rgba[j + 1, i + 1, c] * w11
                values[y, x, c] += a * (colour - values[y, x, c])
