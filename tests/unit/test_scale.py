"""Who gets a place, and what is given up in which order."""

from __future__ import annotations

import itertools

import pytest

from avatar.core.types import SECOND, Ns
from avatar.errors import RunError
from avatar.scale.admission import ROOM_S, SHARE, Admission
from avatar.scale.sessions import turn
from avatar.scale.shedding import LADDER, Shedder
from avatar.sync.cadence import Cadence


def test_places_are_limited_by_the_count_and_by_the_cores():
    assert Admission(8, 2.0, 0.3).limit == int(2.0 * SHARE / 0.3)
    assert Admission(3, 64.0, 0.3).limit == 3
    assert Admission(8, 1.0, 3.0).limit == 1, "a slow machine still has one"


def test_a_place_is_taken_once_and_given_back_once():
    admission = Admission(2, 64.0, 0.1)
    admission.reserve("a")
    admission.reserve("b")
    with pytest.raises(RunError, match="2 sessions are all"):
        admission.reserve("c")
    admission.release("a")
    admission.release("a")
    admission.reserve("c")
    assert (admission.taken, admission.refused, admission.has_room) == (2, 1, False)
    admission.release("b")
    admission.open = False
    with pytest.raises(RunError, match="ending"):
        admission.reserve("d")


def test_what_sessions_really_cost_is_learnt_within_bounds():
    admission = Admission(100, 8.0, 0.4)
    for _ in range(100):
        admission.learn(0.8)
    assert admission.cost == pytest.approx(0.8, rel=1e-3)
    assert admission.limit == int(8.0 * SHARE / admission.cost)
    for _ in range(1000):
        admission.learn(50.0)
    assert admission.cost == pytest.approx(1.2)


def test_a_fourth_session_gets_a_place_once_three_have_shown_that_they_take_less_than_was_reckoned():
    admission = Admission(8, 2.0, 0.46)
    assert admission.limit == 3
    for _ in range(3):
        admission.learn(0.30)
    assert admission.limit == 4


def run(shedder: Shedder, seconds: float, late_ms: float, start: float = 0.0, skipped: float = 0.0) -> list[int]:
    return [shedder.step(start + k / 2, late_ms, skipped) for k in range(round(2 * seconds))]


def test_one_thing_after_the_other_is_given_up():
    shedder = Shedder(40.0)
    levels = run(shedder, 12, late_ms=35.0)
    assert sorted(set(levels)) == [1, 2, 3]
    assert levels == sorted(levels), "in the order of the ladder"
    assert levels[-1] == len(LADDER) - 1
    changes = [k for k in range(1, len(levels)) if levels[k] != levels[k - 1]]
    assert all(b - a >= 2 * Shedder.SETTLE_S for a, b in itertools.pairwise(changes))


def test_skipped_pictures_count_as_late_and_a_hiccup_does_not():
    assert run(Shedder(40.0), 5, late_ms=1.0, skipped=0.2)[-1] > 0
    assert run(Shedder(40.0), 60, late_ms=12.0) == [0] * 120, "neither late nor calm: as it is"


def test_it_comes_back_in_calm_and_more_slowly_each_time_that_did_not_last():
    shedder, now = Shedder(40.0, top=1), 0.0
    waits = []
    for _ in range(4):
        while shedder.step(now, 35.0, 0.0) == 0:
            now += 0.5
        given_up = now
        while shedder.step(now, 1.0, 0.0) == 1:
            now += 0.5
        waits.append(now - given_up)
        now += 0.5
    assert waits[0] >= Shedder.CALM_S
    assert waits == sorted(waits)
    assert waits[-1] > 3 * waits[0]


def test_a_lasting_calm_is_trusted_again():
    shedder, now = Shedder(40.0, top=1), 0.0
    for _ in range(3):
        while shedder.step(now, 35.0, 0.0) == 0:
            now += 0.5
        while shedder.step(now, 1.0, 0.0) == 1:
            now += 0.5
    for _ in range(2 * 400):
        now += 0.5
        shedder.step(now, 1.0, 0.0)
    assert shedder.step(now + 0.5, 35.0, 0.0) == 1
    begun = now + 0.5
    while shedder.step(now, 1.0, 0.0) == 1:
        now += 0.5
    assert now - begun <= Shedder.CALM_S + Shedder.SETTLE_S + 1


