"""Face states for whoever asks the page's own server: a WebSocket or a data channel (:mod:`avatar.streams.room`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from avatar.core.types import AvatarFrame
from avatar.streams.base import Sink, StreamFormat
from avatar.streams.wire import state_to_line


class StateFeed(Sink):
    """Hands every state, as one line of JSON, to those who have subscribed; without any it costs nothing."""

    name: ClassVar[str] = "states"

    def __init__(self) -> None:
        self._takers: dict[int, Callable[[str], None]] = {}
        self._next = 0

    @property
    def active(self) -> bool:
        return bool(self._takers)

    @property
    def hears(self) -> bool:
        return False

    def subscribe(self, take: Callable[[str], None]) -> Callable[[], None]:
        """``take`` gets each line, and must not wait. Returns what ends it; safe to call twice."""
        number, self._next = self._next, self._next + 1
        self._takers[number] = take

        def end() -> None:
            self._takers.pop(number, None)

        return end

    async def open(self, form: StreamFormat) -> None:
        pass

    async def video(self, frame: AvatarFrame) -> None:
        if not self._takers:
            return
        line = state_to_line(frame.state)
        for take in list(self._takers.values()):
            take(line)

    async def close(self) -> None:
        self._takers.clear()
