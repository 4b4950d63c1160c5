"""One timeline for a session, and the fit that maps a device's clock onto it.

Nothing else in the project asks the system for the time of a media item, and nothing here asks for the time of day:
setting the computer's clock moves nothing. The design is in docs/adr/0005-clock.md.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Protocol

from avatar.core.types import MILLISECOND, SECOND, Ns


class Clock(Protocol):
    """The session's timeline: nanoseconds since the session began, never going back."""

    def now(self) -> Ns: ...

    async def sleep_until(self, t: Ns) -> None:
        """Return at ``t``, or at once where that has passed."""
        ...


def suspended() -> int:
    """Nanoseconds that the machine has slept (suspend to memory or disk) since it was started, where the monotonic
    clock stands still meanwhile (Linux, macOS); 0 where it goes on (Windows), for there the session sees the leap."""
    if sys.platform == "linux":
        return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns())
    if sys.platform == "darwin":  # there CLOCK_MONOTONIC counts sleep, and Python's monotonic clock does not
        return max(0, time.clock_gettime_ns(time.CLOCK_MONOTONIC) - time.clock_gettime_ns(time.CLOCK_UPTIME_RAW))
    return 0


class SessionClock:
    """The timeline on the system's monotonic clock, the one that asyncio sleeps by. It stands still while the machine
    sleeps (:func:`suspended`)."""

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._read = monotonic_ns
        self._zero = monotonic_ns()

    @classmethod
    def in_step(cls, interval: int, phase: float, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> SessionClock:
        """A timeline whose multiples of ``interval`` nanoseconds fall ``phase`` intervals (0 to 1) after those of the
        machine's clock, so that the sessions of one machine can take turns."""
        clock = cls(monotonic_ns)
        clock._zero -= (clock._zero - round(phase * interval)) % interval
        return clock

    def now(self) -> Ns:
        return Ns(self._read() - self._zero)

    async def sleep_until(self, t: Ns) -> None:
        import asyncio

        await asyncio.sleep(max(0, t - self.now()) / SECOND)


class DriftFit:
    """Maps a device's time stamps to session time by a running straight-line fit.

    A device counts in its own seconds, which are some parts per million long or short, and its items arrive late by a
    varying amount. ``session = offset + (1 + drift) * device`` is fitted by recursive least squares with forgetting.
    A jump larger than ``jump`` (the device was switched, the machine slept) starts the fit anew.

    :param memory: seconds after which an observation counts 1/e.
    :param jump: nanoseconds.
    """

    MAX_DRIFT = 1e-3
    """A quartz is never off by more; a larger slope is noise of a short observation."""

    def __init__(self, memory: float = 20.0, jump: int = 100 * MILLISECOND) -> None:
        self._memory = memory
        self._jump = jump
        self.reset()

    def reset(self) -> None:
        self._origin: tuple[int, int] | None = None
        self._last = 0.0
        self._weight = 0.0
        self._mean_x = self._mean_e = self._var = self._cov = 0.0
        self.restarts = 0

    @property
    def drift_ppm(self) -> float:
        """How much longer the session's second is than the device's, in parts per million."""
        return 1e6 * self._slope()

    def _slope(self) -> float:
        # Below ten seconds of spread the arrival jitter outweighs any drift worth following.
        if self._weight == 0 or self._var / self._weight < 3.0**2:
            return 0.0
        return max(-self.MAX_DRIFT, min(self.MAX_DRIFT, self._cov / self._var))

    def observe(self, device: int, arrived: Ns) -> Ns:
        """An item with device time ``device`` (ns) arrived at ``arrived``; returns its time on the session's line."""
        if self._origin is not None and abs(arrived - self.to_session(device)) > self._jump:
            restarts = self.restarts + 1
            self.reset()
            self.restarts = restarts
        if self._origin is None:
            self._origin = (device, arrived)
        x = (device - self._origin[0]) / SECOND
        # The residual against "no drift", so that the numbers stay small however long the session lasts.
        e = (arrived - self._origin[1]) / SECOND - x
        forget = math.exp(-max(0.0, x - self._last) / self._memory)
        self._last = max(self._last, x)
        self._weight = self._weight * forget + 1
        self._var *= forget
        self._cov *= forget
        dx = x - self._mean_x
        self._mean_x += dx / self._weight
        self._mean_e += (e - self._mean_e) / self._weight
        self._var += dx * (x - self._mean_x)
        self._cov += dx * (e - self._mean_e)
        return self.to_session(device)

    def to_session(self, device: int) -> Ns:
        """Session time of a device time by the fit so far. Raises ValueError before the first observation."""
        if self._origin is None:
            raise ValueError("no observation yet")
        x = (device - self._origin[0]) / SECOND
        e = self._mean_e + self._slope() * (x - self._mean_x)
        return Ns(self._origin[1] + round((x + e) * SECOND))


class ArrivalClock:
    """Session times for items that carry their device's own time, from the uneven moments at which they arrive.

    An item that comes late after a stall was still made at its time, so it does not move the fit. But where items stay
    late, the device's count has lost time that nobody reported, and the fit begins anew. A backlog is told from that by
    its haste: each of its items is less late than the one before. An item that comes early shows that the ones before
    were late, and is believed at once: nothing comes from the future.

    :param late: nanoseconds; a difference beyond this is no jitter.
    """

    PATIENCE = 300 * MILLISECOND
    """Items that stay equally late for this long (on the device's clock) are late for good."""
    CATCHING_UP = 5 * MILLISECOND
    """An item this much less late than all since the stall is part of a backlog."""

    def __init__(self, late: int = 60 * MILLISECOND) -> None:
        self.late = late
        self._fit = DriftFit(jump=1 << 62)  # what is a jump is decided here
        self.restarts = 0
        """Times at which the fit was begun anew."""
        self.reset()

    def reset(self) -> None:
        """Forget the device: another one follows, or its count has begun anew."""
        self._fit.reset()
        self._last: int | None = None
        self._least = 0
        self._late_for = 0

    @property
    def drift_ppm(self) -> float:
        """How much longer the session's second is than the device's, in parts per million."""
        return self._fit.drift_ppm

    def stamp(self, device: int, arrived: Ns, lost: bool = False) -> Ns:
        """Session time of the item with device time ``device`` (ns) that arrived at ``arrived``.

        :param lost: items before this one were lost in a way that the device's count does not show.
        """
        if self._last is not None:
            late = arrived - self._fit.to_session(device)
            since = device - self._last
            # The end of a backlog is late still, and far from what the fit knows: it would tilt the line.
            if late <= self.late // (6 if self._late_for else 1):
                self._late_for = 0
            elif self._late_for == 0 or late < self._least - self.CATCHING_UP:
                self._least, self._late_for = late, max(1, min(since, self.PATIENCE))
            else:
                self._late_for += max(0, since)
            if lost or late < -self.late or self._late_for > self.PATIENCE:
                restarts = self.restarts + 1
                self.reset()
                self.restarts = restarts
            elif self._late_for:
                self._last = device
                return self._fit.to_session(device)
        self._last = device
        return self._fit.observe(device, arrived)
