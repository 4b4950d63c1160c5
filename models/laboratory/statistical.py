"""Recipe of engine ``statistical``: joint principal components of shapes and appearances, and the steps between
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.engines.classical.flat import packed
from avatar.engines.classical.statistical import HALF, appearance_of, shape_of
from avatar.models.folds.mean_face import mean_face
from avatar.models.laboratory.coefficients import aligned
from avatar.models.laboratory.eri import skin
from avatar.models.laboratory.mapping import basis_shapes, motion
from avatar.models.laboratory.people import Example, write
from avatar.portrait.basis import HeadBasis

MODES = 40
STEPS = 5
"""Directions in which an expression moves the parameters: the others hold who it was."""
_TOGETHER = 30.0
"""Landmarks whose errors are one: a landmark's noise counts so many times."""


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from the folder ``faces/london`` of ``data``."""
    return write(learn, data, target)


def learn(people: Sequence[Example], fold: int | None, basis: HeadBasis) -> Mapping[str, np.ndarray]:
    """The arrays that :class:`avatar.engines.classical.statistical.StatisticalEngine` loads."""
    mean = basis_shapes(basis)[0].astype(np.float32)
    face = mean_face([person.neutral.points for person in people])
    rest = np.stack([shape_of(mean, aligned(person)) for person in people])
    moved = rest + np.stack([motion(mean, person)[:, :2].ravel() for person in people])
    reach = cv2.resize(skin(face), HALF[::-1], interpolation=cv2.INTER_AREA).repeat(3).ravel()
    tones = [np.stack([appearance_of(face, s.picture, s.points) for s in shown]) * reach
             for shown in ([p.neutral for p in people], [p.smile for p in people])]  # fmt: skip
    shapes, looks = np.concatenate([rest, moved]), np.concatenate(tones)
    mean_shape, mean_look = shapes.mean(0), looks.mean(0)
    weight = float(np.sqrt(looks.var(0).sum() / shapes.var(0).sum()))
    joint = np.concatenate([(shapes - mean_shape) * weight, looks - mean_look], 1)
    # Fewer faces than values: the components by way of the small side.
    values, vectors = np.linalg.eigh(joint @ joint.T)
    kept = slice(-min(MODES, len(joint) - 1), None)
    modes = vectors[:, kept].T @ joint / np.sqrt(values[kept, None])
    found = joint @ modes.T
    count, points = len(people), shapes.shape[1]
    steps = found[count:] - found[:count]
    spread, ways = np.linalg.eigh(steps.T @ steps / count)
    ways = ways[:, -STEPS:]
    moves = (moved - rest) * weight
    missed = moves - steps @ ways @ ways.T @ modes[:, :points]
    left = joint - found @ modes
    return {
        **packed("modes", modes.astype(np.float32)),
        **packed("reach", reach[None].astype(np.float32)),
        "variances": (found**2).mean(0).astype(np.float32),
        "steps": ((ways * spread[-STEPS:]) @ ways.T).astype(np.float32),
        "mean_shape": mean_shape.astype(np.float32),
        "mean_tone": mean_look.astype(np.float16),
        "weight": np.float32(weight),
        "noise": np.float32(left.var()),
        "shape_noise": np.float32(missed.var() * _TOGETHER),
    }
