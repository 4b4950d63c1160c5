"""The data factory: pictures of avatars whose expression, pose, light and landmarks are known exactly.

A photo's texture on its fitted head, in a state that is drawn at random or given, then lit and seen through a lens that
is drawn at random too. Learned methods that need labelled faces take them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.types import F32, U8, FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.head import HeadEngine
from avatar.portrait.bundle import AvatarBundle

SPEECH: Mapping[str, float] = {
    "jawOpen": 0.7, "mouthFunnel": 0.6, "mouthPucker": 0.6, "mouthStretch": 0.4, "mouthClose": 0.3,
    "mouthLowerDown": 0.5, "mouthUpperUp": 0.4, "mouthRollLower": 0.6, "mouthRollUpper": 0.5, "mouthPress": 0.5,
    "mouthShrugLower": 0.4,
}  # fmt: skip
"""What talking uses, and how strongly at most."""
EXPRESSION: Mapping[str, float] = {
    "browInnerUp": 1.0, "browOuterUp": 1.0, "browDown": 1.0, "cheekSquint": 0.8, "eyeSquint": 0.8, "eyeWide": 0.9,
    "mouthSmile": 1.0, "mouthFrown": 0.9, "mouthDimple": 0.8, "noseSneer": 0.9, "cheekPuff": 0.8, "mouthStretch": 0.6,
}  # fmt: skip
ONE_SIDED = 0.15
"""Share of expressions that are stronger on one side."""


@dataclass(frozen=True, slots=True)
class Light:
    """Gain of each channel at the picture's middle, and how it grows from edge to edge."""

    gain: F32
    """(3,)."""
    slope: F32
    """(2,) change of the gain over the width and the height."""


@dataclass(frozen=True, slots=True)
class Render:
    """One labelled picture."""

    picture: U8
    """(n, n, 3)."""
    state: FaceState
    landmarks: F32
    """(72, 2): the contours of :data:`avatar.engines.head_mesh.TRACKED`, in pixels."""
    frame: NDArray[np.float64]
    """(2, 3): from pixels to the level face of :mod:`avatar.engines.corrector`, before the lens."""
    person: str
    light: Light
    bend: float
    """Radial distortion of the lens: r becomes r * (1 + bend * r^2), r in half sides."""


def random_state(random: np.random.Generator, smile: float = 1.0, pose: float = 1.0) -> FaceState:
    """A face as it may occur: talking or still, with nothing to three expressions, a glance, a blink now and then.

    :param smile: at most. :param pose: factor for the head's turn, 1 = up to about 12 degrees.
    """
    weights: dict[str, float] = {}
    if random.random() < 0.7:
        names = random.permutation(list(SPEECH))[: int(random.integers(1, 5))]
        weights |= {name: SPEECH[name] * float(random.beta(1.2, 1.6)) for name in names}
    for name in random.permutation(list(EXPRESSION))[: int(random.integers(0, 4))]:
        most = min(smile, EXPRESSION[name]) if name == "mouthSmile" else EXPRESSION[name]
        weights[str(name)] = most * float(random.beta(1.2, 1.2))
    if random.random() < 0.25:
        weights["eyeBlink"] = float(random.choice([0.3, 0.6, 0.9, 1.0]))
    arkit = facs.arkit_vector(weights).copy()
    if random.random() < ONE_SIDED:
        side = str(random.choice(["Left", "Right"]))
        for name, i in facs.INDEX.items():
            if name.endswith(side) and not name.startswith("eye"):
                arkit[i] *= 0.3
    yaw, pitch = (float(x) for x in random.normal(0, 0.08, 2))
    facs.set_eye_look(arkit, yaw, pitch)
    turn = np.clip(random.normal(0, (5.0, 3.5, 3.0)) * pose, -14, 14)
    return FaceState(Ns(0), freeze(arkit), Pose.degrees(*(float(t) for t in turn)), Gaze(yaw, pitch))


class Factory:
    """Draws labelled pictures of one avatar.

    :param weights: folder of the shipped weights. Raises EngineError for a size that cannot be drawn.
    """

    def __init__(self, bundle: AvatarBundle, weights: Path, size: int = 512) -> None:
        self.bundle = bundle
        self.engine = HeadEngine(bundle, size, weights)

    def render(self, state: FaceState, light: Light | None = None, bend: float = 0.0) -> Render:
        """The avatar in ``state``."""
        picture = self.engine.render(state)
        landmarks = self.engine.contours
        if light is not None:
            picture = lit(picture, light)
        if bend:
            picture, landmarks = bent(picture, landmarks, bend)
        plain = Light(np.ones(3, np.float32), np.zeros(2, np.float32))
        frame = self.engine.face_frame(state.head)
        return Render(picture, state, landmarks, frame, self.bundle.name, light or plain, bend)

    def random(self, random: np.random.Generator) -> Render:
        """A state, a light and a lens drawn at random."""
        light = Light(
            (random.uniform(0.8, 1.15) * random.uniform(0.94, 1.06, 3)).astype(np.float32),
            random.normal(0, 0.15, 2).astype(np.float32),
        )
        return self.render(random_state(random), light, float(random.uniform(-0.04, 0.06)))


def lit(picture: U8, light: Light) -> U8:
    """``picture`` (n, n, 3) under another light."""
    n = len(picture)
    at = np.linspace(-0.5, 0.5, n, dtype=np.float32)
    slope = 1 + light.slope[0] * at[None, :] + light.slope[1] * at[:, None]
    return np.clip(picture * slope[..., None] * light.gain + 0.5, 0, 255).astype(np.uint8)


def bent(picture: U8, points: F32, bend: float) -> tuple[U8, F32]:
    """Picture (n, n, 3) and points (k, 2) through a lens with radial distortion (Brown 1966, first term)."""
    n = len(picture)
    half = np.float32(n / 2)
    at = (np.arange(n, dtype=np.float32) + 0.5) / half - 1
    x, y = np.meshgrid(at, at)
    grow = 1 + np.float32(bend) * (x * x + y * y)
    across, down = ((c * grow + 1) * half - np.float32(0.5) for c in (x, y))
    made = cv2.remap(picture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Where a source pixel comes to lie is the inverse, by fixed-point iteration.
    source = (points + np.float32(0.5)) / half - 1
    out = source.copy()
    for _ in range(6):
        out = source / (1 + np.float32(bend) * (out * out).sum(1, keepdims=True))
    return np.asarray(made, np.uint8), ((out + 1) * half - np.float32(0.5)).astype(np.float32)
