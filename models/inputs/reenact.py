"""A recorded face enacted by its own portrait: what comes back when the rendered clip is looked at again?

Video -> states (camera alone) -> the head of the video's first frame -> the same networks on the rendered pictures.
Compared are the coefficients measured in both, and the head's angles, each from its own rest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.analysis.face_nets import FaceNets
from avatar.analysis.tracking import narrow
from avatar.config import load
from avatar.core import facs
from avatar.core.types import FaceState
from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.expression.sheet import write_sheet
from avatar.models.inputs.camera import LANDMARKER, carphone
from avatar.models.landmarker import convert
from avatar.portrait.landmarks import DetectedFace

GROUPS: Mapping[str, tuple[str, ...]] = {
    "jaw": ("jawOpen",),
    "lips": ("mouthLowerDown", "mouthUpperUp", "mouthPucker", "mouthFunnel", "mouthStretch"),
    "smile": ("mouthSmile",),
    "brows": ("browInnerUp", "browOuterUp", "browDown"),
    "lids": ("eyeBlink",),
}
MOVES = 0.03
"""Standard deviation below which a coefficient did not move in the source, and says nothing."""
LEAST_SIDE = 512


def signal(faces: list[DetectedFace], name: str) -> np.ndarray:
    """(n,) a coefficient, both sides averaged."""
    names = (name,) if name in facs.INDEX else (f"{name}Left", f"{name}Right")
    return np.mean([[face.coefficients[facs.INDEX[n]] for n in names] for face in faces], axis=1)


def angles(faces: list[DetectedFace], rest: int = 0) -> np.ndarray:
    """(n, 3) yaw, pitch and roll in degrees from the face's first pictures."""
    found = np.array([(f.yaw, f.pitch, f.roll) for f in faces])
    return np.asarray(found - found[: max(1, rest)].mean(0))


def correlations(source: list[DetectedFace], again: list[DetectedFace]) -> dict[str, dict[str, float]]:
    """Of each group's coefficients that move: correlation, and the size of the movement against the source's."""
    out: dict[str, dict[str, float]] = {}
    for group, names in GROUPS.items():
        for name in names:
            a, b = signal(source, name), signal(again, name)
            if a.std() < MOVES:
                continue
            r = float(np.corrcoef(a, b)[0, 1]) if b.std() > 1e-6 else 0.0
            out[f"{group}.{name}"] = {"r": round(r, 3), "size": round(float(b.std() / a.std()), 2)}
    return out


