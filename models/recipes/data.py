"""What all recipes learn from: small drawn faces whose action units, expression, pose and landmarks are exact.

Portraits of people who do not exist (``faces/t2i``), those that rest and look into the camera, drawn by engine
``head`` in states of :data:`UNITS`. Drawn once and kept in the user's cache as bytes. People are split by their names
into those who are learnt from, those whom the judges learn from, and those whom everything is judged on.
"""

from __future__ import annotations

import csv
import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import platformdirs
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.types import F32, U8, FaceState, Ns, Pose, freeze
from avatar.engines.learned.face import EXPRESSIONS, LABELS, SIZE, UNITS, cut, halved, planes, units_of
from avatar.errors import PhotoError, UsageError
from avatar.models import registry
from avatar.models.data.render import Factory, Light, lit
from avatar.models.expression.generator import resting
from avatar.parts import LANDMARKER
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import onboard
from avatar.portrait.photo import read_photo

__all__ = ["EXPRESSIONS", "LABELS", "SIZE", "UNITS", "Faces", "alone", "cache", "faces", "part_of", "pixels", "planes"]

log = logging.getLogger(__name__)

NO_LABEL = -1
STRENGTHS = (0.35, 0.65, 1.0)
"""Of each expression, a picture each, a little more or less."""
NEUTRAL, RANDOM = 3, 18
"""Pictures of each person at rest, and in units drawn at random."""
ALONE = (0.25, 0.5, 0.75, 1.0)
"""Of each unit alone, a picture each: what the judges ask for."""
PEOPLE = 200
"""Portraits that are drawn, at most."""
VERSION = 2
"""Of the cache's layout and of what is drawn."""
_DRAWN = 256
_MOST_TURN = 12.0
"""Degrees that a portrait may look aside."""

Part = Literal["learn", "judge", "held"]
Progress = Callable[[int, int], None]
State = tuple[dict[int, float], int, float, float]
"""Units, label, intensity, and how much the head turns."""
States = Callable[[np.random.Generator], list[State]]


def part_of(person: str) -> Part:
    """Six in ten are learnt from, two are the judges', two are held out; by the name alone."""
    number = zlib.crc32(person.encode()) // 8 % 10
    return "held" if number < 2 else "judge" if number < 4 else "learn"


@dataclass(frozen=True)
class Faces:
    """Pictures with what is known of them; lines belong together."""

    pictures: U8
    """(n, 64, 64, 3)."""
    units: F32
    """(n, len(UNITS)) intensities in [0, 1], relative to the portrait at rest."""
    expression: NDArray[np.int64]
    """(n,) index into :data:`LABELS`, or :data:`NO_LABEL` for random units."""
    intensity: F32
    """(n,) of the expression, 0 to 1."""
    pose: F32
    """(n, 3) yaw, pitch, roll in degrees."""
    landmarks: F32
    """(n, 72, 2) the contours of :data:`avatar.engines.head_mesh.TRACKED`, in pixels."""
    person: NDArray[np.int64]
    """(n,) index into :attr:`names`."""
    names: NDArray[np.str_]
    """(p,) the portraits' file names; the same in every part."""
    glasses: NDArray[np.bool_]
    """(p,) who wears them."""

    def __len__(self) -> int:
        return len(self.pictures)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Faces:
        """Only the ``chosen`` lines."""
        whole = ("names", "glasses")
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name not in whole})

    def part(self, part: Part) -> Faces:
        """Only the people of one part."""
        there = np.array([part_of(str(name)) == part for name in self.names], bool)
        return self.where(there[self.person])

    def beside(self, other: Faces) -> Faces:
        """The lines of both, which are of the same people (:func:`faces` and :func:`alone`)."""
        whole = ("names", "glasses")
        lines = [f.name for f in fields(self) if f.name not in whole]
        return replace(self, **{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in lines})

    def labelled(self, label: str) -> Faces:
        """Only one expression."""
        return self.where(self.expression == LABELS.index(label))


def pixels(made: NDArray[np.floating]) -> U8:
    """The inverse of :func:`planes`."""
    return np.asarray(np.clip((made + 1) * 127.5 + 0.5, 0, 255), np.uint8).transpose(0, 2, 3, 1)


def cache() -> Path:
    """Where drawn faces and trainings are kept."""
    return Path(platformdirs.user_cache_dir("vultus")) / "recipes"


def faces(data: Path, progress: Progress = lambda done, of: None) -> Faces:
    """All pictures of :func:`states`; drawn where the cache has none (some minutes).

    :param data: the bundle, with ``faces/t2i``. Raises UsageError where it lacks that.
    """
    return _kept(data, "faces", states, progress)


def alone(data: Path, progress: Progress = lambda done, of: None) -> Faces:
    """The same people, at rest and in each unit alone at each of :data:`ALONE`; likewise."""
    return _kept(data, "alone", single_states, progress)


