"""``avatar eval generator``: each action unit alone, from nothing to full, on many portraits: what is measured in the
pictures against what was asked.

Signals: :mod:`.signals`; formulas: :mod:`.metrics`. Portraits that show an expression of their own are left out, since
a smile cannot be added to one; the choice among the others is always the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar import plugins
from avatar.core import facs
from avatar.core.types import U8, FaceState, Ns, freeze
from avatar.engines.base import Engine
from avatar.errors import PhotoError, UsageError
from avatar.models import registry
from avatar.models.disjoint import Unseen
from avatar.models.expression import folders, metrics
from avatar.models.expression.align import align
from avatar.models.expression.engine_names import engine_names
from avatar.models.expression.faces import RENDER_SIZE
from avatar.models.expression.identity import FaceNet
from avatar.models.expression.sheet import contact_sheets, make_folder
from avatar.models.expression.signals import KIN, SIGNALS, Seen, coefficient, lid_openings
from avatar.parts import LANDMARKER
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector
from avatar.portrait.onboard import onboard
from avatar.portrait.photo import read_photo

UNITS: tuple[int, ...] = tuple(SIGNALS)
STEPS = (0.25, 0.5, 0.75, 1.0)
"""Asked of each unit, beside 0."""
PORTRAITS = 60
SHUT = 0.12
"""Opening of an eye, in widths of that eye, below which it looks shut: open ones are about 0.35."""
CLOSED = 0.6
"""MediaPipe's eyeBlink, mean of both sides, from which an eye counts as closed: it is 0.6 to 0.75 on shut eyes."""
_RESTING = {"jawOpen": 0.1, "mouthSmile": 0.35, "eyeBlink": 0.45, "mouthPucker": 0.6, "browDown": 0.5}
"""Coefficients up to which a portrait counts as resting; a name without a side stands for the mean of both."""
_SHEETS = {"upper": (1, 2, 4, 5, 6, 45), "mouth": (10, 12, 15, 17, 18, 20), "jaw": (22, 25, 26, 27)}
_SHOWN = 6

Progress = Callable[[int, int], None]
Floats = NDArray[np.floating]


@dataclass
class Sweep:
    """One portrait with every unit."""

    name: str
    measured: Floats
    """(units asked, steps, signals): change from rest."""
    blink: float
    """eyeBlink, mean of both sides, at full blink."""
    opening: float
    """Opening of the wider eye at full blink, in widths of the eye."""
    identity: list[float]
    """Distance from the portrait, for each unit at full."""
    no_face: int
    """Pictures in which no face was found; they count as no change."""
    pictures: dict[int, U8] = field(default_factory=dict)
    """Aligned pictures of the units at full, 0 being rest; kept for the sheets only."""