def grouped(rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean correlation of each group that moves."""
    return {
        group: round(float(np.mean([row["r"] for name, row in rows.items() if name.startswith(f"{group}.")])), 3)
        for group in GROUPS
        if any(name.startswith(f"{group}.") for name in rows)
    }


def recoded(pixels: np.ndarray) -> np.ndarray:
    """The same picture by another way: enlarged as the portrait is, and through a JPEG of quality 80."""
    larger = cv2.cvtColor(_enlarged(pixels), cv2.COLOR_RGB2BGR)
    coded = cv2.imencode(".jpg", larger, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def reenact(
    weights: Path,
    video: Path | None = None,
    engine: str = "head",
    limit: int = 180,
    keep: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Judge ``video`` (default: carphone), at most ``limit`` pictures of it. ``keep``: write a sheet there.

    ``ceiling`` is what the measuring networks give for the same pictures shown in another way (enlarged as the portrait
    is, coded as a JPEG): an engine without any fault would be read like that.

    Raises UsageError where no face is found, PhotoError where the first frame is no portrait.
    """
    from avatar.parts import choose_engine, find_avatar
    from avatar.render import Input, plan
    from avatar.streams.sources.media_file import read_video

    cv2.setNumThreads(1)
    path = video or carphone()
    pictures = [frame for _, frame in zip(range(limit), read_video(path), strict=False)]
    finder = FaceNets(convert.read(registry.path(LANDMARKER)))
    seen = [(frame.pts, finder.detect(narrow(frame.pixels))) for frame in pictures]
    if not seen or not seen[0][1]:
        raise UsageError(f"{path}: no face in its first picture")
    config = load(
        None, [f"avatar.engine={engine}", "face.mouth=camera", "face.head=still", "input.face=largest"]
    ).config
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "first.png"
        cv2.imwrite(str(photo), cv2.cvtColor(_enlarged(pictures[0].pixels), cv2.COLOR_RGB2BGR))
        bundle = find_avatar(str(photo))
    drawing = choose_engine(config.avatar, bundle).engine
    made = plan(config, Input(video=path))
    states: list[FaceState] = [state for _, state in zip(range(limit), made.states, strict=False)]
    states = [state for state in states if state.pts <= pictures[-1].pts]
    finder.reset()
    twice = [finder.detect(recoded(frame.pixels)) for frame in pictures]
    finder.reset()
    source, again, shown = [], [], []
    times = np.array([pts for pts, _ in seen])
    for index, state in enumerate(states):
        drawn = drawing.render(state)
        found = finder.detect(drawn)
        original = seen[int(np.abs(times - state.pts).argmin())]
        if found and original[1]:
            source.append(original[1][0])
            again.append(found[0])
            shown.append((original[0], drawn))
        progress(index + 1, len(states))
    rows = correlations(source, again)
    pairs = [(once[0], other[0]) for (_, once), other in zip(seen, twice, strict=True) if once and other]
    limit_rows = correlations([a for a, _ in pairs], [b for _, b in pairs])
    difference = np.abs(angles(source, 5) - angles(again, 5))
    result: dict[str, Any] = {
        "task": "reenact",
        "video": path.name,
        "engine": engine,
        "frames": len(states),
        "found_again": len(again),
        "rows": rows,
        "groups": grouped(rows),
        "ceiling": {"groups": grouped(limit_rows), "rows": {name: row["r"] for name, row in limit_rows.items()}},
        "head_deg": {
            name: {"mean": round(float(column.mean()), 2), "p95": round(float(np.percentile(column, 95)), 2)}
            for name, column in zip(("yaw", "pitch", "roll"), difference.T, strict=True)
        },
    }
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        result["sheet"] = str(_sheet(pictures, shown, keep / f"reenact_{path.stem}.png"))
    return result


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """A picture whose shorter side is at least :data:`LEAST_SIDE`."""
    scale = max(1.0, LEAST_SIDE / min(pixels.shape[:2]))
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else pixels


def _sheet(pictures: list[Any], shown: Sequence[tuple[int, np.ndarray]], path: Path) -> Path:
    """Eight moments: above the video, below what was made of it."""
    columns = []
    times = np.array([frame.pts for frame in pictures])
    for k in np.linspace(0, len(shown) - 1, 8).astype(int):
        pts, drawn = shown[k]
        frame = pictures[int(np.abs(times - pts).argmin())].pixels
        side = min(frame.shape[:2])
        top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
        square = cv2.resize(frame[top : top + side, left : left + side], (256, 256), interpolation=cv2.INTER_CUBIC)
        columns.append(np.vstack([square, cv2.resize(drawn, (256, 256), interpolation=cv2.INTER_AREA)]))
    write_sheet(path, np.hstack(columns))
    return path


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """For people."""
    limit = result["ceiling"]["rows"]
    rows = [[name, str(row["r"]), str(limit.get(name, "")), str(row["size"])] for name, row in result["rows"].items()]
    head = [[name, str(row["mean"]), str(row["p95"])] for name, row in result["head_deg"].items()]
    best = result["ceiling"]["groups"]
    notes = [f"{group}: {value} (ceiling {best.get(group)})" for group, value in result["groups"].items()]
    return [
        (f"Enacted again: {result['video']}", ["coefficient", "correlation", "ceiling", "size"], rows, notes),
        ("Head, degrees apart", ["angle", "mean", "p95"], head, []),
    ]
