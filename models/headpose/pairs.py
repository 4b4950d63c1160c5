"""Stage two: recurrent pairs of a prosody pattern and a gesture, as one multistream parallel HMM with tied states.

A passage through a prosody pattern b brings one of the gestures g with it, chosen by ``choice[b, g]``; both go through
their N states in step. State (b, g, k) emits the prosody of (b, k) and the gesture of (g, k): all pairs share their
patterns' Gaussians (tied states, Young 1992), so that a rare pair needs no data of its own. With the gesture summed out
this is an ordinary parallel HMM over (b, k): what the live decoder runs on the sound alone.

After Sargin, Yemez, Erzin & Tekalp (TPAMI 2008), section on joint analysis; the tying is ours. Forward-backward
(Rabiner 1989) uses the structure: some operations a state and row, not one for each two states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from avatar.analysis.viterbi import FixedLagViterbi
from avatar.models.headpose.phmm import FLOOR, RARE

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]
_compiled = numba.njit(cache=True)

FAINT = 60.0
"""Nats below the best state at which a likelihood ends: an outlier must not make all of them zero."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The joint model: B prosody patterns, G gestures, N states each."""

    start: F64
    """(B,) probabilities of the first pattern."""
    follow: F64
    """(B, B) which pattern follows which, rows sum to 1."""
    choice: F64
    """(B, G) which gesture goes with a pattern, rows sum to 1."""
    stay: F64
    """(B, N) probability to stay in a state for one more row."""
    heard_mean: F64
    """(B, N, P)."""
    heard_var: F64
    seen_mean: F64
    """(G, N, Q)."""
    seen_var: F64

    @property
    def numbers(self) -> int:
        """Free numbers."""
        b, g = self.choice.shape
        return int(2 * self.heard_mean.size + 2 * self.seen_mean.size + self.stay.size + b * (b + g))

    def transition(self) -> tuple[F64, F64]:
        """(start (S,), transition (S, S)) of the plain HMM over S = B * N states that the prosody alone follows."""
        b, n = self.stay.shape
        matrix = np.diag(self.stay.ravel())
        start = np.zeros(b * n)
        start[::n] = self.start
        for s in range(b * n):
            leave = 1 - self.stay.ravel()[s]
            if s % n == n - 1:
                matrix[s, ::n] += leave * self.follow[s // n]
            else:
                matrix[s, s + 1] += leave
        return start, matrix


@dataclass(frozen=True, eq=False)
class _Counts:
    start: F64
    follow: F64
    choice: F64
    stay: F64
    leave: F64


def gaussians(x: F64, mean: F64, var: F64) -> F64:
    """(T, f) under (K, N, f) to log densities (T, K, N)."""
    m, v = mean.reshape(-1, mean.shape[2]), var.reshape(-1, var.shape[2])
    constant = (m * m / v + np.log(2 * np.pi * v)).sum(1)
    found = -0.5 * ((x * x) @ (1 / v).T - 2 * x @ (m / v).T + constant)
    return np.asarray(found.reshape(len(x), *mean.shape[:2]))


def _relative(scores: F64) -> tuple[F64, float]:
    top = scores.max(axis=(1, 2), keepdims=True)
    return np.exp(np.maximum(scores - top, -FAINT)), float(top.sum())


@_compiled
def _forward(ep, eg, start, follow, choice, stay):  # type: ignore[no-untyped-def]  # numba types it
    """Scaled forward pass: (alpha (T, B, G, N), scales (T,))."""
    rows, many, n = ep.shape
    kinds = eg.shape[1]
    alpha = np.zeros((rows, many, kinds, n))
    scale = np.zeros(rows)
    into = start.copy()
    for t in range(rows):
        if t > 0:
            into[:] = 0.0
            for b in range(many):
                out = 0.0
                for g in range(kinds):
                    out += alpha[t - 1, b, g, n - 1]
                out *= 1 - stay[b, n - 1]
                for c in range(many):
                    into[c] += out * follow[b, c]
        total = 0.0
        for b in range(many):
            for g in range(kinds):
                for k in range(n):
                    value = 0.0
                    if t > 0:
                        value = alpha[t - 1, b, g, k] * stay[b, k]
                        if k > 0:
                            value += alpha[t - 1, b, g, k - 1] * (1 - stay[b, k - 1])
                    if k == 0:
                        value += into[b] * choice[b, g]
                    value *= ep[t, b, k] * eg[t, g, k]
                    alpha[t, b, g, k] = value
                    total += value
        scale[t] = total
        alpha[t] /= total
    return alpha, scale


@_compiled
def _backward(alpha, scale, ep, eg, follow, choice, stay):  # type: ignore[no-untyped-def]  # numba types it
    """Posteriors (T, B, N) and (T, G, N), and the expected counts of every way."""
    rows, many, kinds, n = alpha.shape
    heard, seen = np.zeros((rows, many, n)), np.zeros((rows, kinds, n))
    begun, followed = np.zeros(many), np.zeros((many, many))
    chosen, stayed, left = np.zeros((many, kinds)), np.zeros((many, n)), np.zeros((many, n))
    beta, ahead = np.ones((many, kinds, n)), np.zeros((many, kinds, n))
    entry, onward, out = np.zeros(many), np.zeros(many), np.zeros(many)
    for t in range(rows - 1, -1, -1):
        for b in range(many):
            for g in range(kinds):
                for k in range(n):
                    p = alpha[t, b, g, k] * beta[b, g, k]
                    heard[t, b, k] += p
                    seen[t, g, k] += p
                    if t == 0:
                        begun[b] += p
                        if k == 0:
                            chosen[b, g] += p
        if t == 0:
            break
        entry[:] = 0.0
        for b in range(many):
            out[b] = 0.0
            for g in range(kinds):
                for k in range(n):
                    ahead[b, g, k] = ep[t, b, k] * eg[t, g, k] * beta[b, g, k] / scale[t]
                entry[b] += choice[b, g] * ahead[b, g, 0]
                out[b] += alpha[t - 1, b, g, n - 1] * (1 - stay[b, n - 1])
        for b in range(many):
            onward[b] = 0.0
            for c in range(many):
                onward[b] += follow[b, c] * entry[c]
                followed[b, c] += out[b] * follow[b, c] * entry[c]
        for c in range(many):
            into = 0.0
            for b in range(many):
                into += out[b] * follow[b, c]
            for g in range(kinds):
                chosen[c, g] += into * choice[c, g] * ahead[c, g, 0]
        for b in range(many):
            for g in range(kinds):
                for k in range(n):
                    before = alpha[t - 1, b, g, k]
                    on = stay[b, k] * ahead[b, g, k]
                    off = (1 - stay[b, k]) * (ahead[b, g, k + 1] if k < n - 1 else onward[b])
                    stayed[b, k] += before * on
                    left[b, k] += before * off
                    beta[b, g, k] = on + off
    return heard, seen, begun, followed, chosen, stayed, left


@_compiled
def _viterbi(lp, lg, start, follow, choice, stay, leave):  # type: ignore[no-untyped-def]  # numba types it
    """The likeliest (b, g, k) of each row, (T, 3). All arguments are logarithms."""
    rows, many, n = lp.shape
    kinds = lg.shape[1]
    best, new = np.full((many, kinds, n), -1e300), np.zeros((many, kinds, n))
    back = np.zeros((rows, many, kinds, n), np.int32)  # -1 stayed, -2 from the state before, else the gesture's end
    for b in range(many):
        for g in range(kinds):
            best[b, g, 0] = start[b] + choice[b, g] + lp[0, b, 0] + lg[0, g, 0]
    enter, whence = np.zeros(many), np.zeros(many, np.int32)
    for t in range(1, rows):
        enter[:] = -1e300
        for b in range(many):
            top = 0
            for g in range(1, kinds):
                if best[b, g, n - 1] > best[b, top, n - 1]:
                    top = g
            for c in range(many):
                value = best[b, top, n - 1] + leave[b, n - 1] + follow[b, c]
                if value > enter[c]:
                    enter[c] = value
                    whence[c] = b * kinds + top
        for b in range(many):
            for g in range(kinds):
                for k in range(n):
                    value, origin = best[b, g, k] + stay[b, k], -1
                    if k > 0:
                        other = best[b, g, k - 1] + leave[b, k - 1]
                        if other > value:
                            value, origin = other, -2
                    else:
                        other = enter[b] + choice[b, g]
                        if other > value:
                            value, origin = other, whence[b]
                    new[b, g, k] = value + lp[t, b, k] + lg[t, g, k]
                    back[t, b, g, k] = origin
        best[:] = new
    path = np.zeros((rows, 3), np.int64)
    at = int(best.argmax())
    b, g, k = at // (kinds * n), at // n % kinds, at % n
    for t in range(rows - 1, -1, -1):
        path[t, 0], path[t, 1], path[t, 2] = b, g, k
        origin = back[t, b, g, k]
        if origin == -2:
            k -= 1
        elif origin >= 0:
            b, g, k = origin // kinds, origin % kinds, n - 1
    return path


def _steps(model: Pairs, x: F64, both: bool) -> tuple[tuple[Any, ...], float]:
    """A sequence's (forward, backward) arguments and the log-likelihood that is taken out of them."""
    p = model.heard_mean.shape[2]
    ep, taken = _relative(gaussians(x[:, :p], model.heard_mean, model.heard_var))
    if both:
        eg, more = _relative(gaussians(x[:, p:], model.seen_mean, model.seen_var))
        return (ep, eg, model.choice), taken + more
    return (ep, np.ones((len(x), 1, ep.shape[2])), np.ones((len(model.start), 1))), taken


def likelihood(model: Pairs, sequences: Sequence[F64], both: bool = True) -> float:
    """Mean log-likelihood of a row (P + Q,), or of its prosody alone."""
    total = 0.0
    for x in sequences:
        (ep, eg, choice), taken = _steps(model, x, both)
        _, scale = _forward(ep, eg, model.start, model.follow, choice, model.stay)
        total += taken + float(np.log(scale).sum())
    return total / sum(map(len, sequences))


def heard_posterior(model: Pairs, x: F64) -> F64:
    """(T, B, N): the state at each row by the prosody of all rows."""
    (ep, eg, choice), _ = _steps(model, x, both=False)
    alpha, scale = _forward(ep, eg, model.start, model.follow, choice, model.stay)
    return np.asarray(_backward(alpha, scale, ep, eg, model.follow, choice, model.stay)[0])


def given_sound(model: Pairs, x: F64) -> float:
    """Mean log-likelihood of the gesture features in rows (T, P + Q), given all of the prosody and nothing of the
    gestures before: what a model that draws heads from sound is worth."""
    weight = np.einsum("tbk,bg->tgk", heard_posterior(model, x), model.choice)
    scores = gaussians(x[:, model.heard_mean.shape[2] :], model.seen_mean, model.seen_var)
    return float(logsumexp(scores, b=np.maximum(weight, 1e-12), axis=(1, 2)).mean())


def explained(model: Pairs, x: F64, axes: int = 3) -> tuple[float, float]:
    """(what is left, what there was) of the squares of the first ``axes`` gesture features in rows (T, P + Q) when they
    are foretold by the sound alone: by the mean over the gestures that may go with it."""
    p = model.heard_mean.shape[2]
    path = decode(model, x, both=False)
    usual = np.einsum("bg,gkq->bkq", model.choice, model.seen_mean)[path[:, 0], path[:, 2], :axes]
    y = x[:, p : p + axes]
    return float(((y - usual) ** 2).sum()), float((y**2).sum())


def agreement(model: Pairs, sequences: Sequence[F64], lag: int) -> float:
    """Share of rows on which a decoder with a fixed lag names the same pattern as one that knows the whole sound."""
    p, states = model.heard_mean.shape[2], model.stay.shape[1]
    start, transition = model.transition()
    same = rows = 0
    for x in sequences:
        scores = gaussians(x[:, :p], model.heard_mean, model.heard_var).reshape(len(x), -1)
        decoder = FixedLagViterbi(start, transition, lag)
        found = np.array([decoder.step(row) for row in scores])[lag:] // states
        same += int((found == decode(model, x, both=False)[: len(found), 0]).sum())
        rows += len(found)
    return same / max(rows, 1)


def decode(model: Pairs, x: F64, both: bool = True) -> Ints:
    """(T, 3): pattern, gesture and state of the likeliest path, by both streams or by the prosody alone (gesture 0)."""
    p = model.heard_mean.shape[2]
    lp = gaussians(x[:, :p], model.heard_mean, model.heard_var)
    lg = gaussians(x[:, p:], model.seen_mean, model.seen_var) if both else np.zeros((len(x), 1, lp.shape[2]))
    choice = model.choice if both else np.ones((len(model.start), 1))
    logs = [np.log(np.maximum(a, 1e-300)) for a in (model.start, model.follow, choice, model.stay, 1 - model.stay)]
    return np.asarray(_viterbi(lp, lg, *logs))


def train(
    model: Pairs,
    sequences: Sequence[F64],
    rounds: int = 12,
    least: float = 1.0,
    heard: bool = True,
    tolerance: float = 1e-3,
) -> Pairs:
    """EM.

    :param least: rows that a state lasts at least on average: patterns must not shrink to syllables. :param heard:
        False = the prosody's part is left as it is, gestures and choices alone are learnt.
    """
    before = -np.inf
    for _ in range(rounds):
        new, reached = _round(model, sequences)
        new = replace(new, stay=np.maximum(new.stay, 1 - 1 / max(least, 1.0)))
        if not heard:
            new = replace(
                new, start=model.start, follow=model.follow, stay=model.stay, heard_mean=model.heard_mean,
                heard_var=model.heard_var,
            )  # fmt: skip
        model = new
        if reached - before < tolerance:
            break
        before = reached
    return model


def _round(model: Pairs, sequences: Sequence[F64]) -> tuple[Pairs, float]:
    counts = [np.zeros_like(a) for a in (model.start, model.follow, model.choice, model.stay, model.stay)]
    sums = [np.zeros((*m.shape[:2], 2 * m.shape[2] + 1)) for m in (model.heard_mean, model.seen_mean)]
    p = model.heard_mean.shape[2]
    total = 0.0
    for x in sequences:
        (ep, eg, choice), taken = _steps(model, x, both=True)
        alpha, scale = _forward(ep, eg, model.start, model.follow, choice, model.stay)
        heard, seen, *found = _backward(alpha, scale, ep, eg, model.follow, choice, model.stay)
        total += taken + float(np.log(scale).sum())
        for have, new in zip(counts, found, strict=True):
            have += new
        for have, gamma, part in ((sums[0], heard, x[:, :p]), (sums[1], seen, x[:, p:])):
            rows = np.hstack([np.ones((len(x), 1)), part, part * part])
            have += (gamma.reshape(len(x), -1).T @ rows).reshape(have.shape)
    begun, followed, chosen, stayed, left = counts
    gaussians = []
    for have, mean, var in (
        (sums[0], model.heard_mean, model.heard_var),
        (sums[1], model.seen_mean, model.seen_var),
    ):
        f = mean.shape[2]
        weight = have[..., :1]
        safe = np.maximum(weight, 1e-6)
        m = np.where(weight > 2, have[..., 1 : f + 1] / safe, mean)
        v = np.where(weight > 2, have[..., f + 1 :] / safe - m * m, var)
        gaussians += [m, np.maximum(v, FLOOR)]
    return (
        replace(
            model,
            start=_shares(begun),
            follow=_shares(followed),
            choice=_shares(chosen),
            stay=np.clip(stayed / np.maximum(stayed + left, 1e-9), 0.05, 0.999),
            heard_mean=gaussians[0],
            heard_var=gaussians[1],
            seen_mean=gaussians[2],
            seen_var=gaussians[3],
        ),
        total / sum(map(len, sequences)),
    )


def _shares(counts: F64) -> F64:
    shares = np.maximum(counts / np.maximum(counts.sum(-1, keepdims=True), 1e-12), RARE)
    return np.asarray(shares / shares.sum(-1, keepdims=True))
