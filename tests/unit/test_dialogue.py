"""Dialogue acts: which, when, and how they reach the face."""

from itertools import pairwise

import numpy as np
import pytest

from avatar.analysis import dialogue
from avatar.analysis.delivery import DELIVERIES, delivery_of
from avatar.analysis.dialogue import ACTS, BODY_GESTURES, RULES, guess
from avatar.analysis.phonemes import ClauseMark, PhonemeMark
from avatar.core.ring import AudioTimeline
from avatar.core.types import SECOND, ExpressionCue, FaceState, GestureCue, Ns, Pose, PoseCue, freeze, seconds
from avatar.errors import UsageError
from avatar.models.inputs import acts as judge
from avatar.spoken import final_rise, pitches, spoken
from avatar.streams.sources.text import EspeakVoice
from avatar.streams.wire import state_from_json, state_to_json
from avatar.sync.synchronizer import Synchronizer

SENTENCE = "The train to Vienna leaves at seven"


@pytest.fixture(scope="module")
def clips():
    return {act: judge.clip(SENTENCE, act) for act in ACTS}


# --- which act ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "act"), judge.LABELLED)
def test_the_act_is_guessed_from_the_words_and_the_mark(text, act):
    assert guess(text) == act


def test_without_a_mark_the_melody_decides():
    assert guess("You like it", rise=4.0) == "ask"
    assert guess("You like it", rise=-4.0) == "answer"
    assert guess("You like it.", rise=4.0) == "answer"


def test_the_synthesizer_asks_with_a_rising_voice():
    found = {}
    for text in ("Is it raining today?", "It is raining today."):
        speech = EspeakVoice().synthesize(text)
        (clause,) = speech.clauses
        found[text[-1]] = final_rise(pitches(speech.samples, speech.rate), clause.start_s, clause.end_s)
    assert found["?"] > dialogue.QUESTION_RISE > 0 > found["."]


def test_each_sentence_has_its_own_act():
    speech = EspeakVoice().synthesize("Where is my umbrella, the yellow one? It is in the hall.")
    assert [clause.text for clause in speech.clauses] == [
        "Where is my umbrella,", "the yellow one?", "It is in the hall.",
    ]  # fmt: skip
    assert dialogue.acts_of(speech.clauses, None) == ("ask", "ask", "answer")
    assert dialogue.acts_of(speech.clauses, "explain") == ("explain",) * 3


def test_clauses_follow_the_sound():
    speech = EspeakVoice().synthesize("One, two; three. Four!")
    assert [clause.text for clause in speech.clauses] == ["One,", "two;", "three.", "Four!"]
    assert all(a.end_s <= b.start_s for a, b in pairwise(speech.clauses))
    assert speech.clauses[-1].end_s <= speech.duration


# --- when --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS)
def test_the_stroke_peaks_on_the_stressed_syllable(clips, act):
    errors = judge.peak_errors(clips[act])
    assert errors
    assert all(abs(frames) <= 1 and inside for frames, inside in errors)


def test_the_four_acts_move_differently(clips):
    assert min(judge.distances(clips).values()) > 4
    brows = {act: judge.track(clips[act].states)[:, 3:].mean(0) for act in ACTS}
    assert brows["ask"][1] > brows["answer"][1] + 0.2, "who asks raises the brows"
    assert brows["request"][0] > brows["request"][1] + 0.2, "who requests raises the inner ones"
    assert brows["explain"][2] > brows["answer"][2] + 0.1, "who explains draws them together"


@pytest.mark.parametrize("act", ACTS)
def test_the_finish_comes_with_the_clauses_end_and_ebbs_away(act):
    speech = spoken(SENTENCE, act)
    last = [m for m in speech.moves if isinstance(m, GestureCue)][-1]
    assert last.name == RULES[act].last
    assert abs(last.pts / SECOND - speech.clauses[-1].end_s) < 0.35
    pose = [m for m in speech.moves if isinstance(m, PoseCue)][-1]
    assert np.abs(pose.pose.euler).max() < 0.2
    assert pose.pts / SECOND < speech.duration + 1.6


def test_moves_are_in_order_and_gestures_are_known():
    speech = spoken("First take the paper, then fold it, and then cut it.", "explain")
    assert [m.pts for m in speech.moves] == sorted(m.pts for m in speech.moves)
    gestures = [m for m in speech.moves if isinstance(m, GestureCue)]
    assert {g.name for g in gestures} <= set(BODY_GESTURES)
    assert {"beat_left", "beat_right"} <= {g.name for g in gestures}
    assert all(g.pts <= g.stroke <= g.end for g in gestures)


def test_no_head_turns_faster_than_people_do():
    for act in ACTS:
        heads = np.array([m.pose.euler for m in spoken(SENTENCE, act).moves if isinstance(m, PoseCue)])
        assert np.abs(np.diff(heads, axis=0)).max() * dialogue.RATE < 120


