"""The things that flow through the engine. All are immutable; arrays are read-only once emitted.

Times are nanoseconds on the session's one timeline (:mod:`avatar.core.clock`), which starts at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NewType

import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.geometry import IDENTITY, Quaternion, from_euler, to_euler

Ns = NewType("Ns", int)
"""Nanoseconds on the session timeline."""

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def seconds(t: float) -> Ns:
    """Seconds to session time."""
    return Ns(round(t * SECOND))


def freeze(array: np.ndarray) -> np.ndarray:
    """Mark an array read-only and return it: what is emitted is never written again."""
    array.setflags(write=False)
    return array


def zeros(n: int) -> F32:
    """A read-only float32 vector of zeros."""
    return freeze(np.zeros(n, np.float32))


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Mono sound."""

    pts: Ns
    """Time of the first sample."""
    samples: F32
    """(n,) in [-1, 1]."""
    rate: int
    """Samples a second."""
    discontinuity: bool = False
    """Something is missing between this chunk and the one before it."""
    lips: tuple[LipCue, ...] | None = None
    """What the mouth does during this chunk where the maker of the sound knows it (a synthesizer, a script);
    None = to be found by listening."""
    moves: tuple[Move, ...] = ()
    """What head, brows, eyes and hands do during this chunk where somebody has planned it (a dialogue act)."""

    @property
    def duration(self) -> Ns:
        return Ns(round(len(self.samples) * SECOND / self.rate))

    @property
    def end(self) -> Ns:
        return Ns(self.pts + self.duration)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """A picture from a camera or a file, not mirrored."""

    pts: Ns
    pixels: U8
    """(height, width, 3), RGB."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Head pose relative to facing the camera."""

    rotation: Quaternion = IDENTITY
    """Unit quaternion (w, x, y, z); axes and signs as in :mod:`avatar.core.geometry`."""
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Millimetres, x right, y up, z towards the viewer."""

    @classmethod
    def degrees(cls, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Pose:
        return cls(from_euler(yaw, pitch, roll))

    @property
    def euler(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll in degrees."""
        return to_euler(self.rotation)


@dataclass(frozen=True, slots=True)
class Gaze:
    """Direction of both eyes relative to the head."""

    yaw: float = 0.0
    """Radians, > 0 towards the picture's right edge."""
    pitch: float = 0.0
    """Radians, > 0 up."""


EmotionLabel = Literal["neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise"]
EMOTIONS: tuple[EmotionLabel, ...] = ("neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise")


@dataclass(frozen=True, slots=True)
class Emotion:
    """What is felt, and how strongly."""

    label: EmotionLabel = "neutral"
    intensity: float = 0.0
    """[0, 1]."""
    valence: float = 0.0
    """[-1, 1]."""
    arousal: float = 0.0
    """[-1, 1]."""


# --- cues: what analysis says about one moment -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LipCue:
    """What the mouth should do, from sound or from known phonemes."""

    pts: Ns
    visemes: F32
    """(15,) probabilities over :data:`avatar.core.facs.VISEMES`."""
    mouth: F32
    """(52,) ARKit coefficients; only mouth, jaw, cheekPuff and tongue entries are used."""
    voiced: bool = False
    """Somebody is speaking."""
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class ProsodyCue:
    """The melody of one hop."""

    pts: Ns
    f0: float
    """Hertz, 0 where unvoiced."""
    f0_confidence: float
    """[0, 1]."""
    energy_db: float
    """RMS level in dBFS, floor -100."""
    speech: float
    """Probability of speech in [0, 1]."""


@dataclass(frozen=True, slots=True)
class PoseCue:
    pts: Ns
    pose: Pose
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class GazeCue:
    pts: Ns
    gaze: Gaze
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class BlinkCue:
    pts: Ns
    left: float
    """Lid closure in [0, 1], subject's left."""
    right: float
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class ExpressionCue:
    """Coefficients of the face, from a camera or from the voice."""

    pts: Ns
    arkit: F32
    """(52,) in [0, 1]."""
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class EmotionCue:
    """What somebody feels, heard in the voice or told by a program."""

    pts: Ns
    emotion: Emotion
    confidence: float = 1.0
    probabilities: F32 | None = None
    """(7,) over :data:`EMOTIONS`, sum 1; None where only the emotion itself is known."""
    embedding: F32 | None = None
    """(n,) of the voice's manner, n at most 64, or None."""


@dataclass(frozen=True, slots=True)
class GestureCue:
    """A gesture of the body by name, for whoever has arms; its stroke is the moment that goes with the voice."""

    pts: Ns
    """When it begins: the arms are prepared."""
    name: str
    """As ``beat_right``; a body that does not know it leaves it out."""
    stroke: Ns
    """When its stroke peaks."""
    end: Ns
    """When the arms are back at rest."""


Move = PoseCue | ExpressionCue | GazeCue | GestureCue
Cue = LipCue | ProsodyCue | PoseCue | GazeCue | BlinkCue | ExpressionCue | EmotionCue | GestureCue


# --- the face state ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Confidence:
    """How much each track of a state is backed by input, each in [0, 1]; 0 = resting value."""

    lips: float = 0.0
    expression: float = 0.0
    head: float = 0.0
    gaze: float = 0.0


@dataclass(frozen=True)  # no slots: cached_property needs a dict
class FaceState:
    """One face at one moment: the single thing that every engine draws and every protocol sends.

    The ARKit coefficients, the pose and the gaze are the state; action units are a view of them
    (:func:`avatar.core.facs.to_action_units`).
    """

    pts: Ns
    arkit: F32 = field(default_factory=lambda: zeros(len(facs.ARKIT)))
    """(52,) in [0, 1], order :data:`avatar.core.facs.ARKIT`; the eyeLook* entries follow ``gaze``."""
    head: Pose = Pose()
    gaze: Gaze = Gaze()
    visemes: F32 = field(default_factory=lambda: zeros(len(facs.VISEMES)))
    """(15,) probabilities, order :data:`avatar.core.facs.VISEMES`."""
    emotion: Emotion = Emotion()
    voiced: bool = False
    confidence: Confidence = Confidence()
    gesture: GestureCue | None = None
    """What the body does now, if anything."""

    @cached_property
    def au(self) -> dict[int, float]:
        """Action unit number -> intensity in [0, 1], gaze (61-64) and head (51-56) included."""
        yaw, pitch, roll = self.head.euler
        return facs.to_action_units(self.arkit, self.gaze.yaw, self.gaze.pitch, yaw, pitch, roll)


@dataclass(frozen=True, slots=True)
class AvatarFrame:
    """A drawn face."""

    pts: Ns
    pixels: U8
    """(height, width, 3), RGB."""
    state: FaceState
