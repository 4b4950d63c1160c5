"""What a photo shows that will look poor once it moves: one line each, for the user.

The thresholds were set on 475 portraits (356 generated, 119 photographed): each check speaks on at most 1 in 100 of the
neutral ones that it should not speak on. Painted face masks and dark lenses were found in 96 of 100 or more, a patch of
skin over the mouth (a hand) in 58 of 100; clear or mirrored glasses are not looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32, U8
from avatar.portrait.landmarks import FACE_OVAL, IRIS_LEFT, IRIS_RIGHT, DetectedFace

LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
MOUTH_SURROUNDINGS = (2, 97, 98, 203, 206, 216, 212, 202, 204, 194, 201, 200, 421, 418, 424, 422, 432, 436, 426, 423,
                      327, 326)  # fmt: skip
EYE_RIGHT = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
EYE_LEFT = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
SOCKET_RIGHT = (226, 31, 228, 229, 230, 231, 232, 233, 244, 189, 221, 222, 223, 224, 225, 113)
SOCKET_LEFT = (446, 261, 448, 449, 450, 451, 452, 453, 464, 413, 441, 442, 443, 444, 445, 342)
CHIN = (204, 201, 200, 421, 424, 262, 369, 396, 175, 171, 140, 32)
CHEEK_RIGHT, CHEEK_LEFT = (118, 101, 36, 205, 50), (347, 330, 266, 425, 280)
"""Outlines by MediaPipe's point numbers; sides are the subject's."""

_EYES = 80.0
"""Pixels between the eyes at which sharpness is measured."""


DARK = "the photo is dark; use one with more light on the face"
BLURRY = "the photo is blurred; use a sharper one"
ENLARGED = 1.25
"""Portrait pixels made of one of the photo's from which it looks soft."""
BLURRED = 0.16
""":func:`sharpness` below which a photo is blurred."""


def is_dark(lab: F32, face: DetectedFace) -> bool:
    """The face lies in the dark. ``lab``: the portrait (n, n, 3) in CIELAB."""
    # The brightest twentieth, not the mean: dark skin in good light has highlights, a dark photo has none.
    return bool(np.percentile(inside(lab, face.landmarks, FACE_OVAL)[:, 0], 95) < 35)


def covered(lab: F32, face: DetectedFace) -> Iterator[str]:
    """What hides eyes or mouth, one line each."""
    # Eyes: white and pupil differ strongly; behind a dark lens nothing does.
    ranges = [np.ptp(np.percentile(inside(lab, face.landmarks, eye)[:, 0], (5, 95))) for eye in (EYE_RIGHT, EYE_LEFT)]
    if max(ranges) < 14 and lid_gap(face) > 0.12:
        yield "the eyes are hidden (dark glasses?); take them off, or the eyes will not move"
    if lip_contrast(lab, face) < 3 and lip_seam(lab[..., 0], face) < 2:
        yield "the mouth seems to be covered; uncover it, or the lips cannot be drawn"


def lip_contrast(lab: F32, face: DetectedFace) -> float:
    """How much the lips' colour differs from the skin around them, in units of CIELAB's a and b."""
    around = _mask(lab, face.landmarks, MOUTH_SURROUNDINGS) & ~cv2.dilate(_mask(lab, face.landmarks, LIPS), _dot(lab))
    lips = _mask(lab, face.landmarks, LIPS) & ~_mask(lab, face.landmarks, INNER_LIPS)
    if not lips.any() or not around.any():
        return 0.0
    difference = np.median(lab[lips > 0], axis=0) - np.median(lab[around > 0], axis=0)
    return float(np.hypot(difference[1], difference[2]))


def lip_seam(lightness: NDArray[np.float32], face: DetectedFace) -> float:
    """How much darker the line between the lips (or the open mouth) is than the lips, in units of CIELAB's L."""
    soft = cv2.GaussianBlur(lightness, (0, 0), max(0.3, 0.008 * face.eye_distance))
    depths = []
    for above, below in ((37, 84), (0, 17), (267, 314)):  # outer margins of both lips, three columns
        t = np.linspace(0, 1, 60, dtype=np.float32)[:, None]
        line = face.landmarks[above, :2] * (1 - t) + face.landmarks[below, :2] * t
        values = cv2.remap(soft, np.ascontiguousarray(line[None, :, 0]), np.ascontiguousarray(line[None, :, 1]),
                           cv2.INTER_LINEAR)[0]  # fmt: skip
        depths.append(min(np.median(values[:20]), np.median(values[40:])) - values[12:48].min())
    return float(np.median(depths))


