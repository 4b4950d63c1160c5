"""Pairs of a neutral photo and a real smile, read once for all recipes of the laboratory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.core.types import F32, U8
from avatar.engines.head import shape_weights
from avatar.errors import PhotoError, UsageError
from avatar.models import registry
from avatar.models.disjoint import FOLDS, WITHOUT, fold_of, note, place
from avatar.models.expression import folders
from avatar.models.expression.align import align
from avatar.models.expression.faces import state_of
from avatar.parts import LANDMARKER
from avatar.portrait.basis import HeadBasis
from avatar.portrait.fit import LANDMARKS
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import find_face, onboard
from avatar.portrait.photo import read_photo

BASIS = "head_basis.npz"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """One photo."""

    picture: U8
    """(256, 256, 3), eyes on eyes (:mod:`avatar.models.expression.align`)."""
    points: F32
    """(468, 2) the landmarks in it."""
    landmarks: F32
    """(468, 3) the landmarks in the photo's own pixels."""


@dataclass(frozen=True)
class Example:
    """A person, neutral and smiling."""

    name: str
    neutral: Shown
    smile: Shown
    weights: Mapping[int | None, F32]
    """(52,) of the smile relative to the neutral photo, solved on the basis of everybody (None) and on those of the
    folds that have not seen this person: a basis that has seen somebody must not teach a file that may not know
    them."""


Learn = Callable[[Sequence[Example], int | None, HeadBasis], Mapping[str, np.ndarray]]
"""(people, fold, basis) -> the arrays of a file. ``fold`` is None for everybody."""


@lru_cache(maxsize=1)
def read(data: Path) -> tuple[Example, ...]:
    """Everybody in ``data/faces/london`` with both photos. Raises UsageError."""
    cv2.setNumThreads(1)
    bases = {fold: basis_of(fold) for fold in (None, *range(FOLDS))}
    made = []
    with LandmarkDetector(registry.path(LANDMARKER)) as detector:
        for person in folders.people(data / "faces" / "london"):
            if person.smile is None:
                continue
            try:
                made.append(_example(person.name, person.neutral, person.smile, bases, detector))
            except PhotoError as error:
                log.warning("%s is left out: %s", person.name, error)
    if len(made) < 2:
        raise UsageError(f"{data / 'faces' / 'london'}: it takes two people with a usable smile at least")
    return tuple(made)


def basis_of(fold: int | None) -> HeadBasis:
    """The head that has not seen the people of ``fold``; the shipped one for None."""
    folder = registry.weights_dir() if fold is None else registry.weights_dir() / WITHOUT / str(fold)
    return HeadBasis.load(folder / BASIS, subdivide=False)


def _example(
    name: str, neutral: Path, smile: Path, bases: Mapping[int | None, HeadBasis], detector: LandmarkDetector
) -> Example:
    rgb, laughs = read_photo(neutral), read_photo(smile)
    face, shown = find_face(rgb, detector), find_face(laughs, detector)
    bundle = onboard(rgb, "learnt", name, "licensed", detector)
    weights = {
        fold: shape_weights(state_of(basis, bundle, shown))[0]
        for fold, basis in bases.items()
        if fold is None or fold_of(name) != fold
    }
    both = [Shown(*align(picture, found.landmarks), np.asarray(found.landmarks[:LANDMARKS], np.float32))
            for picture, found in ((rgb, face), (laughs, shown))]  # fmt: skip
    return Example(name, both[0], both[1], weights)


def write(learn: Learn, data: Path, target: Path) -> dict[str, int]:
    """Learn from everybody into ``target``, and without the people of each fold into its siblings."""
    people = read(data)
    for fold in (None, *range(FOLDS)):
        known = [person for person in people if fold is None or fold_of(person.name) != fold]
        if len(known) < 2:
            continue  # so few that one fold holds everybody
        path = target if fold is None else place(target, fold)
        arrays: dict[str, Any] = dict(learn(known, fold, basis_of(fold)))
        np.savez_compressed(path, **arrays)
        if fold is not None:
            note(path, [person.name for person in people if fold_of(person.name) == fold])
    return {"people": len(people), "bytes": target.stat().st_size}
