"""Glasses in a portrait: which pixels are frame, so that an engine can keep them rigid while the face moves.

A small network (``models/weights/glasses.onnx``, made by :mod:`avatar.models.glasses`) says for every pixel around the
eyes how surely it is frame. Only what reaches over the bridge of the nose to both eyes counts as glasses: a heavy brow,
a fringe or the rim of a hat does not.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.geometry import similarity
from avatar.core.types import F32, U8, freeze
from avatar.network import one_thread_session

FILE = "glasses.onnx"
CROP = (88, 168)
"""Height and width of what the network sees."""
EYES, MIDDLE = 64.0, (83.5, 38.0)
"""Pixels between the eyes in it, and where the point between them lies."""
SURE, LIKELY = 0.5, 0.25
"""What is likely frame counts where it hangs together with what surely is."""
_CORNERS = ((33, 133), (362, 263))
"""Of the eye on the picture's left, and of the one on its right."""
_PART = 12
"""Pixels that are surely frame, in a part that counts."""
_LEAST, _LEAST_SIDE, _LEAST_BRIDGE = 330, 110, 3
"""Pixels that are surely frame: in all, at each eye, and of the bridge's eleven columns, those that hold some."""


def crop_matrix(landmarks: F32) -> NDArray[np.float64]:
    """(2, 3) from a picture's pixels to those of the crop; ``landmarks`` (478, 3) in the picture's pixels."""
    eyes = np.stack([landmarks[list(pair), :2].mean(0, dtype=np.float64) for pair in _CORNERS])
    return similarity(eyes, np.array(MIDDLE) + np.array([(-EYES / 2, 0.0), (EYES / 2, 0.0)]))


def crop(rgb: U8, landmarks: F32) -> U8:
    """The surroundings of the eyes (88, 168, 3), level."""
    matrix = crop_matrix(landmarks)
    factor = float(np.hypot(*matrix[0, :2]))
    if factor < 0.8:  # averaged down first, or thin frames would break into dots
        small = cv2.resize(rgb, None, fx=1.25 * factor, fy=1.25 * factor, interpolation=cv2.INTER_AREA)
        ratio = np.array((small.shape[1] / rgb.shape[1], small.shape[0] / rgb.shape[0]))
        matrix = np.c_[matrix[:, :2] / ratio, matrix[:, 2] - matrix[:, :2] @ ((ratio - 1) / 2 / ratio)]
        rgb = small
    made = cv2.warpAffine(rgb, matrix, CROP[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.uint8)


def as_input(pictures: NDArray[np.integer]) -> F32:
    """Pictures (n, 88, 168, 3) as the network takes them, (n, 3, 88, 168)."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / np.float32(127.5) - np.float32(1)


class GlassesFinder:
    """Raises ModelFileError where the network is missing or broken. :param weights: folder of the shipped weights."""

    def __init__(self, weights: Path) -> None:
        self._net = one_thread_session(weights / FILE)

    def probability(self, rgb: U8, landmarks: F32) -> F32:
        """(88, 168): how surely each pixel of :func:`crop` is frame."""
        return np.asarray(self._net.run(None, {"picture": as_input(crop(rgb, landmarks)[None])})[0][0, 0], np.float32)

    def mask(self, rgb: U8, landmarks: F32) -> U8 | None:
        """(height, width) of the picture, 255 on frames; None where nobody wears glasses.

        :param landmarks: (478, 3) in pixels of ``rgb``.
        """
        frame = frame_of(self.probability(rgb, landmarks))
        if frame is None:
            return None
        height, width = rgb.shape[:2]
        back = cv2.warpAffine(
            frame, crop_matrix(landmarks), (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        return freeze(np.where(back > LIKELY, 255, 0).astype(np.uint8))


def frame_of(probability: F32) -> F32 | None:
    """The probabilities (88, 168) of what hangs together as glasses, 0 elsewhere; None where there are none."""
    sure = probability > SURE
    # Parts of one frame may be cut by a highlight or a strand of hair.
    joined = cv2.morphologyEx((probability > LIKELY).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    counts = np.bincount(labels[sure], minlength=len(stats))
    parts = [k for k in range(1, len(stats)) if counts[k] >= _PART]
    keep = np.isin(labels, parts)
    sure &= keep
    middle = round(MIDDLE[0])
    right, left = sure[:, : middle - 6].sum(), sure[:, middle + 7 :].sum()
    bridge = sure[:, middle - 5 : middle + 6].any(0).sum()
    if sure.sum() < _LEAST or min(right, left) < _LEAST_SIDE or bridge < _LEAST_BRIDGE:
        return None
    return np.where(keep, probability, 0).astype(np.float32)
