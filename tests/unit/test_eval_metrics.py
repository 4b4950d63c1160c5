"""The judge itself: on tracks made by hand, where the answer is known."""

import numpy as np
import pytest

from avatar.analysis.phonemes import PhonemeMark, lip_cues
from avatar.core.facs import ARKIT, INDEX, VISEME_INDEX, arkit_vector
from avatar.core.types import freeze
from avatar.models.visemes.judge.metrics import (
    CONTACT,
    GAP,
    Shown,
    Truth,
    closures,
    correlation,
    figures,
    formant_loudness,
    lip_gap,
    measure,
    peak,
)
from avatar.models.visemes.judge.recognised import missed_targets
from avatar.parts import find_avatar, library

RATE = 16_000
# "a b a p a s a" with pauses at both ends
MARKS = [
    PhonemeMark(0.30, 0.50, "a"),
    PhonemeMark(0.50, 0.60, "b"),
    PhonemeMark(0.60, 0.90, "a"),
    PhonemeMark(0.90, 1.00, "p"),
    PhonemeMark(1.00, 1.30, "a"),
    PhonemeMark(1.30, 1.40, "s"),
    PhonemeMark(1.40, 1.70, "a"),
]


def sound(marks=MARKS, seconds=2.0):
    """Vowels hum at 600 Hz, all else is silent."""
    t = np.arange(round(seconds * RATE)) / RATE
    on = np.zeros(len(t))
    for mark in marks:
        if mark.ipa == "a":
            on[(t >= mark.start_s) & (t < mark.end_s)] = 1
    smooth = np.convolve(on, np.hanning(800) / np.hanning(800).sum(), "same")
    return (0.3 * smooth * np.sin(2 * np.pi * 600 * t)).astype(np.float32)


def truth(trusts=None):
    return Truth.of(sound(), RATE, MARKS, trusts)


def shown(shut, n=200, delay=0):
    """A mouth that is open but for the spans of hops in ``shut`` and outside speech."""
    gap = np.zeros(n, np.float32)
    gap[30 + delay : 170 + delay] = 0.2
    for a, b in shut:
        gap[a:b] = 0
    visemes = np.zeros((n, 15), np.float32)
    visemes[:, VISEME_INDEX["aa"]] = 1
    return Shown(visemes, gap, gap)


def judged(shut, **how):
    return figures([measure(truth(), shown(shut, **how))])


def test_what_is_shown_in_time_is_found():
    found = judged([(50, 60), (90, 100)])
    assert found["closures"] == 2
    assert found["closure_recall"] == 1
    assert found["false_closure"] == 0
    assert found["closure_recall_inside"] == 1


@pytest.mark.parametrize(("late", "recall"), [(12, 1.0), (13, 1.0), (15, 0.0), (20, 0.0)])
def test_up_to_40_ms_beside_a_closure_counts(late, recall):
    # The closure at 50-60 is shown at once 30 ms long; the other one is right.
    found = judged([(50 + late, 53 + late), (90, 100)])
    assert found["closure_recall"] == (1 + recall) / 2
    assert found["false_closure"] == (1 - recall) / 2


