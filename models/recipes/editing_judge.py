"""Figures of the methods that change expressions, on people held out, read by :mod:`.reader`.

Formulas are those of ``avatar eval generator`` (:mod:`avatar.models.expression.metrics`): each unit alone from nothing
to full, ICC(3,1) of what is read on the scale of what was asked, and how much of every other unit's range moves along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avatar.core.types import F32
from avatar.models import registry
from avatar.models.expression import metrics
from avatar.models.recipes.base import Figures
from avatar.models.recipes.data import ALONE, EXPRESSIONS, LABELS, UNITS, Faces, planes
from avatar.models.recipes.looks import Session, absolute
from avatar.models.recipes.reader import read
from avatar.models.recipes.reader import resting as same_at_rest

STEPS = ALONE
READER = "unit_reader.onnx"
PAPERS = "RaFD, real photographs of 67 people: 84.4 to 97.9 % in the papers; here drawn faces of people held out"
KIN = {1: frozenset({2, 4}), 2: frozenset({1, 4}), 4: frozenset({1, 2}), 5: frozenset({43}), 43: frozenset({5}),
       12: frozenset({15, 18, 20}), 15: frozenset({12}), 18: frozenset({20}), 20: frozenset({18}), 9: frozenset({10}),
       10: frozenset({9}), 26: frozenset({17}), 17: frozenset({26})}  # fmt: skip
"""Units that move the same skin by definition, in their own direction or the other."""


def resting(faces: Faces) -> F32:
    """One picture at rest of each person."""
    rest = faces.labelled("neutral")
    return planes(rest.where(np.abs(rest.pose).max(1) == 0).pictures)


def sweep(make: Callable[[F32, F32], F32], rest: F32, reader: Path) -> dict[str, Any]:
    """``units.N.{icc,spearman,leakage}`` and their means, of single units asked of pictures at rest.

    :param make: pictures (n, 3, 64, 64) and units (n, 13) to pictures.
    """
    measured = np.zeros((len(rest), len(UNITS), len(STEPS), len(UNITS)))
    for i in range(len(UNITS)):
        for j, step in enumerate(STEPS):
            told = np.zeros((len(rest), len(UNITS)), np.float32)
            told[:, i] = step
            measured[:, i, j] = read(reader, rest, make(rest, told))[0]
    return of_measured(measured)


def drawn(singles: Faces, reader: Path) -> dict[str, Any]:
    """The same figures of what engine ``head`` draws: what a perfect method would be read as.

    :param singles: of :func:`.data.alone`, the people who are judged on.
    """
    pictures, people = planes(singles.pictures), np.unique(singles.person)
    shape = len(people), len(UNITS), len(STEPS), len(UNITS)
    told = singles.units.any(1)
    answers = read(reader, pictures[same_at_rest(singles)][told], pictures[told])[0]
    return of_measured(answers.reshape(shape))


def of_measured(measured: np.ndarray) -> dict[str, Any]:
    """:param measured: (people, units asked, steps, units read), change from rest."""
    changes = {a: {b: measured[:, i, -1, j] for j, b in enumerate(UNITS)} for i, a in enumerate(UNITS)}
    leaks = metrics.leakage(changes, KIN)
    asked = np.broadcast_to(np.r_[0.0, STEPS], (len(measured), len(STEPS) + 1)).ravel()
    found: dict[str, Any] = {}
    for i, unit in enumerate(UNITS):
        answer = np.c_[np.zeros(len(measured)), measured[:, i, :, i]].ravel()
        found[str(unit)] = {
            "icc": round(metrics.icc3(np.c_[asked, metrics.calibrated(asked, answer)]), 3),
            "spearman": round(metrics.spearman(asked, answer), 3),
            "leakage": round(float(np.mean(list(leaks[unit].values()))), 3),
            "response": round(float(changes[unit][unit].mean()), 3),
        }
    means = {f"{key}_mean": round(float(np.mean([row[key] for row in found.values()])), 3)
             for key in ("icc", "spearman", "leakage")}  # fmt: skip
    enough = sum(row["icc"] >= 0.7 for row in found.values())
    return {"units": found} | means | {"units_icc_70": enough, "people": len(measured)}


def units(file: Path, held: Faces) -> Figures:
    """GANimation: single units, the mask, expressions by their units, and the picture at rest asked of itself."""
    session, reader = Session(file), registry.weights_dir() / READER
    rest = resting(held.part("held"))
    masks = []

    def make(pictures: F32, told: F32) -> F32:
        mask, colour, _ = session(pictures, told)
        masks.append(mask)
        return np.clip((1 - mask) * colour + mask * pictures, -1, 1)

    found = sweep(make, rest, reader)
    found["mask_mean"] = round(float(np.concatenate(masks).mean()), 3)
    found["rest_l1"] = round(absolute(make(rest, np.zeros((len(rest), len(UNITS)), np.float32)), rest), 2)
    return found | {"accuracy": accuracy(lambda p, label: make(p, _units(label, len(p))), rest, reader),
                    "accuracy_copy": accuracy(lambda p, _: p, rest, reader),
                    "accuracy_renders": renders(held, reader), "accuracy_note": PAPERS}  # fmt: skip


def _units(label: int, count: int) -> F32:
    shown = EXPRESSIONS[LABELS[label]]
    return np.repeat(np.array([[shown.get(unit, 0.0) for unit in UNITS]], np.float32), count, 0)


def accuracy(make: Callable[[F32, int], F32], rest: F32, reader: Path) -> float:
    """Share of expressions that the reader tells, over all of :data:`.data.LABELS`."""
    right = [read(reader, rest, make(rest, label))[1].argmax(1) == label for label in range(len(LABELS))]
    return round(float(np.mean(right)), 3)


def renders(held: Faces, reader: Path) -> float:
    """The same share of what engine ``head`` draws: the ceiling."""
    part = held.part("held")
    full = (part.expression == 0) | (part.intensity >= 0.8)
    shown = planes(part.pictures)
    told = read(reader, shown[same_at_rest(part)][full], shown[full])[1].argmax(1)
    return round(float((told == part.expression[full]).mean()), 3)


def classes(file: Path, held: Faces, condition: Callable[[int, float], F32], strengths: Sequence[float]) -> Figures:
    """StarGAN and ExprGAN: expressions told by the reader, units against those of the expression's definition, and how
    far the strength that is read follows the strength that is asked.

    :param condition: label and strength to what the network is told.
    """
    session, reader = Session(file), registry.weights_dir() / READER
    rest = resting(held.part("held"))

    def make(pictures: F32, label: int, strength: float = 1.0) -> F32:
        told = np.repeat(condition(label, strength)[None], len(pictures), 0)
        return np.clip(session(pictures, told)[0], -1, 1)

    answers = {(label, s): read(reader, rest, make(rest, label, s))[0]
               for label in range(1, len(LABELS)) for s in strengths}  # fmt: skip
    found: Figures = {"people": len(rest)} | _agreement(answers, strengths)
    if len(strengths) > 1:
        found["intensity_spearman"] = _intensity(answers, strengths)
    found["rest_l1"] = round(absolute(make(rest, 0), rest), 2)
    return found | {"accuracy": accuracy(make, rest, reader), "accuracy_copy": accuracy(lambda p, _: p, rest, reader),
                    "accuracy_renders": renders(held, reader), "accuracy_note": PAPERS}  # fmt: skip


def _agreement(answers: dict[tuple[int, float], F32], strengths: Sequence[float]) -> Figures:
    """Per unit: ICC of what is read with what the expressions hold of it, over all expressions, strengths and people;
    leakage: change of units that an expression at full does not hold, in parts of their own range."""
    asked, seen = [], []
    for (label, strength), answer in answers.items():
        holds = _units(label, len(answer)) * strength
        asked.append(holds)
        seen.append(answer)
    wants, reads = np.concatenate(asked), np.concatenate(seen)
    found, leaks = {}, []
    full = [(label, answer) for (label, s), answer in answers.items() if s == max(strengths)]
    for i, unit in enumerate(UNITS):
        if not wants[:, i].any():
            continue
        scaled = metrics.calibrated(wants[:, i], reads[:, i])
        span = float(np.mean([a[:, i].mean() / EXPRESSIONS[LABELS[k]][unit] for k, a in full
                              if EXPRESSIONS[LABELS[k]].get(unit, 0) >= 0.5] or [0.0]))  # fmt: skip
        away = [np.abs(a[:, i]).mean() for k, a in full if not _related(LABELS[k], unit)]
        row = {"icc": round(metrics.icc3(np.c_[wants[:, i], scaled]), 3)}
        if span > 0 and away:
            row["leakage"] = round(float(np.mean(away)) / span, 3)
            leaks.append(row["leakage"])
        found[str(unit)] = row
    return {"units": found, "icc_mean": round(float(np.mean([r["icc"] for r in found.values()])), 3),
            "leakage_mean": round(float(np.mean(leaks)), 3) if leaks else None,
            "units_icc_70": sum(r["icc"] >= 0.7 for r in found.values())}  # fmt: skip


def _related(label: str, unit: int) -> bool:
    return any(unit == other or unit in KIN.get(other, frozenset()) for other in EXPRESSIONS[label])


def _intensity(answers: dict[tuple[int, float], F32], strengths: Sequence[float]) -> float:
    """Mean over expressions and people of the rank correlation between strength asked and read: the projection of the
    units read on those of the expression."""
    found = []
    for label in range(1, len(LABELS)):
        direction = _units(label, 1)[0]
        seen = np.stack([answers[label, s] @ direction for s in strengths])
        found += [metrics.spearman(np.asarray(strengths), column) for column in seen.T]
    return round(float(np.mean(found)), 3)
