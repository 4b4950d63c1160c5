"""What the face feels: heard, chosen, mirrored or nothing, and how it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from avatar.core import facs
from avatar.core.types import F32, SECOND, Emotion, EmotionCue, EmotionLabel, Ns
from avatar.sync.expression import FELT, affect, mixed_face, shown_emotion
from avatar.sync.heard import UNSURE, HeardEmotion, evidence
from avatar.sync.onset import Onset
from avatar.sync.timeline import Timeline
from avatar.sync.variation import Variation

EmotionMode = Literal["auto", "fixed", "mirror", "off"]
MODES: tuple[EmotionMode, ...] = get_args(EmotionMode)
Degrees = tuple[float, ...]
"""Six, order :data:`avatar.sync.expression.FELT`, sum at most 1."""

NOTHING: Degrees = (0.0,) * len(FELT)
_FAINT = 0.02
"""A degree that nobody sees."""


def degrees_of(label: EmotionLabel, intensity: float) -> Degrees:
    """One emotion at ``intensity`` in [0, 1]; neutral is nothing."""
    return tuple(intensity if each == label else 0.0 for each in FELT)


@dataclass(frozen=True, slots=True)
class EmotionChoice:
    """Where the emotion comes from."""

    mode: EmotionMode = "auto"
    """auto = what is heard, fixed = :attr:`fixed`, mirror = what the camera sees, off = none."""
    fixed: Degrees = NOTHING
    """Kept while another mode is on, so that one can go back to it."""
    strength: float = 1.0
    """Of a heard or mirrored emotion at its fullest, [0, 1]."""
    mood: Degrees = NOTHING
    """Added to what is heard or mirrored: a constant lean."""

    @classmethod
    def of(cls, label: EmotionLabel, intensity: float) -> EmotionChoice:
        """A fixed emotion."""
        return cls("fixed", degrees_of(label, intensity))

    @property
    def known(self) -> Emotion:
        """The chosen emotion, which the head's motion follows as well; neutral where it is to be heard or seen."""
        return emotion_of(np.array(self.fixed)) if self.mode == "fixed" else Emotion()


def emotion_of(degrees: np.ndarray, valence: float | None = None, arousal: float | None = None) -> Emotion:
    """The strongest of some degrees (6,), their sum as its intensity; valence and arousal are the usual ones where they
    are not known."""
    total = min(1.0, float(degrees.sum()))
    usual = affect(degrees)
    v = usual[0] if valence is None else valence
    a = usual[1] if arousal is None else arousal
    if total <= _FAINT:
        return Emotion("neutral", 0.0, v, a)
    return Emotion(FELT[int(degrees.argmax())], total, v, a)


class Feeling:
    """The emotion of a face over time. Stepped with times that do not go back; the same cues, times and seed give the
    same face.

    :param seed: any integer; a person's two sides and the small variation go with it. None = neither.
    """

    HOLD, RELEASE = Ns(SECOND // 2), Ns(SECOND // 2)
    """A cue that nothing follows counts in full for so long, then falls away."""

    def __init__(self, seed: int | None = 0) -> None:
        self._cues = Timeline[EmotionCue](self.HOLD, self.RELEASE)
        self._judge = HeardEmotion()
        self._onset = Onset()
        self._variation = None if seed is None else Variation(seed)
        self.reset()

    def reset(self) -> None:
        """Nothing is felt and nothing was heard."""
        self._cues.clear()
        self._judge.reset()
        self._mode: EmotionMode | None = None
        self._onset.reset()
        self._last: Ns | None = None
        self._lively = 0.0

    @property
    def shown(self) -> np.ndarray:
        """Degrees (6,) that the face shows at this moment."""
        return self._onset.degrees

    def push(self, cue: EmotionCue) -> None:
        """Something heard."""
        self._cues.push(cue)

    def step(self, t: Ns, choice: EmotionChoice, watched: tuple[F32, float] | None = None) -> tuple[F32, Emotion]:
        """The face (52,) that is felt at ``t``, and its emotion by name: that which it is on the way to.

        :param watched: coefficients (52,) that a camera sees, and how sure it is in [0, 1].
        """
        dt = 0.0 if self._last is None else max(0, t - self._last) / SECOND
        self._last = t
        if choice.mode != self._mode:
            self._mode = choice.mode
            self._judge.reset()
        valence = arousal = sure = 0.0
        degrees = np.zeros(len(FELT), np.float32)
        match choice.mode:
            case "auto":
                degrees, valence, arousal, sure = self._listen(t)
            case "mirror":
                degrees = self._look(t, watched)
            case "fixed":
                degrees = np.array(choice.fixed, np.float32)
        if choice.mode in ("auto", "mirror"):
            degrees = choice.strength * degrees + np.array(choice.mood, np.float32)
        total = float(degrees.sum())
        if total > 1:
            degrees, total = degrees / total, 1.0
        known = sure > 0
        emotion = emotion_of(degrees, valence, arousal) if known else emotion_of(degrees)
        # Arousal makes a face livelier than its emotion usually is, as slowly as it is heard.
        usual = affect(degrees / total)[1] if total > _FAINT else 0.0
        lively = sure * (arousal - usual) if known and total > _FAINT else 0.0
        self._lively += (1 - np.exp(-dt / HeardEmotion.SMOOTH)) * (lively - self._lively)
        felt = self._onset.step(dt, degrees)
        if felt.sum() < 1e-4:
            return np.zeros(len(facs.ARKIT), np.float32), emotion
        face = mixed_face(felt, self._lively)
        if self._variation is not None:
            face = np.clip(face * self._variation.at(t), 0, 1)
        return face, emotion

    def _listen(self, t: Ns) -> tuple[F32, float, float, float]:
        """Degrees (6,), valence, arousal, and how far there is anything to go by."""
        found = self._cues.at(t)
        if found is None:
            return self._judge.step(t, None), 0.0, 0.0, 0.0
        a, b, f, presence = found
        sure = presence * ((1 - f) * a.confidence + f * b.confidence)
        level = presence * ((1 - f) * evidence(a) + f * evidence(b))
        valence = presence * ((1 - f) * a.emotion.valence + f * b.emotion.valence)
        arousal = presence * ((1 - f) * a.emotion.arousal + f * b.emotion.arousal)
        return self._judge.step(t, level, sure), valence, arousal, sure if sure >= UNSURE else 0.0

    def _look(self, t: Ns, watched: tuple[F32, float] | None) -> F32:
        if watched is None:
            return self._judge.step(t, None)
        arkit, sure = watched
        # What is seen is a degree already, and not a probability: a slight smile is a sure one.
        level = HeardEmotion.DROP + (HeardEmotion.FULL - HeardEmotion.DROP) * shown_emotion(arkit)
        level[level <= HeardEmotion.DROP + 1e-6] = 0.0
        return self._judge.step(t, level, sure)
