"""What a voice feels: a reading every 100 ms from the last two seconds, relative to how the speaker usually sounds.

Descriptors of each frame (:mod:`avatar.analysis.voice_frames`), functionals over the speech of the window
(:mod:`avatar.analysis.voice_functionals`), one matrix, and the speaker's shift taken off
(:mod:`avatar.analysis.manner`). Another output of the matrix says whether the window holds one voice that can be
judged at all; where not, the reading goes to neutral. ``models/emotion`` makes the weights and judges them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avatar.analysis import voice_frames
from avatar.analysis.features import HOP, Hop
from avatar.analysis.held_class import HeldClass, Leaving
from avatar.analysis.manner import MEMORY, ShiftModel, SpeakerProfile, softmax
from avatar.analysis.vad import SpeechGate
from avatar.analysis.voice_functionals import LEAST, functionals, speech_part
from avatar.core.types import EMOTIONS, F32, Emotion, EmotionLabel, freeze
from avatar.errors import ModelFileError

WEIGHTS_FILE = "emotion.npz"
FORMAT = 3
EVERY = 10
"""Hops from one reading to the next: 100 ms."""
WINDOW_HOPS = 200
"""Hops that a reading looks back on: 2 s."""
SHORT_HOPS = 100
"""Hops of the shorter window beside it, which alone says which class is held: a change fills it in half the time. The
longer one says whether it can be judged and what the speaker usually sounds like; the probabilities come from both."""
EMBEDDING = 32
"""Numbers in an embedding."""
CLASSES = ("neutral", "happiness", "sadness", "anger", "fear", "disgust", "boredom")
"""What the weights tell apart. Boredom counts as neutral of low arousal; of surprise there was no speech to learn from,
so its probability is always 0."""

# Mean ratings of these terms, pleasure and arousal: Russell & Mehrabian, Journal of Research in Personality 11, 1977.
# Boredom here is any tired or calm voice, which need not be unpleasant.
_VALENCE = np.array([0.0, 0.81, -0.63, -0.51, -0.64, -0.60, 0.0], np.float32)
_AROUSAL = np.array([0.0, 0.51, -0.27, 0.59, 0.60, 0.35, -0.62], np.float32)
_LABELS: tuple[str, ...] = EMOTIONS
_PLACES = np.array([_LABELS.index("neutral" if c == "boredom" else c) for c in CLASSES])

_FULL = 90
"""Hops of speech in the window from which it counts in full; from a third of them on it counts at all."""
_HELD, _GONE = 25, 90
"""Hops after the end of speech until the reading fades, and until it is gone."""
_LEARN_EVERY = 100
"""Hops of speech between two stretches that the speaker's profile remembers."""
_STRANGER = 1.5
"""Seconds of speech that a stranger lacks: what is heard in the first ones is right less often and counts less."""
_FLAT_SHARES = (0.12, 0.3)
"""Share of loud hops whose tops are cut off from which trust falls, and where none is left."""


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
    """(EMBEDDING,) in [-1, 1] each: what conditions a generator of expressions. Zeros where nothing can be judged."""
    confidence: float
    """[0, 1] that this is speech of one voice that can be judged; low in silence, noise, music and clipped sound, lower
    in a stranger's first seconds."""
    label: EmotionLabel = "neutral"
    """The class that is held: it changes once another has led clearly for a while, so it does not flicker."""

    @property
    def emotion(self) -> Emotion:
        """The class that is held; its intensity is its probability, 0 for neutral."""
        intensity = float(self.probabilities[EMOTIONS.index(self.label)]) if self.label != "neutral" else 0.0
        return Emotion(self.label, intensity, self.valence, self.arousal)


def _nothing() -> EmotionReading:
    p = np.zeros(len(EMOTIONS), np.float32)
    p[0] = 1
    return EmotionReading(freeze(p), 0.0, 0.0, freeze(np.zeros(EMBEDDING, np.float32)), 0.0)


def _spread(classes: F32, sure: float = 1.0) -> F32:
    """(classes,) probabilities to (7,) over EMOTIONS; what is not sure goes to neutral."""
    p = np.zeros(len(EMOTIONS), np.float32)
    np.add.at(p, _PLACES, classes * np.float32(sure))
    p[0] += 1 - p.sum()
    return p


def _over_neutral(classes: F32) -> F32:
    """(classes,) probabilities to the log odds (7,) over EMOTIONS of each over neutral."""
    logs = np.log(np.maximum(_spread(classes), 1e-20))
    return np.asarray(logs - logs[0], np.float32)


def _ramp(x: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (x - low) / (high - low)))


