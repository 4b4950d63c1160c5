"""What is given up, in which order, when a machine cannot keep up: first every other picture, then pixels that are
sent, then the engine that draws best. It comes back in the opposite order.

Judged by how late pictures leave: other programs may have taken the cores that were there when the session began.
"""

from __future__ import annotations

LADDER = ("nothing", "frame rate", "resolution", "engine tier")
"""What has been given up at each level; a level includes those before it."""


class Shedder:
    """Chooses the level from what is measured. Sans I/O; ``now`` is any clock in seconds.

    :param interval_ms: between two pictures. :param top: the highest level that is of any use here.
    """

    LATE, CALM = 0.5, 0.15
    """Parts of the interval: pictures that leave later than the first are late, all earlier than the second is calm."""
    SKIPPED = 0.1
    """Part of the pictures that were skipped, from which on it counts as late."""
    SETTLE_S = 2.0
    """After a change nothing is judged for so long: old measurements have to leave."""
    EXCUSED_S = 4.0
    """Nor for so long after what costs and passes: handshakes, the first pictures, another engine's making."""
    CALM_S, LONGEST_S = 10.0, 300.0
    """Calm for so long: one level back. Twice as long after each time that did not last, up to the second."""

    def __init__(self, interval_ms: float, top: int = len(LADDER) - 1) -> None:
        self._interval = interval_ms
        self.every = 1
        """One in so many pictures is drawn now. Those that are left have more time, so calm counts by that; what is
        late to whoever listens is late at any rate."""
        self.top = top
        """May be changed at any time."""
        self.level = 0
        self._patience = self.CALM_S
        self._changed = self._excused = float("-inf")
        self._returned = float("-inf")
        self._calm_since: float | None = None

    def excuse(self, now: float) -> None:
        """Something that costs and passes is happening, as somebody's joining: nothing is judged for a while."""
        self._excused = now

    def excused(self, now: float) -> bool:
        """Whether what is measured now is not judged: it has changed lately, or something costs that passes."""
        return now - self._changed < self.SETTLE_S or now - self._excused < self.EXCUSED_S

    def step(self, now: float, late_ms: float, skipped: float) -> int:
        """The level from now on.

        :param late_ms: how late pictures leave, 95th percentile of the last second.
        :param skipped: part of the pictures that were skipped in it, 0 to 1.
        """
        if self.excused(now):
            return self.level
        if late_ms > self.LATE * self._interval or skipped >= self.SKIPPED:
            self._calm_since = None
            if self.level < self.top:
                lasted = now - self._returned >= self._patience
                self._patience = self.CALM_S if lasted else min(2 * self._patience, self.LONGEST_S)
                self._move(now, 1)
        elif late_ms < self.CALM * self._interval * self.every and skipped == 0:
            self._calm_since = now if self._calm_since is None else self._calm_since
            if self.level and now - self._calm_since >= self._patience:
                self._returned = now
                self._move(now, -1)
        else:
            self._calm_since = None
        return self.level

    def _move(self, now: float, by: int) -> None:
        self.level += by
        self._changed, self._calm_since = now, None
