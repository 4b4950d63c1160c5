"""CAS(ME)^3, part A (Li, Dong, Wang, Wang, Yan, Liu, Wang & Fu, IEEE Transactions on Pattern Analysis and Machine
Intelligence 2023).

::

    spNO.1/a/color/1.jpg ...                  long videos: subject, video, colour pictures by number (beside depth/)
    Part_A_ME_clip/frame/spNO.1_b_166/...     or clips: subject, video, onset; the pictures keep their numbers
    cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx Subject, Filename, Onset, Apex, Offset, AU, Objective class, emotion

Rows that the coders shaded are withdrawn and dropped. ``AU`` is like ``4+7``, ``L1+R2``. Excel files need openpyxl.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from avatar.errors import DatasetError
from avatar.models.data.faces.files import below, child, entries, folders, last_number, pictures
from avatar.models.data.faces.sample import FaceDataset, Sample, Side, Unit

COLUMNS = ("subject", "filename", "onset", "apex", "offset", "au", "emotion")
_SYNONYMS = {"sub": "subject", "seq": "filename", "file": "filename", "aus": "au", "emotions": "emotion"}
LABELS = {
    "anger": "anger", "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness",
    "happiness": "happiness", "sad": "sadness", "sadness": "sadness", "surprise": "surprise", "contempt": "contempt",
    "others": "other", "other": "other",
}  # fmt: skip
_SUBJECT = re.compile(r"spno\.\d+", re.IGNORECASE)
_UNIT = re.compile(r"([LRB]?)\s*(?:AU)?\s*(\d{1,2})([A-E]?)", re.IGNORECASE)
_SHEET = re.compile(r"cas\(?me\)?\^?3.*label.*\.xlsx?", re.IGNORECASE)
_NOTHING = ("", "0", "/", "?", "none", "nan")
_WHITE = ("FFFFFFFF", "00FFFFFF")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the sheet that was not shaded."""

    number: int
    """Of the row, from 1."""
    subject: str
    video: str
    onset: int
    apex: int
    offset: int
    units: tuple[Unit, ...]
    emotion: str | None


class CasMe3(FaceDataset):
    """Sequences from onset to offset, with the apex between them: micro-expressions."""

    name = "casme3"
    published = 94
    """With micro-expressions in the label sheet; 100 took part."""

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        if not folder.is_dir():
            return None
        found = _sheets(folder) or any(
            _SUBJECT.match(path.name) for place in below(folder, 2) for path in entries(place)
        )
        return folder if found else None

    def walk(self) -> Iterator[Sample]:
        sheet = self._sheet()
        rows, shaded = read_sheet(sheet)
        if shaded:
            self.left_out.append(f"{sheet}: {shaded} shaded rows")
        places = _places(self.root)
        for row in rows:
            folder = _pictures_of(row, places)
            if folder is None:
                self.left_out.append(f"{sheet}, row {row.number}: no pictures of {row.subject}, {row.video}")
                continue
            found = [path for path in pictures(folder) if row.onset <= last_number(path.stem) <= row.offset]
            at = {last_number(path.stem): number for number, path in enumerate(found)}
            if missing := [name for name in ("onset", "apex", "offset") if getattr(row, name) not in at]:
                number = getattr(row, missing[0])
                self.left_out.append(f"{sheet}, row {row.number}: {folder} has no picture {number} ({missing[0]})")
                continue
            yield Sample(
                name=f"{row.subject}_{row.video}_{row.onset}",
                subject=row.subject,
                pictures=tuple(found),
                expression=row.emotion,
                units=row.units,
                onset=at[row.onset],
                apex=at[row.apex],
                offset=at[row.offset],
                attributes=(("video", row.video),),
            )

    def _sheet(self) -> Path:
        found = _sheets(self.root)
        micro = [path for path in found if "mae" not in path.name.lower()] or found
        sheets = [path for path in micro if path.suffix.lower() == ".xlsx"]
        if sheets:
            return max(sheets, key=lambda path: path.name)  # of several editions the last one
        if found:
            raise DatasetError(f"{found[0]}: an Excel file of the old kind; save it as .xlsx beside it")
        raise DatasetError(f"{self.root}: no label sheet in it (cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx)")


def _sheets(folder: Path) -> list[Path]:
    return [path for place in below(folder, 2) for path in entries(place) if _SHEET.fullmatch(path.name)]


