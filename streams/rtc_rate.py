"""How much is sent to a viewer, and how fast: congestion control and pacing, told the time and doing no I/O.

The receiver says what its network carries (REMB: it sees queues grow before anything is lost). Some networks have no
queue to speak of, and only lose; so losses count as well, in the way of Google's congestion control
(draft-ietf-rmcat-gcc-02, section 6): more than a tenth lost takes off half of that share, hardly any adds a twentieth.
The lower of the two holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

MANY, FEW = 0.10, 0.02
"""Shares of lost packets above which less is sent, and below which more."""
GROWTH = 1.05
"""A report."""
LEAST = 100_000
"""Bits a second: below it a face is none, and more losses say nothing about the pictures."""


class SendRate:
    """What one connection carries."""

    def __init__(self) -> None:
        self._heard: int | None = None
        self._held: float | None = None
        """What losses leave; None until they were too many."""

    def remb(self, bits: int) -> None:
        """The receiver estimates that its network carries so many bits a second."""
        self._heard = bits

    def report(self, lost: float, sent: float) -> None:
        """A receiver report: this share of the packets since the last one is missing, of ``sent`` bits a second."""
        if lost > MANY:
            base = sent if self._held is None else min(self._held, sent)
            self._held = max(base * (1 - 0.5 * lost), LEAST)
        elif lost < FEW and self._held is not None:
            self._held *= GROWTH
            if self._heard is not None and self._held >= self._heard:
                self._held = None

    @property
    def bits(self) -> int | None:
        """Bits a second that the network carries; None where nothing is known yet."""
        known = [bits for bits in (self._heard, self._held) if bits is not None]
        return round(min(known)) if known else None


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
