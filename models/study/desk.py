"""Between the page and the store: hands a rater the next question without saying whose picture it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from avatar.errors import UsageError
from avatar.models.study.design import RATING_WORDS, Study, Trial, card, plan
from avatar.models.study.store import TYPES, Answer, Studies

HOUR_MS = 3_600_000


class Desk:
    """One study as the page sees it. Values are JSON's; errors are AvatarErrors with one line."""

    def __init__(self, studies: Studies, study: Study) -> None:
        self._studies, self._study = studies, study
        self._plans: dict[str, list[Trial]] = {}

    def about(self) -> dict[str, Any]:
        """What the first page says: how many questions of which kind."""
        return {"kinds": list(self._study.kinds), "questions": len(plan(self._study, "0" * 16))}

    def begin(self) -> dict[str, Any]:
        return {"rater": self._studies.begin(self._study)}

    def question(self, rater: str) -> dict[str, Any]:
        """The next one, or ``{"done": true}``."""
        trials, given = self._plan(rater), len(self._studies.answers(self._study, rater))
        if given == len(trials):
            return {"done": True, "total": len(trials)}
        trial = trials[given]
        pair = trial.kind == "pair"
        answers = [{"value": v, "text": v.capitalize() if pair else RATING_WORDS[int(v)]} for v in trial.answers]
        media = [self._media(rater, given, slot)[1] for slot in range(2 if pair else 1)]
        return {
            "done": False, "number": given, "total": len(trials), "kind": trial.kind,
            "question": self._study.comparison if pair else self._study.question, "answers": answers, "media": media,
        }  # fmt: skip

    def media(self, rater: str, number: int, slot: int) -> tuple[Path | bytes, str]:
        """What is shown of a question, and its content type. Only of the question that is due or was."""
        if number > len(self._studies.answers(self._study, rater)):
            raise UsageError("that question is not due yet")
        return self._media(rater, number, slot)

    def answer(self, rater: str, number: int, answer: str, ms: int) -> dict[str, Any]:
        """Keeps it, and gives the next question."""
        self._studies.add(self._study, rater, Answer(number, answer, max(0, min(ms, HOUR_MS))))
        return self.question(rater)

    def withdraw(self, rater: str) -> None:
        self._studies.withdraw(self._study, rater)

    def _plan(self, rater: str) -> list[Trial]:
        if rater not in self._plans:
            self._studies.answers(self._study, rater)  # refuses whoever is none
            self._plans[rater] = plan(self._study, rater)
        return self._plans[rater]

    def _media(self, rater: str, number: int, slot: int) -> tuple[Path | bytes, str]:
        trials = self._plan(rater)
        if not 0 <= number < len(trials) or not 0 <= slot <= (trials[number].kind == "pair"):
            raise UsageError("there is no such picture")
        trial = trials[number]
        if trial.wanted:
            _, png = cv2.imencode(".png", card(trial.wanted))
            return png.tobytes(), "image/png"
        path = self._studies.media(self._study, *trial.shown[slot])
        return path, TYPES[path.suffix.lower()]
