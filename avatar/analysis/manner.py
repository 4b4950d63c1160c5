"""Whose voice it is, taken off what the voice seems to feel: a speaker's usual manner, learnt while listening.

Everybody's neutral is somebody else's sadness. The classifier of :mod:`avatar.analysis.emotion` is linear, so whatever
is peculiar to a speaker (and to the room and microphone) moves its answers by a constant: the *shift*. It is found by
expectation and maximisation over what was heard: given the shift, each stretch of speech belongs to the classes with
some probability; given those, the shift is the mean of what is left over, shrunk towards none. Unlike a running mean of
the features it does not take a speaker who is always neutral for one whose mean is that of all emotions. Where a
microphone or another way of acting moves all answers far, though, it may settle on one wrong class for all. So a share
of each stretch is taken to be spread over the classes as usual, which is what a running mean does. After iterative
feature normalisation (Busso, Metallinou & Narayanan, ICASSP 2011), with all classes, not neutral alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from avatar.core.types import F32
from avatar.errors import UsageError

MEMORY = 90
"""Stretches of speech that are remembered, one a second."""
ITERATIONS = 4


@dataclass(slots=True)
class SpeakerProfile:
    """What is known of a speaker: the running state of the normalisation, good for any later session.

    Empty = nothing is known yet. It belongs to the weights that it was made with.
    """

    heard: F32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(n, k) the classifier's answers to stretches of this speaker's speech, oldest first, at most MEMORY."""
    weights: str = ""
    """Name of the weights."""

    def save(self) -> dict[str, np.ndarray]:
        """Arrays by name, to be stored in an ``.npz``."""
        return {"heard": np.array(self.heard), "weights": np.array(self.weights)}

    @classmethod
    def load(cls, arrays: Mapping[str, np.ndarray]) -> SpeakerProfile:
        """From what :meth:`save` gave. Raises UsageError where it is something else."""
        try:
            heard = np.asarray(arrays["heard"], np.float32)
            if heard.ndim != 2 or not np.isfinite(heard).all():
                raise ValueError("not answers")
            return cls(heard[-MEMORY:].copy(), str(arrays["weights"]))
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError("this is not a speaker's profile: calibrate again") from error


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


@dataclass(frozen=True, slots=True)
class ShiftModel:
    """How a shift shows in the answers; the first ``len(bias)`` of the k answers are the classes'."""

    bias: F32
    """(classes,)."""
    means: F32
    """(classes, k) answers to the mean of each class, without bias and shift."""
    prior: float = 3.0
    """So many stretches without a shift are taken as heard before."""
    sharpness: float = 0.4
    """What the answers are multiplied by before they count as log odds here: below 1, as the classifier is too sure."""
    usual: F32 | None = None
    """(classes,) log odds of each class before anything is heard; None = all alike."""
    balance: float = 0.3
    """Share of a stretch that is spread over the classes as :attr:`usual` says: 0 = pure expectation and maximisation,
    1 = a running mean."""

    def posterior(self, answers: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """(..., k) to probabilities (..., classes), at the sharpness of this model."""
        n = len(self.bias)
        z = (answers[..., :n] - shift[:n] + self.bias) * self.sharpness
        return softmax(z if self.usual is None else z + self.usual)

    def shift(self, heard: np.ndarray, start: np.ndarray | None = None, iterations: int = ITERATIONS) -> np.ndarray:
        """(k,) the shift of a speaker who gave the answers ``heard`` (n, k); ``start``: a guess (k,)."""
        found = np.zeros(self.means.shape[1]) if start is None else start
        if not len(heard):
            return found * 0
        spread = softmax(np.zeros(len(self.bias)) if self.usual is None else self.usual)
        for _ in range(iterations):
            p = (1 - self.balance) * self.posterior(heard, found) + self.balance * spread
            found = (heard - p @ self.means).sum(axis=0) / (len(heard) + self.prior)
        return found

    def known(self, heard: np.ndarray, label: int) -> np.ndarray:
        """(k,) the shift where all of ``heard`` (n, k) is known to be of one class."""
        return np.asarray((heard - self.means[label]).sum(axis=0) / (len(heard) + self.prior))
