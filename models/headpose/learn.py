"""From clips to a :class:`avatar.analysis.head_hmm.HeadModel`, in two stages after Sargin et al. (TPAMI 2008).

Stage one: prosody and gesture, each alone, become recurrent patterns (:mod:`avatar.models.headpose.phmm`). Stage two:
the pairs of patterns that recur become one multistream model (:mod:`avatar.models.headpose.pairs`), trained on both
streams together. What the live head needs besides is counted: how long states last, and how far the postures go.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avatar.analysis.head_features import FEATURES
from avatar.analysis.head_hmm import LAG, HmmHead
from avatar.analysis.head_model import NEUTRAL, HeadModel, Manner
from avatar.analysis.prosody import Melody
from avatar.core.types import freeze
from avatar.errors import UsageError
from avatar.models.headpose import fitness, joint, pairs, phmm
from avatar.models.headpose.clips import HZ, Clip, gestures, posture

F64 = NDArray[np.float64]
log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]

LEAST_SECONDS = 8.0
"""Of clips, below which nothing recurs that could be learnt."""
THIN = 3
"""The sizes are sought at a third of the rate."""
PROSODY_SPANS, GESTURE_SPANS = (0.6, 0.5), (0.5, 0.6)
"""Seconds that a pattern lasts, about: where the search begins, in turn."""
EXPLORED_SECONDS = 100.0
MOST_GAIN = {"neutral": 1.3, "sadness": 1.3}
MOST_GAIN_MOVED = 2.2
"""Of gestures, neutral and other ones: what is not foretold is left to postures, or every wiggle becomes a nod."""
ROUNDS = 3
"""Of EM for the pairs, in the coarse grid; one more at the full rate. Many would shrink the patterns to syllables."""
LEAST_HOPS = 5.0
"""Hops that a state of the pairs lasts at least on average."""
GESTURE_HOPS = 28
"""Hops that a passage lasts at least, the usual one: a shorter one is a syllable and holds no gesture."""
AGREED, AGREE_SECONDS = 0.965, 60.0
"""Share of the hops on which the live decoder must name the same pattern as whole-sequence decoding, and on how much
of the clips that is looked at."""


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
    joint: pairs.Pairs
    """Over prosody and gesture together, in units of :attr:`scale`."""
    centre: F64
    """(12,) what is taken from prosody and gesture features before they are divided by ``scale`` (12,)."""
    scale: F64

    def rows(self, clip: Clip) -> F64:
        """(T, 12) normalised features of a clip: prosody, then gesture."""
        return (_raw(clip) - self.centre) / self.scale

    def joint_branches(self, clip: Clip) -> NDArray[np.int64]:
        """(T,) the pair at each row, from both streams."""
        return pairs.decode(self.joint, self.rows(clip))[:, 0]


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
    sized_by: Sequence[Clip] | None = None,
) -> Learnt:
    """:func:`learn` with everything that it made.

    :param tries: searches in each modality and number of states. :param sizes: numbers of states of a branch to try.
    :param sized_by: the clips whose heads say how far this one goes, where that is not all of them.
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
    both = _stage_two(normal, prosody, gesture, np.random.default_rng((seed, 1)))
    tell(2 * tries + 2, steps)
    curves = np.array([(0.0, *row) for row in prosody.curve] + [(1.0, *row) for row in gesture.curve])
    model = fitted(_live(clips, normal, both, centre, scale, curves), sized_by or clips)
    tell(steps, steps)
    return Learnt(model, prosody, gesture, both, centre, scale)


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
    """Patterns of one modality: the best search of each size, and the size by :mod:`avatar.models.headpose.fitness`."""
    coarse = phmm.thinned(sequences, THIN)
    seen, later = _parts(coarse)
    most = int(np.clip(sum(map(len, seen)) / 60, 4, 9))
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
        tell(attempt + 1)
    best = fitness.chosen(curve)
    ordered = [curve[key] for key in sorted(curve)]
    table = tuple((f.branches, f.states, f.separation, f.likelihood, f.fitness) for f in ordered)
    return StageOne(phmm.refined(best, sequences, THIN), best.branches, best.states, table)


