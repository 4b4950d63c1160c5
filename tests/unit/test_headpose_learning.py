"""Learning how heads move: tiling, clips, generated motion, figures; the training itself where hmmlearn is
installed.
"""

import numpy as np
import pytest

from avatar.errors import UsageError
from avatar.models.headpose.clips import Clip, clip_of, clips_of_videos, gestures, posture
from avatar.models.headpose.generated import SD, move
from avatar.models.headpose.metrics import begins, carried, correlations, first_correlation, interval, nods, recurrence
from avatar.models.headpose.planted import plant
from avatar.models.headpose.tiling import Cuts, patterns, tile


def test_tiling_covers_everything_once():
    random = np.random.default_rng(0)
    x = random.standard_normal((140, 3))
    found, cost = tile(Cuts(x, 4, [8, 11, 15]), random.standard_normal((2, 4, 3)))
    end = 0
    for _, begin, which in found:
        assert begin == end
        end = begin + (8, 11, 15)[which]
    assert 140 - 8 < end <= 140
    assert np.isfinite(cost)


def test_tiling_finds_the_patterns_that_were_put_in():
    random = np.random.default_rng(1)
    shapes = [np.sin(np.linspace(0, np.pi, 18)), -np.linspace(0, 1, 24)]
    order = random.integers(0, 2, 60)
    x = np.concatenate([shapes[k] for k in order])[:, None]
    best = min((patterns([x], 2, 6, 20, np.random.default_rng(s)) for s in range(4)), key=lambda each: each[1])
    assert best[1] < 0.1 * x.var()


def test_a_clip_needs_sound_and_head_that_belong_together():
    sound = np.zeros(48_000, np.float32)
    times = np.arange(90) / 30
    clip = clip_of(sound, times, np.stack([np.sin(times), 0 * times, 0 * times], 1), "me")
    assert clip.prosody.shape == (len(clip.pose), 6)
    assert abs(len(clip.pose) - 300) <= 2
    assert clip.pose[150, 0] == pytest.approx(np.sin(1.5), abs=0.02)
    with pytest.raises(UsageError, match="less than 1 s"):
        clip_of(sound, times[:10], np.zeros((10, 3)))
    with pytest.raises(UsageError, match="belong together"):
        clip_of(sound, times, np.zeros((10, 3)))


def test_a_folder_without_videos_says_so(tmp_path):
    with pytest.raises(UsageError, match="no video in it with sound and a face"):
        clips_of_videos(tmp_path)


def test_posture_and_gesture_add_up():
    t = np.arange(3000) / 100
    pose = np.stack([3 * np.sin(2 * np.pi * 0.05 * t), np.sin(2 * np.pi * 1.5 * t), 0 * t], 1)
    slow, fast = posture(pose), gestures(pose)
    np.testing.assert_allclose(slow + fast[:, :3], pose, atol=1e-9)
    assert slow[:, 0].std() > 0.9 * pose[:, 0].std()
    assert fast[500:-500, 1].std() > 0.95 * pose[500:-500, 1].std()


def test_correlation_is_one_for_a_turned_copy_and_nothing_for_strangers():
    random = np.random.default_rng(0)
    smooth = [np.cumsum(random.standard_normal((800, 3)), axis=0) for _ in range(6)]
    turned = [x @ random.standard_normal((3, 3)) for x in smooth]
    assert first_correlation(smooth[0], turned[0]) == pytest.approx(1)
    assert interval(correlations(turned, smooth))["lo"] > 0.05
    strangers = interval(correlations([np.cumsum(random.standard_normal((800, 3)), axis=0) for _ in range(6)], smooth))
    assert abs(strangers["mean"]) < 0.15


def test_nods_accents_and_beginnings_are_counted():
    pose = np.zeros((1000, 3))
    for at in (200, 500, 800):
        pose[at - 20 : at + 21, 0] = -5 * np.hanning(41)
    found = nods(pose)
    np.testing.assert_allclose(found, (200, 500, 800), atol=1)
    assert carried(found, np.array([195, 350, 790, 600])) == 0.5
    assert begins(pose, 190) in range(178, 190)
    assert begins(pose, 350) is None


