"""What a second photo, a smile, says of this person alone: how their smile folds the skin.

The smile is brought into the frame of the mean face, as the photo is, and divided by it (the expression ratio image of
Liu, Shan & Zhang 2001, with the person's own pictures). What the learnt maps already say is taken off, so that at the
strength of the second photo the skin is as it is there, and beside that smile everything stays as it was learnt.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from avatar.core import facs
from avatar.core.facs import ARKIT, INDEX
from avatar.core.types import F32, U8
from avatar.engines.head_folds import FOLDS, FRAME, FoldMaps, band, fold_weights, log_luminance
from avatar.engines.head_warp import smoothstep
from avatar.portrait.basis import HeadBasis
from avatar.portrait.bundle import Smile
from avatar.portrait.fit import LANDMARKS, FittedHead, on_landmarks, scaled_orthographic
from avatar.portrait.solve import at_rest, relative_to, solve

NAMES = ("own_smile", "own_eyes")
"""Maps of the mouth and cheeks, and of the surroundings of the eyes."""
LEAST = 0.2
"""mouthSmile or the eyes' part of it, below which a photo says nothing about it."""
_COARSE, _COARSE_OTHER_LIGHT = 20.0, 8.0
"""Largest structures that are taken (sigma in pixels of the frame): where the two photos are lit alike, the shading of
the cheeks is the smile's; where not, only what is as small as folds."""
_OTHER_LIGHT = (0.10, 0.22)
"""Spread of the coarse part of the log ratio: of one light, of two."""
_MOST = 0.6
_FRAMES_NEAR = 5
"""Pixels of the frame around glasses about which the second photo says nothing."""
_EYES_END = (5.0, 14.0)
"""Rows below the eyes' corners between which the eyes' map goes over into the mouth's."""


@dataclass(frozen=True)
class OwnSmile:
    """The second photo, understood."""

    weights: F32
    """(52,) of the shapes with which the head of the first photo covers it."""
    picture: U8
    landmarks: F32
    """(478, 3) in pixels of ``picture``."""
    to_picture: F32
    """(3, 4) from the head's frame (x, y, z, 1) to ``picture``: x, y (down), nearness."""


def understand(basis: HeadBasis, fitted: FittedHead, photo: F32, coefficients: F32, smile: Smile) -> OwnSmile:
    """How ``smile`` relates to the photo.

    :param fitted: the head of the photo. :param photo: (478, 3) its landmarks.
    :param coefficients: (52,) what it shows.
    """
    yaw, pitch = np.subtract(facs.eye_look(smile.coefficients), facs.eye_look(coefficients))
    looks = np.zeros(len(ARKIT), np.float32)
    facs.set_eye_look(looks, float(yaw), float(pitch))
    solved = solve(basis, fitted, photo, smile.landmarks, relative_to(coefficients, smile.coefficients), looks)
    points = at_rest(fitted, on_landmarks(basis, fitted.rest), photo)
    points = points + np.tensordot(solved.weights + looks, on_landmarks(basis, fitted.expressions), 1)
    target = smile.landmarks[:LANDMARKS, :2].astype(np.float64) * (1, -1)
    rotation, scale, offset = scaled_orthographic(points, target, np.ones(LANDMARKS))
    camera = np.c_[rotation * scale, (*offset, 0.0)] * np.array((1.0, -1.0, 1.0))[:, None]
    return OwnSmile(solved.weights, smile.portrait, smile.landmarks, camera.astype(np.float32))


def mixer(own: OwnSmile) -> F32:
    """(4, 52): rows of the right and left of :data:`NAMES`, which reach 1 at the strength of the second photo."""
    made = np.zeros((4, len(ARKIT)), np.float32)
    for i, fold in enumerate(("smile", "crows_feet")):
        for side, word in enumerate(("Right", "Left")):
            row = made[2 * i + side]
            for shape, share in FOLDS[fold]:
                row[INDEX[shape + word]] = share
            strength = float(row @ own.weights)
            row *= 1 / strength if strength > LEAST else 0.0
    return made


def own_maps(
    maps: FoldMaps, own: OwnSmile, portrait: U8, landmarks: F32, skin: F32, strength: F32, frames: U8 | None = None
) -> F32:
    """(2, h, w) log ratios of :data:`NAMES`, to be added to the learnt ones.

    :param portrait: the first photo and :param landmarks: its points; :param skin: (h, w) where it is bare skin.
    :param strength: (n,) of the learnt maps on this skin. :param frames: (s, s) above 0 where glasses are, which sit
        elsewhere in the second photo.
    """
    face, inside = maps.face, maps.face.inside
    ratio = log_luminance(face, own.picture, own.landmarks) - log_luminance(face, portrait, landmarks)
    wide, narrow = (band(ratio[None], inside, coarse)[0] for coarse in (_COARSE, _COARSE_OTHER_LIGHT))
    spread = float(np.std((ratio - np.median(ratio[inside]) - wide)[inside]))
    other = float(smoothstep(*_OTHER_LIGHT, spread))
    found = np.clip(wide + (narrow - wide) * other, -_MOST, _MOST)

    shown = fold_weights(own.weights, maps.names) * strength[:, None]
    left = halves()
    learnt = np.einsum("n,nhw->hw", shown[:, 0], maps.maps) * (1 - left)
    learnt += np.einsum("n,nhw->hw", shown[:, 1], maps.maps) * left
    rows = np.arange(FRAME[0], dtype=np.float32)[:, None]
    brows = face.points[[105, 334], 1].mean()
    trusted = maps.skin * skin * smoothstep(brows - 6, brows + 2, rows)
    if frames is not None:
        near = face.bring((frames > 50).astype(np.float32), landmarks)
        near = cv2.dilate((near > 0.2).astype(np.uint8), np.ones((2 * _FRAMES_NEAR + 1,) * 2, np.uint8))
        trusted = trusted * (1 - cv2.GaussianBlur(near.astype(np.float32), (0, 0), 2.0))
    corners = float(face.points[[33, 263], 1].mean())
    eyes = 1 - smoothstep(corners + _EYES_END[0], corners + _EYES_END[1], rows)
    own_part = (found - learnt) * trusted
    return np.stack([own_part * (1 - eyes), own_part * eyes]).astype(np.float32)


def halves() -> F32:
    """(1, w) of the frame: 0 on the subject's right, 1 on the left, with a soft middle, or a one-sided smile would end
    at a line."""
    return np.clip(0.5 + (np.arange(FRAME[1]) - (FRAME[1] - 1) / 2) / 12, 0, 1)[None].astype(np.float32)
