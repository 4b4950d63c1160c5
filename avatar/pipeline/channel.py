"""Bounded queues between tasks. A channel never blocks its writer and never loses anything silently."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from enum import Enum
from typing import Generic, TypeVar, cast

from avatar.core.types import AudioChunk

T = TypeVar("T")


class Policy(Enum):
    """What a full channel gives up."""

    LATEST = "latest"
    """Keeps the newest item only: pictures, states. An overwritten item is normal and counted as ``dropped``."""
    LOSSLESS = "lossless"
    """Keeps all up to its capacity: sound. Beyond it the oldest goes, which is counted as ``overruns``, and the next
    AudioChunk taken out is marked as a discontinuity."""


class ChannelClosedError(Exception):
    """The channel is closed and empty."""


class Channel(Generic[T]):
    """A queue with one reader. Close it to end the reader's ``async for``."""

    def __init__(self, policy: Policy, capacity: int = 1) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity}: at least 1")
        self.policy = policy
        self.capacity = 1 if policy is Policy.LATEST else capacity
        self.dropped = 0
        self.overruns = 0
        self._items: deque[T] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._gap = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item. After ``close`` it is ignored: the reader has gone."""
        if self._closed:
            return
        if len(self._items) >= self.capacity:
            self._items.popleft()
            if self.policy is Policy.LATEST:
                self.dropped += 1
            else:
                self.overruns += 1
                self._gap = True
        self._items.append(item)
        self._wake.set()

    def close(self) -> None:
        """End the stream; what is queued can still be taken."""
        self._closed = True
        self._wake.set()

    async def get(self) -> T:
        """Take the oldest item. Raises ChannelClosedError when closed and empty."""
        while not self._items:
            if self._closed:
                raise ChannelClosedError
            self._wake.clear()
            await self._wake.wait()
        item = self._items.popleft()
        if self._gap and isinstance(item, AudioChunk):
            self._gap = False
            item = cast(T, replace(item, discontinuity=True))
        return item

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                yield await self.get()
            except ChannelClosedError:
                return
