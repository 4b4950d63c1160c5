"""What a study found: mean opinion scores and shares of preference with intervals, from attentive raters only.

A mean opinion score is the mean over raters of each rater's own mean; its interval is Student's t over raters, for
answers of one person are not independent. Raters who answer a check wrongly, or in haste, are left out and counted.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import scipy.stats

from avatar.models.study.design import CHECKS, Study, Trial, plan
from avatar.models.study.store import Answer, Studies

MINIMUM = 15
"""Attentive raters that have finished, below which nothing is said: ITU-R BT.500-15 asks for 15 observers at least."""
HASTE_MS = 350
"""Faster than this nobody has looked."""
HASTY = 0.2
"""Share of answers in haste from which a rater is left out."""
REASONS = ("unfinished", "failed a check", "in haste")


@dataclass(frozen=True, slots=True)
class Rater:
    """One person's answers, and whether they count."""

    number: str
    trials: list[Trial]
    answers: list[Answer]

    @property
    def fault(self) -> str:
        """Why they do not count, one of :data:`REASONS`; empty where they do."""
        if len(self.answers) < len(self.trials):
            return REASONS[0]
        if any(t.wanted and t.wanted != a.answer for t, a in zip(self.trials, self.answers, strict=True)):
            return REASONS[1]
        if np.mean([answer.ms < HASTE_MS for answer in self.answers]) > HASTY:
            return REASONS[2]
        return ""


def raters_of(studies: Studies, study: Study) -> list[Rater]:
    return [Rater(number, plan(study, number), studies.answers(study, number)) for number in studies.raters(study)]


def result(study: Study, raters: Sequence[Rater]) -> dict[str, Any]:
    """``raters`` is always there; ``mos`` and ``pairs`` are None until :data:`MINIMUM` attentive people finished."""
    counted = [rater for rater in raters if not rater.fault]
    left_out = {reason: sum(rater.fault == reason for rater in raters) for reason in REASONS}
    made: dict[str, Any] = {
        "study": study.name,
        "conditions": list(study.conditions),
        "items": len(study.items),
        "raters": {"begun": len(raters), "attentive": len(counted), "minimum": MINIMUM, "left_out": left_out},
        "checks": f"at least {CHECKS} of each kind, all to be answered rightly",
        "mos": None,
        "pairs": None,
    }
    if len(counted) < MINIMUM:
        return made
    if "rating" in study.kinds:
        made["mos"] = _opinion(study, counted)
        made["differences"] = _differences(study, counted)
    if "pair" in study.kinds:
        made["pairs"] = _preferences(study, counted)
    return made


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval (Student's t) of one value for each rater."""
    x = np.asarray(values, np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return mean, float("nan"), float("nan")
    half = float(scipy.stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return mean, mean - half, mean + half


def _own_means(study: Study, rater: Rater) -> dict[str, float]:
    grades: dict[str, list[int]] = defaultdict(list)
    for trial, answer in zip(rater.trials, rater.answers, strict=True):
        if trial.kind == "rating" and not trial.wanted:
            grades[trial.shown[0][0]].append(int(answer.answer))
    return {condition: float(np.mean(grades[condition])) for condition in study.conditions}


def _named(mean: float, low: float, high: float, key: str, floor: float, ceiling: float) -> dict[str, float]:
    bounds = np.clip((low, high), floor, ceiling)
    return {key: round(mean, 3), "lo": round(float(bounds[0]), 3), "hi": round(float(bounds[1]), 3)}


def _opinion(study: Study, raters: Sequence[Rater]) -> dict[str, dict[str, float]]:
    own = [_own_means(study, rater) for rater in raters]
    made = {}
    for condition in study.conditions:
        one: dict[str, float] = _named(*interval([means[condition] for means in own]), "mean", 1, 5)
        made[condition] = one | {"raters": len(raters)}
    return made


def _differences(study: Study, raters: Sequence[Rater]) -> dict[str, dict[str, float]]:
    """Between conditions, rater by rater: sharper than two intervals beside each other."""
    own = [_own_means(study, rater) for rater in raters]
    return {
        f"{a} - {b}": _named(*interval([means[a] - means[b] for means in own]), "mean", -4, 4)
        for a, b in combinations(study.conditions, 2)
    }


def _preferences(study: Study, raters: Sequence[Rater]) -> dict[str, dict[str, float]]:
    """How often the first of two was preferred."""
    made = {}
    for a, b in combinations(study.conditions, 2):
        shares, count = [], 0
        for rater in raters:
            won = []
            for trial, answer in zip(rater.trials, rater.answers, strict=True):
                if trial.kind != "pair" or trial.wanted:
                    continue
                left, right = (shown[0] for shown in trial.shown)
                if {left, right} == {a, b}:
                    won.append((left if answer.answer == "left" else right) == a)
            if won:
                shares.append(float(np.mean(won)))
                count += len(won)
        if shares:
            made[f"{a} over {b}"] = _named(*interval(shares), "share", 0, 1) | {"answers": count}
    return made


def rows(raters: Sequence[Rater]) -> list[dict[str, Any]]:
    """Every answer of everybody, raters under running numbers, for a table."""
    made = []
    for number, rater in enumerate(raters, 1):
        for trial, answer in zip(rater.trials, rater.answers, strict=False):
            shown = [*trial.shown, ("", ""), ("", "")]
            made.append(
                {
                    "rater": f"r{number:03}",
                    "counted": not rater.fault,
                    "why_not": rater.fault,
                    "trial": answer.number + 1,
                    "kind": f"check: {trial.wanted}" if trial.wanted else trial.kind,
                    "item": shown[0][1],
                    "condition": shown[0][0],
                    "beside": shown[1][0],
                    "answer": answer.answer,
                    "ms": answer.ms,
                }
            )
    return made


def as_csv(table: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]) if table else ["rater"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()
