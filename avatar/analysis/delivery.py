"""How a voice sounds when something is felt: what a synthesizer is told so that sound and face agree.

The directions are those that most studies agree on: Murray & Arnott, "Toward the simulation of emotion in synthetic
speech: a review of the literature on human vocal emotion" (JASA 93, 1993, table 1), and Juslin & Laukka, "Communication
of emotions in vocal expression and music performance" (Psychological Bulletin 129, 2003, table 7). The amounts are
ours, kept within what stays intelligible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from avatar.core.types import EmotionLabel


@dataclass(frozen=True, slots=True)
class Delivery:
    """Relative to the voice's own manner."""

    rate: float = 1.0
    """Of speaking."""
    pitch: float = 0.0
    """Level, in semitones."""
    pitch_range: float = 1.0
    """Of the melody."""
    loudness: float = 0.0
    """Decibels."""

    def scaled(self, intensity: float) -> Delivery:
        """The same, felt with an intensity in [0, 1]."""
        return Delivery(
            self.rate**intensity, self.pitch * intensity, self.pitch_range**intensity, self.loudness * intensity
        )


# fmt: off
DELIVERIES: Mapping[EmotionLabel, Delivery] = {
    #                      rate  level  range  loudness
    "neutral":   Delivery(1.00,  0.0,  1.00,   0.0),
    "happiness": Delivery(1.10,  3.0,  1.60,   3.0),   # faster, much higher, much wider, louder
    "sadness":   Delivery(0.75, -2.0,  0.45,  -6.0),   # slower, lower, narrower, softer
    "anger":     Delivery(1.10,  5.5,  1.90,   6.0),   # slightly faster, very much higher, much wider, louder
    "fear":      Delivery(1.30,  4.5,  0.80,   0.0),   # much faster, very much higher, as loud
    "disgust":   Delivery(0.80, -2.5,  1.15,  -2.0),   # slower, lower, slightly wider
    "surprise":  Delivery(1.10,  4.0,  1.80,   2.0),   # faster, higher, much wider
}
# fmt: on


def delivery_of(label: EmotionLabel, intensity: float) -> Delivery:
    """How somebody speaks who feels ``label`` with ``intensity`` in [0, 1]."""
    return DELIVERIES[label].scaled(min(1.0, max(0.0, intensity)))