def _stage_two(
    sequences: Sequence[F64], prosody: StageOne, gesture: StageOne, random: np.random.Generator
) -> pairs.Pairs:
    """The recurrent pairs: of several beginnings the one by which the sound alone explains most of what the head does,
    among those that the live decoder follows in time and whose passages are long enough for a gesture. Stage one's
    patterns come first; where they hold no gestures, pieces of both streams do."""
    coarse = phmm.thinned(sequences, THIN)
    best, reached = None, (False, -np.inf)
    for begins in (
        joint.led_by_sound(sequences, prosody, gesture, random),
        joint.in_pieces(sequences, coarse, THIN, random),
    ):
        for begin in begins:
            slow = pairs.train(joint.slower(begin, 1 / THIN), coarse, ROUNDS, LEAST_HOPS / THIN)
            left, there = np.sum([pairs.explained(slow, x) for x in coarse], axis=0)
            agreed = pairs.agreement(joint.slower(slow, THIN), _some(sequences, AGREE_SECONDS), LAG)
            holds = float(np.median((THIN / (1 - slow.stay)).sum(1))) >= GESTURE_HOPS
            rating = (True, 1 - left / max(there, 1e-9)) if holds and agreed >= AGREED else (False, holds + agreed)
            log.debug("pairs %s: explained %.3f, agreed %.3f, %s", begin.choice.shape, 1 - left / there, agreed, holds)
            if rating > reached:
                best, reached = slow, rating
        if reached[0]:
            break
    if best is None:
        raise UsageError("no pattern of voice and head recurs in these clips; give a longer recording")
    return pairs.train(joint.slower(best, THIN), sequences, 1, LEAST_HOPS)


def _some(sequences: Sequence[F64], seconds: float) -> list[F64]:
    """The first sequences, of so many seconds together."""
    ends = np.cumsum([len(x) for x in sequences])
    return list(sequences[: int(np.searchsorted(ends, seconds * HZ)) + 1])


def _parts(thin: Sequence[F64]) -> tuple[list[F64], list[F64]]:
    """What is searched in, and what sizes are judged on: every clip's first and second part, of long ones not more
    than enough."""
    rows = int(EXPLORED_SECONDS * HZ / THIN)
    share = min(1.0, 1.5 * rows / sum(map(len, thin)))
    seen = [x[: int(0.67 * share * len(x))] for x in thin]
    rest = [x[int(0.67 * share * len(x)) : int(share * len(x))] for x in thin]
    return [x for x in seen if len(x) > 12], [x for x in rest if len(x) > 6]


def _live(
    clips: Sequence[Clip], sequences: Sequence[F64], model: pairs.Pairs, centre: F64, scale: F64, curves: F64
) -> HeadModel:
    """The live model: in degrees and hops, with durations and postures as they were."""
    n = len(FEATURES)
    branches, states = model.stay.shape
    start, transition = model.transition()
    mean, spread = _durations(sequences, model)
    return HeadModel(
        branch=np.repeat(np.arange(branches), states),
        start=start,
        transition=transition,
        prosody_mean=_f32(model.heard_mean.reshape(-1, n) * scale[:n] + centre[:n]),
        prosody_sd=_f32(np.sqrt(model.heard_var).reshape(-1, n) * scale[:n]),
        lasts=_f32(mean),
        lasts_sd=_f32(spread),
        manners={NEUTRAL: manner(clips, model, scale)},
        curves=curves.astype(np.float32),
    )


def with_manner(found: Learnt, label: str, clips: Sequence[Clip]) -> Learnt:
    """The model with the gestures and postures of clips in another emotion as well. What it hears stays as it is: the
    same patterns bring other gestures."""
    rows = phmm.thinned([found.rows(clip) for clip in clips], THIN)
    slow = joint.slower(found.joint, 1 / THIN)
    own = pairs.train(slow, rows, 2 * ROUNDS, LEAST_HOPS / THIN, heard=False)
    model = replace(found.model, manners={**found.model.manners, label: manner(clips, own, found.scale)})
    return replace(found, model=fitted(model, clips, label))


