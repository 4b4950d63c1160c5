"""Studies of opinion: plans, checks, storage and statistics, with raters made up for the tests."""

from __future__ import annotations

import csv
import io
import json
import math
import stat
from collections import Counter

import numpy as np
import pytest

from avatar.errors import UsageError
from avatar.models.study import analysis
from avatar.models.study.analysis import MINIMUM, as_csv, interval, raters_of, result, rows
from avatar.models.study.design import CHECKS, MOST, SIDES, Study, card, plan
from avatar.models.study.desk import Desk
from avatar.models.study.store import Answer, Studies

TASTE = {"copy": 2, "head": 4, "screen": 3}


def media(folder, conditions=("copy", "head", "screen"), items=6):
    for condition in conditions:
        (folder / condition).mkdir(parents=True)
        for item in range(items):
            (folder / condition / f"p{item}.png").write_bytes(f"{condition} {item}".encode())
    return folder


@pytest.fixture
def studies(tmp_path):
    return Studies(tmp_path / "studies")


@pytest.fixture
def study(studies, tmp_path):
    return studies.create("smiles", media(tmp_path / "media"))


def rate(studies, study, seed, miss=False, haste=False, stop=None):
    """A made-up rater who likes conditions as in TASTE, with noise of their own."""
    rng = np.random.default_rng(seed)
    rater = studies.begin(study)
    for number, trial in enumerate(plan(study, rater)[:stop]):
        if trial.wanted:
            wrong = [answer for answer in trial.answers if answer != trial.wanted]
            answer = wrong[0] if miss else trial.wanted
        elif trial.kind == "rating":
            answer = str(int(np.clip(TASTE[trial.shown[0][0]] + rng.integers(-1, 2), 1, 5)))
        else:
            left, right = (TASTE[shown[0]] for shown in trial.shown)
            answer = SIDES[int(right > left)] if rng.random() < 0.9 else SIDES[int(right <= left)]
        studies.add(study, rater, Answer(number, answer, 100 if haste else 1500))
    return rater


# --- plans ------------------------------------------------------------------------------------------------------------


def test_every_rater_sees_another_order_and_the_same_one_again(study):
    first, again, other = plan(study, "a" * 16), plan(study, "a" * 16), plan(study, "b" * 16)
    assert first == again
    assert [t.shown for t in first] != [t.shown for t in other]
    assert Counter(t.shown for t in first if t.kind == "rating" and not t.wanted) == Counter(
        t.shown for t in other if t.kind == "rating" and not t.wanted
    )


def test_every_condition_is_rated_equally_often_on_the_same_items(study):
    for seed in range(20):
        shown = [t.shown[0] for t in plan(study, f"{seed:016x}") if t.kind == "rating" and not t.wanted]
        assert len(set(Counter(condition for condition, _ in shown).values())) == 1
        items = [{item for condition, item in shown if condition == name} for name in study.conditions]
        assert items[0] == items[1] == items[2]


def test_sides_are_drawn_and_pairs_are_of_one_item(study):
    left = Counter()
    for seed in range(60):
        for trial in plan(study, f"{seed:016x}"):
            if trial.kind == "pair" and not trial.wanted:
                (a, item), (b, other) = trial.shown
                assert item == other
                assert a != b
                left[a] += 1
    assert max(left.values()) < 1.15 * min(left.values())


def test_checks_are_spread_and_ask_for_different_answers(study):
    wanted = Counter()
    for seed in range(40):
        trials = plan(study, f"{seed:016x}")
        for kind in study.kinds:
            mine = [t for t in trials if t.kind == kind]
            places = [i for i, t in enumerate(mine) if t.wanted]
            assert len(places) >= CHECKS
            assert places[0] < len(mine) / 2 < places[-1]
            wanted.update(mine[i].wanted for i in places)
    assert set(wanted) == {"1", "2", "3", "4", "5", "left", "right"}


def test_a_large_study_stays_short_for_each_rater(studies, tmp_path):
    big = studies.create("big", media(tmp_path / "big", items=80))
    trials = plan(big, "c" * 16)
    assert MOST - 6 <= sum(not t.wanted for t in trials) <= MOST
    seen = {item for seed in range(60) for t in plan(big, f"{seed:016x}") for _, item in t.shown}
    assert len(seen) == 80


