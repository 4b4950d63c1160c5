"""From photos to the file of fold maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.core.facs import INDEX
from avatar.core.types import F32, U8
from avatar.engines.head import HeadEngine, shape_weights
from avatar.engines.head_folds import FRAME, MeanFace, band, fold_weights, log_luminance, log_ratio
from avatar.errors import PhotoError, UsageError
from avatar.models import registry
from avatar.models.disjoint import FOLDS, fold_of, note, place
from avatar.models.expression import folders
from avatar.models.expression.align import align
from avatar.models.expression.evaluate import drawn
from avatar.models.expression.faces import RENDER_SIZE, Eyes, read_pair
from avatar.models.expression.identity import FaceNet
from avatar.models.folds import designed
from avatar.models.folds.mean_face import mean_face, skin_mask
from avatar.models.folds.ridge import symmetric_ridge
from avatar.parts import LANDMARKER
from avatar.portrait.basis import HeadBasis
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.photo import read_photo

LEARNT = ("smile", "squint", "upper_lip")
"""From pairs of a neutral photo and a real smile."""
_PAIR_BAND, _PORTRAIT_BAND = 20.0, 10.0
"""Coarsest structures that are learnt (sigma in pixels of the frame). Pairs differ in little but the expression, so
the cheeks' shading may be learnt from them; single portraits also differ in beards and make-up."""
_PAIR_PENALTY, _PORTRAIT_PENALTY = 0.02, 0.005
_PAIR_GAIN = 1.3
"""Makes up for shrinking, and for folds that blur where they do not lie alike in all faces. Of 0.7, 1.0, 1.3 and 1.6 it
is nearest to the real smiles of people who were not learnt from."""
_PORTRAIT_SHAPES = ("browDown", "browInnerUp", "browOuterUp", "eyeSquint", "eyeBlink", "mouthSmile", "mouthUpperUp",
                    "mouthShrugLower", "mouthFrown", "mouthPucker", "jawOpen")  # fmt: skip
"""What explains portraits, the first of which is kept: the others only take what is theirs."""
_FRONTAL = 18.0
"""Degrees of yaw and pitch up to which a portrait counts."""
_GLABELLA = 0.8
"""Share of the learnt frown: portraits that frown have been frowning for years."""

Shown = tuple[U8, F32]
"""A picture and its landmarks."""


@dataclass(frozen=True)
class Smile:
    """A real smile and what the engine makes of the neutral photo."""

    name: str
    neutral: F32
    """(468, 2) aligned landmarks."""
    real: Shown
    drawn: Shown
    weights: F32
    """(52,) of the shapes that were drawn."""


@dataclass(frozen=True)
class Portrait:
    """One portrait with its own expression."""

    name: str
    shown: Shown
    coefficients: F32
    """(52,) MediaPipe's."""


