"""Following a face with the Face Landmarker's three networks alone: detector, 478 points, 52 coefficients.

The networks are run by ONNX Runtime on one thread; what MediaPipe's graph does around them is written anew: finding the
face only while none is followed (BlazeFace, Bazarevsky et al. 2019), the next picture's region from this one's points
(Kartynnik et al. 2019), and the head's pose by weighted Procrustes on a canonical face under a perspective camera
(MediaPipe Face Transform). docs/adr/0014-camera-and-acts.md has the figures of both ways.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.geometry import matrix_to_euler
from avatar.core.types import F32, U8, freeze
from avatar.network import session_of
from avatar.portrait.landmarks import POINTS, DetectedFace

FOV = 63.0
"""Degrees from top to bottom of the virtual camera that the pose is measured with."""
PRESENT = 0.5
"""Probability of a face in the region below which it counts as lost."""
SIDE = 256
_MARGIN = 1.5
"""Side of the region that is looked at, in sides of the face's box."""
_EYES = (33, 263)
"""Outer corners, whose line is level in the region."""
_DETECTOR_SIDE = 128
_SCORE, _OVERLAP = 0.5, 0.3
_ANCHORS: F32 = np.concatenate(
    [
        np.repeat(np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2), axis=-1).reshape(-1, 2), each, axis=0)
        for n, each in ((16, 2), (8, 6))
    ]
).astype(np.float32)
"""(896, 2) centres of the detector's anchors in shares of its picture."""

_SHAPE_POINTS = np.array(
    [0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
     81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
     154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
     263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
     321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
     387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477]
)  # fmt: skip
"""The 146 points that the coefficients are made of."""
_SHAPES = np.array([i for i, name in enumerate(facs.ARKIT) if name != "tongueOut"])
"""The network's coefficients but for its first one, in its order, which is ARKit's by the alphabet."""


Prefer = Literal["largest", "center", "left", "right"]
_PLACES = {"center": (0.5, 0.5), "left": (0.0, 0.5), "right": (1.0, 0.5)}


@dataclass(frozen=True, eq=False)
class FaceFile:
    """What there is in a Face Landmarker's file (``models/landmarker/convert.py`` reads it)."""

    detector: bytes
    """ONNX: (1, 3, 128, 128) in [-1, 1] to regressors (1, 896, 16) and scores (1, 896, 1)."""
    landmarks: bytes
    """ONNX: (1, 3, 256, 256) in [0, 1] to points (1, 1, 1, 1434) in its pixels, and whether it is a face (logit)."""
    blendshapes: bytes
    """ONNX: (1, 146, 2) points in pixels to (52,)."""
    canonical: NDArray[np.float64]
    """(468, 3) centimetres: x right, y up, z towards the viewer."""
    weights: NDArray[np.float64]
    """(468,) how much each point counts for the pose."""


@dataclass(frozen=True, slots=True)
class _Region:
    """A turned square of a picture, in pixels."""

    x: float
    y: float
    side: float
    angle: float
    """Radians, clockwise in the picture."""

    def to_picture(self, size: int) -> NDArray[np.float64]:
        """(2, 3): from a square of ``size`` pixels to the picture."""
        c, s, k = math.cos(self.angle), math.sin(self.angle), self.side / size
        half = self.side / 2
        return np.array([[c * k, -s * k, self.x - c * half + s * half], [s * k, c * k, self.y - s * half - c * half]])


