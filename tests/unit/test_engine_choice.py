"""``auto``: the best engine that is fast enough."""

import time

import numpy as np
import pytest

from avatar.engines import choice


class _Engine:
    def __init__(self, name: str, ms: float) -> None:
        self.name, self._ms = name, ms

    def render(self, state):
        time.sleep(self._ms / 1e3)
        return np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(("ms", "fps", "chosen"), [(1, 30, "generator"), (40, 30, "head"), (12, 60, "head")])
def test_the_best_that_is_fast_enough(ms, fps, chosen):
    made, _ = choice.affordable(lambda name: _Engine(name, ms if name == "generator" else 0.1), fps)
    assert made.name == chosen


def test_a_slow_start_does_not_count():
    engine = _Engine("generator", 0.5)
    plain, times = engine.render, iter([60.0] * 3)
    engine.render = lambda state: (time.sleep(next(times, 0) / 1e3), plain(state))[1]
    assert choice.milliseconds(engine) < 10
