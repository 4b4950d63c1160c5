"""What the face feels, in made-up time: onset, hysteresis, decay, mixtures, the plane."""

import numpy as np
import pytest

from avatar.core import facs
from avatar.core.types import EMOTIONS, SECOND, Emotion, EmotionCue, ExpressionCue, LipCue, Ns
from avatar.sync import plane
from avatar.sync.expression import (
    COMPATIBLE,
    COMPOUNDS,
    FELT,
    PROTOTYPES,
    affect,
    compound,
    emotion_face,
    mixed_face,
    shown_emotion,
)
from avatar.sync.feeling import EmotionChoice, Feeling, degrees_of
from avatar.sync.heard import HeardEmotion
from avatar.sync.onset import OFFSET, ONSET, Onset
from avatar.sync.synchronizer import Style, Synchronizer
from avatar.sync.variation import Variation

SMILE, BROW, JAW = (facs.INDEX[n] for n in ("mouthSmileLeft", "browDownLeft", "jawOpen"))
STEP = 0.1


def at(t: float) -> Ns:
    return Ns(round(t * SECOND))


def cue(t: float, confidence: float = 1.0, valence: float = 0.0, arousal: float = 0.0, **p: float) -> EmotionCue:
    values = np.array([p.get(label, 0.0) for label in EMOTIONS], np.float32)
    values[0] += max(0.0, 1.0 - values.sum())
    label = EMOTIONS[int(values.argmax())]
    return EmotionCue(at(t), Emotion(label, float(values.max()), valence, arousal), confidence, values)


class Run:
    """A feeling that hears cues at ten a second and is looked at thirty times a second."""

    def __init__(self, choice: EmotionChoice | None = None, seed: int | None = None) -> None:
        self.feeling, self.choice = Feeling(seed), choice or EmotionChoice()
        self.times: list[float] = []
        self.faces: list[np.ndarray] = []
        self.emotions: list[Emotion] = []

    def go(self, start: float, end: float, hear=None) -> "Run":
        for i in range(round(start * 30), round(end * 30)):
            if hear is not None and i % 3 == 0:
                self.feeling.push(hear(i / 30))
            face, emotion = self.feeling.step(at(i / 30), self.choice)
            self.times.append(i / 30)
            self.faces.append(face)
            self.emotions.append(emotion)
        return self

    @property
    def labels(self) -> list[str]:
        return [e.label for e in self.emotions]

    @property
    def size(self) -> np.ndarray:
        return np.array([face.sum() for face in self.faces])

    def changes(self) -> int:
        return sum(a != b for a, b in zip(self.labels, self.labels[1:], strict=False))


# --- faces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", FELT)
@pytest.mark.parametrize("degree", [0.2, 0.5, 1.0])
def test_one_emotion_is_its_prototype_at_its_degree(label, degree):
    np.testing.assert_allclose(mixed_face(np.array(degrees_of(label, degree))), emotion_face(label, degree), atol=1e-6)


def test_a_mixture_runs_smoothly_from_one_face_over_the_compound_to_the_other():
    for a, b in COMPOUNDS:
        course = [mixed_face(np.array(degrees_of(a, 1 - s)) + degrees_of(b, s)) for s in np.linspace(0, 1, 51)]
        assert np.abs(np.diff(course, axis=0)).max() < 0.045, (a, b)
        units = facs.to_action_units(course[25])
        for unit in (u for u, degree in COMPOUNDS[a, b].items() if degree >= 0.4 and u not in (23, 25, 26)):
            assert units[unit] > 0.25, f"{a} with {b} lacks unit {unit}"


def test_happily_surprised_smiles_with_raised_brows_and_angrily_surprised_does_not_raise_them():
    happy = facs.to_action_units(mixed_face(np.array(degrees_of("happiness", 0.5)) + degrees_of("surprise", 0.5)))
    angry = facs.to_action_units(mixed_face(np.array(degrees_of("anger", 0.5)) + degrees_of("surprise", 0.5)))
    assert min(happy[1], happy[2], happy[12]) > 0.5
    assert angry[4] > 0.5
    assert angry[2] < 0.3