def _places(root: Path) -> list[dict[str, Path]]:
    """What is in the folders whose own folders are subjects or clips, by name in small letters."""
    listed = ({path.name.lower(): path for path in folders(place)} for place in below(root))
    return [by_name for by_name in listed if any(map(_SUBJECT.match, by_name))]


def _pictures_of(row: Row, places: Sequence[dict[str, Path]]) -> Path | None:
    for place in places:
        if (clip := place.get(f"{row.subject}_{row.video}_{row.onset}".lower())) is not None:
            return clip
        if (subject := place.get(row.subject.lower())) is not None and (video := child(subject, row.video)) is not None:
            return child(video, "color") or video
    return None


def read_sheet(path: Path) -> tuple[list[Row], int]:
    """Rows, and how many were shaded. Raises DatasetError naming file and row, or what to install."""
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise DatasetError(f"{path}: Excel files need openpyxl; pip install 'vultus[data]'") from error
    try:
        book = openpyxl.load_workbook(path, data_only=True)
    except Exception as error:  # damaged archives raise many kinds
        raise DatasetError(f"{path}: not a readable Excel file ({str(error).splitlines()[0]})") from error
    table = list(book.worksheets[0].iter_rows())
    book.close()
    if not table:
        raise DatasetError(f"{path}: the first sheet is empty; the columns {', '.join(COLUMNS)} are expected")
    at: dict[str, int] = {}
    for column, cell in enumerate(table[0]):
        word = str(cell.value or "").strip().lower()
        at.setdefault(_SYNONYMS.get(word, word), column)
    if missing := [name for name in COLUMNS if name not in at]:
        raise DatasetError(f"{path}, row 1: no column {', '.join(missing)}; {', '.join(COLUMNS)} are expected")
    rows, shaded = [], 0
    for number, cells in enumerate(table[1:], 2):
        values = {name: cells[at[name]].value for name in COLUMNS}
        if all(value is None or str(value).strip() == "" for value in values.values()):
            continue
        if any(_shaded(cells[at[name]]) for name in COLUMNS):
            shaded += 1
            continue
        rows.append(_row(path, number, values))
    return rows, shaded


def _shaded(cell: Any) -> bool:
    fill = cell.fill
    if fill is None or fill.fill_type is None:
        return False
    colour = fill.fgColor
    if colour.type == "rgb":
        return colour.rgb not in _WHITE
    if colour.type == "theme":
        return not (colour.theme == 0 and not colour.tint)  # theme 0 is the sheet's own white
    return colour.indexed not in (1, 9, 64, 65)  # white, and the system's own colours


def _row(path: Path, number: int, values: dict[str, object]) -> Row:
    where = f"{path}, row {number}"
    frames = {}
    for name in ("onset", "apex", "offset"):
        try:
            frames[name] = int(float(str(values[name])))
        except (ValueError, OverflowError):
            raise DatasetError(f"{where}: {name} is {values[name]!r}; a picture's number is expected") from None
    if not frames["onset"] <= frames["apex"] <= frames["offset"]:
        order = ", ".join(f"{name} {frame}" for name, frame in frames.items())
        raise DatasetError(f"{where}: {order}: they are not in this order")
    emotion = str(values["emotion"] or "").strip().lower()
    if emotion not in LABELS and emotion not in _NOTHING:
        raise DatasetError(f"{where}: emotion {values['emotion']!r} is none of {', '.join(sorted(set(LABELS)))}")
    subject, video = str(values["subject"] or "").strip(), str(values["filename"] or "").strip()
    if not subject or not video:
        raise DatasetError(f"{where}: no subject or no filename")
    return Row(number, subject, video, units=units(where, values["au"]), emotion=LABELS.get(emotion), **frames)


def units(where: str, value: object) -> tuple[Unit, ...]:
    """``4+7``, ``L1+R2``, ``AU12``; nothing for an empty cell, 0, / and ?. Raises DatasetError."""
    text = str(value if value is not None else "").strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    found = []
    for word in filter(None, re.split(r"[+,;/\uff0c\u3001\s]+", text)):
        if word.lower() in _NOTHING:
            continue
        match = _UNIT.fullmatch(word)
        if match is None:
            raise DatasetError(f"{where}: AU {text!r}: {word!r} is no action unit (as in 4+7, L1+R2)")
        side, unit, letter = match.groups()
        level = float("ABCDE".index(letter.upper()) + 1) if letter else None
        found.append(Unit(int(unit), level, cast(Side, side.upper().replace("B", ""))))
    return tuple(found)