def test_a_check_looks_like_no_other_and_says_what_to_press():
    assert card("4").shape == (512, 512, 3)
    assert (card("4") != card("5")).any()


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_study_is_kept_with_copies_and_for_its_owner_only(studies, study, tmp_path):
    for path in (tmp_path / "media").rglob("*.png"):
        path.unlink()
    assert studies.load("smiles") == study
    assert studies.media(study, "head", "p3").read_bytes() == b"head 3"
    rater = studies.begin(study)
    place = studies.folder / "smiles"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    studies.add(study, rater, Answer(0, plan(study, rater)[0].answers[0], 900))
    assert stat.S_IMODE((place / "answers" / f"{rater}.jsonl").stat().st_mode) == 0o600


def test_answers_come_in_order_once_and_fit_the_question(studies, study):
    rater = studies.begin(study)
    for wrong in (Answer(1, "3", 900), Answer(-1, "3", 900), Answer(0, "6", 900), Answer(0, "left", 900)):
        with pytest.raises(UsageError):
            studies.add(study, rater, wrong)
    studies.add(study, rater, Answer(0, "3", 900))
    with pytest.raises(UsageError, match="has been answered"):
        studies.add(study, rater, Answer(0, "5", 900))
    assert studies.answers(study, rater) == [Answer(0, "3", 900)]


def test_a_line_that_was_cut_off_is_asked_again(studies, study):
    rater = rate(studies, study, 1, stop=3)
    path = studies.folder / "smiles" / "answers" / f"{rater}.jsonl"
    path.write_text(path.read_text()[:-9])
    assert [a.number for a in studies.answers(study, rater)] == [0, 1]


def test_one_rater_or_the_whole_study_can_be_deleted(studies, study):
    stays, goes = rate(studies, study, 1), rate(studies, study, 2)
    studies.withdraw(study, goes)
    assert studies.raters(study) == [stays]
    with pytest.raises(UsageError, match="no answers of that rater"):
        studies.withdraw(study, goes)
    studies.delete("smiles")
    assert studies.names() == []
    assert not (studies.folder / "smiles").exists()


@pytest.mark.parametrize("rater", ["", "../../etc/passwd", "a" * 15, "A" * 16, "a" * 16])
def test_whoever_is_no_rater_gets_nothing(studies, study, rater):
    desk = Desk(studies, study)
    for act in (lambda: desk.question(rater), lambda: desk.answer(rater, 0, "3", 900), lambda: desk.media(rater, 0, 0)):
        with pytest.raises(UsageError):
            act()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: [p.unlink() for p in (m / "head").iterdir()] and None, "no 'p0'; every folder must have the same"),
        (lambda m: (m / "copy" / "p2.png").unlink(), "copy: no 'p2'"),
        (lambda m: [p.rename(m.parent / p.name) for p in (m / "head", m / "screen")], "two folders at least"),
        (lambda m: [p.rename(p.with_suffix(".txt")) for p in m.rglob("*.png")], "no pictures or clips"),
        (lambda m: m.rename(m.parent / "elsewhere"), "cannot be read"),
    ],
)
def test_folders_that_are_no_study(studies, tmp_path, change, says):
    source = media(tmp_path / "m")
    change(source)
    with pytest.raises(UsageError, match=says) as caught:
        studies.create("x", source)
    assert "\n" not in str(caught.value)
    assert studies.names() == []