def test_a_loop_is_noticed():
    random = np.random.default_rng(0)
    once = np.cumsum(random.standard_normal((500, 3)), axis=0)
    assert recurrence(np.tile(once - once.mean(0), (12, 1))) > 0.95
    assert recurrence(np.cumsum(random.standard_normal((6000, 3)), axis=0) % 7) < 0.6


def test_planted_truth_is_where_it_says():
    p = plant(40, 3)
    assert len(p.clip.pose) == len(p.prosody_label) == len(p.gesture_label)
    for kind, axis, hop in p.apexes:
        assert p.gesture_label[hop] == kind
        assert abs(p.clip.pose[hop, axis]) > 1.0


def test_generated_heads_move_as_the_figures_say(monkeypatch):
    from avatar.analysis.prosody import Melody, Prosody
    from avatar.models.headpose.clips import Heard

    hops, melody = [], []
    for i in range(4000):
        k = i % 400
        on = 60 <= k < 360
        hops.append(
            Prosody(150.0 if on else 0.0, 0.9, -20.0, float(np.sin(i / 20)) if on else 0.0, 0.3 if on else -4, on)
        )
        melody.append(Melody(accent=0.6 if on and k % 60 == 30 else 0.0))
    features = np.zeros((4000, 6), np.float32)
    clip = move(Heard(features, tuple(hops), tuple(melody)), 0, "made")
    assert clip.pose.std(0) == pytest.approx(SD, rel=0.35)
    onsets = [k for k in range(60, 4000, 400)]
    before = np.mean([clip.pose[o, 0] - clip.pose[o - 25, 0] for o in onsets[1:]])
    assert before > 0.3, "the head rises before the voice"


def test_learning_refuses_what_it_cannot_learn_from():
    pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")
    from avatar.models.headpose.learn import learn

    still = Clip(
        np.random.default_rng(0).standard_normal((2000, 6)).astype(np.float32), np.zeros((2000, 3), np.float32)
    )
    with pytest.raises(UsageError, match="does not move"):
        learn([still])
    short = Clip(still.prosody[:300], still.pose[:300])
    with pytest.raises(UsageError, match="at least 8 s"):
        learn([short])


def test_learning_makes_the_same_usable_model_again():
    pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")
    from avatar.analysis.head_hmm import HmmHead
    from avatar.models.headpose.learn import study

    clip = plant(14, 5).clip
    told = []
    a, b = (study([clip], tries=1, sizes=(3,), progress=lambda d, of: told.append((d, of))).model for _ in range(2))
    np.testing.assert_array_equal(a.prosody_mean, b.prosody_mean)
    assert told[-1][0] == told[-1][1]
    np.testing.assert_allclose(a.transition.sum(1), 1, atol=1e-6)
    head = HmmHead(a)
    assert np.isfinite([head.follow(row) for row in clip.prosody[:300]]).all()


def test_pairs_find_which_gesture_goes_with_which_sound():
    pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")
    from avatar.models.headpose import pairs

    random = np.random.default_rng(0)
    true = two_pairs()
    x = sampled(true, 3000, random)
    blank = np.full((2, 2), 0.5)
    rough = pairs.replace(
        true, choice=blank, seen_mean=true.seen_mean * 0.3, heard_mean=true.heard_mean + 0.3, seen_var=true.seen_var * 9
    )
    found = pairs.train(rough, [x], 20)
    np.testing.assert_allclose(found.choice, true.choice, atol=0.15)
    assert pairs.likelihood(found, [x]) > pairs.likelihood(rough, [x])
    # The sound alone says which pattern it is, and so does the plain model over it that the live decoder uses.
    assert pairs.agreement(found, [x], 60) > 0.99
    left, there = pairs.explained(found, x, 1)
    assert left < 0.7 * there


def test_pairs_that_hear_nothing_new_keep_what_they_hear():
    pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")
    from avatar.models.headpose import pairs

    true = two_pairs()
    x = sampled(true, 600, np.random.default_rng(1))
    other = pairs.train(pairs.replace(true, seen_mean=0 * true.seen_mean), [x], 5, heard=False)
    np.testing.assert_array_equal(other.heard_mean, true.heard_mean)
    np.testing.assert_array_equal(other.stay, true.stay)
    assert np.abs(other.seen_mean).max() > 1


