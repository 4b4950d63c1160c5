"""Segmental k-means: sequences cut into pieces, each like one of a few patterns. Where EM begins.

Plain k-means of pieces at any place finds one pattern again and again at several phases. Here each round covers the
sequences without a gap or an overlap, in the cheapest way (dynamic programming over beginnings and lengths), and a
pattern becomes the mean of its pieces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

LENGTHS = (0.5, 0.63, 0.8, 1.0, 1.26, 1.6, 2.0)
"""Lengths of pieces in shares of the usual one."""


class Cuts:
    """Every piece of a sequence (T, f) that a pattern may be: its equal parts' means, by length and beginning."""

    def __init__(self, x: F64, states: int, lengths: Sequence[int]) -> None:
        self.lengths = [n for n in lengths if n <= len(x)]
        self.rows = len(x)
        sums = np.vstack([np.zeros(x.shape[1]), np.cumsum(x, axis=0)])
        squares = np.concatenate([[0.0], np.cumsum((x * x).sum(1))])
        self.means: list[F64] = []
        self._within: list[F64] = []
        self._sizes: list[F64] = []
        for n in self.lengths:
            edges = np.round(np.linspace(0, n, states + 1)).astype(int)
            begin = np.arange(len(x) - n + 1)
            sizes = np.diff(edges).astype(np.float64)
            part = (sums[begin[:, None] + edges[1:]] - sums[begin[:, None] + edges[:-1]]) / sizes[:, None]
            self.means.append(part)
            # What is left of the squares around the parts' own means.
            self._within.append(squares[begin + n] - squares[begin] - (sizes * (part**2).sum(2)).sum(1))
            self._sizes.append(sizes)

    def costs(self, centres: F64) -> list[F64]:
        """For each length (beginnings, patterns): squared distance of the rows from the pattern
        (patterns, states, f)."""
        found = []
        for part, within, sizes in zip(self.means, self._within, self._sizes, strict=True):
            w = np.repeat(np.sqrt(sizes), part.shape[2])
            a = part.reshape(len(part), -1) * w
            c = centres.reshape(len(centres), -1) * w
            found.append(within[:, None] + (a * a).sum(1)[:, None] - 2 * a @ c.T + (c * c).sum(1))
        return found


def tile(cuts: Cuts, centres: F64, restless: F64 | float = 0.0) -> tuple[list[tuple[int, int, int]], float]:
    """The cheapest cover: (pattern, beginning, which length) of each piece, and what it costs.

    Fewer rows than the shortest length may stay uncovered at the end. :param restless: (T,) price of a cut at a row.
    """
    lengths, rows = np.array(cuts.lengths), cuts.rows
    shift = int(lengths.max())
    ending = np.full((len(lengths), rows + 1), np.inf)  # the cheapest piece by where it ends
    which = []
    for i, cost in enumerate(cuts.costs(centres)):
        label = cost.argmin(1)
        which.append(label)
        price = restless[: len(cost)] if isinstance(restless, np.ndarray) else restless
        ending[i, lengths[i] : lengths[i] + len(cost)] = cost[np.arange(len(cost)), label] + price
    total = np.full(rows + 1 + shift, np.inf)
    total[shift] = 0.0
    choice = np.zeros(rows + 1, np.int64)
    for end in range(int(lengths.min()), rows + 1):
        options = total[end - lengths + shift] + ending[:, end]
        choice[end] = options.argmin()
        total[end + shift] = options[choice[end]]
    end = rows
    while end > 0 and not np.isfinite(total[end + shift]):
        end -= 1
    spent = float(total[end + shift])
    found = []
    while end > 0:
        i = int(choice[end])
        begin = end - int(lengths[i])
        found.append((int(which[i][begin]), begin, i))
        end = begin
    return found[::-1], spent


def patterns(
    sequences: Sequence[F64],
    branches: int,
    states: int,
    span: int,
    random: np.random.Generator,
    rest: float = 0.0,
    rounds: int = 6,
) -> tuple[F64, float]:
    """Patterns (branches, states, f), and the mean squared distance of a row that they leave; see :func:`covered`.

    :param rest: how much a pattern should begin where the features are near zero, in rows; gestures begin and end at
        rest.
    """
    prices = [rest * (x * x).sum(1) for x in sequences]
    return covered(sequences, branches, states, span, random, prices, rounds)[:2]


def covered(
    sequences: Sequence[F64],
    branches: int,
    states: int,
    span: int,
    random: np.random.Generator,
    restless: Sequence[F64],
    rounds: int = 6,
) -> tuple[F64, float, list[tuple[int, int, int]]]:
    """Patterns (branches, states, f), the mean squared distance of a row that they leave, and the pieces of the last
    round: (sequence, begin, end).

    :param span: rows that a pattern lasts, about. :param restless: of each sequence (T,), the price of a cut at a row.
    """
    lengths = sorted({max(states, round(span * f)) for f in LENGTHS})
    own = [i for i, x in enumerate(sequences) if len(x) >= lengths[0]]
    cuts = [Cuts(sequences[i], states, lengths) for i in own]
    prices = [restless[i] for i in own]
    flat = np.concatenate([c.means[len(c.means) // 2] for c in cuts])
    chosen = [flat[int(random.integers(len(flat)))]]
    nearest = ((flat - chosen[0]) ** 2).sum((1, 2))
    while len(chosen) < branches:  # k-means++
        chosen.append(flat[int(random.choice(len(flat), p=nearest / nearest.sum()))])
        nearest = np.minimum(nearest, ((flat - chosen[-1]) ** 2).sum((1, 2)))
    centres = np.array(chosen)
    before = cost = np.inf
    pieces: list[tuple[int, int, int]] = []
    for _ in range(rounds):
        sums, counts, cost, pieces = np.zeros_like(centres), np.zeros(branches), 0.0, []
        for number, c, price in zip(own, cuts, prices, strict=True):
            found, spent = tile(c, centres, price)
            cost += spent
            for label, begin, i in found:
                sums[label] += c.means[i][begin]
                counts[label] += 1
                pieces.append((number, begin, begin + c.lengths[i]))
        used = counts > 0
        centres[used] = sums[used] / counts[used, None, None]
        for k in np.flatnonzero(~used):
            centres[k] = flat[int(random.integers(len(flat)))]
        if before - cost < 1e-3 * cost:
            break
        before = cost
    return centres, cost / sum(c.rows for c in cuts), pieces
