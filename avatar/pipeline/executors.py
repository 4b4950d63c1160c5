"""Where heavy work runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


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
