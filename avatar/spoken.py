"""A text as somebody says it: the voice's delivery by emotion, and what the body does by dialogue act."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

import numpy as np

from avatar.analysis import dialogue
from avatar.analysis.delivery import Delivery, delivery_of
from avatar.analysis.dialogue import ACTS, Act
from avatar.analysis.features import FrameStream, Resampler
from avatar.analysis.prosody import yin
from avatar.core.types import EMOTIONS, EmotionLabel
from avatar.errors import UsageError
from avatar.streams.sources.text import EspeakVoice, Speech

VOICE = "en-us"
USUAL_RATE, USUAL_PITCH, USUAL_RANGE = 165, 50, 50
PITCH_UNITS = 6.0
"""espeak-ng's units of pitch for a semitone, and of level for a unit of range: measured with YIN on its en-us voice."""
RANGE_RAISES = 0.05
"""Semitones by which the level rises with each unit of range."""
_VOICED = 0.6
_TAIL, _BEFORE = 4, 25
"""Voiced frames of 10 ms that are compared for a final rise."""


class VoiceSettings(TypedDict):
    """Arguments of :meth:`avatar.streams.sources.text.EspeakVoice.synthesize`."""

    rate: int
    pitch: int
    pitch_range: int
    loudness: float


def espeak_settings(delivery: Delivery) -> VoiceSettings:
    """A delivery in the units of :meth:`avatar.streams.sources.text.EspeakVoice.synthesize`."""
    pitch_range = min(99, round(USUAL_RANGE * delivery.pitch_range))
    level = delivery.pitch - RANGE_RAISES * (pitch_range - USUAL_RANGE)
    return {
        "rate": round(USUAL_RATE * delivery.rate),
        "pitch": round(USUAL_PITCH + PITCH_UNITS * level),
        "pitch_range": pitch_range,
        "loudness": delivery.loudness,
    }


def pitches(samples: np.ndarray, rate: int) -> np.ndarray:
    """(n, 2): hertz and confidence, 100 a second."""
    hops = FrameStream().push(Resampler(rate).process(samples)) if len(samples) else []
    return np.array(yin(np.stack([hop.past for hop in hops]))) if hops else np.zeros((0, 2))


def final_rise(track: np.ndarray, start: float, end: float) -> float:
    """Semitones by which the pitch (n, 2) rises at the end of a clause from ``start`` to ``end`` seconds; 0 where too
    little of it is voiced."""
    part = track[round(100 * start) : round(100 * end) + 2]
    voiced = part[part[:, 1] > _VOICED, 0]
    if len(voiced) < _TAIL + 8:
        return 0.0
    before = float(np.median(voiced[-_TAIL - _BEFORE : -_TAIL]))
    return 12.0 * float(np.log2(np.mean(voiced[-_TAIL:]) / before))


def spoken(
    text: str,
    act: Act | None = None,
    voice: str = VOICE,
    emotion: tuple[EmotionLabel, float] = ("neutral", 0.0),
) -> Speech:
    """``text`` with its sound, its phonemes and the moves that go with it.

    :param act: None = guessed for each sentence from its punctuation and melody.
    :param emotion: what the voice sounds like, and how much in [0, 1].

    Raises UsageError for an unknown act, emotion or voice, or where there is nothing to speak.
    """
    if act is not None and act not in ACTS:
        raise UsageError(f"act {act!r}: one of {', '.join(ACTS)}")
    if emotion[0] not in EMOTIONS:
        raise UsageError(f"emotion {emotion[0]!r}: one of {', '.join(EMOTIONS)}")
    made = EspeakVoice().synthesize(text, voice, **espeak_settings(delivery_of(*emotion)))
    rises = None
    if act is None:
        track = pitches(made.samples, made.rate)
        rises = [final_rise(track, clause.start_s, clause.end_s) for clause in made.clauses]
    return replace(made, moves=dialogue.plan(made.marks, made.clauses, act, rises).moves)
