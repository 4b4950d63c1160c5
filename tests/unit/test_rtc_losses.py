"""When everything is sent twice."""

from __future__ import annotations

import pytest

from avatar.streams.rtc_patches import Losses, LostShare


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def test_a_good_network_gets_everything_once(time) -> None:
    losses = Losses(time)
    assert not losses.high
    for share in (0.0, 0.01, 0.0, 0.03, 0.0):  # a single packet of a quiet second
        losses.report(1, share)
        assert not losses.high


def test_a_lossy_network_is_noticed_within_seconds(time) -> None:
    losses = Losses(time)
    reports = 0
    while not losses.high:
        losses.report(1, 0.05)
        reports += 1
    assert reports <= 3


def test_it_stays_lossy_for_a_while_and_then_no_more(time) -> None:
    losses = Losses(time)
    for _ in range(5):
        losses.report(1, 0.1)
    for _ in range(40):  # the copies arrive: the receiver misses nothing
        losses.report(1, 0.0)
    time.now += 29
    assert losses.high
    time.now += 2
    assert not losses.high


def test_one_stream_speaks_for_the_other(time) -> None:
    """Copies of pictures go in a stream of their own, so the pictures' reports still say what gets lost."""
    losses = Losses(time)
    for _ in range(20):
        losses.report(1, 0.0)
        losses.report(2, 0.08)
    assert losses.high


def test_the_share_of_a_window_not_of_a_report() -> None:
    """A browser reports at once when it misses a packet; nobody concludes from three packets."""
    share = LostShare()
    assert share.since(100, 0, 0.0) is None, "from here on"
    assert share.since(103, 2, 0.05) is None
    assert share.since(140, 2, 0.5) == pytest.approx(2 / 40)
    assert share.since(140, 2, 1.0) is None, "nothing came"
    assert share.since(150, 12, 1.1) == 1.0
    assert share.since(180, 11, 1.6) == 0.0, "what came late after all"