def test_names_and_kinds_are_checked(studies, study, tmp_path):
    for arguments, says in (
        (("../x", tmp_path / "media"), "study name"),
        (("smiles", tmp_path / "media"), "already"),
        (("y", tmp_path / "media", "triples"), "--kind triples"),
        (("y", tmp_path / "media", "both", ""), "1 to 200 characters"),
    ):
        with pytest.raises(UsageError, match=says):
            studies.create(*arguments)
    with pytest.raises(UsageError, match="no study named 'z'; there are: smiles"):
        studies.load("z")
    (studies.folder / "smiles" / "study.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        studies.load("smiles")


# --- blind ------------------------------------------------------------------------------------------------------------


def test_nothing_that_a_rater_gets_names_a_condition(studies, study):
    desk = Desk(studies, study)
    rater = desk.begin()["rater"]
    for number, trial in enumerate(plan(study, rater)):
        said = desk.question(rater)
        assert said["number"] == number
        text = json.dumps(said)
        assert not [word for word in (*study.conditions, *study.items, "check") if word in text]
        assert set(said) == {"done", "number", "total", "kind", "question", "answers", "media"}
        assert said["media"] == ["image/png"] * (2 if trial.kind == "pair" else 1)
        with pytest.raises(UsageError, match="not due yet"):
            desk.media(rater, number + 1, 0)
        desk.answer(rater, number, trial.wanted or trial.answers[0], 1000)
    assert desk.question(rater) == {"done": True, "total": len(plan(study, rater))}


def test_the_right_pictures_are_handed_out(studies, study):
    desk = Desk(studies, study)
    rater = desk.begin()["rater"]
    for number, trial in enumerate(plan(study, rater)):
        for slot in range(2 if trial.kind == "pair" else 1):
            shown, kind = desk.media(rater, number, slot)
            assert kind == "image/png"
            if trial.wanted:
                assert isinstance(shown, bytes)
            else:
                condition, item = trial.shown[slot]
                assert shown.read_text() == f"{condition} {item[1:]}"
        desk.answer(rater, number, trial.wanted or trial.answers[0], 1000)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_no_figure_before_enough_attentive_people_have_finished(studies, study):
    for seed in range(MINIMUM - 1):
        rate(studies, study, seed)
    rate(studies, study, 100, miss=True)
    rate(studies, study, 101, haste=True)
    rate(studies, study, 102, stop=7)
    found = result(study, raters_of(studies, study))
    assert found["mos"] is None
    assert found["pairs"] is None
    assert not [key for key in found if key in ("differences", "answers")]
    assert found["raters"] == {
        "begun": MINIMUM + 2,
        "attentive": MINIMUM - 1,
        "minimum": MINIMUM,
        "left_out": {"unfinished": 1, "failed a check": 1, "in haste": 1},
    }
    rate(studies, study, 103)
    assert result(study, raters_of(studies, study))["mos"] is not None


def test_opinions_come_out_as_they_were_made_up(studies, study):
    for seed in range(MINIMUM + 5):
        rate(studies, study, seed)
    rate(studies, study, 200, miss=True)
    raters = raters_of(studies, study)
    found = result(study, raters)
    for name, taste in TASTE.items():
        one = found["mos"][name]
        assert one["lo"] <= one["mean"] <= one["hi"]
        assert abs(one["mean"] - taste) < 0.25
        assert one["raters"] == MINIMUM + 5
    assert found["differences"]["copy - head"]["hi"] < -1.5
    assert found["pairs"]["copy over head"]["share"] < 0.25
    assert found["pairs"]["copy over head"]["hi"] < 0.5
    table = rows(raters)
    assert next(iter(csv.DictReader(io.StringIO(as_csv(table)))))["rater"] == "r001"
    assert {row["why_not"] for row in table if not row["counted"]} == {"failed a check"}
    assert not any(studies.raters(study)[0] in str(row.values()) for row in table)


def test_the_interval_is_students_t_over_raters():
    mean, low, high = interval([3.0, 4.0, 5.0])
    assert mean == 4
    assert high - mean == pytest.approx(4.3027 / math.sqrt(3), abs=1e-3)
    assert mean - low == pytest.approx(high - mean)
    rng = np.random.default_rng(5)
    inside = [a <= 3.3 <= b for _, a, b in (interval(rng.normal(3.3, 0.6, 15)) for _ in range(600))]
    assert 0.92 < np.mean(inside) < 0.98


def test_one_slow_half_does_not_hide_haste(studies, study):
    trials = plan(study, "d" * 16)
    made = [Answer(i, t.wanted or t.answers[0], 100 if i % 4 == 0 else 5000) for i, t in enumerate(trials)]
    assert analysis.Rater("d" * 16, trials, made).fault == "in haste"
    calm = [Answer(a.number, a.answer, 5000) for a in made]
    assert analysis.Rater("d" * 16, trials, calm).fault == ""


def test_ratings_alone_and_pairs_alone(studies, tmp_path):
    for kind, key in (("rating", "mos"), ("pairs", "pairs")):
        one: Study = studies.create(f"only-{kind}", media(tmp_path / kind), kind)
        for seed in range(MINIMUM):
            rate(studies, one, seed)
        found = result(one, raters_of(studies, one))
        assert [name for name in ("mos", "pairs") if found[name] is not None] == [key]
