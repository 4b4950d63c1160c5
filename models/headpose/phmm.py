"""Parallel hidden Markov models: M left-to-right branches of N states in a loop, learnt without labels.

Each branch becomes a recurrent temporal pattern; from a branch's last state the model goes on to any branch's first
one. EM is hmmlearn's; the zeros of the topology survive it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hmmlearn.hmm import GaussianHMM
from numpy.typing import NDArray

from avatar.models.headpose.tiling import patterns

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

FLOOR = 0.02
"""Least variance of a state, in units of the feature's own: a state never narrows to a single moment."""

RARE = 1e-4
"""Least probability of a way that the topology has."""


class Streams(GaussianHMM):
    """A diagonal Gaussian HMM whose features come in streams, each with a weight on its log-likelihood.

    :param weights: (features,), or None for one each.
    """

    transmat_: F64
    startprob_: F64
    _covars_: F64

    def __init__(self, n_components: int, weights: F64 | None = None, rounds: int = 10, tol: float = 0.01) -> None:
        super().__init__(
            n_components, covariance_type="diag", min_covar=FLOOR, init_params="", params="stmc", n_iter=rounds,
            tol=tol,
            implementation="scaling",
        )  # fmt: skip
        self.weights = weights

    @classmethod
    def of(
        cls, start: F64, transition: F64, means: F64, variances: F64, weights: F64 | None = None, rounds: int = 10
    ) -> Streams:
        """A model to go on from. Means and variances: (states, features)."""
        model = cls(len(start), weights, rounds)
        model.startprob_ = start / start.sum()
        model.transmat_ = transition / transition.sum(1, keepdims=True)
        model.means_ = means.copy()
        model.n_features = means.shape[1]
        model.covars_ = np.maximum(variances, FLOOR)
        return model

    @property
    def variances(self) -> F64:
        """(states, features)."""
        return self._covars_

    def scores(self, x: F64) -> F64:
        """(T, states) log-likelihoods of the rows."""
        m, v = self.means_, self._covars_
        w = np.ones(x.shape[1]) if self.weights is None else self.weights
        constant = (w * (m * m / v + np.log(2 * np.pi * v))).sum(1)
        return -0.5 * ((x * x) @ (w / v).T - 2 * x @ (w * m / v).T + constant)

    def _compute_log_likelihood(self, X: F64) -> F64:
        return self.scores(X)

    def _compute_likelihood(self, X: F64) -> F64:
        # Only how the states compare counts in the scaled passes; unscaled, an outlier's probabilities are all zero.
        found = self.scores(X)
        top = found.max(1, keepdims=True)
        self._taken = float(top.sum())
        return np.exp(np.maximum(found - top, -60.0))

    def _fit_scaling(self, X: F64) -> tuple[Any, ...]:
        frames, log_probability, *rest = super()._fit_scaling(X)
        return (frames, log_probability + self._taken, *rest)

    def _do_mstep(self, stats: dict[str, Any]) -> None:
        allowed, begins = self.transmat_ > 0, self.startprob_ > 0
        super()._do_mstep(stats)
        self._covars_ = np.maximum(self._covars_, FLOOR)
        # No way of the topology dies out: later sequences may need it.
        transition = np.where(allowed, np.maximum(self.transmat_, RARE), 0.0)
        self.transmat_ = transition / transition.sum(1, keepdims=True)
        start = np.where(begins, np.maximum(self.startprob_, RARE), 0.0)
        self.startprob_ = start / start.sum()

    def learn(self, sequences: Sequence[F64]) -> Streams:
        """EM on the sequences, each (T, features)."""
        self.fit(np.concatenate(sequences), [len(s) for s in sequences])
        return self

    def likelihood(self, sequences: Sequence[F64]) -> float:
        """Mean log-likelihood of a row."""
        total = 0.0
        for x in sequences:
            total += float(self.score(x)) + self._taken
        return total / sum(map(len, sequences))


