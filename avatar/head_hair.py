"""What the fitted head lacks, because a portrait never shows it: hair over the back of the skull, and a neck all round.

Plain geometry of our own around the mesh of :mod:`avatar.portrait.basis`; centimetres, the basis' axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from avatar.core.types import F32

I32 = NDArray[np.int32]
_MIDDLE = np.array([0.0, 1.5, -5.5], np.float32)
"""Of the skull: hair is a distance from here in every direction."""
_SKULL = np.array([7.5, 9.0, 10.6], np.float32)
_SKULL_CENTRE = np.array([0.0, 1.1, -6.3], np.float32)
_RINGS, _SPOKES = 64, 104
_HIDDEN = 1.3
"""Centimetres below the hairline at which the shell ends, inside the skin."""


@dataclass(frozen=True, slots=True)
class Style:
    """A haircut; centimetres."""

    volume: float = 1.0
    """Thickness over the skull."""
    fall: float = -6.8
    """Height at which it ends at the nape; 0 is the height of the eyes."""
    ears: bool = True
    """Whether the ears show."""
    line: float = 6.6
    """Height of the hairline over the middle of the forehead."""


def above_line(points: F32, style: Style) -> F32:
    """(...,) centimetres by which points of the scalp are above the hairline: > 0 is hair.

    It runs over the forehead, back at the temples, down to the sideburns, around the ears and to the nape.
    """
    x, y, z = np.moveaxis(np.asarray(points, np.float32), -1, 0)
    side = np.abs(x)
    front = style.line - 0.022 * side**2 + 0.45 * np.exp(-(((side - 3.9) / 1.2) ** 2))
    nape = style.fall
    if style.ears:
        along = [-12.5, -11.0, -10.2, -9.8, -6.2, -5.7, -5.3, -4.5, -4.0, -3.2, -1.8, -0.4, 0.4]
        height = [nape, 0.5 * nape - 1.5, -1.0, 0.8, 0.9, 0.2, -2.4, -2.6, -1.2, 1.6, 3.2, 4.4, 5.0]
    else:
        along = [-6.0, -4.8, -4.0, -3.2, -1.8, -0.4, 0.4]
        height = [nape, nape + 0.6, -1.5, 1.6, 3.2, 4.4, 5.0]
    back = np.minimum(np.interp(z, along, height), front)
    blend = np.clip((z - 0.0) / 0.8, 0, 1)
    return np.asarray(y - (blend * front + (1 - blend) * back), np.float32)


def shell(cover: F32, style: Style, fine: bool = True) -> tuple[F32, I32]:
    """The hair as a surface: vertices (V, 3), triangles (T, 3).

    :param cover: (N, 3) vertices of the skin. :param fine: False makes it of a quarter of the triangles.
    """
    rings, spokes = (_RINGS, _SPOKES) if fine else (_RINGS // 2, _SPOKES // 2)
    polar = np.linspace(0, 2.62, rings, dtype=np.float32)[:, None]
    around = np.linspace(-np.pi, np.pi, spokes, endpoint=False, dtype=np.float32)[None]
    rays = np.stack([np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around, np.sin(polar) * np.cos(around)], -1)
    ground = _ground(cover, rays, style)
    points = _MIDDLE + ground[..., None] * rays
    height = above_line(points, style)
    rise = _smooth(height / 4.5)
    # Below the line it dives into the skin, and at the nape curls in to the neck, so that no edge shows.
    lift = 0.05 + style.volume * rise - 0.3 * (1 - _smooth((height + 0.35) / 0.7)) - 3.5 * _smooth(-height / 1.6)
    # A cut of locks, not a helmet: long shallow waves that run from the crown.
    waves = np.sin(9 * around + 1.2 * np.sin(3 * polar)) + 0.7 * np.sin(23 * around - 2.1 * polar + 1)
    lift += 0.055 * style.volume * waves * rise * _smooth(polar / 0.5)
    points = _MIDDLE + (ground + lift)[..., None] * rays
    quads = _quads(rings, spokes)
    kept = quads[(height.ravel()[quads] > -_HIDDEN).any(1)]
    triangles = np.concatenate([kept[:, [0, 1, 2]], kept[:, [0, 2, 3]]])
    used, local = np.unique(triangles, return_inverse=True)
    return points.reshape(-1, 3)[used].astype(np.float32), local.reshape(-1, 3).astype(np.int32)


def _smooth(x: F32) -> F32:
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _ground(cover: F32, rays: F32, style: Style) -> F32:
    """Distance of the scalp along each ray: the skin where it is, an ellipsoid for the back of the skull."""
    offset = (_MIDDLE - _SKULL_CENTRE) / _SKULL
    scaled = rays / _SKULL
    a, b, c = (scaled**2).sum(-1), (scaled * offset).sum(-1), (offset**2).sum() - 1
    skull = (-b + np.sqrt(b**2 - a * c)) / a
    ears = (np.abs(cover[:, 0]) > 7.2) & (cover[:, 1] < 1.4) & (cover[:, 2] < -5.6)
    face = (cover[:, 1] < 3) & (cover[:, 2] > 0.5)  # hair is nowhere near, and most of the vertices are there
    outer = cover[~ears & ~face & (cover[:, 1] > -9)]
    away = outer - _MIDDLE
    flat = np.hypot(away[:, 0], away[:, 2])
    angle, turn = np.arctan2(flat, away[:, 1]), np.arctan2(away[:, 0], away[:, 2])
    places = np.stack([angle * np.sin(turn), angle * np.cos(turn)], -1)
    ray_angle, ray_turn = np.arccos(np.clip(rays[..., 1], -1, 1)), np.arctan2(rays[..., 0], rays[..., 2])
    wanted = np.stack([ray_angle * np.sin(ray_turn), ray_angle * np.cos(ray_turn)], -1)
    found = LinearNDInterpolator(places, np.linalg.norm(away, axis=1))(wanted)
    z = _MIDDLE[2] + skull * rays[..., 2]
    trust = np.where(np.isnan(found), 0.0, _smooth((z + 7.0) / 2.5))
    ground = np.where(np.isnan(found), skull, found) * trust + skull * (1 - trust)
    if not style.ears:  # hair hangs outside the ears
        y = _MIDDLE[1] + ground * rays[..., 1]
        wide = 9.0 / np.maximum(0.2, np.hypot(rays[..., 0], 0.8 * rays[..., 2]))
        hang = _smooth((2.0 - y) / 3.0) * _smooth((-3.0 - (_MIDDLE[2] + ground * rays[..., 2])) / 1.5)
        ground = ground + hang * np.maximum(0, np.minimum(wide, ground + 2.5) - ground)
    return np.asarray(ground, np.float32)


def neck(cover: F32, spokes: int = 40) -> tuple[F32, I32]:
    """A neck behind and below the face's own skin: vertices (V, 3), triangles (T, 3).

    :param cover: (N, 3) vertices of the skin.
    """
    heights = np.linspace(-4.0, -18.0, 15, dtype=np.float32)
    widths = _widths(cover, heights)
    turn = np.linspace(-np.pi, np.pi, spokes, endpoint=False, dtype=np.float32)
    rows = []
    for y, width in zip(heights, widths, strict=True):
        middle = -7.6 - 0.25 * np.clip(-y - 9, 0, 6)
        rows.append(np.stack([width * np.sin(turn), np.full_like(turn, y), middle + 4.4 * np.cos(turn)], -1))
    points = np.concatenate(rows)
    quads = _quads(len(heights), spokes)
    # In front is the skin itself, and the mouth's lining, which this must not cut.
    edge = np.where(points[:, 1] > -9.5, -4.6, -6.2)
    inside = ((points[:, 1] > -15.5) & (points[:, 2] > edge))[quads].any(1)
    quads = quads[~inside]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    used, local = np.unique(triangles, return_inverse=True)
    return points[used].astype(np.float32), local.reshape(-1, 3).astype(np.int32)


def _widths(cover: F32, heights: F32) -> F32:
    """Half the neck's width at each height: that of the skin where it ends, so that the two meet."""
    usual = np.interp(heights, [-18, -15, -13, -11, -9, -7, -4], [4.9, 4.5, 4.6, 4.85, 5.4, 6.2, 6.95])
    ear = (np.abs(cover[:, 0]) > 6.9) & (cover[:, 2] < -5.5)
    rim = cover[~ear & (cover[:, 2] > -7.5) & (cover[:, 2] < -5.6)]
    found = []
    for y, width in zip(heights, usual, strict=True):
        near = np.abs(rim[np.abs(rim[:, 1] - y) < 0.7, 0])
        found.append(np.clip(near.max() - 0.05, width - 0.8, width + 0.8) if len(near) else width)
    return np.convolve(np.pad(found, 1, "edge"), [0.25, 0.5, 0.25], "valid").astype(np.float32)


def _quads(rings: int, spokes: int) -> NDArray[np.int64]:
    """(Q, 4) corners of a tube's quadrilaterals, anticlockwise seen from outside, rings downwards."""
    a = np.arange(rings * spokes).reshape(rings, spokes)
    b = np.roll(a, -1, axis=1)
    return np.stack([a[:-1], a[1:], b[1:], b[:-1]], -1).reshape(-1, 4)
