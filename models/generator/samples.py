"""What the corrector learns from: drawn faces beside what they should look like.

========= ====================================================== ===================================================
kind      drawn                                                  wanted
========= ====================================================== ===================================================
smile     a neutral photo in the state of the same person's      that smile, eyes on eyes
          real smile; or a smiling or open-mouthed portrait      the portrait
          brought to rest, in its own state
mouth     a portrait with its own open mouth painted over        the portrait
talk      a speaker's first frame in the state of a later one    the later frame
same      a neutral photo of the same people in a random state   the same picture, but for the mouth's inside
========= ====================================================== ===================================================

Without ``same`` the network learns smiles alone, and a blink tints the whole face. It must show the people who smile
elsewhere: where only other photos were to be left as they are, the network learnt to tell the two sets apart and did
nothing for one of them. Everything is stored as it lies in
the corrector's crop (:mod:`avatar.engines.corrector`).
"""

from __future__ import annotations

import csv
import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np

from avatar.core.geometry import mapped, similarity
from avatar.core.types import F32, U8, FaceState, Ns
from avatar.engines.corrector import CROP, EYE_CORNERS, crop
from avatar.engines.head import HeadEngine
from avatar.engines.head_mesh import TRACKED, TRACKED_LIPS
from avatar.engines.neutral import at_rest, needs_rest
from avatar.errors import PhotoError
from avatar.models import registry
from avatar.models.data.render import Factory, random_state
from avatar.models.expression import folders
from avatar.models.expression.faces import Eyes, state_of
from avatar.models.expression.identity import FaceNet
from avatar.portrait.basis import HeadBasis
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import LANDMARKS, OUTER_LIPS
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector
from avatar.portrait.onboard import onboard
from avatar.portrait.photo import read_photo

log = logging.getLogger(__name__)

KINDS = ("smile", "mouth", "talk", "same")
SIZE = 512
JITTERS = 3
"""Slightly different states for each real pair: a tracker is never exact."""
STATES = 6
"""Random states of each neutral photo."""
OPEN = 0.045
"""Gap of the lips, in eye distances, from which a portrait shows the inside of its mouth."""
EVERY = 8
"""One frame in so many of a speaker."""
_CORNERS_TRACKED = [TRACKED.index(i) for i in EYE_CORNERS]
_MARGIN = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair."""

    kind: int
    """Number in :data:`KINDS`."""
    person: int
    """:func:`key_of` whoever it shows."""
    portrait: U8
    """(128, 128, 3): the avatar at rest."""
    drawn: U8
    wanted: U8
    """(128, 128, 3)."""
    regions: U8
    """(128, 128): 0 outside, 1 face, 2 around mouth and eyes, 3 the mouth's inside."""
    relative: F32
    """(52,)."""
    photo: F32
    """(52,)."""


def key_of(person: str) -> int:
    """A number for a name."""
    return zlib.crc32(person.encode())


def regions_of(face: F32, contours: F32) -> U8:
    """:attr:`Sample.regions` of a face's outline (n, 2) and the 72 contour points, both in the crop."""

    def whole(points: F32) -> np.ndarray:
        return np.round(points).astype(np.int32)

    out = np.zeros((CROP, CROP), np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(whole(face)), 1)
    near = np.zeros_like(out)
    for part in (contours[:16], contours[16:32], contours[TRACKED_LIPS]):
        hull = cv2.convexHull(whole(part))
        cv2.fillConvexPoly(near, hull, 1)
    near = cv2.dilate(near, np.ones((11, 11), np.uint8))
    out[near > 0] = 2
    lips = np.zeros_like(out)
    cv2.fillConvexPoly(lips, cv2.convexHull(whole(contours[TRACKED_LIPS])), 1)
    out[cv2.dilate(lips, np.ones((2 * _MARGIN + 1,) * 2, np.uint8)) > 0] = 3
    return out