class EmotionModel:
    """The weights: functionals to answers, and what is known of speakers in general.

    :param file: an ``.npz``. Raises ModelFileError where it is missing or not of this version.
    """

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise ModelFileError(f"{file} is missing: install the package again")
        try:
            with np.load(file, allow_pickle=False) as found:
                if int(found["format"]) != FORMAT or tuple(found["classes"].tolist()) != CLASSES:
                    raise ValueError("another format")
                self.name = str(found["name"])
                self._mean, self._scale = found["mean"], 1 / found["std"]
                self._weights = found["weights"].astype(np.float32)
                self._trust_bias = float(found["trust_bias"])
                self._sharpness = float(found["sharpness"])
                self.smooth = float(found["smooth"])
                """Share of the way to the newest probabilities that a reading goes."""
                self.short = float(found["short"])
                """How much the shorter window's answers count beside the longer one's."""
                self._hold = float(found["margin"]), float(found["owed"]), Leaving.of(found["leaving"].tolist())
                self.speakers = ShiftModel(
                    found["bias"],
                    found["means"],
                    float(found["prior"]),
                    float(found["shift_sharpness"]),
                    found["usual"],
                    float(found["balance"]),
                )
                self._lean = found["lean"]
            if self._weights.shape != (len(self._mean), len(CLASSES) + EMBEDDING + 1):
                raise ValueError("another size")
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise ModelFileError(f"{file} is no emotion model of this version: install the package again") from error

    def held(self) -> HeldClass:
        """For somebody new, neutral."""
        return HeldClass(*self._hold)

    def answers(self, features: F32) -> tuple[F32, float]:
        """(d,) functionals to the answers (classes + EMBEDDING,), and the trust in [0, 1] that this can be judged."""
        out = np.clip((features - self._mean) * self._scale, -5, 5) @ self._weights
        return out[:-1], 1 / (1 + math.exp(-min(30.0, max(-30.0, float(out[-1]) + self._trust_bias))))

    def classes(self, answers: np.ndarray, shift: np.ndarray) -> F32:
        """(classes,) probabilities of answers once the speaker's shift is off."""
        n = len(CLASSES)
        z = (answers[:n] - shift[:n] + self.speakers.bias) * self._sharpness
        return softmax(z + self._lean).astype(np.float32)


