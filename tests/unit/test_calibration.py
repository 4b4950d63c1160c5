"""What a recording must hold so that a head can be learnt from it, and what is noticed meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar import reading
from avatar.analysis import calibration
from avatar.analysis.calibration import AXES, Observer
from avatar.core import facs
from avatar.core.types import SECOND, AudioChunk, Ns
from avatar.errors import CalibrationError
from avatar.portrait.landmarks import DetectedFace

RATE = 16_000
SMILE = facs.INDEX["mouthSmileLeft"]
JAW = facs.INDEX["jawOpen"]


class LoudIsSpeech:
    """In place of the network: whatever can be heard is speech."""

    def __init__(self, path: Path) -> None:
        pass

    def push(self, samples: np.ndarray) -> float:
        return float(np.abs(samples).max() > 0.01)


@pytest.fixture(autouse=True)
def quick_ears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "SileroVad", LoudIsSpeech)


def face(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0, size: float = 60.0, **shapes: float) -> DetectedFace:
    points = np.zeros((478, 3), np.float32)
    points[473, 0] = size
    return DetectedFace(points, facs.arkit_vector(shapes), yaw, pitch, roll, (0.0, 0.0, -500.0))


def voice(seconds: float, hertz: float = 200.0) -> np.ndarray:
    """A hum in words of 0.7 s with pauses of 0.3 s between them."""
    t = np.arange(round(seconds * RATE)) / RATE
    hum = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, 6))
    return (0.15 * hum * (t % 1.0 < 0.7)).astype(np.float32)


def record(
    seconds: float = 40.0,
    fps: float = 15.0,
    sound: np.ndarray | None = None,
    seen=lambda t: True,
    company=lambda t: False,
    moves: float = 3.0,
    camera_pitch: float = 0.0,
) -> Observer:
    observer = Observer(Path())
    begin = Ns(7 * SECOND)
    observer.begin(begin)
    samples = voice(seconds) if sound is None else sound
    for at in range(0, len(samples), RATE // 10):
        observer.hear(AudioChunk(Ns(begin + at * SECOND // RATE), samples[at : at + RATE // 10], RATE))
    for i in range(round(seconds * fps)):
        t = i / fps
        speaking = t % 1.0 < 0.7
        turn = moves * np.sin(2 * np.pi * 0.5 * t)
        one = face(camera_pitch + turn, turn / 3, turn / 6, mouthSmile=0.15, jawOpen=0.4 if speaking else 0.02)
        pts = Ns(begin + round(t * SECOND))
        observer.see(pts, one if seen(t) else None)
        if i % round(fps) == 0:
            observer.glance(pts, [one, face(size=50.0)] if company(t) else [one, face(size=15.0)])
    return observer


def test_a_good_recording_gives_pieces_a_voice_and_a_face_at_rest() -> None:
    material = record(camera_pitch=12.0).finish()
    (piece,) = material.pieces
    assert len(piece.audio) / RATE == pytest.approx(piece.times[-1], abs=0.1)
    assert piece.times[0] == 0
    assert piece.degrees.shape == (len(piece.times), 3)
    assert np.median(piece.degrees[:, 0]) == pytest.approx(0, abs=0.2), "a camera that looks up at its user is no nod"
    assert material.speaker.hertz == pytest.approx(200, rel=0.02)
    assert material.speaker.neutral[SMILE] == pytest.approx(0.15, abs=0.01), "what is always there is rest"
    assert material.speaker.neutral[JAW] < 0.05, "an open mouth is not"
    habits = material.habits
    assert habits.seconds == pytest.approx(40, abs=0.3)
    assert 24 < habits.speech_seconds < 34
    assert habits.fps == pytest.approx(15, abs=0.5)
    assert habits.deviation["pitch"] == pytest.approx(3 / 2**0.5, abs=0.2)
    assert habits.extent["pitch"] == pytest.approx(6, abs=0.5)
    # The mean of |d/dt sin| is 4 x amplitude x frequency; the smoothing takes some of it.
    assert habits.speed["pitch"] == pytest.approx(4 * 3 * 0.5, rel=0.15)


@pytest.mark.parametrize(
    ("code", "says", "how"),
    [
        ("short", "5 seconds are too short", {"seconds": 5.0}),
        ("no-face", "no face was seen", {"seen": lambda t: False}),
        ("face-lost", "only 50 % of the time", {"seen": lambda t: t % 2 < 1}),
        ("company", "more than one person", {"company": lambda t: t > 20}),
        ("no-sound", "not muted", {"sound": np.zeros(40 * RATE, np.float32)}),
        ("no-speech", "no speech was heard", {"sound": np.full(40 * RATE, 1e-3, np.float32)}),
        ("little-speech", "seconds of speech", {"sound": np.pad(voice(8), (0, 32 * RATE))}),
        ("slow", "pictures a second", {"fps": 6.0}),
        ("still", "stands still", {"moves": 0.0}),
        ("no-picture", "no picture came", {"fps": 0.01}),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_with_one_line(code: str, says: str, how: dict) -> None:
    with pytest.raises(CalibrationError) as caught:
        record(**how).finish()
    assert caught.value.code == code
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_face_that_is_lost_for_a_while_ends_a_piece() -> None:
    material = record(seen=lambda t: not 10 < t < 11.5).finish()
    assert len(material.pieces) == 2
    for piece in material.pieces:
        assert np.diff(piece.times).max() < 0.25, "nothing is invented in between"
        assert len(piece.audio) / RATE == pytest.approx(piece.times[-1], abs=0.1)


def test_a_poster_in_the_background_is_no_company() -> None:
    record().finish()
    assert not record().sight.company
    assert record(company=lambda t: True).sight.company


def test_hints_say_what_to_do_better() -> None:
    assert record(seconds=20.0).sight.hint == ""
    assert "No face" in record(seconds=20.0, seen=lambda t: t < 5).sight.hint
    assert "alone" in record(seconds=20.0, company=lambda t: True).sight.hint
    assert "No voice" in record(seconds=20.0, sound=np.zeros(20 * RATE, np.float32)).sight.hint
    assert "camera" in record(seconds=20.0, fps=0.01).sight.hint


def test_lost_sound_does_not_move_what_follows() -> None:
    observer = Observer(Path())
    observer.begin(Ns(0))
    loud = voice(0.5)
    for at in (0.0, 10.0):
        observer.hear(AudioChunk(Ns(round(at * SECOND)), loud, RATE))
    sound = np.concatenate(observer._sound)
    assert len(sound) == pytest.approx(10.5 * RATE, abs=RATE // 100)
    assert np.abs(sound[RATE : 10 * RATE - RATE // 10]).max() < 0.01
    assert np.abs(sound[10 * RATE + 800 :]).max() > 0.05


def test_what_came_before_the_beginning_does_not_count() -> None:
    observer = Observer(Path())
    observer.begin(Ns(5 * SECOND))
    observer.hear(AudioChunk(Ns(4 * SECOND), voice(0.5), RATE))
    observer.see(Ns(4 * SECOND), face())
    assert observer.sight.seconds == 0
    assert observer.sight.speech == 0


def test_words_tell_a_calm_head_from_a_lively_one() -> None:
    calm, lively = record(moves=0.6).finish().habits, record(moves=15.0).finish().habits
    assert "little" in calm.words()
    assert "a lot" in lively.words()
    assert "briskly" in lively.words()
    assert set(calm.deviation) == set(AXES)


def test_the_reading_text_takes_about_two_minutes_and_holds_questions_and_lists() -> None:
    whole = " ".join(reading.TEXT)
    assert 100 < sum(map(reading.seconds_of, reading.TEXT)) < 140
    assert whole.count("?") >= 6
    assert sum(part.count(",") >= 3 for part in reading.TEXT) >= 4
    assert reading.part_at(0, 0) == -1
    assert reading.part_at(reading.RELAX_SECONDS + 1, 0) == 0
    assert reading.part_at(1e6, 0) == 0, "who says nothing has not read on"
    assert reading.part_at(20, reading.speech_of(reading.TEXT[0]) + 0.1) == 1
    assert reading.part_at(1e6, 1e6) == len(reading.TEXT) - 1
