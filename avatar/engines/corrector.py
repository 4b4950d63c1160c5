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
from avatar.core.geometry import similarity
from avatar.core.types import F32, U8
from avatar.engines.head_warp import smoothstep
from avatar.network import drawing_session, one_thread_session

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
_SMILE_FROM, _SMILE_TO = 0.05, 0.30
"""Mean mouthSmile over which the mouth passes from the drawn one to the corrected one."""
_LAUGH_FROM, _LAUGH_TO = 0.25, 0.50
"""jawOpen over which it passes back."""
_LIPS_AROUND, _LIPS_SOFT = 9, 2.0
"""Width of the brush that widens the lips' place, and the softness of its edge; pixels of the crop."""
_SMILES = [ARKIT.index("mouthSmileLeft"), ARKIT.index("mouthSmileRight")]
_JAW = ARKIT.index("jawOpen")
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


def smiling(relative: F32) -> float:
    """0 to 1: how much of the correction is applied to lips and mouth.

    Nearly all mouths that the network has learnt from smile with the teeth together. In speech it would close the lips
    a little and grey the teeth, in a laugh fill the dark between them: there the head's own mouth is the better one.
    """
    smiles = smoothstep(_SMILE_FROM, _SMILE_TO, relative[_SMILES].mean())
    return float(smiles * (1 - smoothstep(_LAUGH_FROM, _LAUGH_TO, relative[_JAW])))


def around(lips: F32) -> F32:
    """(128, 128): 1 on lips and mouth, softly 0 around them. ``lips``: (n, 2) points of their outline in the crop."""
    mask = np.zeros((CROP, CROP), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(lips).astype(np.int32)), 1.0)
    mask = cv2.dilate(mask, np.ones((_LIPS_AROUND, _LIPS_AROUND), np.uint8))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), _LIPS_SOFT), np.float32)


def frame_of(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(2, 3): from a picture's pixels to the crop's, by the eyes.

    :param points: (2, 2) the middles of the eyes' corners in the picture, the eye on its left first.
    """
    return similarity(points, np.array(MIDDLE) + np.array([(-EYES / 2, 0.0), (EYES / 2, 0.0)]))


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
def _sources(flow, x0, y0, sources):
    """Where each pixel of a box comes from, (h, w, 2): its own place, the box beginning at ``x0``, ``y0``, and flow."""
    for j in range(flow.shape[0]):
        for i in range(flow.shape[1]):
            sources[j, i, 0] = np.float32(x0 + i) + flow[j, i, 0]
            sources[j, i, 1] = np.float32(y0 + j) + flow[j, i, 1]


@njit(nogil=True, cache=True, fastmath=True)
def _shade(moved, flow, colour, out):
    """``moved`` (h, w, 3) times one plus the gain in ``flow[..., 2]`` plus ``colour`` (h, w, 3), into ``out``."""
    zero, top, half = np.float32(0), np.float32(255), np.float32(0.5)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            gain = np.float32(1) + flow[j, i, 2]
            for c in range(3):
                shade = moved[j, i, c] * gain + colour[j, i, c] + half
                out[j, i, c] = np.uint8(min(top, max(zero, shade)))


def reach(outline: F32) -> F32:
    """(128, 128): 1 on the face, softly 0 around it and at the crop's edge.

    :param outline: (n, 2) points of the face in the crop.
    """
    mask = np.zeros((CROP, CROP), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(outline).astype(np.int32)), 1)
    mask = cv2.dilate(mask, np.ones((2 * _EDGE - 3,) * 2, np.uint8))
    mask[[0, -1]] = mask[:, [0, -1]] = 0
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _EDGE / 4))


class Corrector:
    """Runs the network for one portrait.

    :param weights: folder of the shipped weights. :param portrait: (128, 128, 3), the photo's :func:`crop`.
    :param outline: (n, 2) points of the face in it. :param photo: (52,) the photo's coefficients.
    """

    def __init__(self, weights: Path, portrait: U8, outline: F32, photo: F32) -> None:
        (self._features,) = one_thread_session(weights / PORTRAIT_FILE).run(None, {"portrait": planes(portrait)})
        self._session = drawing_session(weights / FILE)
        self._photo = photo
        self._reach = reach(outline)
        seen = np.argwhere(self._reach > 0.004)
        self._low, self._high = seen.min(0)[::-1], seen.max(0)[::-1] + 1
        """Corners (x, y) of the crop's part that is changed at all."""

    def maps(self, drawn: U8, relative: F32, emotion: F32 | None = None) -> F32:
        """(128, 128, 6) as the network gives them, in the units of :data:`MAPS`."""
        given = {
            "features": self._features,
            "drawn": planes(drawn),
            "condition": condition(relative, self._photo, emotion)[None],
        }
        (raw,) = self._session.run(None, given)
        return np.ascontiguousarray(raw[0].transpose(1, 2, 0))

    def correct(
        self, picture: U8, frame: NDArray[np.float64], relative: F32, lips: F32, emotion: F32 | None = None
    ) -> None:
        """Put ``picture`` right in place.

        :param picture: (s, s, 3) as the head was drawn. :param frame: :func:`frame_of` this picture.
        :param relative: (52,) coefficients of the state. :param lips: (n, 2) outline of the drawn lips in the crop.
        """
        share = presence(relative)
        if share == 0:
            return
        maps = self.maps(crop(picture, frame), relative, emotion)
        where = self._reach * np.float32(share)
        if (mouth := smiling(relative)) < 1:
            where *= 1 - np.float32(1 - mouth) * around(lips)
        maps *= where[..., None]
        back = cv2.invertAffineTransform(frame)
        maps[..., :2] = maps[..., :2] @ (back[:, :2].T * (CROP / 2)).astype(np.float32)
        maps[..., 3:] *= np.float32(127.5)
        corners = np.array([(x, y) for x in (self._low[0], self._high[0]) for y in (self._low[1], self._high[1])])
        corners = corners @ back[:, :2].T + back[:, 2]
        x0, y0 = (int(v) for v in np.clip(np.floor(corners.min(0)), 0, len(picture)))
        x1, y1 = (int(v) for v in np.clip(np.ceil(corners.max(0)), 0, len(picture)))
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        # The box's pixels to the crop's: the frame, with the origin moved.
        into = np.c_[frame[:, :2], frame[:, 2] + frame[:, :2] @ (x0, y0)]
        flow, colour = (
            cv2.warpAffine(part, into, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            for part in (np.ascontiguousarray(maps[..., :3]), np.ascontiguousarray(maps[..., 3:]))
        )
        sources = np.empty((*flow.shape[:2], 2), np.float32)
        _sources(flow, x0, y0, sources)
        moved = cv2.remap(picture, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        _shade(moved, flow, colour, picture[y0:y1, x0:x1])
