"""Pitch, voice activity levels, accents and phrases, head and brows."""

import math

import numpy as np
import pytest

from avatar.analysis.brows import BrowAccents
from avatar.analysis.features import PAST, RATE
from avatar.analysis.headpose import RuleHead
from avatar.analysis.prosody import AccentDetector, Melody, PitchTracker, Prosody, yin
from avatar.analysis.speaker import Speaker
from avatar.analysis.vad import LevelTracker, SpeechGate
from avatar.core.facs import INDEX, UPPER_INDICES


def voice(hertz: float) -> np.ndarray:
    """A harmonic sound like a vowel."""
    t = np.arange(PAST) / RATE
    return sum(np.sin(2 * np.pi * k * hertz * t + k) / k for k in range(1, 8)).astype(np.float32)[None] * 0.1


@pytest.mark.parametrize("hertz", [65, 80, 110, 150, 220, 330, 440, 490])
def test_yin_finds_the_pitch(hertz):
    ((f0, confidence),) = yin(voice(hertz))
    assert f0 == pytest.approx(hertz, rel=0.01)
    assert confidence > 0.85


def test_yin_is_not_sure_of_noise_and_gives_nothing_for_silence():
    noise = np.random.default_rng(0).normal(0, 0.1, (50, PAST)).astype(np.float32)
    assert np.mean([c for _, c in yin(noise)]) < 0.5
    assert yin(np.zeros((1, PAST), np.float32)) == [(0.0, 0.0)]


def test_pitch_is_normalised_to_the_speaker():
    z = {}
    for name, base in (("low", 90.0), ("high", 230.0)):
        tracker, random = PitchTracker(), np.random.default_rng(1)
        for _ in range(1500):
            tracker.step(base * 2 ** float(random.normal(0, 0.1)), 0.95, -20, -20, True)
        z[name] = tracker.step(base * 2**0.2, 0.95, -20, -20, True).z
    assert z["low"] == pytest.approx(z["high"], abs=0.2)
    assert z["low"] > 1.3


def test_a_known_voice_is_right_from_the_first_hop_and_another_one_is_learnt():
    known = PitchTracker(Speaker(math.log2(220), 0.15, np.zeros(52, np.float32)))
    first = known.step(220.0, 0.9, -20, -20, True)
    assert abs(first.z) < 0.1
    assert PitchTracker().step(220.0, 0.9, -20, -20, True).z > 0.5, "unknown, it would count as high"
    for _ in range(3000):  # half a minute of somebody else
        other = known.step(110.0, 0.9, -20, -20, True)
    assert abs(other.z) < 0.7
    known.speaker = None
    known.reset()
    assert known.step(220.0, 0.9, -20, -20, True).z > 0.5


def test_unvoiced_frames_have_no_pitch():
    assert PitchTracker().step(200.0, 0.2, -20, -20, True).f0 == 0


def bump(hops: int, centre: int, height: float) -> np.ndarray:
    return height * np.exp(-0.5 * ((np.arange(hops) - centre) / 6) ** 2)


def test_a_peak_of_pitch_and_loudness_is_one_accent():
    z = bump(150, 60, 2.0)
    detector = AccentDetector()
    heard = [detector.step(Prosody(150, 0.9, -20, float(v) - 0.5, float(v) / 2 - 0.5, True)) for v in z]
    at = [i for i, m in enumerate(heard) if m.accent > 0]
    assert len(at) == 1
    assert 60 < at[0] <= 72


def test_a_phrase_begins_and_ends_once():
    detector = AccentDetector()
    speaking = [False] * 20 + [True] * 100 + [False] * 10 + [True] * 50 + [False] * 60
    heard = [detector.step(Prosody(0, 0, -30, 0, -1, s)) for s in speaking]
    assert [i for i, m in enumerate(heard) if m.began] == [20]
    assert [i for i, m in enumerate(heard) if m.ended] == [199]


def test_levels_follow_background_and_speaker():
    levels = LevelTracker()
    for _ in range(300):
        levels.step(-62.0, False)
    for i in range(600):
        levels.step(-24.0 if i % 4 else -40.0, True)
    assert levels.floor < -55
    assert levels.speech == pytest.approx(-25, abs=3)


