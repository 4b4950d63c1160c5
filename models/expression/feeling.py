"""``avatar eval feeling``: an emotion as a viewer sees it. Clips are rendered twice to video files, with and without,
the files are read again, and MediaPipe measures every picture.

The difference between the two is what the emotion does to the face that speaks. It should point where the prototype
points (:data:`avatar.sync.expression.PROTOTYPES`), and lips that a sound closes should still be seen closed. Lips that
speak are left to speech (:data:`avatar.sync.blend.MOUTH_UNDER_SPEECH`), so brows, lids, cheeks, nose and the corners of
the mouth are judged.

MediaPipe's coefficients do not see every unit in drawn faces; for some its landmarks do (:func:`lengths`). A unit that
neither sees in the still face of the emotion cannot be judged in a speaking one: it is listed as unseen.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from avatar.config import Config, load
from avatar.core import facs
from avatar.core.types import SECOND, U8, EmotionLabel, FaceState, Ns, freeze
from avatar.errors import UsageError
from avatar.models.expression.sheet import contact_sheets, make_folder
from avatar.models.visemes.judge import held_out
from avatar.models.visemes.judge.held_out import Clip
from avatar.models.visemes.judge.metrics import closures
from avatar.models.visemes.judge.rendered import BOUND, MARGIN_S, TEXTS, gap_of, rest_of
from avatar.parts import detector, find_avatar, hears_emotion, make_engine
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector
from avatar.render import Input, render
from avatar.sync.expression import FELT, PROTOTYPES, emotion_face

SIZE, FPS = 512, 30
DEGREE = 0.8
"""Of an emotion that is told and not heard."""
SETTLED_S = 1.0
"""Pictures before this are not judged: the emotion is on its way."""
LEAST, LEAST_LENGTH = 0.02, 0.006
"""Change of a coefficient, and of a length in distances between the eyes, that counts as one."""
SHEET = 6
"""Pictures of a clip on a contact sheet."""
TARGETS = {"in_direction": 0.9, "nearest": 0.9, "closures_kept": 0.95}
SYNONYMS = {"joy": "happiness", "happy": "happiness", "sad": "sadness", "angry": "anger", "disgusted": "disgust",
            "afraid": "fear", "fearful": "fear", "surprised": "surprise"}  # fmt: skip
_MEASURED = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26)
_LENGTHS = (4, 5, 6, 7, 9, 15)
_EYES, _BROWS, _WINGS, _CORNERS = (133, 362), (107, 336), (64, 294), (61, 291)
_LIDS = ((159, 145), (386, 374))
_STAYING = {
    unit
    for unit, names in facs.AU_TO_ARKIT.items()
    if all(facs.INDEX[n] in facs.UPPER_INDICES or n.startswith(("mouthSmile", "mouthFrown")) for n in names)
}
"""Units that an emotion keeps while the face speaks."""
_SCALE = np.array([1.0] * len(_MEASURED) + [LEAST / LEAST_LENGTH] * len(_LENGTHS))
"""Makes lengths comparable with coefficients."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Job:
    """Something said with an emotion."""

    name: str
    emotion: EmotionLabel
    sound: Path | None
    """None: :attr:`said` is spoken."""
    said: Clip | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """A rendered file as MediaPipe sees it."""

    times: np.ndarray
    """(n,) seconds."""
    units: np.ndarray
    """(n, len(_MEASURED) + len(_LENGTHS)) action units by coefficients and by lengths, nan = no face."""
    gap: np.ndarray
    """(n,) between the inner lips, less that of the closed mouth, in widths of the mouth."""
    pictures: list[U8]


