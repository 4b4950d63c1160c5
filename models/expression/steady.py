"""``avatar eval steady``: half a minute of speech, looked at for what a still picture cannot show.

=========== ==========================================================================================================
rest        the frame at rest against the photo, in dB inside the picture
flicker     grey levels that the skin changes from frame to frame where the expression is held and only the head moves
            as it does in speech, in the face's own frame; beside it ``floor``: the same for the photo, turned in the
            plane by what the head turns, which is what resampling alone costs
jitter      pixels that MediaPipe's landmarks move from frame to frame there, less a smooth course of five frames
jumps       frames of the speech whose picture changes much more than their state: no frame may jump without a cause
=========== ==========================================================================================================
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.optimize

from avatar.config import Config
from avatar.core import facs
from avatar.core.geometry import mapped, similarity
from avatar.core.types import F32, U8, FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.base import Engine
from avatar.engines.corrector import EYE_CORNERS, crop, frame_of
from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.expression import metrics
from avatar.models.expression.engine_names import engine_names
from avatar.parts import LANDMARKER, find_avatar, make_engine
from avatar.portrait.landmarks import LandmarkDetector
from avatar.render import Input, plan

SIZE, FPS, SECONDS = 512, 30, 30
HELD = 150
"""Frames with a held expression: five seconds."""
EXPRESSION = {"mouthSmile": 0.5, "cheekSquint": 0.3, "eyeSquint": 0.2, "browInnerUp": 0.2}
_JUMP = 2.5
"""A frame jumps where its picture changes by so many times what the motion of its state explains."""
_PARTS = tuple(
    tuple(i for i, name in enumerate(facs.ARKIT) if name.startswith(start))
    for start in ("jaw", ("mouth", "tongue", "cheekPuff"), ("eyeBlink", "eyeWide", "eyeSquint"), ("brow", "nose"))
)
_SKIN = slice(30, 110), slice(28, 100)
"""Rows and columns of the crop that lie on every face."""

Progress = Callable[[int, int], None]


def steady(
    weights: Path,
    engine: str = "head",
    avatar: str = "iris",
    minutes: float = SECONDS / 60,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The figures of one or several engines under ``engines.NAME``.

    Raises UsageError for an unknown engine or avatar, too little time, or an avatar whose face is not found again.
    """
    del weights  # engines find theirs by the assembly
    if not minutes * 60 * FPS > HELD:
        raise UsageError(f"eval steady: --minutes {minutes:g} is too short; it takes {HELD / FPS / 60:.2f} at least")
    cv2.setNumThreads(1)
    bundle, names, states = find_avatar(avatar), engine_names(engine), speech(round(60 * minutes))
    made: dict[str, Any] = {}
    with LandmarkDetector(registry.path(LANDMARKER)) as detector:
        for number, name in enumerate(names):
            progress(number, len(names))
            made[name] = _look(make_engine(name, bundle, SIZE), states, detector)
    progress(len(names), len(names))
    return {"task": "steady", "avatar": avatar, "engines": made}


def _look(engine: Engine, states: Sequence[FaceState], detector: LandmarkDetector) -> dict[str, Any]:
    """The figures of one engine. Raises UsageError where the landmarks of what it draws cannot be found."""
    photo, points = engine.bundle.at_size(SIZE)
    rest = engine.render(FaceState(Ns(0)))
    expression = freeze(facs.arkit_vector(EXPRESSION))
    held = [replace(state, arkit=expression, gaze=Gaze()) for state in states[:HELD]]
    pictures = [engine.render(state) for state in held]
    found = [detector.detect(picture) for picture in pictures]
    if not all(found):
        raise UsageError(f"eval steady: in {found.count([])} of {HELD} pictures no face is found; take another avatar")
    landmarks = [faces[0].landmarks for faces in found]
    turned = [_turned(photo, points, state.head) for state in held]
    changes, causes = motion(engine.render, states)
    return {
        "rest_psnr": round(metrics.psnr(metrics.mse(rest, photo, np.ones(photo.shape[:2], bool))), 2),
        "flicker": round(flicker(pictures, landmarks), 3),
        "floor": round(flicker([picture for picture, _ in turned], [at for _, at in turned]), 3),
        "jitter_px": round(jitter(landmarks), 3),
        "frames": len(states),
        "jumps": len(jumps(changes, causes)),
        "largest_change": round(float(changes.max()), 2),
    }


def speech(seconds: int) -> list[FaceState]:
    """States of the demo's speech, 30 a second, again and again until it is long enough."""
    config = Config()
    sound = registry.samples_dir() / "demo.ogg"
    once = list(plan(config, Input(audio=sound)).states)
    return [once[i % len(once)] for i in range(FPS * seconds)]