def generator(
    weights: Path,
    data: Path | None = None,
    engine: str = "head",
    limit: int = PORTRAITS,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The figures ``au.N.{spearman,icc,leakage,...}``, ``blink_closed`` (share of portraits whose eyeBlink
    reads closed), ``lids_meet`` and ``identity_distance``.

    :param data: a folder of portraits with an ``index.csv``.
    :param engine: the name of one.
    :param limit: so many portraits.
    :param keep: contact sheets are written there.

    Raises UsageError where the folder or the engine cannot be used.
    """
    names = engine_names(engine)
    if len(names) != 1:
        raise UsageError(f"eval generator: name one engine, not {engine}")
    if data is None:
        raise UsageError("eval generator: give --data DIR, a folder of portraits with an index.csv")
    paths = folders.portraits(data)
    if keep is not None:
        make_folder(keep)
    cv2.setNumThreads(1)
    net = FaceNet()
    sweeps: list[Sweep] = []
    unfit = 0
    with LandmarkDetector(registry.path(LANDMARKER)) as detector, tempfile.TemporaryDirectory() as scratch:
        unseen, glasses = Unseen(weights, Path(scratch)), GlassesFinder(weights)
        for index in np.random.default_rng(0).permutation(len(paths)):
            if len(sweeps) == limit:
                break
            progress(len(sweeps), limit)
            try:
                photo = read_photo(paths[index])
                bundle = onboard(photo, "judged", paths[index].stem, "synthetic", detector, glasses=glasses)
            except PhotoError:
                unfit += 1
                continue
            if not resting(bundle):
                unfit += 1
                continue
            keeps = keep is not None and len(sweeps) < _SHOWN
            folder = unseen.folder(paths[index].stem)
            judged = plugins.load("engines", names[0])(bundle, RENDER_SIZE, folder)
            sweeps.append(sweep(judged, bundle, detector, net, keeps))
    progress(limit, limit)
    if not sweeps:
        raise UsageError(f"{data}: no picture of it shows one resting face from the front")
    if keep is not None:
        _write(sweeps[:_SHOWN], keep)
    return {"task": "generator", "engine": names[0], "portraits": len(sweeps), "left_out": unfit} | figures(sweeps)


def resting(bundle: AvatarBundle) -> bool:
    """The portrait shows no expression of its own."""
    return all(coefficient(bundle.coefficients, name) <= most for name, most in _RESTING.items())


def sweep(engine: Engine, bundle: AvatarBundle, detector: LandmarkDetector, net: FaceNet, keep: bool) -> Sweep:
    """Draw and measure every unit at every step."""
    pixels, points = align(bundle.portrait, bundle.landmarks)
    known = net.describe(pixels, points)

    def look(units: dict[int, float]) -> tuple[DetectedFace | None, U8]:
        picture = engine.render(FaceState(Ns(0), freeze(facs.from_action_units(units))))
        found = detector.detect(picture)
        return (found[0] if found else None), picture

    face, picture = look({})
    if face is None:  # the engine cannot even draw the portrait: everything that follows counts from the portrait
        face, picture = DetectedFace(bundle.landmarks, bundle.coefficients, 0, 0, 0, (0, 0, 0)), bundle.portrait
    rest = Seen.of(face)
    made = Sweep(bundle.title, np.zeros((len(UNITS), len(STEPS), len(UNITS))), 0.0, 1.0, [], 0)
    if keep:
        made.pictures[0] = align(picture, face.landmarks)[0]
    for i, unit in enumerate(UNITS):
        for j, step in enumerate(STEPS):
            face, picture = look({unit: step})
            if face is None:
                made.no_face += 1
                continue
            seen = Seen.of(face)
            made.measured[i, j] = [signal(seen) - signal(rest) for signal, _ in SIGNALS.values()]
        if face is None:
            continue
        aligned, at = align(picture, face.landmarks)
        made.identity.append(float(np.linalg.norm(net.describe(aligned, at) - known)))
        if unit == 45:
            made.blink = coefficient(face.coefficients, "eyeBlink")
            made.opening = float(max(lid_openings(seen)))
        if keep:
            made.pictures[unit] = aligned
    return made


def figures(sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """All keys of the result."""
    measured = np.stack([s.measured for s in sweeps])  # (portraits, asked, steps, signals)
    changes = {a: {b: measured[:, i, -1, j] for j, b in enumerate(UNITS)} for i, a in enumerate(UNITS)}
    leaks = metrics.leakage(changes, KIN)
    asked = np.broadcast_to(np.r_[0.0, STEPS], (len(sweeps), len(STEPS) + 1)).ravel()
    au: dict[str, Any] = {}
    for i, unit in enumerate(UNITS):
        answer = np.c_[np.zeros(len(sweeps)), measured[:, i, :, i]].ravel()
        worst = max(leaks[unit], key=lambda other: leaks[unit][other])
        au[str(unit)] = {
            "spearman": round(metrics.spearman(asked, answer), 4),
            "icc": round(metrics.icc3(np.c_[asked, metrics.calibrated(asked, answer)]), 4),
            "leakage": round(float(np.mean(list(leaks[unit].values()))), 4),
            "leaks_most_into": {"au": worst, "share": round(leaks[unit][worst], 4)},
            "response": round(float(changes[unit][unit].mean()), 4),
            "signal": SIGNALS[unit][1],
        }
    return {
        "au": au,
        "blink_closed": round(float(np.mean([s.blink >= CLOSED for s in sweeps])), 4),
        "blink_coefficient": round(float(np.mean([s.blink for s in sweeps])), 4),
        "lids_meet": round(float(np.mean([s.opening < SHUT for s in sweeps])), 4),
        "blink_opening": round(float(np.mean([s.opening for s in sweeps])), 4),
        "identity_distance": round(float(np.mean([d for s in sweeps for d in s.identity])), 4),
        "no_face": sum(s.no_face for s in sweeps),
    }


def _write(sweeps: Sequence[Sweep], folder: Path) -> None:
    for name, units in _SHEETS.items():
        columns = (0, *units)
        blank = np.zeros((256, 256, 3), np.uint8)
        lines = [[s.pictures.get(unit, blank) for unit in columns] for s in sweeps]
        heads = ["", *(f"{unit} {facs.AU_NAMES[unit]}" for unit in units)]
        contact_sheets(f"units_{name}", heads, [s.name for s in sweeps], lines, folder)


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes."""
    heads = ["AU", "name", "Spearman", "ICC(3,1)", "leakage", "most into", "response at 1", "signal"]
    cells = []
    for unit, row in result["au"].items():
        most = row["leaks_most_into"]
        cells.append(
            [
                unit,
                facs.AU_NAMES[int(unit)],
                *(f"{row[key]:.3f}" for key in ("spearman", "icc", "leakage")),
                f"{most['au']} ({most['share']:.2f})",
                f"{row['response']:+.3f}",
                row["signal"],
            ]
        )
    notes = [
        f"blinks that read as closed: {result['blink_closed']:.3f} (mean eyeBlink {result['blink_coefficient']:.3f})",
        f"blinks whose lids meet: {result['lids_meet']:.3f} (mean opening {result['blink_opening']:.3f} of the eye's "
        f"width)",
        f"identity: {result['identity_distance']:.3f} from the portrait, units at full",
    ]
    if result["no_face"]:
        notes.append(f"pictures without a face: {result['no_face']}")
    if result["left_out"]:
        notes.append(f"portraits left out, refused or with an expression of their own: {result['left_out']}")
    title = f"engine {result['engine']}: single units on {result['portraits']} portraits"
    return [(title, heads, cells, notes)]