def _durations(sequences: Sequence[F64], model: pairs.Pairs) -> tuple[F64, F64]:
    """Mean and deviation (S,) of the hops that a state lasts, where the prosody alone says which it is."""
    states = model.stay.shape[1]
    lasts: list[list[int]] = [[] for _ in range(model.stay.size)]
    for x in sequences:
        path = pairs.decode(model, x, both=False)
        at = path[:, 0] * states + path[:, 2]
        edges = np.concatenate([[0], np.flatnonzero(np.diff(at)) + 1, [len(at)]])
        for begin, end in itertools.pairwise(edges[1:-1]):  # the first and the last are cut off
            lasts[at[begin]].append(int(end - begin))
    usual = 1 / (1 - model.stay.ravel())
    mean = np.array([np.mean(x) if len(x) > 2 else s for x, s in zip(lasts, usual, strict=True)])
    spread = np.array([np.std(x) if len(x) > 2 else 0.4 * m for x, m in zip(lasts, mean, strict=True)])
    return np.maximum(mean, 1.0), spread


def manner(clips: Sequence[Clip], model: pairs.Pairs, scale: F64) -> Manner:
    """The gestures and postures of clips whose pairs a model has learnt."""
    n = len(FEATURES)
    slow = np.concatenate([posture(c.pose) for c in clips])
    moves = np.concatenate([np.diff(posture(c.pose), axis=0) for c in clips]) * HZ
    sd = slow.std(0)
    # A motion of one frequency f has a speed of 2 pi f times its deviation.
    seconds = np.clip(2 * np.pi * sd / np.maximum(moves.std(0), 1e-3) / 2, 1.0, 8.0)
    return Manner(
        mean=_f32(model.seen_mean[:, :, :3] * scale[n : n + 3]),
        choice=_f32(model.choice),
        gain=_f32(np.ones(3)),
        posture_sd=_f32(np.clip(sd, 0.1, 8.0)),
        posture_seconds=_f32(seconds),
    )


def _f32(x: F64) -> NDArray[np.float32]:
    return freeze(x.astype(np.float32))


def fitted(
    model: HeadModel, clips: Sequence[Clip], label: str = NEUTRAL, seconds: float = 90.0, rounds: int = 3
) -> HeadModel:
    """The model with gestures and postures of such a size that the head, as it runs live, deviates on each axis as the
    clips' heads do: in its fast part and in all, within reason."""
    some = list(clips[: int(np.searchsorted(np.cumsum([len(c.pose) for c in clips]), seconds * HZ)) + 1])
    real_fast = np.concatenate([gestures(c.pose)[:, :3] for c in some]).std(0)
    real_all = _spread([c.pose.astype(np.float64) for c in some])
    for _ in range(rounds):
        made = [_made(model, clip, label, number) for number, clip in enumerate(some)]
        fast = real_fast / np.maximum(np.concatenate([gestures(x)[:, :3] for x in made]).std(0), 1e-3)
        slow = real_all / np.maximum(_spread(made), 1e-3)
        old = model.manners[label]
        new = replace(
            old,
            gain=_f32(np.clip(old.gain * fast, 0.5, MOST_GAIN.get(label, MOST_GAIN_MOVED))),
            posture_sd=_f32(np.clip(old.posture_sd * slow, 0.1, 8.0)),
        )
        model = replace(model, manners={**model.manners, label: new})
    return model


def _made(model: HeadModel, clip: Clip, label: str, seed: int) -> F64:
    head = HmmHead(model, seed=seed)
    head.emotion = (label, 0.0 if label == NEUTRAL else 1.0)
    settle = clip.prosody[:1].astype(np.float64)
    for _ in range(2 * HZ):  # until the emotion is there
        head.follow(settle[0])
    melody = melody_of(clip.prosody)
    rows = clip.prosody.astype(np.float64)
    return np.array([head.follow(row, m) for row, m in zip(rows, melody, strict=True)])[:, [1, 0, 2]]


def _spread(poses: Sequence[F64]) -> F64:
    """(3,) mean over pieces of 10 s of the deviation within."""
    n = 10 * HZ
    found = [x[i : i + n].std(0) for x in poses for i in range(0, max(1, len(x) - n // 2), n)]
    return np.asarray(np.mean(found, axis=0))


def melody_of(prosody: NDArray[np.floating]) -> list[Melody]:
    """Phrases in features (T, P), where the sound itself is not at hand: by the level."""
    out, quiet, talking = [], 100, False
    for loud in prosody[:, 2]:
        quiet = 0 if loud > -2.0 else quiet + 1
        began, ended = quiet == 0 and not talking, talking and quiet == 20
        talking = (talking or began) and not ended
        out.append(Melody(0.0, began, ended))
    return out