def _turned(photo: U8, landmarks: F32, head: Pose) -> tuple[U8, F32]:
    """The photo rolled and moved as ``head`` says, and its landmarks: what a perfect engine's pixels would do."""
    yaw, pitch, roll = head.euler
    middle = landmarks[:468, :2].mean(0)
    matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), roll, 1.0)
    matrix[:, 2] += np.array((yaw, -pitch)) * np.ptp(landmarks[:468, 0]) / 120
    made = cv2.warpAffine(photo, matrix, photo.shape[:2], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = landmarks.copy()
    points[:, :2] = mapped(matrix, landmarks[:, :2])
    return np.asarray(made, np.uint8), points


def level(picture: U8, landmarks: F32) -> U8:
    """The face in its own frame, (128, 128, 3)."""
    corners = landmarks[list(EYE_CORNERS), :2].reshape(2, 2, 2).mean(1)
    return crop(picture, frame_of(corners))


def flicker(pictures: Sequence[U8], landmarks: Sequence[F32]) -> float:
    """Median over the frames of the mean change of the skin's grey from one to the next, each laid on the one before
    as well as shifting and turning can (ECC, Evangelidis & Psarakis 2008), so that what is left is not position."""
    faces = [
        cv2.GaussianBlur(cv2.cvtColor(level(picture, points), cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
        for picture, points in zip(pictures, landmarks, strict=False)
    ]
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    out = []
    for a, b in itertools.pairwise(faces):
        matrix = np.eye(2, 3, dtype=np.float32)
        _, matrix = cv2.findTransformECC(a, b, matrix, cv2.MOTION_AFFINE, stop)
        laid = cv2.warpAffine(b, matrix, b.shape[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        out.append(float(np.abs(laid - a)[_SKIN].mean()))
    return float(np.median(out))


def jitter(landmarks: Sequence[F32]) -> float:
    """Root mean square distance (pixels) of the landmarks from their mean over five frames, the head's own turning and
    shifting taken out."""
    first = landmarks[0][:468, :2]
    laid = []
    for one in landmarks:
        matrix = similarity(one[:468, :2], first)
        laid.append(mapped(matrix, one[:468, :2]))
    course = np.stack(laid)
    kernel = np.ones(5) / 5
    smooth = np.apply_along_axis(lambda v: np.convolve(v, kernel, "valid"), 0, course)
    return float(np.sqrt(((course[2:-2] - smooth) ** 2).sum(-1).mean()))


def motion(draw: Callable[[FaceState], U8], states: Sequence[FaceState]) -> tuple[np.ndarray, np.ndarray]:
    """(n - 1,) mean change of the picture from frame to frame in grey levels, and (n - 1, 8) what moved the state:
    coefficients of jaw, lips, lids and brows, degrees of yaw, pitch and roll, degrees of the gaze."""
    changes, causes = [], []
    before: np.ndarray | None = None
    for i, state in enumerate(states):
        grey = cv2.cvtColor(draw(state), cv2.COLOR_RGB2GRAY)[::2, ::2].astype(np.float32)
        if before is not None:
            last = states[i - 1]
            changes.append(float(np.abs(grey - before).mean()))
            gaze = np.hypot(state.gaze.yaw - last.gaze.yaw, state.gaze.pitch - last.gaze.pitch)
            turn = np.abs(np.subtract(state.head.euler, last.head.euler))
            moved = np.abs(state.arkit - last.arkit)
            causes.append((*(moved[list(part)].sum() for part in _PARTS), *turn, np.degrees(gaze)))
        before = grey
    return np.array(changes), np.array(causes)


def jumps(changes: np.ndarray, causes: np.ndarray) -> np.ndarray:
    """Frames whose change is visible (half a grey level over the whole picture) and more than :data:`_JUMP` times what
    their causes explain, by non-negative least squares (Lawson & Hanson 1974) over all frames."""
    weights, _ = scipy.optimize.nnls(causes, changes)
    return np.flatnonzero((changes > _JUMP * (causes @ weights)) & (changes > 0.5))


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes."""
    heads = ["engine", "rest dB", "flicker", "floor", "jitter px", "jumps", "largest change"]
    keys = ("rest_psnr", "flicker", "floor", "jitter_px", "jumps", "largest_change")
    cells = [[name, *(str(row[key]) for key in keys)] for name, row in result["engines"].items()]
    notes = ["flicker in grey levels a frame; floor: that of the photo itself, moved in the plane"]
    return [(f"half a minute of speech, avatar {result['avatar']}", heads, cells, notes)]
