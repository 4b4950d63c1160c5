"""Recipe of engine ``geometry``: two dozen kinds of real smiles, with their ratio images and mouths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32
from avatar.engines.classical.flat import packed
from avatar.models.folds.mean_face import mean_face
from avatar.models.laboratory.eri import ratio_image, skin
from avatar.models.laboratory.mapping import basis_shapes, motion, mouth
from avatar.models.laboratory.people import Example, write
from avatar.portrait.basis import HeadBasis

EXAMPLES, ALIKE = 24, 4
"""Examples, and how many people's smiles each is the mean of: no one person's skin or teeth are in the file."""


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from the folder ``faces/london`` of ``data``."""
    return write(learn, data, target)


def learn(people: Sequence[Example], fold: int | None, basis: HeadBasis) -> Mapping[str, np.ndarray]:
    """The arrays that :class:`avatar.engines.classical.geometry.GeometryEngine` loads."""
    mean, _ = basis_shapes(basis)
    moves = np.stack([motion(mean, person)[:, :2] for person in people]).astype(np.float32)
    flat = moves.reshape(len(people), -1)
    groups = [nearest(flat, i, ALIKE) for i in spread_out(flat, EXAMPLES)]
    face = mean_face([person.neutral.points for person in people])
    reach = skin(face)[..., None]
    every = [ratio_image(face, person.neutral, person.smile) * reach for person in people]
    ratios = np.stack([np.mean([every[i] for i in group], 0) for group in groups])
    mouths = [mouth([people[i] for i in group], light=1) for group in groups]
    return {
        **packed("moves", np.stack([moves[group].mean(0) for group in groups])),
        **packed("ratios", ratios.astype(np.float32)),
        **packed("mouths", np.stack([*(m for m, _ in mouths), mouth(people)[0]])),
        "has_mouth": np.array([seen for _, seen in mouths]),
    }


def nearest(vectors: F32, i: int, count: int) -> NDArray[np.intp]:
    """Numbers of the ``count`` rows nearest to row ``i``, itself the first."""
    return np.argsort(((vectors - vectors[i]) ** 2).sum(1), kind="stable")[:count]


def spread_out(vectors: F32, count: int) -> NDArray[np.intp]:
    """Numbers of ``count`` rows: the one furthest from rest, then always the one furthest from those (Gonzalez
    1985)."""
    distance = (vectors**2).sum(1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(vectors)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((vectors - vectors[chosen[-1]]) ** 2).sum(1))
    return np.array(chosen)
