"""Emotions as faces.

The prototypes are those of EMFACS (Friesen & Ekman 1983) as Du, Tao & Martinez (PNAS 2014, table 1) tabulate the
units that most of their posers used. The degrees are ours: a conversation shows a fraction of a posed maximum.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from avatar.core import facs
from avatar.core.types import F32, EmotionLabel, freeze

PROTOTYPES: Mapping[EmotionLabel, Mapping[int, float]] = {
    "neutral": {},
    "happiness": {6: 0.7, 12: 0.85, 25: 0.5},
    "sadness": {1: 0.9, 4: 0.5, 15: 0.8, 17: 0.3},
    "anger": {4: 0.95, 7: 0.6, 9: 0.15, 23: 0.4, 24: 0.25},
    "fear": {1: 0.8, 2: 0.5, 4: 0.4, 5: 0.75, 20: 0.5, 25: 0.5},
    "disgust": {4: 0.4, 7: 0.3, 9: 0.8, 10: 0.5, 17: 0.3},
    "surprise": {1: 0.85, 2: 0.85, 5: 0.7, 25: 0.5, 26: 0.45},
}

_FACES: Mapping[str, F32] = {label: freeze(facs.from_action_units(units)) for label, units in PROTOTYPES.items()}


def emotion_face(label: EmotionLabel, intensity: float) -> F32:
    """ARKit coefficients (52,) of an emotion at ``intensity`` in [0, 1]."""
    return np.float32(intensity) * _FACES[label]
