"""Contact sheets: what the figures are about, for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from avatar.core.types import U8
from avatar.errors import StorageError

LINES_A_SHEET = 6
_TILE = 256


def make_folder(folder: Path) -> None:
    """Before the work begins, not after it. Raises StorageError where the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"--keep {folder}: cannot be made ({error.strerror}); name another folder") from error


def write_picture(path: Path, pixels: U8) -> None:
    """A PNG; its folder is made. Raises StorageError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _, png = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); name another folder") from error


def contact_sheets(
    name: str, heads: Sequence[str], labels: Sequence[str], lines: Sequence[Sequence[U8]], folder: Path
) -> list[Path]:
    """``NAME_01.png`` and so on, six lines of pictures on each.

    :param heads: what stands in each column's pictures; the first column shows the line's label instead.
    :param lines: pictures, a line for each of ``labels``.

    Raises StorageError where the folder cannot be written to.
    """
    make_folder(folder)
    written = []
    try:
        for start in range(0, len(lines), LINES_A_SHEET):
            part = slice(start, start + LINES_A_SHEET)
            made = []
            for label, line in zip(labels[part], lines[part], strict=True):
                texts = [label, *heads[1:]]
                made.append(np.hstack([_tile(picture, text) for picture, text in zip(line, texts, strict=True)]))
            _, png = cv2.imencode(".png", cv2.cvtColor(np.vstack(made), cv2.COLOR_RGB2BGR))
            path = folder / f"{name}_{start // LINES_A_SHEET + 1:02}.png"
            path.write_bytes(png.tobytes())
            written.append(path)
    except OSError as error:
        raise StorageError(f"--keep {folder}: cannot be written to ({error.strerror}); name another folder") from error
    return written


def _tile(picture: U8, text: str) -> U8:
    """(256, 256, 3) with a text in its upper corner."""
    if len(picture) != _TILE:
        picture = np.asarray(cv2.resize(picture, (_TILE, _TILE), interpolation=cv2.INTER_AREA), np.uint8)
    tile = picture.copy()
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, text, (5, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA)
    return tile
