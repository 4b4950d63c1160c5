"""Recipe of engine ``coefficients``: bilinear kernel reduced rank regression on the real smiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.core.facs import ARKIT
from avatar.core.types import F32
from avatar.engines.classical.coefficients import describe, identity_kernel
from avatar.engines.classical.flat import packed
from avatar.models.folds.mean_face import mean_face
from avatar.models.laboratory.eri import ratio_image, skin
from avatar.models.laboratory.mapping import basis_shapes, corrected, motion
from avatar.models.laboratory.people import Example, write
from avatar.portrait.basis import HeadBasis

SMILE = ("mouthSmile", "cheekSquint", "eyeSquint", "mouthUpperUp", "mouthLowerDown", "mouthDimple")
"""Shapes that the smiles of the data consist of. What others hold in them is noise, which a state would enlarge."""
RANK = 8
PENALTY = 0.25
"""Of kernel ridge regression, in shares of the kernel's mean diagonal."""
COMPONENTS = 10
"""Of who somebody is: enough for a kernel, too few for a likeness."""
_TONE = 0.7
"""How much a picture counts beside the shape in who somebody is."""


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from the folder ``faces/london`` of ``data``."""
    return write(learn, data, target)


def learn(people: Sequence[Example], fold: int | None, basis: HeadBasis) -> Mapping[str, np.ndarray]:
    """The arrays that :class:`avatar.engines.classical.coefficients.CoefficientsEngine` loads."""
    mean, shapes = basis_shapes(basis)
    shapes = corrected(mean, shapes, people, fold)
    face = mean_face([person.neutral.points for person in people])
    reach = skin(face)[..., None]
    who, scales = described([describe(face, mean.astype(np.float32), p.neutral.picture, aligned(p)) for p in people])
    centre, basis_of_people = principal(who)
    who = np.asarray((who - centre) @ basis_of_people.T, np.float32)
    smiles = np.array([name.startswith(SMILE) for name in ARKIT], np.float32)
    shown = np.stack([person.weights[fold] * smiles for person in people])
    moves = np.stack([motion(mean, p) - np.tensordot(p.weights[fold], shapes, 1) for p in people])[..., :2]
    ratios = np.stack([ratio_image(face, p.neutral, p.smile) * reach for p in people])
    count = len(people)
    alpha, (first, second) = reduced_rank(who, shown, [moves.reshape(count, -1), ratios.reshape(count, -1)])
    return {
        "scales": scales,
        "shown": shown.astype(np.float16),
        "alpha": alpha.astype(np.float32),
        "people": who.astype(np.float16),
        "centre": centre.astype(np.float16),
        **packed("basis", basis_of_people),
        **packed("moves", first.astype(np.float32)),
        **packed("ratios", second.astype(np.float32)),
    }


def aligned(person: Example) -> F32:
    """(468, 3): the neutral landmarks in the aligned picture's pixels."""
    points, photo = person.neutral.points, person.neutral.landmarks
    scale = np.ptp(points[:, 1]) / np.ptp(photo[:, 1])
    return np.c_[points, photo[:, 2:] * scale].astype(np.float32)


def described(features: Sequence[tuple[F32, F32]]) -> tuple[F32, F32]:
    """Features of people (n, d), scaled so that two of them are about one Gaussian's width apart, and the two
    scales."""
    blocks = [np.stack(block) for block in zip(*features, strict=True)]
    scales = []
    for block, share in zip(blocks, (1.0, _TONE), strict=True):
        squared = ((block[:, None] - block[None]) ** 2).sum(-1)
        scales.append(share / np.sqrt(np.median(squared[~np.eye(len(block), dtype=bool)])))
    return np.concatenate([b * s for b, s in zip(blocks, scales, strict=True)], 1), np.array(scales, np.float32)


def principal(who: F32) -> tuple[F32, F32]:
    """Mean (d,) and first principal directions (k, d) of people (n, d), by way of the small side."""
    centre = who.mean(0)
    values, vectors = np.linalg.eigh((who - centre) @ (who - centre).T)
    kept = slice(-min(COMPONENTS, len(who) - 1), None)
    return centre, np.asarray(vectors[:, kept].T @ (who - centre) / np.sqrt(values[kept, None]), np.float32)


def reduced_rank(
    who: F32, shown: F32, outputs: Sequence[NDArray[np.floating]], rank: int = RANK, penalty: float = PENALTY
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """``alpha`` (n, r) and directions (r, d) of each block of ``outputs`` (n, d), so that a face with the kernel k (n,)
    to the examples becomes k @ alpha @ directions. Blocks count alike.

    :param who: (n, d) :func:`described` people. :param shown: (n, 52).
    """
    kernel = identity_kernel(who, who).astype(np.float64) * (shown.astype(np.float64) @ shown.T)
    ridge = penalty * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    scale = [float(np.sqrt((block**2).sum())) for block in outputs]
    joint = np.concatenate([block / s for block, s in zip(outputs, scale, strict=True)], 1).astype(np.float64)
    alpha = np.linalg.solve(kernel + ridge, joint)
    # The right singular vectors of the predictions, by way of their small side.
    predicted = kernel @ alpha
    values, vectors = np.linalg.eigh(predicted @ predicted.T)
    directions = vectors[:, -rank:].T @ predicted / np.sqrt(np.maximum(values[-rank:, None], 1e-12))
    edges = np.cumsum([0, *(block.shape[1] for block in outputs)])
    blocks = [directions[:, a:b] * s for a, b, s in zip(edges, edges[1:], scale, strict=False)]
    return alpha @ directions.T, blocks
