"""The common engine of the flat methods: where the landmarks go, how the photo is shaded, and what lies in the mouth.

A method says two things of a face state: displacements of the landmarks (:meth:`FlatEngine.geometry`) and a log ratio
of the skin in the frame of the mean face (:meth:`FlatEngine.ratio`). The rest is one warp.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from avatar.core.facs import INDEX, arkit_vector
from avatar.core.types import F32, U8, FaceState, Gaze, Ns, Pose
from avatar.engines.base import Engine
from avatar.engines.classical.interior import Interior
from avatar.engines.classical.plane import Plane, arrays
from avatar.engines.head import MAX_SIZE, MIN_SIZE, shape_weights
from avatar.engines.head_folds import MeanFace
from avatar.errors import EngineError
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import LANDMARKS

MAP_FILE = "map.npz"
"""Mean face, displacements of the shapes, the mouth's inside: every flat method stands on them."""
_SMILE = [i for name, i in INDEX.items() if name.startswith(("mouthSmile", "cheekSquint"))]
MOST = 0.7
"""Largest |log ratio|: light that meets light never burns out."""


class FlatEngine(Engine):
    """Moves a photo in its plane. Sizes 256 to 1024; about 5 to 8 ms a picture at 512 on one core.

    Limits of all flat methods: the head turns as a relief, up to 15 degrees; what the photo does not show (the far side
    of the nose, the inside of the mouth) is stretched or comes from other people's mean; the background moves along.
    """

    lift: ClassVar[float] = 1.0
    """How much more of a weak smile is drawn: w becomes w + lift * w * (1 - w), and a full one stays what it is. A
    still picture has no motion to read a faint smile from: at 0 engine ``eri`` draws people's own smiles .6 dB nearer
    to the truth, and the judge sees .66 of them in place of .9 (of the real ones, .88)."""
    gain: ClassVar[float] = 1.0
    """Besides, all of a smile's motion is drawn so many times as large."""

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        super().__init__(bundle, size, weights)
        if not MIN_SIZE <= size <= MAX_SIZE:
            raise EngineError(f"size {size}: engine {self.name} draws {MIN_SIZE} to {MAX_SIZE} pixels a side")
        portrait, landmarks = bundle.at_size(size)
        known = arrays(weights / MAP_FILE)
        self.plane = Plane(portrait, landmarks, known["mean"], known["shapes"].astype(np.float32))
        self.interior = Interior(known["mouth"].astype(np.float32), portrait, landmarks)
        self.plane_mean = known["mean"]
        self.mean_face = MeanFace(known["frame"].astype(np.float32), known["triangles"].astype(np.int32))
        self._lay_frame(portrait, landmarks)
        self.prepare(weights, portrait, landmarks)
        self._warm_up()

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        """What a method loads and fits."""

    def geometry(self, weights: F32) -> F32:
        """(468, 3): displacements of the landmarks in pixels for the shapes' ``weights`` (52,)."""
        return self.plane.displaced(weights)

    def ratio(self, weights: F32, displacement: F32) -> F32 | None:
        """Log ratio of the skin's colour, (152, 128, 3) in the frame of the mean face; None = the photo's own skin."""
        return None

    def render(self, state: FaceState) -> U8:
        weights, yaw, pitch = shape_weights(state)
        weights, gaze = self.emphasised(weights), Gaze(yaw, pitch)
        displacement = self.geometry(weights)
        return self.draw(displacement, state.head, gaze, self.ratio(weights, displacement))

    def emphasised(self, weights: F32) -> F32:
        """``weights`` (52,) with :attr:`lift` and :attr:`gain` on what smiles."""
        made, smile = weights.copy(), weights[_SMILE]
        made[_SMILE] = (smile + self.lift * smile * (1 - smile)) * self.gain
        return made

    def draw(self, displacement: F32, head: Pose, gaze: Gaze | None = None, ratio: F32 | None = None) -> U8:
        """The picture (s, s, 3) with these displacements of the landmarks (468, 3) and this log ratio."""
        texture = None if ratio is None else self.shaded(ratio)
        picture = self.plane.draw(displacement, head, gaze, texture)
        self.interior.lay(picture, self.plane.moved)
        return picture

    def shaded(self, ratio: F32) -> U8:
        """The portrait times exp(``ratio``), (s, s, 3)."""
        x0, y0, x1, y1 = self._box
        laid = cv2.remap(ratio, self._into, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        gain = cv2.exp(np.clip(laid, -MOST, MOST) * self._cover)
        made = self.plane.portrait.copy()
        made[y0:y1, x0:x1] = np.clip(made[y0:y1, x0:x1] * gain + 0.5, 0, 255)
        return made

    def _lay_frame(self, portrait: U8, landmarks: F32) -> None:
        """Where in the mean face's frame each pixel of the portrait's box lies."""
        points = landmarks[:LANDMARKS, :2]
        low = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(points.max(0)).astype(int) + 2, len(portrait))
        self._box = int(low[0]), int(low[1]), int(high[0]), int(high[1])
        at = np.asarray(points - low, np.float32)
        shape = int(high[1] - low[1]), int(high[0] - low[0])
        self._into, inside = self.mean_face.lay(at, self.mean_face.points, shape)
        self._cover = np.repeat(inside.astype(np.float32)[..., None], 3, 2)

    def _warm_up(self) -> None:
        """Compile every kernel, so that the first frame is as fast as the next."""
        talking = arkit_vector({"jawOpen": 0.5, "mouthSmile": 0.5, "eyeBlink": 0.5, "browInnerUp": 0.5})
        self.render(FaceState(Ns(0), talking, Pose.degrees(3, 3, 3), Gaze(0.1, 0.1)))


def unpacked(known: dict[str, np.ndarray], name: str) -> F32:
    """Maps that :func:`packed` made small."""
    scale = known[f"{name}_scale"].astype(np.float32)
    maps = known[name]
    return np.asarray(maps * scale.reshape(-1, *[1] * (maps.ndim - 1)), np.float32)


def packed(name: str, maps: F32) -> dict[str, np.ndarray]:
    """``maps`` (n, ...) in a byte a value, each with a scale of its own."""
    scale = np.maximum(np.abs(maps).reshape(len(maps), -1).max(1), 1e-6) / 127
    small = np.round(maps / scale.reshape(-1, *[1] * (maps.ndim - 1))).astype(np.int8)
    return {name: small, f"{name}_scale": scale.astype(np.float32)}


def combined(shares: F32, maps: F32) -> F32:
    """(d,): the sum of ``maps`` (n, d), few and long, weighted by ``shares`` (n,). A matrix product would wake threads
    that take longer to wait for than to work."""
    made = np.zeros(maps.shape[1], np.float32)
    for share, line in zip(shares, maps, strict=True):
        if share:
            made += np.float32(share) * line
    return made
