"""Rows on drawn faces, whose middle between two pictures is known: morphs, and views.

Truth is engine ``head``: a shipped avatar at rest, with an expression and halfway, or turned to both sides and
straight. Landmarks are found in the pictures as in any photo. Everything is compared inside the hull of the true
picture's face.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.core.facs import arkit_vector
from avatar.core.geometry import from_euler, to_matrix
from avatar.core.types import F32, U8, FaceState, Ns, Pose, freeze, zeros
from avatar.engines.classical import morph, morph3d, viewmorph
from avatar.engines.classical.flat import MAP_FILE
from avatar.engines.classical.plane import arrays
from avatar.engines.head import SEEN_YAW, HeadEngine
from avatar.models.expression import metrics
from avatar.models.expression.align import align
from avatar.models.expression.sheet import contact_sheets
from avatar.parts import library
from avatar.portrait.fit import LANDMARKS
from avatar.portrait.landmarks import LandmarkDetector

SIZE = 512
EXPRESSIONS: Mapping[str, Mapping[str, float]] = {
    "smile": {"mouthSmile": 0.9, "cheekSquint": 0.6, "mouthUpperUp": 0.4, "mouthLowerDown": 0.3},
    "surprise": {"jawOpen": 0.6, "browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.6},
    "anger": {"browDown": 1.0, "noseSneer": 0.7, "mouthFrown": 0.7, "mouthPress": 0.4},
    "ou": {"mouthPucker": 0.9, "jawOpen": 0.25},
}
TURN, ROLL = 22.0, 8.0
"""Degrees on each side: the two views are 44 apart, and each lies beyond 20."""

Progress = Callable[[int, int], None]
Row = dict[str, float]


class Turntable(HeadEngine):
    """Engine ``head`` without its limits: as far as it is turned, what it hides is not asked for."""

    def _camera(self, head: Pose) -> tuple[F32, F32]:
        fitted, flip = self._fitted, np.array((1.0, -1.0, 1.0))
        turn = to_matrix(from_euler(*head.euler))
        pivot = fitted.rotation @ np.array((0.0, -5.6, -9.4))
        offset = fitted.scale * (pivot - turn @ pivot)
        offset[:2] += fitted.offset
        matrix = fitted.scale * turn @ fitted.rotation
        return (matrix * flip[:, None]).astype(np.float32), (offset * flip).astype(np.float32)


def psnr(picture: U8, truth: U8, points: F32) -> float:
    """dB inside the hull of the landmarks."""
    mask = np.zeros(truth.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points[:LANDMARKS, :2]).astype(np.int32)), 1)
    return metrics.psnr(metrics.mse(picture, truth, mask > 0))


def state(weights: Mapping[str, float], strength: float = 1.0, yaw: float = 0.0, roll: float = 0.0) -> FaceState:
    arkit = arkit_vector({name: strength * value for name, value in weights.items()})
    return FaceState(Ns(0), freeze(arkit), Pose.degrees(yaw / SEEN_YAW, 0, roll))


def midpoints(weights: Path, detector: LandmarkDetector, limit: int, keep: Path | None = None) -> list[Row]:
    """Of every avatar and expression: dB of a dissolve, a field morph and a 3D morph at t = 1/2 against the drawn
    half."""
    mesh = morph3d.Surface(arrays(weights / MAP_FILE), SIZE)
    rows, lines, names = [], [], []
    for name, engine in avatars(weights, limit):
        rest = engine.render(state({}))
        for expression, shown in EXPRESSIONS.items():
            other, truth = (engine.render(state(shown, strength, yaw=6 * strength)) for strength in (1.0, 0.5))
            found = [detector.detect(p) for p in (rest, other, truth)]
            if not all(found):
                continue
            points, there, half = (f[0].landmarks for f in found)
            made = {
                "dissolve": np.asarray(cv2.addWeighted(rest, 0.5, other, 0.5, 0), np.uint8),
                "morph": morph.between(rest, other, points, there, 0.5),
                "morph3d": morph3d.between(mesh, rest, other, points, there, 0.5),
            }
            rows.append({way: psnr(picture, truth, half) for way, picture in made.items()})
            names.append(f"{name} {expression}")
            lines.append([rest, other, truth, *made.values()])
    if keep is not None:
        contact_sheets("midpoint", ["rest", "other", "half", "dissolve", "morph", "morph3d"], names, small(lines), keep)
    return rows


def views(weights: Path, detector: LandmarkDetector, limit: int, keep: Path | None = None) -> list[Row]:
    """Of every avatar: dB of a dissolve, a field morph and a view morph halfway between two views, against the face
    seen from there, eyes on eyes (:mod:`avatar.models.expression.align`): where a view lies is free, its shape is
    not."""
    mean = arrays(weights / MAP_FILE)["mean"]
    rows, lines, names = [], [], []
    for name, engine in avatars(weights, limit, Turntable):
        first, second = (engine.draw(zeros(52), 0, 0, Pose.degrees(side * TURN, 0, side * ROLL)) for side in (-1, 1))
        truth = engine.draw(zeros(52), 0, 0, Pose())
        found = [detector.detect(p) for p in (first, second, truth)]
        if not all(found):
            continue
        points, other, straight = (f[0].landmarks for f in found)
        mesh = viewmorph.Mesh(morph3d.face_triangles(arrays(weights / MAP_FILE)), SIZE)
        seen, inside, at = viewmorph.between(mesh, mean, (first, second), (points, other), 0.5)
        field = morph.between(first, second, points, other, 0.5)
        middle = (points + other)[:LANDMARKS] / 2
        made = {
            "dissolve": (np.asarray(cv2.addWeighted(first, 0.5, second, 0.5, 0), np.uint8), middle),
            "morph": (field, middle),
            "viewmorph": (np.where(inside[..., None], seen, field), np.c_[at, middle[:, 2]]),
        }
        goal, outline = align(truth, straight)
        placed = {way: align(*shown)[0] for way, shown in made.items()}
        rows.append({way: psnr(picture, goal, outline) for way, picture in placed.items()})
        names.append(name)
        lines.append([align(first, points)[0], align(second, other)[0], goal, *placed.values()])
    if keep is not None:
        heads = ["", "right", "straight", "dissolve", "morph", "viewmorph"]
        contact_sheets("views", heads, names, lines, keep)
    return rows


def means(rows: list[Row]) -> dict[str, Any]:
    """Mean dB of each way, and how many pictures that is."""
    return {way: round(float(np.mean([row[way] for row in rows])), 2) for way in rows[0]} | {"pictures": len(rows)}


def avatars(weights: Path, limit: int, kind: type[HeadEngine] = HeadEngine) -> Iterator[tuple[str, HeadEngine]]:
    shelf = library()
    for name in shelf.names()[:limit]:
        yield name, kind(shelf.load(name), SIZE, weights)


def small(lines: list[list[U8]]) -> list[list[U8]]:
    return [
        [np.asarray(cv2.resize(p[70:450, 66:446], (256, 256), interpolation=cv2.INTER_AREA)) for p in line]
        for line in lines
    ]
