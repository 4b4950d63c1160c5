"""What `avatar bench sync` is asked for."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from avatar.bench.sync import PATHS, Network, Plan
from avatar.errors import UsageError


def plan(**given: Any) -> Plan:
    defaults = {"paths": "", "seconds": None, "loss": 0.0, "jitter": 0.0, "impaired": False, "ppm": 0.0}
    return Plan.of(argparse.Namespace(**(defaults | given)))


def test_all_paths_and_a_good_network_unless_asked() -> None:
    assert plan() == Plan(PATHS, 30.0, (), 30.0, 0.0)


def test_some_paths_and_one_bad_network() -> None:
    asked = plan(paths="browser, file", seconds=12.0, loss=5.0, jitter=30.0, ppm=-200.0)
    assert asked == Plan(("browser", "file"), 12.0, (Network(0.05, 0.03),), 12.0, -200.0)
    assert asked.networks[0].name == "loss5_jitter30"


def test_the_whole_grid() -> None:
    names = [network.name for network in plan(impaired=True, loss=7.0).networks]
    assert names[0] == "loss7_jitter0"
    assert set(names[1:]) == {f"loss{p}_jitter{j}" for p in (0, 2, 5, 10) for j in (0, 30, 80)} - {"loss0_jitter0"}
    assert plan(impaired=True).network_seconds == 20


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"paths": "file,cloud"}, "no path 'cloud'; there are file, webrtc, browser, vcam"),
        ({"loss": 100.0}, "--loss is a percentage"),
        ({"jitter": -1.0}, "--jitter milliseconds"),
        ({"ppm": 5000.0}, "--ppm up to 1000"),
        ({"seconds": 1.0}, "--seconds 5 or more"),
    ],
)
def test_what_cannot_be_measured(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        plan(**given)
