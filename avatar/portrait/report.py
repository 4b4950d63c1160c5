"""How good a photo is for an avatar, point by point, in words for whoever sits in front of the camera."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from avatar.core.types import F32, U8
from avatar.portrait import checks
from avatar.portrait.bundle import Finding
from avatar.portrait.landmarks import FACE_OVAL, DetectedFace

NAMES = ("size", "light", "sharpness", "pose", "expression", "occlusion", "framing")
"""What is looked at, in this order."""
_LARGE = 1.0
"""Portrait pixels made of one of the photo's, up to which nothing is lost."""
_SHARP = 0.24
_STRAIGHT, _TURNED = 8.0, 13.0
"""Degrees of yaw, pitch or roll up to which a head is straight, and from which its far side stretches."""
_ONE_SIDED, _SIDE_LIT = 14.0, 24.0
"""Difference of the cheeks' lightness (CIELAB's L)."""
_BURNT = 0.02
"""Share of the face that is white without any structure."""
_LIP_SIDES = ((205, 425), (50, 280), (118, 347))
"""Pairs of points of both cheeks."""


def report(
    portrait: U8,
    face: DetectedFace,
    turned: DetectedFace,
    padding: Mapping[str, float],
    enlarged: float,
    glasses: bool = False,
) -> tuple[Finding, ...]:
    """One finding for each of :data:`NAMES`, good or not.

    :param portrait: (n, n, 3), and :param face: in its pixels. :param turned: as found in the photo, for the pose.
    :param padding: share of the side that lies beyond the photo, by edge ("top", "left", "right", "bottom").
    :param enlarged: how many portrait pixels one of the photo's became. :param glasses: frames were found.
    """
    lab = cv2.cvtColor(portrait.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    dark = checks.is_dark(lab, face)
    return (
        _size(face, enlarged),
        _light(portrait, lab, face, dark),
        _sharpness(portrait, face),
        _pose(turned),
        _expression(face),
        _occlusion(lab, face, dark, glasses),
        _framing(padding),
    )


def warnings_of(findings: Sequence[Finding]) -> tuple[str, ...]:
    """The lines of what is poor, the most important first."""
    order = ("occlusion", "expression", "size", "sharpness", "light", "pose", "framing")
    poor = [finding for finding in findings if finding.grade == "poor"]
    return tuple(finding.text for finding in sorted(poor, key=lambda finding: order.index(finding.name)))


def _size(face: DetectedFace, enlarged: float) -> Finding:
    pixels = face.eye_distance / enlarged
    if enlarged > checks.ENLARGED:
        return Finding("size", "poor", next(checks.small(enlarged)))
    if enlarged > _LARGE:
        return Finding("size", "fair", f"{pixels:.0f} pixels between the eyes; a larger photo would be crisper")
    return Finding("size", "good", f"{pixels:.0f} pixels between the eyes")


def _light(portrait: U8, lab: F32, face: DetectedFace, dark: bool) -> Finding:
    if dark:
        return Finding("light", "poor", checks.DARK)
    burnt = float((checks.inside(portrait.astype(np.float32), face.landmarks, FACE_OVAL).min(1) > 250).mean())
    if burnt > _BURNT:
        return Finding("light", "fair", f"{100 * burnt:.0f} % of the face is burnt out to white; use softer light")
    uneven = side_light(lab, face)
    if abs(uneven) > _ONE_SIDED:
        side = "right" if uneven > 0 else "left"
        much = "only " if abs(uneven) > _SIDE_LIT else ""
        return Finding("light", "fair", f"the light comes {much}from the picture's {side}; the shadows stay there "
                       "when the head turns, so light from the front is better")  # fmt: skip
    return Finding("light", "good", "bright and even")


def side_light(lab: F32, face: DetectedFace) -> float:
    """How much lighter the cheek on the picture's right is, in units of CIELAB's L."""
    soft = cv2.GaussianBlur(lab[..., 0], (0, 0), max(1.0, 0.08 * face.eye_distance))
    limit = len(lab) - 1

    def at(point: int) -> float:
        x, y = np.clip(np.round(face.landmarks[point, :2]).astype(int), 0, limit)
        return float(soft[y, x])

    return float(np.median([at(left) - at(right) for right, left in _LIP_SIDES]))


def _sharpness(portrait: U8, face: DetectedFace) -> Finding:
    value = checks.sharpness(portrait, face)
    if value < checks.BLURRED:
        return Finding("sharpness", "poor", checks.BLURRY)
    if value < _SHARP:
        return Finding("sharpness", "fair", "a little soft; hold still, wipe the lens, or use more light")
    return Finding("sharpness", "good", "sharp")


def _pose(face: DetectedFace) -> Finding:
    yaw, pitch, roll = abs(face.yaw), abs(face.pitch), abs(face.roll)
    if max(yaw, pitch, roll) <= _STRAIGHT:
        return Finding("pose", "good", "looks straight into the camera")
    parts = [
        text
        for size, text in (
            (yaw, f"turned {yaw:.0f} degrees to the picture's {'right' if face.yaw > 0 else 'left'}"),
            (pitch, f"turned {pitch:.0f} degrees {'up' if face.pitch > 0 else 'down'}"),
            (roll, f"tilted {roll:.0f} degrees"),
        )
        if size > _STRAIGHT
    ]
    said = "the head is " + " and ".join(parts)
    if max(yaw, pitch) > _TURNED:
        return Finding("pose", "fair", f"{said}, so its far side stretches when it moves; look into the camera")
    return Finding("pose", "fair", f"{said}; straight is better")


def _expression(face: DetectedFace) -> Finding:
    for line in checks.expression(face):
        return Finding("expression", "poor", line)
    return Finding("expression", "good", "at rest, eyes open")


def _occlusion(lab: F32, face: DetectedFace, dark: bool, glasses: bool) -> Finding:
    if not dark:  # nothing stands out in the dark
        for line in checks.covered(lab, face):
            return Finding("occlusion", "poor", line)
    if glasses:
        return Finding("occlusion", "fair", "glasses: their frame stays rigid, reflections move with the skin; a photo "
                       "without them shows the eyes better")  # fmt: skip
    if checks.bearded(lab, face):
        return Finding(
            "occlusion", "fair", "a beard: it moves with the jaw as one piece, and hides the lips' shape a little"
        )
    return Finding("occlusion", "good", "nothing covers the face")


def _framing(padding: Mapping[str, float]) -> Finding:
    for line in checks.framing(padding):
        return Finding("framing", "poor", line)
    return Finding("framing", "good", "hair and shoulders are in the photo")


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """For the terminal: name, grade and text in columns."""
    for finding in findings:
        yield f"  {finding.name:11} {finding.grade:5} {finding.text}"
