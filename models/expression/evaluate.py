"""``avatar eval expression``: how well engines turn a neutral portrait into the same person's real smile, or another
expression that their photos show (``--expression``; "smile" stands for it below).

For each person of a folder (:mod:`.folders`): the neutral photo becomes an avatar, the real smile gives the state
(:mod:`avatar.portrait.solve`), the engine draws it with weights that have not learnt from this person
(:mod:`avatar.models.disjoint`), and the picture, eyes on eyes (:mod:`.align`), is compared with the
smile inside the face (:mod:`.metrics`), by a judge of smiles (:mod:`.judge`) and by a network for faces
(:mod:`.identity`). Single action units are asked for on some of the portraits (:mod:`.units`). The row ``copy`` is the
neutral photo itself: what no engine may fall below. Where a measure cannot be trusted, that is said (:mod:`.doubts`).
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
from avatar.errors import EngineError, PhotoError, UsageError
from avatar.models import registry
from avatar.models.data.faces.people import SMILE
from avatar.models.data.faces.people import people as find_people
from avatar.models.disjoint import Unseen
from avatar.models.expression import folders, metrics, report_page
from avatar.models.expression import units as single_units
from avatar.models.expression.align import EYES, face_mask, mouth_mask
from avatar.models.expression.doubts import doubts
from avatar.models.expression.engine_names import engine_names
from avatar.models.expression.faces import RENDER_SIZE, Eyes, Face, Pair, draw, read_pair
from avatar.models.expression.generator import resting
from avatar.models.expression.identity import FaceNet, distances
from avatar.models.expression.judge import SmileJudge
from avatar.models.expression.sheet import contact_sheets, make_folder, write_picture
from avatar.parts import LANDMARKER
from avatar.portrait.basis import HeadBasis
from avatar.portrait.landmarks import LandmarkDetector

COPY = "copy"
UNITS_ON = 6
"""Portraits on which single action units are measured."""
PLACES = (1, 5, 10)
"""Of the cumulative match: the own neutral photo is among the nearest so many."""

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
    dataset: str | None = None,
    expression: str = SMILE,
    engine: str = "head",
    limit: int | None = None,
    units: int = UNITS_ON,
    report: Path | None = None,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The figures under ``rows.NAME``, of the real smiles under ``real``, of the judge under ``judge``.

    :param data: a folder of people with an ``index.csv``, or a data set of faces in its published layout.
    :param dataset: which data set, where the folder does not say it itself.
    :param expression: what the neutral photos are made to show.
    :param engine: names with commas between, or ``all``.
    :param limit: so many people at most, in the order of their names. The others are still impostors.
    :param units: portraits on which single action units are measured; 0 leaves that out.
    :param report: a page with pictures is written there, in one file.
    :param keep: contact sheets are written there, and in ``study`` what `avatar study create` takes.

    Raises UsageError where the folder or an engine cannot be used.
    """
    names = engine_names(engine)
    if data is None:
        raise UsageError("eval expression: give --data DIR, a folder of people with neutral and smile photos")
    found = find_people(data, dataset, expression)
    if keep is not None:
        make_folder(keep)
    if report is not None:
        report_page.check(report)
    wanted = [person for person in found.persons if person.smile][:limit]
    cv2.setNumThreads(1)
    net = FaceNet()
    table = _Table(names)
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
                table.skipped.append(str(error))
                continue
            table.add(pair, folder, eyes)
        others = _others(found.persons, {person.name for person in wanted}, eyes, table.skipped)
        progress(len(wanted), len(wanted))
        if not table.pairs:
            raise UsageError(f"{data}: none of its photos can be used ({table.skipped[0]})")
        result = {"task": "expression", "people": len(table.pairs), "source": found.source, "skipped": table.skipped}
        result["expression"] = expression
        result |= figures(table.pairs, table.rows, others)
        still = [(pair.bundle, unseen.folder(pair.name)) for pair in table.pairs if resting(pair.bundle)][:units]
        if still:
            _add_units(result, single_units.measure(list(table.rows), still, detector, net, progress), len(still))
    result["failed"] = table.failed
    result["notes"] = found.notes
    result["doubts"] = doubts(result)
    if keep is not None:
        _keep(table, keep)
    if report is not None:
        report_page.write(report, result, table.pairs, table.rows)
    return result


class _Table:
    """Everybody as every engine draws them. An engine that cannot draw somebody leaves the table."""

    def __init__(self, names: Sequence[str]) -> None:
        self.pairs: list[Pair] = []
        self.rows: dict[str, list[Drawn]] = {name: [] for name in (COPY, *names)}
        self.skipped: list[str] = []
        self.failed: dict[str, str] = {}

    def add(self, pair: Pair, weights: Path, eyes: Eyes) -> None:
        self.pairs.append(pair)
        self.rows[COPY].append(Drawn(pair.neutral, 0.0))
        for name in [name for name in self.rows if name != COPY]:
            try:
                made = plugins.load("engines", name)(pair.bundle, RENDER_SIZE, weights)
                self.rows[name].append(drawn(made, pair, eyes))
            except EngineError as error:
                self.failed[name] = f"{pair.name}: {error}"
                del self.rows[name]


