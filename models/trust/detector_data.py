"""What the detector learns from and is judged on: our engines' unmarked drawings, what cameras and what others made.

``DIR`` is a folder with

- ``faces/london``: photos of people, an ``index.csv`` as in :mod:`avatar.models.expression.folders`;
- ``talking``: clips of one person, each with tracks in an ``npz`` of its name;
- ``video``, where it is there: recordings, each by a camera of its own (``NAME*.mp4`` up to a first ``_``);
- ``animation``, where it is there: films that nobody has filmed and we have not drawn;
- ``faces/t2i``, where it is there: portraits by other generators.

Pairs are as alike as can be: the photo of a person against drawings of that person from it; a clip of a person against
drawings of that person, made to move as in the clip. Everything carries its group (a person, a camera, an avatar):
whoever is judged has nothing of its group in what was learnt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np

from avatar import parts, plugins
from avatar.core.facs import ARKIT
from avatar.core.types import SECOND, U8, FaceState, Ns, Pose, freeze
from avatar.engines.choice import RANKED, speaking
from avatar.errors import AvatarError, UsageError
from avatar.models.expression.folders import people
from avatar.models.trust.pieces import Pieces
from avatar.models.trust.watermark import coded
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import onboard
from avatar.portrait.photo import read_photo
from avatar.trust.detector import features

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
SIZE, WINDOW = 512, 30
PEOPLE = 24
"""Whose photos are used."""
PORTRAITS = 40
"""So many of other generators."""
WINDOWS = 12
"""Seconds of each recording, spread over it."""
OTHERS = 4
"""Engines that draw each portrait besides the usual two, in turn, so that every engine meets some."""
ALONE = ("screen",)
"""Draws the same picture whoever it is: nothing that could be held out, so never learnt from."""
CAMERA = ("photograph", "video")
"""Sources that a camera has made."""
FOREIGN = ("animation", "other generator")
"""Sources that are neither a camera's nor ours: judged, never learnt from."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture or one second."""

    kind: str
    """still, clip."""
    source: str
    """One of CAMERA, of FOREIGN, or an engine's name."""
    group: str
    """Person, camera or avatar."""
    found: list[float]

    @property
    def ours(self) -> bool:
        return self.source not in (*CAMERA, *FOREIGN)

    @property
    def learnt(self) -> bool:
        return self.source not in (*FOREIGN, *ALONE)


def samples(data: Path, pieces: Pieces, progress: Progress = lambda done, of: None) -> list[Sample]:
    """All that there is time for. Raises UsageError where the folder does not hold what it takes."""
    cv2.setNumThreads(1)
    if not (data / "faces" / "london").is_dir() or not (data / "talking").is_dir():
        raise UsageError(f"{data}: the detector learns from the folders faces/london and talking in it")
    with parts.detector() as finder:
        work = list(_work(data, finder))
        made: list[Sample] = []
        for index, (name, measure) in enumerate(work):
            rows = pieces.of(name, partial(_rows, measure))
            made += [Sample(**row) for row in rows or ()]
            progress(index + 1, len(work))
    return made


def _rows(measure: Callable[[], Iterator[Sample]]) -> list[dict[str, Any]]:
    return [asdict(sample) for sample in measure()]


def _work(data: Path, finder: LandmarkDetector) -> Iterator[tuple[str, Callable[[], Iterator[Sample]]]]:
    """Pieces of the whole, by name."""
    both = [person for person in people(data / "faces" / "london") if person.smile is not None][:PEOPLE]
    for index, person in enumerate(both):
        assert person.smile is not None
        photos = [person.neutral, person.smile]
        yield f"still-{person.name}", partial(_stills, index, person.name, photos, finder)
    others = sorted((data / "faces" / "t2i").glob("*.jpg"))[:PORTRAITS]
    if others:
        yield "other-generators", partial(_others, others)
    clips = [path for path in sorted((data / "talking").rglob("*.mp4")) if path.with_suffix(".npz").is_file()]
    for index, path in enumerate(clips):
        yield f"talking-{path.stem}", partial(_talking, index, path, finder)
    for folder, source in (("video", "video"), ("animation", "animation")):
        for path in sorted((data / folder).glob("*.*")):
            yield f"{source}-{path.stem}", partial(_recorded, path, source)
    for index, entry in enumerate(entry for entry in parts.library().entries() if entry.builtin):
        yield f"avatar-{entry.name}", partial(_avatars, index, entry.name)


def _names(index: int) -> list[str]:
    """Which engines draw the portrait of this number: the usual ones, and some of the others in turn."""
    others = [name for name in plugins.names("engines") if name not in (*RANKED, *ALONE)]
    chosen = [others[(index * OTHERS + offset) % len(others)] for offset in range(OTHERS)]
    return [*RANKED, *ALONE[: int(index % 4 == 0)], *chosen]


def _drawn(index: int, bundle: AvatarBundle, states: list[FaceState]) -> Iterator[tuple[str, list[U8]]]:
    """Each engine's pictures of ``states``."""
    for name in _names(index):
        try:
            engine = parts.make_engine(name, bundle, SIZE)
            yield name, [engine.render(state) for state in states]
        except AvatarError as error:
            log.info("%s does not draw %s: %s", name, bundle.name, error)


