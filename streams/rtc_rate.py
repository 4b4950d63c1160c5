"""How much is sent to a viewer, and how fast: congestion control and pacing, told the time and doing no I/O.

The receiver estimates what its network carries by the growth of queues (REMB). It can only say what it has seen: at
most half again of what it gets, and a face at rest sends little. So an estimate well above what was sent is no limit,
and the rate grows past it; one below it is, and the rate falls to it at once. Some networks have no queue and only
lose, so losses count as well, in the way of Google's congestion control (draft-ietf-rmcat-gcc-02, sections 5 and 6).
"""

from __future__ import annotations

import time
from collections.abc import Callable

MANY, MOST = 0.15, 0.30
"""Shares of lost packets above which less is sent, and above which no more than what came through. A tenth lost by
chance is what copies are for: sending less would not mend it."""
LEAST, GREATEST = 100_000, 5_000_000
"""Bits a second: below the first a face is none, above the second it gains nothing."""


class SendRate:
    """What one connection carries: falls at once, grows by 8 % a second, and slowly near where it fell last.

    :param seconds: the time; for tests.
    """

    GROWTH, CAREFUL = 1.08, 1.015
    """A second."""
    NEAR = 0.75
    """Share of the last limit above which it grows carefully."""
    REMEMBERED_S = 20.0
    """After this a limit is forgotten: networks change."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._bits: float | None = None
        self._sent = 0.0
        self._limit = float("inf")
        self._limited_at = self._grown_at = seconds()

    @property
    def bits(self) -> int | None:
        """Bits a second; None where nothing is known yet."""
        return round(self._bits) if self._bits is not None else None

    def remb(self, bits: int) -> None:
        """The receiver estimates that its network carries so many bits a second."""
        if bits < 1.1 * self._sent:
            self._fall(bits)
        elif self._bits is None:
            self._bits = bits

    def report(self, lost: float, sent: float) -> None:
        """A receiver report: this share of the packets since the last one is missing, of ``sent`` bits a second."""
        self._sent = sent
        if lost > MOST:
            self._fall(sent * (1 - lost))
        elif lost > MANY:
            self._fall((sent if self._bits is None else self._bits) * (1 - 0.5 * lost))
        else:
            self._grow()

    def _fall(self, bits: float) -> None:
        # Where the queue grew, the receiver names 85 % of what came through.
        self._limit, self._limited_at = bits / 0.85, self._seconds()
        self._grown_at = self._limited_at
        self._bits = max(min(bits, self._bits or bits), LEAST)

    def _grow(self) -> None:
        now = self._seconds()
        passed, self._grown_at = min(now - self._grown_at, 2.0), now
        if self._bits is None:
            return
        near = self._bits > self.NEAR * self._limit and now - self._limited_at < self.REMEMBERED_S
        self._bits = min(self._bits * (self.CAREFUL if near else self.GROWTH) ** passed, GREATEST)


class Pacer:
    """When the next packet may go. A picture's packets that come at once fill the short queue of a slow network, and
    what does not fit is lost: so those beyond :data:`BURST` leave at :data:`FACTOR` times the rate of the network.

    :param seconds: the time; for tests.
    """

    BURST = 6_000
    """Bytes that may go at once: an ordinary picture at 1.4 Mbit/s."""
    FACTOR = 2.5
    """As in draft-ietf-rmcat-gcc-02, section 4: faster than the mean, or a queue would build up here in its place."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._debt = 0.0
        self._at = seconds()

    def sent(self, size: int, bits: int | None) -> float:
        """A packet of ``size`` bytes goes now, over a network of ``bits`` a second (None: not known, so not paced).

        :returns: seconds to wait before the next one.
        """
        now = self._seconds()
        if bits is None:
            self._debt, self._at = 0.0, now
            return 0.0
        speed = self.FACTOR * bits / 8
        self._debt = max(self._debt - speed * (now - self._at), 0.0) + size
        self._at = now
        return max(self._debt - self.BURST, 0.0) / speed
