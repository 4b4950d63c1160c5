"""From a photo to an avatar: find the face, refuse what cannot work, warn of what will look poor, cut the portrait."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import cv2
import numpy as np

from avatar.core.types import U8, freeze
from avatar.errors import ConsentError, PhotoError
from avatar.portrait.bundle import AvatarBundle, check_name
from avatar.portrait.consent import CONSENTS, Consent
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector
from avatar.portrait.photo import read_photo
from avatar.portrait.report import report, warnings_of

__all__ = ["cut_square", "find_face", "onboard", "portrait_square", "read_photo", "take"]

MIN_EYE_DISTANCE = 40.0
"""Pixels between the irises, in the photo. Below it a 512-pixel portrait would be enlarged more than twice."""
MAX_TURN = 20.0
"""Degrees of yaw or pitch beyond which the far side of the face is not in the photo."""
MAX_TILT = 30.0
"""Degrees of roll beyond which hair and shoulders would not follow the head."""
RIVAL = 0.4
"""A second face counts where its eyes are this much as far apart as the first one's; smaller ones are background."""
MIN_PORTRAIT, MAX_PORTRAIT = 512, 1024

_SIDEWAYS = "the photo lies on its side or upside down; turn it upright"
_SEARCH_SIDE = 1280
"""The detector looks at 128 to 192 pixels; more only costs time."""
_SIDE = 1.95
"""Side of the portrait in face heights: hair, neck and the top of the shoulders are in it."""


def onboard(
    rgb: U8,
    name: str,
    title: str,
    consent: Consent,
    detector: LandmarkDetector,
    provenance: str = "",
    glasses: GlassesFinder | None = None,
) -> AvatarBundle:
    """Make an avatar of the one face in ``rgb`` (height, width, 3).

    The portrait is a square of 512 to 1024 pixels. How good the photo is, is said in ``report``; what will look poor
    also in ``warnings``, one line each.

    :param glasses: finds the frames that must not bend with the face; None does not look for any.

    Raises PhotoError with a code ("no_face", "sideways", "faces", "small", "cut", "profile", "tilted") where the photo
    cannot become an avatar, ConsentError without a consent statement, UsageError for an unusable name.
    """
    check_name(name)
    if consent not in CONSENTS:
        raise ConsentError(f"say who agreed to the use of this face: consent is one of {', '.join(CONSENTS)}")
    shot = take(rgb, detector)
    frame = None if glasses is None else glasses.mask(shot.portrait, shot.face.landmarks)
    made = report(shot.portrait, shot.face, shot.turned, shot.padding, shot.enlarged, frame is not None)
    return AvatarBundle(
        name=name,
        title=title or name,
        portrait=freeze(shot.portrait),
        landmarks=shot.face.landmarks,
        coefficients=shot.face.coefficients,
        consent=consent,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance=provenance,
        warnings=warnings_of(made),
        glasses=frame,
        report=made,
    )


@dataclass(frozen=True)
class Shot:
    """The portrait that a photo gives."""

    portrait: U8
    """(n, n, 3)."""
    face: DetectedFace
    """In pixels of ``portrait``."""
    turned: DetectedFace
    """As it was found in the photo."""
    padding: dict[str, float]
    """The share of the side that lies beyond the photo, by edge."""
    enlarged: float
    """How many of the portrait's pixels one of the photo's became."""


def take(rgb: U8, detector: LandmarkDetector) -> Shot:
    """Find the face, refuse what cannot work, cut the portrait. Raises PhotoError as :func:`onboard` does."""
    face = find_face(rgb, detector)
    _refuse(face, rgb)
    left, top, side = portrait_square(face)
    size = min(MAX_PORTRAIT, max(MIN_PORTRAIT, round(side)))
    portrait = cut_square(rgb, left, top, side, size)
    found = detector.detect(portrait)
    if not found:
        raise PhotoError("the face is found in the photo but not in its portrait; use a clearer photo", "no_face")
    # The portrait's own detection: sharper than the photo's, and in its pixels. Others in it are background.
    best = min(found, key=lambda f: math.dist(f.landmarks[1, :2], (size / 2, size / 2)))
    return Shot(portrait, best, face, _padding(rgb, left, top, side), size / side)


