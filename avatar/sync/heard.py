"""From what a voice (or a watched face) sounds like to what the avatar shows: surely, steadily, or not at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.core.types import EMOTIONS, F32, SECOND, Emotion, EmotionCue, EmotionLabel, Ns
from avatar.sync.expression import COMPATIBLE, FELT

UNSURE, SURE = 0.25, 0.65
"""Confidence below which nothing that can be judged is heard, and from which on it counts in full."""


def probabilities(emotion: Emotion) -> F32:
    """(7,) over EMOTIONS of a bare emotion: its intensity, and neutral for the rest."""
    out = np.zeros(len(EMOTIONS), np.float32)
    out[EMOTIONS.index(emotion.label)] = emotion.intensity
    out[0] += 1.0 - out.sum()
    return out


def evidence(cue: EmotionCue) -> F32:
    """(6,) in [0, 1]: how probable each emotion is, less where the listener is not sure. Numbers that are none count as
    nothing heard."""
    p = cue.probabilities if cue.probabilities is not None else probabilities(cue.emotion)
    sure = (cue.confidence - UNSURE) / (SURE - UNSURE)
    out = np.asarray(p[1:], np.float32) * np.float32(min(1.0, max(0.0, sure)))
    return np.clip(np.nan_to_num(out, posinf=0.0, neginf=0.0), 0.0, 1.0)


class HeardEmotion:
    """Evidence in, degrees out; stepped with times that do not go back.

    Which emotion is shown changes seldom, how much of it all the time. An emotion has to be probable for a while before
    it is taken up, clearly more probable than the present one before it takes over, and it is dropped at a lower level
    than it was taken up at. A second emotion colours the first where the two have a face together; evidence for one
    that has none with it makes the face smaller, since the listener is in doubt.
    """

    SMOOTH = 0.35
    """Seconds for two thirds of a change of evidence."""
    TAKE, DROP = 0.42, 0.22
    """Evidence at which an emotion is taken up and dropped. Of seven classes at random each has .14."""
    TAKE_FOR, DROP_FOR = 0.3, 0.4
    """Seconds for which it has to be so."""
    LEAD, OWED = 0.08, 0.2
    """Another takes over when its lead over the present one, less so much, has summed up to so much times seconds (a
    CUSUM, Page 1954): half a second of a clear lead, while a lead that comes and goes sums up to nothing."""
    FULL = 0.8
    """Evidence at which an emotion is shown in full; at :data:`DROP` it begins."""
    LESSER = 0.45
    """The most that a second emotion has of the face."""
    BREATH = 0.8
    """Seconds for which the last impression stands while nothing can be judged: a pause between two phrases is not the
    end of an emotion."""
    FADE = 0.7
    """Seconds for two thirds of the way to nothing after that."""
    BRIEF: tuple[EmotionLabel, float, float, float] = ("surprise", 1.5, 1.2, 0.35)
    """Surprise is the briefest emotion and passes within seconds (Ekman 2003): after so many seconds its degree falls,
    with a time constant of so many, to this share."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing has been heard."""
        self._level = np.zeros(len(FELT))
        self._held: int | None = None
        self._since = 0
        self._rival: int | None = None
        self._rival_since = 0
        self._weak_since: int | None = None
        self._lead = np.zeros(len(FELT))
        self._judged: int | None = None
        self._last: int | None = None

    @property
    def label(self) -> EmotionLabel:
        """The emotion that is held."""
        return "neutral" if self._held is None else FELT[self._held]

    def step(self, t: Ns, heard: NDArray[np.floating] | None, confidence: float = 1.0) -> F32:
        """Degrees (6,) at ``t``; their sum is at most 1.

        :param heard: (6,) of :func:`evidence`, None where there is no cue. :param confidence: of the cue, [0, 1].
        """
        dt = 0.0 if self._last is None else max(0, t - self._last) / SECOND
        self._last = t
        if heard is not None and confidence >= UNSURE:
            self._judged = t
            self._level += (1 - np.exp(-dt / self.SMOOTH)) * (heard - self._level)
        elif self._judged is None or t - self._judged > self.BREATH * SECOND:
            self._level *= np.exp(-dt / self.FADE)
        self._choose(t, dt)
        return self._degrees(t)

    def _choose(self, t: int, dt: float) -> None:
        level, held = self._level, self._held
        if held is None:
            best = int(level.argmax())
            wanted = best if level[best] > self.TAKE else None
            if wanted != self._rival:
                self._rival, self._rival_since = wanted, t
            if wanted is not None and t - self._rival_since >= self.TAKE_FOR * SECOND:
                self._hold(wanted, t)
            return
        ahead = np.where(level > self.TAKE, level - level[held] - self.LEAD, -self.TAKE)
        self._lead = np.maximum(0.0, self._lead + ahead * dt)
        best = int(self._lead.argmax())
        if self._lead[best] >= self.OWED:
            self._hold(best, t)
        elif level[held] >= self.DROP:
            self._weak_since = None
        elif self._weak_since is None:
            self._weak_since = t
        elif t - self._weak_since >= self.DROP_FOR * SECOND:
            self._hold(None, t)

    def _hold(self, which: int | None, t: int) -> None:
        self._held, self._since = which, t
        self._rival = self._weak_since = None
        self._lead = np.zeros(len(FELT))

    def _degrees(self, t: int) -> F32:
        out = np.zeros(len(FELT), np.float32)
        held = self._held
        if held is None:
            return out
        level = self._level
        allies = COMPATIBLE[held].copy()
        allies[held] = False
        # A second emotion counts from where it is more than chance.
        second = np.maximum(0.0, np.where(allies, level, 0.0) - self.DROP)
        ally = int(second.argmax())
        doubt = float(np.where(COMPATIBLE[held], 0.0, level).max())
        strength = max(0.0, float(level[held] + second[ally]) - doubt - self.DROP) / (self.FULL - self.DROP)
        # The one that is held stays the stronger until it is another's turn.
        share = min(self.LESSER, float(second[ally] / (level[held] + second[ally] + 1e-9)))
        degree = min(1.0, strength)
        out[held] = degree * (1 - share)
        out[ally] += degree * share
        label, after, time, least = self.BRIEF
        if FELT[held] == label:
            late = max(0.0, (t - self._since) / SECOND - after)
            out *= np.float32(least + (1 - least) * np.exp(-late / time))
        return out
