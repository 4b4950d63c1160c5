"""Paints the package's own head: skin with brows, lips and cropped hair, and eyes with irises; as pictures for a mesh.

The skin is unrolled about the crown (azimuthal equidistant projection), whose far pole is the open end of the neck: no
seam, and no vertex twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from avatar.core.types import F32, U8
from avatar.head_hair import Style, above_line
from avatar.portrait.basis import HeadBasis

SIDE = 1024
"""Pixels a side of the skin's picture."""
EYE_SIDE = 256
Colour = tuple[int, int, int]
"""sRGB, 0 to 255."""
_CENTRE = np.array([0.0, -2.5, -2.5], np.float32)
_REACH = np.pi
"""The angle from the crown that the picture's edge shows."""

# Points of MediaPipe's face mesh.
_LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_LIPS_SEAM = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_BROWS = (((70, 63, 105, 66, 107), (46, 53, 52, 65, 55)), ((300, 293, 334, 296, 336), (276, 283, 282, 295, 285)))
_LIDS_UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
_LIDS_LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
_CHEEKS, _NOSE, _UNDER_EYES = (50, 280), (4,), (119, 348)
_TRAGI = (234, 454)


@dataclass(frozen=True, slots=True)
class Look:
    """How somebody is painted."""

    skin: Colour = (214, 166, 140)
    blush: Colour = (200, 112, 96)
    lips: Colour = (182, 108, 100)
    hair: Colour = (74, 53, 40)
    iris: Colour = (86, 118, 128)
    brow: float = 1.0
    """Thickness of the brows."""
    seed: int = 1


def unrolled(points: F32) -> F32:
    """(..., 3) points in the basis' centimetres -> (..., 2) texture coordinates in [0, 1], v downwards."""
    ray = points - _CENTRE
    flat = np.hypot(ray[..., 0], ray[..., 2])
    polar = np.arctan2(flat, ray[..., 1]) / (2 * _REACH)
    around = np.arctan2(ray[..., 0], ray[..., 2])
    return np.stack([0.5 + polar * np.sin(around), 0.5 + polar * np.cos(around)], -1).astype(np.float32)


def skin(basis: HeadBasis, vertices: F32, look: Look, style: Style) -> U8:
    """(SIDE, SIDE, 3) RGB.

    :param vertices: of the subdivided basis, (V, 3) in centimetres.
    """
    rng = np.random.default_rng(look.seed)
    marks = basis.landmarks(vertices)
    places = unrolled(marks) * SIDE
    cover = vertices[basis.vertices_of("skin")]
    where = _positions(cover)
    grain = 0.35 * _noise(rng, SIDE // 2) + 0.3 * _noise(rng, SIDE // 6) + 0.35 * _noise(rng, SIDE // 28)
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    picture[:] = look.skin
    picture *= (1 + 0.035 * grain)[..., None]

    for points, radius, much in ((_CHEEKS, 62, 0.30), (_NOSE, 46, 0.30), (_TRAGI, 40, 0.25)):
        for point in points:
            _dab(picture, look.blush, places[point], radius, much)
    red, green, blue = (int(0.82 * c) for c in look.skin)
    for point in _UNDER_EYES:
        _dab(picture, (red, green, blue), places[point], 30, 0.28)
    for rim in (*_LIDS_UPPER, *_LIDS_LOWER):
        _mix(picture, look.blush, _line(places[list(rim)], 16, 7.0) * 0.35)

    _paint_lips(picture, places, look, rng)
    for upper, lower in _BROWS:
        _paint_brow(picture, places[list(upper)], places[list(lower)], look, rng)
    for rim in _LIDS_UPPER:
        _mix(picture, (34, 24, 22), _line(places[list(rim)], 4, 1.2) * 0.9)
    for rim in _LIDS_LOWER:
        _mix(picture, (70, 44, 40), _line(places[list(rim)], 2, 1.0) * 0.5)

    _paint_hair(picture, where, look, style, rng)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _positions(cover: F32) -> F32:
    """(SIDE, SIDE, 3) the point of the outer surface that each pixel shows; the nearest outside the neck."""
    coarse = SIDE // 4
    uv = unrolled(cover) * coarse
    rows, columns = np.mgrid[0:coarse, 0:coarse] + 0.5
    found = LinearNDInterpolator(uv, cover, fill_value=0.0)(columns, rows)
    found[~found.any(-1)] = (0.0, -15.0, -3.0)
    return np.asarray(cv2.resize(found.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))


def _noise(rng: np.random.Generator, cells: int) -> F32:
    made = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(made, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


def _mix(picture: F32, colour: Colour, alpha: F32) -> None:
    picture += alpha[..., None] * (np.array(colour, np.float32) - picture)


def _dab(picture: F32, colour: Colour, centre: F32, radius: float, much: float) -> None:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    distance = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2
    _mix(picture, colour, much * np.exp(-distance / (2 * (radius / 2) ** 2)))


def _line(points: F32, width: int, blur: float) -> F32:
    mask = np.zeros((SIDE, SIDE), np.float32)
    cv2.polylines(mask, [np.round(points * 16).astype(np.int32)], False, 1.0, width, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur))


def _area(points: F32, blur: float) -> F32:
    mask = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur))


def _paint_lips(picture: F32, places: F32, look: Look, rng: np.random.Generator) -> None:
    area = _area(places[list(_LIPS_OUTER)], 2.2)
    wrinkles = cv2.resize(rng.standard_normal((64, SIDE)).astype(np.float32), (SIDE, SIDE))
    shade = np.array(look.lips, np.float32) * (1 + 0.04 * wrinkles[..., None])
    picture += 0.72 * area[..., None] * (shade - picture)
    _mix(picture, (96, 40, 40), _line(places[list(_LIPS_SEAM)], 4, 2.0) * 0.75)


