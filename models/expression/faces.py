"""From photos to faces that can be compared, and from a face to what an engine draws of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from avatar.core import facs
from avatar.core.geometry import matrix_to_euler
from avatar.core.types import F32, U8, FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.base import Engine
from avatar.engines.head import SEEN_PITCH, SEEN_YAW
from avatar.errors import PhotoError
from avatar.models.expression import judge
from avatar.models.expression.align import align
from avatar.models.expression.identity import FaceNet
from avatar.portrait.basis import HeadBasis
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import fit_head
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector
from avatar.portrait.onboard import find_face, onboard
from avatar.portrait.photo import read_photo
from avatar.portrait.solve import relative_to, solve

RENDER_SIZE = 512
"""Pixels a side that engines draw at; in an onboarded portrait that is about 92 pixels between the eyes."""
_TIMED = 5
"""Drawings whose median is the time of one."""


@dataclass(frozen=True)
class Face:
    """A face in its place: :mod:`avatar.models.expression.align`."""

    pixels: U8
    """(256, 256, 3)."""
    points: F32
    """(468, 2)."""
    descriptor: F32
    """(128,): whose face it is."""

    @cached_property
    def features(self) -> F32:
        """What the judge of smiles looks at."""
        return judge.describe(self.pixels)


class Eyes:
    """Finds faces and says whose they are."""

    def __init__(self, detector: LandmarkDetector, net: FaceNet) -> None:
        self.detector, self.net = detector, net

    def photo(self, path: Path) -> tuple[U8, DetectedFace, Face]:
        """A photo, its face, and the face in its place. Raises PhotoError."""
        rgb = read_photo(path)
        found = find_face(rgb, self.detector)
        return rgb, found, self.place(rgb, found.landmarks)

    def drawn(self, rgb: U8) -> Face | None:
        """The face that an engine drew, found as in a photo; None where none is found."""
        found = self.detector.detect(rgb)
        return self.place(rgb, found[0].landmarks) if found else None

    def place(self, rgb: U8, landmarks: F32) -> Face:
        pixels, points = align(rgb, landmarks)
        return Face(pixels, points, self.net.describe(pixels, points))


@dataclass(frozen=True)
class Pair:
    """A person with a neutral photo and a real smile."""

    name: str
    neutral: Face
    smile: Face
    bundle: AvatarBundle
    """The neutral photo as an avatar."""
    state: FaceState
    """The real smile relative to it."""


def read_pair(name: str, neutral: Path, smile: Path, basis: HeadBasis, eyes: Eyes) -> Pair:
    """Raises PhotoError that names the photo which cannot be used."""
    photo = neutral
    try:
        rgb, _, plain = eyes.photo(neutral)
        bundle = onboard(rgb, "judged", name, "licensed", eyes.detector)
        photo = smile
        _, shown, happy = eyes.photo(smile)
    except PhotoError as error:
        raise PhotoError(f"{photo.name}: {error}", error.code) from error
    return Pair(name, plain, happy, bundle, state_of(basis, bundle, shown))


def state_of(basis: HeadBasis, bundle: AvatarBundle, shown: DetectedFace) -> FaceState:
    """The state in which ``bundle`` looks like the same person's other photo."""
    fitted = fit_head(basis, bundle.landmarks, bundle.coefficients)
    yaw, pitch = np.subtract(facs.eye_look(shown.coefficients), facs.eye_look(bundle.coefficients))
    looks = np.zeros(len(facs.ARKIT), np.float32)
    facs.set_eye_look(looks, float(yaw), float(pitch))
    relative = relative_to(bundle.coefficients, shown.coefficients)
    solved = solve(basis, fitted, bundle.landmarks, shown.landmarks, relative, looks)
    turned, pitched, rolled = matrix_to_euler(solved.turn)
    return FaceState(
        Ns(0),
        freeze(solved.weights + looks),
        # Solved for the mesh; a state says how far a head is seen to turn.
        Pose.degrees(turned / SEEN_YAW, pitched / SEEN_PITCH, rolled),
        Gaze(float(yaw), float(pitch)),
    )


def draw(engine: Engine, state: FaceState) -> tuple[U8, float]:
    """The picture, and the median of the milliseconds of processor time that it takes: what else runs on the machine
    does not count."""
    taken = []
    for _ in range(_TIMED):
        begun = time.process_time()
        picture = engine.render(state)
        taken.append((time.process_time() - begun) * 1e3)
    return picture, float(np.median(taken))
