"""Key expressions of one portrait: what the methods that morph between pictures are given.

One photo has no smile, no open jaw. Each key is this photo with one motion at full strength, drawn by engine ``eri``;
a state becomes how much of each key it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar.core.facs import INDEX, arkit_vector
from avatar.core.types import F32, U8, Pose, zeros
from avatar.engines.classical.eri import EriEngine
from avatar.portrait.bundle import AvatarBundle

KEYS: Mapping[str, Mapping[str, float]] = {
    "smile": {"mouthSmile": 1.0, "cheekSquint": 0.5, "mouthUpperUp": 0.3, "mouthLowerDown": 0.25},
    "jaw": {"jawOpen": 1.0},
    "pucker": {"mouthPucker": 1.0},
    "funnel": {"mouthFunnel": 1.0},
    "part": {"mouthUpperUp": 0.7, "mouthLowerDown": 1.0},
    "press": {"mouthPress": 0.7, "mouthRollLower": 1.0, "mouthRollUpper": 1.0},
    "frown": {"mouthFrown": 1.0, "mouthShrugLower": 0.5},
    "stretch": {"mouthStretch": 1.0},
    "brows_up": {"browInnerUp": 1.0, "browOuterUp": 1.0},
    "brows_down": {"browDown": 1.0},
    "blink_right": {"eyeBlinkRight": 1.0},
    "blink_left": {"eyeBlinkLeft": 1.0},
    "wide": {"eyeWide": 1.0},
    "sneer": {"noseSneer": 1.0},
}
_TRACE = 0.06
"""Share of a key that is not worth drawing."""
_VECTORS = np.stack([arkit_vector(of) for of in KEYS.values()])


def shares(weights: F32) -> F32:
    """(k,) in [0, 1]: how much of each key the shapes' ``weights`` (52,) hold.

    Least squares with bounds by projected gradient, a fixed number of steps: the same for the same state, and
    continuous.
    """
    gram = _VECTORS @ _VECTORS.T
    step = 1 / float(np.linalg.eigvalsh(gram)[-1])
    goal = _VECTORS @ weights
    found = zeros(len(KEYS)).copy()
    for _ in range(40):
        found = np.clip(found - step * (gram @ found - goal), 0, 1)
    # Every key that is mixed costs a warp: traces are left out, softly, so that none appears with a jump.
    return np.asarray(np.maximum(0, found - _TRACE) / (1 - _TRACE), np.float32)


@dataclass(frozen=True)
class Key:
    """One key expression."""

    picture: U8
    """(s, s, 3)."""
    displacement: F32
    """(468, 3) of the landmarks, in pixels."""


def draw_keys(bundle: AvatarBundle, size: int, weights: Path) -> tuple[EriEngine, list[Key]]:
    """The engine that drew them, and the keys in the order of :data:`KEYS`."""
    engine = EriEngine(bundle, size, weights)
    made = []
    for vector in _VECTORS:
        displacement = engine.geometry(vector)
        picture = engine.draw(displacement, Pose(), None, engine.ratio(vector, displacement))
        made.append(Key(picture, displacement))
    return engine, made


BLINKS = [INDEX["eyeBlinkRight"], INDEX["eyeBlinkLeft"]]