class EmotionEstimator:
    """Streaming emotion of speech, one hop of 10 ms at a time.

    :param weights: the ``.npz`` file. Raises ModelFileError where it is missing or not such a file.
    :param profile: of a speaker who was heard before; None = somebody new, whose manner is learnt while listening. One
        that belongs to other weights is not used.
    """

    def __init__(self, weights: Path, profile: SpeakerProfile | None = None) -> None:
        self._model = EmotionModel(weights)
        width = len(CLASSES) + EMBEDDING
        known = profile is not None and profile.weights == self._model.name and profile.heard.shape[1:] == (width,)
        self._heard = profile.heard.copy() if profile is not None and known else np.zeros((0, width), np.float32)
        self._shift = self._model.speakers.shift(self._heard, iterations=20)
        self._held = self._model.held()
        self.reset()

    @property
    def profile(self) -> SpeakerProfile:
        """What is known of the speaker by now."""
        return SpeakerProfile(self._heard.copy(), self._model.name)

    def forget_speaker(self) -> None:
        """Somebody else speaks from now on."""
        self._heard = self._heard[:0]
        self._shift = self._shift * 0
        self._held = self._model.held()

    def reset(self) -> None:
        """Forget the sound; what is known of the speaker stays."""
        self._window = np.zeros((0, voice_frames.WIDTH), np.float32)
        self._open = np.zeros(WINDOW_HOPS, bool)
        self._flat = np.zeros(WINDOW_HOPS, bool)
        self._waiting: list[tuple[Hop, float, float]] = []
        self._since_open = _GONE
        self._since_learnt = 0
        self._last = _nothing()
        self._smoothed: F32 | None = None
        self._late = self._last.probabilities
        self._odds: F32 | None = None
        self._trust = 0.0
        self._held.reset()

    def step(self, hop: Hop, f0: float, f0_confidence: float, gate: SpeechGate) -> EmotionReading | None:
        """Take a hop; a reading with every tenth one.

        :param f0: of :func:`avatar.analysis.prosody.yin` for this hop, hertz. :param f0_confidence: [0, 1].
        :param gate: of the speech, already stepped with this hop.
        """
        at = len(self._waiting)
        if at == 0:
            self._open = np.roll(self._open, -EVERY)
            self._flat = np.roll(self._flat, -EVERY)
        self._open[at - EVERY] = gate.open
        self._since_open = 0 if gate.open else min(_GONE, self._since_open + 1)
        self._since_learnt += gate.open
        self._waiting.append((hop, f0, f0_confidence))
        if len(self._waiting) < EVERY:
            return None
        self._take()
        self._odds = None
        if self._since_open > EVERY:
            return self._named(self._faded())
        self._last = self._judge()
        return self._named(self._last)

    def _named(self, reading: EmotionReading) -> EmotionReading:
        return replace(reading, label=self._held.step(self._late, self._odds, self._trust))

    def _take(self) -> None:
        """The frames that wait, into the window."""
        hops = [hop for hop, _, _ in self._waiting]
        past = np.stack([hop.past for hop in hops])
        self._flat[-EVERY:] = self._open[-EVERY:] & are_flat(past[:, -2 * HOP :])
        new = voice_frames.frames(
            past,
            np.stack([hop.logmel for hop in hops]),
            np.array([hop.level for hop in hops], np.float32),
            np.array([f0 for _, f0, _ in self._waiting], np.float32),
            np.array([confidence for _, _, confidence in self._waiting], np.float32),
        )
        self._waiting = []
        self._window = np.concatenate((self._window, new))[-WINDOW_HOPS:]

    def _judge(self) -> EmotionReading:
        spoken = int(self._open.sum())
        part = speech_part(self._window)
        enough = _ramp(min(spoken, len(part)), _FULL / 3, _FULL)
        if enough <= 0:
            return self._last
        answers, trust = self._model.answers(functionals(part))
        late = speech_part(self._window[-SHORT_HOPS:])
        newest = self._model.answers(functionals(late))[0] if len(late) >= LEAST else answers
        trust *= 1 - _ramp(float(self._flat.sum()) / max(1, spoken), *_FLAT_SHARES)
        return self._weigh(answers, newest, trust, enough)

    def _weigh(self, answers: F32, newest: F32, trust: float, enough: float) -> EmotionReading:
        """A reading from the answers to a window and to its newest part, how far they can be trusted, and whether there
        was speech enough."""
        if trust > 0.5 and enough >= 1:
            self._learn(answers)
        late = self._model.classes(newest, self._shift)
        answers = answers + np.float32(self._model.short) * (newest - answers)
        classes = self._model.classes(answers, self._shift)
        old = self._smoothed
        share = self._model.smooth * (0.3 + 0.7 * trust)
        self._smoothed = classes if old is None else old + np.float32(share) * (classes - old)
        # Half sure is not sure enough for a face: what is doubtful counts less than in proportion.
        known = (len(self._heard) + 1) / (len(self._heard) + 1 + _STRANGER)
        self._trust = _ramp(trust, 0.25, 0.75)
        sure = self._trust * enough * known
        self._late, self._odds = _spread(late, sure), _over_neutral(late)
        return self._reading(self._smoothed, answers, sure)

    def _learn(self, answers: F32) -> None:
        """Once a second of speech: what the speaker sounds like."""
        if len(self._heard) and self._since_learnt < _LEARN_EVERY:
            return
        self._since_learnt = 0
        self._heard = np.concatenate((self._heard, answers[None]))[-MEMORY:]
        self._shift = self._model.speakers.shift(self._heard, self._shift)

    def _reading(self, classes: F32, answers: F32, sure: float) -> EmotionReading:
        p = _spread(classes, sure)
        embedding = np.tanh(answers[len(CLASSES) :] - self._shift[len(CLASSES) :]) * sure
        valence, arousal = (float(classes @ axis) * sure for axis in (_VALENCE, _AROUSAL))
        return EmotionReading(freeze(p), valence, arousal, freeze(embedding.astype(np.float32)), sure)

    def _faded(self) -> EmotionReading:
        """After speech: the last reading for a while, then less and less of it."""
        left = 1 - _ramp(self._since_open, _HELD, _GONE)
        self._late = self._late * np.float32(left)
        self._late[0] += 1 - self._late.sum()
        if left <= 0:
            self._last, self._smoothed = _nothing(), None
        last = self._last
        p = last.probabilities * np.float32(left)
        p[0] += 1 - p.sum()
        embedding = freeze(last.embedding * np.float32(left))
        return EmotionReading(freeze(p), last.valence * left, last.arousal * left, embedding, last.confidence * left)


def are_flat(samples: F32) -> np.ndarray:
    """(n,) whether the tops of each row of samples (n, m) are cut off: several in a row that hardly differ, near the
    peak."""
    size = np.abs(samples)
    peak = size.max(axis=1, keepdims=True)
    level = (size[:, 1:] > 0.93 * peak) & (np.abs(np.diff(samples, axis=1)) < 0.004 * peak)
    return np.asarray((level[:, 2:] & level[:, 1:-1] & level[:, :-2]).any(axis=1) & (peak[:, 0] >= 0.02))


def is_flat(samples: F32) -> bool:
    """The same of one row (m,)."""
    return bool(are_flat(samples[None])[0])
