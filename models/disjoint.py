"""Weights that have not seen somebody.

``weights/`` holds what ships, learnt from everybody. Beside it, ``weights/without/N/`` holds the files that were learnt
without the people of fold N, and for each file a list of those people's names (``folds.npz.people.json``). Judges draw
everybody with the files that have not seen them.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path

FOLDS = 4
"""More folds leave more people to learn from, and take longer."""
WITHOUT = "without"
NAMES = ".people.json"


def fold_of(person: str) -> int:
    """Which fold somebody belongs to, by the name alone."""
    return zlib.crc32(person.encode()) // 2 % FOLDS


def place(target: Path, fold: int) -> Path:
    """Where the sibling of ``target`` belongs that has not seen the people of ``fold``; its folder is made."""
    path = target.parent / WITHOUT / str(fold) / target.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def note(path: Path, people: Iterable[str]) -> None:
    """Keep who was left out of ``path``."""
    path.with_name(path.name + NAMES).write_text(json.dumps(sorted(people)) + "\n", encoding="utf-8")


class Unseen:
    """Gives each person a folder of weights that have not learnt from them.

    :param weights: what ships. :param scratch: an empty folder, for the folders that are put together.
    """

    def __init__(self, weights: Path, scratch: Path) -> None:
        self._weights, self._scratch = weights, scratch
        self._lists = {
            names.with_name(names.name.removesuffix(NAMES)): frozenset(json.loads(names.read_text(encoding="utf-8")))
            for names in sorted(weights.glob(f"{WITHOUT}/*/*{NAMES}"))
        }

    def folder(self, person: str) -> Path:
        """Complete: the shipped files, but those of a fold that leaves ``person`` out, where there are any. Whoever is
        in no list was never learnt from."""
        chosen = [file for file, people in self._lists.items() if person in people]
        if not chosen:
            return self._weights
        made = self._scratch / "-".join(f"{file.parent.name}.{file.stem}" for file in chosen)
        if not made.is_dir():
            made.mkdir(parents=True)
            for file in (*(f for f in self._weights.iterdir() if f.is_file()), *chosen):
                shutil.copyfile(file, made / file.name)
        return made
