"""How many patterns of how many states: two measures after Sargin et al., and what is chosen by them.

*Compactness*: the mean log-likelihood of a frame, which rises with the number M of patterns. *Separation*: the mean
logarithm of how much likelier a segment is under its own pattern than under the next best one, which falls as patterns
come to resemble each other. Both are in nats a frame. M is read off where the two curves balance: where their sum is
largest, each scaled to [0, 1] over the sizes that were tried with the same number of states N. Between numbers of
states, whose scales differ, the likelihood of held-out frames less what each free number costs decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from avatar.models.headpose.phmm import Found


def balance(compactness: Sequence[float], separation: Sequence[float]) -> NDArray[np.float64]:
    """(n,) in [0, 2] for the two curves (n,) over one number of states."""
    return np.sum([_scaled(np.asarray(curve, np.float64)) for curve in (compactness, separation)], axis=0)


def chosen(curve: Mapping[tuple[int, int], Found]) -> Found:
    """The best of sizes (states, branches)."""
    best = []
    for states in sorted({key[0] for key in curve}):
        own = [curve[key] for key in sorted(curve) if key[0] == states]
        share = balance([f.likelihood for f in own], [f.separation for f in own])
        best.append(own[int(share.argmax())])
    return max(best, key=lambda each: each.fitness)


def _scaled(x: NDArray[np.float64]) -> NDArray[np.float64]:
    span = float(np.ptp(x))
    return (x - x.min()) / span if span > 1e-9 else np.zeros_like(x)