class FaceNets:
    """Finds a face, follows it from picture to picture, and finds it again. Not shared between threads.

    :param file: the networks. Raises ModelFileError where they cannot be run.
    :param prefer: which of several faces is followed until it is lost; left and right are the picture's.
    """

    def __init__(self, file: FaceFile, prefer: Prefer = "largest") -> None:
        self._detect = session_of(file.detector, "the face detector")
        self._mesh = session_of(file.landmarks, "the landmark network")
        self._shapes = session_of(file.blendshapes, "the coefficients' network")
        self._pose = _PoseSolver(file.canonical, file.weights)
        self._prefer = prefer
        self._wanted: tuple[float, float] | None = None
        self.reset()

    def reset(self) -> None:
        """Look for a face anew."""
        self._region: _Region | None = None

    def choose(self, x: float, y: float) -> None:
        """Follow the face nearest to a place of the picture (shares of width and height) from now on."""
        self._wanted = (x, y)
        self._region = None

    def close(self) -> None:
        """As a LandmarkDetector has it; there is nothing to release."""

    def detect(self, rgb: U8, time_ms: int | None = None) -> list[DetectedFace]:
        """The face that is followed, in ``rgb`` (height, width, 3), or none. ``time_ms`` is not needed."""
        followed = self._region is not None
        for _ in range(2):
            region = self._region if self._region is not None else self._find(rgb)
            if region is None:
                return []
            points = self._points(rgb, region)
            if points is not None:
                self._region = _region_of(points)
                if self._wanted is not None:
                    height, width = rgb.shape[:2]
                    self._wanted = (self._region.x / width, self._region.y / height)
                return [self._face(points, rgb.shape[1], rgb.shape[0])]
            self._region = None
            if not followed:
                break
        return []

    def _find(self, rgb: U8) -> _Region | None:
        boxes = self.find_all(rgb)
        if not boxes:
            return None
        height, width = rgb.shape[:2]
        if self._wanted is None and self._prefer == "largest":
            return max(boxes, key=lambda box: box.side)
        share = self._wanted or _PLACES[self._prefer]
        x, y = share[0] * width, share[1] * height
        return min(boxes, key=lambda box: math.hypot(box.x - x, box.y - y))

    def find_all(self, rgb: U8) -> list[_Region]:
        """Regions of all faces in a picture, surest first."""
        height, width = rgb.shape[:2]
        scale = _DETECTOR_SIDE / max(height, width)
        small = cv2.resize(
            rgb, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
        )
        left, top = (_DETECTOR_SIDE - small.shape[1]) // 2, (_DETECTOR_SIDE - small.shape[0]) // 2
        square = np.zeros((_DETECTOR_SIDE, _DETECTOR_SIDE, 3), np.uint8)
        square[top : top + small.shape[0], left : left + small.shape[1]] = small
        feed = (square.transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 127.5
        raw, scores = (out[0] for out in self._detect.run(None, {"input": feed}))
        found: list[_Region] = []
        sure = 1 / (1 + np.exp(-np.clip(scores[:, 0], -80, 80)))
        order = [i for i in np.argsort(-sure) if sure[i] >= _SCORE]
        while order:
            first, rest = order[0], order[1:]
            near = [i for i in order if _overlap(raw[first], _ANCHORS[first], raw[i], _ANCHORS[i]) > _OVERLAP]
            share = sure[near] / sure[near].sum()
            # Centre, size and the eyes, weighed over what overlaps, in the square's pixels.
            values = np.stack([np.r_[raw[i, :2], raw[i, 2:4], raw[i, 4:8]] for i in near])
            values[:, [0, 1, 4, 5, 6, 7]] += np.tile(_ANCHORS[near] * _DETECTOR_SIDE, 3)
            x, y, w, h, ax, ay, bx, by = share @ values
            found.append(
                _Region(
                    (x - left) / scale, (y - top) / scale, _MARGIN * max(w, h) / scale, math.atan2(by - ay, bx - ax)
                )
            )
            order = [i for i in rest if i not in near]
        return found

    def _points(self, rgb: U8, region: _Region) -> NDArray[np.float64] | None:
        """(478, 3) in pixels, or None where there is no face in the region."""
        matrix = region.to_picture(SIDE)
        crop = cv2.warpAffine(
            rgb, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        feed = cv2.dnn.blobFromImage(crop, 1 / 255)
        outputs = self._mesh.run(None, {"input": feed})
        if float(outputs[1].reshape(-1)[0]) < math.log(PRESENT / (1 - PRESENT)):
            return None
        points = outputs[0].reshape(POINTS, 3).astype(np.float64)
        flat = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return np.c_[flat, points[:, 2] * region.side / SIDE]

    def _face(self, points: NDArray[np.float64], width: int, height: int) -> DetectedFace:
        feed = points[None, _SHAPE_POINTS, :2].astype(np.float32)
        (shapes,) = self._shapes.run(None, {"input": feed})
        coefficients = np.zeros(len(facs.ARKIT), np.float32)
        coefficients[_SHAPES] = np.clip(shapes.reshape(-1)[1:], 0, 1)
        rotation, translation = self._pose.solve(points, width, height)
        yaw, pitch, roll = matrix_to_euler(rotation)
        x, y, z = (10.0 * float(v) for v in translation)  # centimetres
        return DetectedFace(freeze(points.astype(np.float32)), freeze(coefficients), yaw, pitch, roll, (x, y, z))


def _region_of(points: NDArray[np.float64]) -> _Region:
    """Where to look for the same face in the next picture."""
    (ax, ay), (bx, by) = points[_EYES[0], :2], points[_EYES[1], :2]
    (left, top), (right, bottom) = points[:, :2].min(0), points[:, :2].max(0)
    side = _MARGIN * max(right - left, bottom - top)
    return _Region(float(left + right) / 2, float(top + bottom) / 2, float(side), math.atan2(by - ay, bx - ax))


def _overlap(a: F32, anchor_a: F32, b: F32, anchor_b: F32) -> float:
    """Intersection over union of two boxes of the detector."""
    ca, cb = a[:2] + anchor_a * _DETECTOR_SIDE, b[:2] + anchor_b * _DETECTOR_SIDE
    low = np.maximum(ca - a[2:4] / 2, cb - b[2:4] / 2)
    high = np.minimum(ca + a[2:4] / 2, cb + b[2:4] / 2)
    shared = float(np.prod(np.maximum(0, high - low)))
    return shared / max(1e-9, float(np.prod(a[2:4]) + np.prod(b[2:4])) - shared)


class _PoseSolver:
    """The head's pose from points in a picture, as MediaPipe's Face Transform has it: one unit is a centimetre."""

    def __init__(self, canonical: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        used = np.flatnonzero(weights > 0)
        self._used, self._source, self._weight = used, canonical[used], weights[used]
        self._count = len(canonical)
        total = self._weight.sum()
        self._centre = self._weight @ self._source / total
        self._centred = self._source - self._centre
        self._weighted = self._weight[:, None] * self._centred
        self._spread = float((self._weight[:, None] * self._centred * self._centred).sum())

    def solve(
        self, points: NDArray[np.float64], width: int, height: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rotation (3, 3) and translation (3,) of the canonical face before the camera."""
        top = 2 * math.tan(math.radians(FOV) / 2)
        across = top * width / height
        depth = float((points[: self._count, 2] / width * across).mean())
        chosen = points[self._used]
        screen = chosen * (across / width, -top / height, across / width) + (-across / 2, top / 2, 0.0)
        scale = self._fit(screen * (1, 1, -1))[0]
        scale *= self._fit(self._unprojected(screen, depth, scale))[0]
        return self._fit(self._unprojected(screen, depth, scale))[1:]

    @staticmethod
    def _unprojected(screen: NDArray[np.float64], depth: float, scale: float) -> NDArray[np.float64]:
        z = (screen[:, 2] - depth + 1.0) / scale
        out = screen * z[:, None]
        out[:, 2] = -z
        return np.asarray(out, np.float64)

    def _fit(self, target: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Scale, rotation and translation that bring the canonical points nearest to ``target`` (weighted Procrustes,
        Akca 2003)."""
        u, _, vt = np.linalg.svd(target.T @ self._weighted)
        rotation = u @ vt
        (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
        if a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) < 0:  # a mirror, not a turn
            u[:, 2] *= -1
            rotation = u @ vt
        scale = float(np.vdot(self._weighted @ rotation.T, target)) / self._spread
        turned = scale * self._source @ rotation.T
        return scale, rotation, self._weight @ (target - turned) / self._weight.sum()
