"""``avatar eval expression``: how well engines turn a neutral portrait into the same person's real smile.

For each person of a folder (:mod:`.folders`): the neutral photo becomes an avatar, the real smile gives the state
(:mod:`avatar.portrait.solve`), the engine draws it with weights that have not learnt from this person
(:mod:`avatar.models.disjoint`), and the picture, eyes on eyes (:mod:`.align`), is compared with the
smile inside the face (:mod:`.metrics`), by a judge of smiles (:mod:`.judge`) and by a network for faces
(:mod:`.identity`). The row ``copy`` is the neutral photo itself: what no engine may fall below.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar import plugins
from avatar.core.types import F32
from avatar.engines.base import Engine
from avatar.errors import PhotoError, UsageError
from avatar.models import registry
from avatar.models.disjoint import Unseen
from avatar.models.expression import folders, metrics
from avatar.models.expression.align import EYES, face_mask, mouth_mask
from avatar.models.expression.faces import RENDER_SIZE, Eyes, Face, Pair, draw, read_pair
from avatar.models.expression.identity import FaceNet, distances
from avatar.models.expression.judge import SmileJudge
from avatar.models.expression.sheet import contact_sheets, make_folder
from avatar.parts import LANDMARKER
from avatar.portrait.basis import HeadBasis
from avatar.portrait.landmarks import LandmarkDetector

COPY = "copy"

Progress = Callable[[int, int], None]


@dataclass
class Drawn:
    """What one row shows of one person."""

    face: Face
    milliseconds: float
    found: bool = True
    """A face was found in the picture; where not, the neutral photo's landmarks stand in."""


