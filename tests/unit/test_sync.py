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
from avatar.sync.blend import add_emotion, layer, layer_rotation
from avatar.sync.cadence import Cadence
from avatar.sync.expression import PROTOTYPES, emotion_face
from avatar.sync.synchronizer import Style, Synchronizer
from avatar.sync.timeline import Timeline

JAW, SMILE, PRESS = (facs.INDEX[n] for n in ("jawOpen", "mouthSmileLeft", "mouthPressLeft"))


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
    assert sync.sample(ms(490 + 60 + 181)).arkit[JAW] == 0
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
    sync = Synchronizer(Style(emotion=Emotion("happiness", 1.0)))
    rise = [sync.sample(ms(t)).arkit[SMILE] for t in range(0, 2000, 20)]
    assert rise[0] == 0
    assert max(np.diff(rise)) < 0.06
    assert rise[-1] == pytest.approx(PROTOTYPES["happiness"][12], abs=0.01)
    for t in range(2000, 3000, 10):
        sync.push(lips(t, jawOpen=0.3), "voice")
    talking = [sync.sample(ms(t)) for t in range(2000, 2980, 20)][-1]
    assert 0.3 < talking.arkit[SMILE] < 0.8, "a smile stays a smile while talking"
    assert talking.arkit[JAW] >= 0.3


@pytest.mark.parametrize("label", EMOTIONS)
def test_no_emotion_opens_lips_that_a_sound_closes(label):
    closed = facs.arkit_vector({"mouthPress": 0.6, "mouthClose": 0.3})
    mixed = add_emotion(closed, emotion_face(label, 1.0), speaking=1.0)
    for name in ("jawOpen", "mouthUpperUpLeft", "mouthLowerDownRight"):
        assert mixed[facs.INDEX[name]] == 0
    assert mixed.max() <= 1
    assert mixed.min() >= 0


def test_a_heard_emotion_is_used_until_one_is_chosen():
    sync = Synchronizer()
    for t in range(0, 3000, 100):
        sync.push(EmotionCue(ms(t), Emotion("anger", 0.8)), "voice")
    for t in range(0, 2900, 33):
        state = sync.sample(ms(t))
    assert state.emotion.label == "anger"
    assert state.au[4] > 0.6
    sync.style = Style(emotion=Emotion("happiness", 1.0))
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
        sync = Synchronizer(Style(emotion=Emotion("fear", 0.5)))
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
