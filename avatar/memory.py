"""Memory that stays what it is over days.

glibc gives a thread an arena of its own whenever another one holds the lock of the arena it used (mallopt(3),
M_ARENA_MAX; 8 for each core). With a handful of threads that pass pictures on this happens every some minutes, and each
arena keeps some 10 MB: a live engine grows in steps for hours, though nothing leaks. Two arenas are enough.
"""

from __future__ import annotations

import ctypes
import logging
import sys

log = logging.getLogger(__name__)

_M_ARENA_MAX = -8
_ARENAS = 2


def few_arenas() -> bool:
    """To be called before threads are started. False where the C library has no such setting."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
    except (OSError, AttributeError):  # musl has one arena and no mallopt
        log.debug("the C library has no mallopt")
        return False
