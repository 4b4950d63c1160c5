"""Engine ``generator``: the 3D head of engine ``head``, and a learned corrector over it.

Geometry draws what moves; the network adds what moving skin does besides: folds, the inside of this mouth, light on
cheeks that rise. It is conditioned on the face state relative to the photo, as GANimation is on action units.
"""

from __future__ import annotations

from pathlib import Path

from avatar.core import facs
from avatar.core.geometry import mapped
from avatar.core.types import U8, FaceState, Ns
from avatar.engines import layers
from avatar.engines.base import Engine
from avatar.engines.corrector import Corrector, crop
from avatar.engines.head import HeadEngine, shape_weights
from avatar.engines.head_mesh import TRACKED_LIPS
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import LANDMARKS


class GeneratorEngine(Engine):
    """Draws a portrait as a 3D head with learned corrections. Sizes 256 to 1024, as :class:`HeadEngine`."""

    name = "generator"

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        super().__init__(bundle, size, weights)
        self._head = HeadEngine(bundle, size, weights)
        rest = FaceState(Ns(0))
        frame, (_, landmarks) = self._head.face_frame(rest.head), bundle.at_size(size)
        outline = mapped(frame, landmarks[:LANDMARKS, :2])
        self._corrector = Corrector(weights, crop(self._head.render(rest), frame), outline, bundle.coefficients)
        self._exchanged: tuple[U8, U8] | None = None
        self._warm_up()

    def _warm_up(self) -> None:
        """Compile the kernels and let the network allocate, so that the first frame is as fast as the next."""
        self.render(FaceState(Ns(0), facs.arkit_vector({"mouthSmile": 0.7, "jawOpen": 0.3})))

    @property
    def head(self) -> HeadEngine:
        """What it draws without corrections, ready to draw alone."""
        return self._head

    def render(self, state: FaceState) -> U8:
        picture = self._head.render(state)
        relative, _, _ = shape_weights(state)
        frame = self._head.face_frame(state.head)
        self._corrector.correct(picture, frame, relative, mapped(frame, self._head.contours[TRACKED_LIPS]))
        self._head.lay_glasses(picture)  # what corrects skin must not bend them
        if self._exchanged is not None and (alpha := self._head.alpha) is not None:
            layers.exchange(picture, alpha, *self._exchanged)
        return picture

    def set_background(self, name: str) -> None:
        self._head.set_background(name)
        self._exchanged = None
        # The network has learnt from photos: it sees the photo's background, and another one comes after it.
        if self._head.background != layers.KEEP and (old := self._head.set_cut_out()) is not None:
            self._exchanged = old, layers.background(name, old)

    @property
    def background(self) -> str:
        return self._head.background

    @property
    def alpha(self) -> U8 | None:
        return self._head.alpha
