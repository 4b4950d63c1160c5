"""How much is sent to a viewer, and how fast: congestion control and pacing, told the time and doing no I/O.

A browser reports the arrival of every packet (:mod:`avatar.streams.rtc_feedback`); then the queue on the way and what
comes through are known. Of other receivers three things speak, and none of them alone is to be believed:

- The receiver's estimate (REMB). It can only say what it has seen, at most half again of what it gets, and a face at
  rest sends little: so an estimate above what was sent is no limit. Where packets come unevenly it takes that for a
  queue: so one below what was sent is a limit at once only where the round trip has grown, else step by step.
- The round trip: what it takes more than it did at best is spent in a queue.
- Losses, for networks that have no queue to speak of, in the way of Google's congestion control
  (draft-ietf-rmcat-gcc-02, sections 5 and 6).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from avatar.streams.rtc_feedback import ALL, Flight, Measured

MANY, MOST = 0.15, 0.30
"""Shares of lost packets: above the first less is sent; above the second, twice in a row, no more than what came
through. A tenth lost by chance is what copies are for: sending less would not mend it."""
LEAST, GREATEST = 100_000, 5_000_000
"""Bits a second: below the first a face is none, above the second it gains nothing."""
UNKNOWN = 2_000_000
"""Bits a second that a network is taken to carry before anything is known of it."""
SOUND = 90_000
"""Bits a second of the sound beside the pictures: Opus at 64 kbit/s in fifty packets, with their headers."""
QUEUE_S, CLEAR_S = 0.1, 0.03
"""Packets that take so much longer than the fastest have met a queue; and so much is none."""


class SendRate:
    """What one connection carries: falls at once, grows by 8 % a second, and slowly near where it fell last.

    Where every packet's arrival is known, nothing is sent until the queue of a fall has drained, growth ends below what
    the network was seen to carry, and more than that is looked for by :attr:`probing`.

    :param seconds: the time; for tests.
    """

    GROWTH, CAREFUL = 1.08, 1.03
    """A second."""
    NEAR = 0.75
    """Share of the last limit above which it grows carefully."""
    BELOW, HIGHEST = 0.75, 0.8
    """Shares of what came through: what the pictures get after a queue, and up to what that grows, or after a probe."""
    AT_ONCE, STANDING = 0.7, 0.93
    """What a fall in a bottleneck that is known leaves at least; and where its queue stands without growing."""
    WIDE = 0.9
    """The share after a probe in which there was no limit any more."""
    HEADED = 1.12
    """What pictures take on the wire, with all headers."""
    REMEMBERED_S = 20.0
    """After this a limit, and a shortest round trip, are forgotten: networks change."""
    COLLAPSED = 0.6
    """Where no more than this share comes through, it is not by chance."""
    DRAIN_S, BRIEF_S, SETTLE_S = 0.4, 0.12, 0.7
    """What a pause takes at most; where nothing was lost and not much too much sent; and until what was left of the
    queue has gone after it."""
    AHEAD_S = 0.15
    """What may have been sent before its time, in a bottleneck: a large picture makes the next ones be left out."""
    DOUBT_S = 3.0
    """An estimate that nothing else confirms takes off 15 % in this time."""
    TWICE = 300_000
    """Bits a second that must go through before anything is sent twice: in a bottleneck, copies are what gets lost."""
    PROBE_EVERY_S, PROBE_AGAIN_S, PROBE_S = 2.5, 0.3, 0.8
    """From a fall or a probe that met a queue to the next probe, twice that from the second; from one that met none;
    and how long one is: a network may let some kilobytes pass at once, and what it carries shows only after them."""
    PROBED = 0.05
    """Seconds of queue that end a probe."""
    RISE = 1.25
    """What one probe may add below a limit that is known."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._bits: float | None = None
        self._sent = 0.0
        self._lossy = False
        self._trips: deque[tuple[float, float]] = deque()
        self._limit = float("inf")
        self._limited_at = self._grown_at = self._spent_at = seconds()
        self._doubted_at = self._fell_at = self._lost_at = float("-inf")
        self._pause_until = float("-inf")
        self._probe_at, self._patience = float("-inf"), self.PROBE_EVERY_S
        self._probing_since: float | None = None
        self._ahead = 0.0
        self._measured: float | None = None
        """The queue, where feedback tells it."""
        self._clear = True

    @property
    def bits(self) -> int | None:
        """Bits a second; None where nothing is known yet."""
        return round(self._bits) if self._bits is not None else None

    @property
    def queue(self) -> float:
        """Seconds that the last packets spent waiting."""
        if self._measured is not None:
            return self._measured
        if not self._trips:
            return 0.0
        # Jitter makes some trips longer, a queue all of them.
        latest = min(trip for _, trip in list(self._trips)[-2:])
        return latest - min(trip for _, trip in self._trips)

    @property
    def pausing(self) -> bool:
        """Whether nothing is sent, so that a queue drains: what comes after it is in time again."""
        return self._seconds() < self._pause_until

    @property
    def probing(self) -> float:
        """What share of the pictures is to be sent a second time, to learn whether more would go through: half of them
        below a limit, all where it has proved to be none any more."""
        if self._probing_since is None:
            return 0.0
        return 0.5 if self._limit < float("inf") else 1.0

    @property
    def holds(self) -> bool:
        """Whether a picture that is made now had better not be: it would wait, and the next would be late."""
        if self.pausing:
            return True
        return self._limited and self._measured is not None and self._owed() > self.AHEAD_S * self._speed

    def spend(self, size: int) -> None:
        """A picture of ``size`` bytes goes out."""
        self._ahead = self._owed() + 8 * size
        self._spent_at = self._seconds()

    def _owed(self) -> float:
        """Bits that were sent before their time."""
        return max(self._ahead - self._speed * (self._seconds() - self._spent_at), 0.0)

    @property
    def _speed(self) -> float:
        return self.HEADED * (self._bits or UNKNOWN)

    @property
    def _limited(self) -> bool:
        """Whether a queue or a collapse has lately said what goes through; a low estimate may be a small picture."""
        return self._limit < float("inf") and self._seconds() - self._limited_at < self.REMEMBERED_S

    @property
    def allows_repeats(self) -> bool:
        """Whether what is sent again now would come in time."""
        return self.queue < QUEUE_S and not self.pausing

    @property
    def allows_copies(self) -> bool:
        """Whether what gets lost is not lost because too much is sent."""
        wide = self._bits is None or self._bits >= self.TWICE
        return self.queue < QUEUE_S and (wide or not self._limited)

    def measured(self, found: Measured) -> bool:
        """What the packets of the last while have met; whether a queue had no room for some of them."""
        now = self._seconds()
        self._measured, self._clear = found.queue_now, found.queue < CLEAR_S
        if found.lost >= ALL:
            return False
        self._sent = found.sent
        if self.pausing:
            if not found.under_way:
                self._pause_until = now
            return found.lost > 0
        collapsed = found.since > self._fell_at and found.lost > MANY and found.through < self.COLLAPSED * found.sent
        settled = now - self._pause_until >= self.SETTLE_S
        waits = found.queue_now >= (QUEUE_S if settled else 2 * QUEUE_S)
        if collapsed or (waits and found.latest > self._fell_at):
            carries = _carries(found)
            mild = not found.lost and carries > self.COLLAPSED * found.sent
            if self._limited and self._bits is not None:
                # A few packets tell little; and where they came as fast as they were sent, more may go through.
                least = self.AT_ONCE if carries < self.BELOW * found.sent else self.STANDING
                carries = max(carries, least * self._bits / self.BELOW)
            self._fall(self.BELOW * carries, carries)
            self._pause_until = now + min(found.under_way / carries, self.BRIEF_S if mild else self.DRAIN_S)
            return found.lost > 0
        if found.since > self._fell_at and now - self._lost_at >= Flight.WINDOW_S:
            self._lost_at = now
            self._lose(found.lost)
        self._probe(found)
        return False

    def _probe(self, found: Measured) -> None:
        """Begin a probe, end it at the first queue, or take what went through it for what the network carries."""
        now = self._seconds()
        if self._bits is None:
            return
        if self._probing_since is None:
            idle = self._bits >= UNKNOWN or found.sent < 0.5 * self._bits
            if now >= self._probe_at and not idle and self._clear and found.lost == 0:
                self._probing_since = now
        elif found.queue_now >= self.PROBED:
            self._probe_later()
        elif now - self._probing_since >= (self.PROBE_S if self._limited else 0.5 * self.PROBE_S):
            self._probing_since, self._probe_at = None, now + self.PROBE_AGAIN_S
            self._patience = self.PROBE_EVERY_S
            most = self.RISE * self._bits if self._limited else GREATEST
            shown = (self.HIGHEST if self._limited else self.WIDE) * found.through
            if self._clear and shown > self._bits:
                self._bits = min(shown, most, GREATEST)
                if self._bits > self._limit:
                    self._limit = float("inf")

    def _probe_later(self) -> None:
        self._probing_since, self._probe_at = None, self._seconds() + self._patience
        self._patience = min(2 * self._patience, 2 * self.PROBE_EVERY_S)

    def remb(self, bits: int) -> None:
        """The receiver estimates that its network carries so many bits a second."""
        if self._measured is not None:
            return
        if self._bits is None:
            self._bits = max(bits, LEAST)
        elif bits < 1.1 * self._sent:
            if self.queue >= QUEUE_S:
                # Where the queue grew, the receiver names 85 % of what came through.
                self._fall(bits, bits / 0.85)
            else:
                self._doubt(bits)

    def report(self, lost: float, sent: float, trip: float | None = None) -> None:
        """A receiver report: this share of the packets since the last one is missing, of ``sent`` bits a second.

        :param trip: seconds to the receiver and back, where they are known.
        """
        now = self._seconds()
        if trip is not None:
            self._trips.append((now, trip))
            while now - self._trips[0][0] > self.REMEMBERED_S:
                self._trips.popleft()
        if lost < ALL and self._measured is None:
            self._sent = sent
            self._lose(lost)

    def _lose(self, lost: float) -> None:
        if lost > MOST and self._lossy:
            self._fall(self._sent * (1 - lost), self._sent * (1 - lost))
        elif lost > MANY:
            self._fall((self._bits or self._sent) * (1 - 0.5 * lost), self._limit)
        else:
            self._grow()
        self._lossy = lost > MOST

    def _doubt(self, bits: int) -> None:
        now = self._seconds()
        assert self._bits is not None
        if now - self._doubted_at >= self.DOUBT_S:
            self._doubted_at = now
            self._fall(max(bits, 0.85 * self._bits), self._limit)
        self._grown_at = now

    def _fall(self, bits: float, limit: float) -> None:
        now = self._seconds()
        if limit != self._limit:
            self._limit, self._limited_at = limit, now
        self._grown_at = self._fell_at = now
        self._probe_later()
        self._bits = max(min(bits, self._bits or bits), LEAST)

    def _grow(self) -> None:
        now = self._seconds()
        passed, self._grown_at = min(now - self._grown_at, 2.0), now
        if self._bits is None or now - self._doubted_at < self.DOUBT_S:
            return
        near = self._limited and self._bits > self.NEAR * self._limit
        grown = min(self._bits * (self.CAREFUL if near else self.GROWTH) ** passed, GREATEST)
        if self._measured is not None:
            if not self._clear:
                return
            if self._limited:
                grown = min(grown, self.HIGHEST * self._limit)
        self._bits = max(self._bits, grown)


