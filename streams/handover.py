"""From a device's own thread into the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """A bounded queue with one writing thread and one reading task.

    Writing never waits and takes no lock (a deque's ``append`` is atomic), so a sound driver's callback may do it. When
    the reader is slow the oldest items go, counted in ``dropped``. Make it inside the running loop.
    """

    def __init__(self, capacity: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[tuple[int, T]] = deque(maxlen=capacity)
        self._wake = asyncio.Event()
        self._put = 0
        self._got = 0
        self._error: BaseException | None = None
        self.dropped = 0

    def put(self, item: T) -> None:
        """Add an item; from the writing thread."""
        self._items.append((self._put, item))
        self._put += 1
        self._notify()

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, raised by ``get`` after what is queued; from any thread."""
        self._error = error
        self._notify()

    def _notify(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is waiting any more
            self._loop.call_soon_threadsafe(self._wake.set)

    async def get(self, within: float | None = None) -> tuple[T, bool]:
        """The oldest item, and whether items before it were lost. Raises TimeoutError after ``within``
        seconds, or what ``fail`` was given."""
        while not self._items:
            if self._error is not None:
                raise self._error
            self._wake.clear()
            if self._items or self._error is not None:  # put between the check and the clear
                continue
            # Not wait_for: on Python 3.11 it may swallow a cancellation that comes together with an item.
            async with asyncio.timeout(within):
                await self._wake.wait()
        number, item = self._items.popleft()
        lost = number - self._got
        self._got = number + 1
        self.dropped += lost
        return item, lost > 0
