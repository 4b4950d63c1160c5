"""The contract of every reader: a data set is a stream of samples, read as it is asked for.

A reader walks folders and reads small label files; no picture is opened before :meth:`Sample.picture`. What a set does
not say is None, never a guess. What cannot be used but harms nothing else (a missing folder, a sequence whose apex is
not there) goes to :attr:`FaceDataset.left_out`; what contradicts the published layout raises DatasetError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from avatar.core.types import EMOTIONS, U8
from avatar.errors import DatasetError, PhotoError
from avatar.portrait.photo import read_photo

EXPRESSIONS = (*EMOTIONS, "contempt", "frown", "eyes closed", "mouth open", "other")
"""Every label a sample may have: the seven emotions of the engine, and what the sets have beside them."""
MADE = "MADE_FOR_TESTS"
"""A file of this name says that a folder's pictures are no data set's: no figure is printed under the set's name."""

Side = Literal["", "L", "R"]
Standing = Literal["complete", "part", "made"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One coded action unit (FACS: Ekman, Friesen & Hager 2002)."""

    number: int
    level: float | None = None
    """1 to 5 for the letters A to E; None where the coder saw it and gave no intensity."""
    side: Side = ""
    """The subject's; empty for both."""


@dataclass(frozen=True, slots=True)
class View:
    """How a picture was taken, where its name says so."""

    yaw: float | None = None
    """Degrees, positive = the nose towards the right edge of the picture."""
    pitch: Literal["up", "level", "down"] | None = None
    light: str | None = None
    """The set's own words."""
    gaze: Literal["left", "frontal", "right"] | None = None

    @property
    def frontal(self) -> bool:
        """Nothing says that head or eyes are turned away."""
        return not self.yaw and self.pitch in (None, "level") and self.gaze in (None, "frontal")


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture, or a sequence of them in order."""

    name: str
    """Unique within its set."""
    subject: str
    pictures: tuple[Path, ...]
    expression: str | None = None
    """One of :data:`EXPRESSIONS`; of a sequence, what it leads to. None = the set does not say."""
    units: tuple[Unit, ...] | None = None
    """Action units at the apex; None = not coded, () = coded, none seen."""
    view: View = View()
    apex: int | None = None
    """Number in ``pictures``; None for a picture."""
    onset: int | None = None
    offset: int | None = None
    """None also where a sequence ends at its apex."""
    landmarks: tuple[Path | None, ...] = ()
    """Files of the pictures' landmarks, where the set has them."""
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None
    """Pixels: the eye on the picture's left, and the one on its right."""
    child: bool = False
    attributes: tuple[tuple[str, str], ...] = ()
    """What else the name says, in the set's own words."""

    @property
    def sequence(self) -> bool:
        return self.apex is not None

    def picture(self, number: int = 0) -> U8:
        """Pixels (height, width, 3), RGB; grey and infra-red pictures have three equal channels. Raises DatasetError
        naming the file."""
        path = self.pictures[number]
        try:
            return read_photo(path)
        except PhotoError as error:
            raise DatasetError(f"{path}: {error}") from error


class FaceDataset(ABC):
    """One of the sets, in a folder of this machine."""

    name: ClassVar[str]
    """As in ``--dataset NAME``."""
    published: ClassVar[int]
    """Subjects that a complete copy has samples of."""

    def __init__(self, root: Path) -> None:
        """``root`` is what :meth:`find` returned."""
        self.root = root
        self.left_out: list[str] = []
        """A line for each thing that the last walk could not use."""

    @classmethod
    @abstractmethod
    def find(cls, folder: Path) -> Path | None:
        """Where in ``folder`` (itself, or up to three levels below) this set's layout begins; None = it is another."""

    @abstractmethod
    def walk(self) -> Iterator[Sample]:
        """Samples in the order of their names. Raises DatasetError."""

    def samples(self) -> Iterator[Sample]:
        """A fresh walk."""
        self.left_out.clear()
        return self.walk()

    def standing(self, subjects: int) -> Standing:
        """Whether figures from ``subjects`` people may be called the set's."""
        if any((folder / MADE).exists() for folder in (self.root, *self.root.parents[:3])):
            return "made"
        return "complete" if subjects >= self.published else "part"


def subject_folds(samples: Sequence[Sample], count: int) -> list[int]:
    """The fold of each sample: one subject's are all in one fold, and folds differ by one subject at most. The same
    subjects give the same folds on every machine."""
    order = {name: i for i, name in enumerate(sorted({s.subject for s in samples}))}
    return [order[s.subject] % max(1, min(count, len(order))) for s in samples]


def summary(dataset: FaceDataset) -> dict[str, object]:
    """What a walk through the whole set finds, for people and programs. Raises DatasetError."""
    subjects: set[str] = set()
    labels: Counter[str] = Counter()
    pictures = sequences = coded = count = 0
    for sample in dataset.samples():
        subjects.add(sample.subject)
        labels[sample.expression or "no label"] += 1
        pictures += len(sample.pictures)
        sequences += sample.sequence
        coded += sample.units is not None
        count += 1
    return {
        "dataset": dataset.name,
        "folder": str(dataset.root),
        "standing": dataset.standing(len(subjects)),
        "subjects": len(subjects),
        "published_subjects": dataset.published,
        "samples": count,
        "sequences": sequences,
        "pictures": pictures,
        "with_action_units": coded,
        "expressions": dict(sorted(labels.items())),
        "left_out": list(dataset.left_out),
    }