def find_face(rgb: U8, detector: LandmarkDetector) -> DetectedFace:
    """The one large face in a picture (height, width, 3), in its pixels; it may be small in the picture.

    Raises PhotoError (codes "no_face", "sideways", "faces").
    """
    faces = _search(rgb, detector)
    if not faces:
        raise PhotoError("no face is found; use a photo of one person, near enough, looking into the camera", "no_face")
    first = faces[0]
    rivals = [f for f in faces[1:] if f.eye_distance > RIVAL * first.eye_distance]
    if rivals:
        raise PhotoError(f"{1 + len(rivals)} faces are found; cut the photo so that one person is in it", "faces")
    return first


def _search(rgb: U8, detector: LandmarkDetector) -> list[DetectedFace]:
    """Faces in the picture, largest first; where there is none, in overlapping parts of it (a face below about an
    eighth of the picture escapes the detector), and then once more on the enlarged surroundings of what was found.

    Raises PhotoError ("sideways")."""
    small, factor = _shrink(rgb)
    found = [_scaled(face, factor, 0, 0) for face in detector.detect(small)]
    if not found:
        # Before a closer look, which may take an ear for a face: the whole picture, turned.
        for quarter in (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180):
            if any(abs(face.roll) < 30 and abs(face.yaw) < 30 for face in detector.detect(cv2.rotate(small, quarter))):
                raise PhotoError(_SIDEWAYS, "sideways")
    for parts in (2, 4):
        if found:
            break
        found = _search_parts(rgb, detector, parts)
    for i, face in enumerate(found):
        if face.eye_distance * factor < 60:  # few pixels were looked at: look closer
            left, top, side = portrait_square(face)
            close = detector.detect(cut_square(rgb, left, top, side, 512))
            if close:
                found[i] = _scaled(close[0], 512 / side, left, top)
    return sorted(found, key=lambda face: -face.eye_distance)