def _paint_brow(picture: F32, upper: F32, lower: F32, look: Look, rng: np.random.Generator) -> None:
    """Hairs from the lower edge upwards and outwards, on a soft ground."""
    middle = (upper + lower) / 2
    upper, lower = (np.asarray(middle + 0.62 * look.brow * (edge - middle), np.float32) for edge in (upper, lower))
    ring = np.concatenate([upper, lower[::-1]])
    _mix(picture, look.hair, _area(ring, 5.0) * 0.38)
    mask = np.zeros((SIDE, SIDE), np.float32)
    count = 190
    for along, up, length in zip(rng.random(count), rng.random(count), 0.7 + 0.6 * rng.random(count), strict=True):
        at = np.array([[np.interp(along, np.linspace(0, 1, 5), edge[:, i]) for i in (0, 1)] for edge in (upper, lower)])
        root = at[1] + (at[0] - at[1]) * up
        outwards = upper[0] - upper[-1]
        outwards = outwards / np.linalg.norm(outwards)
        rise = (at[0] - at[1]) / max(1e-6, float(np.linalg.norm(at[0] - at[1])))
        lean = 0.35 + 0.65 * (1 - along)
        tip = root + (lean * outwards + (1 - lean) * rise) * 11 * length
        ends = np.round(np.stack([root, tip]) * 16).astype(np.int32)
        cv2.polylines(mask, [ends], False, 1.0, 1, cv2.LINE_AA, 4)
    _mix(picture, look.hair, np.minimum(1, cv2.GaussianBlur(mask, (0, 0), 0.7) * 1.1) * 0.62)


def _strands(side: int, rng: np.random.Generator) -> F32:
    """(side, side) about -1 to 1: strands that run from the crown outwards, i.e. along the picture's radii."""
    rows, columns = (np.mgrid[0:side, 0:side].astype(np.float32) + 0.5) / side - 0.5
    around, out = np.arctan2(columns, rows) / (2 * np.pi) + 0.5, np.hypot(columns, rows)
    locks = rng.standard_normal((40, 900)).astype(np.float32) + cv2.resize(
        rng.standard_normal((8, 120)).astype(np.float32), (900, 40), interpolation=cv2.INTER_CUBIC
    )
    locks[:, -1] = locks[:, 0]
    twisted = (around + 0.006 * np.sin(30 * out)) % 1.0
    found = cv2.remap(locks, twisted * 898, out * 2 * 16, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(found, np.float32)


def _paint_hair(picture: F32, where: F32, look: Look, style: Style, rng: np.random.Generator) -> None:
    """The scalp that shows at the edge of the hair, ragged along the strands."""
    strand = _strands(SIDE, rng)
    edge = _step((above_line(where, style) + 0.28 * strand) / 0.34)
    shade = np.array(look.hair, np.float32) * (1 + 0.22 * strand)[..., None]
    picture += 0.95 * edge[..., None] * (shade - picture)


def hair(look: Look, side: int = 512) -> U8:
    """(side, side, 3) RGB for the hair's own surface, unrolled as the skin is."""
    rng = np.random.default_rng(look.seed + 3)
    shade = np.array(look.hair, np.float32) * (1 + 0.22 * _strands(side, rng))[..., None]
    return np.asarray(np.clip(shade, 0, 255), np.uint8)


def _step(x: NDArray[np.floating]) -> F32:
    """The logistic function, for edges of any softness."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))), np.float32)


def eye(look: Look, iris: float = 0.37) -> U8:
    """(EYE_SIDE, EYE_SIDE, 3) RGB of an eye seen from the front; ``iris``: its radius in parts of the eyeball's."""
    rng = np.random.default_rng(look.seed + 7)
    rows, columns = (np.mgrid[0:EYE_SIDE, 0:EYE_SIDE].astype(np.float32) + 0.5) / EYE_SIDE * 2 - 1
    radius, around = np.hypot(rows, columns), np.arctan2(rows, columns)
    picture = np.empty((EYE_SIDE, EYE_SIDE, 3), np.float32)
    picture[:] = (236, 230, 224)
    # Redder and darker towards the corners, where lids and lashes shade it.
    shade = np.clip((radius - iris) / (0.95 - iris), 0, 1)[..., None]
    picture += shade**1.5 * (np.array((176, 138, 128), np.float32) - picture)
    fibres = rng.standard_normal((6, 180)).astype(np.float32)
    fibres[:, -1] = fibres[:, 0]
    turn = (around / (2 * np.pi) + 0.5).astype(np.float32) * 178
    fibre = cv2.remap(fibres, turn, (radius / iris * 5).astype(np.float32), cv2.INTER_CUBIC)
    bright = 0.75 + 0.55 * np.exp(-(((radius / iris - 0.5) / 0.22) ** 2)) + 0.16 * fibre
    coloured = np.array(look.iris, np.float32) * bright[..., None]
    limbus = _step((radius / iris - 0.86) / 0.05)
    coloured *= (1 - 0.72 * limbus)[..., None]
    inside = _step((iris - radius) / 0.012)
    picture += inside[..., None] * (coloured - picture)
    pupil = _step((0.38 * iris - radius) / 0.010)
    picture += pupil[..., None] * (np.array((9, 8, 8), np.float32) - picture)
    return np.clip(picture, 0, 255).astype(np.uint8)
