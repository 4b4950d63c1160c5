"""The head's hidden Markov model, as it runs: features, decoder, file, motion."""

import time

import numpy as np
import pytest

from avatar.analysis.head_features import FEATURES, ProsodyFeatures
from avatar.analysis.head_hmm import LAG, HmmHead
from avatar.analysis.head_model import HeadModel, Manner
from avatar.analysis.prosody import Melody, Prosody
from avatar.analysis.viterbi import FixedLagViterbi, GaussianScores, log
from avatar.errors import ModelFileError

P = len(FEATURES)
QUIET, ACCENT = np.array([0, 0, -4, 0, 0, 0.0]), np.array([2, 1, 1, 0, 0, 0.0])


def little(manners=None, **changes) -> HeadModel:
    """Two patterns of three states, quiet and accent; the accent brings a nod of 6 degrees, lowest in its middle."""
    stay = 0.9
    transition = np.zeros((6, 6))
    for s in range(6):
        transition[s, s] = stay
        if s % 3 < 2:
            transition[s, s + 1] = 1 - stay
        else:
            transition[s, [0, 3]] = (1 - stay) / 2
    made = dict(
        branch=np.array([0, 0, 0, 1, 1, 1]),
        start=np.array([0.5, 0, 0, 0.5, 0, 0]),
        transition=transition,
        prosody_mean=np.array([QUIET] * 3 + [ACCENT] * 3, np.float32),
        prosody_sd=np.full((6, P), 0.7, np.float32),
        lasts=np.full(6, 14, np.float32),
        lasts_sd=np.full(6, 2, np.float32),
        manners={"neutral": manner()} if manners is None else manners,
    )
    return HeadModel(**(made | changes))


def manner(degrees=(-6.0, 0.0, 0.0), **changes) -> Manner:
    mean = np.zeros((2, 3, 3), np.float32)
    mean[1, 1] = degrees
    made = dict(
        mean=mean,
        choice=np.array([[1, 0], [0, 1]], np.float32) + 1e-6,
        gain=np.ones(3, np.float32),
        posture_sd=np.array([1.5, 0.8, 0.6], np.float32),
        posture_seconds=np.array([2, 3, 3], np.float32),
    )
    return Manner(**(made | changes))


def accents(count: int, every: int = 150, at: int = 80, lasts: int = 42) -> np.ndarray:
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
    np.testing.assert_array_equal(again.manners["neutral"].mean, model.manners["neutral"].mean)
    assert (again.branches, again.states) == (2, 3)


def test_a_file_of_another_version_is_refused_in_one_line(tmp_path, monkeypatch):
    path = tmp_path / "head.npz"
    with monkeypatch.context() as patch:
        patch.setattr(HeadModel, "VERSION", 7)
        little().save(path)
    with pytest.raises(ModelFileError, match=r"head\.npz: a head model of version 7, this program reads 2; train") as e:
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
            little({"neutral": manner(gain=np.ones(2, np.float32))}).save(path)
        case "nan":
            little({"neutral": manner(gain=np.full(3, np.nan, np.float32))}).save(path)
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
        # The accent lasts 42 hops, and the nod is lowest in its middle.
        assert abs(lowest - (begin + 21)) <= 4
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
    head.use(little({"neutral": manner((0, 8, 0))}))
    after = track(head, accents(4))
    assert np.abs(after[0] - before).max() < 0.6
    assert np.abs(np.diff(after, axis=0)).max() < 0.6
    assert after[:, 1].max() > 3


def test_each_emotion_has_its_own_gestures_and_none_jumps():
    moved = {"neutral": manner((0, 4, 0)), "anger": manner((0, -8, 0))}
    head = HmmHead(little(moved), seed=1, ahead=5)
    calm = track(head, accents(6))
    head.emotion = ("anger", 1.0)
    angry = track(head, accents(8))
    head.emotion = ("neutral", 0.0)
    after = track(head, accents(8))
    assert calm[:, 1].max() > 2.5
    assert angry[300:, 1].min() < -4
    assert after[600:, 1].min() > -4
    assert np.abs(np.diff(np.concatenate([calm, angry, after]), axis=0)).max() < 1.0, "at 30 a second below 3 degrees"


def test_half_an_emotion_borrows_some_of_its_gestures():
    head = HmmHead(little({"neutral": manner((0, 6, 0)), "anger": manner((0, -6, 0))}), seed=4, ahead=5)
    head.emotion = ("anger", 0.5)
    made = track(head, accents(40))[300:, 1]
    turns = [made[i * 150 : i * 150 + 150][np.abs(made[i * 150 : i * 150 + 150]).argmax()] for i in range(37)]
    assert 0.2 < np.mean(np.array(turns) > 0) < 0.8


def test_the_head_follows_a_voice_that_takes_its_time():
    """The nod's lowest point lies in the middle of the accent, whatever time the accent takes."""
    for lasts in (30, 42, 50):
        rows = np.tile(QUIET, (400, 1))
        rows[150 : 150 + lasts] = ACCENT
        # The three states differ, so that the decoder knows where in the accent the voice is.
        model = little(prosody_mean=np.array([QUIET] * 3 + [ACCENT, 1.8 * ACCENT, ACCENT], np.float32))
        third = lasts // 3
        rows[150 + third : 150 + 2 * third] = 1.8 * ACCENT
        made = track(HmmHead(model, ahead=15, vary=False), rows)[15:, 0]
        assert abs(int(made.argmin()) - (150 + lasts // 2)) <= 5


def test_the_head_rises_before_the_voice_where_the_sound_is_known_early():
    head = HmmHead(little(), seed=0, ahead=15)
    quiet, voice = Prosody(0.0, 0.0, -60.0, 0.0, -4.0, False), Prosody(150.0, 0.9, -20.0, 0.0, 0.0, True)
    head._deviation *= 0
    made = []
    for i in range(300):
        made.append(head.step(Melody(began=i == 202), voice if i >= 200 else quiet)[1])
    pitch = np.array(made)[15:]  # the pose of moment i comes 15 hops later
    assert pitch[200] - pitch[185] > 0.3
