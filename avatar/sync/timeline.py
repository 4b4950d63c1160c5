"""Cues by time."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Generic, Protocol, TypeVar

from avatar.core.types import MILLISECOND, SECOND, Ns


class Timed(Protocol):
    @property
    def pts(self) -> Ns: ...


C = TypeVar("C", bound=Timed)


class Timeline(Generic[C]):
    """The last seconds of one kind of cue.

    Asked for a time between two cues it gives both and how far between; past the newest one it holds that for
    ``hold`` and then lets go over ``release``.
    """

    KEEP = 3 * SECOND
    BRIDGE = 250 * MILLISECOND
    """Cues further apart than this are not neighbours: in between the older one is held and let go."""

    def __init__(self, hold: Ns, release: Ns) -> None:
        self.hold = hold
        self.release = release
        self._cues: deque[C] = deque()

    def push(self, cue: C) -> None:
        """Add a cue. One that is older than the newest replaces what came after it: the source has started anew."""
        while self._cues and self._cues[-1].pts >= cue.pts:
            self._cues.pop()
        self._cues.append(cue)
        while self._cues[0].pts < cue.pts - self.KEEP:
            self._cues.popleft()

    def clear(self) -> None:
        self._cues.clear()

    @property
    def newest(self) -> Ns | None:
        return self._cues[-1].pts if self._cues else None

    def at(self, t: Ns) -> tuple[C, C, float, float] | None:
        """``(before, after, fraction, presence)`` at ``t``: fraction in [0, 1] from before to after, presence 1 while
        cues are fresh and falling to 0 as they go stale. None where there is nothing to go by."""
        i = bisect_right(self._cues, t, key=lambda cue: cue.pts)
        if i == 0:
            return None
        before = self._cues[i - 1]
        if i < len(self._cues) and self._cues[i].pts - before.pts <= self.BRIDGE:
            after = self._cues[i]
            return before, after, (t - before.pts) / (after.pts - before.pts), 1.0
        stale = t - before.pts - self.hold
        presence = 1.0 if stale <= 0 else max(0.0, 1.0 - stale / self.release)
        return (before, before, 0.0, presence) if presence > 0 else None