class Maker:
    """Makes samples of one avatar."""

    def __init__(self, bundle: AvatarBundle, person: str, weights: Path) -> None:
        self._factory = Factory(bundle, weights, SIZE)
        self.bundle, self._person = bundle, key_of(person)
        rest = self._factory.render(FaceState(Ns(0)))
        self._portrait = crop(rest.picture, rest.frame)
        _, landmarks = bundle.at_size(SIZE)
        self._outline = mapped(rest.frame, landmarks[:LANDMARKS, :2])

    def real(self, kind: str, state: FaceState, picture: U8, landmarks: F32) -> Sample:
        """``state`` beside the photo (h, w, 3) that it was read from; ``landmarks`` (478, 3) are the photo's."""
        made = self._factory.render(state)
        contours = mapped(made.frame, made.landmarks)
        corners = landmarks[list(EYE_CORNERS), :2].astype(np.float64)
        place = similarity(corners, contours[_CORNERS_TRACKED])
        shown = mapped(place, landmarks[:LANDMARKS, :2])
        lips = shown[list(OUTER_LIPS)]
        both = contours.copy()
        both[TRACKED_LIPS] = np.where(np.abs(lips - 64) > np.abs(both[TRACKED_LIPS] - 64), lips, both[TRACKED_LIPS])
        drawn, wanted = crop(made.picture, made.frame), crop(picture, place)
        regions = regions_of(shown, both)
        return self._sample(kind, drawn, exposed(wanted, drawn, regions > 0), regions, state.arkit)

    def same(self, state: FaceState) -> Sample:
        """A drawn face that is as it should be."""
        made = self._factory.render(state)
        drawn = crop(made.picture, made.frame)
        regions = regions_of(self._outline, mapped(made.frame, made.landmarks))
        return self._sample("same", drawn, drawn, regions, state.arkit)

    def _sample(self, kind: str, drawn: U8, wanted: U8, regions: U8, relative: F32) -> Sample:
        number = KINDS.index(kind)
        return Sample(number, self._person, self._portrait, drawn, wanted, regions, relative, self.bundle.coefficients)


def exposed(picture: U8, like: U8, where: np.ndarray) -> U8:
    """``picture`` with the mean colour of ``like`` inside the mask ``where``: two photos differ in exposure."""
    ratio = like[where].mean(0) / np.maximum(picture[where].mean(0), 1)
    return np.clip(picture * ratio + 0.5, 0, 255).astype(np.uint8)


class _Painted(HeadEngine):
    """Draws the inside of the mouth even where the photo shows one."""

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        super().__init__(bundle, size, weights)
        self._rest_gap = 0.0


def mouth_sample(bundle: AvatarBundle, person: str, weights: Path) -> Sample:
    """A portrait whose open mouth is painted over. The network is told what the photo shows, as if it had been asked
    for, and sees the painted picture as the portrait too, or it would copy the teeth from there."""
    engine = _Painted(bundle, SIZE, weights)
    rest = FaceState(Ns(0))
    frame = engine.face_frame(rest.head)
    drawn = crop(engine.render(rest), frame)
    photo, landmarks = bundle.at_size(SIZE)
    regions = regions_of(mapped(frame, landmarks[:LANDMARKS, :2]), mapped(frame, engine.contours))
    still = np.zeros_like(bundle.coefficients)
    return Sample(
        KINDS.index("mouth"), key_of(person), drawn, drawn, crop(photo, frame), regions,
        bundle.coefficients, still,
    )  # fmt: skip


def smiles(folder: Path, weights: Path, eyes: Eyes, seed: int = 0) -> Iterator[Sample]:
    """Real pairs of a folder of people, and random states of their neutral photos."""
    basis = HeadBasis.load(weights / "head_basis.npz")
    random = np.random.default_rng(seed)
    for person in folders.people(folder):
        try:
            rgb, _, _ = eyes.photo(person.neutral)
            bundle = onboard(rgb, "learnt", person.name, "licensed", eyes.detector)
            maker = Maker(bundle, person.name, weights)
            yield from (maker.same(random_state(random)) for _ in range(STATES))
            if person.smile is None:
                continue
            picture, shown, _ = eyes.photo(person.smile)
            state = state_of(basis, bundle, shown)
        except PhotoError as error:
            log.info("%s: %s", person.name, error)
            continue
        for k in range(JITTERS):
            yield maker.real("smile", jittered(state, random) if k else state, picture, shown.landmarks)


