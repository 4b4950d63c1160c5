"""Where heavy work runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

GIVES_WAY = 10
"""Niceness: a ninth of the share of whoever does not give way (sched(7))."""


class ThreadLane:
    """One thread, first in first out: an engine that is not thread-safe always runs on the same one.

    The work should release the interpreter lock (numba ``nogil``, OpenCV, ONNX Runtime), or it stalls the event loop.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Do ``work(*args)`` on the lane and return its result or raise its exception."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def close(self) -> None:
        """Let the current work finish and end the thread; queued work is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def giving_way(work: Callable[[], T]) -> T:
    """Do ``work()`` on a thread of its own, to which other processes come first where the system can do that (Linux);
    returns its result or raises its exception.

    For what nobody waits for yet. Where this process is live already, its event loop would wait for the interpreter
    lock that such a thread holds while it is not run.
    """
    done: Future[T] = Future()

    def run() -> None:
        if not done.set_running_or_notify_cancel():
            return
        if sys.platform == "linux":  # elsewhere the number of a thread may be that of another process
            with contextlib.suppress(OSError):  # then it does not give way
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GIVES_WAY)
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="giving way", daemon=True).start()
    return await asyncio.wrap_future(done)