def _carries(found: Measured) -> float:
    """Bits a second for the pictures in a network with a queue. The sound, of which there is no feedback, loses as many
    packets in it, and is to have its own again."""
    through = found.through if found.carries is None else found.carries
    return max(through - SOUND * max(1 - through / max(found.sent, 1.0), 0.0), LEAST)


class Pacer:
    """When the next packet may go. A picture's packets that come at once fill the short queue of a slow network, and
    what does not fit is lost: so those beyond a burst leave at :data:`FACTOR` times the rate of the network.

    :param seconds: the time; for tests.
    """

    BURST, BURST_S = 6_000, 0.03
    """Bytes that may go at once, or what leaves in so many seconds, whichever is more: 19 kB, a whole key frame, at 2
    Mbit/s, where a picture in which the mouth opens would otherwise come later than the others."""
    FACTOR = 2.5
    """As in draft-ietf-rmcat-gcc-02, section 4: faster than the mean, or a queue would build up here in its place."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._debt = 0.0
        self._at = seconds()

    def sent(self, size: int, bits: int | None) -> float:
        """A packet of ``size`` bytes goes now, over a network of ``bits`` a second (None: not known).

        :returns: seconds to wait before the next one.
        """
        now = self._seconds()
        speed = self.FACTOR * (UNKNOWN if bits is None else bits) / 8
        self._debt = max(self._debt - speed * (now - self._at), 0.0) + size
        self._at = now
        return max(self._debt - max(self.BURST, self.BURST_S * speed), 0.0) / speed


class Repeats:
    """Which packets are sent again when they are asked for. Where a network has become narrow, nearly all are: sent
    again at once, they would be the next to be lost.

    :param seconds: the time; for tests.
    """

    BURST = 20_000
    """Bytes: a key frame."""
    SHARE = 0.25
    """Of what the network carries."""
    APART_S = 0.05
    """Between two of the same packet, at least: the first may be on its way."""
    KNOWN = 512
    """Packets that are remembered."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._left = float(self.BURST)
        self._at = seconds()
        self._sent: dict[int, float] = {}

    def allows(self, number: int, size: int, bits: int | None) -> bool:
        """Whether packet ``number`` of ``size`` bytes goes out again now, over a network of ``bits`` a second (None:
        not known)."""
        now = self._seconds()
        speed = self.SHARE * (UNKNOWN if bits is None else bits) / 8
        self._left = min(self._left + speed * (now - self._at), self.BURST)
        self._at = now
        if size > self._left or now - self._sent.get(number, float("-inf")) < self.APART_S:
            return False
        self._left -= size
        self._sent.pop(number, None)
        self._sent[number] = now
        if len(self._sent) > self.KNOWN:
            del self._sent[next(iter(self._sent))]
        return True
