"""Eyes: a completed eyeball texture that can turn, lids that close without streaks, and the line of the lashes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from avatar.core.types import F32, U8
from avatar.engines.head_lids import Lid
from avatar.engines.raster import EYE
from avatar.portrait.fit import (
    LEFT_EYE,
    LEFT_IRIS,
    LEFT_UPPER_LID,
    RIGHT_EYE,
    RIGHT_IRIS,
    RIGHT_UPPER_LID,
    eye_distance,
)

_GAZE_RAMP = math.radians(2.0)
"""From this gaze on, the completed eyeball is all that is seen."""
_LID_SHADOW, _WIDE_SHADOW = 0.28, 0.22
"""Darkening of the eyeball right under the upper lid, and what a wide eye adds."""


@njit(nogil=True, cache=True, fastmath=True)
def _sample(texture, x, y, channel):
    height, width = texture.shape[:2]
    x = min(max(x, np.float32(0)), np.float32(width - 1.001))
    y = min(max(y, np.float32(0)), np.float32(height - 1.001))
    i, j = int(x), int(y)
    tx, ty = x - i, y - j
    upper = texture[j, i, channel] + tx * (np.float32(texture[j, i + 1, channel]) - texture[j, i, channel])
    lower = texture[j + 1, i, channel] + tx * (np.float32(texture[j + 1, i + 1, channel]) - texture[j + 1, i, channel])
    return upper + ty * (lower - upper)


@njit(nogil=True, cache=True, fastmath=True)
def _draw_eyeball(picture, values, shown, texture, box, amount, reach, shadow):
    """Lay the turned eyeball over the pixels in ``box`` (x0, y0, x1, y1) where the z-buffer shows it.

    ``reach`` pixels below the upper lid the lid's ``shadow`` has faded away.
    """
    x0, y0, x1, y1 = box[0], box[1], box[2], box[3]
    for y in range(y0, y1):
        for x in range(x0, x1):
            total = np.float32(0)
            u = v = np.float32(0)
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    if shown[y + dy, x + dx] == EYE:
                        w = np.float32((2 - abs(dy)) * (2 - abs(dx)))
                        total += w
                        u += w * (values[y + dy, x + dx, 0] - dx)
                        v += w * (values[y + dy, x + dx, 1] - dy)
            if total == 0:
                continue
            u /= total
            v /= total
            below = 0
            while below < reach and y - below > 0 and shown[y - below, x] == EYE:
                below += 1
            shade = np.float32(1) - shadow * (np.float32(1) - np.float32(below) / np.float32(reach))
            alpha = amount * total * np.float32(1 / 16)
            for c in range(3):
                colour = _sample(texture, u, v, c) * shade
                picture[y, x, c] = np.uint8(picture[y, x, c] * (1 - alpha) + colour * alpha + np.float32(0.5))


@dataclass
class _Eye:
    side: str
    contour: tuple[int, ...]
    iris: tuple[int, ...]
    opening: float
    """Height of the opening in the photo, pixels."""


class Eyes:
    """Both eyes of one portrait. ``landmarks`` (478, 3) in pixels of ``portrait``."""

    def __init__(self, portrait: U8, landmarks: F32) -> None:
        self._distance = eye_distance(landmarks)
        self._eyes = [
            _Eye(side, contour, iris, _opening(landmarks[list(contour), :2]))
            for side, contour, iris in (("Right", RIGHT_EYE, RIGHT_IRIS), ("Left", LEFT_EYE, LEFT_IRIS))
        ]
        self._ball = portrait.copy()
        for eye in self._eyes:
            _complete_eyeball(self._ball, portrait, landmarks, eye)
        colour, opacity = _lash_look(portrait, landmarks)
        self._lids = [Lid(portrait, landmarks, eye.side, colour, float(opacity)) for eye in self._eyes]

    def draw(
        self,
        picture: U8,
        values: F32,
        shown: np.ndarray,
        contours: tuple[F32, F32],
        closures: Sequence[float],
        lowered: Sequence[float],
        gaze: float,
    ) -> None:
        """Change ``picture`` in place.

        :param contours: right and left eye, each (16, 3) in pixels.
        :param closures: how far each is closed: 0 as in the photo, 1 shut, below 0 wider.
        :param lowered: what share of its opening each upper lid covers: a raised cheek closes from below.
        :param gaze: angle in radians.
        """
        size = len(picture)
        for eye, lid, contour, closed, low_by in zip(self._eyes, self._lids, contours, closures, lowered, strict=True):
            points = contour[:, :2]
            amount = np.float32(min(1.0, max(gaze / _GAZE_RAMP, -closed / 0.12, closed / 0.25)))
            low = np.clip(points.min(0).astype(int) - 2, 1, size - 2)
            high = np.clip(points.max(0).astype(int) + 3, 1, size - 2)
            if amount > 0:
                box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
                reach = max(2, round(0.3 * eye.opening))
                shadow = np.float32(_LID_SHADOW + _WIDE_SHADOW * min(1.0, max(0.0, -closed / 0.3)))
                _draw_eyeball(picture, values, shown, self._ball, box, amount, reach, shadow)
            lid.draw(picture, shown, points, closed, low_by)


def _opening(contour: F32) -> float:
    """Mean height of the middle of an eye's contour (16, 2), in pixels, at least 1; less where the lids have met."""
    upper = contour[[3, 4, 5], 1]
    lower = contour[[13, 12, 11], 1]
    return max(1.0, float((lower - upper).mean()))


