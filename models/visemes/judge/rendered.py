"""``avatar eval rendered``: lips as a viewer sees them. Clips are rendered by the engine to video files, the files are
read again, MediaPipe finds the lips in every picture, and these are compared with what is said.

Nothing of the engine's own parameters is used. A bilabial counts as seen where the gap between the inner lips comes
within :data:`BOUND` of that avatar's own closed mouth while p, b or m lasts, 40 ms more at either end. The correlation
is that of the gap with the loudness of the vowels; a picture counts at the moment it appears.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from avatar.config import Config, load
from avatar.core.types import SECOND, U8, FaceState
from avatar.errors import AvatarError
from avatar.models.visemes.judge import held_out, sheets
from avatar.models.visemes.judge.align import Aligner
from avatar.models.visemes.judge.held_out import Clip
from avatar.models.visemes.judge.metrics import HOPS, closures, correlation, peak, runs
from avatar.parts import IdleMotion, detector, find_avatar, library, make_listener, style
from avatar.pipeline import offline
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector
from avatar.render import Input, render
from avatar.streams.wire import state_to_line
from avatar.sync.synchronizer import Synchronizer

BOUND = 0.02
"""Widths of the mouth (1 mm of 50) by which lips that a viewer takes for closed may seem further apart than at rest."""
MARGIN_S = 0.04
TARGETS = {"closures_visible": 0.9, "correlation_peak_ms": 40.0}
TEXTS = (
    "Maybe Bob and Pamela put a purple balloon above the museum.",
    "My problem is simple: somebody broke the big blue lamp.",
)
_ESPEAK = ("en-us+m5", "en-us+f3")
_SIZE = 512
_UPPER, _LOWER = (82, 13, 312), (87, 14, 317)
"""The middle of the inner lips' edges in MediaPipe's mesh."""
_CORNERS = (61, 291)
_CHIN, _NOSE = 152, 2

Progress = Callable[[int, int], None]


Kind = Literal["live", "file", "text"]
"""How the engine gets what is said: as sound on air, as a sound file (which it may look ahead in), as a text."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is said by an avatar."""

    clip: Clip
    kind: Kind
    fps: int
    avatar: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What MediaPipe saw in a rendered file."""

    times: np.ndarray
    """(n,) seconds at which the pictures appear."""
    gap: np.ndarray
    """(n,) between the inner lips, less that of the avatar's closed mouth, in widths of its mouth; nan = no face."""
    jaw: np.ndarray
    """(n,) from nose to chin, in widths of the mouth."""
    pictures: list[U8]
    """Cut out around the mouth, 160 pixels wide; empty where nobody wants them."""


