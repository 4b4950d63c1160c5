"""A vector face for robots with a display: eyes, brows and a mouth, drawn from the face state.

Nothing of the photo is used: the face is the same for every avatar. It is drawn in a plane that turns with the head a
little (parallax by depth), with subpixel edges, so slow movements do not step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.types import F32, U8, FaceState, Ns
from avatar.engines.base import Engine
from avatar.engines.layers import CHROMA_GREEN
from avatar.errors import EngineError
from avatar.portrait.bundle import AvatarBundle

Colour = tuple[int, int, int]

BACK: Colour = (14, 18, 26)
LINE: Colour = (120, 222, 255)
"""Brows, closed lids, lips."""
WHITE: Colour = (222, 246, 255)
PUPIL: Colour = (16, 60, 92)
INSIDE: Colour = (46, 20, 38)
TONGUE: Colour = (224, 108, 128)
TEETH: Colour = (240, 246, 250)

EYE_X, EYE_Y, EYE_W, EYE_H = 0.36, 0.20, 0.17, 0.23
MOUTH_Y, MOUTH_W = -0.42, 0.30
"""Places in half sides of the picture, y up; the face is as wide as the picture is high."""
TURN = 0.012
"""How far (half sides) a part of depth 1 goes for a degree of yaw or pitch."""
LIMIT = 25.0
"""Degrees."""
_SHIFT = 4
_STEPS = np.linspace(0, 1, 17)
_CIRCLE = np.stack([np.cos(2 * np.pi * np.arange(40) / 40), np.sin(2 * np.pi * np.arange(40) / 40)], axis=1)
_INDEX = facs.INDEX


class ScreenEngine(Engine):
    """Draws a plain face of light on a dark screen.

    :param bundle: not looked at. :param size: pixels a side.
    """

    name = "screen"

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        super().__init__(bundle, size, weights)
        self._back: Colour = BACK
        self._background = "keep"
        self.render(FaceState(Ns(0)))

    def set_background(self, name: str) -> None:
        """keep, green or a colour. Raises EngineError for what only a photo can have."""
        if name == "keep":
            self._back = BACK
        elif name == "green":
            self._back = CHROMA_GREEN
        elif name.startswith("#") and len(name) == 7:
            self._back = (int(name[1:3], 16), int(name[3:5], 16), int(name[5:7], 16))
        else:
            raise EngineError(f"engine screen has no background {name!r}: keep, green or a colour as #102030")
        self._background = name

    @property
    def background(self) -> str:
        return self._background

    def render(self, state: FaceState) -> U8:
        picture = np.empty((self.size, self.size, 3), np.uint8)
        picture[:] = self._back
        plane = _Plane(state, self.size)
        v = state.arkit
        for side, mark in ((1.0, "Left"), (-1.0, "Right")):
            self._eye(picture, plane, v, side, mark, state)
            self._brow(picture, plane, v, side, mark)
        self._mouth(picture, plane, v)
        return picture

    def _eye(self, picture: U8, plane: _Plane, v: F32, side: float, mark: str, state: FaceState) -> None:
        blink, wide = float(v[_INDEX[f"eyeBlink{mark}"]]), float(v[_INDEX[f"eyeWide{mark}"]])
        squint = max(float(v[_INDEX[f"eyeSquint{mark}"]]), 0.8 * float(v[_INDEX[f"cheekSquint{mark}"]]))
        height = EYE_H * (1 + 0.18 * wide)
        low = -height * (1 - 0.55 * squint)
        high = height - (height - low) * min(1.0, 0.02 + blink)
        centre = np.array((side * EYE_X, EYE_Y))
        outline = _CIRCLE * (EYE_W, height)
        if high - low < 0.035:  # shut: a line that hangs a little
            x = np.linspace(-1, 1, 9)
            lid = np.stack([x * EYE_W * 1.05, low + 0.03 * x * x], axis=1)
            plane.stroke(picture, centre + lid, LINE, 0.028)
            return
        outline[:, 1] = np.clip(outline[:, 1], low, high)
        plane.fill(picture, centre + outline, WHITE)
        # The iris goes with the gaze and is cut off by the lids.
        gaze = np.clip(
            (math.sin(state.gaze.yaw) * 0.2, math.sin(state.gaze.pitch) * 0.3), (-0.062, -0.12), (0.062, 0.12)
        )
        iris = _CIRCLE * 0.095 + gaze
        iris[:, 1] = np.clip(iris[:, 1], low + 0.012, high - 0.012)
        if np.ptp(iris[:, 1]) > 0.01:
            plane.fill(picture, centre + iris, PUPIL, depth=1.15)
            spot = _CIRCLE * 0.026 + gaze + (0.03, 0.035)
            if low + 0.03 < spot[:, 1].min() and spot[:, 1].max() < high - 0.02:
                plane.fill(picture, centre + spot, WHITE, depth=1.2)

    @staticmethod
    def _brow(picture: U8, plane: _Plane, v: F32, side: float, mark: str) -> None:
        inner, outer = float(v[_INDEX["browInnerUp"]]), float(v[_INDEX[f"browOuterUp{mark}"]])
        down = float(v[_INDEX[f"browDown{mark}"]])
        base = EYE_Y + EYE_H + 0.09
        points = (
            (side * (EYE_X - 0.17 - 0.03 * down), base + 0.15 * inner - 0.15 * down),
            (side * EYE_X, base + 0.05 + 0.07 * inner + 0.11 * outer - 0.09 * down),
            (side * (EYE_X + 0.19), base - 0.02 + 0.14 * outer - 0.02 * down),
        )
        plane.stroke(picture, _curve(points), LINE, 0.036, depth=1.05)

    def _mouth(self, picture: U8, plane: _Plane, v: F32) -> None:
        def mean(name: str) -> float:
            return 0.5 * float(v[_INDEX[name + "Left"]] + v[_INDEX[name + "Right"]])

        def one(name: str) -> float:
            return float(v[_INDEX[name]])

        jaw, close = one("jawOpen"), one("mouthClose")
        pucker, funnel = one("mouthPucker"), one("mouthFunnel")
        across = 1 + 0.35 * mean("mouthSmile") + 0.3 * mean("mouthStretch") + 0.1 * mean("mouthDimple")
        half = MOUTH_W * max(0.3, across - 0.5 * pucker - 0.35 * funnel)
        centre = np.array((0.12 * (one("mouthLeft") - one("mouthRight") + one("jawLeft") - one("jawRight")), MOUTH_Y))
        open_ = max(0.0, jaw - close)
        top = 0.06 * mean("mouthUpperUp") + 0.05 * funnel + 0.02 * open_ + 0.05 * mean("noseSneer")
        bottom = 0.40 * open_ + 0.07 * mean("mouthLowerDown") + 0.05 * funnel
        lift = {m: 0.17 * float(v[_INDEX["mouthSmile" + m]]) - 0.13 * float(v[_INDEX["mouthFrown" + m]])
                for m in ("Left", "Right")}  # fmt: skip
        curl = 0.35 * (lift["Left"] + lift["Right"]) / 2
        drop = 0.04 * one("mouthShrugLower") - 0.03 * one("mouthShrugUpper")
        left, right = (half, lift["Left"] - curl + 0.5 * drop), (-half, lift["Right"] - curl + 0.5 * drop)
        upper = _curve((right, (0, 2 * top - curl - drop), left))
        lower = _curve((left, (0, -2 * bottom - curl - drop), right))
        gap = top + bottom
        width = 0.032 + 0.02 * pucker - 0.012 * max(mean("mouthPress"), one("mouthRollLower"), one("mouthRollUpper"))
        if gap < 0.02:
            plane.stroke(picture, centre + upper, LINE, width)
        else:
            hole = np.concatenate([upper, lower])
            plane.fill(picture, centre + hole, INSIDE)
            if half > 0.2 and gap > 0.05:
                edge = np.minimum(0.05, 0.35 * gap)
                teeth = np.concatenate([upper, upper[::-1] - (0, edge)])
                teeth[17:, 1] = np.maximum(teeth[17:, 1], lower[:, 1])
                plane.fill(picture, centre + teeth * (0.96, 1.0), TEETH)
            if gap > 0.1:
                out = one("tongueOut")
                low = float(lower[:, 1].min())
                tongue = _CIRCLE * (0.5 * half, 0.22 * gap + 0.06 * out) + (0, low + 0.2 * gap - 0.1 * out)
                if out < 0.1:
                    tongue[:, 1] = np.maximum(tongue[:, 1], low + 0.02)
                plane.fill(picture, centre + tongue, TONGUE)
            plane.stroke(picture, centre + hole, LINE, width, closed=True)
        puff = one("cheekPuff")
        if puff > 0.1:
            for side in (-1, 1):
                arc = [(side * (half + 0.1 + 0.08 * puff * math.sin(a)), MOUTH_Y + 0.14 * math.cos(a))
                       for a in np.linspace(0.3, 2.8, 9)]  # fmt: skip
                plane.stroke(picture, np.array(arc), LINE, 0.02)


def _curve(points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """(17, 2): a quadratic Bezier curve through the first and last of three points, towards the second."""
    a, b, c = (np.array(p, np.float64) for p in points)
    t = _STEPS[:, None]
    return np.asarray((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t * t * c)


class _Plane:
    """From the face's plane to pixels, as the head is turned."""

    def __init__(self, state: FaceState, size: int) -> None:
        yaw, pitch, roll = (min(LIMIT, max(-LIMIT, a)) if math.isfinite(a) else 0.0 for a in state.head.euler)
        x, y, z = (min(60.0, max(-60.0, a)) if math.isfinite(a) else 0.0 for a in state.head.translation)
        c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
        # What turns away is foreshortened.
        narrow = np.diag((math.cos(math.radians(yaw)), math.cos(math.radians(pitch))))
        self._matrix = (1 + z / 600) * np.array(((c, -s), (s, c))) @ narrow
        self._turn = TURN * np.array((yaw, pitch))
        self._place = np.array((x, y)) / 250
        self._half = size / 2
        self._scale = size / 2 * (1 << _SHIFT)

    def _pixels(self, points: NDArray[np.float64], depth: float) -> NDArray[np.int32]:
        flat = (points + depth * self._turn) @ self._matrix.T + self._place
        flat[:, 1] *= -1
        return np.rint((flat + 1) * self._scale).astype(np.int32)

    def fill(self, picture: U8, points: NDArray[np.float64], colour: Colour, depth: float = 1.0) -> None:
        """A polygon (n, 2)."""
        cv2.fillPoly(picture, [self._pixels(points, depth)], colour, cv2.LINE_AA, _SHIFT)

    def stroke(
        self,
        picture: U8,
        points: NDArray[np.float64],
        colour: Colour,
        width: float,
        depth: float = 1.0,
        closed: bool = False,
    ) -> None:
        """A line along (n, 2), ``width`` in half sides."""
        thick = max(1, round(width * self._half))
        cv2.polylines(picture, [self._pixels(points, depth)], closed, colour, thick, cv2.LINE_AA, _SHIFT)