def test_opposites_make_no_grin_with_a_frown():
    for other in ("sadness", "anger", "fear"):
        assert compound("happiness", other) is None
        assert not COMPATIBLE[FELT.index("happiness"), FELT.index(other)]
        both = mixed_face(np.array(degrees_of("happiness", 0.5)) + degrees_of(other, 0.5))
        assert both.sum() < 1e-6
        mostly = mixed_face(np.array(degrees_of("happiness", 0.9)) + degrees_of(other, 0.1))
        assert mostly[SMILE] > 0.4


def test_arousal_opens_eyes_and_mouth_more_than_it_moves_brows():
    fear = np.array(degrees_of("fear", 0.6))
    calm, shaken = mixed_face(fear, -1.0), mixed_face(fear, 1.0)
    wide, up = facs.INDEX["eyeWideLeft"], facs.INDEX["browInnerUp"]
    assert shaken[wide] / calm[wide] > 1.8
    assert 1.0 < shaken[up] / calm[up] < 1.5
    assert mixed_face(np.array(degrees_of("surprise", 1.0)), 1.0).max() <= 1


@pytest.mark.parametrize("label", FELT)
def test_a_shown_emotion_is_recognised_and_speech_is_none(label):
    seen = shown_emotion(emotion_face(label, 0.7))
    assert FELT[int(seen.argmax())] == label
    assert seen.max() == pytest.approx(0.7, abs=0.01)
    for speech in ({"jawOpen": 0.5, "mouthLowerDown": 0.2}, {"mouthPucker": 0.8, "jawOpen": 0.2}, {"mouthPress": 0.4}):
        assert shown_emotion(facs.arkit_vector(speech)).max() == 0


# --- the plane ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.1, 0.6, 1.0])
def test_a_point_of_the_plane_comes_back(radius):
    for angle in range(0, 360, 5):
        back, far = plane.place(plane.at(angle, radius))
        assert (back - angle + 180) % 360 - 180 == pytest.approx(0, abs=0.01)
        assert far == pytest.approx(radius, abs=1e-5)


def test_the_plane_says_each_emotion_at_its_angle_and_nothing_in_the_middle():
    for label, angle in plane.ANGLES.items():
        np.testing.assert_allclose(plane.at(angle, 0.8), degrees_of(label, 0.8), atol=1e-6)
        x, y = affect(plane.at(angle, 1.0))
        assert np.cos(np.radians(angle)) * x > -0.2, "right is pleasant"
        assert np.sin(np.radians(angle)) * y > -0.2, "up is excited"
    assert plane.at(77.0, 0.0).sum() == 0
    assert plane.place(np.zeros(6)) == (0.0, 0.0)
    both = np.array(degrees_of("happiness", 0.4)) + degrees_of("anger", 0.4)
    assert plane.place(both)[1] < 0.4, "opposites meet in the middle"


# --- onset and offset ---------------------------------------------------------------------------------------------


def crossing(values: np.ndarray, level: float, step: float) -> float:
    return float(np.argmax(values >= level) * step) if level <= values.max() else np.inf


@pytest.mark.parametrize("label", FELT)
def test_an_expression_rises_and_falls_in_its_time(label):
    motion, k, step = Onset(), FELT.index(label), 0.01
    rise = np.array([motion.step(step, np.array(degrees_of(label, 1.0)))[k] for _ in range(500)])
    assert crossing(rise, 0.95, step) - crossing(rise, 0.05, step) == pytest.approx(ONSET[label], abs=0.03)
    fall = 1 - np.array([motion.step(step, np.zeros(6))[k] for _ in range(800)])
    assert crossing(fall, 0.95, step) - crossing(fall, 0.05, step) == pytest.approx(OFFSET[label], abs=0.03)
    assert np.diff(rise).min() >= 0
    assert np.diff(fall).min() >= 0


def test_smiles_rise_in_published_time_surprise_is_fastest_sadness_slowest():
    assert 0.4 <= ONSET["happiness"] <= 0.8
    assert min(ONSET, key=ONSET.__getitem__) == "surprise"
    assert max(ONSET, key=ONSET.__getitem__) == "sadness"
    assert all(OFFSET[label] > ONSET[label] for label in FELT)


