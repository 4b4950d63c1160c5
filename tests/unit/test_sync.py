"""Cues in, face states out."""

import numpy as np
import pytest

from avatar.core import facs
from avatar.core.types import (
    EMOTIONS,
    MILLISECOND,
    SECOND,
    BlinkCue,
    Emotion,
    EmotionCue,
    ExpressionCue,
    Gaze,
    GazeCue,
    LipCue,
    Ns,
    Pose,
    PoseCue,
    ProsodyCue,
)
from avatar.sync.articulation import articulate
from avatar.sync.blend import add_emotion, layer, layer_rotation
from avatar.sync.cadence import Cadence
from avatar.sync.expression import PROTOTYPES, emotion_face
from avatar.sync.feeling import EmotionChoice
from avatar.sync.synchronizer import Style, Synchronizer
from avatar.sync.timeline import Timeline

JAW, CLOSE, SMILE, PUCKER = (facs.INDEX[n] for n in ("jawOpen", "mouthClose", "mouthSmileLeft", "mouthPucker"))
PARTS = [i for name, i in facs.INDEX.items() if name.startswith(("mouthUpperUp", "mouthLowerDown", "mouthFunnel"))]
PRESSED = {"jawOpen": 0.2, "mouthClose": 0.2, "mouthPress": 0.32, "mouthRollLower": 0.12, "mouthRollUpper": 0.1}
"""Lips that touch over a jaw that is on its way."""
ON_TEETH = {"jawOpen": 0.07, "mouthRollLower": 0.38, "mouthUpperUp": 0.34}
OPEN = {"jawOpen": 0.5, "mouthUpperUp": 0.2, "mouthLowerDown": 0.06}
ROUND = {"jawOpen": 0.16, "mouthPucker": 0.86, "mouthClose": 0.055}
SLIDERS = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1), (0.5, 1.5)]


def ms(t: float) -> Ns:
    return Ns(round(t * MILLISECOND))


def lips(t: float, voiced: bool = True, **coefficients: float) -> LipCue:
    return LipCue(ms(t), np.zeros(15, np.float32), facs.arkit_vector(coefficients), voiced)


def face(t: float, **coefficients: float) -> ExpressionCue:
    return ExpressionCue(ms(t), facs.arkit_vector(coefficients))


def test_a_timeline_interpolates_holds_and_lets_go():
    line = Timeline(hold=ms(50), release=ms(100))
    assert line.at(ms(0)) is None
    for t in (100, 110):
        line.push(lips(t))
    assert line.at(ms(90)) is None
    before, after, fraction, presence = line.at(ms(104))
    assert (before.pts, after.pts, presence) == (ms(100), ms(110), 1.0)
    assert fraction == pytest.approx(0.4)
    assert line.at(ms(150))[3] == 1.0
    assert line.at(ms(210))[3] == pytest.approx(0.5)
    assert line.at(ms(300)) is None


def test_a_source_that_starts_again_replaces_its_future():
    line = Timeline(hold=ms(50), release=ms(100))
    for t in (0, 10, 20, 30):
        line.push(lips(t))
    line.push(lips(15))
    assert line.newest == ms(15)
    line.push(lips(10_000))
    assert line.at(ms(15)) is None, "old cues are dropped"


def test_lips_follow_their_cues_and_close_when_these_stop():
    sync = Synchronizer()
    for t in range(0, 500, 10):
        sync.push(lips(t, jawOpen=0.4), "voice")
    assert sync.sample(ms(250)).arkit[JAW] == pytest.approx(0.4)
    assert sync.sample(ms(250)).voiced
    assert sync.sample(ms(490 + 100)).arkit[JAW] < 0.01, "a mouth whose sound is over does not stay open"
    assert not sync.sample(ms(800)).voiced


def test_an_unsure_mouth_opens_as_far_as_a_sure_one():
    sync = Synchronizer()
    for t in range(0, 500, 10):
        cue = lips(t, jawOpen=0.4)
        sync.push(LipCue(cue.pts, cue.visemes, cue.mouth, True, confidence=0.3), "voice")
    state = sync.sample(ms(250))
    assert state.arkit[JAW] == pytest.approx(0.4)
    assert state.confidence.lips == pytest.approx(0.3)


