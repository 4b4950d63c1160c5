"""Threads share a few arenas of the allocator, and the collector leaves alone what stays anyway."""

import gc
import platform
import re
import subprocess
import sys
import weakref

import pytest

from avatar.memory import settled

# Threads that allocate at the same time each want an arena; glibc tells how many it made.
SCRIPT = """
import ctypes, sys, threading
from avatar.memory import few_arenas
if sys.argv[1] == "few":
    assert few_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
gate = threading.Barrier(12)
def work():
    gate.wait()
    for _ in range(300):
        libc.free(libc.malloc(70_000))
threads = [threading.Thread(target=work) for _ in range(12)]
[t.start() for t in threads]
[t.join() for t in threads]
libc.malloc_stats()
"""


def arenas(how: str) -> int:
    run = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    return len(re.findall(r"^Arena \d+:", run.stderr, re.MULTILINE))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such arenas")
def test_two_arenas_are_enough():
    assert arenas("few") <= 2 < arenas("usual")


class Ring:
    """Refers to itself, so that only the collector can take it away."""

    def __init__(self):
        self.itself = self


def test_what_was_there_is_not_looked_at_again_and_what_comes_is():
    there = Ring()
    with settled():
        assert all(known is not there for known in gc.get_objects())
        gone = weakref.ref(Ring())
        gc.collect()
        assert gone() is None
    assert any(known is there for known in gc.get_objects())


def test_what_an_engine_left_behind_goes_when_the_next_begins():
    with settled():
        left = Ring()
        with settled():  # a second engine in one process, begun while the first is there
            gone = weakref.ref(left)
            del left
            gc.collect()
            assert gone() is not None, "it was there when the second began"
        gc.collect()
        assert gone() is None
    assert gc.get_freeze_count() == 0
