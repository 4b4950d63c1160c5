"""The gallery of the documentation: every shipped avatar in sixteen states, and a strip of speech.

Made again by ``python -m avatar.models.expression.gallery --out docs/gallery``. Every picture
carries the badge, as on air.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from avatar import plugins
from avatar.config import Config
from avatar.core import facs
from avatar.core.types import U8, FaceState, Gaze, Ns, Pose, freeze
from avatar.errors import AvatarError
from avatar.labels import make_badge
from avatar.models import registry
from avatar.parts import find_avatar, library, make_engine
from avatar.render import Input, plan

CELL, TEXT = 224, 22
"""Pixels a side of a picture, and of the line under it."""
_SIZE = 512
_BOX = slice(40, 460), slice(46, 466)
"""Rows and columns of the drawn picture that are shown."""
STRIP = 8
"""Frames of speech, every second one of 30 a second."""

Units = Mapping[int, float]
STATES: Mapping[str, tuple[Units, tuple[float, float, float], tuple[float, float]]] = {
    "rest": ({}, (0, 0, 0), (0, 0)),
    "smile": ({6: 0.5, 12: 0.7}, (0, 2, 0), (0, 0)),
    "laugh": ({6: 0.9, 7: 0.3, 12: 1.0, 25: 1.0, 26: 0.7}, (4, 4, -3), (0, 0)),
    "sad": ({1: 0.8, 4: 0.4, 15: 0.8, 17: 0.3}, (-3, -5, 0), (0, -0.1)),
    "angry": ({4: 0.9, 5: 0.4, 7: 0.5, 23: 0.7}, (0, -3, 0), (0, 0)),
    "surprised": ({1: 0.8, 2: 0.8, 5: 0.7, 26: 0.8}, (0, 3, 0), (0, 0)),
    "afraid": ({1: 0.7, 2: 0.4, 4: 0.4, 5: 0.8, 20: 0.6, 25: 0.7}, (-4, 0, 2), (0.15, 0)),
    "disgusted": ({4: 0.4, 9: 0.8, 10: 0.5, 15: 0.3}, (5, 0, 0), (0, 0)),
    "doubt": ({1: 0.2, 2: 0.6, 14: 0.5, 24: 0.4}, (-6, 0, 5), (-0.15, 0)),
    "eyes shut": ({45: 1.0}, (0, 0, 0), (0, 0)),
    "look aside": ({}, (10, 0, 0), (-0.2, 0.03)),
    "head up": ({12: 0.2}, (-8, 8, 4), (0, 0)),
    "PP": ({24: 0.5, 28: 0.3}, (0, 0, 0), (0, 0)),
    "aa": ({25: 0.6, 27: 0.65}, (0, 0, 0), (0, 0)),
    "ou": ({18: 0.7, 22: 0.4, 26: 0.2}, (0, 0, 0), (0, 0)),
    "E": ({20: 0.4, 10: 0.2, 12: 0.2, 25: 0.8, 26: 0.4}, (0, 0, 0), (0, 0)),
}
"""Name -> action units; yaw, pitch and roll in degrees; gaze in radians."""


def state_of(name: str) -> FaceState:
    """One of :data:`STATES`."""
    units, head, gaze = STATES[name]
    arkit = facs.from_action_units(units)
    facs.set_eye_look(arkit, *gaze)
    return FaceState(Ns(0), freeze(arkit), Pose.degrees(*head), Gaze(*gaze))


def cell(picture: U8, text: str) -> U8:
    """The face of a drawn picture, and a line under it."""
    face = np.asarray(cv2.resize(picture[_BOX], (CELL, CELL), interpolation=cv2.INTER_AREA), np.uint8)
    make_badge(CELL, Config().avatar).apply(face)
    line = np.full((TEXT, CELL, 3), 24, np.uint8)
    cv2.putText(line, text, (6, TEXT - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([face, line])


def grid(cells: Sequence[U8], columns: int) -> U8:
    """Cells in rows; the last row is filled with black."""
    blank = np.zeros_like(cells[0])
    full = [*cells, *[blank] * (-len(cells) % columns)]
    return np.vstack([np.hstack(full[i : i + columns]) for i in range(0, len(full), columns)])


def write(folder: Path, engine: str, names: Sequence[str], audio: Path) -> None:
    """A sheet for each avatar, and a strip of each as it speaks ``audio``. Raises AvatarError."""
    folder.mkdir(parents=True, exist_ok=True)
    strips = []
    heard = list(plan(Config(), Input(audio=audio)).states)[20 : 20 + 2 * STRIP : 2]
    for name in names:
        draw = make_engine(engine, find_avatar(name), _SIZE).render
        save(folder / f"{name}.jpg", grid([cell(draw(state_of(s)), s) for s in STATES], 4))
        strips += [cell(draw(state), name) for state in heard]
    save(folder / "talking.jpg", grid(strips, STRIP))


def save(path: Path, picture: U8) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 86])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="draw the gallery of the documentation")
    parser.add_argument("--engine", default=Config().avatar.engine, choices=plugins.names("engines"))
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"))
    parser.add_argument("names", nargs="*", help="avatars; all that are shipped where none is named")
    parser.add_argument("--audio", type=Path, default=registry.samples_dir() / "demo.ogg", help="what the strips say")
    given = parser.parse_args()
    try:
        write(given.out, given.engine, given.names or [entry.name for entry in library().entries()], given.audio)
    except AvatarError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