def test_the_voice_has_the_mouth_the_camera_the_rest():
    sync = Synchronizer()
    for t in range(0, 1000, 10):
        sync.push(lips(t, jawOpen=0.4), "voice")
        sync.push(face(t, jawOpen=0.1, browInnerUp=0.8), "camera")
    for t in range(0, 900, 33):
        state = sync.sample(ms(t))
    assert state.arkit[JAW] == pytest.approx(0.4, abs=0.01)
    assert state.arkit[facs.INDEX["browInnerUp"]] == pytest.approx(0.8)


def test_between_sentences_the_camera_has_the_mouth():
    sync = Synchronizer()
    for t in range(0, 1000, 10):
        sync.push(lips(t, voiced=False), "voice")
        sync.push(face(t, mouthSmile=0.7), "camera")
    for t in range(0, 900, 33):
        state = sync.sample(ms(t))
    assert state.arkit[SMILE] == pytest.approx(0.7, abs=0.01)


def test_a_program_has_everything_while_it_talks_and_lets_go_after():
    sync = Synchronizer()
    for t in range(0, 1000, 10):
        sync.push(lips(t, jawOpen=0.4), "voice")
        sync.push(face(t, mouthSmile=1.0), "program")
    assert sync.sample(ms(500)).arkit[JAW] == 0
    assert sync.sample(ms(500)).arkit[SMILE] == 1
    for t in range(1000, 4000, 10):
        sync.push(lips(t, jawOpen=0.4), "voice")
    assert sync.sample(ms(3000)).arkit[JAW] == pytest.approx(0.4)


def test_emotion_rises_smoothly_and_stays_under_speech():
    sync = Synchronizer(Style(emotion=EmotionChoice.of("happiness", 1.0)), seed=None)
    rise = [sync.sample(ms(t)).arkit[SMILE] for t in range(0, 2000, 20)]
    assert rise[0] == 0
    assert max(np.diff(rise)) < 0.06
    assert rise[-1] == pytest.approx(PROTOTYPES["happiness"][12], abs=0.01)
    for t in range(2000, 3000, 10):
        sync.push(lips(t, jawOpen=0.3), "voice")
    talking = [sync.sample(ms(t)) for t in range(2000, 2980, 20)][-1]
    assert 0.3 < talking.arkit[SMILE] < 0.8, "a smile stays a smile while talking"
    assert talking.arkit[JAW] >= 0.3


def parted(face: np.ndarray) -> float:
    """How far the lips are apart, as far as coefficients tell."""
    return float(face[JAW] - face[CLOSE] + face[PARTS].max())


@pytest.mark.parametrize("label", EMOTIONS)
@pytest.mark.parametrize("sliders", SLIDERS)
def test_lips_that_a_sound_closes_are_closed_whatever_is_felt_and_however_it_is_said(label, sliders):
    closed = articulate(facs.arkit_vector(PRESSED), *sliders)
    mixed = add_emotion(closed, emotion_face(label, 1.0), speaking=1.0)
    assert parted(mixed) == pytest.approx(0, abs=0.005)
    assert mixed[facs.INDEX["mouthPressLeft"]] >= 0.3
    assert mixed.max() <= 1
    assert mixed.min() >= 0


@pytest.mark.parametrize("sliders", SLIDERS)
def test_a_lip_on_the_teeth_stays_there(sliders):
    face = articulate(facs.arkit_vector(ON_TEETH), *sliders)
    assert face[facs.INDEX["mouthRollLower"]] == pytest.approx(0.38)
    assert face[facs.INDEX["mouthUpperUpLeft"]] >= 0.3
    assert face[JAW] <= 0.071
    assert add_emotion(face, emotion_face("fear", 1.0), 1.0)[facs.INDEX["mouthLowerDownLeft"]] < 0.01


def test_a_smile_stays_a_smile_in_every_sound():
    smile = emotion_face("happiness", 0.6)
    for shape, least in ((OPEN, 0.8), (PRESSED, 0.8), (ON_TEETH, 0.8), (ROUND, 0.4)):
        mixed = add_emotion(facs.arkit_vector(shape), smile, 1.0)
        assert least * smile[SMILE] <= mixed[SMILE] <= smile[SMILE]
    rounded = add_emotion(facs.arkit_vector(ROUND), smile, 1.0)
    assert 0.6 * 0.86 < rounded[PUCKER] < 0.86, "oo is rounder than the smile, narrower than oo alone"
    assert rounded[SMILE] < add_emotion(facs.arkit_vector(OPEN), smile, 1.0)[SMILE]


