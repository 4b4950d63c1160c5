"""What `avatar eval expression` needs of a folder of faces: a neutral photo and a smile of each person, or another
expression in its place.

A folder with an ``index.csv`` (:mod:`avatar.models.expression.folders`) is read as it is; any other one is looked at
for the layout of a data set. Pairs are taken as the set offers them: of pictures the frontal ones in the same light,
of sequences their first picture and their apex.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avatar.errors import DatasetError, UsageError
from avatar.models.data.faces.catalogue import CATALOGUE, open_dataset, recognise
from avatar.models.data.faces.sample import EXPRESSIONS, FaceDataset, Sample
from avatar.models.expression import folders
from avatar.models.expression.folders import Person

NEUTRAL, SMILE = "neutral", "happiness"
TARGETS = tuple(label for label in EXPRESSIONS if label not in (NEUTRAL, "other"))
"""What a neutral face can be made to show."""


@dataclass(frozen=True)
class People:
    """Who is judged, and of what their pictures may be called."""

    persons: list[Person]
    source: dict[str, Any]
    """For the result's key ``source``: ``dataset`` and ``standing``, or the folder alone."""
    notes: list[str] = field(default_factory=list)


def people(folder: Path, dataset: str | None = None, expression: str = SMILE) -> People:
    """Everybody with a neutral photo; at least one of them also shows the expression.

    :param dataset: a name of the catalogue; None = the folder says itself what it is.
    :param expression: one of :data:`TARGETS`.

    Raises UsageError with one line.
    """
    if expression not in TARGETS:
        raise UsageError(f"--expression {expression}: choose one of {', '.join(TARGETS)}")
    if dataset is None and (folder / folders.INDEX).is_file():
        word = folders.SMILE if expression == SMILE else expression
        return People(folders.people(folder, word), {"folder": str(folder), "dataset": None})
    reader = recognise(folder) if dataset is None else open_dataset(folder, dataset)
    if reader is None:
        known = "; ".join(f"{entry.name}: {entry.layout}" for entry in CATALOGUE.values())
        raise UsageError(f"{folder}: no {folders.INDEX} in it, and the layout of no data set ({known})")
    return of_dataset(reader, expression)


def of_dataset(reader: FaceDataset, expression: str = SMILE) -> People:
    """Raises DatasetError where nobody has both a neutral picture and the expression."""
    samples = list(reader.samples())
    subjects = {sample.subject for sample in samples}
    children = {sample.subject for sample in samples if sample.child}
    persons = pairs((sample for sample in samples if not sample.child), expression)
    if not any(person.smile for person in persons):
        raise DatasetError(f"{reader.root}: nobody in it has both a neutral picture and {expression}, from the front")
    source = {
        "folder": str(reader.root),
        "dataset": reader.name,
        "title": CATALOGUE[reader.name].title,
        "standing": reader.standing(len(subjects)),
        "subjects": len(subjects),
        "published_subjects": reader.published,
        "children_left_out": len(children),
        "pairs": sum(person.smile is not None for person in persons),
    }
    notes = [_words(source), *(["these are micro-expressions: an apex is barely to be seen"] if _micro(reader) else [])]
    if children:
        notes.append(f"children among its subjects are left out: {len(children)}")
    if reader.left_out:
        more = f" (and {len(reader.left_out) - 1} more; avatar datasets --data lists them)"
        notes.append(f"not used: {reader.left_out[0]}{more if len(reader.left_out) > 1 else ''}")
    return People(persons, source, notes)


def _micro(reader: FaceDataset) -> bool:
    return reader.name == "casme3"


def _words(source: dict[str, Any]) -> str:
    title = source["title"]
    if source["standing"] == "made":
        return f"taken for the layout of {title}, with pictures made for tests: no figure here is one of {title}"
    if source["standing"] == "part":
        return (
            f"taken for {title}: {source['subjects']} of its {source['published_subjects']} subjects are here, so "
            "these figures cannot be compared with those of the whole set"
        )
    return f"taken for {title}"


def pairs(samples: Iterable[Sample], expression: str = SMILE) -> list[Person]:
    """One neutral picture and one of the expression of each subject, by subject. The first sample in the order of names
    counts."""
    neutral: dict[str, list[Sample]] = {}
    smiles: dict[str, list[Sample]] = {}
    stills: dict[str, Path] = {}
    sequences: dict[str, tuple[Path, Path]] = {}
    for sample in samples:
        if not sample.view.frontal or not _seen(sample):
            continue
        if sample.sequence:
            assert sample.apex is not None
            first = sample.pictures[sample.onset or 0]
            stills.setdefault(sample.subject, first)
            if sample.expression == expression and sample.subject not in sequences:
                sequences[sample.subject] = (first, sample.pictures[sample.apex])
        elif sample.expression in (NEUTRAL, expression):
            (neutral if sample.expression == NEUTRAL else smiles).setdefault(sample.subject, []).append(sample)
    found: dict[str, Person] = {name: Person(name, path, None) for name, path in stills.items()}
    for name, (first, apex) in sequences.items():
        found[name] = Person(name, first, apex)
    for name, plain in neutral.items():
        smile = next((pair for pair in _alike(plain, smiles.get(name, []))), None)
        before, after = smile or (plain[0], None)
        found[name] = Person(name, before.pictures[0], None if after is None else after.pictures[0])
    return [found[name] for name in sorted(found)]


def _seen(sample: Sample) -> bool:
    """In visible light that is not dark: the judges have seen nothing else."""
    light = sample.view.light or ""
    return "infra-red" not in light and "dark" not in light


def _alike(plain: list[Sample], smiling: list[Sample]) -> Iterable[tuple[Sample, Sample]]:
    """Pairs in the same light, with the same accessories and background."""
    for smile in smiling:
        for before in plain:
            if before.view == smile.view and _setting(before) == _setting(smile):
                yield before, smile


def _setting(sample: Sample) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in sample.attributes if pair[0] not in ("part", "age"))
