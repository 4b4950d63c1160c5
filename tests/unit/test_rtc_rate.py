"""What a connection carries, and at what pace its packets leave; all in made-up time."""

from __future__ import annotations

import pytest

from avatar.streams.rtc_rate import LEAST, Pacer, SendRate
from avatar.streams.rtc_shared import Viewer


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def seconds(rate: SendRate, time: Time, count: int, carries: float, wanted: float = 9e9) -> list[float]:
    """A receiver behind a queue of ``carries`` bits a second, as REMB is reckoned: 85 % of what comes through where the
    queue grows, else at most half again of what comes; the sender sends what it may, and never more than ``wanted``."""
    sent = []
    for _ in range(count):
        time.now += 1
        sends = min(rate.bits or 2_000_000, wanted)
        rate.report(0.0, sends)
        rate.remb(round(0.85 * carries if sends > carries else 1.5 * sends))
        sent.append(sends)
    return sent


def test_nothing_is_known_before_the_first_word(time) -> None:
    assert SendRate(time).bits is None


def test_a_bottleneck_is_kept_from_the_second_second_on(time) -> None:
    sent = seconds(SendRate(time), time, 60, 300_000)
    assert sent[0] == 2_000_000
    over = [bits > 300_000 for bits in sent[1:]]
    assert sum(over) <= 6, "it looks for more every ten seconds or so"
    assert max(sent[1:]) < 310_000, "and carefully"
    assert min(sent[1:]) > 200_000


def test_a_face_at_rest_is_not_taken_for_a_bottleneck(time) -> None:
    """The receiver of 80 kbit/s says 120; nothing stands against a picture that needs 600."""
    rate = SendRate(time)
    seconds(rate, time, 3, 300_000)
    seconds(rate, time, 40, 9e9, wanted=80_000)
    assert rate.bits is not None
    assert rate.bits > 600_000


def test_a_wide_network_is_used_again(time) -> None:
    rate = SendRate(time)
    seconds(rate, time, 10, 300_000)
    sent = seconds(rate, time, 30, 5_000_000)
    assert sent[20] > 380_000
    assert sent[-1] > 700_000


def test_a_network_without_a_queue_is_found_by_its_losses(time) -> None:
    """A policer of 300 kbit/s drops what is too much and delays nothing: the receiver's estimate stays high."""
    rate = SendRate(time)
    rate.remb(3_000_000)
    sent = 2_000_000.0
    for _ in range(3):
        time.now += 1
        rate.report(max(1 - 300_000 / sent, 0.0), sent)
        assert rate.bits is not None
        sent = rate.bits
    assert 250_000 < rate.bits < 400_000


def test_a_tenth_lost_by_chance_is_left_to_the_copies(time) -> None:
    rate = SendRate(time)
    rate.remb(1_000_000)
    for n in range(50):
        time.now += 1
        rate.report((0.06, 0.1, 0.14)[n % 3], 500_000)
    assert rate.bits is not None
    assert rate.bits >= 1_000_000


def test_it_never_falls_to_nothing(time) -> None:
    rate = SendRate(time)
    for _ in range(100):
        rate.report(0.9, 50_000)
    assert rate.bits == LEAST


def test_copies_take_half_of_what_goes_through() -> None:
    viewer = Viewer("video/VP8", rate=SendRate(Time()))
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
