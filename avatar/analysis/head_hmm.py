"""Head motion decoded from the melody of speech by a hidden Markov model.

Sargin, Yemez, Erzin & Tekalp, "Analysis of Head Gesture and Prosody Patterns for Prosody-Driven Head-Gesture
Animation", TPAMI 2008: recurrent pairs of prosody and gesture are branches of one multistream model; the prosody alone
is decoded, and the states of the gestures that go with it become the head's path. Here it runs live, with a fixed lag.
Training is in ``models/headpose``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

import numpy as np

from avatar.analysis.head_features import FEATURES, ProsodyFeatures
from avatar.analysis.headpose import HOP_S, MAX_SPEED, Drift, Spring
from avatar.analysis.prosody import Melody, Prosody
from avatar.analysis.viterbi import FixedLagViterbi, GaussianScores
from avatar.core.types import F32, freeze
from avatar.errors import ModelFileError

HEAD_FILE = "headpose.npz"
LAG = 15
"""Hops of 10 ms between a sound and the decision what it was."""
SMOOTH_S = 0.06
"""Time constant of each of the two springs in a row that follow the states' means: a head has no corners in its way.
The way is looked ahead by as much as they delay."""
RISE = 0.6
"""How much a head rises where a phrase begins, in deviations of its posture."""
EBB_S = 0.7
"""Time constant with which a gesture that has ended goes back to the posture."""

LIVELINESS: dict[str, tuple[float, float]] = {
    "neutral": (1.0, 1.0),
    "happiness": (1.9, 1.2),
    "anger": (1.9, 1.2),
    "surprise": (1.4, 1.1),
    "fear": (1.3, 1.1),
    "disgust": (1.0, 1.0),
    "sadness": (0.85, 0.8),
}
"""Emotion -> (range, pace) in shares of the neutral ones. Happy and angry heads move about twice as fast as neutral
ones, over a wider range (Busso, Deng, Grimm, Neumann & Narayanan, "Rigid Head Motion in Expressive Speech Animation",
TASLP 2007). The other emotions are designed, between those."""


@dataclass(frozen=True, eq=False)
class HeadModel:
    """What was learnt of how a head moves with a voice.

    S states in B branches: pairs of prosody and gesture, of which the live decoder hears the prosody, P features of
    :data:`avatar.analysis.head_features.FEATURES`. R states in G branches: the gestures, as angles pitch, yaw, roll in
    degrees away from the posture."""

    VERSION: ClassVar[int] = 1

    branch: np.ndarray
    """(S,) which branch a state belongs to, rising."""
    start: np.ndarray
    """(S,) probabilities."""
    transition: np.ndarray
    """(S, S) probabilities, from row to column."""
    prosody_mean: F32
    """(S, P)."""
    prosody_sd: F32
    """(S, P)."""
    gesture: np.ndarray
    """(R,) which gesture a state belongs to, rising."""
    gesture_mean: F32
    """(R, 3) degrees."""
    duration_mean: F32
    """(R,) hops that the state lasts."""
    duration_sd: F32
    """(R,)."""
    choice: F32
    """(B, G + 1): how often each gesture begins with a passage through a branch; the last column: none does."""
    offset: F32
    """(B, G) hops from the branch's beginning to the gesture's."""
    posture_sd: F32
    """(3,) degrees of the slow part of the motion, below ``POSTURE_HZ`` of ``models/headpose/clips.py``."""
    posture_seconds: F32
    """(3,) how long a posture lasts."""
    gain: F32
    """(3,) what the smoothing of the states' means takes away, given back."""
    curves: F32 = field(default_factory=lambda: np.zeros((0, 6), np.float32))
    """(rows, 6) of how the sizes were chosen: modality (0 prosody, 1 gesture), branches, states, separation of the
    branches, log-likelihood of held-out frames, fitness."""

    @property
    def branches(self) -> int:
        return len(self.choice)

    @property
    def gestures(self) -> int:
        return self.choice.shape[1] - 1

    def save(self, path: Path) -> None:
        """Write all arrays to an npz file."""
        arrays = {each.name: getattr(self, each.name) for each in fields(self)}
        with path.open("wb") as file:
            np.savez_compressed(file, version=np.int64(self.VERSION), features=np.array(FEATURES), **arrays)

    @classmethod
    def load(cls, path: Path) -> HeadModel:
        """Read what :meth:`save` wrote. Raises ModelFileError where the file is missing, damaged or of another
        version.
        """
        again = "train it again: avatar train headpose, or avatar calibrate for your own"
        try:
            with np.load(path, allow_pickle=False) as data:
                version = int(data["version"]) if "version" in data else 0
                if version != cls.VERSION or tuple(data["features"]) != FEATURES:
                    raise ModelFileError(
                        f"{path.name}: a head model of version {version}, this program reads {cls.VERSION}; {again}"
                    )
                model = cls(**{each.name: freeze(data[each.name]) for each in fields(cls)})
            model._check()
        except FileNotFoundError as error:
            raise ModelFileError(f"{path}: there is no such head model; {again}") from error
        except ModelFileError:
            raise
        except Exception as error:  # a damaged archive raises whatever its reader trips over
            raise ModelFileError(f"{path.name}: not a head model that can be read ({error}); {again}") from error
        return model

    def _check(self) -> None:
        s, r, p = len(self.branch), len(self.gesture), len(FEATURES)
        b, g = len(self.choice), self.choice.shape[-1] - 1
        shapes = {
            "start": (s,), "transition": (s, s), "prosody_mean": (s, p), "prosody_sd": (s, p), "gesture_mean": (r, 3),
            "duration_mean": (r,), "duration_sd": (r,), "choice": (b, g + 1), "offset": (b, g), "posture_sd": (3,),
            "posture_seconds": (3,), "gain": (3,),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} is {array.shape}, not {shape}, or holds what is no number")
        for labels, count in ((self.branch, b), (self.gesture, g)):
            if not np.array_equal(np.unique(labels), np.arange(count)) or (np.diff(labels) < 0).any():
                raise ValueError("its branches are out of order")
        if (self.prosody_sd <= 0).any() or (self.duration_mean <= 0).any() or (self.choice.sum(1) <= 0).any():
            raise ValueError("a deviation, a duration or a probability is not above 0")


