"""What real smiles teach the shapes of mouth, jaw and cheeks.

ICT-FaceKit's shapes come from one sculpted face. Pairs of photos, one neutral and one smiling, say how people's faces
do move: the head is fitted to the neutral one, weights and pose to the smiling one (:mod:`avatar.portrait.solve`), and
what the landmarks still miss is regressed on the weights. The correction lives on the 468 landmarks; :func:`apply`
spreads it over the mesh.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from avatar.core.facs import ARKIT
from avatar.core.types import F32
from avatar.errors import UsageError
from avatar.models.head_basis.heads import Head
from avatar.models.head_basis.landmarks import COUNT, SurfacePoints
from avatar.models.head_basis.transfer import lip_side, mirrored
from avatar.portrait.basis import HeadBasis
from avatar.portrait.fit import FittedHead, fit_head, on_landmarks, scaled_orthographic
from avatar.portrait.solve import at_rest, relative_to, solve

log = logging.getLogger(__name__)
F64 = NDArray[np.float64]
Ints = NDArray[np.integer]

TAUGHT = (
    "cheekSquint", "jawOpen", "mouthDimple", "mouthLowerDown", "mouthSmile", "mouthStretch", "mouthUpperUp",
)  # fmt: skip
"""Shapes that smiles hold enough of. Others would learn what they accompany."""
OPPOSITE = [int(i) for i in mirrored(np.arange(len(ARKIT))[:, None, None] * np.ones((1, 1, 3)))[:, 0, 1]]
"""Number of each shape's opposite one."""
RIDGE = 4.0
"""Sum of squared weights that a shape's correction must outweigh; smiles sum to about 40 in mouthSmile."""
ROUNDS = 3
"""Of solving with the corrected shapes and regressing anew: weights and shapes depend on each other."""
_REACH = 1.6
"""Centimetres around the landmarks within which the mesh takes part."""


@dataclass(frozen=True)
class Pair:
    """Landmarks (478, 3), y down, and MediaPipe's coefficients (52,) of one person's neutral and smiling photo."""

    person: str
    neutral: F32
    neutral_coefficients: F32
    smile: F32
    smile_coefficients: F32


def read_pairs(folder: Path) -> list[Pair]:
    """The pairs of ``folder`` from its ``index.csv`` and ``landmarks.npz``, by person. Raises UsageError."""
    try:
        with np.load(folder / "landmarks.npz", allow_pickle=False) as arrays:
            points = dict(zip(map(str, arrays["filename"]), arrays["landmarks"].astype(np.float32), strict=True))
        with (folder / "index.csv").open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.DictReader(file) if row["file"] in points]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder}: no readable landmarks ({error}); point --data at the data bundle") from error
    seen: dict[str, dict[str, tuple[F32, F32]]] = {}
    for row in rows:
        coefficients = np.array([float(row.get(name) or 0) for name in ARKIT], np.float32)
        # Any unit will do; whole pixels of a portrait keep the numbers in the range that the fit knows.
        seen.setdefault(row["person"], {})[row["expression"]] = points[row["file"]] * 512, coefficients
    whole = {person: of for person, of in sorted(seen.items()) if {"neutral", "smile"} <= of.keys()}
    return [Pair(person, *of["neutral"], *of["smile"]) for person, of in whole.items()]


