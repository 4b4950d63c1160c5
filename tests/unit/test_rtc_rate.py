"""What a connection carries, and at what pace its packets leave; all in made-up time."""

from __future__ import annotations

import pytest

from avatar.streams.rtc_rate import LEAST, Pacer, SendRate
from avatar.streams.rtc_shared import Viewer


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_known_before_the_first_word() -> None:
    assert SendRate().bits is None


def test_the_receivers_estimate_counts_where_little_is_lost() -> None:
    rate = SendRate()
    rate.remb(900_000)
    rate.report(0.05, 2_000_000)
    assert rate.bits == 900_000


def test_a_network_without_a_queue_is_found_by_its_losses() -> None:
    """A policer of 300 kbit/s drops what is too much and delays nothing: the receiver's estimate stays high."""
    rate = SendRate()
    rate.remb(3_000_000)
    sent = 2_000_000.0
    for _ in range(12):
        rate.report(max(1 - 300_000 / sent, 0.0), sent)
        assert rate.bits is not None
        sent = rate.bits
    assert 250_000 < rate.bits < 400_000


def test_it_comes_back_slowly_and_then_the_receiver_is_believed_again() -> None:
    rate = SendRate()
    rate.remb(1_000_000)
    rate.report(0.5, 800_000)
    low = rate.bits
    assert low == 600_000
    rises = []
    while rate.bits < 1_000_000:
        rate.report(0.0, rate.bits)
        rises.append(rate.bits)
    assert 8 <= len(rises) <= 14
    rate.remb(2_000_000)
    assert rate.bits == 2_000_000


def test_some_losses_are_left_to_the_copies() -> None:
    rate = SendRate()
    rate.remb(1_000_000)
    for _ in range(50):
        rate.report(0.08, 500_000)
    assert rate.bits == 1_000_000


def test_it_never_falls_to_nothing() -> None:
    rate = SendRate()
    for _ in range(100):
        rate.report(0.9, 50_000)
    assert rate.bits == LEAST


def test_copies_take_half_of_what_goes_through() -> None:
    viewer = Viewer("video/VP8")
    viewer.remb(800_000)
    assert viewer.affords == 800_000
    viewer.report(0.05, 700_000, twice=True)
    assert viewer.estimate == 800_000
    assert viewer.affords == 400_000


def test_an_ordinary_picture_does_not_wait() -> None:
    time = Time()
    pacer = Pacer(time)
    for _ in range(100):  # 30 a second, two packets each
        assert pacer.sent(1200, 1_000_000) == 0.0
        assert pacer.sent(1200, 1_000_000) == 0.0
        time.now += 1 / 30


def test_a_key_frame_is_spread() -> None:
    time = Time()
    pacer = Pacer(time)
    left = []
    for _ in range(25):
        left.append(time.now)
        time.now += pacer.sent(1200, 1_000_000)
    assert left[4] == left[0], "the burst goes at once"
    took = left[-1] - left[4]
    assert took == pytest.approx(20 * 1200 * 8 / 2_500_000, rel=0.06)


def test_a_network_that_nobody_has_spoken_of_is_not_paced() -> None:
    time = Time()
    pacer = Pacer(time)
    assert sum(pacer.sent(1200, None) for _ in range(100)) == 0.0
    assert pacer.sent(1200, 100_000) == 0.0, "and owes nothing afterwards"