def test_passages_do_not_shrink_below_what_was_asked():
    pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")
    from avatar.models.headpose import pairs

    x = np.random.default_rng(2).standard_normal((500, 2))
    found = pairs.train(two_pairs(), [x], 5, least=6.0)
    assert (1 / (1 - found.stay) >= 6 - 1e-9).all()


def two_pairs():
    """Two sounds of three states; the first brings a nod, mostly, the second nothing."""
    from avatar.models.headpose.pairs import Pairs

    return Pairs(
        start=np.full(2, 0.5),
        follow=np.full((2, 2), 0.5),
        choice=np.array([[0.9, 0.1], [0.05, 0.95]]),
        stay=np.full((2, 3), 0.85),
        heard_mean=np.array([[[1.0], [3.0], [1.0]], [[-1.0], [-2.0], [-1.0]]]),
        heard_var=np.full((2, 3, 1), 0.3),
        seen_mean=np.array([[[0.0], [-4.0], [0.0]], [[0.0], [0.0], [0.0]]]),
        seen_var=np.full((2, 3, 1), 0.3),
    )


def sampled(model, rows, random):
    """(rows, 2) drawn from a model of one feature in each modality."""
    out, b, k = [], 0, 0
    g = int(random.random() < model.choice[b, 1])
    for _ in range(rows):
        out.append(
            (
                random.normal(model.heard_mean[b, k, 0], model.heard_var[b, k, 0] ** 0.5),
                random.normal(model.seen_mean[g, k, 0], model.seen_var[g, k, 0] ** 0.5),
            )
        )
        if random.random() > model.stay[b, k]:
            k += 1
            if k == model.stay.shape[1]:
                k, b = 0, int(random.integers(2))
                g = int(random.random() < model.choice[b, 1])
    return np.array(out)


def test_the_size_is_where_compactness_and_separation_balance():
    pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")
    from avatar.models.headpose.fitness import balance

    # Compactness rises fast up to five patterns and hardly after, separation falls from five on.
    share = balance([-3.7, -3.2, -2.9, -2.88, -2.84], [40, 41, 40, 33, 20])
    assert int(share.argmax()) == 2
    assert balance([-1.0, -1.0], [2.0, 2.0]).tolist() == [0.0, 0.0]


def test_emotional_heads_move_more_and_happy_and_angry_ones_twice_as_fast():
    from avatar.analysis.prosody import Melody, Prosody
    from avatar.models.headpose.clips import Heard

    hops = tuple(Prosody(150.0, 0.9, -20.0, 0.0, 0.3, 60 <= i % 400 < 360) for i in range(4000))
    melody = tuple(Melody(accent=0.6 if h.speaking and i % 60 == 30 else 0.0) for i, h in enumerate(hops))
    heard = Heard(np.zeros((4000, 6), np.float32), hops, melody)
    speed = {
        e: np.abs(np.diff(move(heard, 0, "made", e).pose, axis=0)).mean()
        for e in ("neutral", "happiness", "anger", "sadness")
    }
    assert 1.6 < speed["happiness"] / speed["neutral"] < 2.4
    assert 1.6 < speed["anger"] / speed["neutral"] < 2.4
    assert speed["sadness"] < 1.2 * speed["neutral"]


def test_every_size_is_the_size_of_its_model_even_where_little_was_recorded():
    """With few pieces the search begins with fewer branches than it later adds."""
    pytest.importorskip("hmmlearn", reason="the library to compare with (extra: test)")
    from avatar.models.headpose import phmm

    random = np.random.default_rng(5)
    sequences = [np.cumsum(random.normal(size=(90, 4)), 0) * 0.2 for _ in range(3)]
    found = phmm.explore(sequences, sequences, 3, 12, random, most=4, least=3, begins=1, cycles=2)
    assert {each.branches for each in found} == {3, 4}
    assert all(each.model.n_components == 3 * each.branches for each in found)