def learn(basis: HeadBasis, pairs: Sequence[Pair], mirror: Ints) -> F64:
    """Corrections (52, 468, 3), cm, of the shapes at the landmarks; zero for those that are not :data:`TAUGHT`.

    :param mirror: (468,) the mirrored number of every landmark.
    """
    taught = [i for i, name in enumerate(ARKIT) if name.startswith(TAUGHT)]
    heads = [_on_landmarks(basis, fit_head(basis, pair.neutral, pair.neutral_coefficients)) for pair in pairs]
    bare = replace(
        basis,
        landmark_vertices=np.arange(COUNT, dtype=np.int32)[:, None].repeat(3, 1),
        landmark_weights=np.tile(np.array((1, 0, 0), np.float32), (COUNT, 1)),
    )
    added = np.zeros((len(ARKIT), COUNT, 3))
    for _ in range(ROUNDS):
        weights, missed = [], []
        for pair, head in zip(pairs, heads, strict=True):
            moved = replace(head, expressions=(head.expressions + added).astype(np.float32))
            solved, left = _solved(bare, moved, pair)
            weights += [solved, solved[OPPOSITE]]
            missed += [left, left[mirror] * np.array((-1.0, 1.0, 1.0))]
        known = np.stack(weights)[:, taught]
        wrong = np.stack(missed).reshape(len(missed), -1)
        log.info("smiles: %.4f cm left at a landmark", float(np.sqrt((wrong**2).sum(1).mean() / COUNT)))
        normal = known.T @ known + RIDGE * np.eye(len(taught))
        added[taught] += np.linalg.solve(normal, known.T @ wrong).reshape(len(taught), COUNT, 3)
    return added


def _on_landmarks(basis: HeadBasis, head: FittedHead) -> FittedHead:
    """The head reduced to its landmarks: ``rest`` (468, 3) and ``expressions`` (52, 468, 3)."""
    rest, shapes = (on_landmarks(basis, x).astype(np.float32) for x in (head.rest, head.expressions))
    return replace(head, rest=rest, expressions=shapes)


def _solved(bare: HeadBasis, head: FittedHead, pair: Pair) -> tuple[F64, F64]:
    """Weights (52,) of the smile, and what they miss (468, 3), cm in the head's frame."""
    relative = relative_to(pair.neutral_coefficients, pair.smile_coefficients)
    solved = solve(bare, head, pair.neutral, pair.smile, relative)
    weights = solved.weights.astype(np.float64)
    points = at_rest(head, head.rest, pair.neutral) + np.tensordot(weights, head.expressions, 1)
    target = pair.smile[:COUNT, :2] * (1, -1)
    rotation, scale, offset = scaled_orthographic(points, target.astype(np.float64), np.ones(COUNT))
    left = (target - offset) / scale - (points @ rotation.T)[:, :2]
    return weights, np.c_[left, np.zeros(COUNT)] @ rotation


def apply(head: Head, marks: SurfacePoints, corrections: F64) -> Head:
    """Spread the corrections (52, 468, 3) over skin and mouth lining: they fade out beyond the face, and no lip takes
    what the other one learnt."""
    at = marks.on(head.vertices)
    soft = head.vertices_of("skin", "lining")
    side = np.zeros(len(head.vertices))
    side[soft] = 0.8 * lip_side(head.mouth, head.vertices, head.vertices[soft], 1.6)
    for chain, sign in ((head.mouth.upper, 0.8), (head.mouth.lower, -0.8)):
        x = head.vertices[chain, 0]
        side[chain] = sign * np.sqrt(np.clip(1 - (x / x[-1]) ** 2, 0, 1))
    distance, _ = cKDTree(at).query(head.vertices[soft])
    far = soft[distance > _REACH][::4]
    known = np.concatenate([np.c_[at, marks.on(side[:, None])], np.c_[head.vertices, side][far]])
    # Two landmarks can fall onto one place (corners of lips); a hair's breadth keeps the system solvable.
    known += np.random.default_rng(0).normal(0, 1e-3, known.shape)
    used = np.flatnonzero(np.abs(corrections).max((1, 2)) > 0)
    values = np.concatenate([corrections[used], np.zeros((len(used), len(far), 3))], 1)
    field = RBFInterpolator(known, values.transpose(1, 0, 2).reshape(len(known), -1), kernel="linear", smoothing=0.05)
    spread = field(np.c_[head.vertices, side][soft]).reshape(len(soft), len(used), 3).transpose(1, 0, 2)
    expressions = head.expressions.copy()
    expressions[np.ix_(used, soft)] += spread
    return replace(head, expressions=expressions)
