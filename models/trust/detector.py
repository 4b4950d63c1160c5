"""``avatar train detector`` and ``avatar eval detector``: our engines' unmarked output told from what cameras record.

What it learns from: :mod:`avatar.models.trust.detector_data`. The shipped weights have learnt from all of it; error
rates are those of the same recipe with the judged group (a person, a camera, an avatar) left out, group by group, and
once more with the judged engine left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar import trust
from avatar.errors import UsageError
from avatar.models.trust import detector_data
from avatar.models.trust.detector_data import ALONE, CAMERA, Progress, Sample, samples
from avatar.models.trust.pieces import Pieces, version
from avatar.trust.detector import Weights

RIDGE = {"still": 3.0, "clip": 10.0}
USED = {"still": slice(0, 35), "clip": slice(29, 43)}
"""Columns that are looked at. Of a clip neither the spectrum nor how structure is spread over the picture: both told
one camera's framing and optics from another's, and called cameras that they had not met ours."""
F64 = NDArray[np.float64]


def fit(found: F64, ours: NDArray[np.bool_], share: F64 | None = None, ridge: float = 3.0) -> Weights:
    """Logistic regression with a ridge, both classes of equal weight, by Newton's method.

    :param share: how much each row counts within its class; None = all the same.
    """
    mean, scale = found.mean(axis=0), found.std(axis=0) + 1e-6
    x = np.column_stack([(found - mean) / scale, np.ones(len(found))])
    share = np.ones(len(found)) if share is None else share
    total = np.where(ours, share[ours].sum(), share[~ours].sum())
    share = share / total * 0.5 * len(found)
    penalty = np.diag([ridge] * (x.shape[1] - 1) + [0.0])
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


def learnt(rows: list[Sample]) -> Weights:
    """From the rows that may be learnt from. Every group counts the same within its class: a camera of which there is
    more is not a better one."""
    rows = [row for row in rows if row.learnt]
    keys = [(row.ours, row.group) for row in rows]
    share = np.array([1.0 / keys.count(key) for key in keys])
    found, kind = np.array([row.found for row in rows]), rows[0].kind
    part = fit(found[:, USED[kind]], np.array([row.ours for row in rows]), share, RIDGE[kind])
    whole = Weights(found.mean(axis=0), found.std(axis=0) + 1e-6, np.zeros(found.shape[1]), part.bias)
    whole.weight[USED[kind]] = part.weight
    return whole


def held_out(rows: list[Sample], key: Callable[[Sample], str]) -> F64:
    """The score of each row by weights that have learnt from no row of the same ``key``."""
    scores = np.zeros(len(rows))
    for name in sorted({key(row) for row in rows}):
        judge = learnt([row for row in rows if key(row) != name])
        for index, row in enumerate(rows):
            if key(row) == name:
                scores[index] = judge.score(np.array(row.found))
    return scores


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from everything, write, and say how the same recipe does on groups that it has not met."""
    made = samples(data, Pieces(None, None, ""))
    write(made, target)
    return judged(made)


def write(made: list[Sample], target: Path) -> None:
    """The weights that have learnt from all of ``made``."""
    fitted: dict[str, Any] = {}
    for kind in ("still", "clip"):
        weights = learnt([sample for sample in made if sample.kind == kind])
        for name in ("mean", "scale", "weight"):
            fitted[f"{kind}_{name}"] = getattr(weights, name).astype(np.float32)
        fitted[f"{kind}_bias"] = np.float32(weights.bias)
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, **fitted)


def detector(
    weights: Path,
    data: Path | None = None,
    keep: Path | None = None,
    minutes: float | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Error rates on people, cameras, avatars and engines that nothing was learnt from.

    :param keep: what is measured is kept there; call again to go on. :param minutes: begin nothing new after these.
    """
    if data is None:
        raise UsageError("eval detector: give the folder of faces and clips with --data DIR")
    looks = Path(trust.__path__[0]) / "detector.py"
    pieces = Pieces(keep, minutes, version(looks, Path(str(detector_data.__file__))))
    made = samples(data, pieces, progress)
    return {"task": "detector", "complete": pieces.missing == 0, **(judged(made) if not pieces.missing else {})}


def judged(made: list[Sample]) -> dict[str, Any]:
    """For each kind: area under the ROC, points of it, and errors at one half by source and by camera."""
    result: dict[str, Any] = {}
    for kind in ("still", "clip"):
        rows = [sample for sample in made if sample.kind == kind]
        scores = held_out(rows, lambda row: row.group)
        unmet = held_out(rows, lambda row: row.source if row.ours else "")
        ours = np.array([row.ours for row in rows])
        camera = np.array([row.source in CAMERA for row in rows])
        result[kind] = {
            **roc(scores[ours & np.array([row.source not in ALONE for row in rows])], scores[camera]),
            "errors_at_half": _wrong(rows, scores, lambda row: row.source),
            "errors_by_camera": _wrong([r for r in rows if r.source == "video"], scores[_is(rows, "video")], _group),
            "errors_of_engines_not_learnt": _wrong([r for r in rows if r.ours], unmet[ours], lambda row: row.source),
        }
    return result


def _group(row: Sample) -> str:
    return row.group


def _is(rows: list[Sample], source: str) -> NDArray[np.bool_]:
    return np.array([row.source == source for row in rows])


def roc(ours: F64, real: F64) -> dict[str, Any]:
    """Area under the curve, and how many of ours are found where so many of the real ones are called ours."""
    wins = (ours[:, None] > real).mean() + 0.5 * (ours[:, None] == real).mean()
    points = [
        {"false": false, "found": round(float((ours > np.quantile(real, 1 - false)).mean()), 3)}
        for false in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    ]
    return {"auc": round(float(wins), 4), "roc": points}


def _wrong(rows: list[Sample], scores: F64, key: Callable[[Sample], str]) -> dict[str, dict[str, float]]:
    found = {}
    for name in sorted({key(row) for row in rows}):
        wrong = [(score >= 0.5) != row.ours for row, score in zip(rows, scores, strict=True) if key(row) == name]
        found[name] = {"count": len(wrong), "wrong": int(sum(wrong)), "share": round(float(np.mean(wrong)), 4)}
    return found


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """For people."""
    if not result["complete"]:
        return [("detector: not complete", [], [], ["call again with the same --keep"])]
    made = []
    heads = ["source", "group held out", "wrong", "", "engine held out"]
    for kind in ("still", "clip"):
        of = result[kind]
        rows = []
        for name, row in {**of["errors_at_half"], **of["errors_by_camera"]}.items():
            unmet = of["errors_of_engines_not_learnt"].get(name)
            cell = f"{unmet['share']:.1%}" if unmet else ""
            rows.append([name, str(row["count"]), str(row["wrong"]), f"{row['share']:.1%}", cell])
        points = ", ".join(f"{point['found']:.2f} at {point['false']:.2f}" for point in of["roc"])
        made.append((f"{kind}: AUC {of['auc']:.3f}", heads, rows, [f"found at false: {points}"]))
    return made
