"""Three minutes of `avatar bench soak --joins 2`: viewers come and go, and the engine keeps nothing of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar.bench.soak import soak
from avatar.config import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(330),
    pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="counts what is in /proc (Linux)"),
]


def test_who_has_left_leaves_nothing_behind():
    config = load(None, ["avatar.size=256", "avatar.fps=15", "input.video=none"]).config
    seen = soak(config, seconds=100.0, joins=2.0)
    assert seen["refused"] == 0
    assert seen["joined"] >= 40, "one every two seconds, on a busy machine"
    assert seen["leaked"] == {"tasks": 0, "threads": 0, "sockets": 0, "files": 0}
    assert seen["leaks"] == 0