def expression(
    weights: Path,
    data: Path | None = None,
    engine: str = "head",
    limit: int | None = None,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The figures under ``rows.NAME``, of the real smiles under ``real``, of the judge under ``judge``.

    :param data: a folder of people with an ``index.csv``.
    :param engine: names with commas between, or ``all``.
    :param limit: so many people at most, in the order of their names. The others are still impostors.
    :param keep: contact sheets are written there.

    Raises UsageError where the folder or an engine cannot be used.
    """
    names = engine_names(engine)
    if data is None:
        raise UsageError("eval expression: give --data DIR, a folder of people with neutral and smile photos")
    people = folders.people(data)
    if keep is not None:
        make_folder(keep)
    wanted = [person for person in people if person.smile][:limit]
    cv2.setNumThreads(1)
    net = FaceNet()
    pairs: list[Pair] = []
    rows: dict[str, list[Drawn]] = {name: [] for name in (COPY, *names)}
    skipped: list[str] = []
    with LandmarkDetector(registry.path(LANDMARKER)) as detector, tempfile.TemporaryDirectory() as scratch:
        eyes = Eyes(detector, net)
        unseen, basis_of = Unseen(weights, Path(scratch)), cache(HeadBasis.load)
        for done, person in enumerate(wanted):
            progress(done, len(wanted))
            assert person.smile is not None
            folder = unseen.folder(person.name)
            basis = basis_of(folder / "head_basis.npz")
            try:
                pair = read_pair(person.name, person.neutral, person.smile, basis, eyes)
            except PhotoError as error:
                skipped.append(str(error))
                continue
            pairs.append(pair)
            rows[COPY].append(Drawn(pair.neutral, 0.0))
            for name in names:
                rows[name].append(drawn(plugins.load("engines", name)(pair.bundle, RENDER_SIZE, folder), pair, eyes))
        others = _others(people, {person.name for person in wanted}, eyes, skipped)
    progress(len(wanted), len(wanted))
    if not pairs:
        raise UsageError(f"{data}: none of its photos can be used ({skipped[0]})")
    result = {"task": "expression", "people": len(pairs), "skipped": skipped} | figures(pairs, rows, others)
    if keep is not None:
        lines = [
            [pair.neutral.pixels, pair.smile.pixels, *(rows[name][i].face.pixels for name in names)]
            for i, pair in enumerate(pairs)
        ]
        contact_sheets("smile", ["", "real smile", *names], [pair.name for pair in pairs], lines, keep)
    return result


def engine_names(text: str) -> list[str]:
    """The engines of ``E[,E...]`` or ``all``. Raises UsageError for an unknown one."""
    known = plugins.names("engines")
    names = known if text.strip() == "all" else list(dict.fromkeys(n for n in map(str.strip, text.split(",")) if n))
    for name in names:
        if name not in known:
            raise UsageError(f"no engine named {name!r}; there are: {', '.join(known)}, or all")
    if not names:
        raise UsageError(f"--engine: name at least one of: {', '.join(known)}, or all")
    return names


def drawn(engine: Engine, pair: Pair, eyes: Eyes) -> Drawn:
    """The pair's smile as the engine draws it."""
    picture, milliseconds = draw(engine, pair.state)
    face = eyes.drawn(picture)
    if face is not None:
        return Drawn(face, milliseconds)
    scale = len(picture) / len(pair.bundle.portrait)
    return Drawn(eyes.place(picture, pair.bundle.landmarks * np.float32(scale)), milliseconds, found=False)


def _others(people: Sequence[folders.Person], known: set[str], eyes: Eyes, skipped: list[str]) -> list[F32]:
    """Descriptors of the people who are not judged: as impostors everybody counts."""
    found = []
    for person in people:
        if person.name not in known:
            try:
                found.append(eyes.photo(person.neutral)[2].descriptor)
            except PhotoError as error:
                skipped.append(f"{person.neutral.name}: {error}")
    return found


def figures(pairs: Sequence[Pair], rows: dict[str, list[Drawn]], others: Sequence[F32]) -> dict[str, Any]:
    """All rows. What needs other people is None where there are none."""
    names = [pair.name for pair in pairs]
    gallery = [pair.neutral.descriptor for pair in pairs] + list(others)
    judge = None
    if len(pairs) > 1:
        judge = SmileJudge(names, [p.neutral.features for p in pairs], [p.smile.features for p in pairs])

    def of_faces(faces: Sequence[Face]) -> dict[str, Any]:
        own, margin, nearest = metrics.identity_margins(distances([f.descriptor for f in faces], gallery))
        alone = len(gallery) == 1
        return {
            "judged": None if judge is None else _round(judge.smiles([f.features for f in faces]).mean()),
            "identity_distance": _round(own.mean()),
            "identity_margin": None if alone else _round(margin.mean()),
            "identity_margin_min": None if alone else _round(margin.min()),
            "rank1": None if alone else _round(nearest.mean()),
        }

    truth = [pair.smile for pair in pairs]
    copied = [_compare(d.face, t)["psnr"] for d, t in zip(rows[COPY], truth, strict=True)]
    made: dict[str, Any] = {}
    for name, members in rows.items():
        each = [_compare(d.face, t) for d, t in zip(members, truth, strict=True)]
        gain = np.subtract([e["psnr"] for e in each], copied)
        made[name] = {
            **{key: _round(np.mean([e[key] for e in each]), 2 if key == "mse" else 4) for key in each[0]},
            **of_faces([d.face for d in members]),
            "ms": _round(np.median([d.milliseconds for d in members]), 2),
            "psnr_over_copy": dict(zip(("lo", "hi"), map(_round, metrics.interval(gain)), strict=True))
            | {"mean": _round(gain.mean())},
            "no_face": sum(not d.found for d in members),
        }
    result: dict[str, Any] = {"rows": made, "real": of_faces(truth), "gallery": len(gallery), "judge": None}
    if judge is not None:
        result["judge"] = {
            "accuracy": _round(judge.accuracy),
            "neutral_taken_for_smile": made[COPY]["judged"],
            "smile_found": result["real"]["judged"],
        }
    return result


def _compare(face: Face, truth: Face) -> dict[str, float]:
    """Inside the face, and the mouth, of the real smile."""
    inside = face_mask(truth.points)
    squared = metrics.mse(face.pixels, truth.pixels, inside)
    return {
        "psnr": metrics.psnr(squared),
        "ssim": metrics.ssim(face.pixels, truth.pixels, inside),
        "mse": squared,
        "mouth_psnr": metrics.psnr(metrics.mse(face.pixels, truth.pixels, mouth_mask(truth.points))),
        "landmark_error": metrics.landmark_error(face.points, truth.points, EYES),
    }


def _round(value: Any, digits: int = 4) -> float:
    return round(float(value), digits)


_COLUMNS = {
    "PSNR": "psnr",
    "SSIM": "ssim",
    "MSE": "mse",
    "mouth": "mouth_psnr",
    "lmk %": "landmark_error",
    "smiles": "judged",
    "ident": "identity_distance",
    "margin": "identity_margin",
    "rank-1": "rank1",
    "ms": "ms",
}
_DIGITS = {"psnr": 2, "mse": 0, "mouth_psnr": 2, "landmark_error": 2, "ms": 1}


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes."""

    def cell(row: dict[str, Any], key: str) -> str:
        value = row.get(key)
        return "-" if value is None else f"{value:.{_DIGITS.get(key, 3)}f}"

    every = {**result["rows"], "real": result["real"]}
    cells = [[name, *(cell(row, key) for key in _COLUMNS.values())] for name, row in every.items()]
    judge = result["judge"]
    notes = [
        "one person: neither a judge nor impostors"
        if judge is None
        else f"the judge itself is right on {judge['accuracy']:.3f} of the real photos, each time learnt from other "
        f"people: it takes {judge['neutral_taken_for_smile']:.3f} of the neutral ones for smiles and finds "
        f"{judge['smile_found']:.3f} of the smiles",
        "PSNR in dB inside the face; mouth: inside the mouth; lmk %: distance of the landmarks in percent of that of "
        "the eyes; smiles: judged to smile",
        f"ident: distance to one's own neutral photo; margin: how much nearer than the nearest of "
        f"{result['gallery'] - 1} others; ms: processor time of a picture",
    ]
    for name, row in result["rows"].items():
        if row["no_face"]:
            notes.append(f"{name}: in {row['no_face']} pictures no face was found")
    notes += [f"left out: {line}" for line in result["skipped"]]
    return [(f"neutral to smile, {result['people']} people", ["row", *_COLUMNS], cells, notes)]
