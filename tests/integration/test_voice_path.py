"""A voice through a real microphone to the pixels of the mouth."""

import pytest

from avatar.config import load
from avatar.testing import voice_path
from avatar.testing.pulse import MISSING, PulseDaemon, available

pytestmark = [
    pytest.mark.devices,
    pytest.mark.slow,
    pytest.mark.skipif(not available(), reason=MISSING),
]


async def test_the_mouth_opens_when_its_sound_is_heard() -> None:
    """What a quiet machine reaches is measured by `python -m avatar.testing.voice_path`; a busy one is later, never
    earlier: a picture that left before its sound's analysis was there would show another mouth."""
    config = load("low_latency.toml").config
    with PulseDaemon():
        found = await voice_path.measure(config, 10.0)
    assert found["syllables"] >= 3
    assert found["parts_ms"]["budget"] <= 120
    assert found["parts_ms"]["spare"] >= 0
    assert found["path_ms"]["p50"] >= config.sync.budget_ms - 1
    assert found["mouth_ms"]["p50"] < 400
    assert found["pictures"] > 50