def test_a_language_without_written_stress_has_strokes_too():
    marks = [PhonemeMark(0.0, 0.1, "t"), PhonemeMark(0.1, 0.4, "a"), PhonemeMark(0.4, 0.5, "i")]
    made = dialogue.plan(marks, [ClauseMark(0.0, 0.5, "ta i")], "answer")
    assert [stroke.at for stroke in made.strokes] == [pytest.approx(0.25)]


def test_nothing_said_is_nothing_done():
    assert dialogue.plan([], []).moves == ()
    assert dialogue.plan([], [ClauseMark(0, 0.5, "...")], "ask").strokes == ()


# --- how it gets there ---------------------------------------------------------------------------------------------


def test_every_move_travels_once_and_the_sound_waits_for_the_last():
    speech = spoken("Is it late?", "ask")
    chunks = list(speech.chunks(seconds(2.0)))
    carried = [move for chunk in chunks for move in chunk.moves]
    assert len(carried) >= len(speech.moves) - 4  # those at the very end may lie on the edge
    assert carried[0].pts == seconds(2.0) + speech.moves[0].pts
    for chunk in chunks:
        assert all(chunk.pts - 10_000_000 <= move.pts < chunk.end + 1_000 for move in chunk.moves)
    line = AudioTimeline(48_000)
    line.skip(seconds(2.0))
    for chunk in chunks[:20]:
        line.write(chunk)
    read = [move for _ in range(20) for move in line.read(960).moves]
    assert read == [move for chunk in chunks[:20] for move in chunk.moves]
    line.write(chunks[20])
    line.cut()
    assert line.read(960).moves == ()


def test_an_act_gives_way_to_a_camera_and_to_a_program():
    for origin, yaw in (("camera", 20.0), ("program", -15.0)):
        face = Synchronizer()
        face.push(PoseCue(Ns(0), Pose.degrees(5, 5, 0), 0.85), "script")
        face.push(PoseCue(Ns(0), Pose.degrees(2, 0, 0)), "voice")
        assert face.sample(Ns(0)).head.euler[0] == pytest.approx(0.85 * 5 + 0.15 * 2, abs=0.1)
        face.push(PoseCue(Ns(0), Pose.degrees(yaw, 0, 0)), origin)
        assert face.sample(Ns(0)).head.euler[0] == pytest.approx(yaw, abs=0.1)


def test_an_act_has_the_brows_and_never_the_mouth():
    face = Synchronizer()
    arkit = freeze(np.full(52, 0.5, np.float32))
    face.push(ExpressionCue(Ns(0), arkit), "script")
    state = face.sample(Ns(0))
    assert state.au[1] == pytest.approx(0.5)
    assert state.au[26] == 0


def test_gestures_begin_and_end_and_are_written():
    face = Synchronizer()
    beat = GestureCue(seconds(1.0), "beat_left", seconds(1.2), seconds(1.5))
    face.push(beat, "script")
    found = [face.sample(seconds(t)).gesture for t in (0.9, 1.0, 1.4, 1.5)]
    assert found == [None, beat, beat, None]
    data = state_to_json(FaceState(Ns(0), gesture=beat))
    assert data["gesture"] == {"name": "beat_left", "start": 1.0, "stroke": 1.2, "end": 1.5}
    assert state_from_json(data).gesture == beat
    for wrong in ({"name": ""}, {"name": "x"}, {"name": "x", "start": 2, "stroke": 1, "end": 3}, 5):
        with pytest.raises(UsageError, match="gesture"):
            state_from_json({"t": 0, "gesture": wrong})


# --- the voice ---------------------------------------------------------------------------------------------------


def test_the_voice_follows_the_emotion():
    found = {}
    for label in ("neutral", "sadness", "anger", "fear"):
        speech = spoken(f"{SENTENCE}.", "answer", emotion=(label, 1.0))
        track = pitches(speech.samples, speech.rate)
        voiced = 12 * np.log2(track[track[:, 1] > 0.6, 0] / 100)
        level = 20 * np.log10(np.sqrt(np.mean(speech.samples**2)))
        found[label] = speech.duration, np.median(voiced), np.subtract(*np.percentile(voiced, (90, 10))), level
        assert np.abs(speech.samples).max() <= 1
    seconds_, pitch, width, level = zip(*found.values(), strict=True)
    assert seconds_[1] > 1.15 * seconds_[0] > seconds_[0] > seconds_[3]
    assert pitch[1] < pitch[0] - 1
    assert min(pitch[2:]) > pitch[0] + 3
    assert width[1] < 0.8 * width[0]
    assert width[2] > 1.1 * width[0]
    assert level[1] < level[0] - 4
    assert level[2] > level[0] + 1


def test_a_delivery_is_as_strong_as_the_emotion():
    assert delivery_of("anger", 0.0) == DELIVERIES["neutral"]
    assert 0 < delivery_of("anger", 0.5).pitch < delivery_of("anger", 1.0).pitch


def test_unknown_acts_and_emotions_are_one_clear_line():
    with pytest.raises(UsageError, match="ask, request, answer, explain"):
        spoken("Hello", "shout")
    with pytest.raises(UsageError, match="happiness"):
        spoken("Hello", emotion=("joy", 1.0))