def test_sadness_keeps_its_corners_and_anger_does_not_press_open_lips():
    frown, press = facs.INDEX["mouthFrownLeft"], facs.INDEX["mouthPressLeft"]
    sad, angry = emotion_face("sadness", 0.6), emotion_face("anger", 0.6)
    assert add_emotion(facs.arkit_vector(OPEN), sad, 1.0)[frown] > 0.8 * sad[frown]
    assert add_emotion(facs.arkit_vector(OPEN), angry, 1.0)[press] < 0.02
    assert add_emotion(facs.arkit_vector({}), angry, 0.0)[press] == pytest.approx(angry[press])


def test_an_emotion_hardly_opens_a_mouth_that_speaks():
    surprise = emotion_face("surprise", 1.0)
    assert add_emotion(facs.arkit_vector(OPEN), surprise, 1.0)[JAW] < 0.6
    assert add_emotion(facs.arkit_vector({}), surprise, 0.0)[JAW] == pytest.approx(surprise[JAW])


def test_an_open_mouth_of_surprise_does_not_come_and_go_between_words():
    sync = Synchronizer(Style(emotion=EmotionChoice.of("surprise", 1.0)))
    jaw = {}
    for t in range(0, 6000, 10):
        sync.push(lips(t, voiced=2000 <= t < 3000 or 3150 <= t < 4000), "voice")
        jaw[t] = sync.sample(ms(t)).arkit[JAW]
    assert max(jaw[t] for t in range(3000, 3200, 10)) < 1.5 * jaw[2900]
    assert jaw[5900] > 2 * jaw[2900]


@pytest.mark.parametrize(("jaw", "wide"), [(0, 0.25), (0.5, 0.6), (1, 1.0), (2, 1.3)])
def test_the_jaw_slider_scales_the_jaw_alone(jaw, wide):
    usual = facs.arkit_vector(OPEN)
    face = articulate(usual, jaw, 1.0)
    assert face[JAW] == pytest.approx(wide * 0.5, rel=0.1)
    others = np.arange(len(face)) != JAW
    np.testing.assert_array_equal(face[others], usual[others])
    small = articulate(facs.arkit_vector({"jawOpen": 0.1}), jaw, 1.0)[JAW] / 0.1
    assert small >= face[JAW] / 0.5 - 1e-6, "enunciating is crisper, not only wider"


@pytest.mark.parametrize(("slider", "low", "high"), [(0, 0.3, 0.5), (1, 1, 1), (2, 1.05, 1.7)])
def test_the_lips_slider_scales_the_lips_alone(slider, low, high):
    usual = facs.arkit_vector({**ROUND, "mouthStretch": 0.3})
    face = articulate(usual, 1.0, slider)
    for i in (PUCKER, facs.INDEX["mouthStretchLeft"]):
        assert low - 1e-6 <= face[i] / usual[i] <= high + 1e-6
    assert face[JAW] == usual[JAW]


def test_the_sliders_act_on_what_was_heard_before():
    sync = Synchronizer()
    for t in range(0, 500, 10):
        sync.push(lips(t, **OPEN), "voice")
    before = sync.sample(ms(250)).arkit[JAW]
    sync.style = Style(jaw=0.0, lips=0.0)
    assert sync.sample(ms(251)).arkit[JAW] < 0.3 * before
    sync.style = Style(jaw=2.0, lips=2.0)
    after = sync.sample(ms(252)).arkit
    assert after[JAW] > 1.2 * before
    assert after.max() <= 1


def test_a_heard_emotion_is_used_until_one_is_chosen():
    sync = Synchronizer()
    for t in range(0, 3000, 100):
        sync.push(EmotionCue(ms(t), Emotion("anger", 0.8)), "voice")
    for t in range(0, 2900, 33):
        state = sync.sample(ms(t))
    assert state.emotion.label == "anger"
    assert state.au[4] > 0.6
    sync.style = Style(emotion=EmotionChoice.of("happiness", 1.0))
    assert sync.sample(ms(2920)).emotion.label == "happiness"


