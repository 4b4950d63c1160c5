"""Head motion decoded from the melody of speech by a hidden Markov model.

Sargin, Yemez, Erzin & Tekalp, "Analysis of Head Gesture and Prosody Patterns for Prosody-Driven Head-Gesture
Animation", TPAMI 2008: recurrent pairs of prosody and gesture are branches of one multistream model; the prosody alone
is decoded, and the states of the gestures that go with it become the head's path. Here it runs live, with a fixed lag.
Training is in ``models/headpose``, what it makes in :mod:`avatar.analysis.head_model`.
"""

from __future__ import annotations

import math

import numpy as np

from avatar.analysis.head_features import ProsodyFeatures
from avatar.analysis.head_model import NEUTRAL, HeadModel
from avatar.analysis.headpose import HOP_S, MAX_SPEED, Drift, Spring
from avatar.analysis.prosody import Melody, Prosody
from avatar.analysis.viterbi import FixedLagViterbi, GaussianScores

LAG = 15
"""Hops of 10 ms between a sound and the decision what it was."""
SMOOTH_S = 0.03
"""Time constant of each of the two springs in a row that follow the gestures' path: a head has no corners in its way.
The path is looked ahead by as much as they delay."""
SKIP = 0.8
"""States that a gesture may miss of its beginning where it is recognised late. It catches up: a late nod is a nod."""
WAIT_HOPS = 12
"""That a gesture may take longer than the pattern it belongs to."""
FOLLOW = 0.2
"""Share of the way to where the voice is in its pattern that the head catches up in a hop."""
EBB_S = 0.5
"""Time constant with which a gesture that has ended goes back to the posture."""
LIFT, LIFT_S, LIFT_HOPS = 2.6, 0.12, 16
"""Degrees that a head rises where a phrase begins, the time constant, and how long before it sinks again."""
SINK, FORGOTTEN = 0.98, 400
"""What is left of it a hop later, and after how many hops nothing is."""
BUSY_HOPS, BUSY = 42, 0.3
"""After a phrase's first sound the head is busy with rising: for so long its gestures have this share of their size."""

LIVELINESS: dict[str, tuple[float, float]] = {
    "neutral": (1.0, 1.0),
    "happiness": (1.9, 1.2),
    "anger": (1.9, 1.2),
    "surprise": (1.4, 1.1),
    "fear": (1.3, 1.1),
    "disgust": (1.0, 1.0),
    "sadness": (0.85, 0.8),
}
"""Emotion -> (range, pace) in shares of the neutral ones, for emotions of which the model has no gestures of their own.
Happy and angry heads move about twice as fast as neutral ones, over a wider range (Busso, Deng, Grimm, Neumann &
Narayanan, "Rigid Head Motion in Expressive Speech Animation", TASLP 2007). The others are designed, between those."""
_CHANGE = 0.02
"""A hop: an emotion takes over within a second or so."""


