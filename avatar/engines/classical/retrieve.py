"""Engine ``retrieve``: an expression is looked up in recorded frames, after Li, Xu et al. ("A data-driven approach for
facial expression synthesis in video", 2012).

A database holds the frames of a person who talks: where the landmarks were, and what the skin looked like. For a state,
the metric compares what its shapes would do to the landmarks with what every frame's did, part by part of the face::

    D(state, frame) = sum over parts p of  w_p |G_p(state) - G_p(frame)|^2 / spread_p^2

The k nearest frames are mixed by their distances. What is taken from them is not their motion but its *residual*: what
the frame did beyond the shapes that explain it (:mod:`.mapping`), and its log ratio to the same person at rest. Both
go onto the portrait, in the mean face's frame::

    n' = n + s R (sum_k w_k d_k + sum_f a_f r_f)          I' = I exp(sum_f a_f log R_f)

For a sequence, the nearest frame of each state alone would jump about. :func:`shortest_path` finds the frames that are
near to their states and to each other (dynamic programming over the k best of each state).

Limits: an engine has no memory (the same state gives the same picture), so live frames are mixed, not joined by the
path; one man who speaks is the database: his residuals are his.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32, U8
from avatar.engines.classical.flat import FlatEngine, combined, unpacked
from avatar.engines.classical.plane import arrays
from avatar.engines.head_folds import FRAME
from avatar.portrait.fit import (
    INNER_LIPS,
    LANDMARKS,
    LEFT_BROW,
    LEFT_EYE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
)

FILE = "retrieve.npz"
COARSE = FRAME[0] // 4, FRAME[1] // 4
"""Rows and columns of the stored log ratios."""
PARTS: tuple[tuple[tuple[int, ...], float], ...] = (
    ((*OUTER_LIPS, *INNER_LIPS), 1.0), ((17, 199, 152, 148, 377), 0.5),
    ((*RIGHT_EYE, *LEFT_EYE), 0.5), ((*RIGHT_BROW, *LEFT_BROW), 0.5),
)  # fmt: skip
"""Landmarks of a part of the face, and its weight in the metric."""
NEAREST = 6
RESIDUAL = 0.5
"""Share of the residual that is taken: some of it is the recorded man's own face."""
_SHARP = 4.0
"""How much more the nearest frame counts than one twice as far."""


def features(moves: NDArray[np.floating], spreads: NDArray[np.floating]) -> F32:
    """(n, d): displacements (n, 468, 2 or more) in the mean face's frame, weighted so that squared distances of rows
    are the metric.

    :param spreads: (p,) root mean square displacement of each of :data:`PARTS` in the database.
    """
    blocks = []
    for (at, weight), spread in zip(PARTS, spreads, strict=True):
        part = moves[:, list(at), :2].reshape(len(moves), -1)
        blocks.append(part * np.sqrt(weight / part.shape[1]) / spread)
    return np.concatenate(blocks, 1).astype(np.float32)


def shortest_path(costs: F32, frames: F32, stiffness: float = 1.0, keep: int = NEAREST) -> NDArray[np.intp]:
    """(t,) frames for a sequence: little cost, and little way from each to the next.

    :param costs: (t, n) metric of state and frame. :param frames: (n, d) :func:`features` of the database.
    :param keep: so many of the best frames of each state are looked at.
    """
    best = np.argsort(costs, 1, kind="stable")[:, :keep]
    total = np.take_along_axis(costs, best, 1).astype(np.float64)
    came = np.zeros_like(best)
    for t in range(1, len(costs)):
        way = stiffness * ((frames[best[t - 1]][:, None] - frames[best[t]][None]) ** 2).sum(-1)
        through = total[t - 1][:, None] + way
        came[t] = through.argmin(0)
        total[t] += through.min(0)
    path = [int(total[-1].argmin())]
    for t in range(len(costs) - 1, 0, -1):
        path.append(int(came[t, path[-1]]))
    return best[np.arange(len(costs)), path[::-1]]


class RetrieveEngine(FlatEngine):
    """Engine ``map``, and what the recorded frames nearest to the state did besides."""

    name = "retrieve"

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        known = arrays(weights / FILE)
        self._spreads = known["spreads"]
        self._frames = features(unpacked(known, "moves").astype(np.float32), self._spreads)
        self._residuals = unpacked(known, "residuals").reshape(-1, LANDMARKS * 2)
        self._ratios = unpacked(known, "ratios").reshape(len(self._residuals), -1)

    def costs(self, weights: Sequence[F32]) -> F32:
        """(t, n): the metric of states, given by their shapes' weights (52,), and frames."""
        moves = np.stack([self.plane.frame.back(super(RetrieveEngine, self).geometry(w)) for w in weights])
        mine = features(moves, self._spreads)
        return np.asarray(((mine[:, None] - self._frames[None]) ** 2).sum(-1), np.float32)

    def path(self, weights: Sequence[F32]) -> NDArray[np.intp]:
        """The database's frames for a sequence of states, joined by the shortest path."""
        return shortest_path(self.costs(weights), self._frames)

    def shares(self, weights: F32) -> F32:
        """(n,): how much of each frame a single state takes; sums to one."""
        costs = self.costs([weights])[0]
        nearest = np.argsort(costs, kind="stable")[: NEAREST + 1]
        # The first frame that is not taken has no share: none comes in or leaves with a jump.
        edge = max(float(costs[nearest[-1]]), 1e-9)
        share = np.zeros(len(costs), np.float32)
        near = np.maximum(0.0, 1 - costs[nearest[:-1]] / edge) / (costs[nearest[:-1]] / edge + 1 / _SHARP)
        share[nearest[:-1]] = near
        return share / max(float(share.sum()), 1e-9)

    def geometry(self, weights: F32) -> F32:
        plain = super().geometry(weights)
        if not weights.any():
            return plain
        residual = RESIDUAL * (self.shares(weights) @ self._residuals).reshape(LANDMARKS, 2)
        return plain + self.plane.frame.directions(np.c_[residual, np.zeros(LANDMARKS)])

    def ratio(self, weights: F32, displacement: F32) -> F32 | None:
        if not weights.any():
            return None
        tone = combined(self.shares(weights), self._ratios).reshape(*COARSE, 3)
        return np.asarray(cv2.resize(tone, FRAME[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
