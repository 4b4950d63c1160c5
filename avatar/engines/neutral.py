"""A smiling or open-mouthed photo, brought to rest as well as one photo allows.

The fitted head says which shapes the photo shows; drawn with those of the mouth below zero, lips meet, corners sink,
and the learnt folds are divided out (the inverse of the expression ratio image). The photo itself, if it smiles, then
serves as the person's smile: teeth and folds come back from it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from avatar.core.facs import ARKIT, INDEX
from avatar.core.types import F32, Pose, freeze, zeros
from avatar.engines.head import HeadEngine
from avatar.engines.head_mesh import TRACKED_INNER
from avatar.portrait.bundle import AvatarBundle, Smile
from avatar.portrait.checks import mouth_gap
from avatar.portrait.fit import photo_weights
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.smile import smile_of

SMILES, OPEN = 0.4, 0.06
"""mouthSmile, mean of both sides, and gap between the lips in distances between the eyes, from which a photo is not at
rest (:mod:`avatar.portrait.checks` warns of the same)."""
_MOUTH = (
    "mouthSmile",
    "mouthDimple",
    "mouthStretch",
    "mouthUpperUp",
    "mouthLowerDown",
    "mouthFrown",
    "mouthFunnel",
    "jaw",
)
_STILL_OPEN = 0.05
_OVERLAP = 0.03
"""Centimetres by which the lips are pressed together beyond touching."""
_ROUNDS = 4


def rested(bundle: AvatarBundle, weights: Path, detector: LandmarkDetector) -> AvatarBundle:
    """The avatar as it is, or, where its photo is not at rest, brought to rest if that comes out well; the report and
    the warnings say which."""
    if not needs_rest(bundle):
        return bundle
    made = at_rest(bundle, weights, detector)
    if made is None:
        said = "it could not be brought to rest and stays as it is"
    elif bundle.smile is None and made.smile is not None:
        said = "it was brought to rest as well as one photo allows, and is your smile"
    else:
        said = "it was brought to rest as well as one photo allows"
    made, report, warnings = made or bundle, [], list(bundle.warnings)
    for finding in bundle.report:
        if finding.name == "expression" and finding.grade == "poor":
            told = f"{finding.text}; {said}"
            warnings = [told if line == finding.text else line for line in warnings]
            finding = replace(finding, text=told)
        report.append(finding)
    return replace(made, report=tuple(report), warnings=tuple(warnings))


def needs_rest(bundle: AvatarBundle) -> bool:
    """The photo shows a smile or an open mouth."""
    return bool(smile_of(bundle.coefficients) > SMILES or mouth_gap(bundle.landmarks) > OPEN)


def at_rest(bundle: AvatarBundle, weights: Path, detector: LandmarkDetector) -> AvatarBundle | None:
    """The same avatar with a resting face, and its photo as its smile; None where that does not come out well.

    :param weights: folder of the shipped weights.
    """
    size = len(bundle.portrait)
    engine = _Relaxing(bundle, size, weights)
    portrait = engine.relaxed(photo_weights(bundle.coefficients, mouth_gap(bundle.landmarks) > OPEN))
    found = detector.detect(portrait)
    if not found:
        return None
    middle = size / 2
    face = min(found, key=lambda f: math.dist(f.landmarks[1, :2], (middle, middle)))
    if mouth_gap(face.landmarks) > _STILL_OPEN or smile_of(face.coefficients) > max(
        SMILES, 0.5 * smile_of(bundle.coefficients)
    ):
        return None
    return replace(
        bundle,
        portrait=freeze(portrait),
        landmarks=face.landmarks,
        coefficients=face.coefficients,
        smile=bundle.smile or _as_smile(bundle),
    )


def _as_smile(bundle: AvatarBundle) -> Smile | None:
    """The photo as the person's smile, unless its mouth is open for another reason."""
    if smile_of(bundle.coefficients) < SMILES:
        return None
    return Smile(bundle.portrait, bundle.landmarks, bundle.coefficients)


class _Relaxing(HeadEngine):
    """Draws the photo without what its mouth does."""

    def relaxed(self, shown: F32) -> np.ndarray:
        """The portrait with the mouth's part of ``shown`` (52,) taken off and the lips shut."""
        weights = zeros(len(ARKIT)).copy()
        for i, name in enumerate(ARKIT):
            if name.startswith(_MOUTH):
                weights[i] = -shown[i]
        jaw = INDEX["jawOpen"]
        picture = self.draw(weights, 0.0, 0.0, Pose())
        for _ in range(_ROUNDS):
            gap = self.inner_gap()
            if abs(gap + _OVERLAP) < 0.01:
                break
            weights[jaw] -= 0.1
            picture = self.draw(weights, 0.0, 0.0, Pose())
            step = gap - self.inner_gap()
            weights[jaw] += 0.1 - 0.1 * (gap + _OVERLAP) / max(step, 1e-3)
            picture = self.draw(weights, 0.0, 0.0, Pose())
        return picture

    def inner_gap(self) -> float:
        """Largest height between the inner lips as drawn last, in centimetres."""
        inner = self._tracked[TRACKED_INNER, 1]
        return float((inner[17:12:-1] - inner[3:8]).mean()) / self._fitted.scale
