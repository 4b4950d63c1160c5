"""The inside of the mouth: colours of teeth, gums, tongue and lining, and how they are laid into the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from avatar.core.facs import INDEX
from avatar.core.types import F32, U8
from avatar.engines.head_mesh import GUMS, LINING, TEETH_LOWER, TEETH_UPPER, TONGUE, DrawMesh
from avatar.engines.raster import MOUTH, NOTHING
from avatar.engines.raster import TONGUE as TONGUE_SHOWN
from avatar.portrait.fit import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, FittedHead, eye_distance

# Albedos, RGB, under full light.
_LINING = np.array((98.0, 36.0, 38.0))
_GUMS = np.array((196.0, 108.0, 108.0))
_TONGUE = np.array((206.0, 122.0, 118.0))
_TEETH = np.array((244.0, 239.0, 229.0))
_CAVITY = np.array((24.0, 9.0, 10.0), np.float32)
_LIGHT = np.array((0.0, 0.25, 0.97), np.float32)
"""Towards the light, in the head's frame."""
_DEPTH_OF_LIGHT = 2.2
"""Centimetres behind the front teeth at which the light has fallen to a third."""
_SMOOTH = 0.5
"""Centimetres over which the row of teeth counts as one smooth arch."""
_ENAMEL, _GLOSS = 1.02, 0.5
"""Wet teeth mirror the light: brighter than matt white, and less dim than the room."""
_FURROW = 0.25
"""How much darker the tongue is along its middle."""
_TIP_FOLLOWS, _BACK_FOLLOWS, _BACK = 0.65, 0.4, 3.0
"""Shares of the jaw's way that the tongue's tip and its back go, and how far (cm) the back lies behind the tip."""
_GAP = 0.4
"""How much darker it is between two teeth."""
_TYPICAL_WHITE = 225.0
_TYPICAL_FACE = 185.0
_TYPICAL_HIGHLIGHT = 240.0
_NARROW, _WIDE = 0.36, 0.46
"""Widths of the mouth, in eye distances: of a funnel, of a mouth at rest."""
_ROUND_SHADE = 0.45
_UNDER_LIP, _AT_RIM = 0.22, 0.38
"""How much darker the mouth is right under the upper lip, and at the edges of its opening."""
_DIM = 0.72
"""The light in a mouth that is only just parted."""
_DARKEST = 0.5
"""No photo's light counts as less."""
_GREY = 0.05
"""(max - min) / max of the colours of grey skin; from twice that on it has colour."""
_WARMTH = 0.3
"""How much of the highlights' colour is the light's; the rest is the skin's."""


def colour_mouth(mesh: DrawMesh, fitted: FittedHead, portrait: U8, landmarks: F32) -> F32:
    """Write RGB into the mouth's attributes of ``mesh``; returns the photo's light (3,), 1 = full and white."""
    illumination = _illumination(portrait, landmarks)
    parts, rest = mesh.parts, mesh.rest
    teeth = (parts == TEETH_UPPER) | (parts == TEETH_LOWER)
    inside = (parts >= LINING) & (parts <= TONGUE)
    front = rest[teeth, 2].max() if teeth.any() else rest[inside, 2].max()
    behind = np.maximum(front - rest[:, 2], 0)[:, None]
    side = np.clip(1 - 0.5 * (np.abs(rest[:, :1]) / 2.6) ** 2, 0.25, 1)
    facing = np.clip(_normals(mesh) @ _LIGHT, 0, 1)[:, None]

    colour = np.zeros((len(parts), 3))
    colour[parts == LINING] = _LINING
    colour[parts == GUMS] = _GUMS
    colour[parts == TONGUE] = _TONGUE
    colour[teeth] = _TEETH
    # Teeth are near the lips and glossy; soft tissue further in gets little light.
    tongue = parts == TONGUE
    reach = _DEPTH_OF_LIGHT * np.select([teeth, tongue], [2.2, 1.4], 0.7)[:, None]
    free = np.where(tongue, 0.9, 0.4)[:, None]
    scattered = np.select([teeth, tongue], [0.34, 0.26], 0.12)[:, None]
    light = scattered + (1 - scattered) * np.exp(-np.maximum(behind - free, 0) / reach) * side
    light *= np.where((parts == LINING)[:, None], 1.0, 0.68 + 0.32 * facing)
    light[teeth] *= _relief(mesh, teeth)[:, None]
    light[tongue] *= 1 - _FURROW * np.exp(-((rest[tongue, :1] / 0.18) ** 2))
    colour *= light * np.where(teeth[:, None], _ENAMEL * illumination**_GLOSS, illumination)
    lip = _lip_colour(portrait, landmarks, fitted.mouth_open)
    edge = np.clip(1.1 - behind / 2.0, 0, 1) * (parts == LINING)[:, None]
    colour = colour * (1 - edge) + lip * 0.72 * edge
    # In a grey photo, or of a sculpture, the mouth is grey too.
    grey = colour.mean(1, keepdims=True)
    mesh.attributes[inside] = (grey + (colour - grey) * _colourfulness(portrait, landmarks))[inside]
    return illumination


