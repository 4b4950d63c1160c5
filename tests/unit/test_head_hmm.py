"""The head's hidden Markov model, as it runs: features, decoder, file, motion."""

import time

import numpy as np
import pytest

from avatar.analysis.head_features import FEATURES, ProsodyFeatures
from avatar.analysis.head_hmm import LAG, HeadModel, HmmHead
from avatar.analysis.prosody import Melody, Prosody
from avatar.analysis.viterbi import FixedLagViterbi, GaussianScores, log
from avatar.errors import ModelFileError

P = len(FEATURES)
QUIET, ACCENT = np.array([0, 0, -4, 0, 0, 0.0]), np.array([2, 1, 1, 0, 0, 0.0])


def little(**changes) -> HeadModel:
    """Two branches, quiet and accent; the accent brings a nod of 6 degrees, 48 hops long, five hops after it began."""
    stay = 0.9
    transition = np.zeros((4, 4))
    for s in range(4):
        transition[s, s] = stay
        if s % 2 == 0:
            transition[s, s + 1] = 1 - stay
        else:
            transition[s, [0, 2]] = (1 - stay) / 2
    made = dict(
        branch=np.array([0, 0, 1, 1]),
        start=np.array([0.5, 0, 0.5, 0]),
        transition=transition,
        prosody_mean=np.array([QUIET, QUIET, ACCENT, ACCENT], np.float32),
        prosody_sd=np.full((4, P), 0.7, np.float32),
        gesture=np.array([0, 0, 0]),
        gesture_mean=np.array([[0, 0, 0], [-6, 0, 0], [0, 0, 0]], np.float32),
        duration_mean=np.full(3, 16, np.float32),
        duration_sd=np.full(3, 1, np.float32),
        choice=np.array([[0, 1], [1, 0]], np.float32) + 1e-6,
        offset=np.array([[0], [5]], np.float32),
        posture_sd=np.array([1.5, 0.8, 0.6], np.float32),
        posture_seconds=np.array([2, 3, 3], np.float32),
        gain=np.ones(3, np.float32),
    )
    return HeadModel(**(made | changes))


def accents(count: int, every: int = 150, at: int = 80, lasts: int = 30) -> np.ndarray:
    """(n, P) features: quiet with an accent now and then."""
    rows = np.tile(QUIET, (count * every, 1))
    for i in range(count):
        rows[i * every + at : i * every + at + lasts] = ACCENT
    return rows