def topology(branches: int, states: int, lasts: float | F64) -> tuple[F64, F64]:
    """(start (S,), transition (S, S)) of the loop; ``lasts``: rows that a state lasts at first, one for all or (S,)."""
    count = branches * states
    stay = 1 - 1 / np.maximum(np.broadcast_to(np.asarray(lasts, np.float64), (count,)), 1.5)
    first = np.arange(count) % states == 0
    transition = np.diag(stay)
    for s in range(count):
        if s % states == states - 1:
            transition[s, first] += (1 - stay[s]) / branches
        else:
            transition[s, s + 1] += 1 - stay[s]
    return first / branches, transition


def decode(model: Streams, sequences: Sequence[F64]) -> list[Ints]:
    """The likeliest state (T,) of each sequence."""
    return [model.predict(x).astype(np.int64) for x in sequences]


def segments(path: Ints, states: int) -> Ints:
    """(n, 3): branch, begin, end of each passage through a branch; a branch that begins again begins a new one."""
    branch, at = path // states, path % states
    new = np.flatnonzero((np.diff(branch) != 0) | (np.diff(at) < 0)) + 1
    begins = np.concatenate([[0], new])
    ends = np.concatenate([new, [len(path)]])
    return np.stack([branch[begins], begins, ends], axis=1)


# --- which patterns there are, and how many -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Found:
    """One modality's patterns for one size, and what speaks for that size."""

    model: Streams
    branches: int
    states: int
    separation: float
    """Nats a row by which a segment's own branch explains it better than the best other one does."""
    likelihood: float
    """Mean log-likelihood of a row of the sequences that were held out."""
    fitness: float


