"""An event loop without waiting: time jumps to the next timer as soon as nothing is ready to run.

Hours pass in seconds, and a test gives the same result on a busy machine. For code that waits on timers and channels
only; sockets and threads live in real time and have no place on it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from avatar.core.types import SECOND, Ns

T = TypeVar("T")


class _InstantSelector(selectors.SelectSelector):
    """Reports readiness without waiting and tells the loop how long it would have waited."""

    ASK_EVERY = 64
    """The system is asked now and then only: that costs more than all else here, and on this loop nothing comes of it
    but what ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0
        self._calls = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._calls += 1
        ready = super().select(0) if timeout is None or self._calls % self.ASK_EVERY == 0 else []
        if not ready and timeout:
            self.skipped += timeout
        elif not ready and timeout is None:
            raise RuntimeError("virtual time: everything waits for something that no timer will bring")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0."""

    def __init__(self) -> None:
        self._instant = _InstantSelector()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.skipped


class VirtualClock:
    """The session timeline on the running (virtual) loop."""

    @classmethod
    def in_step(cls, interval: int, phase: float) -> VirtualClock:
        """As :meth:`avatar.core.clock.SessionClock.in_step`; alone in its time, it has no turns to take."""
        return cls()

    def now(self) -> Ns:
        return Ns(round(asyncio.get_running_loop().time() * SECOND))

    async def sleep_until(self, t: Ns) -> None:
        await asyncio.sleep(max(0, t - self.now()) / SECOND)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Like ``asyncio.run``, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class InlineLane:
    """Stands for :class:`avatar.pipeline.executors.ThreadLane`, whose thread lives in real time: works at once."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, work: Callable[..., T], *args: object) -> T:
        return work(*args)

    def close(self) -> None:
        """Nothing to end."""
