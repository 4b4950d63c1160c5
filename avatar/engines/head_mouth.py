"""The inside of the mouth: colours of teeth, gums, tongue and lining, and how they are laid into the picture."""

from __future__ import annotations

import cv2
import numpy as np

from avatar.core.types import F32, U8
from avatar.engines import raster
from avatar.engines.head_mesh import GUMS, LINING, TEETH_LOWER, TEETH_UPPER, TONGUE, DrawMesh
from avatar.portrait.fit import INNER_LIPS, OUTER_LIPS, FittedHead, eye_distance

_COLOURS = {LINING: (92, 32, 34), GUMS: (190, 100, 105), TONGUE: (190, 96, 100)}
_TEETH = (252, 245, 232)
_CAVITY = np.array((26.0, 9.0, 11.0), np.float32)
_LIGHT = np.array((0.0, 0.25, 0.97), np.float32)
_TYPICAL_BRIGHTNESS = 185.0


def colour_mouth(mesh: DrawMesh, fitted: FittedHead, portrait: U8, landmarks: F32) -> float:
    """Write RGB into the mouth's attributes of ``mesh``; returns the photo's brightness, 1 = well lit."""
    brightness = _brightness(portrait, landmarks)
    parts, rest = mesh.parts, mesh.rest
    teeth = (parts == TEETH_UPPER) | (parts == TEETH_LOWER)
    inside = (parts >= LINING) & (parts <= TONGUE)
    front = rest[teeth, 2].max() if teeth.any() else rest[inside, 2].max()
    back = np.clip((front - rest[:, 2]) / 5, 0, 1)
    side = np.clip(1 - 0.45 * (np.abs(rest[:, 0]) / 2.6) ** 2, 0.3, 1)
    facing = np.clip(_normals(mesh) @ _LIGHT, 0, 1)
    colour = np.zeros((len(parts), 3), np.float32)
    for part, rgb in _COLOURS.items():
        at = parts == part
        colour[at] = np.array(rgb) * (1 - (0.9 if part == LINING else 0.62) * back[at, None])
    colour[teeth] = np.array(_TEETH) * (1 - 0.6 * back[teeth, None])
    colour *= side[:, None] * brightness
    solid = inside & (parts != LINING)
    colour[solid] *= (0.62 + 0.38 * facing[solid])[:, None]
    lip = _lip_colour(portrait, landmarks, fitted.mouth_open)
    edge = np.clip(1.15 - back / 0.42, 0, 1)[:, None] * (parts == LINING)[:, None]
    colour = colour * (1 - edge) + lip * 0.72 * edge
    mesh.attributes[inside] = colour[inside]
    return brightness


def _brightness(portrait: U8, landmarks: F32) -> float:
    x0, y0 = np.maximum(landmarks[:, :2].min(0).astype(int), 0)
    x1, y1 = landmarks[:, :2].max(0).astype(int)
    value = portrait[y0:y1, x0:x1].max(axis=2).mean() if y1 > y0 and x1 > x0 else _TYPICAL_BRIGHTNESS
    return float(np.clip(value / _TYPICAL_BRIGHTNESS, 0.35, 1.05))


def _lip_colour(portrait: U8, landmarks: F32, mouth_open: bool) -> F32:
    mask = np.zeros(portrait.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(landmarks[list(OUTER_LIPS), :2]).astype(np.int32)], 1)
    if mouth_open:
        cv2.fillPoly(mask, [np.round(landmarks[list(INNER_LIPS), :2]).astype(np.int32)], 0)
    if not mask.any():
        return np.array((110.0, 55.0, 60.0), np.float32)
    return np.median(portrait[mask > 0], axis=0).astype(np.float32)


def _normals(mesh: DrawMesh) -> F32:
    a, b, c = (mesh.rest[mesh.triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(mesh.rest)
    for k in range(3):
        np.add.at(normals, mesh.triangles[:, k], face)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)


class Mouth:
    """Lays the mouth's inside into the picture, with occlusion from the lips."""

    def __init__(self, brightness: float, landmarks: F32) -> None:
        self._eyes = eye_distance(landmarks)
        self._cavity = _CAVITY * brightness

    def draw(self, picture: U8, values: F32, shown: np.ndarray, lips: F32, opened: float) -> None:
        """Change ``picture`` (s, s, 3) in place.

        :param lips: (20, 3) the outer contour in pixels.
        :param opened: 0 shut to 1 clearly open; the lips part softly.
        """
        size = len(picture)
        x0, y0 = np.clip(np.floor(lips[:, :2].min(0)).astype(int) - 6, 0, size)
        x1, y1 = np.clip(np.ceil(lips[:, :2].max(0)).astype(int) + 7, 0, size)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return
        kind = shown[y0:y1, x0:x1]
        hull = np.zeros(kind.shape, np.uint8)
        cv2.fillPoly(hull, [np.round(lips[:, :2] - (x0, y0)).astype(np.int32)], 1)
        opening = (((kind == raster.MOUTH) | (kind == raster.NOTHING)) & (hull > 0)).astype(np.float32)
        if opening.sum() < 3:
            return
        colour = np.where((kind == raster.MOUTH)[..., None], values[y0:y1, x0:x1], self._cavity)
        occlusion = cv2.GaussianBlur(opening, (0, 0), max(1.5, self._eyes * 0.045))
        occlusion = np.clip(occlusion / max(0.25, float(occlusion.max())), 0, 1)
        drop = max(1, int(self._eyes * 0.03))
        below_lip = np.zeros_like(opening)
        below_lip[drop:] = opening[:-drop] * opening[drop:]
        below_lip = cv2.GaussianBlur(below_lip, (0, 0), max(0.8, self._eyes * 0.018))
        shade = np.clip(0.72 + 0.4 * below_lip, 0.72, 1) * (0.62 + 0.38 * occlusion)
        colour = cv2.GaussianBlur(colour, (0, 0), 0.7) * shade[..., None]
        alpha = cv2.GaussianBlur(cv2.dilate(opening, np.ones((2, 2))), (0, 0), 1.1)[..., None] * np.float32(opened)
        region = picture[y0:y1, x0:x1]
        region[:] = np.clip(region * (1 - alpha) + colour * alpha + 0.5, 0, 255)
