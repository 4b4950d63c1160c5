"""Rows of engine ``coefficients`` on drawn faces: people times expressions, some people held out.

Engine ``head`` draws portraits of people who do not exist in known expressions; bilinear kernel reduced rank
regression and the mean model (the same regression that does not look at who it is) learn from most of them and say
what the others become.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.core.types import F32
from avatar.engines.classical.coefficients import describe, identity_kernel
from avatar.engines.classical.flat import MAP_FILE
from avatar.engines.classical.plane import arrays, frame_between
from avatar.engines.head import HeadEngine, shape_weights
from avatar.engines.head_folds import MeanFace
from avatar.errors import PhotoError
from avatar.models.expression import folders
from avatar.models.laboratory.coefficients import described, reduced_rank
from avatar.models.laboratory.renders import EXPRESSIONS, state
from avatar.portrait.fit import LANDMARKS
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import onboard
from avatar.portrait.photo import read_photo

PEOPLE, FOLDS, SIZE = 48, 6, 256
MORE = {"blink": {"eyeBlink": 1.0}, "squint": {"eyeSquint": 1.0, "cheekSquint": 0.8}}
RANK, PENALTY = 12, 0.1

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Seen:
    """One person, drawn."""

    who: tuple[F32, F32]
    shown: F32
    """(e, 52)."""
    moves: F32
    """(e, 936) in the mean face's frame."""
    logs: F32
    """(e, d) log ratios to the same person at rest."""


def regressions(
    data: Path,
    weights: Path,
    detector: LandmarkDetector,
    limit: int = PEOPLE,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Errors on people held out: ``landmarks`` in percent of the distance between the outer eye corners, ``shading`` in
    percent of luminance (root mean square of the log ratio), of the regression and of the mean model.

    Raises UsageError where ``data/faces/t2i`` cannot be read.
    """
    known = arrays(weights / MAP_FILE)
    face = MeanFace(known["frame"].astype(np.float32), known["triangles"].astype(np.int32))
    seen: list[Seen] = []
    for path in folders.portraits(data / "faces" / "t2i"):
        if len(seen) >= limit:
            break
        progress(len(seen), limit)
        if (one := _draw(path, weights, detector, face, known["mean"])) is not None:
            seen.append(one)
    return compared(seen)


def compared(seen: list[Seen]) -> dict[str, Any]:
    """Both models, learnt from five sixths of the people and asked for the others, in turn."""
    folds = min(FOLDS, len(seen))
    each = [errors([s for i, s in enumerate(seen) if i % folds != fold], seen[fold::folds]) for fold in range(folds)]
    rows = {
        name: {key: round(float(np.mean([e for found in each for e in found[name][key]])), 3) for key in each[0][name]}
        for name in each[0]
    }
    return rows | {"people": len(seen)}


def errors(known: list[Seen], asked: list[Seen]) -> dict[str, dict[str, list[float]]]:
    """Of both models, learnt from ``known``, for each of ``asked``."""
    who, scales = described([one.who for one in known])
    strangers = np.stack([np.concatenate([b * s for b, s in zip(one.who, scales, strict=True)]) for one in asked])
    rows = {}
    for name, mine, theirs in (("coefficients", who, strangers), ("mean", 0 * who, 0 * strangers)):
        each = np.repeat(mine, [len(one.shown) for one in known], 0)
        shown = np.concatenate([one.shown for one in known])
        outputs = [np.concatenate([getattr(one, what) for one in known]) for what in ("moves", "logs")]
        alpha, directions = reduced_rank(each, shown, outputs, RANK, PENALTY)
        missed: list[list[float]] = [[], []]
        for one, features in zip(asked, theirs, strict=True):
            kernel = identity_kernel(features[None], each)[0] * (one.shown @ shown.T)
            for k, (truth, way) in enumerate(zip((one.moves, one.logs), directions, strict=True)):
                missed[k].append(float(np.sqrt(((kernel @ alpha @ way - truth) ** 2).mean()) * 100))
        rows[name] = {"landmarks": missed[0], "shading": missed[1]}
    return rows


def _draw(path: Path, weights: Path, detector: LandmarkDetector, face: MeanFace, mean: F32) -> Seen | None:
    """None where the portrait cannot be an avatar, or a drawn face is not found again."""
    try:
        bundle = onboard(read_photo(path), "drawn", path.stem, "synthetic", detector)
    except PhotoError:
        return None
    engine = HeadEngine(bundle, SIZE, weights)
    states = [state(shown) for shown in ({}, *EXPRESSIONS.values(), *MORE.values())]
    pictures = [engine.render(one) for one in states]
    found = [detector.detect(picture) for picture in pictures]
    if not all(found):
        return None
    points = [faces[0].landmarks for faces in found]
    frame = frame_between(mean, points[0])
    moves, logs = [], []
    rest = _logs(face, pictures[0], points[0])
    for picture, at in zip(pictures[1:], points[1:], strict=True):
        same = frame_between(at, points[0])
        moved = at[:LANDMARKS] @ (same.scale * same.rotation).T + same.shift - points[0][:LANDMARKS]
        moves.append(frame.back(moved)[:, :2].ravel())
        logs.append((_logs(face, picture, at) - rest).ravel())
    shown = np.stack([shape_weights(one)[0] for one in states[1:]])
    return Seen(describe(face, mean, pictures[0], points[0]), shown, np.stack(moves), np.stack(logs))


def _logs(face: MeanFace, picture: np.ndarray, points: F32) -> F32:
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.8)
    made = face.bring(np.log(soft.mean(-1) + 8), np.asarray(points[:, :2], np.float32))
    return np.asarray(cv2.resize(made, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
