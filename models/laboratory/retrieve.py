"""Recipe of engine ``retrieve``: the frames of a speaker, what their shapes explain and what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.facs import ARKIT
from avatar.core.types import F32, U8
from avatar.engines.classical.flat import packed
from avatar.engines.classical.plane import frame_between
from avatar.engines.classical.retrieve import COARSE, PARTS, features
from avatar.errors import UsageError
from avatar.models.folds.mean_face import mean_face, skin_mask
from avatar.models.laboratory.geometry import spread_out
from avatar.models.laboratory.mapping import basis_shapes, corrected
from avatar.models.laboratory.people import basis_of, read
from avatar.portrait.fit import LANDMARKS
from avatar.portrait.solve import PRIOR_GAIN, bounded_ridge, relative_to

FRAMES = 120
_RIDGE = 0.007
"""Weight of the tracker's coefficients against the landmarks, as in :mod:`avatar.portrait.solve`, in squared distances
between the outer corners of the eyes."""
_LOOKS = tuple(i for i, name in enumerate(ARKIT) if name.startswith("eyeLook"))


def build(data: Path, target: Path) -> dict[str, Any]:
    """Learn from the folder ``talking/obama`` of ``data``; the mean face is that of ``faces/london``."""
    people = read(data)
    mean, shapes = basis_shapes(basis_of(None))
    shapes = corrected(mean, shapes, people, None)
    face = mean_face([person.neutral.points for person in people])
    # Brows and lips of his are not where the portrait's are.
    reach = skin_mask(face)
    clips = sorted((data / "talking" / "obama").glob("clip*.npz"))
    if not clips:
        raise UsageError(f"{data / 'talking' / 'obama'}: no clip there; train retrieve needs recorded frames")
    ways = shapes[..., :2].reshape(len(shapes), -1).T.copy()
    ways[:, list(_LOOKS)] = 0
    moves, weights, ratios = [], [], []
    for clip in clips:
        frames = list(_frames(clip))
        rest = _rest([coefficients for _, _, coefficients in frames])
        before = _logs(face, *frames[rest][:2])
        for picture, landmarks, coefficients in frames:
            same = frame_between(landmarks, frames[rest][1])
            moved = landmarks[:LANDMARKS] @ (same.scale * same.rotation).T + same.shift - frames[rest][1][:LANDMARKS]
            moves.append(frame_between(mean, frames[rest][1]).back(moved))
            prior = PRIOR_GAIN * relative_to(frames[rest][2], coefficients)
            prior[list(_LOOKS)] = 0
            seen = moves[-1][:, :2].ravel().astype(np.float64)
            weights.append(bounded_ridge(ways, seen, prior.astype(np.float64), _RIDGE))
            ratio = _logs(face, picture, landmarks) - before
            ratio = (ratio - np.median(ratio[face.inside], 0)) * reach[..., None]
            ratios.append(cv2.resize(ratio, COARSE[::-1], interpolation=cv2.INTER_AREA))
    return _write(np.stack(moves), np.stack(weights).astype(np.float32), np.stack(ratios), shapes, target) | {
        "seen": len(moves)
    }


def _write(
    moves: NDArray[np.floating], weights: F32, ratios: F32, shapes: NDArray[np.floating], target: Path
) -> dict[str, Any]:
    explained = np.tensordot(weights, shapes, 1)
    spreads = np.array([np.sqrt((moves[:, list(at), :2] ** 2).mean()) for at, _ in PARTS], np.float32)
    chosen = spread_out(features(moves, spreads), FRAMES)
    # The frame at rest, from which nothing is taken.
    found = np.concatenate([np.zeros((1, LANDMARKS, 2)), moves[chosen, :, :2]])
    left = np.concatenate([np.zeros((1, LANDMARKS, 2)), (moves - explained)[chosen, :, :2]])
    tones = np.concatenate([np.zeros((1, *COARSE, 3)), ratios[chosen]])
    arrays: dict[str, Any] = {
        "spreads": spreads,
        **packed("moves", found.astype(np.float32)),
        **packed("residuals", left.astype(np.float32)),
        **packed("ratios", tones.astype(np.float32)),
    }
    np.savez_compressed(target, **arrays)
    return {"frames": len(found), "bytes": target.stat().st_size}


def _frames(clip: Path) -> Iterator[tuple[U8, F32, F32]]:
    """Pictures, landmarks (478, 3) in pixels and coefficients (52,) of a clip."""
    with np.load(clip, allow_pickle=False) as track:
        names = [str(name) for name in track["blendshape_names"]]
        shown, points = track["blendshapes"].astype(np.float32), track["landmarks"].astype(np.float32)
    order = [names.index(name) if name in names else -1 for name in ARKIT]
    video = cv2.VideoCapture(str(clip.with_suffix(".mp4")))
    try:
        for found, coefficients in zip(points, shown, strict=True):
            ok, pixels = video.read()
            if not ok:
                return
            picture = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
            side = np.array((picture.shape[1], picture.shape[0], picture.shape[1]), np.float32)
            values = np.array([coefficients[i] if i >= 0 else 0 for i in order], np.float32)
            yield picture, found * side, values
    finally:
        video.release()


def _rest(coefficients: Sequence[F32]) -> int:
    """The frame that shows least, eyes open."""
    return int(np.argmin([c[[i for i in range(len(ARKIT)) if i not in _LOOKS]].sum() for c in coefficients]))


def _logs(face: Any, picture: U8, landmarks: F32) -> F32:
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0)
    return np.asarray(face.bring(np.log(soft + 8), landmarks[:, :2]), np.float32)