class Tongue:
    """A tongue that stays up as the jaw drops: it hangs from the skull as much as it lies in the jaw, and its back
    fills an open mouth. Put out, it lies on the lip and goes with it."""

    def __init__(self, mesh: DrawMesh) -> None:
        jaw = slice(*mesh.starts[INDEX["jawOpen"] : INDEX["jawOpen"] + 2])
        own = mesh.parts[mesh.rows[jaw]] == TONGUE
        self._rows = mesh.rows[jaw][own]
        z = mesh.rest[self._rows, 2]
        deep = np.clip((z.max(initial=-np.inf) - z) / _BACK, 0, 1)[:, None]
        stays = 1 - _TIP_FOLLOWS - (_BACK_FOLLOWS - _TIP_FOLLOWS) * deep
        self._lift = (-stays * mesh.deltas[jaw][own]).astype(np.float32)

    def lift(self, vertices: F32, weights: F32) -> None:
        """Change the mesh's ``vertices`` (n, 3) in place; ``weights`` (52,)."""
        share = float(weights[INDEX["jawOpen"]]) * (1 - min(1.0, max(0.0, float(weights[INDEX["tongueOut"]]))))
        vertices[self._rows] += np.float32(share) * self._lift


def _relief(mesh: DrawMesh, teeth: np.ndarray) -> F32:
    """How much light each tooth's point gets from its neighbours (n,): the flanks that two teeth turn to each other
    lie in the dark between them."""
    normals, points = _normals(mesh)[teeth], mesh.rest[teeth]
    near = np.exp(-((points[:, None, 0] - points[:, 0]) ** 2 + (points[:, None, 2] - points[:, 2]) ** 2) / _SMOOTH**2)
    arch = near @ (normals * (1, 0, 1))
    arch /= np.linalg.norm(arch, axis=1, keepdims=True) + 1e-9
    flank = np.clip((0.75 - (normals * arch).sum(1)) / 0.4, 0, 1)
    # The same for both flanks' mirror images, so no random tint: canines are a little darker, as they are.
    across = np.abs(points[:, 0])
    canine = 0.06 * np.exp(-(((across - 1.85) / 0.35) ** 2)) + 0.03 * np.exp(-(((across - 1.15) / 0.3) ** 2))
    return ((1 - _GAP * flank) * (1 - canine)).astype(np.float32)


def _illumination(portrait: U8, landmarks: F32) -> F32:
    """Light of the photo (3,), 1 = full and white. The face's mean alone would call a dark skin a dark room, so the
    whites of the eyes and the highlights of the skin count too; the highlights also say how warm the light is."""
    mask = np.zeros(portrait.shape[:2], np.uint8)
    for contour in (RIGHT_EYE, LEFT_EYE):
        cv2.fillPoly(mask, [np.round(landmarks[list(contour), :2]).astype(np.int32)], 1)
    eyes = portrait[mask > 0]
    hull = cv2.convexHull(np.round(landmarks[:, :2]).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1)
    face = portrait[mask > 0].astype(np.float32)
    if not len(face) or not len(eyes):
        return np.ones(3, np.float32)
    value = face.max(axis=1)
    high = np.percentile(value, 95)
    brightness = max(
        value.mean() / _TYPICAL_FACE, np.percentile(eyes.max(axis=1), 88) / _TYPICAL_WHITE, high / _TYPICAL_HIGHLIGHT
    )
    tint = np.median(face[value >= high], axis=0)
    tint = 1 + _WARMTH * (tint / max(float(tint.max()), 1.0) - 1)
    return (np.clip(brightness, _DARKEST, 1.0) * tint).astype(np.float32)


def _colourfulness(portrait: U8, landmarks: F32) -> float:
    """0 where the skin is grey, 1 where it has the colour of any skin."""
    mask = np.zeros(portrait.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(landmarks[:, :2]).astype(np.int32)), 1)
    face = portrait[mask > 0].astype(np.float32)
    if not len(face):
        return 1.0
    top = np.maximum(face.max(1), 1.0)
    return float(np.clip((np.median((top - face.min(1)) / top) - _GREY) / _GREY, 0, 1))


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


@njit(nogil=True, cache=True, fastmath=True)
def _mark(shown, hull, x0, y0, opening):
    """1 where the mouth's inside is seen, into ``opening`` (h, w) float32; returns how many pixels.

    ``hull`` is 1 inside the outer lips and 2 inside the inner ones. A gap of the mesh is the cavity only there.
    """
    count = 0
    for y in range(opening.shape[0]):
        for x in range(opening.shape[1]):
            kind = shown[y0 + y, x0 + x]
            of_mouth = kind >= MOUTH and kind != TONGUE_SHOWN
            inside = kind == TONGUE_SHOWN or (of_mouth and hull[y, x] > 0) or (kind == NOTHING and hull[y, x] == 2)
            opening[y, x] = 1 if inside else 0
            count += inside
    return count