def lid_gap(face: DetectedFace) -> float:
    """Opening of the narrower eye, in widths of that eye: about 0.35 when open, 0.05 when shut."""
    points = face.landmarks[:, :2]
    gaps = [
        np.hypot(*(points[upper] - points[lower])) / max(1e-6, np.hypot(*(points[outer] - points[inner])))
        for upper, lower, outer, inner in ((159, 145, 33, 133), (386, 374, 263, 362))
    ]
    return float(min(gaps))


def mouth_gap(landmarks: F32) -> float:
    """Height between the inner lips in the middle, in distances between the irises."""
    eyes = float(np.hypot(*(landmarks[IRIS_LEFT, :2] - landmarks[IRIS_RIGHT, :2])))
    return float(np.hypot(*(landmarks[13, :2] - landmarks[14, :2]))) / max(eyes, 1e-6)


def expression(face: DetectedFace) -> Iterator[str]:
    """What the face does beside resting, one line each."""

    def both(name: str) -> float:
        return (face.coefficient(name + "Left") + face.coefficient(name + "Right")) / 2

    if both("eyeBlink") > 0.45 or lid_gap(face) < 0.12:
        yield "the eyes are closed or look down; use a photo with open eyes that look into the camera"
    gap = mouth_gap(face.landmarks)
    smile = both("mouthSmile") > 0.4
    if gap > 0.06 and smile:
        yield "the photo shows an open smile; a closed, resting mouth speaks better"
    elif gap > 0.06:
        yield "the mouth is open; a closed, resting mouth speaks better"
    elif smile:
        yield "the photo shows a smile; a resting face moves better"


def small(enlarged: float) -> Iterator[str]:
    """One line where the face has too few pixels. :param enlarged: portrait pixels made of one of the photo's."""
    if enlarged > ENLARGED:
        yield f"the face is small, so the portrait is enlarged {enlarged:.1f} times and looks soft; use a larger photo"


def sharpness(portrait: U8, face: DetectedFace) -> float:
    """Spread of the Laplacian over the spread of brightness around the eyes, at 80 pixels between the eyes: about 0.5
    in a sharp photo, 0.24 and 0.14 after a blur of 1 and 1.5 pixels there."""
    factor = _EYES / face.eye_distance
    grey = cv2.resize(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), None, fx=factor, fy=factor,
                      interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC).astype(np.float32)  # fmt: skip
    points = face.landmarks * np.float32(factor)
    eyes = (_mask(grey, points, SOCKET_RIGHT) | _mask(grey, points, SOCKET_LEFT)) > 0
    if not eyes.any():
        return 0.0
    return float(cv2.Laplacian(grey, cv2.CV_32F)[eyes].std() / max(1.0, grey[eyes].std()))


def framing(padding: Mapping[str, float]) -> Iterator[str]:
    """One line where the photo ends too early. :param padding: share of the portrait's side beyond it, by edge."""
    cut = [edge for edge in ("top", "left", "right", "bottom") if padding.get(edge, 0.0) > 0.1]
    if cut:
        edges = " and ".join(cut)
        yield f"the photo ends close to the face ({edges}), so hair or shoulders fade out; use one with more around it"


def bearded(lab: F32, face: DetectedFace) -> bool:
    """The chin is much greyer than the cheeks, and not lighter: hair. A fair or red beard goes unnoticed."""
    cheeks = np.concatenate([inside(lab, face.landmarks, outline) for outline in (CHEEK_RIGHT, CHEEK_LEFT)])
    chin = inside(lab, face.landmarks, CHIN)
    greyer = float(np.median(np.hypot(cheeks[:, 1], cheeks[:, 2])) - np.median(np.hypot(chin[:, 1], chin[:, 2])))
    return greyer > 8 and float(np.median(cheeks[:, 0])) > float(np.median(chin[:, 0]))


def _mask(picture: NDArray, points: F32, outline: Sequence[int]) -> U8:
    """255 inside the outline, of the picture's height and width."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    return cv2.fillPoly(mask, [np.round(points[list(outline), :2]).astype(np.int32)], 255)


def inside(picture: F32, points: F32, outline: Sequence[int]) -> F32:
    """The pixels (n, channels) inside the outline; at least one."""
    pixels = picture[_mask(picture, points, outline) > 0]
    return pixels if len(pixels) else np.zeros((1, picture.shape[-1]), np.float32)


def _dot(picture: NDArray) -> U8:
    side = max(3, picture.shape[0] // 170)
    return np.ones((side, side), np.uint8)
