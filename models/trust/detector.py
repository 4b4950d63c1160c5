"""``avatar train detector`` and ``avatar eval detector``: our engines' unmarked output told from photographs and video.

``DIR`` is a folder with ``faces/london`` (photos of people, an ``index.csv`` as in
:mod:`avatar.models.expression.folders`) and ``talking`` (clips of people, each with tracks in an ``npz`` of its name).
Pairs are as alike as can be: the photo of a person against drawings of that person from it; a clip of a person against
drawings of that person, made to move as in the clip. Whoever is trained on is not tested on, but all real clips at hand
show one person.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from avatar import parts, plugins
from avatar.core.facs import ARKIT
from avatar.core.types import SECOND, U8, FaceState, Ns, Pose, freeze
from avatar.engines.base import Engine
from avatar.engines.choice import speaking
from avatar.errors import AvatarError, UsageError
from avatar.models.expression.folders import people
from avatar.models.trust.watermark import coded
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import onboard
from avatar.portrait.photo import read_photo
from avatar.trust.detector import FILE, Detector, Weights, features

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
SIZE, WINDOW = 512, 30
PEOPLE = 24
"""Whose photos are used: two of three train, the others test."""
RIDGE = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture or one second."""

    kind: str
    """still, clip."""
    source: str
    """photograph, video, or an engine's name."""
    test: bool
    found: np.ndarray

    @property
    def ours(self) -> bool:
        return self.source not in ("photograph", "video")


def _jpeg(picture: U8, rng: np.random.Generator) -> U8:
    """As pictures are passed on: some size, some quality."""
    side = int(rng.choice([256, 384, 512]))
    small: U8 = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small[..., ::-1])
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 96))])[1]
    decoded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(decoded[..., ::-1])


def _engines(bundle: AvatarBundle) -> Iterator[Engine]:
    for name in plugins.names("engines"):
        yield parts.make_engine(name, bundle, SIZE)


def _stills(folder: Path, rng: np.random.Generator, finder: LandmarkDetector) -> Iterator[Sample]:
    """Photos of people as the engines crop them, and drawings from them."""
    chosen = [person for person in people(folder) if person.smile is not None][:PEOPLE]
    for index, person in enumerate(chosen):
        test = index % 3 == 2
        try:
            assert person.smile is not None
            both = [onboard(read_photo(p), "x", "x", "self", finder) for p in (person.neutral, person.smile)]
        except AvatarError as error:
            log.info("%s left out: %s", person.name, error)
            continue
        for bundle in both:
            photo = bundle.at_size(SIZE)[0]
            yield from (Sample("still", "photograph", test, features([_jpeg(photo, rng)])) for _ in range(2))
        for engine in _engines(both[0]):
            for number in rng.integers(5, 100, 2):
                picture = engine.render(speaking(int(number) + 1)[-1])
                yield Sample("still", engine.name, test, features([_jpeg(picture, rng)]))


def _read(path: Path) -> list[U8]:
    with av.open(str(path)) as clip:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in clip.decode(video=0)]


