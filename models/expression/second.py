"""``avatar eval smile_photo``: what a second photo at onboarding adds.

The judge of :mod:`.evaluate`, with every engine twice: with the neutral photo alone, and with the smile as the second
photo. That smile is the very picture that is judged against, for there is one smile of each person: the figures say how
much of it comes back, not how well another smile would be met.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import cv2

from avatar import plugins
from avatar.errors import PhotoError, UsageError
from avatar.models import registry
from avatar.models.disjoint import Unseen
from avatar.models.expression import evaluate, folders
from avatar.models.expression.engine_names import engine_names
from avatar.models.expression.evaluate import COPY, Drawn, Progress, drawn, figures
from avatar.models.expression.faces import RENDER_SIZE, Eyes, Pair, read_pair
from avatar.models.expression.identity import FaceNet
from avatar.models.expression.sheet import contact_sheets, make_folder
from avatar.parts import LANDMARKER
from avatar.portrait.basis import HeadBasis
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.photo import read_photo
from avatar.portrait.smile import with_smile

SECOND = " +smile"


def smile_photo(
    weights: Path,
    data: Path | None = None,
    engine: str = "head",
    limit: int | None = None,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The figures of :func:`.evaluate.expression`, rows ``NAME`` and ``NAME +smile``, over the people whose
    second photo was taken; the others are under ``refused``. Raises UsageError as it does."""
    names = engine_names(engine)
    if data is None:
        raise UsageError("eval smile_photo: give --data DIR, a folder of people with neutral and smile photos")
    wanted = [person for person in folders.people(data) if person.smile][:limit]
    if keep is not None:
        make_folder(keep)
    cv2.setNumThreads(1)
    pairs: list[Pair] = []
    rows: dict[str, list[Drawn]] = {name: [] for name in (COPY, *(n + e for n in names for e in ("", SECOND)))}
    refused: list[str] = []
    with LandmarkDetector(registry.path(LANDMARKER)) as detector, tempfile.TemporaryDirectory() as scratch:
        eyes = Eyes(detector, FaceNet())
        unseen, basis_of = Unseen(weights, Path(scratch)), cache(HeadBasis.load)
        for done, person in enumerate(wanted):
            progress(done, len(wanted))
            assert person.smile is not None
            folder = unseen.folder(person.name)
            try:
                pair = read_pair(person.name, person.neutral, person.smile, basis_of(folder / "head_basis.npz"), eyes)
                both = with_smile(pair.bundle, read_photo(person.smile), detector)
            except PhotoError as error:
                refused.append(f"{person.name}: {error}")
                continue
            pairs.append(pair)
            rows[COPY].append(Drawn(pair.neutral, 0.0))
            for name in names:
                make = plugins.load("engines", name)
                for bundle, end in ((pair.bundle, ""), (both, SECOND)):
                    rows[name + end].append(drawn(make(bundle, RENDER_SIZE, folder), pair, eyes))
    progress(len(wanted), len(wanted))
    if not pairs:
        raise UsageError(f"{data}: none of its smiles can be a second photo ({refused[0]})")
    if keep is not None:
        shown = [name for name in rows if name != COPY]
        lines = [[pair.neutral.pixels, pair.smile.pixels, *(rows[name][i].face.pixels for name in shown)]
                 for i, pair in enumerate(pairs)]  # fmt: skip
        contact_sheets("second", ["", "real smile", *shown], [pair.name for pair in pairs], lines, keep)
    found = figures(pairs, rows, [])
    return {"task": "smile_photo", "people": len(pairs), "skipped": [], "refused": refused} | found


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes."""
    (_, heads, rows, notes) = evaluate.tables(result)[0]
    title = f"what a second photo adds, {result['people']} people; it is the same picture that is judged against"
    notes += [f"not taken as a second photo: {line}" for line in result["refused"]]
    return [(title, heads, rows, notes)]