def _kept(data: Path, kind: str, wanted: States, progress: Progress) -> Faces:
    folder = data / "faces" / "t2i"
    if not (folder / "index.csv").is_file():
        raise UsageError(f"{folder} has no index.csv; give the data bundle with --data")
    key = zlib.crc32((folder / "index.csv").read_bytes())
    file = cache() / f"{kind}_{SIZE}_v{VERSION}_{key:08x}.npz"
    if not file.is_file():
        log.info("drawing faces into %s", file)
        made = draw(folder, progress, wanted=wanted)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.stem + ".part.npz")
        np.savez(part, **{f.name: getattr(made, f.name) for f in fields(made)})
        part.replace(file)
    return load(file)


def load(file: Path) -> Faces:
    """Faces that were kept. Raises UsageError where the file is none of ours."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            return Faces(**{f.name: kept[f.name] for f in fields(Faces)})
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{file} cannot be read; delete it, and it is drawn again") from error


def draw(folder: Path, progress: Progress, limit: int = PEOPLE, wanted: States | None = None) -> Faces:
    """The first ``limit`` usable portraits of ``folder``, each in all ``wanted`` states (:func:`states`).
    Deterministic."""
    people = [row["file"] for row in _rows(folder) if _straight(row)]
    made: list[list[np.ndarray]] = []
    names: list[str] = []
    glasses: list[bool] = []
    cv2.setNumThreads(1)
    finder = GlassesFinder(registry.weights_dir())
    with LandmarkDetector(registry.path(LANDMARKER)) as detector:
        for name in people:
            if len(names) == limit:
                break
            progress(len(names), min(limit, len(people)))
            try:
                bundle = onboard(read_photo(folder / name), "drawn", name, "synthetic", detector, glasses=finder)
            except PhotoError:
                continue
            if not resting(bundle):
                continue
            factory = Factory(bundle, registry.weights_dir(), _DRAWN)
            random = np.random.default_rng(zlib.crc32(name.encode()))
            made.append(_person(factory, random, len(names), wanted or states))
            names.append(name)
            glasses.append(bundle.glasses is not None)
    if not made:
        raise UsageError(f"{folder}: no portrait in it rests and looks into the camera")
    pictures, units, expression, intensity, pose, landmarks, person = map(np.concatenate, zip(*made, strict=True))
    known = np.array(names), np.array(glasses, bool)
    return Faces(pictures, units, expression, intensity, pose, landmarks, person, *known)


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _straight(row: Mapping[str, str]) -> bool:
    return abs(float(row["yaw"])) <= _MOST_TURN


def states(random: np.random.Generator) -> list[State]:
    """Units, label, intensity and how much the head turns, of each picture of one person. Expressions, and every second
    picture of random units, are seen from where the first picture at rest is: pairs of them differ in nothing else."""
    out: list[State] = [({}, 0, 0.0, 0.5 * i) for i in range(NEUTRAL)]
    for label, name in enumerate(LABELS[1:], 1):
        for strength in STRENGTHS:
            level = float(np.clip(strength + random.uniform(-0.15, 0.15), 0.1, 1))
            out.append(({unit: level * value for unit, value in EXPRESSIONS[name].items()}, label, level, 0.0))
    for number in range(RANDOM):
        chosen = random.permutation(len(UNITS))[: int(random.integers(1, 5))]
        out.append(({UNITS[i]: float(random.uniform(0.2, 1)) for i in chosen}, NO_LABEL, 0.0, number % 2))
    return out


def single_states(random: np.random.Generator) -> list[State]:
    """At rest, and each of :data:`UNITS` alone at each of :data:`ALONE`, from one place. Nothing is random."""
    return [({}, 0, 0.0, 0.0), *(({unit: level}, NO_LABEL, 0.0, 0.0) for unit in UNITS for level in ALONE)]


def _person(factory: Factory, random: np.random.Generator, number: int, wanted: States) -> list[np.ndarray]:
    into = halved(factory.engine.face_frame(Pose()))
    light = Light((random.uniform(0.8, 1.15) * random.uniform(0.95, 1.05, 3)).astype(np.float32),
                  random.normal(0, 0.15, 2).astype(np.float32))  # fmt: skip
    lines = []
    for units, label, level, turn in wanted(random):
        pose = np.clip(random.normal(0, (5.0, 3.5, 3.0)) * turn, -12, 12)
        state = FaceState(Ns(0), freeze(facs.from_action_units(units)), Pose.degrees(*(float(a) for a in pose)))
        shown = factory.render(state)
        at = np.asarray(shown.landmarks @ into[:, :2].T + into[:, 2], np.float32)
        lines.append((cut(lit(shown.picture, light), into), units_of(units), label, level, pose, at, number))
    kinds = (np.uint8, np.float32, np.int64, np.float32, np.float32, np.float32, np.int64)
    return [np.asarray(column, kind) for column, kind in zip(zip(*lines, strict=True), kinds, strict=True)]
