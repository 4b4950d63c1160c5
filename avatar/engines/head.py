"""Engine ``head``: the portrait as the texture of a 3D head that the 52 ARKit shapes move.

Each frame: shapes and pose move the vertices; a z-buffer says for every pixel of the face where in the photo it comes
from; a smooth flow carries hair, neck and background along; one remap draws it all; then eyes and mouth are finished.
A state of zeros is the photo as it is.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from avatar.core.facs import ARKIT, EYE_RANGE, INDEX
from avatar.core.geometry import from_euler, similarity, to_matrix
from avatar.core.types import F32, U8, FaceState, Gaze, Ns, Pose, zeros
from avatar.engines import layers, raster
from avatar.engines.base import Engine
from avatar.engines.corrector import EYE_CORNERS, frame_of
from avatar.engines.head_eyes import Eyes
from avatar.engines.head_folds import FILE as FOLDS_FILE
from avatar.engines.head_folds import FoldMaps, Folds
from avatar.engines.head_glasses import Glasses
from avatar.engines.head_mesh import (
    MOUTH_BACK,
    TRACKED,
    TRACKED_INNER,
    TRACKED_LEFT_EYE,
    TRACKED_LIPS,
    TRACKED_RIGHT_EYE,
    build_mesh,
)
from avatar.engines.head_mouth import Mouth, Tongue, colour_mouth
from avatar.engines.head_own import OwnSmile, mixer, own_maps, understand
from avatar.engines.head_teeth import OwnTeeth, mark_upper_teeth
from avatar.engines.head_warp import TEXTURE_SCALE, Warp
from avatar.errors import EngineError
from avatar.portrait.basis import HeadBasis
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import CHEEK_CLOSES, SQUINT_CLOSES, eye_distance, fit_head
from avatar.portrait.matte import matte_of

log = logging.getLogger(__name__)

MIN_SIZE, MAX_SIZE = 256, 1024
MAX_YAW, MAX_PITCH, MAX_ROLL = 15.0, 15.0, 12.0
"""Degrees; beyond them a single photo shows its back sides."""
SEEN_YAW = SEEN_PITCH = 1.5
"""Light, ears and shoulders do not turn with the mesh, so a drawn turn is seen as half of what it is (MediaPipe reads
10 degrees of yaw or pitch as 4.3 to 5.4, ``avatar eval reenact``): it is drawn larger, within the limit. Where the
turn was solved for the mesh itself (``models/expression/faces.py``), it is divided by these."""
MAX_GAZE = math.radians(15.0)
MAX_SHIFT = 40.0
"""Millimetres of translation."""
_VIEWING_DISTANCE = 600.0
"""Millimetres, for the growth of a head that comes nearer."""
_PIVOT = np.array((0.0, -5.6, -9.4))
"""Where the head turns, in centimetres from the midpoint of the eyeballs: the top of the neck."""
_BEHIND = -5.0
"""Depth (cm from the eyeballs) of the plane on which hair and neck are thought to lie."""
_PARTED = 0.02
"""Opening of the lips from which the mouth's inside is drawn."""
_EYES = (TRACKED_RIGHT_EYE, TRACKED_LEFT_EYE)
_LOOK = {name: INDEX[name] for name in ARKIT if name.startswith("eyeLook")}


