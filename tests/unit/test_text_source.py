# ruff: noqa: RUF001 - phonetic signs and Chinese punctuation are meant
"""The text voice, speech with marks, and the demo sample."""

import json
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import avatar.models
from avatar.analysis.phonemes import PhonemeMark, viseme_track
from avatar.core.facs import INDEX, VISEME_INDEX
from avatar.core.types import SECOND, Ns, seconds
from avatar.errors import MediaError, UsageError
from avatar.streams.sources.text import EspeakVoice, Speech, load_speech

SAMPLES = Path(avatar.models.__file__).parent / "samples"
voice = EspeakVoice()


def test_speech_has_sound_and_the_times_of_its_phonemes():
    speech = voice.synthesize("Maybe Bob bought a map.")
    assert speech.samples.dtype == np.float32
    assert 0.8 < speech.duration < 3
    assert 0.05 < np.abs(speech.samples).max() <= 1
    text = "".join(m.ipa for m in speech.marks)
    assert text.count("b") == 4
    starts = [m.start_s for m in speech.marks]
    assert starts == sorted(starts)
    assert all(0 <= m.start_s <= m.end_s <= speech.duration + 0.01 for m in speech.marks)
    gaps = [b.start_s - a.end_s for a, b in pairwise(speech.marks)]
    assert max(gaps, default=0) < 1e-6


def test_closures_lie_where_the_sound_is_quiet():
    speech = voice.synthesize("A happy puppy. A copper pipe. Appear.")
    track, loud = viseme_track(speech.marks, speech.duration), speech.loudness
    n = min(len(track), len(loud))
    closed = track[:n, VISEME_INDEX["PP"]] > 0.5
    talking = track[:n, 0] < 0.5
    assert loud[:n][closed].mean() < 0.6 * loud[:n][talking & ~closed].mean()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("en-gb", "Good day"), ("de", "Papa mag Äpfel."), ("es", "Mi papá viene mañana."), ("fr-fr", "Ça va bien ?"),
        ("cmn", "我们爸爸明天来吗？"), ("ja", "こんにちは"), ("ko", "안녕하세요"), ("ar", "مرحبا"), ("ru", "Привет"),
        ("hi", "नमस्ते"), ("en-us", "我们 and 😀 emoji"), ("en-us+f3", "Hi"), ("EN-US", "Hi"), ("pt-br+m3", "Bom dia"),
    ],
)  # fmt: skip
def test_many_languages_speak(name, text):
    speech = voice.synthesize(text, name)
    assert speech.duration > 0.2
    assert len(speech.lips) == round(speech.duration * 100)
    assert max(c.mouth[INDEX["jawOpen"]] for c in speech.lips) > 0.05


@pytest.mark.parametrize("text", ["", "   ", "...", "\n", "!?"])
def test_nothing_to_speak_is_one_clear_line(text):
    with pytest.raises(UsageError, match=r"^[^\n]*nothing to speak[^\n]*$"):
        voice.synthesize(text)


@pytest.mark.parametrize("name", ["", "klingon-x", "../../etc/passwd", "en-us\0x", "e n"])
def test_an_unknown_voice_is_one_clear_line(name):
    with pytest.raises(UsageError, match=r"has no voice"):
        voice.synthesize("hello", name)


def test_too_long_a_text_is_refused():
    with pytest.raises(UsageError, match="too long"):
        voice.synthesize("word " * 10_000)


def test_a_zero_character_does_not_cut_the_text():
    assert voice.synthesize("one\0two three four").duration > 0.8


def test_rate_and_pitch_are_heard():
    slow, fast = (voice.synthesize("This is a short sentence.", rate=r).duration for r in (100, 300))
    assert slow > 1.6 * fast


