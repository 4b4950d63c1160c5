"""Where stage two begins: from the patterns that stage one found in each modality alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from avatar.analysis.head_features import FEATURES
from avatar.models.headpose import phmm
from avatar.models.headpose.clips import HZ
from avatar.models.headpose.pairs import Pairs
from avatar.models.headpose.tiling import covered

if TYPE_CHECKING:
    from avatar.models.headpose.learn import StageOne

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]
N = len(FEATURES)
LEAST_PASSAGES = 4


SPAN_S = 0.45
"""Seconds that a piece of voice and head lasts, about."""
SIZES = ((6, 5), (8, 5), (7, 5), (8, 6))
"""Groups of sounds and of motions, in turn."""
TRIES = 12
STATES = 6
"""Of a piece."""
REST = 1.0
"""How much a piece should begin and end where the head is at rest, in rows of the coarse grid."""
VALLEY, LOW = 6.0, 0.4
"""The same for where the voice has no prominence: pitch and level together less than ``LOW``, in deviations."""


def led_by_sound(
    sequences: Sequence[F64], prosody: StageOne, gesture: StageOne, random: np.random.Generator
) -> Iterator[Pairs]:
    """Joint models to train from sequences (T, 12), both modalities, cut into passages through stage one's prosody
    patterns: what the head did in each is the one of stage one's gestures that lasts longest in it, or one of so many
    groups of the passages' motions."""
    passages = _passages(sequences, prosody, gesture)
    yield from _led_by_sound(passages, None, prosody, random)
    for kinds in (gesture.branches, gesture.branches + 2):
        yield from _led_by_sound(passages, kinds, prosody, random)


def in_pieces(
    sequences: Sequence[F64], coarse: Sequence[F64], thin: int, random: np.random.Generator
) -> Iterator[Pairs]:
    """The same where stage one's patterns are syllables: both modalities are cut together, between accents and at
    moments where the head is at rest, so that a piece holds one accent or none and the gesture that goes with it;
    sounds and motions of the pieces are then grouped each for themselves. ``coarse``: sequences, thinned ``thin``
    times."""
    span = round(SPAN_S * HZ / thin)
    prices = [_restless(x) for x in coarse]
    for attempt in range(TRIES):
        many, kinds = SIZES[attempt % len(SIZES)]
        if sum(map(len, coarse)) < 4 * many * span:
            continue
        pieces = covered(coarse, many, STATES, span, random, prices)[2]
        yield from _grouped(sequences, [(i, thin * b, thin * e) for i, b, e in pieces], many, kinds, STATES, random)


def _restless(x: F64) -> F64:
    """(T,) what a cut costs at each row (T, 12)."""
    prominence = x[:, 0] * (x[:, 2] > 0) + x[:, 2]
    return np.asarray(VALLEY * np.maximum(0, prominence - LOW) ** 2 + REST * (x[:, N:] ** 2).sum(1))


def _led_by_sound(
    passages: tuple[F64, Ints, Ints], kinds: int | None, prosody: StageOne, random: np.random.Generator
) -> Iterator[Pairs]:
    shapes, heard, labels = passages
    states = prosody.states
    if len(shapes) < max(LEAST_PASSAGES, 2 * (kinds or 1)):
        return
    if kinds is not None:
        labels = _groups(shapes, kinds, random)
    own = np.unique(labels)
    mean, var = _shapes(shapes, np.searchsorted(own, labels), len(own))
    choice = np.full((prosody.branches, len(own)), 0.5)
    np.add.at(choice, (heard, np.searchsorted(own, labels)), 1)
    alone = prosody.model
    ways = alone.transmat_[states - 1 :: states, ::states] + phmm.RARE
    begin = alone.startprob_[::states] + phmm.RARE
    yield Pairs(
        start=begin / begin.sum(),
        follow=ways / ways.sum(1, keepdims=True),
        choice=choice / choice.sum(1, keepdims=True),
        stay=np.clip(np.diag(alone.transmat_).reshape(-1, states), 0.05, 0.999),
        heard_mean=alone.means_.reshape(-1, states, N),
        heard_var=alone.variances.reshape(-1, states, N),
        seen_mean=mean,
        seen_var=var,
    )


def _grouped(
    sequences: Sequence[F64],
    pieces: Sequence[tuple[int, int, int]],
    many: int,
    kinds: int,
    states: int,
    random: np.random.Generator,
) -> Iterator[Pairs]:
    if len(pieces) < 3 * max(many, kinds):
        return
    parts = np.array(
        [[part.mean(0) for part in np.array_split(sequences[i][begin:end], states)] for i, begin, end in pieces]
    )
    heard, seen = _groups(parts[:, :, :N], many, random), _groups(parts[:, :, N:], kinds, random)
    choice, follow = np.full((many, kinds), 0.5), np.full((many, many), 0.5)
    np.add.at(choice, (heard, seen), 1)
    next_to = [a[0] == b[0] for a, b in itertools.pairwise(pieces)]
    np.add.at(follow, (heard[:-1][next_to], heard[1:][next_to]), 1)
    lasts = np.array([end - begin for _, begin, end in pieces], np.float64)
    usual = np.array([lasts[heard == b].mean() for b in range(many)])
    sound, motion = _shapes(parts[:, :, :N], heard, many), _shapes(parts[:, :, N:], seen, kinds)
    yield Pairs(
        start=np.full(many, 1 / many),
        follow=follow / follow.sum(1, keepdims=True),
        choice=choice / choice.sum(1, keepdims=True),
        stay=np.repeat(1 - states / np.maximum(usual, states + 1)[:, None], states, axis=1),
        heard_mean=sound[0],
        heard_var=sound[1],
        seen_mean=motion[0],
        seen_var=motion[1],
    )


def _groups(shapes: F64, count: int, random: np.random.Generator) -> Ints:
    flat = shapes.reshape(len(shapes), -1)
    seed = int(random.integers(1 << 30))
    return np.asarray(KMeans(count, n_init=4, random_state=seed).fit_predict(flat), np.int64)


def _shapes(shapes: F64, labels: Ints, count: int) -> tuple[F64, F64]:
    """Mean and variance (count, states, features) of each group."""
    mean = np.array([shapes[labels == k].mean(0) for k in range(count)])
    return mean, np.array([shapes[labels == k].var(0) for k in range(count)]) + 0.1


def _passages(sequences: Sequence[F64], prosody: StageOne, gesture: StageOne) -> tuple[F64, Ints, Ints]:
    """Of each passage through a prosody pattern: the head's course in as many parts as there are states
    (n, states, features), the pattern (n,), and stage one's gesture (n,)."""
    shapes, heard, labels = [], [], []
    for x in sequences:
        path = phmm.decode(prosody.model, [x[:, :N]])[0]
        seen = phmm.decode(gesture.model, [x[:, N:]])[0] // gesture.states
        for branch, begin, end in phmm.segments(path, prosody.states):
            if end - begin >= prosody.states:
                shapes.append([part.mean(0) for part in np.array_split(x[begin:end, N:], prosody.states)])
                heard.append(int(branch))
                labels.append(int(np.bincount(seen[begin:end]).argmax()))
    return np.array(shapes), np.array(heard, np.int64), np.array(labels, np.int64)


def slower(model: Pairs, by: float) -> Pairs:
    """The same for sequences in which everything takes ``by`` times as many rows."""
    return replace(model, stay=1 - np.clip((1 - model.stay) / by, 1e-3, 0.95))
