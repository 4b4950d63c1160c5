"""The learned half of engine ``generator``: what a network puts right in the drawn head, after GANimation.

GANimation (Pumarola et al. 2018) lets a network paint an attention mask and a colour, and keeps the photo's own pixels
where the mask is empty. Here the network looks at the drawn face in a place of its own (128 x 128, level, 40 pixels
between the eyes) and answers with a small flow, a gain and a colour::

    picture = drawn(x + flow) * (1 + gain) + colour

The maps are smooth at the picture's size, so all detail of the photo survives. The condition is the face state
*relative* to the photo; at rest the maps are multiplied by zero, and a still face is the photo.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.core.facs import ARKIT
from avatar.core.types import F32, U8
from avatar.network import one_thread_session

CROP = 128
"""Pixels a side of the network's view."""
EYES, MIDDLE = 40.0, (64.0, 50.0)
"""Pixels between the eyes in it (middle of the corners), and where the point between them lies."""
EYE_CORNERS = (33, 133, 362, 263)
"""MediaPipe's numbers: of the eye on the picture's left, and of the one on its right."""
MAPS = 6
"""Flow x, y (in half sides of the crop), gain, colour r, g, b (in half of the full scale)."""
EMOTION = 16
"""Length of the emotion embedding; zeros until there is one."""
CONDITION = 2 * len(ARKIT) + EMOTION
MOST_FLOW, MOST_GAIN, MOST_COLOUR = 0.08, 0.9, 0.9
FILE, PORTRAIT_FILE = "generator.onnx", "generator_portrait.onnx"
_EDGE = 10
"""Pixels of the crop over which the maps fade to its edge."""
_STILL = 0.08
"""Sum of the coefficients at which the corrector is fully there; below, it fades in from zero."""
_SILENT = np.array([name.startswith(("eyeLook", "eyeBlink")) for name in ARKIT])
"""A blink or a glance alone is geometry; there is nothing to put right."""


def condition(relative: F32, photo: F32, emotion: F32 | None = None) -> F32:
    """What the network is told, (:data:`CONDITION`,).

    :param relative: (52,) coefficients of the state, 0 = as in the photo.
    :param photo: (52,) coefficients of the photo itself. :param emotion: (:data:`EMOTION`,).
    """
    told = np.zeros(CONDITION, np.float32)
    told[: len(ARKIT)] = relative
    told[len(ARKIT) : 2 * len(ARKIT)] = np.clip(photo + relative * (1 - photo), 0, 1)
    if emotion is not None:
        told[2 * len(ARKIT) :] = emotion
    return told


def presence(relative: F32) -> float:
    """0 at rest to 1: how much of the correction is applied."""
    total = float(relative[~_SILENT].sum())
    return min(1.0, total / _STILL)