def test_threads_do_not_disturb_each_other():
    expected = {t: voice.synthesize(t) for t in ("first words", "second words here", "third")}
    failures: list[str] = []

    def speak(text: str) -> None:
        for _ in range(4):
            speech = EspeakVoice().synthesize(text)
            same = [m.ipa for m in speech.marks] == [m.ipa for m in expected[text].marks]
            if not same or abs(speech.duration - expected[text].duration) > 0.05:
                failures.append(text)

    threads = [threading.Thread(target=speak, args=(t,)) for t in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_program_that_speaks_the_same_makes_the_same_sound():
    program = (
        "import hashlib; from avatar.streams.sources.text import EspeakVoice as E;"
        "print(hashlib.sha256(E().synthesize('Same words.').samples.tobytes()).hexdigest())"
    )
    runs = {subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 1


@pytest.mark.parametrize(("chunk_ms", "rate"), [(20, 48_000), (10, 16_000), (33, 44_100)])
def test_chunks_are_contiguous_and_carry_every_lip_cue_once(chunk_ms, rate):
    speech = voice.synthesize("Bob moved.")
    chunks = list(speech.chunks(seconds(3.0), chunk_ms, rate))
    assert chunks[0].pts == seconds(3.0)
    assert sum(len(c.samples) for c in chunks) == pytest.approx(speech.duration * rate, abs=2)
    for a, b in pairwise(chunks):
        assert abs(b.pts - a.end) <= 1_000
    lips = [cue for c in chunks for cue in c.lips or ()]
    assert [cue.pts - seconds(3.0) for cue in lips] == [cue.pts for cue in speech.lips]
    for c in chunks:
        assert all(c.pts - 10_000_000 <= cue.pts < c.end + 1_000 for cue in c.lips or ())
        assert not c.samples.flags.writeable


def test_speech_without_marks_leaves_the_lips_to_listening():
    speech = Speech(np.zeros(4_800, np.float32), 48_000)
    assert all(c.lips is None for c in speech.chunks(Ns(0)))


def test_short_and_empty_speech():
    assert list(Speech(np.zeros(0, np.float32), 48_000).chunks(Ns(0))) == []
    assert len(Speech(np.zeros(100, np.float32), 48_000, (PhonemeMark(0, 0.002, "a"),)).lips) == 0


# --- the demo sample ---------------------------------------------------------------------------------------------


def test_the_demo_is_small_and_its_phonemes_fit_its_sound():
    speech = load_speech(SAMPLES / "demo.ogg")
    assert 18 < speech.duration < 32
    assert sum(f.stat().st_size for f in SAMPLES.glob("demo.*")) < 600_000
    assert len(speech.marks) > 200
    assert speech.marks[-1].end_s <= speech.duration
    track, loud = viseme_track(speech.marks, speech.duration), speech.loudness
    n = min(len(track), len(loud))
    silent = track[:n, 0] > 0.9
    assert loud[:n][silent].mean() < 0.1
    assert loud[:n][~silent].mean() > 0.6
    # The closure of most p and b can be heard.
    stops = [m for m in speech.marks if m.ipa.strip("ˈˌ") in ("p", "b")]
    dips = [loud[max(0, round(100 * m.start_s) - 1) : round(100 * m.end_s) + 1].min() for m in stops]
    assert len(stops) >= 10
    assert np.median(dips) < 0.5


def test_the_demo_says_what_it_is():
    about = json.loads((SAMPLES / "demo.json").read_text(encoding="utf-8"))
    assert "Vultus" in about["text"]
    assert "made by a computer" in about["text"]
    assert about["licence"] == "Apache-2.0"


def test_loaded_speech_closes_the_lips_in_pauses():
    speech = load_speech(SAMPLES / "demo.ogg")
    jaw = np.array([c.mouth[INDEX["jawOpen"]] for c in speech.lips])
    track = viseme_track(speech.marks, speech.duration)
    pause = np.convolve(track[:, 0] < 0.9, np.ones(21), "same") == 0
    assert pause.sum() > 100
    assert jaw[: len(pause)][pause].max() < 0.02


def test_files_that_are_no_sound_are_one_clear_line(tmp_path):
    with pytest.raises(MediaError):
        load_speech(tmp_path / "missing.ogg")
    (tmp_path / "text.ogg").write_text("this is not sound")
    with pytest.raises(MediaError, match="cannot be read"):
        load_speech(tmp_path / "text.ogg")


def test_broken_marks_are_one_clear_line(tmp_path):
    (tmp_path / "demo.ogg").write_bytes((SAMPLES / "demo.ogg").read_bytes())
    (tmp_path / "demo.json").write_text('{"marks": [[0, "x"]]}')
    with pytest.raises(MediaError, match="phoneme marks"):
        load_speech(tmp_path / "demo.ogg")
    (tmp_path / "demo.json").unlink()
    assert load_speech(tmp_path / "demo.ogg").marks == ()


def test_positions_are_in_seconds():
    speech = load_speech(SAMPLES / "demo.ogg")
    assert speech.lips[100].pts == SECOND
