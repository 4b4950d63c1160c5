"""Where stage two begins: from the patterns that stage one found in each modality alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from avatar.analysis.head_features import FEATURES
from avatar.models.headpose import phmm
from avatar.models.headpose.pairs import Pairs

if TYPE_CHECKING:
    from avatar.models.headpose.learn import StageOne

F64 = NDArray[np.float64]
N = len(FEATURES)
LEAST_PASSAGES = 4


def beginning(
    sequences: Sequence[F64],
    prosody: StageOne,
    gesture: StageOne,
    clusters: int | None,
    random: np.random.Generator,
) -> Pairs | None:
    """A joint model to train from sequences (T, 12), both modalities.

    The sound is cut into passages through prosody patterns; what the head did in each is one of stage one's gestures
    (the one that lasts longest in it), or with ``clusters`` one of so many groups of the passages' motions. None where
    there are too few passages.
    """
    states = prosody.states
    shapes, heard, labels = _passages(sequences, prosody, gesture)
    if len(shapes) < max(LEAST_PASSAGES, 2 * (clusters or 1)):
        return None
    if clusters is not None:
        flat = shapes.reshape(len(shapes), -1)
        seed = int(random.integers(1 << 30))
        labels = KMeans(clusters, n_init=4, random_state=seed).fit_predict(flat).astype(np.int64)
    kinds = np.unique(labels)
    mean = np.array([shapes[labels == g].mean(0) for g in kinds])
    var = np.array([shapes[labels == g].var(0) for g in kinds]) + 0.1
    choice = np.full((prosody.branches, len(kinds)), 0.5)
    np.add.at(choice, (heard, np.searchsorted(kinds, labels)), 1)
    alone = prosody.model
    ways = alone.transmat_[states - 1 :: states, ::states] + phmm.RARE
    begin = alone.startprob_[::states] + phmm.RARE
    return Pairs(
        start=begin / begin.sum(),
        follow=ways / ways.sum(1, keepdims=True),
        choice=choice / choice.sum(1, keepdims=True),
        stay=np.clip(np.diag(alone.transmat_).reshape(-1, states), 0.05, 0.999),
        heard_mean=alone.means_.reshape(-1, states, N),
        heard_var=alone.variances.reshape(-1, states, N),
        seen_mean=mean,
        seen_var=var,
    )


def _passages(
    sequences: Sequence[F64], prosody: StageOne, gesture: StageOne
) -> tuple[F64, NDArray[np.int64], NDArray[np.int64]]:
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
