"""Glasses drawn onto faces that wear none: shapes, colours, bevels, shadows and lenses at random, and which pixels are
frame. Lengths are in distances between the eyes, x to the picture's right, y down, from the point between the eyes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from avatar.core.types import F32, U8

_STEPS = 72
"""Points of a rim."""
_DARK = ((18, 16, 16), (30, 26, 24), (48, 34, 26), (40, 44, 52), (70, 20, 24), (24, 34, 60))
_METAL = ((196, 160, 96), (176, 176, 180), (120, 118, 116), (150, 104, 74), (60, 58, 58))
_BRIGHT = ((214, 206, 196), (190, 120, 70), (150, 60, 60), (90, 120, 150), (222, 190, 180), (60, 110, 90))


@dataclass(frozen=True)
class Glasses:
    """One drawn pair, at the size of the picture it was drawn for."""

    frame: F32
    """(h, w) in [0, 1]: cover by rims, bridge and temples."""
    lens: F32
    """(h, w): inside of the rims."""


def draw_frame(rng: np.random.Generator, shape: tuple[int, int], middle: tuple[float, float], eyes: float) -> Glasses:
    """A random pair in a picture of ``shape`` whose point between the eyes is ``middle``, ``eyes`` pixels apart."""
    kind = rng.choice(["full", "half", "rimless"], p=[0.74, 0.14, 0.12])
    thin = kind != "full" or rng.random() < 0.4
    thick = rng.uniform(0.014, 0.032) if thin else rng.uniform(0.035, 0.10)
    wide, high = rng.uniform(0.31, 0.45), rng.uniform(0.20, 0.43)
    centre = (max(wide + rng.uniform(0.07, 0.17), 0.45), rng.uniform(-0.02, 0.16))
    power = rng.choice([2.0, rng.uniform(2.2, 3.2), rng.uniform(3.2, 6.0)])
    cat, taper = rng.choice([0.0, rng.uniform(0, 0.2)]), rng.uniform(-0.05, 0.28)
    top, bottom, outer = rng.uniform(1, 2.2) if not thin else 1.0, rng.uniform(0.5, 1.1), rng.uniform(0.9, 1.6)
    lean, slide = rng.uniform(-0.13, 0.13), rng.uniform((-0.08, -0.05), (0.08, 0.08))
    roll = np.radians(rng.normal(scale=2.5))
    turn = np.array([(np.cos(roll), -np.sin(roll)), (np.sin(roll), np.cos(roll))])

    def place(points: np.ndarray) -> np.ndarray:
        """Perspective of a turned head, then pixels."""
        points = np.asarray(points, np.float64)
        bent = points * np.c_[1 + lean * points[:, 0], 1 + 0.5 * lean * points[:, 0]] + slide
        return (bent @ turn.T * eyes + middle).astype(np.float64)

    frame, lens = np.zeros((2, *shape), np.uint8)

    def polygon(canvas: np.ndarray, points: np.ndarray, value: int = 255) -> None:
        cv2.fillPoly(canvas, [np.round(place(points) * 16).astype(np.int32)], value, cv2.LINE_AA, shift=4)

    def stroke(points: np.ndarray, width: float) -> None:
        pixels = max(1, round(width * eyes))
        cv2.polylines(frame, [np.round(place(points) * 16).astype(np.int32)], False, 255, pixels, cv2.LINE_AA, shift=4)

    angle = np.linspace(0, 2 * np.pi, _STEPS, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    x = wide * np.sign(cos) * np.abs(cos) ** (2 / power)
    y = high * np.sign(sin) * np.abs(sin) ** (2 / power)
    x = x * (1 - taper * np.maximum(0, y / high))
    for side in (-1, 1):
        up = np.maximum(0, x / wide) ** 2 * (y < 0)
        inner = np.c_[side * (centre[0] + x), centre[1] + y - cat * up]
        grow = thick * np.where(sin < 0, top, bottom) * (1 + (outer - 1) * np.maximum(0, cos))
        out = np.c_[side * (centre[0] + x + grow * cos), centre[1] + y - cat * up + grow * sin]
        polygon(lens, inner)
        if kind == "rimless":
            continue
        rim = np.zeros(shape, np.uint8)
        polygon(rim, out)
        polygon(rim, inner, 0)
        if kind == "half":
            cut = int(place(np.array([(side * centre[0], centre[1] - high * 0.15)]))[0, 1])
            rim[max(0, cut) :] = 0
        np.maximum(frame, rim, out=frame)
    edge, height = centre[0] - wide, centre[1] - high * rng.uniform(-0.1, 0.75)
    rise = rng.uniform(0.0, 0.09)
    t = np.linspace(-1, 1, 13)
    bridge = thick * rng.uniform(0.8, 1.8) if not thin else max(thick, 0.022)
    stroke(np.c_[t * (edge + 0.02), height - rise * (1 - t * t)], bridge)
    if rng.random() < 0.08:
        stroke(np.c_[t * (edge + 0.08), np.full(13, centre[1] - high * 0.9)], max(thick, 0.02))
    at = centre[1] - high * rng.uniform(0.2, 0.9)
    far, drop = rng.uniform(1.0, 1.4), rng.uniform(-0.12, 0.12)
    for side in (-1, 1):
        hinge = side * (centre[0] + wide)
        stroke(np.array([(hinge, at), (side * far, at + drop)]), thick * rng.uniform(0.7, 1.4))
        if thick < 0.05:
            stroke(np.array([(hinge - side * 0.01, at - 0.01), (hinge + side * 0.06, at)]), thick * 1.6)
    clear = np.where(frame > 0, 0, lens)
    return Glasses(*(np.asarray(mask / 255, np.float32) for mask in (frame, clear)))


def wear(rng: np.random.Generator, face: U8, middle: tuple[float, float], eyes: float) -> tuple[U8, F32]:
    """``face`` (h, w, 3) with random glasses, and their frame (h, w) in [0, 1]."""
    drawn = draw_frame(rng, face.shape[:2], middle, eyes)
    made = _lenses(rng, face.astype(np.float32), drawn.lens, eyes)
    frame = drawn.frame
    down, strength = eyes * rng.uniform(0.01, 0.07), rng.uniform(0, 0.5)
    fall = np.array([[1, 0, eyes * rng.uniform(-0.03, 0.03)], [0, 1, down]])
    shadow = cv2.warpAffine(frame, fall, frame.shape[::-1])
    made *= 1 - strength * cv2.GaussianBlur(shadow, (0, 0), max(0.5, eyes * rng.uniform(0.008, 0.04)))[..., None]
    colour = _material(rng, frame, eyes)
    cover = frame * (rng.uniform(0.35, 0.7) if rng.random() < 0.12 else rng.uniform(0.85, 1.0))
    lit = max(0.25, min(1.0, float(np.percentile(face, 90)) / 210))
    made += (colour * lit - made) * cover[..., None]
    return np.clip(made, 0, 255).astype(np.uint8), frame


def _material(rng: np.random.Generator, frame: F32, eyes: float) -> F32:
    """Colours (h, w, 3) of the frame: even, marbled or metal, with light on its edges."""
    kind = rng.choice(["dark", "metal", "bright", "marbled"], p=[0.45, 0.3, 0.13, 0.12])
    palette = {"dark": _DARK, "metal": _METAL, "bright": _BRIGHT, "marbled": _DARK}[kind]
    base = np.array(palette[rng.integers(len(palette))], np.float32) * rng.uniform(0.7, 1.25)
    height, width = frame.shape
    spread = {"metal": 0.35, "marbled": 0.9}.get(str(kind), 0.18)
    grain = rng.normal(size=(max(2, height // 8), max(2, width // 8))).astype(np.float32)
    grain = cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
    slope = rng.uniform(-0.3, 0.3) * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    made = base * np.clip(1 + spread * 0.6 * grain + slope, 0.2, 2.5)[..., None]
    # A bevel: the side that turns to the light is brighter.
    soft = cv2.GaussianBlur(frame, (0, 0), max(0.6, 0.012 * eyes))
    light = cv2.Sobel(soft, cv2.CV_32F, 0, 1) * rng.uniform(0.5, 1) + cv2.Sobel(soft, cv2.CV_32F, 1, 0) * rng.uniform(
        -0.5, 0.5
    )
    return np.asarray(made + (light * rng.uniform(0, 90))[..., None], np.float32)


def _lenses(rng: np.random.Generator, face: F32, lens: F32, eyes: float) -> F32:
    """The face behind the lenses: shifted, tinted, mirrored over."""
    height, width = lens.shape
    made = face
    if rng.random() < 0.4:  # a strong lens shifts what is behind it, so that there is an edge without a rim
        shift = np.array([[1, 0, eyes * rng.uniform(-0.03, 0.03)], [0, 1, eyes * rng.uniform(-0.03, 0.03)]])
        moved = cv2.warpAffine(face, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
        made = made + (moved - made) * lens[..., None]
    if rng.random() < 0.5:
        tint = rng.uniform(0, 0.22) * lens[..., None]
        made = made + (rng.uniform(20, 235, 3).astype(np.float32) - made) * tint
    if rng.random() < 0.4:
        mirror = np.zeros((height, width), np.float32)
        for _ in range(rng.integers(1, 4)):
            at = rng.uniform((0, 0), (width, height))
            away = rng.normal(scale=0.25 * eyes, size=(4, 2))
            cv2.fillConvexPoly(mirror, cv2.convexHull((at + away).astype(np.int32)), float(rng.uniform(0.1, 0.7)))
        mirror = cv2.GaussianBlur(mirror, (0, 0), max(0.6, eyes * rng.uniform(0.01, 0.06))) * lens
        made = made + (np.float32(rng.uniform(190, 255)) - made) * mirror[..., None]
    return np.asarray(made, np.float32).copy()
