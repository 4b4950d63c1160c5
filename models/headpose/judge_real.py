"""The judge on recorded people: each clip left out once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from avatar.analysis.head_hmm import LAG
from avatar.errors import AvatarError, UsageError
from avatar.models.headpose.clips import Clip
from avatar.models.headpose.judge_planted import run
from avatar.models.headpose.learn import study
from avatar.models.headpose.metrics import correlations, habits, interval

SEEDS = 4
MOST_FOLDS = 8


def real(clips: Sequence[Clip]) -> dict[str, Any]:
    """Learn from all clips but one, move a head with that one's sound, and compare with the real one; and so on.

    Raises UsageError for fewer than three clips.
    """
    if len(clips) < 3:
        raise UsageError(f"{len(clips)} clips: leaving one out needs at least 3")
    folds = np.array_split(np.arange(len(clips)), min(len(clips), MOST_FOLDS))
    made: list[list[np.ndarray]] = [[] for _ in range(SEEDS)]
    likely: list[np.ndarray] = []
    order: list[int] = []
    for fold in folds:
        rest = [c for i, c in enumerate(clips) if i not in fold]
        try:
            model = study(rest, tries=1, sizes=(4,)).model
        except AvatarError as error:
            raise UsageError(f"the clips without one: {error}") from error
        for i in fold:
            order.append(int(i))
            likely.append(run(model, clips[i], LAG))
            for seed in range(SEEDS):
                made[seed].append(run(model, clips[i], LAG, vary=True, seed=seed))
    recorded = [clips[i].pose.astype(np.float64) for i in order]
    drawn = np.mean([correlations(each, recorded) for each in made], axis=0)
    return {
        "clips": len(clips),
        "seconds": round(sum(map(len, recorded)) / 100, 1),
        "cca_minus_shuffled": interval(drawn),
        "cca_minus_shuffled_likeliest": interval(correlations(likely, recorded)),
        "recorded": habits(recorded),
        **habits([track for each in made for track in each]),
    }