def _jpeg(picture: U8, rng: np.random.Generator) -> U8:
    """As pictures are passed on: some size, some quality."""
    side = int(rng.choice([256, 384, 512]))
    small: U8 = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small[..., ::-1])
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 96))])[1]
    decoded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(decoded[..., ::-1])


def _of(kind: str, source: str, group: str, pictures: list[U8]) -> Sample:
    return Sample(kind, source, group, [float(value) for value in features(pictures)])


def _stills(index: int, name: str, photos: list[Path], finder: LandmarkDetector) -> Iterator[Sample]:
    """Photos of a person as the engines crop them, and drawings from the first."""
    rng = np.random.default_rng(100 + index)
    try:
        bundles = [onboard(read_photo(photo), "x", "x", "self", finder) for photo in photos]
    except AvatarError as error:
        log.info("%s left out: %s", name, error)
        return
    for bundle in bundles:
        photo = bundle.at_size(SIZE)[0]
        yield from (_of("still", "photograph", name, [_jpeg(photo, rng)]) for _ in range(2))
    states = [speaking(int(number) + 1)[-1] for number in rng.integers(5, 100, 2)]
    for engine, pictures in _drawn(index, bundles[0], states):
        yield from (_of("still", engine, name, [_jpeg(picture, rng)]) for picture in pictures)


def _others(paths: list[Path]) -> Iterator[Sample]:
    rng = np.random.default_rng(5)
    for path in paths:
        bgr = cv2.imread(str(path))
        if bgr is not None:
            picture = _jpeg(np.ascontiguousarray(bgr[..., ::-1]), rng)
            yield _of("still", "other generator", path.stem, [picture])


def read(path: Path) -> list[U8]:
    """The pictures of a clip, up to where it is torn."""
    pictures: list[U8] = []
    try:
        with av.open(str(path)) as clip:
            for frame in clip.decode(video=0):
                pictures.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    except av.error.FFmpegError as error:
        log.info("%s ends early: %s", path.name, error)
    return pictures


def _square(picture: U8) -> U8:
    """The middle, with even sides."""
    side = min(picture.shape[:2]) // 2 * 2
    y, x = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return np.ascontiguousarray(picture[y : y + side, x : x + side])


def _versions(pictures: list[U8], source: str, group: str, drawn: bool) -> Iterator[Sample]:
    """A second as a file holds it and as a call passes it on."""
    as_file = coded(pictures, "libx264") if drawn else pictures
    squares = [_square(picture) for picture in as_file]
    for seen in (as_file, coded(squares, "libvpx", min(SIZE // 2, len(squares[0])))):
        yield _of("clip", source, group, seen)


def _seconds(pictures: list[U8]) -> Iterator[list[U8]]:
    """Windows of a recording, spread over it."""
    count = len(pictures) // WINDOW
    for index in np.unique(np.linspace(0, count - 1, min(count, WINDOWS)).round().astype(int)) if count else ():
        yield pictures[index * WINDOW : (index + 1) * WINDOW]


def _states(tracks: Path, count: int) -> list[FaceState]:
    """The face of a clip's first pictures, as its tracks have it."""
    with np.load(tracks) as file:
        names = [str(name) for name in file["blendshape_names"]]
        shapes, angles = file["blendshapes"][:count].astype(np.float32), file["yaw_pitch_roll"][:count]
    columns = [names.index(name) if name in names else -1 for name in ARKIT]
    states = []
    for index, (row, (yaw, pitch, roll)) in enumerate(zip(shapes, angles, strict=True)):
        arkit = np.array([np.nan_to_num(row[c]) if c >= 0 else 0.0 for c in columns], np.float32).clip(0, 1)
        pose = Pose.degrees(*(float(np.nan_to_num(a)) for a in (yaw, pitch, roll)))
        states.append(FaceState(Ns(index * SECOND // 30), freeze(arkit), pose))
    return states


def _talking(index: int, path: Path, finder: LandmarkDetector) -> Iterator[Sample]:
    """A clip of a person, and drawings that move as they do."""
    pictures, group = read(path), f"talking/{path.parent.name}"
    for begin in range(0, len(pictures) - WINDOW + 1, WINDOW):
        yield from _versions(pictures[begin : begin + WINDOW], "video", group, drawn=False)
    try:
        bundle = onboard(pictures[0], "x", "x", "self", finder)
    except AvatarError as error:
        log.info("%s is not drawn: %s", path.name, error)
        return
    for engine, drawn in _drawn(index, bundle, _states(path.with_suffix(".npz"), WINDOW)):
        yield from _versions(drawn, engine, group, drawn=True)


def _recorded(path: Path, source: str) -> Iterator[Sample]:
    for window in _seconds(read(path)):
        yield from _versions(window, source, f"{source}/{path.stem.partition('_')[0]}", drawn=False)


def _avatars(index: int, name: str) -> Iterator[Sample]:
    for engine, drawn in _drawn(index + 2, parts.library().load(name), speaking(2 * WINDOW)[WINDOW:]):
        yield from _versions(drawn, engine, f"avatar/{name}", drawn=True)
