"""Where the eyes look: mostly at the camera, in fixations joined by saccades, with looks aside while thinking.

Saccades: duration 2.2 ms a degree + 21 ms (Bahill, Clark & Stark 1975, the main sequence), position along a
minimum-jerk curve. Gaze and turns of talk: Kendon (1967): speakers look away when they begin and back when they end;
listeners look at the speaker. How often and how far follows Lee, Badler & Badler (2002, "Eyes alive"), kept within what
a portrait can show.
"""

from __future__ import annotations

import math

import numpy as np

from avatar.core.types import MILLISECOND, SECOND, Gaze, GazeCue, Ns

MAX_YAW, MAX_PITCH = 14.0, 9.0
"""Degrees; no gaze lies beyond."""


def saccade_seconds(degrees: float) -> float:
    """Duration of a saccade of this amplitude."""
    return 0.021 + 0.0022 * abs(degrees)


def _minimum_jerk(x: float) -> float:
    x = min(1.0, max(0.0, x))
    return x * x * x * (10 - 15 * x + 6 * x * x)


class GazeModel:
    """One person's eyes. The same seed and times give the same gaze, at any frame rate.

    :param seed: any integer.
    """

    ASIDE_AT_START = 0.35
    """Chance that somebody who begins to speak looks away first."""
    ASIDE_TALKING, ASIDE_LISTENING = 0.11, 0.05
    """Chance of a look aside after each fixation."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        self._random = np.random.default_rng((self._seed, 0x6A2E))
        self._pts: Ns | None = None
        self._speaking = False
        self._from = self._to = (0.0, 0.0)  # degrees: yaw, pitch
        self._begin = self._end = 0  # of the last saccade
        self._leave = 0  # when the fixation ends
        self._aside = False

    def _position(self, pts: int) -> tuple[float, float]:
        if pts >= self._end:
            return self._to
        s = _minimum_jerk((pts - self._begin) / max(1, self._end - self._begin))
        return (self._from[0] + s * (self._to[0] - self._from[0]), self._from[1] + s * (self._to[1] - self._from[1]))

    def _move(self, pts: int, yaw: float, pitch: float, stay: float) -> None:
        self._from = self._position(pts)
        self._to = (min(MAX_YAW, max(-MAX_YAW, yaw)), min(MAX_PITCH, max(-MAX_PITCH, pitch)))
        amplitude = math.dist(self._from, self._to)
        self._begin = pts
        self._end = pts + round(saccade_seconds(amplitude) * SECOND)
        self._leave = self._end + round(stay * SECOND)

    def _look_aside(self, pts: int, speaking: bool) -> None:
        r = self._random
        side = 1.0 if r.random() < 0.5 else -1.0
        yaw = side * float(np.clip(r.normal(6.5, 2.5), 2.5, MAX_YAW))
        # Thinking turns the eyes up or down as often as level.
        pitch = float(r.choice((-1.0, 0.0, 1.0), p=(0.4, 0.35, 0.25))) * float(r.uniform(2.0, 6.0))
        self._aside = True
        self._move(pts, yaw, pitch, float(r.uniform(0.35, 1.1 if speaking else 0.8)))

    def _look_at_camera(self, pts: int) -> None:
        r = self._random
        # The eyes wander over the viewer's face, a degree at most.
        yaw, pitch = float(np.clip(r.normal(0, 0.45), -1.2, 1.2)), float(np.clip(r.normal(0, 0.3), -0.8, 0.8))
        self._aside = False
        self._move(pts, yaw, pitch, min(4.0, max(0.25, math.exp(r.normal(math.log(0.9), 0.6)))))

    def step(self, pts: Ns, speaking: bool) -> GazeCue:
        """The gaze at ``pts``; ``pts`` never goes back."""
        if self._pts is None or pts - self._pts > 10 * SECOND:
            self._pts = pts
            self._begin = self._end = pts
            self._leave = pts + SECOND
        if speaking and not self._speaking and not self._aside and self._random.random() < self.ASIDE_AT_START:
            self._look_aside(pts + 50 * MILLISECOND if pts < self._end else pts, speaking)
        self._speaking = speaking
        while pts >= self._leave:
            at = self._leave
            chance = self.ASIDE_TALKING if speaking else self.ASIDE_LISTENING
            if not self._aside and self._random.random() < chance:
                self._look_aside(at, speaking)
            else:
                self._look_at_camera(at)
        self._pts = pts
        yaw, pitch = self._position(pts)
        return GazeCue(pts, Gaze(math.radians(yaw), math.radians(pitch)))
