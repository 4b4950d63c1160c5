"""Every parser that meets the outside, with broken input.

In a test run each gets the same inputs every time; ``FUZZ_SECONDS=600 pytest tests/fuzz -k photo --timeout 0`` goes on
as long as is asked, with other inputs each time. What does harm is kept in ``tests/fuzz/crashes``, and stays as a test.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import os
import random
import time
from pathlib import Path

import pytest

from tests.fuzz.targets import CRASHES, TARGETS, Target, mutated

INPUTS = 150
LONGEST_S = 5.0
"""For one input; more is a hang."""


def check(target: Target, data: bytes) -> None:
    faulthandler.dump_traceback_later(60, exit=True)
    begun = time.perf_counter()
    try:
        with contextlib.suppress(*target.allowed):
            target.run(data)
        assert time.perf_counter() - begun < LONGEST_S, f"{target.name}: took too long"
    except BaseException:
        folder = CRASHES / target.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_well_formed(name: str) -> None:
    for seed in TARGETS[name].seeds():
        assert TARGETS[name].run(seed) is not None


@pytest.mark.parametrize("name", TARGETS)
def test_broken_input_is_refused_in_words(name: str) -> None:
    target, seconds = TARGETS[name], float(os.environ.get("FUZZ_SECONDS", "0"))
    seeds = target.seeds()
    source = random.Random(None if seconds else 1)
    if not seconds:
        for _ in range(INPUTS):
            check(target, mutated(seeds, source))
        return
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        check(target, mutated(seeds, source))
        count += 1
    assert count


@pytest.mark.parametrize(
    "path", sorted(p for p in CRASHES.glob("*/*") if p.is_file()), ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_what_once_did_harm(path: Path) -> None:
    check(TARGETS[path.parent.name], path.read_bytes())