def jittered(state: FaceState, random: np.random.Generator) -> FaceState:
    """``state`` a little stronger or weaker, each coefficient for itself."""
    factor = random.uniform(0.93, 1.05) * random.normal(1, 0.05, len(state.arkit))
    arkit = np.clip(state.arkit * factor, 0, 1).astype(np.float32)
    return FaceState(state.pts, arkit, state.head, state.gaze)


def portraits(folder: Path, weights: Path, detector: LandmarkDetector, seed: int = 0) -> Iterator[Sample]:
    """The smiles and the open mouths among the portraits."""
    basis = HeadBasis.load(weights / "head_basis.npz")
    random = np.random.default_rng(seed)
    for path in folders.portraits(folder):
        try:
            bundle = onboard(read_photo(path), "learnt", path.stem, "synthetic", detector)
        except PhotoError:
            continue
        if needs_rest(bundle) and (resting := at_rest(bundle, weights, detector)) is not None:
            maker = Maker(replace(resting, smile=None), path.stem, weights)
            shown = DetectedFace(bundle.landmarks, bundle.coefficients, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0))
            state = state_of(basis, maker.bundle, shown)
            for k in range(JITTERS):
                each = jittered(state, random) if k else state
                yield maker.real("smile", each, bundle.portrait, bundle.landmarks)
        points = bundle.landmarks[:, :2]
        gap = np.hypot(*(points[13] - points[14])) / np.hypot(*(points[33] - points[263]))
        if gap > OPEN:
            yield mouth_sample(bundle, path.stem, weights)


def talk(folder: Path, weights: Path, eyes: Eyes) -> Iterator[Sample]:
    """Frames of a speaker (``*.mp4`` with an ``index.csv`` that names them under ``video``)."""
    basis = HeadBasis.load(weights / "head_basis.npz")
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        videos = [folder / row["video"] for row in csv.DictReader(file)]
    for video in videos:
        frames = list(_frames(video))[::EVERY]
        found = [(frame, f[0]) for frame in frames if (f := eyes.detector.detect(frame))]
        if not found:
            continue
        # The stillest face is the avatar.
        first, _ = min(found, key=lambda f: float(f[1].coefficients.sum()))
        try:
            maker = Maker(onboard(first, "learnt", video.stem, "licensed", eyes.detector), "speaker", weights)
        except PhotoError as error:
            log.info("%s: %s", video.name, error)
            continue
        for frame, face in found:
            if frame is not first:
                yield maker.real("talk", state_of(basis, maker.bundle, face), frame, face.landmarks)


def _frames(video: Path) -> Iterator[U8]:
    capture = cv2.VideoCapture(str(video))
    while True:
        ok, frame = capture.read()
        if not ok:
            capture.release()
            return
        yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)


def make(data: Path, target: Path, weights: Path) -> None:
    """All samples of the bundle ``data`` into ``target`` (.npz)."""
    from avatar.parts import LANDMARKER

    cv2.setNumThreads(1)
    with LandmarkDetector(registry.path(LANDMARKER)) as detector:
        eyes = Eyes(detector, FaceNet())
        made: list[Sample] = []
        for name, source in (
            ("london", smiles(data / "faces" / "london", weights, eyes)),
            ("talking", talk(data / "talking" / "obama", weights, eyes)),
            ("t2i", portraits(data / "faces" / "t2i", weights, detector)),
        ):
            made += source
            log.info("%s: %d samples so far", name, len(made))
    part = target.with_suffix(".part.npz")
    np.savez(part, allow_pickle=False, **stacked(made))
    part.replace(target)


def stacked(samples: Iterable[Sample]) -> dict[str, np.ndarray]:
    """One array for each field."""
    every = list(samples)
    return {field.name: np.stack([np.asarray(getattr(s, field.name)) for s in every]) for field in fields(Sample)}
