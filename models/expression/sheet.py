"""Contact sheets: what the figures are about, for the eye."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from avatar.core.types import U8
from avatar.errors import StorageError
from avatar.trust import metadata
from avatar.trust.provenance import aigc

LINES_A_SHEET = 6
SAYS = "AI-generated faces, some beside photographs"
"""Below every sheet; narrow ones show its beginning."""
_TILE, _STRIP = 256, 20


def make_folder(folder: Path) -> None:
    """Before the work begins, not after it. Raises StorageError where the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"--keep {folder}: cannot be made ({error.strerror}); name another folder") from error


def write_sheet(path: Path, pixels: U8) -> None:
    """A PNG that says below and in its metadata that there are generated faces on it; its folder is made. Raises
    StorageError where it cannot be written."""
    _write(path, _with_strip(pixels), generated=True)


def write_picture(path: Path, pixels: U8, generated: bool) -> None:
    """One face as a PNG for people to judge, so without visible marks; what is generated says so in its metadata. Its
    folder is made. Raises StorageError where it cannot be written."""
    _write(path, pixels, generated)


def _write(path: Path, pixels: U8, generated: bool) -> None:
    _, png = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    number = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(metadata.put(png.tobytes(), aigc(number)) if generated else png.tobytes())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); name another folder") from error


def _with_strip(pixels: U8) -> U8:
    strip = np.zeros((_STRIP, pixels.shape[1], 3), np.uint8)
    cv2.putText(strip, SAYS, (5, _STRIP - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([pixels, strip])


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
    for start in range(0, len(lines), LINES_A_SHEET):
        part = slice(start, start + LINES_A_SHEET)
        made = []
        for label, line in zip(labels[part], lines[part], strict=True):
            texts = [label, *heads[1:]]
            made.append(np.hstack([_tile(picture, text) for picture, text in zip(line, texts, strict=True)]))
        path = folder / f"{name}_{start // LINES_A_SHEET + 1:02}.png"
        write_sheet(path, np.vstack(made))
        written.append(path)
    return written


def _tile(picture: U8, text: str) -> U8:
    """(256, 256, 3) with a text in its upper corner."""
    if len(picture) != _TILE:
        picture = np.asarray(cv2.resize(picture, (_TILE, _TILE), interpolation=cv2.INTER_AREA), np.uint8)
    tile = picture.copy()
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, text, (5, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA)
    return tile
