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
    made = choice.affordable(lambda name, size: _Engine(name, ms if name == "generator" else 0.1), "auto", 512, fps)
    assert made.engine.name == chosen
    assert made.enough


def test_a_slow_machine_draws_fewer_pixels_and_shows_as_many():
    def make(name, size):
        engine = _Engine(name, 40 if size > 400 else 0.1)
        engine.size, engine.bundle, engine.precision, engine.alpha = size, None, "float32", None
        return engine

    made = choice.affordable(make, "head", 512, 30)
    assert (made.tier.quality, made.tier.drawn, made.engine.name) == ("low", 320, "head")
    assert made.engine.render(None).shape == (512, 512, 3)
    assert made.engine.size == 512


def test_nothing_is_fast_enough():
    made = choice.affordable(lambda name, size: _Engine(name, 40), "generator", 256, 30)
    assert not made.enough
    assert "too slow" in str(made)


@pytest.mark.parametrize(
    ("quality", "engine", "size", "wanted"),
    [
        ("high", "auto", 512, ("generator", 512)),
        ("medium", "auto", 512, ("head", 512)),
        ("low", "auto", 512, ("head", 320)),
        ("medium", "generator", 512, ("generator", 512)),
        ("low", "generator", 1024, ("generator", 640)),
        ("low", "head", 256, ("head", 256)),
    ],
)
def test_tiers_by_name(quality, engine, size, wanted):
    tier = choice.tier_of(quality, engine, size)
    assert (tier.engine, tier.drawn) == wanted


def test_a_slow_start_does_not_count():
    engine = _Engine("generator", 0.5)
    plain, times = engine.render, iter([60.0] * 3)
    engine.render = lambda state: (time.sleep(next(times, 0) / 1e3), plain(state))[1]
    assert choice.milliseconds(engine) < 10
