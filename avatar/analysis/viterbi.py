"""The likeliest states of a hidden Markov model while the observations still come in."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

NEVER = -1e9
"""Logarithm of a probability of zero, finite so that sums of it stay numbers."""


def log(probability: NDArray[np.floating]) -> F64:
    """Natural logarithm; zero becomes :data:`NEVER`."""
    p = np.asarray(probability, np.float64)
    return np.where(p > 0, np.log(np.maximum(p, 1e-300)), NEVER)


class GaussianScores:
    """Log-likelihoods of diagonal Gaussians, one matrix product an observation.

    :param mean: (states, features). :param deviation: the same shape, above 0.
    """

    def __init__(self, mean: NDArray[np.floating], deviation: NDArray[np.floating]) -> None:
        m, precision = np.asarray(mean, np.float64), 1 / np.asarray(deviation, np.float64) ** 2
        constant = (m * m * precision).sum(1) - np.log(precision).sum(1) + m.shape[1] * np.log(2 * np.pi)
        self._matrix = np.ascontiguousarray(-0.5 * np.vstack([precision.T, -2 * (m * precision).T, constant]))
        self._n = m.shape[1]
        self._row = np.ones(2 * self._n + 1)

    def __call__(self, x: NDArray[np.floating]) -> F64:
        """(features,) to (states,), or (n, features) to (n, states)."""
        if x.ndim == 1:
            row, n = self._row, self._n
            row[n : 2 * n] = x
            np.multiply(row[n : 2 * n], row[n : 2 * n], out=row[:n])
            return row @ self._matrix
        rows = np.hstack([x * x, x, np.ones((len(x), 1))])
        return rows @ self._matrix


class FixedLagViterbi:
    """Decides on the state ``lag`` observations ago, at each observation.

    With an unlimited lag these are the states of Viterbi's algorithm over the whole sequence; the survivors' paths
    usually merge long before the lag is over, so few decisions differ (the tests say how few).

    :param start: (states,) probabilities. :param transition: (states, states), from row to column.
    """

    def __init__(self, start: NDArray[np.floating], transition: NDArray[np.floating], lag: int) -> None:
        self.lag = lag
        self._start = log(start)
        self._into = np.ascontiguousarray(log(transition).T)
        self._rows = np.arange(len(self._start))
        self._sums = np.empty_like(self._into)
        self.reset()

    def reset(self) -> None:
        """Begin a new sequence."""
        self._best: F64 | None = None
        self._back: deque[list[int]] = deque(maxlen=self.lag)

    def step(self, scores: F64) -> int:
        """``scores`` (states,): log-likelihood of the newest observation in each state.

        Returns the state ``lag`` observations ago, or -1 while there is none.
        """
        if self._best is None:
            self._best = self._start + scores
            return int(self._best.argmax()) if self.lag == 0 else -1
        np.add(self._into, self._best, out=self._sums)
        origin = self._sums.argmax(1)
        best = self._sums[self._rows, origin] + scores
        top = int(best.argmax())
        self._best = best - best[top]  # only differences count, and they must not grow without end
        self._back.append(origin.tolist())
        if len(self._back) < self.lag:
            return -1
        state = top
        for step in reversed(self._back):
            state = step[state]
        return state