def whole_viterbi(start, transition, scores) -> np.ndarray:
    best, back = log(start) + scores[0], []
    for row in scores[1:]:
        sums = best[:, None] + log(transition)
        back.append(sums.argmax(0))
        best = sums.max(0) + row
    path = [int(best.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return np.array(path[::-1])


def test_features_follow_speech_and_ignore_what_is_not():
    features = ProsodyFeatures()
    for _ in range(50):
        row = features.step(Prosody(180.0, 0.9, -20.0, 1.5, 0.8, True))
    assert row[:3] == pytest.approx((1.5, 0.9, 0.8), abs=0.02)
    assert row[3:] == pytest.approx((0, 0, 0), abs=0.01)
    features.reset()
    for _ in range(50):
        row = features.step(Prosody(0.0, 0.9, -10.0, 0.0, 2.0, False))
    assert row[1] == pytest.approx(0, abs=0.01)
    assert row[2] <= ProsodyFeatures.QUIET, "loud, but no speech"


def test_features_bridge_the_dips_between_syllables():
    features, rows = ProsodyFeatures(), []
    for i in range(300):
        loud = 0.5 if i % 20 < 14 else -3.0  # five syllables a second
        rows.append(features.step(Prosody(150.0, 0.9, -20.0, 0.0, loud, True)))
    assert np.ptp(np.array(rows)[100:, 2]) < 0.5 * 3.5


def test_decoder_with_a_long_lag_is_viterbi():
    random = np.random.default_rng(0)
    start, transition = random.dirichlet(np.ones(5)), random.dirichlet(np.ones(5), 5)
    scores = 2 * random.standard_normal((120, 5))
    decoder = FixedLagViterbi(start, transition, 80)
    found = [decoder.step(row) for row in scores]
    assert found[:80] == [-1] * 80
    # Each decision is the first state of the best path of what was known then.
    for t in (80, 100, 119):
        assert found[t] == whole_viterbi(start, transition, scores[: t + 1])[t - 80]


def test_decoder_at_its_lag_agrees_with_the_whole_sequence():
    model, random = little(), np.random.default_rng(1)
    x = accents(20) + 0.7 * random.standard_normal((3000, P))
    scores = GaussianScores(model.prosody_mean, model.prosody_sd)
    decoder = FixedLagViterbi(model.start, model.transition, LAG)
    found = np.array([decoder.step(scores(row)) for row in x])[LAG:]
    whole = whole_viterbi(model.start, model.transition, scores(x))[: len(found)]
    assert (model.branch[found] == model.branch[whole]).mean() >= 0.95
    assert LAG <= 15


def test_scores_are_those_of_gaussians():
    random = np.random.default_rng(2)
    mean, sd, x = random.standard_normal((3, P)), random.uniform(0.5, 2, (3, P)), random.standard_normal((4, P))
    wanted = (-0.5 * ((x[:, None] - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)).sum(2)
    scores = GaussianScores(mean, sd)
    np.testing.assert_allclose(scores(x), wanted)
    np.testing.assert_allclose(scores(x[0]), wanted[0])


def test_a_hop_costs_little():
    random = np.random.default_rng(0)
    scores = GaussianScores(random.standard_normal((32, P)), np.ones((32, P)))
    decoder = FixedLagViterbi(np.ones(32) / 32, np.full((32, 32), 1 / 32), LAG)
    spent = []
    for row in random.standard_normal((800, P)):
        begun = time.perf_counter()
        decoder.step(scores(row))
        spent.append(time.perf_counter() - begun)
    assert np.percentile(spent, 20) < 100e-6, "the budget is 50 us; a busy machine gets twice that"


def test_model_survives_its_file(tmp_path):
    model = little()
    model.save(tmp_path / "head.npz")
    again = HeadModel.load(tmp_path / "head.npz")
    np.testing.assert_array_equal(again.transition, model.transition)
    np.testing.assert_array_equal(again.gesture_mean, model.gesture_mean)
    assert (again.branches, again.gestures) == (2, 1)


def test_a_file_of_another_version_is_refused_in_one_line(tmp_path, monkeypatch):
    path = tmp_path / "head.npz"
    with monkeypatch.context() as patch:
        patch.setattr(HeadModel, "VERSION", 7)
        little().save(path)
    with pytest.raises(ModelFileError, match=r"head\.npz: a head model of version 7, this program reads 1; train") as e:
        HeadModel.load(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("spoil", ["missing", "text", "cut", "shape", "nan"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, spoil):
    path = tmp_path / "head.npz"
    match spoil:
        case "text":
            path.write_text("no archive")
        case "cut":
            little().save(path)
            path.write_bytes(path.read_bytes()[:300])
        case "shape":
            little(gain=np.ones(2, np.float32)).save(path)
        case "nan":
            little(gain=np.full(3, np.nan, np.float32)).save(path)
    with pytest.raises(ModelFileError) as e:
        HeadModel.load(path)
    assert "\n" not in str(e.value)
    assert "train it again" in str(e.value)


def track(head: HmmHead, rows: np.ndarray) -> np.ndarray:
    """(n, 3) pitch, yaw, roll."""
    return np.array([head.follow(row) for row in rows])[:, [1, 0, 2]]


@pytest.mark.parametrize("ahead", [0, 5, 15])
def test_a_nod_goes_with_each_accent_and_is_lowest_in_time(ahead):
    rows = accents(6)
    made = track(HmmHead(little(), ahead=ahead, vary=False), np.vstack([rows, np.tile(QUIET, (ahead, 1))]))[ahead:, 0]
    for i in range(1, 6):
        begin = i * 150 + 80
        lowest = begin + int(made[begin : begin + 70].argmin())
        # The nod begins five hops after the accent and is lowest 24 hops later.
        assert abs(lowest - (begin + 29)) <= 4
        assert made[lowest] < -3


def test_the_head_never_jumps_freezes_or_loops():
    made = track(HmmHead(little(), seed=1, ahead=5), accents(80))
    assert np.abs(np.diff(made, axis=0)).max() < 0.5
    assert np.abs(made).max() < 20
    assert np.ptp(made[: len(made) // 400 * 400].reshape(-1, 400, 3), axis=1).min() > 0.05
    a, b = made[:6000, 0], made[6000:12000, 0]
    assert np.corrcoef(a, b)[0, 1] < 0.9


def test_it_is_the_same_for_the_same_seed_only():
    a, b, c = (track(HmmHead(little(), seed=s), accents(6)) for s in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.3


def test_in_silence_it_drifts_and_shifts():
    head = HmmHead(little(), seed=2)
    quiet = Prosody(0.0, 0.0, -60.0, 0.0, -4.0, False)
    made = np.array([head.step(Melody(), quiet) for _ in range(6000)])
    assert made.std(0).min() > 0.1
    assert np.abs(np.diff(made, axis=0)).max() < 0.3


def test_strength_and_emotion_scale_the_motion():
    rows = accents(20)
    assert not track(HmmHead(little(), strength=0.0), rows).any()
    plain, happy = HmmHead(little(), vary=False), HmmHead(little(), vary=False)
    happy.emotion = ("happiness", 1.0)
    assert 1.3 < np.ptp(track(happy, rows)[300:, 0]) / np.ptp(track(plain, rows)[300:, 0]) < 2.2


def test_another_model_is_taken_up_without_a_jump():
    head = HmmHead(little(), seed=5)
    before = track(head, accents(2)[:210])[-1]
    head.use(little(gesture_mean=np.array([[0, 0, 0], [0, 8, 0], [0, 0, 0]], np.float32)))
    after = track(head, accents(4))
    assert np.abs(after[0] - before).max() < 0.6
    assert np.abs(np.diff(after, axis=0)).max() < 0.6
    assert after[:, 1].max() > 3