def _search_parts(rgb: U8, detector: LandmarkDetector, parts: int) -> list[DetectedFace]:
    height, width = rgb.shape[:2]
    side = 2 * max(height, width) // (parts + 1)
    found: list[DetectedFace] = []
    for top in sorted({min(i * side // 2, max(0, height - side)) for i in range(parts)}):
        for left in sorted({min(i * side // 2, max(0, width - side)) for i in range(parts)}):
            small, factor = _shrink(rgb[top : top + side, left : left + side])
            for face in (_scaled(f, factor, left, top) for f in detector.detect(small)):
                # Parts overlap, so the same face comes more than once.
                if all(math.dist(face.landmarks[1, :2], other.landmarks[1, :2]) > face.eye_distance for other in found):
                    found.append(face)
    return found


def _shrink(rgb: U8) -> tuple[U8, float]:
    """The picture at no more than the search's size, and the factor by which it was scaled."""
    factor = min(1.0, _SEARCH_SIDE / max(rgb.shape[:2]))
    if factor == 1.0:
        return rgb, 1.0
    return cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), factor


def _scaled(face: DetectedFace, factor: float, left: float, top: float) -> DetectedFace:
    """A face found in a part of a picture that was scaled by ``factor``, in the picture's pixels."""
    points = face.landmarks / np.float32(factor) + np.array((left, top, 0), np.float32)
    return DetectedFace(freeze(points), face.coefficients, face.yaw, face.pitch, face.roll, face.translation)


def _refuse(face: DetectedFace, rgb: U8) -> None:
    """Raise PhotoError where no good avatar can come of the face."""
    if abs(face.roll) > 60:
        raise PhotoError(_SIDEWAYS, "sideways")
    if abs(face.yaw) > MAX_TURN:
        side = "right" if face.yaw > 0 else "left"
        raise PhotoError(
            f"the head is turned {abs(face.yaw):.0f} degrees to the picture's {side}; at most {MAX_TURN:.0f} work, "
            "so look into the camera",
            "profile",
        )
    if abs(face.pitch) > MAX_TURN:
        way = "up" if face.pitch > 0 else "down"
        raise PhotoError(
            f"the head is turned {abs(face.pitch):.0f} degrees {way}; at most {MAX_TURN:.0f} work, "
            "so hold the camera at eye level",
            "profile",
        )
    if abs(face.roll) > MAX_TILT:
        raise PhotoError(
            f"the head is tilted by {abs(face.roll):.0f} degrees; at most {MAX_TILT:.0f} work, so turn the photo",
            "tilted",
        )
    if face.eye_distance < MIN_EYE_DISTANCE:
        raise PhotoError(
            f"the face is too small: {face.eye_distance:.0f} pixels between the eyes, at least {MIN_EYE_DISTANCE:.0f} "
            "are needed; use a larger photo or come closer",
            "small",
        )
    left, top, right, bottom = face.box
    slack = 0.03 * (bottom - top)
    height, width = rgb.shape[:2]
    if min(left, top, width - right, height - bottom) < -slack:
        raise PhotoError("the face is cut off by the edge of the photo; use one with the whole head in it", "cut")


def portrait_square(face: DetectedFace) -> tuple[float, float, float]:
    """Left, top and side, in pixels, of the square that a portrait is cut from: 1.95 face heights, the face's outline
    just below its middle."""
    left, top, right, bottom = face.box
    # The mesh ends at the hairline's guess; a wide face would otherwise get too small a square.
    side = _SIDE * max(bottom - top, 1.15 * (right - left))
    return (left + right - side) / 2, (top + bottom - side) / 2 - 0.02 * side, side


def cut_square(rgb: U8, left: float, top: float, side: float, size: int) -> U8:
    """Cut a square and scale it to (size, size, 3), without aliasing. Where it reaches beyond the picture, the edge is
    continued and grows softer with distance, so that it has no streaks."""
    height, width = rgb.shape[:2]
    x0, y0 = math.floor(left), math.floor(top)
    x1, y1 = math.ceil(left + side), math.ceil(top + side)
    edges = (max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width))
    inside = rgb[max(0, y0) : min(height, y1), max(0, x0) : min(width, x1)]
    # Average first where it shrinks a lot, so that the padding works on a small picture.
    factor = size / side
    shift = (left - x0, top - y0)
    if any(edges):
        inside = _continue_edges(inside, edges)
    if factor < 1:
        # Pixel averaging on the whole-pixel square; the fraction of a pixel that is left is below the output's pixel.
        return cv2.resize(inside, (size, size), interpolation=cv2.INTER_AREA)
    matrix = np.array([[factor, 0, 0.5 * factor - 0.5 - factor * shift[0]],
                       [0, factor, 0.5 * factor - 0.5 - factor * shift[1]]])  # fmt: skip
    return cv2.warpAffine(inside, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _continue_edges(rgb: U8, edges: tuple[int, int, int, int]) -> U8:
    """Pad by (top, bottom, left, right) pixels with the edge's colours, blurred more and more with distance."""
    top, bottom, left, right = edges
    padded = cv2.copyMakeBorder(rgb, top, bottom, left, right, cv2.BORDER_REPLICATE)
    height, width = padded.shape[:2]
    beyond = np.ones((height, width), np.uint8)
    beyond[top : height - bottom, left : width - right] = 0
    distance = cv2.distanceTransform(beyond, cv2.DIST_L2, 5)
    result = padded.astype(np.float32)
    # Three blurs, each faded in over its own width: sharp near the edge, and no streak is left far from it.
    for share in (0.01, 0.04, 0.12):
        reach = max(1.0, share * max(height, width))
        soft = _blur(padded, reach).astype(np.float32)
        weight = np.clip(distance / (2 * reach), 0, 1)[..., None]
        result += (soft - result) * weight
    return np.clip(result + 0.5, 0, 255).astype(np.uint8)


def _blur(rgb: U8, sigma: float) -> U8:
    """Gaussian blur; a wide one is done on a smaller picture, where it looks the same and takes little time."""
    factor = max(1.0, sigma / 4)
    height, width = rgb.shape[:2]
    small = cv2.resize(
        rgb, (max(1, round(width / factor)), max(1, round(height / factor))), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _padding(rgb: U8, left: float, top: float, side: float) -> dict[str, float]:
    """The share of the portrait's side that lies beyond the photo, for each edge."""
    height, width = rgb.shape[:2]
    return {
        "top": max(0.0, -top) / side,
        "left": max(0.0, -left) / side,
        "right": max(0.0, left + side - width) / side,
        "bottom": max(0.0, top + side - height) / side,
    }
