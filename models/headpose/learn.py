"""From clips to a :class:`avatar.analysis.head_hmm.HeadModel`, in two stages after Sargin et al. (TPAMI 2008).

Stage one: prosody and gesture, each alone, become recurrent patterns (:mod:`avatar.models.headpose.phmm`). Stage two:
the pairs of patterns that recur become branches of a multistream model, trained on both streams together. What the live
decoder needs besides is counted: how long states last, and which pair it was where the prosody alone says which.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avatar.analysis.head_features import FEATURES
from avatar.analysis.head_hmm import HeadModel, HmmHead
from avatar.core.types import freeze
from avatar.errors import UsageError
from avatar.models.headpose import phmm
from avatar.models.headpose.clips import HZ, Clip, gestures, posture

F64 = NDArray[np.float64]
Progress = Callable[[int, int], None]

LEAST_SECONDS = 8.0
"""Of clips, below which nothing recurs that could be learnt."""
THIN = 3
"""The sizes are sought at a third of the rate."""
PROSODY_SPANS, GESTURE_SPANS = (0.6, 0.5), (0.5, 0.6)
"""Seconds that a pattern lasts, about: where the search begins, in turn."""
EXPLORED_SECONDS = 100.0
MOST_PAIRS = 10
LEAD = 12
"""Hops by which a gesture may begin before the prosody pattern that it belongs to."""
COVER = 0.9
"""Share of the time that the recurrent pairs must cover; rarer pairs are left out."""


@dataclass(frozen=True, eq=False)
class StageOne:
    """One modality's patterns."""

    model: phmm.Streams
    branches: int
    states: int
    curve: tuple[tuple[float, ...], ...]
    """(branches, states, separation, likelihood, fitness) of every size that was tried."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """All that a training made: the model, and what the judge looks into."""

    model: HeadModel
    prosody: StageOne
    gesture: StageOne
    joint: phmm.Streams
    """Over prosody and gesture together, in units of :attr:`scale`."""
    states: int
    """Of a branch of the joint model."""
    centre: F64
    """(12,) what is taken from prosody and gesture features before they are divided by ``scale`` (12,)."""
    scale: F64

    def rows(self, clip: Clip) -> F64:
        """(T, 12) normalised features of a clip: prosody, then gesture."""
        return (_raw(clip) - self.centre) / self.scale

    def joint_branches(self, clip: Clip) -> NDArray[np.int64]:
        """(T,) the pair at each row, from both streams."""
        return phmm.decode(self.joint, [self.rows(clip)])[0] // self.states


def learn(clips: Sequence[Clip], *, seed: int = 0, progress: Progress | None = None) -> HeadModel:
    """A head model of one or more people's clips; a few minutes of one person take some twenty seconds.

    The same clips and seed give the same model. Raises UsageError where the clips are too short or the head never
    moves.
    """
    return study(clips, seed=seed, progress=progress).model


def study(
    clips: Sequence[Clip],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    tries: int = 3,
    sizes: Sequence[int] = (6, 4),
) -> Learnt:
    """:func:`learn` with everything that it made.

    :param tries: searches in each modality and number of states. :param sizes: numbers of states of a branch to try.
    """
    tell = progress or (lambda done, of: None)
    steps = 2 * tries + 4
    seconds = sum(len(c.pose) for c in clips) / HZ
    if seconds < LEAST_SECONDS:
        raise UsageError(f"{seconds:.0f} s of a talking head: give at least {LEAST_SECONDS:.0f} s, better some minutes")
    rows = [_raw(clip) for clip in clips]
    centre, scale = _normal(rows)
    normal = [(x - centre) / scale for x in rows]
    n = len(FEATURES)
    random = np.random.default_rng((seed, 0x5A26))
    prosody = _stage_one(
        [x[:, :n] for x in normal], PROSODY_SPANS, 1.0, 2.0, tries, sizes, random, lambda i: tell(i, steps)
    )
    gesture = _stage_one(
        [x[:, n:] for x in normal], GESTURE_SPANS, 3.0, 1.0, tries, sizes, random, lambda i: tell(tries + i, steps)
    )
    joint, states = _stage_two(normal, prosody, gesture, random)
    tell(2 * tries + 2, steps)
    curves = np.array([(0.0, *row) for row in prosody.curve] + [(1.0, *row) for row in gesture.curve], np.float32)
    model = _counted(clips, normal, gesture, joint, states, centre, scale, curves)
    model = replace(model, gain=freeze(_gain(model, clips)))
    tell(steps, steps)
    return Learnt(model, prosody, gesture, joint, states, centre, scale)


def _raw(clip: Clip) -> F64:
    return np.hstack([clip.prosody.astype(np.float64), gestures(clip.pose)])


def _normal(rows: Sequence[F64]) -> tuple[F64, F64]:
    """Centre and scale of the features. The gestures' middle is the posture, 0."""
    x = np.concatenate(rows)
    n = len(FEATURES)
    centre, scale = x.mean(0), x.std(0)
    centre[n:] = 0.0
    if scale[n : n + 3].max() < 0.1:
        raise UsageError("the head does not move in these clips; a model of it would be a still head")
    # An axis that hardly moves is mostly the tracker's noise: it must not count as much as the others.
    scale[n:] = np.maximum(
        scale[n:], np.tile([0.35 * scale[n : n + 3].max(), 0.35 * scale[n + 3 :].max()], (3, 1)).T.ravel()
    )
    return centre, np.maximum(scale, 1e-3)


