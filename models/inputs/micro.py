"""Are small, short movements found? Pulses of known size are put into tracked faces.

Two faces: one that is still but for the camera's noise, and one that talks (carphone, or ``--video``), whose own quick
movements count as false alarms, although some of them may be right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.face_nets import FaceNets
from avatar.analysis.micro import UNITS, Magnifier, Micro, MicroSpotter
from avatar.analysis.tracking import _Rest, narrow
from avatar.core import facs
from avatar.core.types import SECOND, Ns, VideoFrame
from avatar.models import registry
from avatar.models.inputs.camera import FPS, LANDMARKER, carphone, still_face
from avatar.models.landmarker import convert

AMPLITUDES = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
NEAR = SECOND // 10
"""A found peak may be this far from the true one."""
EVERY = 0.8
"""Seconds from one pulse to the next."""
ROUNDS = 6
GAIN = 4.0


def tracked(frames: list[VideoFrame]) -> tuple[np.ndarray, np.ndarray]:
    """Times (n,) in nanoseconds and coefficients (n, 52) relative to rest, not smoothed."""
    finder, rest = FaceNets(convert.read(registry.path(LANDMARKER))), _Rest()
    times, shapes = [], []
    for frame in frames:
        for face in finder.detect(narrow(frame.pixels)):
            rest.learn(frame.pts, face.coefficients, np.array((face.yaw, face.pitch, face.roll)), face.translation)
            times.append(frame.pts)
            shapes.append(rest.shapes(face.coefficients))
    return np.array(times), np.array(shapes)


def with_pulses(
    times: np.ndarray, shapes: np.ndarray, amplitude: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """``shapes`` with raised-cosine pulses of 60 to 200 ms at half height, one at a time, in random units; and the
    (time, unit) of each."""
    out, truth = shapes.copy(), []
    t = times[0] / SECOND + 1.2 + rng.uniform(0, EVERY)
    while t < times[-1] / SECOND - 0.5:
        unit = int(rng.choice(list(UNITS)))
        width = 2 * rng.uniform(0.06, 0.2)  # from nothing to nothing: twice what it is at half height
        phase = np.clip((times / SECOND - t) / width, -0.5, 0.5)
        pulse = amplitude * 0.5 * (1 + np.cos(2 * np.pi * phase))
        for name in UNITS[unit]:
            out[:, facs.INDEX[name]] = np.clip(out[:, facs.INDEX[name]] + pulse, 0, 1)
        truth.append((round(t * SECOND), unit))
        t += EVERY * rng.uniform(0.8, 1.4)
    return out, truth


def spot(times: np.ndarray, shapes: np.ndarray) -> list[Micro]:
    spotter = MicroSpotter()
    return [m for t, row in zip(times, shapes, strict=True) for m in spotter.step(Ns(int(t)), row)]


def score(found: list[Micro], truth: list[tuple[int, int]]) -> tuple[int, int, int]:
    """Hits, false alarms, misses. A pulse that is found several times is one hit; the same movement seen in another
    unit is a false alarm."""
    hit: set[int] = set()
    false = 0
    for micro in found:
        matches = [i for i, (t, unit) in enumerate(truth) if unit == micro.unit and abs(t - micro.pts) <= NEAR]
        if matches:
            hit.update(matches)
        else:
            false += 1
    return len(hit), false, len(truth) - len(hit)


def micro(
    weights: Path, video: Path | None = None, progress: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, Any]:
    """F1 by amplitude on a still and on a talking face, and how much an enlarged pulse grows."""
    from avatar.streams.sources.media_file import read_video

    faces = {
        "still": tracked(list(still_face(6 * FPS))),
        "video": tracked(list(read_video(video or carphone()))),
    }
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for k, (name, (times, shapes)) in enumerate(faces.items()):
        rng = np.random.default_rng(7)
        rows[name] = {}
        for amplitude in AMPLITUDES:
            hits = false = missed = 0
            for _ in range(ROUNDS):
                changed, truth = with_pulses(times, shapes, amplitude, rng)
                h, f, m = score(spot(times, changed), truth)
                hits, false, missed = hits + h, false + f, missed + m
            rows[name][f"{amplitude:g}"] = {
                "f1": round(2 * hits / max(1, 2 * hits + false + missed), 3),
                "precision": round(hits / max(1, hits + false), 3),
                "recall": round(hits / max(1, hits + missed), 3),
            }
        alone = len(spot(times, shapes)) / ((times[-1] - times[0]) / SECOND) * 60
        rows[name]["none"] = {"false_per_minute": round(alone, 1)}
        progress(k + 1, len(faces))
    return {"task": "micro", "rows": rows, "magnified": magnified(*faces["still"])}


def magnified(times: np.ndarray, shapes: np.ndarray) -> dict[str, float]:
    """A pulse of .1 in a smile, and the still face's own noise, before and after a gain of :data:`GAIN`."""
    t, place = times / SECOND, facs.INDEX["mouthSmileLeft"]
    middle = float(t[len(t) // 2])
    changed = shapes.copy()
    changed[:, place] += 0.1 * 0.5 * (1 + np.cos(2 * np.pi * np.clip((t - middle) / 0.24, -0.5, 0.5)))
    magnifier = Magnifier(GAIN)
    out = np.array([magnifier.step(Ns(int(time)), row) for time, row in zip(times, changed, strict=True)])
    near = np.abs(t - middle) < 0.2
    rest = np.abs(t - middle) > 0.8
    return {
        "gain": GAIN,
        "pulse": round(float(out[near, place].max() / changed[near, place].max()), 2),
        "noise_before": round(float(changed[rest].std(0).max()), 4),
        "noise_after": round(float(out[rest].std(0).max()), 4),
    }


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """For people."""
    rows = [
        [name, amplitude, *(str(row.get(k, "-")) for k in ("f1", "precision", "recall"))]
        for name, found in result["rows"].items()
        for amplitude, row in found.items()
        if amplitude != "none"
    ]
    notes = [f"{name}: {found['none']['false_per_minute']} a minute without pulses"
             for name, found in result["rows"].items()]  # fmt: skip
    notes.append(f"enlarged: {result['magnified']}")
    return [("Micro-expressions", ["face", "amplitude", "F1", "precision", "recall"], rows, notes)]
