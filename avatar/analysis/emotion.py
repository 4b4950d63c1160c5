"""What a voice feels: a reading every 100 ms from the last two seconds of speech, relative to the speaker's neutral.

See ``models/emotion`` for how the weights are made and judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avatar.analysis.features import Hop
from avatar.analysis.vad import SpeechGate
from avatar.core.types import EMOTIONS, F32, Emotion
from avatar.errors import ModelFileError

WEIGHTS_FILE = "emotion.npz"
EVERY = 10
"""Hops from one reading to the next: 100 ms."""
WINDOW_HOPS = 200
"""Hops that a reading looks back on: 2 s."""
EMBEDDING = 32
"""Numbers in an embedding."""


@dataclass(frozen=True, slots=True)
class EmotionReading:
    """What the voice of the last two seconds sounds like."""

    probabilities: F32
    """(7,) over :data:`avatar.core.types.EMOTIONS`, sum 1. Without speech, or where the sound cannot be judged, all of
    it goes to neutral."""
    valence: float
    """[-1, 1]."""
    arousal: float
    """[-1, 1]."""
    embedding: F32
    """(EMBEDDING,) about [-1, 1] each: what conditions a generator of expressions. Zeros where nothing can be judged."""
    confidence: float
    """[0, 1] that this is speech of one voice that can be judged; low in silence, noise, music and clipped sound."""

    @property
    def emotion(self) -> Emotion:
        """The likeliest class; its intensity is its probability times the confidence, 0 for neutral."""
        label = EMOTIONS[int(self.probabilities.argmax())]
        intensity = float(self.probabilities.max()) * self.confidence if label != "neutral" else 0.0
        return Emotion(label, intensity, self.valence, self.arousal)


@dataclass(slots=True)
class SpeakerProfile:
    """What is known of a speaker's neutral: the running state of the normalisation, good for any later session."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """Name -> array, as they go into an ``.npz``; empty = nothing is known yet."""

    def save(self) -> dict[str, np.ndarray]:
        """Copies of the arrays, to be stored."""
        return {name: np.array(value) for name, value in self.arrays.items()}

    @classmethod
    def load(cls, arrays: Mapping[str, np.ndarray]) -> SpeakerProfile:
        """From what :meth:`save` gave."""
        return cls({name: np.array(value) for name, value in arrays.items()})


class EmotionEstimator:
    """Streaming emotion of speech, one hop of 10 ms at a time.

    :param weights: the ``.npz`` file. Raises ModelFileError where it is missing or not such a file.
    :param profile: of a speaker who was heard before; None = somebody new, whose neutral is learnt while listening.
    """

    def __init__(self, weights: Path, profile: SpeakerProfile | None = None) -> None:
        if not weights.is_file():
            raise ModelFileError(f"{weights} is missing: install the package again")
        self.profile = profile or SpeakerProfile()
        raise NotImplementedError

    def reset(self) -> None:
        """Forget the sound; what is known of the speaker stays."""
        raise NotImplementedError

    def step(self, hop: Hop, f0: float, f0_confidence: float, gate: SpeechGate) -> EmotionReading | None:
        """Take a hop; a reading with every tenth one.

        :param f0: of :func:`avatar.analysis.prosody.yin` for this hop, hertz. :param f0_confidence: [0, 1].
        :param gate: of the speech, already stepped with this hop.
        """
        raise NotImplementedError
