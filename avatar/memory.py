"""Memory that stays what it is over days, and is tidied up without a pause.

glibc gives a thread an arena of its own whenever another one holds the lock of the arena it used (mallopt(3),
M_ARENA_MAX; 8 for each core). With a handful of threads that pass pictures on this happens every some minutes, and each
arena keeps some 10 MB: a live engine grows in steps for hours, though nothing leaks. Two arenas are enough.

Python's collector looks through everything there is whenever enough has been added, and everything waits: a tenth to
half a second for the objects of a live engine and its libraries, most of which live as long as the process.
Told so (gc.freeze), it looks at the rest alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import sys
from collections.abc import Iterator

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


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """While it lasts the collector of garbage leaves alone what was there when it began. Takes as long as one of its
    pauses, so it is for the moment before anybody is served."""
    gc.unfreeze()  # of another engine in this process, which may have ended since
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
