"""What the readers share: folders without the litter of other systems, and errors that name file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from avatar.errors import DatasetError

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"))
_LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx"))


def litter(name: str) -> bool:
    """Left behind by file managers and archivers: .DS_Store, ._S005.png, Thumbs.db, __MACOSX."""
    return name.startswith(".") or name.lower() in _LITTER


def entries(folder: Path) -> list[Path]:
    """What a folder holds, by name. Raises DatasetError where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not litter(path.name))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror}); check the folder and its rights") from error


def folders(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.is_dir()]


def pictures(folder: Path) -> list[Path]:
    """Pictures by the numbers in their names (2 before 10), then by name; the case of the ending does not matter."""
    found = [path for path in entries(folder) if path.suffix.lower() in PICTURES]
    return sorted(found, key=lambda path: (last_number(path.stem), path.name))


def last_number(text: str) -> int:
    """The last run of digits; -1 where there is none."""
    found = re.findall(r"\d+", text)
    return int(found[-1]) if found else -1


def child(folder: Path, *names: str) -> Path | None:
    """The folder in ``folder`` that has one of these names, in any case of letters; the first name is preferred."""
    if not folder.is_dir():
        return None
    by_name = {path.name.lower(): path for path in folders(folder)}
    return next((by_name[name.lower()] for name in names if name.lower() in by_name), None)


def below(folder: Path, depth: int = 3) -> Iterator[Path]:
    """``folder`` and the folders in it, level by level: archives are often unpacked into a folder of their own. Folders
    with very many others (subjects) are not descended into."""
    level = [folder] if folder.is_dir() else []
    for _ in range(depth + 1):
        yield from level
        inner = [folders(path) for path in level]
        level = [path for found in inner if len(found) <= 12 for path in found]


def lines(path: Path) -> list[tuple[int, str]]:
    """Lines that say something, with their numbers from 1. Raises DatasetError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        # The lists of the Chinese sets are GBK on some copies; names and numbers in them are ASCII.
        text = path.read_text(encoding="gb18030", errors="replace")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def numbers(path: Path, number: int, line: str, count: int) -> list[float]:
    """``count`` numbers of one line, as ``3.0000000e+00`` or ``3``. Raises DatasetError naming file and line."""
    try:
        found = [float(word) for word in line.replace(",", " ").split()]
    except ValueError:
        found = []
    if len(found) != count:
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise DatasetError(f"{path}, line {number}: {line[:60]!r} is not {wanted}; unpack the file anew")
    return found