class _Plain(HeadEngine):
    """Draws no folds: they are to be learnt."""

    folds = False


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from the folders ``faces/london`` (people) and ``faces/t2i`` (portraits) of ``data``."""
    cv2.setNumThreads(1)
    with LandmarkDetector(registry.path(LANDMARKER)) as detector:
        smiles = read_smiles(data / "faces" / "london", detector)
        portraits = read_portraits(data / "faces" / "t2i", detector)
    return write(smiles, portraits, target)


def read_smiles(folder: Path, detector: LandmarkDetector) -> list[Smile]:
    """Everybody with both photos, drawn without folds."""
    basis = HeadBasis.load(registry.weights_dir() / "head_basis.npz")
    eyes = Eyes(detector, FaceNet())
    made = []
    for person in folders.people(folder):
        if person.smile is None:
            continue
        try:
            pair = read_pair(person.name, person.neutral, person.smile, basis, eyes)
        except PhotoError:
            continue
        face = drawn(_Plain(pair.bundle, RENDER_SIZE, registry.weights_dir()), pair, eyes).face
        real = pair.smile.pixels, pair.smile.points
        weights = shape_weights(pair.state)[0]
        made.append(Smile(pair.name, pair.neutral.points, real, (face.pixels, face.points), weights))
    return made


def read_portraits(folder: Path, detector: LandmarkDetector) -> list[Portrait]:
    """Those that look at the camera."""
    made = []
    for path in folders.portraits(folder):
        rgb = read_photo(path)
        found = detector.detect(rgb)
        if found and max(abs(found[0].yaw), abs(found[0].pitch)) < _FRONTAL:
            made.append(Portrait(path.stem, align(rgb, found[0].landmarks), found[0].coefficients))
    return made


def write(smiles: Sequence[Smile], portraits: Sequence[Portrait], target: Path) -> dict[str, Any]:
    """The maps of everybody, and those without the people of each fold (:mod:`avatar.models.disjoint`)."""
    if len(smiles) < 2 or len(portraits) < 2:
        raise UsageError("train folds: it takes two people with a smile and two portraits at least")
    face = mean_face([smile.neutral for smile in smiles])
    ratios = np.stack([log_ratio(face, smile.drawn, smile.real) for smile in smiles])
    tones = np.stack([log_luminance(face, *portrait.shown) for portrait in portraits])
    for fold in (None, *range(FOLDS)):
        people = [i for i, smile in enumerate(smiles) if fold is None or fold_of(smile.name) != fold]
        pictures = [i for i, portrait in enumerate(portraits) if fold is None or fold_of(portrait.name) != fold]
        if not people or not pictures:
            continue  # so few that one fold holds everybody
        known, seen = [smiles[i] for i in people], [portraits[i] for i in pictures]
        maps = learn(face, ratios[people], known, tones[pictures], seen)
        path = target if fold is None else place(target, fold)
        save(path, face, maps)
        if fold is not None:
            names = [smile.name for smile in smiles] + [portrait.name for portrait in portraits]
            note(path, [name for name in names if fold_of(name) == fold])
    return {"people": len(smiles), "portraits": len(portraits), "maps": len(maps), "bytes": target.stat().st_size}


def save(path: Path, face: MeanFace, maps: Mapping[str, F32]) -> None:
    """What :class:`avatar.engines.head_folds.FoldMaps` loads."""
    stack = np.stack(list(maps.values()))
    scale = np.abs(stack).max((1, 2)) / 127
    np.savez_compressed(
        path,
        names=list(maps),
        maps=np.round(stack / scale[:, None, None]).astype(np.int8),
        scale=scale.astype(np.float32),
        lined=np.array([name not in LEARNT for name in maps]),
        skin=np.round(skin_mask(face) * 255).astype(np.uint8),
        points=face.points,
        triangles=face.triangles.astype(np.int16),
    )


def learn(
    face: MeanFace, ratios: F32, smiles: Sequence[Smile], tones: F32, portraits: Sequence[Portrait]
) -> dict[str, F32]:
    """Maps (h, w) by name."""
    inside, skin = face.inside, skin_mask(face)
    shown = np.stack([fold_weights(smile.weights, LEARNT) for smile in smiles])
    found = symmetric_ridge(band(ratios, inside, _PAIR_BAND), shown, _PAIR_PENALTY, mean=False)
    maps = dict(zip(LEARNT, found * skin * np.float32(_PAIR_GAIN), strict=True))
    shapes = np.stack([_sides(portrait.coefficients) for portrait in portraits])
    frown = symmetric_ridge(band(tones, inside, _PORTRAIT_BAND), shapes, _PORTRAIT_PENALTY, mean=True)[0]
    maps["brow_down"] = frown * skin * _glabella(face) * np.float32(_GLABELLA)
    inner, outer = designed.forehead(face)
    lines = {
        "brow_inner_up": inner,
        "brow_outer_up": outer,
        "crows_feet": designed.crows_feet(face),
        "sneer": designed.nose(face),
        "chin": designed.chin(face),
    }
    return maps | {name: line * skin for name, line in lines.items()}


def _sides(coefficients: F32) -> F32:
    """(k, 2) of :data:`_PORTRAIT_SHAPES` on the subject's right and left."""
    return np.array(
        [
            [coefficients[INDEX[shape if shape in INDEX else shape + side]] for side in ("Right", "Left")]
            for shape in _PORTRAIT_SHAPES
        ],
        np.float32,
    )


def _glabella(face: MeanFace) -> F32:
    """(h, w): 1 between the brows and a little above, softly 0 elsewhere: frowning men have moustaches."""
    x, y = face.points[[9, 8]].mean(0)
    half = 0.5 * float(face.points[285, 0] - face.points[55, 0])
    yy, xx = np.mgrid[: FRAME[0], : FRAME[1]]
    return np.exp(-(((xx - x) / (1.15 * half)) ** 4) - ((yy - y + 2) / (1.6 * half)) ** 4).astype(np.float32)