def test_onset_is_the_same_at_any_number_of_pictures():
    target = np.array(degrees_of("happiness", 0.8))
    slow, fast = Onset(), Onset()
    for _ in range(10):
        slow.step(0.1, target)
    for _ in range(60):
        fast.step(1 / 60, target)
    np.testing.assert_allclose(slow.degrees, fast.degrees, atol=1e-9)


def test_an_onset_that_is_called_back_neither_jumps_nor_goes_below_rest():
    motion, course = Onset(), []
    for i in range(200):
        target = degrees_of("surprise", 1.0) if (i // 7) % 2 == 0 else degrees_of("surprise", 0.0)
        course.append(motion.step(0.02, np.array(target)).copy())
    course = np.array(course)
    assert course.min() >= 0
    assert course.max() <= 1
    assert np.abs(np.diff(course, axis=0)).max() < 0.15


# --- hearing ------------------------------------------------------------------------------------------------------


def test_a_clear_emotion_shows_within_a_second_and_goes_when_the_voice_stops():
    run = Run().go(0, 5, lambda t: cue(t, anger=0.9)).go(5, 12, lambda t: cue(t, 0.05))
    first = run.times[run.labels.index("anger")]
    assert 0.3 <= first <= 0.8
    assert np.array(run.faces)[120, BROW] > 0.8 * PROTOTYPES["anger"][4]
    size = run.size
    held = size[round(4.9 * 30)]
    assert size[round(5.6 * 30)] > 0.9 * held, "a breath is not the end"
    assert size[-1] < 0.01 * held, "silence is"
    assert run.labels[-1] == "neutral"
    assert run.changes() == 2


def test_no_cue_at_all_ends_it_as_silence_does():
    run = Run().go(0, 4, lambda t: cue(t, sadness=0.9)).go(4, 12)
    assert run.labels[110] == "sadness"
    assert run.labels[-1] == "neutral"
    assert run.size[-1] < 0.01 * run.size.max()


def test_intensity_follows_the_voice_continuously():
    course = lambda t: cue(t, happiness=0.6 + 0.2 * np.sin(t))  # noqa: E731
    run = Run().go(0, 16, course)
    smile = np.array(run.faces)[:, SMILE]
    assert set(run.labels[60:]) == {"happiness"}
    late = smile[90:]
    assert late.max() > 1.8 * late.min() > 0.1
    assert np.abs(np.diff(late)).max() < 0.02


def test_it_does_not_flicker_between_two_that_are_about_equal():
    random = np.random.default_rng(3)
    noise = random.normal(0, 0.12, 400)
    run = Run().go(0, 30, lambda t: cue(t, anger=0.45 + noise[int(t * 10)], fear=0.45 - noise[int(t * 10)]))
    assert run.changes() <= 2
    changed = lambda t: cue(t, anger=0.8 if t < 5 else 0.1, sadness=0.1 if t < 5 else 0.8)  # noqa: E731
    over = Run().go(0, 10, changed)
    assert over.labels[-1] == "sadness", "what really changes is followed"
    assert over.times[over.labels.index("sadness")] < 6.2


@pytest.mark.parametrize("seed", range(4))
def test_random_readings_are_no_emotion(seed):
    random = np.random.default_rng(seed)
    sharp = random.dirichlet(np.full(7, 0.15), 700)
    run = Run().go(0, 60, lambda t: cue(t, **dict(zip(EMOTIONS, sharp[int(t * 10)], strict=True))))
    assert np.mean([label == "neutral" for label in run.labels]) > 0.97
    assert run.changes() <= 4


@pytest.mark.parametrize("label", FELT)
def test_what_the_listener_is_unsure_of_is_no_emotion(label):
    for confidence in (0.0, 0.1, 0.3):
        run = Run().go(0, 6, lambda t, c=confidence: cue(t, c, **{label: 1.0}))
        assert set(run.labels) == {"neutral"}
        assert run.size.max() == 0


def test_readings_that_are_no_numbers_are_no_emotion():
    def broken(t: float) -> EmotionCue:
        return EmotionCue(at(t), Emotion("anger", 1.0), 1.0, np.full(7, np.nan, np.float32))

    run = Run().go(0, 3, broken)
    assert run.size.max() == 0
    assert Run().go(0, 2, broken).go(2, 4, lambda t: cue(t, anger=0.9)).labels[-1] == "anger"


def test_doubt_between_opposites_makes_the_face_smaller():
    sure = Run().go(0, 4, lambda t: cue(t, happiness=0.6))
    torn = Run().go(0, 4, lambda t: cue(t, happiness=0.6, anger=0.3))
    both = Run().go(0, 4, lambda t: cue(t, happiness=0.6, surprise=0.4))
    assert torn.size[-1] < 0.6 * sure.size[-1]
    units = facs.to_action_units(both.faces[-1])
    assert min(units[1], units[2], units[12]) > 0.2, "a second emotion that goes with the first colours it"


def test_heard_surprise_is_short_and_other_emotions_last():
    surprise, joy = (Run().go(0, 9, lambda t, k=k: cue(t, **{k: 0.9})) for k in ("surprise", "happiness"))
    assert surprise.size[-1] < 0.5 * surprise.size.max()
    assert joy.size[-1] > 0.95 * joy.size.max()
    assert surprise.times[int(surprise.size.argmax())] < 3


def test_valence_and_arousal_are_those_heard_or_else_the_usual_ones():
    heard = Run().go(0, 3, lambda t: cue(t, valence=-0.3, arousal=0.9, anger=0.9)).emotions[-1]
    assert (heard.valence, heard.arousal) == (pytest.approx(-0.3), pytest.approx(0.9))
    chosen = Run(EmotionChoice.of("anger", 0.5)).go(0, 1).emotions[-1]
    assert (chosen.label, chosen.intensity) == ("anger", pytest.approx(0.5))
    assert chosen.valence < 0 < chosen.arousal


# --- choices ------------------------------------------------------------------------------------------------------


def test_off_shows_nothing_and_forgets_what_was_heard():
    run = Run().go(0, 3, lambda t: cue(t, anger=0.9))
    run.choice = EmotionChoice("off")
    run.go(3, 8, lambda t: cue(t, anger=0.9))
    assert run.labels[-1] == "neutral"
    assert run.size[-1] == 0
    run.choice = EmotionChoice("auto")
    run.go(8, 8.2, lambda t: cue(t, anger=0.9))
    assert run.labels[-1] == "neutral", "it is heard anew"


def test_a_fixed_emotion_does_not_listen():
    run = Run(EmotionChoice.of("happiness", 0.5)).go(0, 4, lambda t: cue(t, anger=1.0))
    assert set(run.labels) == {"happiness"}
    assert run.faces[-1][SMILE] == pytest.approx(0.5 * PROTOTYPES["happiness"][12], abs=0.01)


def test_a_mood_is_a_lean_that_is_added():
    mood = degrees_of("happiness", 0.2)
    quiet = Run(EmotionChoice("auto", mood=mood)).go(0, 4)
    assert quiet.faces[-1][SMILE] == pytest.approx(0.2 * PROTOTYPES["happiness"][12], abs=0.01)
    glad = Run(EmotionChoice("auto", strength=0.5, mood=mood)).go(0, 4, lambda t: cue(t, happiness=0.9, arousal=0.51))
    assert glad.faces[-1][SMILE] == pytest.approx(0.7 * PROTOTYPES["happiness"][12], abs=0.02)
    full = Run(EmotionChoice("auto", mood=degrees_of("happiness", 0.9))).go(
        0, 4, lambda t: cue(t, happiness=1.0, arousal=0.51)
    )
    assert full.faces[-1][SMILE] == pytest.approx(PROTOTYPES["happiness"][12], abs=0.01)


def test_mirror_keeps_a_seen_smile_under_speech_and_does_not_double_it():
    def smiles(mode: str) -> tuple[float, float, str]:
        sync = Synchronizer(Style(emotion=EmotionChoice(mode)), seed=None)
        quiet = 0.0
        for t in range(0, 6000, 20):
            talking = t >= 3000
            sync.push(LipCue(Ns(t * 10**6), np.zeros(15, np.float32), facs.arkit_vector({}), talking), "voice")
            sync.push(ExpressionCue(Ns(t * 10**6), emotion_face("happiness", 0.6)), "camera")
            state = sync.sample(Ns(t * 10**6))
            quiet = state.arkit[SMILE] if t == 2900 else quiet
        return quiet, float(state.arkit[SMILE]), state.emotion.label

    seen = 0.6 * PROTOTYPES["happiness"][12]
    quiet, spoken, label = smiles("mirror")
    assert label == "happiness"
    assert quiet == pytest.approx(seen, abs=0.02), "while nobody speaks the camera's face is shown as it is"
    assert 0.6 * seen < spoken <= seen + 0.02
    assert smiles("off")[1] < 0.1 * seen, "without it a voice has the whole mouth"


def test_a_heard_emotion_leaves_brows_to_a_camera_and_everything_to_a_program():
    def brows(*origins: str) -> float:
        sync = Synchronizer(Style(emotion=EmotionChoice("auto")), seed=None)
        for t in range(0, 4000, 20):
            for origin in origins:
                sync.push(ExpressionCue(Ns(t * 10**6), facs.arkit_vector({})), origin)
            if t % 100 == 0:
                sync.push(cue(t / 1000, anger=0.9), "voice")
            state = sync.sample(Ns(t * 10**6))
        return float(state.arkit[BROW])

    assert brows() > 0.7
    assert brows("camera") == pytest.approx(0, abs=0.01)
    assert brows("program") == pytest.approx(0, abs=0.01)


# --- variation ----------------------------------------------------------------------------------------------------


def test_variation_is_small_smooth_and_never_comes_again():
    lively = Variation(5)
    course = np.stack([lively.at(at(i / 30)) for i in range(30 * 240)])
    assert 0.75 < course.min() < course.max() < 1.25
    assert np.abs(np.diff(course, axis=0)).max() < 0.02
    smile = course[:, SMILE] - course[:, SMILE].mean()
    far = [np.corrcoef(smile[: 30 * 60], smile[lag : lag + 30 * 60])[0, 1] for lag in range(30 * 15, 30 * 180, 7)]
    assert max(far) < 0.8, "no minute is like another"
    assert smile.std() > 0.02


def test_variation_depends_on_seed_and_time_alone():
    forwards = [Variation(1).at(at(t)) for t in (0.0, 7.0, 3600.0, 1e6)]
    one = Variation(1)
    for t in range(200):
        one.at(at(t * 0.37))
    np.testing.assert_array_equal(forwards, [one.at(at(t)) for t in (0.0, 7.0, 3600.0, 1e6)])
    assert np.abs(Variation(2).at(at(7.0)) - forwards[1]).max() > 0.01


def test_sides_differ_a_little_for_every_seed():
    left, right = facs.INDEX["mouthSmileLeft"], facs.INDEX["mouthSmileRight"]
    mean = [np.mean([Variation(s).at(at(t)) for t in range(0, 60, 2)], axis=0) for s in range(40)]
    ratio = np.array([m[left] / m[right] for m in mean])
    assert 0.8 < ratio.min() < ratio.max() < 1.25
    assert 0.02 < ratio.std() < 0.1
    assert np.median([abs(m[facs.INDEX["jawOpen"]] - 1) for m in mean]) < 0.05


def test_a_face_at_rest_stays_at_rest_and_the_same_seed_gives_the_same_face():
    still = Run(EmotionChoice("auto"), seed=3).go(0, 5, lambda t: cue(t))
    assert still.size.max() == 0
    a, b = (Run(EmotionChoice.of("fear", 0.6), seed=3).go(0, 2) for _ in range(2))
    np.testing.assert_array_equal(a.faces, b.faces)
    c = Run(EmotionChoice.of("fear", 0.6), seed=4).go(0, 2)
    assert np.abs(np.array(a.faces) - c.faces).max() > 0.01


def test_the_judge_says_which_emotion_it_holds():
    judge = HeardEmotion()
    for i in range(20):
        judge.step(at(i * STEP), np.array(degrees_of("disgust", 0.9)))
    assert judge.label == "disgust"
    judge.reset()
    assert judge.label == "neutral"