@njit(nogil=True, cache=True, fastmath=True)
def _compose(picture, values, shown, x0, y0, opening, alpha, occlusion, cavity, reach, light, under_lip, at_rim, run):
    """Blend the mouth into ``picture``: smoothed colours, darker near the rims and under the upper lip.

    ``alpha`` (h, w) is the soft opening, ``occlusion`` (h, w) how open it is around a pixel, ``run`` (w,) work space;
    ``under_lip`` and ``at_rim`` say how much darker it is there.
    """
    height, width = opening.shape
    run[:] = 0
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            run[x] = min(run[x] + 1, reach) if opening[y, x] > 0 else 0
            a = alpha[y, x]
            if a < np.float32(0.004):
                continue
            r = g = b = total = np.float32(0)
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    yy, xx = y + dy, x + dx
                    if opening[yy, xx] == 0:
                        continue
                    w = np.float32((2 - abs(dy)) * (2 - abs(dx)))
                    total += w
                    if shown[y0 + yy, x0 + xx] >= MOUTH:
                        r += w * values[y0 + yy, x0 + xx, 0]
                        g += w * values[y0 + yy, x0 + xx, 1]
                        b += w * values[y0 + yy, x0 + xx, 2]
                    else:
                        r += w * cavity[0]
                        g += w * cavity[1]
                        b += w * cavity[2]
            if total == 0:
                continue
            near = np.float32(run[x]) / np.float32(reach)
            shade = light * (1 - under_lip * (1 - near)) * (1 - at_rim * (1 - occlusion[y, x]))
            scale = shade / total
            p = picture[y0 + y, x0 + x]
            half = np.float32(0.5)
            p[0] = np.uint8(min(np.float32(255), p[0] * (1 - a) + r * scale * a + half))
            p[1] = np.uint8(min(np.float32(255), p[1] * (1 - a) + g * scale * a + half))
            p[2] = np.uint8(min(np.float32(255), p[2] * (1 - a) + b * scale * a + half))


class Mouth:
    """Lays the mouth's inside into the picture, with occlusion from the lips."""

    def __init__(self, illumination: F32, landmarks: F32) -> None:
        self._eyes = eye_distance(landmarks)
        self._cavity = _CAVITY * illumination

    def draw(
        self, picture: U8, values: F32, shown: np.ndarray, lips: F32, inner: F32, opened: float, tongue: float
    ) -> None:
        """Change ``picture`` (s, s, 3) in place.

        :param lips: (20, 3) the outer contour in pixels. :param inner: (20, 3) the inner one.
        :param opened: 0 shut, 1 parted, 3 and more a mouth that lets the light in.
        :param tongue: how far it is put out, 0 to 1; it may reach below the lips.
        """
        size = len(picture)
        low = self._eyes * 0.25 * tongue
        x0, y0 = np.clip(np.floor(lips[:, :2].min(0)).astype(int) - 6, 0, size)
        x1, y1 = np.clip(np.ceil(lips[:, :2].max(0) + np.array((0, low))).astype(int) + 7, 0, size)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return
        hull = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for value, contour in ((1, lips), (2, inner)):
            cv2.fillPoly(hull, [np.round(contour[:, :2] - (x0, y0)).astype(np.int32)], value)
        opening = np.empty(hull.shape, np.float32)
        if _mark(shown, hull, x0, y0, opening) < 3:
            return
        # Light comes in through the opening: the wider it is around a pixel, the brighter; relative to the widest
        # place, or the teeth in a smile would be black.
        quarter = cv2.resize(opening, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        quarter = cv2.GaussianBlur(quarter, (0, 0), max(0.5, self._eyes * 0.045 / 4))
        quarter *= 1 / max(0.2, float(quarter.max()))
        occlusion = cv2.resize(quarter, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        alpha = cv2.GaussianBlur(opening, (0, 0), 0.9)
        alpha *= np.float32(min(1.0, opened))
        # Less comes in through lips that are drawn together than through the same opening of a wide mouth.
        width = float(np.ptp(inner[:, 0])) / self._eyes
        round_ = 1 - min(1.0, max(0.0, (width - _NARROW) / (_WIDE - _NARROW)))
        parted = min(1.0, opened)
        light = np.float32((_DIM + (1 - _DIM) * min(1.0, opened / 2.0)) * (1 - _ROUND_SHADE * round_ * parted))
        reach = max(2, round(self._eyes * 0.05))
        run = np.empty(x1 - x0, np.int64)
        shades = np.float32(_UNDER_LIP), np.float32(_AT_RIM)
        _compose(picture, values, shown, x0, y0, opening, alpha, occlusion, self._cavity, reach, light, *shades, run)