def _versions(pictures: list[U8], source: str, test: bool, drawn: bool) -> Iterator[Sample]:
    """A second as a file holds it and as a call passes it on."""
    as_file = coded(pictures, "libx264") if drawn else pictures
    for seen in (as_file, coded(as_file, "libvpx", SIZE // 2)):
        yield Sample("clip", source, test, features(seen))


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


def _clips(folder: Path, finder: LandmarkDetector) -> Iterator[Sample]:
    """Clips of people, drawings that move as they do, and the shipped avatars."""
    paths = sorted(path for path in folder.rglob("*.mp4") if path.with_suffix(".npz").is_file())
    for index, path in enumerate(paths):
        test, pictures = index % 2 == 1, _read(path)
        for begin in range(0, len(pictures) - WINDOW + 1, WINDOW):
            yield from _versions(pictures[begin : begin + WINDOW], "video", test, drawn=False)
        try:
            bundle = onboard(pictures[0], "x", "x", "self", finder)
        except AvatarError as error:
            log.info("%s is not drawn: %s", path.name, error)
            continue
        for engine in _engines(bundle):
            drawn = [engine.render(state) for state in _states(path.with_suffix(".npz"), WINDOW)]
            yield from _versions(drawn, engine.name, test, drawn=True)
    shelf = parts.library()
    for index, entry in enumerate(entry for entry in shelf.entries() if entry.builtin):
        for engine in _engines(shelf.load(entry.name)):
            drawn = [engine.render(state) for state in speaking(2 * WINDOW)[WINDOW:]]
            yield from _versions(drawn, engine.name, index % 2 == 1, drawn=True)


def samples(data: Path, progress: Progress = lambda done, of: None) -> list[Sample]:
    """All of them. Raises UsageError where the folder does not hold what it takes."""
    cv2.setNumThreads(1)
    if not (data / "faces" / "london").is_dir() or not (data / "talking").is_dir():
        raise UsageError(f"{data}: the detector learns from the folders faces/london and talking in it")
    made: list[Sample] = []
    with parts.detector() as finder:
        for sample in (*_stills(data / "faces" / "london", np.random.default_rng(3), finder),):
            made.append(sample)
            progress(len(made), PEOPLE * 16)
        for sample in _clips(data / "talking", finder):
            made.append(sample)
            progress(len(made), PEOPLE * 16)
    return made


def fit(found: np.ndarray, ours: np.ndarray) -> Weights:
    """Logistic regression with a ridge, both classes of equal weight, by Newton's method."""
    mean, scale = found.mean(axis=0), found.std(axis=0) + 1e-6
    x = np.column_stack([(found - mean) / scale, np.ones(len(found))])
    share = np.where(ours, 0.5 / ours.mean(), 0.5 / (1 - ours.mean()))
    penalty = np.diag([RIDGE] * (x.shape[1] - 1) + [0.0])
    weight = np.zeros(x.shape[1])
    for _ in range(40):
        p = 1 / (1 + np.exp(-(x @ weight)))
        slope = x.T @ (share * (p - ours)) + penalty @ weight
        curve = (x * (share * p * (1 - p))[:, None]).T @ x + penalty + 1e-9 * np.eye(x.shape[1])
        step = np.linalg.solve(curve, slope)
        weight -= step
        if np.abs(step).max() < 1e-8:
            break
    return Weights(mean, scale, weight[:-1], float(weight[-1]))


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from the training half, write, and say how it does on the other."""
    made = samples(data)
    fitted: dict[str, Any] = {}
    for kind in ("still", "clip"):
        rows = [sample for sample in made if sample.kind == kind and not sample.test]
        weights = fit(np.stack([s.found for s in rows]), np.array([s.ours for s in rows]))
        for name in ("mean", "scale", "weight"):
            fitted[f"{kind}_{name}"] = getattr(weights, name).astype(np.float32)
        fitted[f"{kind}_bias"] = np.float32(weights.bias)
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, **fitted)
    return _judged(made, Detector(target))


def detector(weights: Path, data: Path | None = None, progress: Progress = lambda done, of: None) -> dict[str, Any]:
    """Error rates on whom nothing was learnt from."""
    if data is None:
        raise UsageError("eval detector: give the folder of faces and clips with --data DIR")
    return {"task": "detector", **_judged(samples(data, progress), Detector(weights / FILE))}


def _judged(made: list[Sample], judge: Detector) -> dict[str, Any]:
    """For each kind: area under the ROC, points of it, and errors at one half by source."""
    result: dict[str, Any] = {}
    for kind in ("still", "clip"):
        rows = [sample for sample in made if sample.kind == kind and sample.test]
        scores = np.array([judge.of[kind].score(sample.found) for sample in rows])
        ours = np.array([sample.ours for sample in rows])
        wins = (scores[ours][:, None] > scores[~ours]).mean() + 0.5 * (scores[ours][:, None] == scores[~ours]).mean()
        sources = {}
        for source in sorted({sample.source for sample in rows}):
            of = np.array([sample.source == source for sample in rows])
            wrong = (scores[of] >= 0.5) != ours[of]
            share = round(float(wrong.mean()), 4)
            sources[source] = {"count": int(of.sum()), "wrong": int(wrong.sum()), "share": share}
        roc = [
            {"false": f, "found": round(float((scores[ours] > np.quantile(scores[~ours], 1 - f)).mean()), 3)}
            for f in (0.0, 0.01, 0.05, 0.1, 0.2)
        ]
        result[kind] = {"auc": round(float(wins), 4), "roc": roc, "errors_at_half": sources}
    return result


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """For people."""
    made = []
    for kind in ("still", "clip"):
        sources, auc = result[kind]["errors_at_half"], result[kind]["auc"]
        rows = [[name, str(row["count"]), str(row["wrong"]), f"{row['share']:.1%}"] for name, row in sources.items()]
        roc = ", ".join(f"{point['found']:.2f} at {point['false']:.2f}" for point in result[kind]["roc"])
        notes = [f"found at false: {roc}"]
        made.append((f"{kind}: AUC {auc:.3f}", ["source", "held out", "wrong", ""], rows, notes))
    return made
