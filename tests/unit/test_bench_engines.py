"""The yardstick is what it says it is, and engines are timed beside it."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.bench.engines import YARDSTICK, engines, speaking
from avatar.config import load
from avatar.errors import UsageError
from avatar.models.expression.yardstick import ganimation, multiplications


def test_the_yardstick_is_the_published_network():
    import onnxruntime

    session = onnxruntime.InferenceSession(ganimation(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    photo = rng.uniform(-1, 1, (1, 3, 128, 128)).astype(np.float32)
    one, other = (
        session.run(["colour", "attention"], {"photo": photo, "units": np.full((1, 17, 1, 1), v, np.float32)})
        for v in (0.0, 1.0)
    )
    assert one[0].shape == (1, 3, 128, 128)
    assert one[1].shape == (1, 1, 128, 128)
    assert np.abs(one[0]).max() <= 1
    assert 0 <= one[1].min() <= one[1].max() <= 1
    assert np.abs(one[0] - other[0]).mean() > 1e-3, "the units matter"
    assert one[0].std() > 0.05, "neither dead nor saturated"


def test_its_work_is_the_published_10_6_billion():
    assert multiplications() == pytest.approx(10.6e9, rel=0.005)


def test_it_is_always_the_same():
    assert ganimation() == ganimation()


def test_engines_are_timed_beside_the_yardstick():
    config = load(None, ["avatar.size=256"]).config
    found = engines(config, ["head"], rounds=2)
    assert set(found["engines"]) == {"head", YARDSTICK}
    for row in found["engines"].values():
        assert 0 < row["ms"]["p50"] <= row["ms"]["p95"]
        assert row["precision"] == "float32"
    assert found["engines"][YARDSTICK]["ratio"] == 1
    assert found["engines"]["head"]["ratio"] < 0.5


def test_an_unknown_engine_is_said():
    with pytest.raises(UsageError, match="no engine named 'hat'"):
        engines(load(None, []).config, ["hat"])


def test_the_talking_head_uses_the_whole_face():
    states = speaking(240)
    shapes = np.stack([state.arkit for state in states])
    assert (np.ptp(shapes, 0) > 0.2).sum() >= 7
    assert shapes.max() <= 1