class _Path:
    """A gesture's way by hops since its beginning.

    :param mean: (n, 3) degrees of its states. :param lasts: (n,) hops. :param phase: where it is now; below 0 = to
    come.
    """

    def __init__(self, mean: np.ndarray, lasts: np.ndarray, phase: float) -> None:
        ends = np.cumsum(lasts)
        self.phase = phase
        self.length = float(ends[-1])
        self._at: list[float] = (ends - 0.5 * lasts).tolist()
        self._values: list[list[float]] = mean.tolist()

    def at(self, hops: float) -> list[float]:
        """Pitch, yaw, roll: straight lines between the middles of the states, and back to 0 after the last."""
        i = bisect_right(self._at, hops)
        if i == 0:
            return self._values[0]
        if i == len(self._at):
            # What has been done ebbs away towards the posture.
            left = math.exp(min(0.0, self.length - hops) * HOP_S / EBB_S)
            return [left * a for a in self._values[-1]]
        f = (hops - self._at[i - 1]) / (self._at[i] - self._at[i - 1])
        return [a + f * (b - a) for a, b in zip(self._values[i - 1], self._values[i], strict=True)]


class HmmHead:
    """Head pose from prosody, one hop of 10 ms at a time.

    A pattern is recognised :data:`LAG` hops after it began; since the path of the gesture that goes with it is known
    from then on, the head joins it where it should be by now, and its apex comes in time. Which of the gestures that go
    with a prosody pattern is made, or none, is drawn by how often it was. Below lies a slow drift around postures that
    change with phrases and, in silence, now and then: the head is never frozen and never repeats.

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
        self._seed, self._vary, self._ahead = seed, vary, ahead
        self.strength = strength
        self.emotion: tuple[str, float] = ("neutral", 0.0)
        """Label and intensity in [0, 1]: how wide and how fast the head moves, see :data:`LIVELINESS`."""
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Forget everything, the pose too."""
        self._random = np.random.default_rng((self._seed, 0x4EAD))
        self._springs = [(Spring(SMOOTH_S), Spring(SMOOTH_S)) for _ in range(3)]
        self._posture_springs = [Spring(0.35) for _ in range(3)]
        self._last = (0.0, 0.0, 0.0)
        self._range = self._pace = 1.0
        self._features = ProsodyFeatures()
        self.use(self._model)

    def use(self, model: HeadModel) -> None:
        """Go on with another person's model; the head stays where it is."""
        self._model = model
        self._scores = GaussianScores(model.prosody_mean, model.prosody_sd)
        self._decoder = FixedLagViterbi(model.start, model.transition, LAG)
        self._branch_of: list[int] = model.branch.tolist()
        self._odds = np.cumsum(model.choice / model.choice.sum(1, keepdims=True), axis=1)
        self._states = [np.flatnonzero(model.gesture == g) for g in range(model.gestures)]
        self._drift = [Drift(self._random, 0.5 * float(d), 0.8 * float(s)) for d, s in
                       zip(model.posture_sd, model.posture_seconds, strict=True)]  # fmt: skip
        self._posture = [0.0, 0.0, 0.0]
        self._idle_left = 0
        self._state = self._gesture = -1
        self._path: _Path | None = None
        self._next: tuple[int, _Path] | None = None

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
        self._hear(self._decoder.step(self._scores(np.asarray(features, np.float64))))
        self._feel()
        if melody is not None:
            self._settle(melody)
        out = []
        target = self._target()
        for axis in range(3):
            first, second = self._springs[axis]
            value = second.step(first.step(target[axis]))
            if self._vary:
                value += self._posture_springs[axis].step(self._posture[axis])
                value += self._drift[axis].step(self._pace)
            limit = min(self.FARTHEST, self.LIMIT[axis] * self._range)
            value = limit * math.tanh(value * self._range / limit)
            out.append(value * self.strength)
        step = MAX_SPEED * max(1.0, min(1.8, self._range)) * HOP_S
        out = [min(b + step, max(b - step, a)) for a, b in zip(out, self._last, strict=True)]
        self._last = (out[0], out[1], out[2])
        return out[1], out[0], out[2]

    def _hear(self, state: int) -> None:
        """Take the decoder's state of ``LAG`` hops ago; where a branch begins, a gesture may."""
        before, self._state = self._state, state
        if state < 0:
            return
        branch = self._branch_of[state]
        if before < 0 or branch != self._branch_of[before] or state < before:
            gesture = self._pick(branch)
            if gesture < self._model.gestures:
                # Hops from the branch's beginning to the moment that is drawn, and from there to the gesture's.
                self._plan(gesture, LAG - self._ahead - float(self._model.offset[branch, gesture]))

    def _pick(self, branch: int) -> int:
        """The gesture that begins with a branch; ``gestures`` = none."""
        if not self._vary:
            return int(self._model.choice[branch].argmax())
        return min(int(np.searchsorted(self._odds[branch], self._random.random())), self._model.gestures)

    def _plan(self, gesture: int, phase: float) -> None:
        model, states = self._model, self._states[gesture]
        mean, lasts = model.gesture_mean[states] * model.gain, model.duration_mean[states].astype(np.float64)
        if self._vary:
            r = self._random
            spread = 0.6 * model.duration_sd[states] / lasts * r.standard_normal(len(states))
            lasts = lasts * np.exp(np.clip(spread, -0.4, 0.4))
            mean = mean * float(np.clip(r.normal(1.0, 0.18), 0.6, 1.4))
        self._next = gesture, _Path(mean, lasts, phase)

    def _target(self) -> list[float]:
        ahead = 2 * SMOOTH_S / HOP_S
        if self._next is not None:
            gesture, path = self._next
            if path.phase + ahead >= 0:
                self._gesture, self._path, self._next = gesture, path, None
            else:
                path.phase += 1.0
        if self._path is None:
            return [0.0, 0.0, 0.0]
        value = self._path.at(self._path.phase + ahead)
        self._path.phase += 1.0
        return value

    def _feel(self) -> None:
        """Range and pace go over to the emotion's within a second or so."""
        wide, fast = LIVELINESS.get(self.emotion[0], (1.0, 1.0))
        share, intensity = 0.02, min(1.0, max(0.0, self.emotion[1]))
        self._range += share * (1 + intensity * (wide - 1) - self._range)
        self._pace += share * (1 + intensity * (fast - 1) - self._pace)

    def _settle(self, melody: Melody) -> None:
        """A new posture with each phrase, and in silence every few seconds."""
        r, sd = self._random, self._model.posture_sd
        self._idle_left -= 1
        if melody.began or self._idle_left <= 0:
            self._posture = [float(np.clip(r.normal(0, 0.85 * s), -2 * s, 2 * s)) for s in sd]
            if melody.began:
                # Heads rise as a phrase begins. The detector knows of it before the decoder has decided, so with a
                # look-ahead this comes before the voice.
                self._posture[0] += RISE * float(sd[0])
        elif melody.ended:
            self._posture = [0.6 * p for p in self._posture]  # at rest the head comes nearer to the middle
        if melody.began or melody.ended or self._idle_left <= 0:
            low, high = self.IDLE_S
            self._idle_left = int(r.uniform(low, high) / HOP_S)
