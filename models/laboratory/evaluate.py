"""``avatar eval laboratory``: the classical methods on what only they can be asked.

======== =========================================================================================================
london   real smiles from others' expressions and from true landmarks (:mod:`.london`)
midpoint morphs halfway between two drawn faces, and a cross-dissolve (:mod:`.renders`)
views    halfway between two views 44 degrees apart (:mod:`.renders`)
graft    a mouth from another picture: what changes outside, and the seam (:mod:`.grafts`)
renders  the regression on people who were held out, and the mean model (:mod:`.regressions`)
======== =========================================================================================================
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.errors import PhotoError, UsageError
from avatar.models import registry
from avatar.models.disjoint import Unseen
from avatar.models.expression import evaluate, folders
from avatar.models.expression.faces import Eyes, Pair, read_pair
from avatar.models.expression.identity import FaceNet
from avatar.models.expression.sheet import make_folder
from avatar.models.laboratory import grafts, london, regressions, renders
from avatar.parts import LANDMARKER
from avatar.portrait.basis import HeadBasis
from avatar.portrait.landmarks import LandmarkDetector

Progress = Callable[[int, int], None]
_AVATARS = 9


def laboratory(
    weights: Path,
    data: Path | None = None,
    limit: int | None = None,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The figures under the names of the table above.

    :param data: the folder that holds ``faces/london`` and ``faces/t2i``.
    :param limit: people, avatars and portraits at most. :param keep: contact sheets are written there.

    Raises UsageError where the data cannot be used.
    """
    if data is None:
        raise UsageError("eval laboratory: give --data DIR, the folder with faces/london and faces/t2i")
    people = [person for person in folders.people(data / "faces" / "london") if person.smile][:limit]
    if keep is not None:
        make_folder(keep)
    cv2.setNumThreads(1)
    shown = min(_AVATARS, limit or _AVATARS)
    with LandmarkDetector(registry.path(LANDMARKER)) as detector, tempfile.TemporaryDirectory() as scratch:
        eyes, unseen = Eyes(detector, FaceNet()), Unseen(weights, Path(scratch))
        pairs, skipped = _pairs(people, unseen, eyes, progress)
        result: dict[str, Any] = {"task": "laboratory", "people": len(pairs), "skipped": skipped}
        result["london"] = london.london(pairs, unseen, eyes, progress)
        result["midpoint"] = renders.means(renders.midpoints(weights, detector, shown, keep))
        result["views"] = renders.means(renders.views(weights, detector, shown, keep))
        result["graft"] = _grafts(grafts.grafts(weights, detector, shown, keep))
        most = max(8, min(regressions.PEOPLE, limit or regressions.PEOPLE))
        result["renders"] = regressions.regressions(data, weights, detector, most, progress)
    return result


def _pairs(
    people: list[folders.Person], unseen: Unseen, eyes: Eyes, progress: Progress
) -> tuple[list[Pair], list[str]]:
    """The pairs, and a line for each person whose photos cannot be used."""
    basis_of = cache(HeadBasis.load)
    pairs, skipped = [], []
    for number, person in enumerate(people):
        progress(number, len(people))
        assert person.smile is not None
        basis = basis_of(unseen.folder(person.name) / "head_basis.npz")
        try:
            pairs.append(read_pair(person.name, person.neutral, person.smile, basis, eyes))
        except PhotoError as error:
            skipped.append(str(error))
    if len(pairs) < 2:
        raise UsageError("eval laboratory: it takes two people with a usable neutral and smile photo at least")
    return pairs, skipped


def _grafts(rows: list[renders.Row]) -> dict[str, Any]:
    made = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}
    return made | {"outside": max(row["outside"] for row in rows), "pictures": len(rows)}


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes."""
    seen = result["london"] | {"people": result["people"], "skipped": result["skipped"]}
    made = evaluate.tables(seen)
    for name, title, notes in (
        ("midpoint", "halfway between two drawn faces", ["dB inside the face, against the drawn half"]),
        ("views", "halfway between two views, 44 degrees apart", ["dB inside the face, eyes on eyes"]),
        ("graft", "a mouth from another picture", ["outside: largest change in grey levels; seam: 1 = untouched skin"]),
    ):
        heads = list(result[name])
        made.append((title, heads, [[f"{result[name][key]:g}" for key in heads]], notes))
    cells = [[name, *(f"{v:g}" for v in result["renders"][name].values())] for name in ("coefficients", "mean")]
    note = f"percent, on {result['renders']['people']} people in turn, learnt from the others"
    made.append(("people who were held out", ["model", "landmarks", "shading"], cells, [note]))
    return made