def _complete_eyeball(ball: U8, portrait: U8, landmarks: F32, eye: _Eye) -> None:
    """Paint what the lids hide of the eyeball into ``ball``: white all around, and the iris as a whole disc."""
    contour = landmarks[list(eye.contour), :2]
    iris = landmarks[list(eye.iris), :2]
    centre = iris[0]
    radius = max(2.0, float(np.hypot(*(iris[1:] - centre).T).mean()))
    size = len(portrait)
    margin = 1.2 * np.ptp(contour[:, 0])
    x0, y0 = np.clip(np.floor(contour.mean(0) - margin).astype(int), 0, size)
    x1, y1 = np.clip(np.ceil(contour.mean(0) + margin).astype(int), 0, size)
    yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    patch = portrait[y0:y1, x0:x1].astype(np.float32)
    distance = np.hypot(xx - centre[0], yy - centre[1])

    # Lashes and the lid's shadow hang into the upper part of the opening, and the lower margin is wet and bright.
    shrunk = contour.copy()
    shrunk[1:8, 1] += 0.16 * eye.opening
    shrunk[9:16, 1] -= 0.08 * eye.opening
    seen = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(seen, [np.round((shrunk - (x0, y0)) * 16).astype(np.int32)], 1, shift=4)
    valid = seen > 0

    white = valid & (distance > 1.15 * radius)
    if white.sum() < 12:
        white = valid & (distance > 0.95 * radius)
    base = _spread(patch, white, max(2.0, 0.35 * radius)) if white.any() else np.full_like(patch, 190.0)
    disc = valid & (distance < 1.15 * radius)
    if disc.any():
        profile = _radial_profile(patch, disc, distance / radius)
        ring = np.stack([np.interp(distance / radius, profile[0], profile[1][:, c]) for c in range(3)], axis=-1)
        over_x, over_y = (xx - x0).astype(np.float32), (2 * centre[1] - yy - y0).astype(np.float32)
        mirrored = cv2.remap(patch, over_x, over_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mirror_seen = cv2.remap(valid.astype(np.float32), over_x, over_y, cv2.INTER_LINEAR)
        trust = cv2.GaussianBlur(mirror_seen, (0, 0), max(0.8, radius * 0.1))[..., None] * (
            mirror_seen[..., None] > 0.5
        )
        ring += (mirrored - ring) * trust
        # The limbus is dark; spread from a shaded half of the iris it would be washed out.
        ring *= (1 - 0.3 * np.exp(-(((distance / radius - 0.95) / 0.12) ** 2)))[..., None]
        inside = np.clip((1.06 * radius - distance) / (0.18 * radius), 0, 1)[..., None]
        base += (ring - base) * inside
    # The ball darkens away from its middle, all the more under the upper lid, and the photo goes over into it softly:
    # a sharp edge would look like a lens when the eye is wide.
    away = np.hypot((xx - centre[0]) / 2.6, yy - centre[1]) / radius
    base *= (1 - 0.38 * np.clip((away - 0.75) / 0.9, 0, 1) * np.where(yy < centre[1], 1.0, 0.6))[..., None]
    soft = max(0.8, 0.07 * eye.opening)
    grown = 2 * round(1.2 * soft) + 1
    keep = cv2.erode(seen, np.ones((grown, grown), np.uint8)).astype(np.float32)
    keep = cv2.GaussianBlur(keep, (0, 0), soft)[..., None]
    ball[y0:y1, x0:x1] = np.clip(base + (patch - base) * keep + 0.5, 0, 255).astype(np.uint8)


def _spread(values: F32, known: np.ndarray, sigma: float) -> F32:
    """Known pixels spread over the rest by normalised convolution at growing widths."""
    mask = known.astype(np.float32)
    total = np.zeros_like(values)
    weight = np.zeros(mask.shape, np.float32)
    for factor in (1.0, 2.0, 5.0, 12.0):
        blurred = cv2.GaussianBlur(mask, (0, 0), sigma * factor)
        share = np.clip(1 - weight, 0, 1) * np.clip(blurred * 4, 0, 1)
        colour = cv2.GaussianBlur(values * mask[..., None], (0, 0), sigma * factor)
        total += colour / np.maximum(blurred, 1e-4)[..., None] * share[..., None]
        weight += share
    mean = values[known].mean(0) if known.any() else np.zeros(3, np.float32)
    return np.where(weight[..., None] > 1e-3, total / np.maximum(weight, 1e-3)[..., None], mean).astype(np.float32)


def _radial_profile(patch: F32, disc: np.ndarray, ratio: F32) -> tuple[np.ndarray, np.ndarray]:
    centres, colours = [], []
    for low in np.arange(0, 1.15, 0.12):
        ring = disc & (ratio >= low) & (ratio < low + 0.12)
        if ring.sum() >= 2:
            centres.append(low + 0.06)
            colours.append(np.median(patch[ring], axis=0))
    if not centres:
        return np.array([0.0]), patch[disc].mean(0, keepdims=True)
    return np.array(centres), np.array(colours)


def _lash_look(portrait: U8, landmarks: F32) -> tuple[F32, np.float32]:
    """Colour of the lashes, and their opacity: full where the photo's lid margin is much darker than the skin."""
    mask = np.zeros(portrait.shape[:2], np.uint8)
    for contour in (RIGHT_EYE, LEFT_EYE):
        cv2.fillPoly(mask, [np.round(landmarks[list(contour), :2]).astype(np.int32)], 1)
    pixels = portrait[mask > 0].astype(np.float32)
    if len(pixels) == 0:
        return np.array((45.0, 35.0, 30.0), np.float32), np.float32(0.8)
    grey = pixels.mean(1)
    dark = np.median(pixels[grey <= np.percentile(grey, 15)], axis=0) * 0.8
    upper = landmarks[[*RIGHT_UPPER_LID, *LEFT_UPPER_LID], :2]
    size = len(portrait)
    at = np.clip(np.round(upper).astype(int), 0, size - 1)
    margin = float(np.median(portrait[at[:, 1], at[:, 0]].mean(1)))
    cheek = np.clip(np.round(landmarks[[50, 280], :2]).astype(int), 0, size - 1)
    skin = float(portrait[cheek[:, 1], cheek[:, 0]].mean())
    opacity = 0.88 + 0.1 * float(np.clip(1.3 * (1 - margin / max(skin, 1.0)), 0, 1))
    return np.minimum(dark, (60, 55, 55)).astype(np.float32), np.float32(opacity)