def test_strength_scales_head_and_gaze():
    for strength, yaw, look in ((0.0, 0.0, 0.0), (0.5, 5.0, 0.1), (1.5, 15.0, 0.3)):
        sync = Synchronizer(Style(head_strength=strength, gaze_strength=strength))
        sync.push(PoseCue(ms(0), Pose.degrees(yaw=10)), "voice")
        sync.push(GazeCue(ms(0), Gaze(0.2, 0.0)), "idle")
        state = sync.sample(ms(0))
        assert state.head.euler[0] == pytest.approx(yaw, abs=1e-6)
        assert state.gaze.yaw == pytest.approx(look, abs=1e-6)
        assert facs.eye_look(state.arkit)[0] == pytest.approx(look, abs=1e-6)


def test_the_head_does_not_jump_when_the_camera_goes():
    sync = Synchronizer()
    for t in range(0, 1000, 33):
        sync.push(PoseCue(ms(t), Pose.degrees(yaw=15)), "camera")
    for t in range(0, 4000, 10):
        sync.push(PoseCue(ms(t), Pose.degrees(yaw=0)), "voice")
    yaws = [sync.sample(ms(t)).head.euler[0] for t in range(900, 2200, 33)]
    assert yaws[0] == pytest.approx(15, abs=0.1)
    assert yaws[-1] == pytest.approx(0, abs=0.1)
    assert max(abs(np.diff(yaws))) < 1.5


def test_a_blink_adds_to_what_the_lids_do():
    sync = Synchronizer()
    sync.push(BlinkCue(ms(0), 1.0, 0.4), "idle")
    state = sync.sample(ms(10))
    assert state.arkit[facs.INDEX["eyeBlinkLeft"]] == 1
    assert state.arkit[facs.INDEX["eyeBlinkRight"]] == pytest.approx(0.4)


def test_prosody_is_ignored_and_nonsense_refused():
    sync = Synchronizer()
    sync.push(ProsodyCue(ms(0), 120.0, 1.0, -20.0, 1.0), "voice")
    with pytest.raises(KeyError):
        sync.push(lips(0), "camera")


def test_forgetting_a_camera_gives_its_parts_back():
    sync = Synchronizer()
    sync.push(face(0, browDown=1.0), "camera")
    sync.forget("camera")
    assert sync.sample(ms(1)).arkit.sum() == 0


def test_states_are_read_only_and_the_same_for_the_same_cues():
    def run():
        sync = Synchronizer(Style(emotion=EmotionChoice.of("fear", 0.5)))
        out = []
        for t in range(0, 1000, 10):
            sync.push(lips(t, jawOpen=t / 2000), "voice")
            out.append(sync.sample(ms(t)).arkit)
        return np.stack(out)

    np.testing.assert_array_equal(run(), run())
    with pytest.raises(ValueError, match="read-only"):
        Synchronizer().sample(ms(0)).arkit[0] = 1


def test_layers_share_what_presence_leaves():
    ones, twos = np.ones(3), np.full(3, 2.0)
    np.testing.assert_allclose(layer([(ones, 1.0), (twos, 1.0)], 3), 1)
    np.testing.assert_allclose(layer([(ones, 0.25), (twos, 1.0)], 3), 1.75)
    np.testing.assert_allclose(layer([(ones, 0.25)], 3), 0.25)
    a, b = Pose.degrees(yaw=10).rotation, Pose.degrees(yaw=20).rotation
    assert Pose(layer_rotation([(a, 0.5), (b, 1.0)])).euler[0] == pytest.approx(15)
    assert Pose(layer_rotation([(a, 0.5)])).euler[0] == pytest.approx(5)


def test_the_cadence_skips_late_ticks_and_counts_them():
    cadence = Cadence(30)
    assert cadence.next(Ns(0)) == 0
    assert cadence.next(Ns(0)) == SECOND // 30
    assert cadence.next(Ns(SECOND)) == SECOND
    assert cadence.skipped == 28
    cadence.pause()
    cadence.next(Ns(5 * SECOND))
    assert cadence.skipped == 28
    with pytest.raises(ValueError, match="more than 0"):
        Cadence(0)