class HeadEngine(Engine):
    """Draws a portrait as a 3D head. Sizes 256 to 1024; about 5 to 8 ms a frame at 512 on one core.

    Pose is limited softly to 15 degrees of yaw and pitch and 12 of roll, gaze to 15 degrees.
    """

    name = "head"
    folds: ClassVar[bool] = True
    """Whether folds of the skin are drawn; what learns them draws without."""
    layered: ClassVar[bool] = True
    """Whether the head moves before a background that stays, where it can be told from it."""

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        super().__init__(bundle, size, weights)
        if not MIN_SIZE <= size <= MAX_SIZE:
            raise EngineError(
                f"size {size}: the head engine draws {MIN_SIZE} to {MAX_SIZE} pixels a side; choose one of those"
            )
        self._prepare(bundle, size, weights)

    def _prepare(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        basis = HeadBasis.load(weights / "head_basis.npz")
        portrait, landmarks = bundle.at_size(size)

        fitted = fit_head(basis, landmarks, bundle.coefficients)
        mesh = build_mesh(basis, fitted, landmarks)
        illumination = colour_mouth(mesh, fitted, portrait, landmarks)
        self._mesh, self._fitted = mesh, fitted
        matte = matte_of(bundle, size, weights) if self.layered else None
        self._glasses = None
        if (frame := bundle.glasses_at(size)) is not None:
            self._glasses = Glasses(portrait, landmarks, frame, TEXTURE_SCALE)
            portrait = self._glasses.bare
        self._doubt = matte.doubt if matte is not None else "its layers are not looked for"
        self._layers = layers.take_apart(portrait, matte) if matte is not None and not matte.doubt else None
        self._warp = Warp(portrait, landmarks, None if self._layers is None else self._layers.cut[..., 3])
        self._background = layers.KEEP
        if self._layers is not None:
            self._warp.put_over(self._layers.kept, self._layers.behind)
        else:
            log.info("%s: the background moves with the head: %s", bundle.name, self._doubt)
        self._folds, own_folds, own = None, None, None
        if bundle.smile is not None:
            own = understand(basis, fitted, landmarks, bundle.coefficients, bundle.smile.at_size(size))

            def own_folds(maps: FoldMaps, skin: F32, strength: F32) -> tuple[F32, F32]:
                return own_maps(maps, own, portrait, landmarks, skin, strength, frame), mixer(own)

        if self.folds:
            self._folds = Folds(FoldMaps.load(weights / FOLDS_FILE), portrait, landmarks, TEXTURE_SCALE, own_folds)
        self._eyes = Eyes(portrait, landmarks)
        self._mouth = Mouth(illumination, landmarks)
        self._tongue = Tongue(mesh)
        self._teeth: OwnTeeth | None = None

        count = len(mesh.rest)
        self._vertices = np.empty((count, 3), np.float32)
        self._points = np.empty((count, 3), np.float32)
        self._attributes = mesh.attributes.copy()
        self._tracked = np.empty((len(TRACKED), 3), np.float32)
        self._depth = np.empty((size, size), np.float32)
        self._values = np.zeros((size, size, 3), np.float32)
        self._shown = np.empty((size, size), np.uint8)
        flip = np.array((1.0, -1.0, 1.0))
        self._to_head = np.linalg.inv(fitted.scale * flip[:, None] * fitted.rotation)
        self._photo_offset = np.array((*fitted.offset, 0.0)) * flip
        raster.on_landmarks(mesh.rest, mesh.tracked_vertices, mesh.tracked_weights, self._tracked)
        self._anchors = self._tracked.copy()
        self._at_rest = self._anchors @ (fitted.scale * flip[:, None] * fitted.rotation).T + self._photo_offset
        self._level = frame_of(landmarks[list(EYE_CORNERS), :2].reshape(2, 2, 2).mean(1))
        self._rest_gap = self._lip_gap()
        self._lip_unit = 0.035 * eye_distance(landmarks) / fitted.scale
        self._rest_lids = [(max(0.05, gap), upper) for gap, upper in map(self._lids, _EYES)]
        self._eye_distance = eye_distance(landmarks)
        self._warm_up()
        if own is not None:
            self._take_teeth(own, portrait, landmarks)

    def _warm_up(self) -> None:
        """Compile every kernel, so that the first frame is as fast as the next."""
        wild = zeros(len(ARKIT)).copy()
        for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"):
            wild[INDEX[name]] = 0.7
        self.render(FaceState(Ns(0), wild, Pose.degrees(3, 3, 3), Gaze(0.1, 0.1)))
        self.render(FaceState(Ns(0)))
        self._warp.set_depth(self._depth, self._shown, _BEHIND * self._fitted.scale)
        if self._glasses is not None:
            self._glasses.set_depth(self._depth, self._shown, self._fitted.scale)

    def _take_teeth(self, own: OwnSmile, portrait: U8, landmarks: F32) -> None:
        teeth = OwnTeeth(own, portrait, landmarks)
        if not teeth.found:
            return
        mark_upper_teeth(self._mesh)
        picture = self.render(FaceState(Ns(0), own.weights))
        teeth.match(self._mesh, picture, self._values, self._shown, self._opened)
        self._attributes[:] = self._mesh.attributes
        self._teeth = teeth

    def render(self, state: FaceState) -> U8:
        return self.draw(*shape_weights(state), state.head)

    def draw(self, weights: F32, gaze_yaw: float, gaze_pitch: float, head: Pose) -> U8:
        """The picture (size, size, 3) with these weights (52,) of the shapes as they are, also below 0, eyes turned by
        radians, and pose."""
        mesh = self._mesh
        np.copyto(self._vertices, mesh.rest)
        raster.add_shapes(self._vertices, weights, mesh.starts, mesh.rows, mesh.deltas)
        self._tongue.lift(self._vertices, weights)
        turn = to_matrix(from_euler(math.degrees(gaze_yaw), math.degrees(gaze_pitch), 0.0)).astype(np.float32)
        for (first, last), centre in zip(mesh.eyes, mesh.eye_centres, strict=True):
            raster.rotate_part(self._vertices, first, last, centre, turn)
        raster.on_landmarks(self._vertices, mesh.tracked_vertices, mesh.tracked_weights, self._tracked)
        opened = (self._lip_gap() - self._rest_gap) / self._lip_unit
        closed, lowered = self._closures()
        matrix, offset = self._camera(head)
        raster.project(self._vertices, matrix, offset, self._points)
        raster.on_landmarks(self._points, mesh.tracked_vertices, mesh.tracked_weights, self._tracked)
        self._points[:, 2] -= mesh.backward * np.float32(self._fitted.scale)

        rows = mesh.lip_rows
        self._attributes[rows, 1] = mesh.attributes[rows, 1] + mesh.lip_shift * np.float32(min(1.0, max(0.0, opened)))
        self._opened = opened
        parted = opened > _PARTED
        count = len(mesh.triangles) if parted else mesh.outer
        buffers = self._depth, self._values, self._shown
        raster.rasterize(self._points, self._attributes, mesh.triangles, mesh.kinds, count, *buffers)
        self._rigid_now = self._rigid(matrix, offset)
        picture = self._warp.draw(self._values, self._shown, self._rigid_now, self._moving())
        if self._folds is not None:
            self._folds.draw(picture, self._warp.map, self._shown, self._face(), weights)
        tracked = self._tracked
        self._eyes.draw(
            picture,
            self._values,
            self._shown,
            (tracked[TRACKED_RIGHT_EYE], tracked[TRACKED_LEFT_EYE]),
            closed,
            lowered,
            math.hypot(gaze_yaw, gaze_pitch),
        )
        if parted:
            tongue = float(weights[INDEX["tongueOut"]])
            contours = tracked[TRACKED_LIPS], tracked[TRACKED_INNER]
            if self._teeth is not None:
                back = MOUTH_BACK * self._fitted.scale
                bared = self._teeth.bared(weights)
                camera = matrix, offset
                self._teeth.lay(self._values, self._shown, self._depth, self._moving(), camera, back, bared, opened)
            self._mouth.draw(picture, self._values, self._shown, *contours, opened, tongue)
        self.lay_glasses(picture)
        return picture

    def set_background(self, name: str) -> None:
        layers.check_background(name)
        if self._layers is None:
            if name != layers.KEEP:
                log.warning("%s: the background is kept, not %s: %s", self.bundle.name, name, self._doubt)
            return
        person = self._layers.kept if name == layers.KEEP else self._layers.cut
        self._warp.put_over(person, layers.background(name, self._layers.behind))
        self._background = name

    def set_cut_out(self) -> U8 | None:
        """Draw the person alone over the photo's own background, which is returned (s, s, 3): for what wants to see it
        before :func:`.layers.exchange` puts another one there. None where the layers are not known."""
        if self._layers is None:
            return None
        self._warp.put_over(self._layers.cut, self._layers.behind)
        return self._layers.behind

    @property
    def background(self) -> str:
        return self._background

    @property
    def alpha(self) -> U8 | None:
        return None if self._layers is None else self._warp.alpha

    def lay_glasses(self, picture: U8) -> None:
        """Over what was drawn last, in place; nothing where nobody wears any."""
        if self._glasses is not None:
            self._glasses.draw(picture, self._rigid_now)

    @property
    def contours(self) -> F32:
        """(72, 2): eyes and lips (:data:`.head_mesh.TRACKED`) as they were drawn last, in pixels."""
        return self._tracked[:, :2].copy()

    def face_frame(self, head: Pose) -> NDArray[np.float64]:
        """(2, 3): from the picture's pixels to the corrector's crop, where the face lies as in the photo whatever its
        expression and, up to a turn out of the plane, its pose."""
        matrix, offset = self._camera(head)
        now = (self._anchors @ matrix.T + offset)[:, :2]
        return self._level @ np.r_[similarity(now, self._at_rest[:, :2]), [(0.0, 0.0, 1.0)]]

    def _lip_gap(self) -> float:
        """Largest height (cm) between the inner lips, while the landmarks are in the head's frame."""
        inner = self._tracked[TRACKED_INNER, 1]
        return float((inner[3:8] - inner[17:12:-1]).max())

    def _lids(self, eye: slice) -> tuple[float, float]:
        """Mean height (cm) of the middle of an eye's opening, and of its upper lid over the corners, while the
        landmarks are in the head's frame."""
        contour = self._tracked[eye, 1]
        upper = float(contour[3:6].mean())
        return upper - float(contour[11:14].mean()), upper - float(contour[0] + contour[8]) / 2

    def _closures(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of each eye: the share of its resting opening that is closed, and the share that its upper lid closes."""
        now = [(*self._lids(eye), *rest) for eye, rest in zip(_EYES, self._rest_lids, strict=True)]
        return tuple(1 - gap / rest for gap, _, rest, _ in now), tuple((high - up) / rest for _, up, rest, high in now)

    def _camera(self, head: Pose) -> tuple[F32, F32]:
        """Matrix (3, 3) and offset (3,) from the head's frame to pixels (y down) and nearness."""
        fitted = self._fitted
        yaw, pitch, roll = head.euler if all(map(math.isfinite, head.rotation)) else (0.0, 0.0, 0.0)
        yaw, pitch = soft_limit(SEEN_YAW * yaw, MAX_YAW), soft_limit(SEEN_PITCH * pitch, MAX_PITCH)
        roll = soft_limit(roll, MAX_ROLL)
        turn = to_matrix(from_euler(yaw, pitch, roll))
        # The eyes travel as far as a nod of the true size takes them: neck and hair are not drawn out for nothing.
        carried = to_matrix(from_euler(yaw, pitch / SEEN_PITCH, roll))
        shift = np.clip(np.nan_to_num(np.array(head.translation, np.float64)), -MAX_SHIFT, MAX_SHIFT)
        scale = fitted.scale * _VIEWING_DISTANCE / (_VIEWING_DISTANCE - shift[2])
        pivot = fitted.rotation @ _PIVOT
        matrix = scale * turn @ fitted.rotation
        offset = fitted.scale * pivot - scale * (carried @ pivot) + fitted.scale * shift / 10 * (1, 1, 0)
        offset[:2] += fitted.offset
        flip = np.array((1.0, -1.0, 1.0))
        return (matrix * flip[:, None]).astype(np.float32), (offset * flip).astype(np.float32)

    def _moving(self) -> tuple[int, int, int, int]:
        """Box from the brows to below the mouth, in pixels."""
        return self._box(0.3, 0.3)

    def _face(self) -> tuple[int, int, int, int]:
        """Box from the hair to the chin, in pixels."""
        return self._box(0.7, 0.8)

    def _box(self, margin: float, above: float) -> tuple[int, int, int, int]:
        """Around what is tracked, with margins in distances between the eyes."""
        points = self._tracked[:, :2]
        low = np.clip(points.min(0) - np.multiply(self._eye_distance, (margin, above)), 0, self.size)
        high = np.clip(points.max(0) + self._eye_distance * margin, 0, self.size)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def _rigid(self, matrix: F32, offset: F32) -> F32:
        """(2, 4): the photo's x, y of a point at (x, y, 1, photo's depth) in the picture, if all moves as the head."""
        now = matrix @ self._to_head
        shift = offset - now @ self._photo_offset
        back = np.linalg.inv(now[:2, :2])
        return np.c_[back, -back @ np.c_[shift[:2], now[:2, 2]]].astype(np.float32)


def shape_weights(state: FaceState) -> tuple[F32, float, float]:
    """Weights (52,) of the shapes, and yaw and pitch of the eyes in radians, with what the shapes owe each other.

    Coefficients that are not numbers count as 0.
    """
    weights = np.clip(np.nan_to_num(np.asarray(state.arkit, np.float32), nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    yaw = min(MAX_GAZE, max(-MAX_GAZE, _number(state.gaze.yaw)))
    pitch = min(MAX_GAZE, max(-MAX_GAZE, _number(state.gaze.pitch)))
    # The lids follow the eyes.
    for name, i in _LOOK.items():
        outward = yaw if name.endswith("Left") else -yaw
        value = {"Down": -pitch, "Up": pitch, "Out": outward, "In": -outward}[
            name[7:].removesuffix("Left").removesuffix("Right")
        ]
        weights[i] = max(0.0, value) / EYE_RANGE

    w = {name: i for name, i in INDEX.items()}
    weights[w["mouthClose"]] = min(weights[w["mouthClose"]], weights[w["jawOpen"]])
    for side in ("Left", "Right"):
        weights[w["mouthSmile" + side]] *= 1 - weights[w["mouthPucker"]]
        # A blink closes what the other shapes leave open, so that the lids meet and never cross.
        squinted = SQUINT_CLOSES * weights[w["eyeSquint" + side]] + CHEEK_CLOSES * weights[w["cheekSquint" + side]]
        left_open = 1 - min(1.0, float(squinted))
        weights[w["eyeBlink" + side]] *= left_open
    return weights, yaw, pitch


def soft_limit(value: float, limit: float) -> float:
    """``value`` unchanged up to 80 % of ``limit``, then ever more slowly towards it."""
    knee = 0.8 * limit
    size = abs(value)
    if size <= knee:
        return float(value)
    return math.copysign(knee + (limit - knee) * math.tanh((size - knee) / (limit - knee)), value)


def _number(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0
