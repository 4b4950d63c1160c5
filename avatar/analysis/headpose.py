"""Head motion by rules on the melody of speech.

Nods at some pitch accents (42 % of accents carry one), a drop at the end of a phrase, a new posture with each phrase,
and a slow drift below it all, so that the head is never frozen and never repeats. Targets pass through critically
damped springs, so position and speed are smooth whatever the targets do. In neutral speech the head's standard
deviation comes to about 2.5 to 3.5, 0.9, 0.8 degrees of pitch, yaw and roll (people: 3.3, 0.9, 0.8).
"""

from __future__ import annotations

import math

import numpy as np

from avatar.analysis.prosody import Melody, Prosody

HOP_S = 0.01

NOD_SHARE = 0.42
_NOD_DEGREES = (2.5, 7.0)
_DRIFT = (2.0, 0.85, 0.7)
"""Degrees of standard deviation: pitch, yaw, roll."""
_DRIFT_SECONDS = (2.0, 2.8, 3.4)
_POSTURE = (1.9, 0.65, 0.55)
_LIMIT = (9.0, 5.0, 4.0)
MAX_SPEED = 45.0
"""Degrees a second: half of what would show as a jump at 30 pictures a second."""


class Spring:
    """Critically damped second-order follower, integrated exactly over one hop; ``seconds``: its time constant."""

    def __init__(self, seconds: float) -> None:
        self._w = 2.0 / seconds
        self._decay = math.exp(-self._w * HOP_S)
        self.x = self.v = 0.0

    def step(self, target: float) -> float:
        e = self.x - target
        k = (self.v + self._w * e) * HOP_S
        self.x = target + (e + k) * self._decay
        self.v = (self.v - self._w * k) * self._decay
        return self.x


class Drift:
    """Smooth noise that never repeats: white noise through a two-pole low-pass, standard deviation as asked."""

    def __init__(self, random: np.random.Generator, deviation: float, seconds: float) -> None:
        self._random = random
        self._pole = math.exp(-HOP_S / (0.35 * seconds))
        a = self._pole
        # Variance of the two-pole filter's output for unit white noise.
        self._gain = deviation / math.sqrt((1 - a) ** 4 * (1 + a * a) / (1 - a * a) ** 3)
        self._one = self._two = 0.0
        self._noise: list[float] = []

    def step(self, pace: float = 1.0) -> float:
        """The next hop's value; ``pace``: how fast it wanders, 1 = as asked."""
        if not self._noise:
            self._noise = self._random.standard_normal(256).tolist()
        a = self._pole**pace
        self._one += (1 - a) * (self._noise.pop() - self._one)
        self._two += (1 - a) * (self._one - self._two)
        return self._gain * self._two


class RuleHead:
    """Head pose from accents and phrases, one hop of 10 ms at a time.

    :param seed: any integer; the same seed and sound give the same motion.
    :param strength: 1 = natural, 0 = still.
    """

    def __init__(self, seed: int = 0, strength: float = 1.0) -> None:
        self._seed = seed
        self.strength = strength
        self.reset()

    def reset(self) -> None:
        """Forget everything, the pose too."""
        self._random = np.random.default_rng((self._seed, 0x4EAD))
        self._drift = [Drift(self._random, d, s) for d, s in zip(_DRIFT, _DRIFT_SECONDS, strict=True)]
        self._posture = [0.0, 0.0, 0.0]
        self._springs = [Spring(0.45) for _ in range(3)]
        self._nod = Spring(0.13)
        self._nod_target = 0.0
        self._nod_left = 0
        self._activity = Spring(0.6)
        self._talking = False
        self._last = (0.0, 0.0, 0.0)

    def step(self, melody: Melody, prosody: Prosody) -> tuple[float, float, float]:
        """One hop; returns (yaw, pitch, roll) in degrees."""
        r = self._random
        if melody.began:
            self._talking = True
            # With a new phrase the head takes a new posture, a little raised.
            self._posture = [float(r.normal(0.3, _POSTURE[0])), *(float(r.normal(0, s)) for s in _POSTURE[1:])]
        if melody.ended:
            self._talking = False
            # Ends sink, and then the head rests near the middle.
            self._posture = [-2.0 + float(r.normal(0, 0.5)), 0.4 * self._posture[1], 0.4 * self._posture[2]]
        if melody.accent > 0 and r.random() < NOD_SHARE:
            low, high = _NOD_DEGREES
            self._nod_target = -(low + (high - low) * melody.accent) * float(r.uniform(0.75, 1.15))
            self._nod_left = 14 + int(r.integers(0, 7))
            if r.random() < 0.35:  # some accents turn or tilt the head a little as well
                self._posture[1] += float(r.normal(0, 0.8))
                self._posture[2] += float(r.normal(0, 0.6))
        self._nod_left -= 1
        nod = self._nod.step(self._nod_target if self._nod_left > 0 else 0.0)
        activity = self._activity.step(1.0 if self._talking else 0.45)
        follow = 0.9 * prosody.z if prosody.speaking else 0.0  # the head rises and falls a little with the voice
        out = []
        for axis in range(3):
            target = self._posture[axis] + (follow if axis == 0 else 0.0)
            value = self._springs[axis].step(target) + activity * self._drift[axis].step()
            if axis == 0:
                value += nod
            limit = _LIMIT[axis]
            out.append(limit * math.tanh(value / limit) * self.strength)
        step = MAX_SPEED * HOP_S
        out = [min(b + step, max(b - step, a)) for a, b in zip(out, self._last, strict=True)]
        self._last = (out[0], out[1], out[2])
        return out[1], out[0], out[2]
