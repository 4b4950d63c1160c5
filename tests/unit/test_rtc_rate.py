"""What a connection carries, and at what pace its packets leave; all in made-up time."""

from __future__ import annotations

import pytest

from avatar.streams.rtc_rate import LEAST, Pacer, Repeats, SendRate
from avatar.streams.rtc_shared import Viewer


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def seconds(rate: SendRate, time: Time, count: int, carries: float, wanted: float = 9e9) -> list[float]:
    """A receiver behind a queue of a quarter of a second that carries ``carries`` bits a second, as REMB is reckoned:
    85 % of what comes through where the queue grows, else at most half again of what comes; the sender sends what it
    may, and never more than ``wanted``."""
    sent, queue = [], 0.0
    for _ in range(count):
        time.now += 1
        sends = min(rate.bits or 2_000_000, wanted)
        queue = min(max(queue + sends / carries - 1, 0.0), 0.25)
        rate.report(0.0, sends, 0.02 + queue)
        rate.remb(round(0.85 * carries if sends > carries else 1.5 * sends))
        sent.append(sends)
    return sent


def test_nothing_is_known_before_the_first_word(time) -> None:
    assert SendRate(time).bits is None


def test_a_bottleneck_is_kept_from_the_third_second_on(time) -> None:
    rate = SendRate(time)
    assert seconds(rate, time, 5, 5_000_000)[0] == 2_000_000
    sent = seconds(rate, time, 60, 300_000)
    assert sent[0] > 2_000_000
    assert sum(bits > 310_000 for bits in sent[2:]) <= 8, "it looks for more now and then"
    assert max(sent[2:]) < 330_000, "and carefully"
    assert min(sent[2:]) > 200_000


def test_uneven_packets_are_not_taken_for_a_queue(time) -> None:
    """The receiver of a network with jitter says again and again that less goes through than comes."""
    rate = SendRate(time)
    rate.remb(700_000)
    lowest = 700_000
    for _ in range(60):
        time.now += 1
        rate.report(0.0, 500_000, 0.05)
        for _ in range(10):
            rate.remb(425_000)
        lowest = min(lowest, rate.bits)
    assert lowest > 420_000


def test_a_trip_that_was_long_once_is_no_queue(time) -> None:
    rate = SendRate(time)
    for n in range(30):
        time.now += 1
        rate.report(0.03, 500_000, (0.01, 0.16, 0.09)[n % 3])
        assert rate.allows_repeats or n < 3


def test_a_receiver_that_means_it_is_heeded_in_a_while(time) -> None:
    """One that will not have more, whatever the network carries."""
    rate = SendRate(time)
    rate.remb(2_000_000)
    for _ in range(30):
        time.now += 1
        rate.report(0.0, rate.bits, 0.02)
        rate.remb(400_000)
    assert rate.bits < 900_000


def test_a_network_that_was_away_is_as_wide_as_before(time) -> None:
    rate = SendRate(time)
    rate.remb(900_000)
    rate.report(0.97, 500_000, 0.02)
    assert rate.bits == 900_000


def test_copies_are_not_for_bottlenecks(time) -> None:
    rate = SendRate(time)
    assert rate.allows_copies
    seconds(rate, time, 5, 5_000_000)
    assert rate.allows_copies
    seconds(rate, time, 5, 250_000)
    assert not rate.allows_copies
    small = SendRate(time)
    seconds(small, time, 20, 5_000_000, wanted=50_000)
    assert small.allows_copies, "a small picture is no bottleneck"


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
    for _ in range(4):
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
        rate.report(0.8, 50_000)
    assert rate.bits == LEAST


def test_copies_take_half_of_what_goes_through() -> None:
    viewer = Viewer("video/VP8", rate=SendRate(Time()))
    viewer.remb(800_000)
    assert viewer.affords == 800_000
    viewer.report(0.05, 700_000, None)
    viewer.twice = True
    assert viewer.estimate == 800_000
    assert viewer.affords == 400_000


def test_an_ordinary_picture_does_not_wait() -> None:
    time = Time()
    pacer = Pacer(time)
    for _ in range(100):  # 30 a second, two packets each
        assert pacer.sent(1200, 1_000_000) == 0.0
        assert pacer.sent(1200, 1_000_000) == 0.0
        time.now += 1 / 30


def leaving(time: Time, bits: int | None) -> list[float]:
    """When each of the 25 packets of a large key frame leaves."""
    pacer = Pacer(time)
    left = []
    for _ in range(25):
        left.append(time.now)
        time.now += pacer.sent(1200, bits)
    return left


def test_a_key_frame_is_spread_where_the_network_is_slow(time) -> None:
    left = leaving(time, 400_000)
    assert left[4] == left[0], "the burst goes at once"
    assert left[-1] - left[4] == pytest.approx(20 * 1200 * 8 / 1_000_000, rel=0.06)


def test_and_hardly_where_it_is_not(time) -> None:
    left = leaving(time, None)
    assert left[14] == left[0]
    assert left[-1] - left[0] < 0.018


def test_what_is_asked_for_again_is_sent_again(time) -> None:
    repeats = Repeats(time)
    for number in range(300):
        assert repeats.allows(number, 1000, 1_000_000)
        time.now += 0.02
        assert number % 10 or not repeats.allows(number, 1000, 1_000_000), "it is on its way"
        time.now += 0.04


def test_a_storm_of_requests_gets_no_more_than_a_quarter_of_the_network(time) -> None:
    repeats = Repeats(time)
    sent = 0
    for number in range(5000):
        sent += 1000 * repeats.allows(number, 1000, 300_000)
        time.now += 0.002
    assert sent * 8 / 10 == pytest.approx(75_000 + repeats.BURST * 8 / 10, rel=0.03)