def frame_of(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(2, 3): from a picture's pixels to the crop's, by the middles of the eyes.

    :param points: (2, 2) the eyes' middles in the picture, the one on its left first.
    """
    right, left = np.asarray(points, np.float64)
    across = left - right
    a, b = EYES * across / (across @ across)
    turn = np.array([[a, b], [-b, a]])
    return np.c_[turn, np.array(MIDDLE) - turn @ ((left + right) / 2)]


def crop(picture: U8, frame: NDArray[np.float64]) -> U8:
    """(128, 128, 3): the face in its place; averaged down where the picture is much larger."""
    factor = float(np.hypot(*frame[0, :2]))
    if factor < 0.36:  # coarser than two and a half pixels for one
        half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        # Pixel centres lie on whole numbers: x of the half is (x - 1/2) / 2.
        return crop(half, np.c_[frame[:, :2] * 2, frame[:, 2] + frame[:, :2] @ (0.5, 0.5)])
    made = cv2.warpAffine(picture, frame, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.uint8)


def planes(pixels: U8) -> F32:
    """(h, w, 3) to (1, 3, h, w) in [-1, 1]."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) * np.float32(2 / 255) - np.float32(1)


@njit(nogil=True, cache=True, fastmath=True)
def _apply(source, picture, box, frame, maps):
    """Write the corrected ``source`` (s, s, 3) into ``picture`` inside ``box`` (x0, y0, x1, y1).

    ``frame`` (2, 3) maps pixels to the crop; ``maps`` (crop, crop, 6) hold flow in pixels of the picture, gain, and
    colour in grey levels.
    """
    size = len(source)
    last = np.float32(len(maps) - 1.001)
    zero, top = np.float32(0), np.float32(size - 1.001)
    value = np.empty(6, np.float32)
    for y in range(box[1], box[3]):
        for x in range(box[0], box[2]):
            u = frame[0, 0] * x + frame[0, 1] * y + frame[0, 2]
            v = frame[1, 0] * x + frame[1, 1] * y + frame[1, 2]
            if u < zero or v < zero or u > last or v > last:
                continue
            i, j = int(u), int(v)
            a, b = u - i, v - j
            for k in range(6):
                upper = maps[j, i, k] + a * (maps[j, i + 1, k] - maps[j, i, k])
                lower = maps[j + 1, i, k] + a * (maps[j + 1, i + 1, k] - maps[j + 1, i, k])
                value[k] = upper + b * (lower - upper)
            sx = min(max(np.float32(x) + value[0], zero), top)
            sy = min(max(np.float32(y) + value[1], zero), top)
            i, j = int(sx), int(sy)
            a, b = sx - i, sy - j
            gain = np.float32(1) + value[2]
            for c in range(3):
                upper = source[j, i, c] + a * (np.float32(source[j, i + 1, c]) - source[j, i, c])
                lower = source[j + 1, i, c] + a * (np.float32(source[j + 1, i + 1, c]) - source[j + 1, i, c])
                shade = (upper + b * (lower - upper)) * gain + value[3 + c] + np.float32(0.5)
                picture[y, x, c] = np.uint8(min(np.float32(255), max(zero, shade)))


def _fade() -> F32:
    """(128, 128): 1 inside, 0 at the crop's edge."""
    at = np.arange(CROP)
    near = np.clip(np.minimum(at, CROP - 1 - at) / _EDGE, 0, 1)
    near = near * near * (3 - 2 * near)
    return (near[:, None] * near[None]).astype(np.float32)


class Corrector:
    """Runs the network for one portrait.

    :param weights: folder of the shipped weights. :param portrait: (128, 128, 3), the photo's :func:`crop`.
    :param photo: (52,) the photo's coefficients.
    """

    def __init__(self, weights: Path, portrait: U8, photo: F32) -> None:
        (self._features,) = one_thread_session(weights / PORTRAIT_FILE).run(None, {"portrait": planes(portrait)})
        self._session = one_thread_session(weights / FILE)
        self._photo = photo
        self._fade = _fade()
        self.attention = np.zeros((CROP, CROP), np.float32)
        """(128, 128), in [0, 1]: how much of the last picture is the network's, as GANimation's mask."""

    def maps(self, drawn: U8, relative: F32, emotion: F32 | None = None) -> F32:
        """(128, 128, 6) as the network gives them, in the units of :data:`MAPS`."""
        given = {
            "features": self._features,
            "drawn": planes(drawn),
            "condition": condition(relative, self._photo, emotion)[None],
        }
        (raw,) = self._session.run(None, given)
        return np.ascontiguousarray(raw[0].transpose(1, 2, 0))

    def correct(self, picture: U8, frame: NDArray[np.float64], relative: F32, emotion: F32 | None = None) -> U8:
        """The corrected picture; ``picture`` itself where there is nothing to do.

        :param picture: (s, s, 3) as the head was drawn. :param frame: :func:`frame_of` this picture.
        """
        share = presence(relative)
        if share == 0:
            return picture
        maps = self.maps(crop(picture, frame), relative, emotion)
        maps *= (self._fade * np.float32(share))[..., None]
        self.attention = np.minimum(1, np.abs(maps[..., 2]) + np.abs(maps[..., 3:]).max(axis=2))
        back = cv2.invertAffineTransform(frame)
        maps[..., :2] = maps[..., :2] @ (back[:, :2].T * (CROP / 2)).astype(np.float32)
        maps[..., 3:] *= np.float32(127.5)
        corners = np.array([(0, 0), (CROP, 0), (0, CROP), (CROP, CROP)]) @ back[:, :2].T + back[:, 2]
        low = np.clip(np.floor(corners.min(0)), 0, len(picture)).astype(np.int64)
        high = np.clip(np.ceil(corners.max(0)), 0, len(picture)).astype(np.int64)
        out = picture.copy()
        _apply(picture, out, np.r_[low, high], frame.astype(np.float32), maps)
        return out