def _stage_one(
    sequences: Sequence[F64],
    spans: Sequence[float],
    calm: float,
    price: float,
    tries: int,
    sizes: Sequence[int],
    random: np.random.Generator,
    tell: Callable[[int], None],
) -> StageOne:
    """Patterns of one modality: the best size and search by fitness."""
    coarse = phmm.thinned(sequences, THIN)
    seen, later = _parts(coarse)
    most = int(np.clip(sum(map(len, seen)) / 60, 4, 9))
    best: phmm.Found | None = None
    curve: dict[tuple[int, int], phmm.Found] = {}
    for attempt in range(tries):
        states = sizes[attempt % len(sizes)]
        span = round(spans[(attempt // len(sizes)) % len(spans)] * HZ / THIN)
        for found in phmm.explore(
            seen, later or seen, states, span, random, most, 3, 0.3, sum(map(len, coarse)), calm, price=price
        ):
            key = (found.states, found.branches)
            if key not in curve or found.fitness > curve[key].fitness:
                curve[key] = found
            if best is None or found.fitness > best.fitness:
                best = found
        tell(attempt + 1)
    assert best is not None
    ordered = [curve[key] for key in sorted(curve)]
    table = tuple((f.branches, f.states, f.separation, f.likelihood, f.fitness) for f in ordered)
    return StageOne(phmm.refined(best, sequences, THIN), best.branches, best.states, table)


def _stage_two(
    sequences: Sequence[F64], prosody: StageOne, gesture: StageOne, random: np.random.Generator
) -> tuple[phmm.Streams, int]:
    """The multistream model of recurrent pairs, and the states of its branches."""
    n = len(FEATURES)
    heard = phmm.decode(prosody.model, [x[:, :n] for x in sequences])
    seen = phmm.decode(gesture.model, [x[:, n:] for x in sequences])
    pieces: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    time: Counter[tuple[int, int]] = Counter()
    for number, (p, g) in enumerate(zip(heard, seen, strict=True)):
        for branch, begin, end in phmm.segments(p, prosody.states):
            with_it = np.bincount(g[begin:end] // gesture.states, minlength=gesture.branches)
            pair = (int(branch), int(with_it.argmax()))
            pieces.setdefault(pair, []).append((number, int(begin), int(end)))
            time[pair] += int(end - begin)
    states = prosody.states
    kept: list[tuple[int, int]] = []
    covered = 0
    for pair, hops in time.most_common():
        often = [p for p in pieces[pair] if p[2] - p[1] >= states]
        if len(often) < 2 or len(kept) >= MOST_PAIRS or covered > COVER * sum(time.values()):
            continue
        kept.append(pair)
        covered += hops
    means, variances, lasts = [], [], []
    for pair in kept:
        parts: list[list[F64]] = [[] for _ in range(states)]
        for number, begin, end in pieces[pair]:
            if end - begin >= states:
                for k, part in enumerate(np.array_split(sequences[number][begin:end], states)):
                    parts[k].append(part)
        for rows in parts:
            x = np.concatenate(rows)
            means.append(x.mean(0))
            variances.append(x.var(0) + 0.05)
            lasts.append(len(x) / len(rows))
    # The pairs are found in a coarse grid as well, where some turn out to be one, and then trained at the full rate.
    start, transition = phmm.topology(len(kept), states, np.array(lasts) / THIN)
    begin = phmm.Streams.of(start, transition, np.array(means), np.array(variances))
    coarse = phmm.thinned(sequences, THIN)
    searched, later = _parts(coarse)
    span = round(PROSODY_SPANS[0] * HZ / THIN)
    count = sum(map(len, coarse))
    found = [
        each
        for _ in range(2)
        for each in phmm.explore(
            searched, later or searched, states, span, random, least=min(3, len(kept)), rows=count, cycles=2,
            model=phmm.copied(begin),
        )
    ]  # fmt: skip
    best = max(found, key=lambda each: each.fitness)
    return phmm.refined(best, sequences, THIN), states


def _parts(thin: Sequence[F64]) -> tuple[list[F64], list[F64]]:
    """What is searched in, and what sizes are judged on: every clip's first and second part, of long ones not more
    than enough."""
    rows = int(EXPLORED_SECONDS * HZ / THIN)
    share = min(1.0, 1.5 * rows / sum(map(len, thin)))
    seen = [x[: int(0.67 * share * len(x))] for x in thin]
    rest = [x[int(0.67 * share * len(x)) : int(share * len(x))] for x in thin]
    return [x for x in seen if len(x) > 12], [x for x in rest if len(x) > 6]


def _counted(
    clips: Sequence[Clip],
    sequences: Sequence[F64],
    gesture: StageOne,
    joint: phmm.Streams,
    states: int,
    centre: F64,
    scale: F64,
    curves: NDArray[np.float32],
) -> HeadModel:
    """The live model: in degrees, with durations, choices and postures as they were."""
    n = len(FEATURES)
    branches, kinds = joint.n_components // states, gesture.branches
    alone = phmm.Streams.of(joint.startprob_, joint.transmat_, joint.means_[:, :n], joint.variances[:, :n])
    heard = phmm.decode(alone, [x[:, :n] for x in sequences])
    seen = phmm.decode(gesture.model, [x[:, n:] for x in sequences])
    lasts: list[list[int]] = [[] for _ in range(gesture.model.n_components)]
    choice = np.zeros((branches, kinds + 1))
    offsets: dict[tuple[int, int], list[int]] = {}
    for h, g in zip(heard, seen, strict=True):
        edges = np.concatenate([[0], np.flatnonzero(np.diff(g)) + 1, [len(g)]])
        for begin, end in itertools.pairwise(edges):  # the first and the last are cut off
            lasts[g[begin]].append(int(end - begin))
        passages = phmm.segments(h, states)
        made = phmm.segments(g, gesture.states)[1:]
        # Each gesture belongs to the passage that is on a little after it began: heads may lead.
        where = np.searchsorted(passages[:, 1], made[:, 1] + LEAD, side="right") - 1
        for (kind, begin, _), index in zip(made, where, strict=True):
            branch, began, _ = passages[index]
            offsets.setdefault((int(branch), int(kind)), []).append(int(begin - began))
            choice[branch, kind] += 1
        counts = np.bincount(where, minlength=len(passages))
        for (branch, _, _), count in zip(passages, counts, strict=True):
            choice[branch, kinds] += count == 0
    stay = 1 / np.maximum(1 - np.diag(gesture.model.transmat_), 1e-3)
    mean = np.array([np.mean(x) if len(x) > 2 else s for x, s in zip(lasts, stay, strict=True)])
    spread = np.array([np.std(x) if len(x) > 2 else 0.4 * m for x, m in zip(lasts, mean, strict=True)])
    offset = np.array([[np.median(offsets.get((b, g), [0])) for g in range(kinds)] for b in range(branches)])
    slow = np.concatenate([posture(c.pose) for c in clips])
    moves = np.concatenate([np.diff(posture(c.pose), axis=0) for c in clips]) * HZ
    sd = slow.std(0)
    # A motion of one frequency f has a speed of 2 pi f times its deviation.
    seconds = np.clip(2 * np.pi * sd / np.maximum(moves.std(0), 1e-3) / 2, 1.0, 8.0)
    return HeadModel(
        branch=np.repeat(np.arange(branches), states),
        start=joint.startprob_,
        transition=joint.transmat_,
        prosody_mean=_f32(joint.means_[:, :n] * scale[:n] + centre[:n]),
        prosody_sd=_f32(np.sqrt(joint.variances[:, :n]) * scale[:n]),
        gesture=np.repeat(np.arange(kinds), gesture.states),
        gesture_mean=_f32(gesture.model.means_[:, :3] * scale[n : n + 3]),
        duration_mean=_f32(np.maximum(mean, 1.0)),
        duration_sd=_f32(spread),
        choice=_f32(choice + 1e-3),
        offset=_f32(offset),
        posture_sd=_f32(np.clip(sd, 0.1, 6.0)),
        posture_seconds=_f32(seconds),
        gain=_f32(np.ones(3)),
        curves=curves,
    )


def _f32(x: F64) -> NDArray[np.float32]:
    return freeze(x.astype(np.float32))


def _gain(model: HeadModel, clips: Sequence[Clip], seconds: float = 90.0) -> NDArray[np.float32]:
    """What brings the deviation of the made gestures up to that of the real ones, each axis, within reason."""
    still = replace(model, posture_sd=_f32(np.full(3, 1e-3)))
    made, real, spent = [], [], 0
    for number, clip in enumerate(clips):
        if spent > seconds * HZ:
            break
        head = HmmHead(still, seed=number)
        poses = np.array([head.follow(row) for row in clip.prosody.astype(np.float64)])[:, [1, 0, 2]]
        made.append(gestures(poses)[:, :3])
        real.append(gestures(clip.pose)[:, :3])
        spent += len(clip.pose)
    ratio = np.concatenate(real).std(0) / np.maximum(np.concatenate(made).std(0), 1e-3)
    return np.clip(ratio, 0.6, 1.8).astype(np.float32)