def test_the_gate_closes_soon_and_ignores_stop_closures():
    gate = SpeechGate()
    for _ in range(100):
        gate.step(-70.0, 0.02)
    opened = [gate.step(-22.0, 0.95) for _ in range(100)]
    assert all(opened)
    assert all(gate.step(-65.0, 0.95) for _ in range(5)), "a stop's closure of 50 ms is not the end of speech"
    assert gate.step(-22.0, 0.95)
    closing = [gate.step(-65.0, 0.9) for _ in range(10)]
    assert closing.index(False) <= 6


def test_loud_noise_that_is_not_speech_opens_nothing():
    gate, random = SpeechGate(), np.random.default_rng(0)
    assert not any(gate.step(float(random.normal(-20, 4)), 0.1) for _ in range(500))


def hop(z: float = 0.0, speaking: bool = True) -> Prosody:
    return Prosody(150.0 if speaking else 0.0, 0.9, -25.0, z, 0.0, speaking)


def head_track(seconds: float, seed: int = 0, talking: bool = True) -> np.ndarray:
    """(n, 3) yaw, pitch, roll over phrases of three seconds with an accent every 0.6 s."""
    head, random = RuleHead(seed), np.random.default_rng(99)
    out = []
    for i in range(round(seconds * 100)):
        k = i % 350
        speaking = talking and k < 300
        melody = Melody(
            accent=float(random.uniform(0.2, 1)) if speaking and k % 60 == 30 else 0.0,
            began=talking and k == 0,
            ended=talking and k == 320,
        )
        out.append(head.step(melody, hop(float(np.sin(i / 25)) if speaking else 0.0, speaking)))
    return np.array(out)


def test_head_moves_as_people_do():
    track = head_track(300)
    yaw, pitch, roll = track.std(axis=0)
    assert 2.2 < pitch < 4.4
    assert 0.5 < yaw < 1.6
    assert 0.4 < roll < 1.4
    assert np.abs(track).max(axis=0) == pytest.approx([0, 0, 0], abs=11)


@pytest.mark.parametrize("talking", [True, False])
def test_head_never_jumps_and_never_freezes(talking):
    track = head_track(120, talking=talking)
    assert np.abs(track[4:] - track[:-4]).max() < 3.0, "3 degrees in 40 ms"
    assert np.abs(np.diff(track, axis=0)).max() < 0.6
    moved = np.ptp(track.reshape(-1, 400, 3), axis=1)
    assert moved[1:, 1].min() > 0.05, "still for four seconds"


def test_head_never_loops():
    pitch = head_track(120, talking=False)[:, 1]
    a, b = pitch[:3000], pitch[3000:6000]
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.9


def test_head_is_the_same_for_the_same_seed_only():
    np.testing.assert_array_equal(head_track(10, seed=5), head_track(10, seed=5))
    assert np.abs(head_track(10, seed=5) - head_track(10, seed=6)).max() > 0.5


def test_about_two_of_five_accents_carry_a_nod():
    head, nods = RuleHead(3), 0
    for _ in range(600):
        before = head._nod_left
        head.step(Melody(accent=0.8), hop())
        nods += head._nod_left > max(before, 0)
        for _ in range(40):
            head.step(Melody(), hop())
    assert 0.36 < nods / 600 < 0.48


def test_strength_zero_holds_the_head():
    head = RuleHead(0, strength=0.0)
    assert all(head.step(Melody(accent=1.0, began=True), hop(1.0)) == (0, 0, 0) for _ in range(100))


def test_brows_rise_at_some_accents_and_touch_nothing_else():
    brows = BrowAccents(1)
    track = np.array([brows.step(Melody(accent=0.9 if i % 80 == 0 else 0.0)) for i in range(4000)])
    raised = track[:, INDEX["browInnerUp"]]
    assert 0.15 < raised.max() <= 0.36
    assert raised.min() == 0
    assert 0.02 < np.mean(raised > 0.1) < 0.4
    assert np.abs(np.diff(raised)).max() < 0.05
    others = np.setdiff1d(np.arange(52), UPPER_INDICES)
    assert not track[:, others].any()