def _add_units(result: dict[str, Any], measured: dict[str, dict[str, Any]], portraits: int) -> None:
    result["units_on"] = portraits
    for name, one in measured.items():
        result["rows"][name] |= single_units.means(one) | {"au": one["au"]}


def _keep(table: _Table, folder: Path) -> None:
    names = [name for name in table.rows if name != COPY]
    lines = [
        [pair.neutral.pixels, pair.smile.pixels, *(table.rows[name][i].face.pixels for name in names)]
        for i, pair in enumerate(table.pairs)
    ]
    contact_sheets("smile", ["", "real", *names], [pair.name for pair in table.pairs], lines, folder)
    real = "real"
    every = {real: [pair.smile.pixels for pair in table.pairs]}
    every |= {name: [one.face.pixels for one in row] for name, row in table.rows.items()}
    for name, pictures in every.items():
        for pair, pixels in zip(table.pairs, pictures, strict=True):
            write_picture(folder / "study" / name / f"{pair.name}.png", pixels, name not in (real, COPY))


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

    truth = [pair.smile for pair in pairs]
    scale = metrics.identity_scale(distances([f.descriptor for f in truth], gallery))

    def of_faces(faces: Sequence[Face]) -> dict[str, Any]:
        apart = distances([f.descriptor for f in faces], gallery)
        own, margin, nearest = metrics.identity_margins(apart)
        alone = len(gallery) == 1
        places = metrics.ranks(apart)
        classes = metrics.identity_classes(apart, scale)
        return {
            "judged": None if judge is None else _round(judge.smiles([f.features for f in faces]).mean()),
            "identity_distance": _round(own.mean()),
            "identity_margin": None if alone else _round(margin.mean()),
            "identity_margin_min": None if alone else _round(margin.min()),
            "rank1": None if alone else _round(nearest.mean()),
            **{f"rank{k}": None if alone else _round((places <= k).mean()) for k in PLACES if k > 1},
            "identity_inception": None if alone else _round(metrics.inception_formula(classes), 3),
        }

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
            "each": [
                {"name": pair.name, "gain": _round(g, 3), "psnr": _round(e["psnr"], 3)}
                for pair, g, e in zip(pairs, gain, each, strict=True)
            ],
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
    "judged": "judged",
    "ident": "identity_distance",
    "margin": "identity_margin",
    "rank-1": "rank1",
    "rank-5": "rank5",
    "id-IS": "identity_inception",
    "ICC": "icc",
    "leak": "leakage",
    "ms": "ms",
}
_DIGITS = {"psnr": 2, "mse": 0, "mouth_psnr": 2, "landmark_error": 2, "ms": 1, "identity_inception": 2}


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
        f"people: it takes {judge['neutral_taken_for_smile']:.3f} of the neutral ones for {word(result)} and finds "
        f"{judge['smile_found']:.3f} of the real ones",
        "PSNR in dB inside the face; mouth: inside the mouth; lmk %: distance of the landmarks in percent of that of "
        f"the eyes; judged: judged to show {word(result)}",
        f"ident: distance to one's own neutral photo; margin: how much nearer than the nearest of "
        f"{result['gallery'] - 1} others; id-IS: the Inception Score's formula with a classifier of these people; "
        f"ms: processor time of a picture",
    ]
    if "units_on" in result:
        notes.append(f"ICC, leak: single action units on {result['units_on']} portraits, mean of the units")
    notes += result.get("notes", [])
    notes += [f"{name}: not in the table, it cannot draw {why}" for name, why in result.get("failed", {}).items()]
    notes += [f"beware: {doubt['text']}" for doubt in result.get("doubts", [])]
    for name, row in result["rows"].items():
        if row["no_face"]:
            notes.append(f"{name}: in {row['no_face']} pictures no face was found")
    notes += [f"left out: {line}" for line in result["skipped"]]
    return [(f"neutral to {word(result)}, {result['people']} people{origin(result)}", ["row", *_COLUMNS], cells, notes)]


def word(result: dict[str, Any]) -> str:
    """What is made of the neutral photos."""
    expression = result.get("expression", SMILE)
    return "smile" if expression == SMILE else str(expression)


def origin(result: dict[str, Any]) -> str:
    """Whose figures these are: a data set's name stands alone only where all of it was judged."""
    source = result.get("source", {})
    if not source.get("dataset"):
        return ""
    if source["standing"] == "made":
        return f" made for tests in the layout of {source['title']}"
    whole = source["standing"] == "complete" and result["people"] == source["pairs"]
    return f" of {source['title']}" + ("" if whole else f", {result['people']} of {source['subjects']} subjects")
