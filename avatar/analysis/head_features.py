"""What the head's model hears: six numbers a hop, causal, in units of the speaker."""

from __future__ import annotations

from collections import deque

from avatar.analysis.prosody import Prosody

FEATURES = ("pitch", "confidence", "intensity", "d_pitch", "d_confidence", "d_intensity")
"""Speaker-normalised log pitch (standard deviations), YIN's confidence, level (6 dB above the speaker's usual one), and
how fast each of them changes (a tenth of a second). After Sargin, Yemez, Erzin & Tekalp, "Analysis of Head Gesture and
Prosody Patterns for Prosody-Driven Head-Gesture Animation", TPAMI 2008."""

Features = tuple[float, float, float, float, float, float]


class ProsodyFeatures:
    """:data:`FEATURES` of each hop, from it and what came before."""

    SMOOTH = 0.25
    """Share of the way to a new pitch in one hop: accents stay, jitter does not."""
    RISE, FALL = 0.35, 0.07
    """The same for confidence and intensity, up and down: a voice that begins is heard at once, and the dips between
    syllables are bridged. Heads move with accents and phrases, not with syllables."""
    SPAN = 6
    """Hops over which a slope is measured."""
    FORGET = 0.97
    """Without a voice the held pitch goes back to the speaker's mean, in a third of a second."""
    QUIET = -2.5
    """The most that a sound which is not speech may weigh: a keyboard moves nobody's head."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._held = self._pitch = self._confidence = 0.0
        self._intensity = -4.0
        start = (self._pitch, self._confidence, self._intensity)
        self._past: deque[tuple[float, float, float]] = deque([start] * self.SPAN, maxlen=self.SPAN)

    def step(self, hop: Prosody) -> Features:
        """One hop of :class:`avatar.analysis.prosody.PitchTracker`."""
        self._held = hop.z if hop.f0 > 0 else self.FORGET * self._held
        loud = hop.loud if hop.speaking else min(hop.loud, self.QUIET)
        voiced = hop.confidence if hop.speaking else 0.0
        self._pitch += self.SMOOTH * (self._held - self._pitch)
        self._confidence += (self.RISE if voiced > self._confidence else self.FALL) * (voiced - self._confidence)
        self._intensity += (self.RISE if loud > self._intensity else self.FALL) * (loud - self._intensity)
        old = self._past[0]
        now = (self._pitch, self._confidence, self._intensity)
        self._past.append(now)
        per = 10.0 / self.SPAN
        return (*now, per * (now[0] - old[0]), per * (now[1] - old[1]), per * (now[2] - old[2]))
