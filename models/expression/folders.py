"""Folders of faces that the judge reads: photos, and an ``index.csv`` that says what each one is.

========== ============================== ======================================================================
layout     columns that are needed        what it is for
========== ============================== ======================================================================
people     ``person expression file``     ``eval expression``: a ``neutral`` photo of each person, and a ``smile`` or
                                          the expression that is asked for
portraits  ``file``                       ``eval generator``: one face in each picture
========== ============================== ======================================================================

Other columns are not looked at, and landmarks are always found anew: a file of them may be rounded, or from another
version of the network, and the pictures that engines draw have none.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avatar.errors import UsageError

INDEX = "index.csv"
NEUTRAL, SMILE = "neutral", "smile"
_WORDS = {NEUTRAL: NEUTRAL, SMILE: SMILE, "smiling": SMILE}


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever has a neutral photo."""

    name: str
    neutral: Path
    smile: Path | None
    """A smile, or the expression that was asked for. Where there is one, this person is a pair."""


def people(folder: Path, expression: str = SMILE) -> list[Person]:
    """Everybody with a neutral photo, by name; at least one of them also smiles.

    :param expression: what is looked for in place of a smile, as the index calls it.

    Raises UsageError with one line that says what is wrong with the folder.
    """
    photos: dict[str, dict[str, Path]] = {}
    for number, row in enumerate(_rows(folder, ("person", "expression", "file")), 2):
        word = row["expression"].strip().lower()
        shown = word if word == expression else _WORDS.get(word)
        if not row["person"].strip():
            raise UsageError(f"{folder / INDEX}, line {number}: the person has no name")
        if shown in (NEUTRAL, expression):  # other expressions are nobody's business here
            photos.setdefault(row["person"].strip(), {}).setdefault(shown, _photo(folder, row["file"], number))
    found = [Person(name, of[NEUTRAL], of.get(expression)) for name, of in sorted(photos.items()) if NEUTRAL in of]
    if not any(person.smile for person in found):
        raise UsageError(
            f"{folder / INDEX}: nobody has both a {NEUTRAL!r} and a {expression!r} photo "
            f"(columns person and expression)"
        )
    return found


def portraits(folder: Path) -> list[Path]:
    """The pictures of the folder, in the order of its index. Raises UsageError as :func:`people` does."""
    return [_photo(folder, row["file"], number) for number, row in enumerate(_rows(folder, ("file",)), 2)]


def _rows(folder: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    path = folder / INDEX
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder; give one with photos and {INDEX}")
    if not path.is_file():
        raise UsageError(f"{folder}: no {INDEX} in it; it needs the columns {', '.join(columns)}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UsageError(
            f"{path}: not a readable table ({str(error).splitlines()[0]}); save it as UTF-8 CSV"
        ) from error
    if missing:
        raise UsageError(f"{path}: no column {', '.join(missing)}; it needs {', '.join(columns)}")
    if not rows:
        raise UsageError(f"{path}: it lists no photos")
    return rows


def _photo(folder: Path, name: str, number: int) -> Path:
    path = folder / name.strip()
    if not name.strip() or not path.is_file():
        raise UsageError(f"{folder / INDEX}, line {number}: {name.strip() or 'no file'}: there is no such photo")
    return path
