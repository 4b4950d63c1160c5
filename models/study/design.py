"""What a study asks, and in which order one rater sees it. The order follows from the study's and the rater's own
numbers alone, so that a page can be opened again, and is another one for every rater."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

import cv2
import numpy as np

from avatar.core.types import U8

Kind = Literal["rating", "pair"]
KINDS: dict[str, tuple[Kind, ...]] = {"rating": ("rating",), "pairs": ("pair",), "both": ("rating", "pair")}
RATING_WORDS = {5: "Excellent", 4: "Good", 3: "Fair", 2: "Poor", 1: "Bad"}
"""ITU-T P.800 and P.910."""
SIDES = ("left", "right")
CHECK_EVERY = 8
"""One attention check in each so many questions, and never fewer than :data:`CHECKS`."""
CHECKS = 3
MOST = 72
"""Questions to one rater, checks left out: about ten minutes."""

Shown = tuple[str, str]
"""Condition (an engine, say) and item."""


@dataclass(frozen=True, slots=True)
class Study:
    """Everything but the answers."""

    name: str
    question: str
    """Of a single clip or picture."""
    comparison: str
    """Of two beside each other."""
    kinds: tuple[Kind, ...]
    conditions: tuple[str, ...]
    items: tuple[str, ...]
    files: dict[str, dict[str, str]]
    """``files[condition][item]``: the file's name."""
    seed: int
    made: str
    """Date and time, ISO 8601."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One question."""

    kind: Kind
    shown: tuple[Shown, ...]
    """One of a rating, left and right of a pair; empty for a check."""
    wanted: str = ""
    """The answer that a check asks for; empty for a real question."""

    @property
    def answers(self) -> tuple[str, ...]:
        return SIDES if self.kind == "pair" else tuple(str(grade) for grade in RATING_WORDS)


def plan(study: Study, rater: str) -> list[Trial]:
    """The questions of one rater, in order. Kinds are not mixed: ratings first, so that no comparison colours them."""
    digest = hashlib.sha256(f"{study.seed}:{rater}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
    room = MOST // len(study.kinds)
    made: list[Trial] = []
    for kind in study.kinds:
        questions = _ratings(study, rng, room) if kind == "rating" else _pairs(study, rng, room)
        made += _with_checks(questions, kind, rng)
    return made


def _ratings(study: Study, rng: np.random.Generator, room: int) -> list[Trial]:
    """Whole items at a time: every condition is rated equally often by each rater, on the same items."""
    items = [study.items[i] for i in rng.permutation(len(study.items))[: max(1, room // len(study.conditions))]]
    every = [Trial("rating", ((condition, item),)) for item in items for condition in study.conditions]
    return [every[i] for i in _apart([item for item in items for _ in study.conditions], rng)]


def _pairs(study: Study, rng: np.random.Generator, room: int) -> list[Trial]:
    """Two conditions of one item; sides are drawn. Pairs of conditions come equally often, as far as there is room."""
    couples = list(combinations(study.conditions, 2))
    made = []
    for i in rng.permutation(len(study.items)):
        for j in rng.permutation(len(couples)):
            left, right = couples[j] if rng.random() < 0.5 else couples[j][::-1]
            made.append(Trial("pair", ((left, study.items[i]), (right, study.items[i]))))
    made = made[: max(len(couples), room - room % len(couples))]
    return [made[i] for i in rng.permutation(len(made))]


def _apart(labels: Sequence[str], rng: np.random.Generator) -> list[int]:
    """A random order in which the same label seldom comes twice in a row."""
    best: list[int] = []
    fewest = len(labels) + 1
    for _ in range(20):
        order = [int(i) for i in rng.permutation(len(labels))]
        repeats = sum(labels[a] == labels[b] for a, b in pairwise(order))
        if repeats < fewest:
            best, fewest = order, repeats
    return best


def _with_checks(questions: list[Trial], kind: Kind, rng: np.random.Generator) -> list[Trial]:
    """Checks at drawn places, one in each stretch of the questions."""
    count = max(CHECKS, len(questions) // CHECK_EVERY)
    edges = np.linspace(0, len(questions), count + 1)
    places = [int(rng.integers(int(a), max(int(a) + 1, int(b)))) for a, b in pairwise(edges)]
    made = list(questions)
    for place in sorted(places, reverse=True):
        wanted = str(rng.choice(SIDES if kind == "pair" else [str(grade) for grade in RATING_WORDS]))
        made.insert(place, Trial(kind, (), wanted))
    return made


def card(wanted: str) -> U8:
    """The picture of a check (512, 512, 3): says which answer to give."""
    picture = np.full((512, 512, 3), 222, np.uint8)
    words = ("This is a check.", "Please answer", wanted.upper() if wanted in SIDES else wanted)
    for number, word in enumerate(words):
        scale = 3.0 if number == 2 else 1.2
        (width, _), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, scale, 4)
        at = ((512 - width) // 2, 170 + number * 90 + (60 if number == 2 else 0))
        cv2.putText(picture, word, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (30, 30, 30), 4, cv2.LINE_AA)
    return picture