def thinned(sequences: Sequence[F64], by: int) -> list[F64]:
    """Every ``by`` rows as their mean: what is sought in a coarse grid is found in a fraction of the time."""
    return [x[: len(x) // by * by].reshape(-1, by, x.shape[1]).mean(1) for x in sequences if len(x) >= 2 * by]


def explore(
    sequences: Sequence[F64],
    held_out: Sequence[F64],
    states: int,
    span: int,
    random: np.random.Generator,
    most: int = 9,
    least: int = 3,
    dynamic: float = 0.5,
    rows: int | None = None,
    rest: float = 0.0,
    begins: int = 2,
    cycles: int = 3,
    model: Streams | None = None,
    price: float = 2.0,
) -> list[Found]:
    """From too many branches down to few, one at a time the one that is missed least, each time trained again.

    Beginning with too many finds better optima than beginning with the wanted number. Returns one a size.

    :param span: rows that a pattern lasts, about. :param dynamic: weight of the slopes (the second half of the
    features) while pieces are compared. :param rows: that the chosen model is to be trained on, where that is more.
    :param rest: see :func:`avatar.models.headpose.tiling.patterns`. :param begins: beginnings of which the best is
    taken.
    :param cycles: how often three branches are added again and taken away.
    :param model: where to begin, in place of pieces of the sequences. :param price: of a free number, in units of
    BIC's.
    """
    f = sequences[0].shape[1]
    scale = np.ones(f)
    scale[f // 2 :] = dynamic
    if model is None:
        start, transition = topology(most, states, span / states)
        begun = []
        for _ in range(begins):
            begin, left = patterns([s * scale for s in sequences], most, states, span, random, rest)
            means = (begin / scale).reshape(-1, f)
            begun.append(Streams.of(start, transition, means, np.full_like(means, min(1.0, left / f)), rounds=3))
        model = max((each.learn(sequences) for each in begun), key=lambda each: each.likelihood(sequences))
    most = model.n_components // states
    model.n_iter = 3
    model.learn(sequences)
    rows = rows or sum(map(len, sequences))
    found = [_rated(model, most, states, held_out, rows, price)]
    sample = [np.concatenate(sequences)[:1200]]
    sizes = list(range(most - 1, least - 1, -1))
    top = min(most, least + 3)
    for _ in range(cycles):  # up again and down again, which leaves optima that the first way down ended in
        sizes += [-1, *range(top - 1, least - 1, -1)]
    for m in sizes:
        if m < 0:
            while model.n_components < top * states:
                model = with_worst(model, sequences, states, span, random)
                model.n_iter = 3
                model.learn(sequences)
            continue
        have = model.n_components // states
        model = max((without(model, b, states) for b in range(have)), key=lambda each: each.likelihood(sample))
        model.n_iter = 4
        model.learn(sequences)
        found.append(_rated(model, m, states, held_out, rows, price))
    best: dict[int, Found] = {}
    for each in found:
        if each.branches not in best or each.fitness > best[each.branches].fitness:
            best[each.branches] = each
    return [best[m] for m in sorted(best, reverse=True)]


def with_worst(
    model: Streams, sequences: Sequence[F64], states: int, span: int, random: np.random.Generator
) -> Streams:
    """The model and one more branch: a piece that it explains badly."""
    pieces, badness = [], []
    for x in sequences:
        if len(x) < span + 1:
            continue
        scores = model.scores(x)[np.arange(len(x)), model.predict(x)]
        mean = np.convolve(scores, np.ones(span) / span, "valid")
        for begin in range(0, len(mean), max(1, span // 4)):
            pieces.append(x[begin : begin + span])
            badness.append(mean[begin])
    worst = np.argsort(badness)[: max(1, len(badness) // 30)]
    piece = pieces[int(random.choice(worst))]
    means = np.array([part.mean(0) for part in np.array_split(piece, states)])
    count = model.n_components // states + 1
    start, transition = topology(count, states, span / states)
    old = model.n_components
    transition[:old, :old] = 0.7 * model.transmat_ + 0.3 * transition[:old, :old]
    start[:old] = 0.8 * model.startprob_
    return Streams.of(
        start,
        transition,
        np.vstack([model.means_, means]),
        np.vstack([model.variances, np.full_like(means, 0.3)]),
        model.weights,
    )


def without(model: Streams, branch: int, states: int) -> Streams:
    """The model less a branch; the others take over its share of the beginnings."""
    keep = np.arange(model.n_components) // states != branch
    plain_start, plain = topology(int(keep.sum()) // states, states, 4)
    start, transition = model.startprob_[keep], model.transmat_[np.ix_(keep, keep)]
    lost = transition.sum(1) < 1e-9
    transition[lost] = plain[lost]
    if start.sum() < 1e-9:
        start = plain_start
    return Streams.of(start, transition, model.means_[keep], model.variances[keep], model.weights)


def copied(model: Streams) -> Streams:
    """The same again, which further training leaves alone."""
    return Streams.of(model.startprob_, model.transmat_, model.means_, model.variances, model.weights)


def _rated(model: Streams, branches: int, states: int, held_out: Sequence[F64], rows: int, price: float) -> Found:
    kept = copied(model)
    likelihood, apart = kept.likelihood(held_out), separation(kept, held_out, states)
    free = branches * states * (2 * kept.n_features + 1) + branches**2
    cost = price * 0.5 * free * np.log(rows) / rows
    return Found(kept, branches, states, apart, likelihood, likelihood - cost)


def separation(model: Streams, sequences: Sequence[F64], states: int) -> float:
    """Mean over the rows of how much better the own branch is than the best other one along the same course."""
    gained, rows = 0.0, 0
    for x in sequences:
        scores, path = model.scores(x), model.predict(x)
        for branch, begin, end in segments(path, states):
            at, here = path[begin:end] % states, np.arange(begin, end)
            each = [float(scores[here, b * states + at].sum()) for b in range(scores.shape[1] // states)]
            own = each.pop(int(branch))
            gained += own - max(each)
            rows += end - begin
    return gained / max(rows, 1)


def refined(found: Found, sequences: Sequence[F64], by: int, rounds: int = 4) -> Streams:
    """A model of sequences that were thinned ``by``, trained on at the full rate."""
    model = copied(found.model)
    t = model.transmat_.copy()
    stay = np.diag(t).copy()
    leave = (1 - stay) / by
    t *= np.where(stay < 1 - 1e-9, leave / np.maximum(1 - stay, 1e-9), 0.0)[:, None]
    np.fill_diagonal(t, 1 - leave)
    model.transmat_ = t / t.sum(1, keepdims=True)
    model.n_iter = rounds
    return model.learn(sequences)
