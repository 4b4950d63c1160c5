"""Every parser that meets the outside, with broken input.

In a test run each gets the same inputs every time. ``FUZZ_SECONDS=600 pytest tests/fuzz -k photo --timeout 0 -s`` goes
on as long as is asked, with other inputs each time (the same where ``FUZZ_SEED`` is given), and says how many. What
does harm is kept in ``tests/fuzz/crashes``, and stays as a test.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.targets import CRASHES, TARGETS, Target, mutated

INPUTS = 150
LONGEST_S = 5.0
"""Processor time for one input; more is a hang."""
HANG_S, STUCK_S = 60, 900
"""Processor time, and time on the wall (a long run may be suspended), after which it ends with every thread's stack."""


@contextlib.contextmanager
def _watchdog() -> Iterator[None]:
    """Ends the program where an input does not come back, with the stacks on standard error."""
    faulthandler.dump_traceback_later(STUCK_S, exit=True)
    if hasattr(signal, "setitimer"):  # not on Windows
        faulthandler.register(signal.SIGPROF, chain=True)
        signal.setitimer(signal.ITIMER_PROF, HANG_S)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.unregister(signal.SIGPROF)


def check(target: Target, data: bytes) -> None:
    begun = time.process_time()
    try:
        with _watchdog(), contextlib.suppress(*target.allowed):
            target.run(data)
        assert time.process_time() - begun < LONGEST_S, f"{target.name}: took too long"
    except BaseException:
        folder = CRASHES / target.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        raise


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_well_formed(name: str) -> None:
    for seed in TARGETS[name].seeds():
        assert TARGETS[name].run(seed) is not None


@pytest.mark.parametrize("name", TARGETS)
def test_broken_input_is_refused_in_words(name: str) -> None:
    target, seconds = TARGETS[name], float(os.environ.get("FUZZ_SECONDS", "0"))
    seeds = target.seeds()
    source = random.Random(os.environ.get("FUZZ_SEED") if seconds else 1)
    if not seconds:
        for _ in range(INPUTS):
            check(target, mutated(seeds, source))
        return
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        check(target, mutated(seeds, source))
        count += 1
    assert count
    print(f"\n{name}: {count} inputs in {seconds:.0f} s")


@pytest.mark.parametrize(
    "path", sorted(p for p in CRASHES.glob("*/*") if p.is_file()), ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_what_once_did_harm(path: Path) -> None:
    check(TARGETS[path.parent.name], path.read_bytes())
