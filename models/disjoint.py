"""Weights that have not seen somebody.

``weights/`` holds what ships, learnt from everybody; ``weights/without/N/`` the files that were learnt without the
people of fold N, and ``people.json``, their names. Whoever is judged there is judged with those.
"""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

FOLDS = 2
WITHOUT = "without"
NAMES = "people.json"


def fold_of(person: str) -> int:
    """Which fold somebody belongs to, by the name alone."""
    return zlib.crc32(person.encode()) // 2 % FOLDS


def folders_without(weights: Path, scratch: Path) -> dict[str, Path]:
    """Person -> a folder of weights that have not learnt from that person, complete: made in ``scratch`` from the
    shipped files and the fold's. People who are in no fold were never learnt from; the shipped weights do."""
    found: dict[str, Path] = {}
    for names in sorted(weights.glob(f"{WITHOUT}/*/{NAMES}")):
        fold = names.parent
        target = scratch / fold.name
        target.mkdir(parents=True, exist_ok=True)
        for folder in (weights, fold):
            for file in folder.iterdir():
                if file.is_file():
                    shutil.copyfile(file, target / file.name)
        found |= dict.fromkeys(json.loads(names.read_text(encoding="utf-8")), target)
    return found