def rendered(
    weights: Path,
    corpus: Path | None = None,
    avatar: str | None = None,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The keys ``closures_visible``, ``correlation_peak_ms``, and both for ``inputs.{live,file,text}.{30,25}``.

    :param corpus: for Kokoro's and people's test voices. :param avatar: one for all clips; each in turn where None.
    :param keep: a folder for the clips, a contact sheet and a plot of each.

    Raises ModelFileError where MediaPipe's model was not fetched.
    """
    jobs = _jobs(corpus, [avatar] if avatar else [e.name for e in library().entries() if e.builtin and not e.error])
    of = len(jobs)
    clips: list[dict[str, Any]] = []
    sums: dict[tuple[str, int], list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        finder = stack.enter_context(detector())
        rest = {name: rest_of(finder, name) for name in {job.avatar for job in jobs}}
        for number, job in enumerate(jobs):
            progress(number, of)
            name = f"{number:02d}-{job.kind}-{job.fps}-{job.avatar}"
            seen = look(finder, _render(job, folder, name), rest[job.avatar], keep is not None)
            found = judge(job.clip, seen, job.fps)
            sums.setdefault((job.kind, job.fps), []).append(found)
            clips.append({"name": name, "said": job.clip.name, "avatar": job.avatar} | _public(found))
            if keep is not None:
                sheets.plot(job.clip, seen, BOUND, folder / f"{name}.png")
                sheets.contact_sheet(job.clip, seen, folder / f"{name}-lips.png")
        progress(of, of)
    every = [found for part in sums.values() for found in part]
    inputs: dict[str, dict[str, Any]] = {}
    for (kind, fps), part in sums.items():
        inputs.setdefault(kind, {})[str(fps)] = _pool(part)
    result = {"task": "rendered", **_pool(every), "bound": BOUND, "inputs": inputs, "clips": clips}
    result["missed_targets"] = _missed(result)
    return result


# --- what is said ---------------------------------------------------------------------------------------------------


def _jobs(corpus: Path | None, avatars: Sequence[str]) -> list[Job]:
    """Voices that training never heard, and texts."""
    clips: list[Clip] = [*held_out.spoken(_ESPEAK), *held_out.demo_clips(1)]
    sources: list[Callable[[], Sequence[Clip]]] = [lambda: held_out.librivox_clips(Aligner())[3:5]]
    if corpus is not None:
        sources += [lambda: held_out.kokoro_clips(corpus, 1), lambda: held_out.corpus_people(corpus, 8)]
    for source in sources:
        try:
            clips += source()
        except AvatarError:  # not installed, or not in this corpus: the others do
            continue
    jobs = [Job(clip, "live", 30) for clip in clips] + [Job(clip, "file", 30) for clip in clips]
    jobs += [Job(clip, "file" if i % 2 else "live", 25) for i, clip in enumerate(clips)]
    jobs += [Job(clip, "text", fps) for clip in held_out.said(TEXTS) for fps in (30, 25)]
    return [replace(job, avatar=avatars[i % len(avatars)]) for i, job in enumerate(jobs)]


def _config(avatar: str, fps: int) -> Config:
    return load(None, [f'avatar.name="{avatar}"', f"avatar.fps={fps}", f"avatar.size={_SIZE}"]).config


def _render(job: Job, folder: Path, name: str) -> Path:
    """The rendered file; of a live input without its sound."""
    from avatar.models.data.corpus import write_flac

    out = folder / f"{name}.mp4"
    config = _config(job.avatar, job.fps)
    match job.kind:
        case "text":
            render(config, Input(text=job.clip.name), out)
        case "file":
            sound = folder / f"{name}.flac"
            write_flac(job.clip.samples, sound, job.clip.rate)
            render(config, Input(audio=sound), out)
            sound.unlink()
        case "live":
            states = folder / f"{name}.jsonl"
            states.write_text("\n".join(map(state_to_line, _live_states(config, job.clip))), encoding="utf-8")
            render(config, Input(states=states), out)
            states.unlink()
    return out


def _live_states(config: Config, clip: Clip) -> Iterator[FaceState]:
    """What the face does on air, one state a picture: ``avatar render`` itself would look further ahead."""
    listener = make_listener(config)
    count = offline.frame_count(clip.seconds, config.avatar.fps)
    sound = offline.chunks(clip.samples, clip.rate)
    idle, synchronizer = IdleMotion(config.face.seed), Synchronizer(style(config), config.face.seed)
    return offline.states(sound, count, config.avatar.fps, listener, listener.latency, idle, synchronizer)


# --- what is seen ---------------------------------------------------------------------------------------------------


def rest_of(finder: LandmarkDetector, avatar: str) -> tuple[float, float, float]:
    """Gap (pixels), width of the mouth and distance of the eyes of the avatar's portrait, where the mouth is shut."""
    import cv2

    portrait = cv2.resize(find_avatar(avatar).portrait, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    face = finder.detect(portrait)[0]
    return _gap(face), _distance(face, *_CORNERS), face.eye_distance


def _gap(face: DetectedFace) -> float:
    points = face.landmarks
    return float(np.mean([points[low, 1] - points[up, 1] for up, low in zip(_UPPER, _LOWER, strict=True)]))


def _distance(face: DetectedFace, a: int, b: int) -> float:
    return float(np.hypot(*(face.landmarks[a, :2] - face.landmarks[b, :2])))


def gap_of(face: DetectedFace, rest: tuple[float, float, float]) -> float:
    """Between the inner lips, less that of the mouth at ``rest`` (:func:`rest_of`), in widths of the mouth."""
    closed, width, eyes = rest
    nearer = face.eye_distance / eyes  # a head that comes nearer has wider gaps
    return (_gap(face) / nearer - closed) / width


def look(finder: LandmarkDetector, file: Path, rest: tuple[float, float, float], pictures: bool = False) -> Seen:
    """Read a video and find the lips in every picture, each by itself, so that nothing is smoothed over time."""
    from avatar.streams.sources.media_file import read_video

    _, width, eyes = rest
    times, gaps, jaws, cut = [], [], [], []
    for frame in read_video(file):
        faces = finder.detect(frame.pixels)
        times.append(frame.pts / SECOND)
        if not faces:
            gaps.append(np.nan)
            jaws.append(np.nan)
        else:
            face = faces[0]
            gaps.append(gap_of(face, rest))
            jaws.append(_distance(face, _CHIN, _NOSE) / (face.eye_distance / eyes) / width)
        if pictures:
            cut.append(sheets.mouth_of(frame.pixels, faces[0].landmarks if faces else None))
    return Seen(np.array(times), np.array(gaps), np.array(jaws), cut)


def judge(clip: Clip, seen: Seen, fps: int) -> dict[str, Any]:
    """One clip: which closures are seen, which vowels look like closures, and when the mouth opens."""
    truth = clip.truth
    bilabials = closures(truth)
    shut = [_shut(seen, a, b) for a, b in bilabials]
    # The same question asked of vowels says how much of the answer is chance.
    vowels = [(a / HOPS, b / HOPS) for a, b in runs((truth.energy > 0) & truth.trusted, shortest=6)]
    alike = [_shut(seen, (a + b) / 2, (a + b) / 2, 0.5 / fps) for a, b in vowels]
    at = np.arange(len(truth.energy)) / HOPS
    ok = np.isfinite(seen.gap)
    opened = np.interp(at, seen.times[ok], seen.gap[ok]) if ok.any() else np.zeros(len(at))
    dropped = np.interp(at, seen.times[ok], seen.jaw[ok]) if ok.any() else np.zeros(len(at))
    return {
        "closures": len(bilabials),
        "seen": sum(shut),
        "vowels": len(vowels),
        "vowels_shut": sum(alike),
        "pictures": len(seen.times),
        "without_face": int((~ok).sum()),
        "lips": correlation(opened, truth.energy),
        "jaw": correlation(dropped, truth.energy),
        "widest": round(float(np.nanpercentile(seen.gap, 98)), 3) if ok.any() else None,
    }


def _shut(seen: Seen, start: float, end: float, margin: float = MARGIN_S) -> bool:
    """Whether lips that touch are seen within ``margin`` seconds of a span."""
    inside = (seen.times >= start - margin) & (seen.times <= end + margin)
    gaps = seen.gap[inside]
    return bool(np.isfinite(gaps).any() and np.nanmin(gaps) <= BOUND)


# --- figures --------------------------------------------------------------------------------------------------------


def _milliseconds(sums: np.ndarray) -> float | None:
    lag, strength = peak(sums)
    return round(1000 / HOPS * lag, 1) if np.isfinite(lag) and strength > 0 else None


def _pool(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def total(key: str) -> int:
        return sum(part[key] for part in parts)

    lips = np.sum([part["lips"] for part in parts], axis=0)
    return {
        "closures_visible": round(total("seen") / max(1, total("closures")), 4),
        "correlation_peak_ms": _milliseconds(lips),
        "correlation": round(peak(lips)[1], 3),
        "jaw_peak_ms": _milliseconds(np.sum([part["jaw"] for part in parts], axis=0)),
        "vowels_seen_shut": round(total("vowels_shut") / max(1, total("vowels")), 4),
        "closures": total("closures"),
        "pictures": total("pictures"),
        "without_face": total("without_face"),
    }


def _public(found: dict[str, Any]) -> dict[str, Any]:
    return {k: found[k] for k in ("closures", "seen", "vowels", "vowels_shut", "widest")} | {
        "correlation_peak_ms": _milliseconds(found["lips"])
    }


def _missed(result: dict[str, Any]) -> list[str]:
    out = []
    if result["closures_visible"] < TARGETS["closures_visible"]:
        out.append(f"closures_visible: {result['closures_visible']:.3f}, wanted {TARGETS['closures_visible']}")
    lag = result["correlation_peak_ms"]
    if lag is None or abs(lag) > TARGETS["correlation_peak_ms"]:
        out.append(f"correlation_peak_ms: {lag}, wanted within {TARGETS['correlation_peak_ms']:.0f}")
    return out


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes of the table."""
    rows = []
    parts = [(f"{kind} {fps}", part) for kind, by in result["inputs"].items() for fps, part in by.items()]
    for name, part in [*parts, ("all", result)]:
        shares = f"{part['closures_visible']:.3f}", f"{part['closures']}", f"{part['vowels_seen_shut']:.3f}"
        lags = f"{part['correlation_peak_ms']}", f"{part['jaw_peak_ms']}", f"{part['correlation']:.2f}"
        rows.append([name, *shares, *lags])
    heads = ["input, pictures a second", "closures seen", "of", "vowels seen shut", "lips ms", "jaw ms", "correlation"]
    return [("Lips in the rendered video", heads, rows, [f"missed: {line}" for line in result["missed_targets"]])]