def feeling(
    weights: Path,
    data: Path | None = None,
    avatar: str = "lin",
    engine: str = "head",
    limit: int | None = None,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The keys ``in_direction``, ``nearest``, ``closures_kept`` and ``clips``.

    :param data: a folder with ``index.csv`` (``file,speaker,emotion``): recordings with an emotion, which is heard, or
        told where this installation cannot hear any. None: texts, with every emotion told. :param limit: so many
        clips at most. :param keep: a folder for the clips and contact sheets.

    Raises UsageError where the folder holds no such recordings, ModelFileError where MediaPipe's model was not fetched.
    """
    hears = hears_emotion()
    jobs, other = recordings(data) if data is not None else (texts(), {})
    jobs = jobs[:limit]
    clips = []
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_folder(folder)
        finder = stack.enter_context(detector())
        still = still_units(finder, avatar, engine)
        for number, job in enumerate(jobs):
            progress(number, len(jobs))
            told = f"{job.emotion}" if job.sound is None or not hears else "auto"
            seen = {}
            for name, emotion in (("off", "off"), ("felt", told)):
                file = folder / f"{number:02d}-{job.name}-{job.emotion}-{name}.mp4"
                render(_config(avatar, engine, emotion), _input(job), file)
                seen[name] = watch(finder, file, rest_of(finder, avatar), keep is not None)
            clips.append({"name": job.name, "emotion": job.emotion, "by": told} | judge(job, seen, still))
            if keep is not None:
                _sheet(f"{number:02d}-{job.name}-{job.emotion}", seen, keep)
        progress(len(jobs), len(jobs))
    result: dict[str, Any] = {"task": "feeling", "avatar": avatar, "engine": engine, **_pool(clips), "clips": clips}
    result["other_labels"] = other
    result["missed_targets"] = [
        f"{key}: {result[key]}, wanted {least}" for key, least in TARGETS.items() if (result[key] or 0) < least
    ]
    return result


# --- what is said ---------------------------------------------------------------------------------------------------


def texts() -> list[Job]:
    """A sentence full of p, b and m with every emotion."""
    clips = held_out.said(TEXTS)
    return [Job(f"text{i % len(clips)}", label, None, clips[i % len(clips)]) for i, label in enumerate(FELT)]


def recordings(data: Path) -> tuple[list[Job], dict[str, int]]:
    """Recordings of a folder, one of each emotion and speaker in turn, and how many have labels that are none of ours.
    Raises UsageError."""
    index = data / "index.csv"
    if not index.is_file():
        raise UsageError(f"--data {data}: no index.csv in it; it lists file,speaker,emotion")
    jobs: dict[tuple[str, str], list[Job]] = {}
    other: dict[str, int] = {}
    with index.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            label = SYNONYMS.get(row.get("emotion", ""), row.get("emotion", ""))
            if label not in FELT:
                other[label] = other.get(label, 0) + 1
                continue
            path = data / row["file"]
            if not path.is_file():
                raise UsageError(f"{index}: {row['file']} is not there")
            key = label, row.get("speaker", "")
            jobs.setdefault(key, []).append(Job(path.stem, cast(EmotionLabel, label), path))
    if not jobs:
        raise UsageError(f"{index}: no recording of {', '.join(FELT)}")
    turns = max(map(len, jobs.values()))
    keys = sorted(jobs, key=lambda key: (key[1], FELT.index(cast(EmotionLabel, key[0]))))
    return [jobs[key][turn] for turn in range(turns) for key in keys if turn < len(jobs[key])], other


def _config(avatar: str, engine: str, emotion: str) -> Config:
    settings = [f'avatar.name="{avatar}"', f'avatar.engine="{engine}"', f"avatar.fps={FPS}", f"avatar.size={SIZE}"]
    degree = 1.0 if emotion == "auto" else DEGREE
    return load(None, [*settings, f'face.emotion="{emotion}"', f"face.intensity={degree}"]).config


def _input(job: Job) -> Input:
    return Input(audio=job.sound) if job.said is None else Input(text=job.said.name)


# --- what is seen ---------------------------------------------------------------------------------------------------


def lengths(face: DetectedFace) -> np.ndarray:
    """(len(_LENGTHS),) what units do to landmarks, in distances between the eyes, larger = more of the unit.

    Brows drawn together (4), eyes widened (5) and narrowed (6, 7), wings of the nose towards the eyes (9), corners of
    the mouth away from them (15).
    """
    points = face.landmarks[:, :2].astype(np.float64)
    across = points[_EYES[1]] - points[_EYES[0]]
    down = np.array([-across[1], across[0]]) / np.hypot(*across)
    middle = points[list(_EYES)].mean(axis=0)

    def below(pair: tuple[int, int]) -> float:
        return float(np.mean((points[list(pair)] - middle) @ down))

    opened = float(np.mean([np.hypot(*(points[a] - points[b])) for a, b in _LIDS]))
    drawn = float(np.hypot(*(points[_BROWS[1]] - points[_BROWS[0]])))
    return np.array([-drawn, opened, -opened, -opened, -below(_WINGS), below(_CORNERS)]) / face.eye_distance


def _units(face: DetectedFace) -> np.ndarray:
    found = facs.to_action_units(face.coefficients)
    return np.concatenate([[found[unit] for unit in _MEASURED], lengths(face)])


def _columns(unit: int) -> list[tuple[int, float]]:
    """Where a unit is measured, the surer first, and the least change that counts there."""
    out = [(len(_MEASURED) + _LENGTHS.index(unit), LEAST_LENGTH)] if unit in _LENGTHS else []
    return [*out, (_MEASURED.index(unit), LEAST)]


def still_units(finder: LandmarkDetector, avatar: str, engine: str) -> dict[str, np.ndarray]:
    """What MediaPipe sees of every emotion's still face beyond the neutral one: label -> as :attr:`Watched.units`."""
    drawn = make_engine(engine, find_avatar(avatar), SIZE)

    def seen(label: EmotionLabel) -> np.ndarray:
        pixels = drawn.render(FaceState(Ns(0), freeze(emotion_face(label, DEGREE))))
        return _units(finder.detect(pixels)[0])

    rest = seen("neutral")
    return {label: seen(label) - rest for label in FELT}


def watch(finder: LandmarkDetector, file: Path, rest: tuple[float, float, float], pictures: bool = False) -> Watched:
    """Read a video and measure every picture by itself."""
    from avatar.streams.sources.media_file import read_video

    times, units, gaps, kept = [], [], [], []
    for frame in read_video(file):
        faces = finder.detect(frame.pixels)
        times.append(frame.pts / SECOND)
        units.append(_units(faces[0]) if faces else np.full(len(_MEASURED) + len(_LENGTHS), np.nan))
        gaps.append(gap_of(faces[0], rest) if faces else np.nan)
        if pictures:
            kept.append(frame.pixels)
    return Watched(np.array(times), np.array(units), np.array(gaps), kept)


def judge(job: Job, seen: dict[str, Watched], still: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the emotion does to the clip."""
    off, felt = seen["off"], seen["felt"]
    n = min(len(off.times), len(felt.times))
    settled = off.times[:n] >= SETTLED_S
    change = np.nanmean((felt.units[:n] - off.units[:n])[settled], axis=0)
    own = still[job.emotion]
    asked = [unit for unit, degree in PROTOTYPES[job.emotion].items() if degree >= 0.3 and unit in _STAYING]
    visible: dict[int, tuple[int, float]] = {}
    for unit in asked:
        seeing = [(column, least) for column, least in _columns(unit) if own[column] >= least]
        if seeing:
            visible[unit] = seeing[0]
    right = [unit for unit, (column, least) in visible.items() if change[column] >= least]
    # Where the lips are is speech's.
    compared = [column for unit in _STAYING if unit in _MEASURED for column, _ in _columns(unit)]
    likeness = {label: _cosine((change * _SCALE)[compared], (face * _SCALE)[compared]) for label, face in still.items()}
    closed = _closures(job, off)
    shut = {name: [_shut(each, a, b) for a, b in closed] for name, each in seen.items()}
    both = sum(a and b for a, b in zip(shut["off"], shut["felt"], strict=True))
    return {
        "units": {str(unit): round(float(change[column]), 3) for unit, (column, _) in visible.items()},
        "lengths": [unit for unit, (column, _) in visible.items() if column >= len(_MEASURED)],
        "unseen": [u for u in asked if u not in visible],
        "right": len(right),
        "visible": len(visible),
        "nearest": max(likeness, key=likeness.__getitem__),
        "likeness": round(likeness[job.emotion], 3),
        "closures": sum(shut["off"]),
        "closures_kept": both,
        "without_face": int(np.isnan(felt.gap).sum()),
    }


def _closures(job: Job, off: Watched) -> Sequence[tuple[float, float]]:
    """Spans in which lips close: where the text says so, or else where they are seen shut without the emotion, having
    been open before."""
    if job.said is not None:
        return closures(job.said.truth)
    out, start = [], None
    opened = False
    for t, gap in zip(off.times, off.gap, strict=True):
        shut = bool(gap <= BOUND)
        if shut and start is None and opened:
            start = float(t)
        elif not shut and start is not None:
            out.append((start, float(t) - 1 / FPS))
            start = None
        opened = opened or gap > 2 * BOUND
    # What is shut for long is a pause.
    return [(a, b) for a, b in out if b - a < 0.25]


def _shut(seen: Watched, start: float, end: float) -> bool:
    inside = (seen.times >= start - MARGIN_S) & (seen.times <= end + MARGIN_S)
    gaps = seen.gap[inside]
    return bool(np.isfinite(gaps).any() and np.nanmin(gaps) <= BOUND)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(1e-9, float(np.linalg.norm(a) * np.linalg.norm(b))))


def _sheet(name: str, seen: dict[str, Watched], folder: Path) -> None:
    n = min(len(each.pictures) for each in seen.values())
    at = np.linspace(min(n - 1, FPS), n - 1, SHEET).astype(int)
    heads = [f"{i / FPS:.1f} s" for i in at]
    lines = [[each.pictures[i] for i in at] for each in seen.values()]
    contact_sheets(name, heads, [f"{key} {heads[0]}" for key in seen], lines, folder)


# --- figures --------------------------------------------------------------------------------------------------------


def _pool(clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def share(part: float, of: float) -> float | None:
        return round(part / of, 4) if of else None

    def total(key: str) -> int:
        return sum(clip[key] for clip in clips)

    return {
        "in_direction": share(total("right"), total("visible")),
        "nearest": share(sum(clip["nearest"] == clip["emotion"] for clip in clips), len(clips)),
        "closures_kept": share(total("closures_kept"), total("closures")),
        "closures": total("closures"),
        "without_face": total("without_face"),
    }


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes of the table."""
    rows = []
    for clip in result["clips"]:
        units = " ".join(f"{unit}:{change:+.2f}" for unit, change in clip["units"].items())
        kept = f"{clip['closures_kept']} of {clip['closures']}"
        unseen = " ".join(map(str, clip["unseen"]))
        rows.append([clip["name"], clip["emotion"], clip["by"], units, unseen, clip["nearest"], kept])
    heads = ["clip", "emotion", "by", "change of its units", "unseen", "nearest to", "closures kept"]
    notes = [f"{key} {result[key]}" for key in TARGETS] + [f"missed: {line}" for line in result["missed_targets"]]
    if result["other_labels"]:
        notes.append(f"labels that no face is asked for: {result['other_labels']}")
    return [("Emotions in the rendered video", heads, rows, notes)]
