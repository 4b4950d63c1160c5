"""Studies on this machine: each a folder of the user's own data, complete or not there, for its owner's eyes only.

``study.json`` says what is asked, ``media/CONDITION/`` holds copies of what is shown, ``answers/RATER.jsonl`` the
answers of one rater: a random number, no name, no address.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import platformdirs

from avatar.errors import UsageError
from avatar.models.study.design import KINDS, Study, plan
from avatar.storage import remove, replacing, stored_in

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
RATER = re.compile(r"[0-9a-f]{16}")
TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
    ".mp4": "video/mp4", ".webm": "video/webm",
}  # fmt: skip
"""What browsers show."""
QUESTION = "How natural does this face look?"
COMPARISON = "Which face looks more natural?"
LONGEST = 200
_FILE, _MEDIA, _ANSWERS = "study.json", "media", "answers"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it was given."""

    number: int
    """Of the trial in the rater's plan, from 0."""
    answer: str
    ms: int
    """From when the pictures were there, or the clip began, to the answer."""


class Studies:
    """Studies by name.

    :param folder: made when the first one is.
    """

    def __init__(self, folder: Path | None = None) -> None:
        base = Path(platformdirs.user_data_dir("vultus", appauthor=False))
        self.folder = folder if folder is not None else base / "studies"

    def names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if (path / _FILE).is_file())

    def create(
        self, name: str, source: Path, kind: str = "both", question: str = QUESTION, comparison: str = COMPARISON
    ) -> Study:
        """Copy what is shown and keep the study.

        :param source: a folder for each condition, with files of the same names: ``head/ada.mp4``, ``copy/ada.mp4``.

        Raises UsageError with one line, StorageError.
        """
        if not NAME.fullmatch(name):
            raise UsageError(f"study name {name!r}: use 1 to 40 of a-z, 0-9, - and _, starting with a letter or digit")
        if name in self.names():
            raise UsageError(f"there is a study named {name} already; avatar study delete {name} removes it")
        if kind not in KINDS:
            raise UsageError(f"--kind {kind}: choose one of {', '.join(KINDS)}")
        for text in (question, comparison):
            if not text.strip() or len(text) > LONGEST:
                raise UsageError(f"a question has 1 to {LONGEST} characters")
        files = find_files(source)
        conditions = tuple(sorted(files))
        study = Study(
            name, question, comparison, KINDS[kind], conditions, tuple(sorted(files[conditions[0]])),
            {condition: {item: path.name for item, path in found.items()} for condition, found in files.items()},
            secrets.randbits(48), datetime.now().astimezone().isoformat(timespec="seconds"),
        )  # fmt: skip
        with replacing(self.folder / name) as fresh:
            (fresh / _ANSWERS).mkdir(parents=True)
            fresh.chmod(0o700)
            for condition, found in files.items():
                (fresh / _MEDIA / condition).mkdir(parents=True)
                for path in found.values():
                    shutil.copyfile(path, fresh / _MEDIA / condition / path.name)
            (fresh / _FILE).write_text(json.dumps(asdict(study), indent=1) + "\n", encoding="utf-8")
        return study

    def load(self, name: str) -> Study:
        """Raises UsageError where there is none, or it cannot be read."""
        if name not in self.names():
            raise UsageError(f"no study named {name!r}; there are: {', '.join(self.names()) or 'none'}")
        path = self.folder / name / _FILE
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            for key in ("kinds", "conditions", "items"):
                data[key] = tuple(data[key])
            return Study(**data)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{path}: damaged ({error}); avatar study delete {name} removes the study") from error

    def delete(self, name: str) -> None:
        """Everything of a study. Raises UsageError, StorageError."""
        if name not in self.names():
            raise UsageError(f"no study named {name!r}; there are: {', '.join(self.names()) or 'none'}")
        remove(self.folder / name)

    def media(self, study: Study, condition: str, item: str) -> Path:
        return self.folder / study.name / _MEDIA / condition / study.files[condition][item]

    # --- answers -----------------------------------------------------------------------------------------------------

    def begin(self, study: Study) -> str:
        """A new rater's number. Raises StorageError."""
        rater = secrets.token_hex(8)
        path = self._answers(study, rater)
        with stored_in(path.parent):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return rater

    def raters(self, study: Study) -> list[str]:
        folder = self.folder / study.name / _ANSWERS
        return sorted(path.stem for path in folder.glob("*.jsonl") if RATER.fullmatch(path.stem))

    def answers(self, study: Study, rater: str) -> list[Answer]:
        """In the order of the trials. A last line that was cut off is not counted; the question comes again.

        Raises UsageError for a number that is no rater's.
        """
        path = self._answers(study, rater)
        found: list[Answer] = []
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UsageError("there is no such rater; begin again") from error
        for line in lines:
            try:
                one = Answer(**json.loads(line))
            except (ValueError, TypeError):
                break
            if one.number != len(found):
                break
            found.append(one)
        return found

    def add(self, study: Study, rater: str, answer: Answer) -> None:
        """Keep the next answer: everything is written anew, whole or not at all. Raises UsageError, StorageError."""
        trials, given = plan(study, rater), self.answers(study, rater)
        if answer.number != len(given) or answer.number >= len(trials):
            raise UsageError("this question has been answered; load the page again")
        if answer.answer not in trials[answer.number].answers:
            raise UsageError(f"{answer.answer[:20]!r} is no answer to this question")
        path = self._answers(study, rater)
        text = "".join(json.dumps(asdict(one)) + "\n" for one in (*given, answer))
        part = path.with_suffix(".part")
        with stored_in(path.parent):
            descriptor = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            part.replace(path)

    def withdraw(self, study: Study, rater: str) -> None:
        """Remove one rater's answers. Raises UsageError where there are none."""
        path = self._answers(study, rater)
        if not path.is_file():
            raise UsageError("there are no answers of that rater")
        with stored_in(path.parent):
            path.unlink()

    def _answers(self, study: Study, rater: str) -> Path:
        if not RATER.fullmatch(rater):
            raise UsageError("there is no such rater; begin again")
        return self.folder / study.name / _ANSWERS / f"{rater}.jsonl"


def find_files(source: Path) -> dict[str, dict[str, Path]]:
    """``{condition: {item: file}}`` of a folder. Raises UsageError that names what is missing."""
    try:
        conditions = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{source}: cannot be read ({error.strerror}); give a folder of folders") from error
    if len(conditions) < 2:
        raise UsageError(f"{source}: a study needs two folders at least, one for each engine, with the same file names")
    found = {
        folder.name: {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in TYPES}
        for folder in conditions
    }
    every = sorted({item for files in found.values() for item in files})
    if not every:
        raise UsageError(f"{source}: no pictures or clips in its folders ({', '.join(TYPES)})")
    for condition, files in found.items():
        if missing := [item for item in every if item not in files]:
            raise UsageError(f"{source / condition}: no {missing[0]!r}; every folder must have the same items")
    return found