def test_a_slower_grid_goes_on_where_the_faster_one_was():
    cadence, now, times = Cadence(25), 0, []
    for k in range(100):
        if k in (30, 60):
            cadence = cadence.slower(2 if k == 30 else 1, 25)
        times.append(cadence.next(Ns(now)))
        now = times[-1] + SECOND // 1000
    steps = [round((b - a) / 1e6) for a, b in itertools.pairwise(times)]
    assert min(steps) > 0, "never twice the same picture"
    assert set(steps[:29]) == set(steps[61:]) == {40}
    assert set(steps[31:59]) == {80}
    assert cadence.skipped == 0


def test_a_further_session_is_let_in_by_drawing_all_of_them_more_cheaply():
    admission = Admission(8, 2.0, 0.6, 0.4, 0.25)
    tiers = []
    for name in "abcdef":
        admission.reserve(name)
        tiers.append(admission.tier)
    assert tiers == [0, 0, 1, 1, 2, 2]
    assert admission.limit == 6
    with pytest.raises(RunError, match="6 sessions are all"):
        admission.reserve("g")


def test_a_better_tier_comes_back_one_at_a_time_after_a_while_with_room_to_spare():
    admission = Admission(8, 2.0, 0.6, 0.4, 0.25)
    for name in "abcde":
        admission.reserve(name)
    assert admission.settle(0.0) == 2
    for name in "bcde":
        admission.release(name)
    tiers = [admission.settle(float(now)) for now in range(1, 60)]
    assert tiers.index(1) == pytest.approx(ROOM_S, abs=1)
    assert tiers.index(0) == pytest.approx(2 * ROOM_S, abs=2)
    admission.reserve("b")
    admission.reserve("c")
    assert admission.tier == 1
    admission.release("c")
    assert admission.settle(100.0) == 1
    admission.reserve("c")
    assert [admission.settle(100.0 + now) for now in range(60)] == [1] * 60, "three have no room in the better one"


def test_sessions_that_take_more_than_was_reckoned_are_drawn_more_cheaply_at_once():
    admission = Admission(8, 2.0, 0.6, 0.4)
    admission.reserve("a")
    admission.reserve("b")
    for _ in range(30):
        admission.learn(0.9)
    assert admission.settle(0.0) == 1
    assert admission.cost == pytest.approx(0.4 * 1.5, rel=0.05), "what one tier teaches holds for the others"


def test_what_somebody_who_joins_costs_is_no_reason_to_give_anything_up():
    shedder = Shedder(40.0)
    shedder.excuse(10.0)
    assert shedder.step(10.5, 60.0, 0.3) == 0
    assert shedder.step(10.0 + Shedder.EXCUSED_S - 0.1, 60.0, 0.3) == 0
    assert shedder.step(10.0 + Shedder.EXCUSED_S, 60.0, 0.3) == 1, "it has not passed"


def test_late_pictures_bring_a_cheaper_tier_which_stays_longer_each_time():
    admission, now, waits = Admission(8, 8.0, 0.6, 0.4), 0.0, []
    admission.reserve("a")
    for _ in range(3):
        admission.overrun()
        begun = now
        while admission.settle(now) == 1:
            now += 1.0
        waits.append(now - begun)
    assert waits == pytest.approx([2 * ROOM_S, 4 * ROOM_S, 8 * ROOM_S], abs=1)
    admission.overrun()
    admission.overrun()
    assert admission.tier == 1, "there is none below it"


def test_turns_are_spread_however_many_there_are():
    for count in (2, 3, 4, 6, 8):
        turns = sorted(turn(number) for number in range(count))
        apart = [b - a for a, b in itertools.pairwise([*turns, 1.0])]
        assert min(apart) >= 0.5 / count