class HmmHead:
    """Head pose from prosody, one hop of 10 ms at a time.

    A pattern is recognised :data:`LAG` hops after it began. From then on the head is where in the gesture the voice is
    in the pattern, states in step: the durations say where that will be by the moment that is drawn. Which of the
    gestures that go with a pattern is made is drawn by how often it was, and from the gestures of the emotion that is
    heard. Below lies a slow drift around postures that change with phrases and, in silence, now and then: the head is
    never frozen and never repeats.

    :param seed: any integer; the same seed and sound give the same motion.
    :param strength: 1 = natural, 0 = still.
    :param ahead: hops of sound that are known beyond the moment the pose is for: the look-ahead that the lips have
        anyway. The head begins so much earlier.
    :param vary: False = always the likeliest gesture at its mean size, no drift: what the judge compares.
    """

    IDLE_S = (4.0, 12.0)
    """Between posture shifts in silence."""
    LIMIT = (12.0, 11.0, 8.0)
    FARTHEST = 18.0
    """Degrees: the first for a neutral head, the second for any."""

    def __init__(
        self, model: HeadModel, seed: int = 0, strength: float = 1.0, ahead: int = 0, vary: bool = True
    ) -> None:
        self._seed, self._vary = seed, vary
        self._horizon = LAG - ahead + 2 * SMOOTH_S / HOP_S
        self.strength = strength
        self.emotion: tuple[str, float] = (NEUTRAL, 0.0)
        """Label and intensity in [0, 1]: whose gestures are made, or where the model has none of its own for it, how
        wide and how fast, see :data:`LIVELINESS`."""
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Forget everything, the pose too."""
        self._random = np.random.default_rng((self._seed, 0x4EAD))
        self._springs = [(Spring(SMOOTH_S), Spring(SMOOTH_S)) for _ in range(3)]
        self._posture_springs = [Spring(0.7) for _ in range(3)]
        self._lift, self._lift_left = Spring(LIFT_S), -FORGOTTEN
        self._last = (0.0, 0.0, 0.0)
        self._range = self._pace = self._reach = 1.0
        self._felt: dict[str, float] = {}
        self._features = ProsodyFeatures()
        self.use(self._model)

    def use(self, model: HeadModel) -> None:
        """Go on with another person's model; the head stays where it is."""
        self._model = model
        self._scores = GaussianScores(model.prosody_mean, model.prosody_sd)
        self._decoder = FixedLagViterbi(model.start, model.transition, LAG)
        self._odds = {
            label: np.cumsum(m.choice / m.choice.sum(1, keepdims=True), axis=1) for label, m in model.manners.items()
        }
        self._lasts: list[float] = model.lasts.tolist()
        n = model.manners[NEUTRAL]
        # Deviation 1 each; how far it goes is the manner's.
        self._drift = [Drift(self._random, 1.0, 0.8 * float(s)) for s in n.posture_seconds]
        self._deviation = n.posture_sd.astype(np.float64)
        self._posture = [0.0, 0.0, 0.0]
        self._idle_left = 0
        self._state = self._gesture = -1
        self._elapsed = 0
        self._waiting = -1  # hops that a recognised passage still waits for the last gesture's end; -1 = none does
        self._phase = self._over = 0.0
        self._way: list[list[float]] = []

    @property
    def decoded(self) -> tuple[int, int]:
        """(state :data:`LAG` hops ago or -1, gesture that is made or -1)."""
        return self._state, self._gesture

    def step(self, melody: Melody, prosody: Prosody) -> tuple[float, float, float]:
        """One hop; returns (yaw, pitch, roll) in degrees, for the moment ``ahead`` hops before it."""
        return self.follow(self._features.step(prosody), melody)

    def follow(
        self, features: np.ndarray | tuple[float, ...], melody: Melody | None = None
    ) -> tuple[float, float, float]:
        """The same from ready :data:`FEATURES` (P,)."""
        self._feel()
        self._hear(self._decoder.step(self._scores(np.asarray(features, np.float64))))
        if melody is not None:
            self._settle(melody)
        out = []
        target = self._target()
        for axis in range(3):
            first, second = self._springs[axis]
            value = second.step(first.step(target[axis]))
            if self._vary:
                value += self._posture_springs[axis].step(self._posture[axis])
                value += 0.5 * float(self._deviation[axis]) * self._drift[axis].step(self._pace)
                if axis == 0:
                    self._lift_left = max(-FORGOTTEN, self._lift_left - 1)
                    value += self._lift.step(self._lifted())
            limit = min(self.FARTHEST, self.LIMIT[axis] * self._reach)
            value = limit * math.tanh(value * self._range / limit)
            out.append(value * self.strength)
        step = MAX_SPEED * max(1.0, min(1.8, self._reach)) * HOP_S
        out = [min(b + step, max(b - step, a)) for a, b in zip(out, self._last, strict=True)]
        self._last = (out[0], out[1], out[2])
        return out[1], out[0], out[2]

    def _lifted(self) -> float:
        """Up at once, and slowly down."""
        return LIFT * self._reach * SINK ** max(0, -self._lift_left)

    def _hear(self, state: int) -> None:
        """Take the decoder's state of ``LAG`` hops ago; with each passage through a pattern a gesture begins."""
        before, self._state = self._state, state
        if state < 0:
            return
        n = self._model.states
        if before < 0 or state // n != before // n or state < before:
            self._waiting, self._elapsed = WAIT_HOPS, 0
        else:
            self._waiting -= self._waiting > 0
            self._elapsed = self._elapsed + 1 if state == before else 0
        if self._waiting >= 0 and (self._waiting == 0 or not self._way or self._phase >= n - 1):
            self._waiting = -1
            self._begin(state // n)
            self._over = 0.0
            self._phase = min(SKIP, self._place())

    def _begin(self, branch: int) -> None:
        """Choose the gesture that goes with a passage: (N, 3) degrees."""
        label = self._whose()
        manner = self._model.manners[label]
        size = 1.0
        if self._vary:
            draw = int(np.searchsorted(self._odds[label][branch], self._random.random()))
            gesture = min(draw, len(manner.mean) - 1)
            size = float(np.clip(self._random.normal(1.0, 0.18), 0.6, 1.4))
            if LIFT_HOPS - self._lift_left < BUSY_HOPS:
                size *= BUSY
        else:
            gesture = int(manner.choice[branch].argmax())
        self._gesture = gesture
        self._way = (size * manner.mean[gesture] * manner.gain).tolist()

    def _place(self) -> float:
        """Where in its pattern, in states, the voice will be by the moment for which the path is needed."""
        n, left = self._model.states, self._horizon
        k, branch = self._state % n, self._state // n
        at = min(1.0, self._elapsed / self._lasts[self._state])
        while left > 0 and k < n:
            lasts = self._lasts[branch * n + k]
            if left < (1 - at) * lasts:
                return k + at + left / lasts
            left -= (1 - at) * lasts
            k, at = k + 1, 0.0
        self._over = max(self._over, left)
        return float(min(n, k + at))

    def _target(self) -> list[float]:
        if not self._way:
            return [0.0, 0.0, 0.0]
        n = self._model.states
        base = self._state // n * n
        rate = 1 / self._lasts[base + min(n - 1, int(self._phase))]
        behind = (self._place() if self._waiting < 0 else float(n)) - self._phase
        self._phase = min(float(n), self._phase + min(2 * rate, max(0.0, rate + FOLLOW * (behind - rate))))
        value = _curve(self._way, self._phase - 0.5)
        if self._phase >= n:
            # What has been done ebbs away towards the posture.
            self._over += 1.0
            left = math.exp(-self._over * HOP_S / EBB_S)
            value = [left * a for a in value]
        return value

    def _whose(self) -> str:
        """The emotion whose gestures are made next."""
        if not self._felt:
            return NEUTRAL
        if not self._vary:
            label, share = max(self._felt.items(), key=lambda each: each[1])
            return label if share >= 0.5 else NEUTRAL
        draw = float(self._random.random())
        for label, share in self._felt.items():
            draw -= share
            if draw < 0:
                return label
        return NEUTRAL

    def _feel(self) -> None:
        """The shares of the emotions go over to the one that is felt now, and with them how far and fast the head
        goes."""
        label, intensity = self.emotion[0], min(1.0, max(0.0, self.emotion[1]))
        manners = self._model.manners
        own = label in manners and label != NEUTRAL
        if own:
            self._felt.setdefault(label, 0.0)
        wide, fast = LIVELINESS.get(label, (1.0, 1.0))
        self._reach += _CHANGE * (1 + intensity * (max(wide, 1.0) - 1) - self._reach)
        self._range += _CHANGE * (1 + (0.0 if own else intensity * (wide - 1)) - self._range)
        self._pace += _CHANGE * (1 + intensity * (fast - 1) - self._pace)
        if not self._felt:
            return
        for each in list(self._felt):
            self._felt[each] += _CHANGE * ((intensity if each == label else 0.0) - self._felt[each])
            if self._felt[each] < 1e-3 and each != label:
                del self._felt[each]
        mixed = (1 - sum(self._felt.values())) * manners[NEUTRAL].posture_sd.astype(np.float64)
        for each, share in self._felt.items():
            if each in manners:
                mixed += share * manners[each].posture_sd
        self._deviation = mixed

    def _settle(self, melody: Melody) -> None:
        """A new posture with each phrase, and in silence every few seconds."""
        r, sd = self._random, self._deviation
        self._idle_left -= 1
        if melody.began or self._idle_left <= 0:
            # Evenly over the span: people hold a place and then another, near the edges as often as in the middle.
            self._posture = [1.6 * float(s) * float(r.uniform(-1, 1)) for s in sd]
        if melody.began:
            # Heads rise as a phrase begins. The detector knows of it before the decoder has decided, so with a
            # look-ahead this comes before the voice.
            self._lift_left = LIFT_HOPS
        elif melody.ended:
            self._posture = [0.6 * p for p in self._posture]  # at rest the head comes nearer to the middle
        if melody.began or melody.ended or self._idle_left <= 0:
            low, high = self.IDLE_S
            self._idle_left = int(r.uniform(low, high) / HOP_S)


def _curve(way: list[list[float]], at: float) -> list[float]:
    """A smooth curve through the states' means (Catmull & Rom 1974); ``at``: 0 = the first one's middle."""
    last = len(way) - 1
    if at <= 0 or last == 0:
        return way[0]
    if at >= last:
        return way[-1]
    i = int(at)
    t = at - i
    a, b, c, d = way[max(0, i - 1)], way[i], way[i + 1], way[min(last, i + 2)]
    out = []
    for p, q, r, s in zip(a, b, c, d, strict=True):
        out.append(q + 0.5 * t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p))))
    return out