def test_a_closure_in_an_s_is_false_and_named():
    found = judged([(50, 60), (90, 100), (132, 138)])
    assert found["closure_recall"] == 1
    assert found["false_closure"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["confusions"] == {"false": {"s": 1}, "missed": {}}


def test_a_closure_that_is_not_shown_is_missed_and_named():
    found = judged([(50, 60)])
    assert found["closure_recall"] == 0.5
    assert found["confusions"]["missed"] == {"p": 1}


def test_a_mouth_that_is_always_shut_is_told_by_where_it_is_shut():
    found = judged([(0, 200)])
    assert found["closure_recall"] == 1
    assert found["shut_elsewhere"] > 0.5


def test_pauses_are_no_closures():
    assert judged([(50, 60), (90, 100)])["shown"] == 2


def test_what_is_not_trusted_is_not_judged():
    trusts = [1.0, 1.0, 1.0, 0.2, 1.0, 1.0, 1.0]  # not the p
    tally = measure(truth(trusts), shown([(50, 60)]))
    assert tally.closures == tally.found == 1
    shut_there = measure(truth(trusts), shown([(50, 60), (92, 98)]))
    assert shut_there.false == 0
    assert tally.frames == pytest.approx(130, abs=1), "140 hops of speech less ten"
    assert closures(truth(trusts)) == [pytest.approx((0.5, 0.6), abs=0.011)]


def test_frame_accuracy_counts_speech_only():
    found = judged([])
    assert found["frames"] == pytest.approx(140, abs=1), "those half in speech go either way"
    assert found["frame_accuracy"] == pytest.approx(110 / 140, abs=0.03)


@pytest.mark.parametrize("late", [-60, -14, 0, 7, 35, 80])
def test_the_lag_is_measured_to_parts_of_a_hop(late):
    t = np.arange(600) / 100
    a = np.interp(t, t + late / 1000, np.sin(2 * np.pi * 1.3 * t) + 0.5 * np.sin(2 * np.pi * 3.1 * t))
    b = np.sin(2 * np.pi * 1.3 * t) + 0.5 * np.sin(2 * np.pi * 3.1 * t)
    hops, strength = peak(correlation(a, b))
    assert 10 * hops == pytest.approx(late, abs=3)
    assert strength > 0.95


def test_a_still_mouth_has_no_lag():
    assert figures([measure(truth(), shown([(0, 200)]))])["lag_ms"] is None


def test_the_lag_of_a_jaw_against_vowels():
    jaw = np.array([c.mouth[INDEX["jawOpen"]] for c in lip_cues(MARKS, 2.0)])
    for delay in (0, 5):
        moved = Shown(np.zeros((200, 15), np.float32), np.full(200, 0.2), np.roll(jaw, delay))
        found = figures([measure(truth(), moved)])
        assert found["lag_to_phonemes_ms"] == pytest.approx(10 * delay, abs=1)
        assert found["lag_ms"] == pytest.approx(10 * delay, abs=15)


def test_formants_are_heard_where_they_are():
    x = sound()
    level = formant_loudness(x, RATE, 200)
    assert level[45] > 0.9
    assert level[95] < 0.2
    rumble = (0.5 * np.sin(2 * np.pi * 60 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    assert formant_loudness(x + rumble, RATE, 200)[95] < 0.3, "below the band"


def test_intervals_hold_the_figure_and_widen_with_doubt():
    few = figures([measure(truth(), shown([(50, 60)])), measure(truth(), shown([(50, 60), (90, 100)]))])
    low, high = few["closure_recall_interval"]
    assert low <= few["closure_recall"] <= high
    assert high - low > 0.3
    alike = figures([measure(truth(), shown([(50, 60)]))] * 20)
    assert alike["closure_recall_interval"] == [0.5, 0.5]


def test_nothing_to_count_is_none_and_not_a_score():
    found = figures([])
    assert found["frame_accuracy"] is found["closure_recall"] is found["false_closure"] is found["lag_ms"] is None


def test_targets_that_are_missed_are_named():
    good = {"closure_recall": 0.95, "false_closure": 0.05}
    bad = {"closure_recall": 0.5, "false_closure": 0.05}
    lines = missed_targets({"espeak": {"rows": {"ours": good}}, "real": {"rows": {"ours": bad}}, "kokoro": {}})
    assert lines == ["real ours closure_recall: 0.500, wanted 0.85"]


# --- the opening between the lips -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mouth", "touch"),
    [
        ({}, True),
        ({"mouthPress": 0.3}, True),
        ({"jawOpen": 0.3, "mouthClose": 0.3}, True),
        ({"jawOpen": 0.3, "mouthClose": 0.1}, False),
        ({"jawOpen": 0.05}, False),
        ({"mouthFunnel": 0.3}, False),
        ({"mouthUpperUp": 0.2}, False),
        ({"mouthClose": 0.3, "mouthLowerDown": 0.3}, False),
    ],
)
def test_which_lips_touch(mouth, touch):
    assert (lip_gap(arkit_vector(mouth)[None])[0] < CONTACT) == touch


def test_the_opening_is_that_of_the_engine_s_mesh():
    from avatar.core.types import FaceState, Ns
    from avatar.engines import raster
    from avatar.engines.head import shape_weights
    from avatar.engines.head_mesh import TRACKED, TRACKED_INNER, build_mesh
    from avatar.models import registry
    from avatar.portrait.basis import HeadBasis
    from avatar.portrait.fit import fit_head

    bundle = find_avatar(library().entries()[0].name)
    fitted = fit_head(HeadBasis.load(registry.weights_dir() / "head_basis.npz"), bundle.landmarks, bundle.coefficients)
    mesh = build_mesh(HeadBasis.load(registry.weights_dir() / "head_basis.npz"), fitted, bundle.landmarks)

    def inner(arkit):
        weights, _, _ = shape_weights(FaceState(Ns(0), freeze(arkit)))
        vertices = mesh.rest.copy()
        raster.add_shapes(vertices, weights, mesh.starts, mesh.rows, mesh.deltas)
        out = np.empty((len(TRACKED), 3), np.float32)
        raster.on_landmarks(vertices, mesh.tracked_vertices, mesh.tracked_weights, out)
        return out[TRACKED_INNER]

    rest = inner(np.zeros(len(ARKIT), np.float32))
    width = abs(rest[0, 0] - rest[10, 0])
    random = np.random.default_rng(0)
    for _ in range(20):
        mouth = arkit_vector({name: float(random.uniform(0, 0.4)) for name in GAP})
        now = inner(mouth)
        true = ((now[5, 1] - now[15, 1]) - (rest[5, 1] - rest[15, 1])) / width
        assert lip_gap(mouth[None])[0] == pytest.approx(true, abs=0.03)
