"""Smile, age, glasses and turn of the drawn faces: what `dcgan` mixes and `interfacegan` finds again.

Smile and turn are what was drawn (:mod:`.data`), glasses are painted on by :mod:`avatar.models.glasses.synthesis`, age
is what a portrait looks like: :data:`OLD` and :data:`UNSURE` were found by looking at all of them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32, U8
from avatar.engines.corrector import EYE_CORNERS
from avatar.engines.head import MAX_YAW, SEEN_YAW
from avatar.engines.head_mesh import TRACKED
from avatar.models.glasses.synthesis import wear
from avatar.models.recipes.data import UNITS, Faces, Part

NAMES = ("smile", "old", "glasses", "right")
"""Attributes, each there or not. "right" is the nose's side in the picture."""
OLD = frozenset((
    34, 35, 37, 39, 40, 45, 49, 58, 60, 61, 63, 64, 82, 94, 96, 97, 98, 100, 101, 102, 103, 105, 106, 107, 109, 110,
    111, 113, 114, 115, 118, 119, 120, 121, 122, 123, 124, 125, 127, 128, 129, 130, 131, 132, 156, 157, 174, 191, 242,
    270, 271, 426, 427, 430, 438, 442, 482, 483,
))  # fmt: skip
"""Numbers of the pictures of faces/t2i that look about sixty or more."""
UNSURE = frozenset((
    1, 21, 41, 43, 47, 59, 68, 91, 104, 144, 147, 151, 152, 154, 155, 158, 187, 188, 189, 190, 216, 217, 218, 248, 272,
    281, 283, 300, 302, 303, 307, 312, 316, 335, 343, 347, 352, 360, 380, 382, 383, 384, 385, 400, 402, 403, 418, 420,
    423, 437, 463, 464, 466, 467, 479, 480, 481, 491,
))  # fmt: skip
"""Those that might be anything between forty-five and sixty-five: their age has no label."""
SIDE = 32
"""Pixels a side."""
WINDOW = (8, 56, 12, 60)
"""Left, right, top and bottom of the face in the pictures of :mod:`.data`: brows to chin."""
SMILING, STRAIGHT = (0.2, 0.5), 4.0
"""Of action unit 12: up to the first there is no smile, from the second on there is; and the degrees up to which nobody
can be said to look aside."""
_EYES = 40.0
"""Pixels between the eyes where glasses are drawn: at twice the pictures' size."""
_TRIES, _SEEN = 8, 7000.0
"""Draws of a pair of glasses, and the least sum of grey levels that its frame changes."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Labelled pictures."""

    pictures: U8
    """(n, 32, 32, 3)."""
    labels: F32
    """(n, 4), the columns of :data:`NAMES`: 1 = there, 0 = not, NaN = in between or unknown."""
    person: NDArray[np.int64]
    """(n,) as in :class:`.data.Faces`."""

    def __len__(self) -> int:
        return len(self.pictures)


def turns(bundle: Path, names: Sequence[str]) -> F32:
    """(p,) degrees of yaw of the portraits themselves, > 0 = nose to the picture's right."""
    with (bundle / "faces" / "t2i" / "index.csv").open(newline="", encoding="utf-8") as file:
        known = {row["file"]: float(row["yaw"]) for row in csv.DictReader(file)}
    return np.array([known[str(name)] for name in names], np.float32)


def labelled(faces: Faces, turned: F32 | None = None, share: float = 0.5, seed: int = 0) -> Attributes:
    """Crops of ``faces``, a ``share`` of them with glasses painted on; who wears glasses anyway is left out.

    :param turned: of :func:`turns`; without it nobody's turn is known.
    """
    faces = faces.where(~faces.glasses[faces.person])
    random = np.random.default_rng(seed)
    wearing = random.random(len(faces)) < share
    crops = np.empty((len(faces), SIDE, SIDE, 3), np.uint8)
    for i, picture in enumerate(faces.pictures):
        shown = with_glasses(picture, faces.landmarks[i], random) if wearing[i] else picture
        crops[i] = crop(shown)
    smile = faces.units[:, UNITS.index(12)]
    drawn = np.clip(SEEN_YAW * faces.pose[:, 0], -MAX_YAW, MAX_YAW)
    yaw = np.full(len(faces), np.nan, np.float32) if turned is None else drawn + turned[faces.person]
    columns = (
        _sides(smile, *SMILING),
        np.array([age(str(name)) for name in faces.names], np.float32)[faces.person],
        wearing,
        _sides(yaw, -STRAIGHT, STRAIGHT),
    )
    return Attributes(crops, np.stack(columns, 1).astype(np.float32), faces.person)


def crop(picture: U8) -> U8:
    """The face (32, 32, 3) in a picture (64, 64, 3) of :mod:`.data`."""
    left, right, top, bottom = WINDOW
    return np.asarray(cv2.resize(picture[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def age(name: str) -> float:
    """1 = old, 0 = not, NaN = hard to say; of a portrait's file name."""
    number = int(Path(name).stem)
    return 1.0 if number in OLD else float("nan") if number in UNSURE else 0.0


def with_glasses(picture: U8, landmarks: F32, random: np.random.Generator) -> U8:
    """(64, 64, 3) with glasses that can be seen at this size: rims of a hair's width in the skin's colour cannot.

    :param landmarks: (72, 2) of :class:`.data.Faces`.
    """
    middle = 2 * landmarks[[TRACKED.index(i) for i in EYE_CORNERS]].mean(0) + 0.5
    large = np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
    for _ in range(_TRIES):
        worn, frame = wear(random, large, (float(middle[0]), float(middle[1])), _EYES)
        change = np.abs(worn.astype(np.float32) - large).mean(2)
        if float((change * frame).sum()) > _SEEN:
            break
    return np.asarray(cv2.resize(worn, picture.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)


def of_part(faces: Faces, parts: Sequence[Part], turned: F32, seed: int = 0) -> Attributes:
    """Labelled pictures of the people of several parts."""
    made = [labelled(faces.part(part), turned, seed=seed + i) for i, part in enumerate(parts)]
    return Attributes(*(np.concatenate([getattr(m, f) for m in made]) for f in ("pictures", "labels", "person")))


def _sides(value: F32, low: float, high: float) -> F32:
    """1 from ``high`` on, 0 up to ``low``, NaN between them."""
    return np.where(value >= high, 1, np.where(value <= low, 0, np.nan)).astype(np.float32)
