"""A viewer's way becomes narrow and wide again, in made-up time: the sender's own parts over a queue of a quarter of a
second, pictures whose sizes follow the rate that they are given, and a receiver as a browser is one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from avatar.streams.rtc_feedback import Flight, Measured
from avatar.streams.rtc_rate import Pacer, Repeats, SendRate
from avatar.streams.rtc_shared import Viewer
from avatar.testing.relay import Impaired, Impairment
from avatar.testing.virtual_loop import run_virtual

FPS, FEEDBACK_S, FULL = 30, 0.06, 900_000
"""FULL: bits a second of pictures that nothing limits."""
SOUND, WRAPPED, PACKET = 236, 52, 1180
"""Bytes on the wire of 20 ms of sound; of headers besides a packet's own; of a packet's payload."""


@dataclass
class Run:
    """A viewer of whom everything is known."""

    way: Impairment
    stall_s: float = 0.0
    """The receiver sleeps so long at the beginning of every second."""
    restless: bool = True
    """Whether the face moves so that its pictures take all that they may."""
    shown: list[float] = field(default_factory=list)
    rates: list[tuple[float, int | None]] = field(default_factory=list)
    delays: list[tuple[float, float]] = field(default_factory=list)
    """(when it left, seconds that it took) of every datagram that came."""
    keys: list[float] = field(default_factory=list)
    probes: int = 0

    async def go(self, phases: list[tuple[float, Impaired]]) -> Run:
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.viewer = Viewer("video/VP8", rate=SendRate(self.now))
        self.pacer, self.repeats, self.flight = Pacer(self.now), Repeats(self.now), Flight()
        self.number = self.reported = self.oldest = 0
        self.history: dict[int, tuple[int, int, int, bool]] = {}
        self.came: dict[int, float] = {}
        self.whole: dict[int, tuple[set[int], int, bool]] = {}
        self.missing: dict[int, float] = {}
        self.next = self.seen = 0
        self.waiting: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
        tasks = [asyncio.create_task(job()) for job in (self.pictures, self.sender, self.sound, self.receiver)]
        for seconds, what in phases:
            self.way.what = what
            await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        return self

    # --- the engine's side

    async def pictures(self) -> None:
        random = np.random.default_rng(1)
        for n in range(1 << 30):
            rate = self.viewer.rate
            self.rates.append((self.now(), rate.bits))
            if not rate.holds:
                key = self.viewer.wants_key
                if self.viewer.takes(key):
                    bits = min(rate.bits or FULL, FULL) if self.restless else 60_000
                    size = bits / 8 / FPS * (3.0 if key else float(random.lognormal(-0.08, 0.4)))
                    rate.spend(round(size))
                    self.waiting.put_nowait((round(size), key))
                    self.keys += [self.now()] * key
            await asyncio.sleep(max((n + 1) / FPS - self.now(), 0))

    async def sender(self) -> None:
        picture = sequence = 0
        while True:
            size, key = await self.waiting.get()
            count = -(-size // PACKET)
            if key:
                self.oldest = sequence
            for _ in range(count):
                self.history[sequence] = size // count + 32, picture, count, key
                await asyncio.sleep(self.send(sequence))
                sequence += 1
            picture += 1
            if self.viewer.rate.probing > 0.5 * (picture % 2):
                self.probes += 1
                for k in range(sequence - count, sequence):
                    self.send(k)

    def send(self, sequence: int) -> float:
        size = self.history[sequence][0]
        number, self.number = self.number, self.number + 1
        self.flight.leave(number % 65536, size, self.now())
        self.carry(size + WRAPPED, number, sequence)
        wait = self.pacer.sent(size, self.viewer.estimate)
        return wait if wait > 0.001 else 0.0

    def carry(self, size: int, number: int = -1, sequence: int = -1) -> None:
        now = self.now()
        at = self.way.departure(now, size)
        if at is not None:
            self.delays.append((now, at - now))
            at = max(at, int(at) + self.stall_s)
            if number >= 0:
                self.loop.call_at(at, self.arrive, number, sequence)

    async def sound(self) -> None:
        for n in range(1 << 30):
            self.carry(SOUND)
            await asyncio.sleep(max((n + 1) / 50 - self.now(), 0))

    # --- the browser's side

    def arrive(self, number: int, sequence: int) -> None:
        self.came[number] = self.now()
        self.missing.update({k: self.now() for k in range(self.seen, sequence)})
        self.seen = max(self.seen, sequence + 1)
        self.missing.pop(sequence, None)
        _, picture, count, key = self.history[sequence]
        self.whole.setdefault(picture, (set(), count, key))[0].add(sequence)
        ready = sorted(n for n, (have, of, _) in self.whole.items() if len(have) == of and n >= self.next)
        for n in ready:
            if n == self.next or self.whole[n][2]:
                self.next = n + 1
                self.shown.append(self.now())

    async def receiver(self) -> None:
        while True:
            await asyncio.sleep(FEEDBACK_S)
            newest = max(self.came, default=-1)
            found = [(n % 65536, self.came.get(n)) for n in range(self.reported, newest + 1)]
            self.reported = newest + 1
            if found and (measured := self.flight.heard(found, self.now())) is not None:
                self.viewer.measured(measured)
            for sequence, at in list(self.missing.items()):
                if self.history[sequence][1] < self.next or sequence < self.oldest:
                    del self.missing[sequence]
                elif (
                    at <= self.now()
                    and self.viewer.allows_repeats
                    and self.repeats.allows(sequence, self.history[sequence][0], self.viewer.estimate)
                ):
                    self.missing[sequence] = self.now() + FEEDBACK_S
                    self.send(sequence)

    # --- what came of it

    def gaps(self, start: float, end: float) -> list[tuple[float, float]]:
        """(when it ended, how long) of every time without a new picture."""
        inside = np.array([at for at in self.shown if start <= at < end] + [end])
        return [(float(at - start), float(gap)) for at, gap in zip(inside[1:], np.diff(inside), strict=True)]


FREE, NARROW, WIDE = 5.0, 16.0, 10.0


def narrowed(seed: int = 0, bits: int = 300_000, early: float = 0.0, **more: float) -> Run:
    run = Run(Impairment(Impaired(), seed), **more)
    return run_virtual(
        run.go([(FREE + early, Impaired()), (NARROW, Impaired(rate=bits)), (WIDE, Impaired())]),
    )


@pytest.mark.parametrize("early", [0.0, 0.21, 0.48, 0.77])
@pytest.mark.parametrize("bits", [250_000, 300_000, 500_000])
def test_a_bottleneck_is_followed_within_a_second_and_then_kept(bits, early):
    run = narrowed(bits=bits, early=early)
    start = FREE + early
    gaps = run.gaps(start, start + NARROW)
    assert max(gap for _, gap in gaps) < 0.8, "how long the first freeze is"
    assert max((at for at, gap in gaps if gap > 0.25), default=0.0) < 1.2, "no picture is late after it"
    waits = [wait for at, wait in run.delays if start + 2 < at < start + NARROW]
    assert np.mean(waits) < 0.06, "no queue stands"
    rates = [rate for at, rate in run.rates if start + 2 < at < start + NARROW]
    left = bits - SOUND * 8 * 50
    assert 0.6 * left < min(rates)
    assert max(rates) < left
    assert sum(start < at < start + NARROW for at in run.keys) <= 2, "what is made again and again is no picture"


def test_a_wide_network_is_used_again_within_seconds():
    run = narrowed()
    assert run.probes
    back = FREE + NARROW
    wide = next(at for at, rate in run.rates if at > back and rate is not None and rate > 2 * 300_000)
    assert wide - back < 8.5
    assert max(gap for _, gap in run.gaps(back + 0.5, back + WIDE)) < 0.15


def test_a_receiver_that_sleeps_now_and_then_has_no_narrow_network():
    run = Run(Impairment(Impaired(), 0), stall_s=0.2)
    run_virtual(run.go([(20.0, Impaired())]))
    assert {rate for _, rate in run.rates} == {None}


def test_jitter_is_no_narrow_network():
    run = Run(Impairment(Impaired(jitter=0.08), 0))
    run_virtual(run.go([(20.0, Impaired(jitter=0.08))]))
    assert {rate for _, rate in run.rates} == {None}


def test_a_face_at_rest_is_not_probed():
    """What it sends says nothing of what would go through."""
    run = narrowed(restless=False)
    assert run.probes == 0
    assert max(gap for _, gap in run.gaps(FREE, FREE + NARROW)) < 0.1


def test_after_five_seconds_without_network_the_rate_is_as_before():
    run = Run(Impairment(Impaired(), 0))
    run_virtual(run.go([(5.0, Impaired()), (5.0, Impaired(loss=1.0)), (5.0, Impaired())]))
    assert run.rates[-1][1] is None or run.rates[-1][1] > FULL


def met(queue: float, **more: float) -> Measured:
    known = {"sent": 900_000.0, "through": 300_000.0, "lost": 0.3, "queue": 0.0}
    return Measured(**{**known, "queue_now": queue, "carries": 250_000.0, "under_way": 60_000.0, **more})


def test_the_sound_gets_its_share_back():
    """In a full queue it loses as much as the pictures; they are to leave it all of what it needs."""
    now = 10.0
    rate = SendRate(lambda: now)
    assert rate.measured(met(0.2, since=9.0, latest=9.5)), "some were lost"
    assert rate.bits is not None
    assert rate.bits < 0.85 * (250_000 - 0.7 * 90_000)


def test_what_left_before_a_fall_does_not_count_again():
    now = 10.0
    rate = SendRate(lambda: now)
    rate.measured(met(0.2, since=9.0, latest=9.5))
    first = rate.bits
    assert rate.pausing
    assert rate.holds
    now = 10.5
    assert not rate.pausing
    rate.measured(met(0.3, since=9.6, latest=9.9, carries=100_000.0))
    assert rate.bits == first
    rate.measured(met(0.3, since=9.6, latest=10.1, carries=150_000.0))
    assert rate.bits < first


def test_a_pause_ends_when_the_queue_is_empty():
    now = 10.0
    rate = SendRate(lambda: now)
    rate.measured(met(0.2, since=9.0, latest=9.5))
    now = 10.05
    rate.measured(met(0.2, since=9.0, latest=9.6, under_way=9_000.0))
    assert rate.pausing
    now = 10.1
    rate.measured(met(0.2, since=9.0, latest=9.7, under_way=0.0))
    assert not rate.pausing
