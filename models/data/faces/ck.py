"""CK+: the extended Cohn-Kanade data set (Lucey, Cohn, Kanade, Saragih, Ambadar & Matthews, CVPR Workshops 2010).

::

    cohn-kanade-images/S005/001/S005_001_00000001.png ...     from neutral to the apex, where a sequence ends
    Emotion/S005/001/S005_001_00000011_emotion.txt            "   3.0000000e+00"; 327 of 593 sequences have one
    FACS/S005/001/S005_001_00000011_facs.txt                  a line per unit: number, intensity; 0 = none given
    Landmarks/S005/001/S005_001_00000001_landmarks.txt        68 lines "x y", for every picture

Labels stand beside the last picture. Folders of sequences without a label are there and empty, or not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from avatar.core.types import F32
from avatar.errors import DatasetError
from avatar.models.data.faces.files import below, child, entries, folders, last_number, lines, numbers, pictures
from avatar.models.data.faces.sample import FaceDataset, Sample, Unit

IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images")
LABELS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
_SUBJECT = re.compile(r"S\d{3}")


class CohnKanade(FaceDataset):
    """Sequences: onset 0, apex the last picture."""

    name = "ck+"
    published = 123

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        for path in below(folder):
            if child(path, *IMAGES) is not None:
                return path
        return None

    def walk(self) -> Iterator[Sample]:
        images = _tree(self.root, *IMAGES)
        if images is None:
            raise DatasetError(f"{self.root}: no folder {IMAGES[0]} in it; unpack the archive of the pictures")
        trees = {
            "emotion": _tree(self.root, "Emotion", "Emotion_labels"),
            "facs": _tree(self.root, "FACS", "FACS_labels"),
            "landmarks": _tree(self.root, "Landmarks"),
        }
        self.left_out += [f"{self.root}: no folder of {name} labels" for name, tree in trees.items() if tree is None]
        for subject in folders(images):
            if _SUBJECT.fullmatch(subject.name) is None:
                continue
            for sequence in folders(subject):
                found = pictures(sequence)
                if not found:
                    self.left_out.append(f"{sequence}: no pictures")
                    continue
                yield self._sample(subject.name, sequence.name, found, trees)

    def _sample(self, subject: str, sequence: str, found: list[Path], trees: dict[str, Path | None]) -> Sample:
        emotion = _label_file(trees["emotion"], subject, sequence, "_emotion.txt", found)
        facs = _label_file(trees["facs"], subject, sequence, "_facs.txt", found)
        points: tuple[Path | None, ...] = ()
        if trees["landmarks"] is not None:
            place = trees["landmarks"] / subject / sequence
            named = (place / f"{path.stem}_landmarks.txt" for path in found)
            points = tuple(path if path.is_file() else None for path in named)
        return Sample(
            name=f"{subject}_{sequence}",
            subject=subject,
            pictures=tuple(found),
            expression=None if emotion is None else _emotion(emotion),
            units=None if facs is None else _units(facs),
            onset=0,
            apex=len(found) - 1,
            landmarks=points,
        )


def _tree(root: Path, *names: str) -> Path | None:
    """The folder of that name; where an archive was unpacked into a folder of its own, the inner one."""
    found = child(root, *names)
    while found is not None and (inner := child(found, *names)) is not None:
        found = inner
    return found


def _label_file(tree: Path | None, subject: str, sequence: str, ending: str, found: list[Path]) -> Path | None:
    """The one label of a sequence, which must belong to one of its pictures."""
    folder = None if tree is None else tree / subject / sequence
    if folder is None or not folder.is_dir():
        return None
    files = [path for path in entries(folder) if path.name.endswith(ending)]
    if not files:
        return None
    if len(files) > 1:
        raise DatasetError(f"{folder}: {len(files)} files {ending}, one is expected; unpack the archive anew")
    if last_number(files[0].name.removesuffix(ending)) not in {last_number(path.stem) for path in found}:
        raise DatasetError(f"{files[0]}: {found[0].parent} has no picture of that number; unpack both archives anew")
    return files[0]


def _emotion(path: Path) -> str:
    said = lines(path)
    if not said:
        raise DatasetError(f"{path}, line 1: empty; a number from 0 to {len(LABELS) - 1} is expected")
    (value,) = numbers(path, *said[0], 1)
    if value not in range(len(LABELS)):
        raise DatasetError(f"{path}, line {said[0][0]}: {value:g} is no emotion; 0 to {len(LABELS) - 1} are")
    return LABELS[int(value)]


def _units(path: Path) -> tuple[Unit, ...]:
    found = []
    for number, line in lines(path):
        unit, level = numbers(path, number, line, 2)
        if unit != int(unit) or not 1 <= unit <= 99 or not 0 <= level <= 5:
            raise DatasetError(f"{path}, line {number}: unit {unit:g} at {level:g}; 1 to 99 and 0 to 5 are expected")
        found.append(Unit(int(unit), level or None))
    return tuple(found)


def read_landmarks(path: Path) -> F32:
    """(68, 2) pixels, in the order of Multi-PIE. Raises DatasetError naming file and line."""
    rows = [numbers(path, number, line, 2) for number, line in lines(path)]
    if len(rows) != 68:
        raise DatasetError(f"{path}: {len(rows)} points; 68 are expected")
    return np.array(rows, np.float32)
