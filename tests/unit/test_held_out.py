# ruff: noqa: RUF001 - phonetic signs and typographic quotes are meant
"""Recordings of somebody's own: GRID's word spans, sentences, and all that is wrong with files."""

import numpy as np
import pytest

from avatar.analysis.phonemes import visemes_of
from avatar.core.types import freeze
from avatar.errors import UsageError
from avatar.models.data.corpus import write_flac
from avatar.models.evaluation import TASKS, evaluate
from avatar.models.visemes.judge import held_out
from avatar.models.visemes.judge.align import ARPABET, Aligner, AlignmentError, arpabet_of, words_of
from avatar.models.visemes.judge.held_out import (
    espeak_clips,
    find_recordings,
    folder_clips,
    parse_align,
    span_clip,
    text_clip,
)
from avatar.streams.sources.text import EspeakVoice, Speech

pytest.importorskip("pocketsphinx", reason="alignment needs PocketSphinx (extra: test)")

GRID = """0 23750 sil
23750 29500 bin
29500 34000 blue
34000 35500 at
35500 41000 f
41000 47250 two
47250 53000 now
53000 74500 sil
"""
TEXT = "Maybe Bob bought a map."


@pytest.fixture(scope="module")
def aligner():
    return Aligner()


@pytest.fixture(scope="module")
def spoken():
    """Speech with half a second of silence at both ends, as recordings have it."""
    speech = EspeakVoice().synthesize(TEXT, "en-us+m5")
    pad = np.zeros(speech.rate // 2, np.float32)
    return Speech(freeze(np.concatenate((pad, speech.samples, pad))), speech.rate, speech.marks)


def wave(path, speech, rate=None, channels=1):
    import soundfile

    made = speech.resampled(rate or speech.rate)
    soundfile.write(path, np.stack([made.samples] * channels, axis=1), made.rate)


# --- texts ---------------------------------------------------------------------------------------------------------


def test_grid_files_are_in_25000ths_of_a_second():
    spans = parse_align(GRID)
    assert spans[1] == (0.95, 1.18, "bin")
    assert spans[-1] == (2.12, 2.98, "sil")
    assert [w for _, _, w in spans] == ["sil", "bin", "blue", "at", "f", "two", "now", "sil"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("one two three\n", "line 1"),
        ("0 100 sil\n50 20 bin\n", "do not rise"),
        ("0 100 bin\n\n50 x blue\n", "line 3"),
        ("0 100 sil\n100 200 sp\n", "no words"),
        ("", "no words"),
    ],
)
def test_a_broken_align_file_is_refused_in_one_line(text, fault):
    with pytest.raises(AlignmentError, match=fault) as caught:
        parse_align(text)
    assert "\n" not in str(caught.value)


def test_words_of_a_sentence():
    assert words_of("Well-known: “Don’t!” he said; 42 times…") == [
        "well",
        "known",
        "don't",
        "he",
        "said",
        "42",
        "times",
    ]
    assert words_of("-- !") == []


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("bˈɑːb", "B AA B"),
        ("mˈeɪbi", "M EY B IY"),
        ("tʃˈɜːtʃ", "CH ER CH"),
        ("θˈɪŋ", "TH IH NG"),
        ("ˈæpəl", "AE P AH L"),
    ],
)
def test_pronunciations_for_words_that_the_dictionary_lacks(ipa, phones):
    assert arpabet_of(ipa) == phones


def test_every_phone_of_the_dictionary_has_a_mouth_shape():
    assert all(visemes_of(ipa) != ["sil"] for ipa in ARPABET.values())
    assert [p for p, ipa in ARPABET.items() if "PP" in visemes_of(ipa)] == ["B", "M", "P"]


# --- alignment -----------------------------------------------------------------------------------------------------


def test_phonemes_are_found_where_they_were_spoken(aligner, spoken):
    clip = text_clip(aligner, "x", "x", spoken.samples, spoken.rate, TEXT)
    said = [m for m in EspeakVoice().synthesize(TEXT, "en-us+m5").marks if "PP" in visemes_of(m.ipa)]
    found = [m for m in clip.marks if "PP" in visemes_of(m.ipa)]
    assert [m.ipa for m in found] == ["m", "b", "b", "b", "b", "m", "p"]
    middles = [0.5 * (m.start_s + m.end_s) for m in found]
    for middle, true in zip(middles, said, strict=True):
        assert true.start_s + 0.5 - 0.04 <= middle <= true.end_s + 0.5 + 0.04


def test_a_word_that_no_dictionary_has(aligner):
    text = "The zorblaxiby bought 42 plums."
    speech = EspeakVoice().synthesize(text, "en-us+m5")
    words = aligner.align(speech.samples, speech.rate, text)
    assert [w.text for w in words] == ["the", "zorblaxiby", "bought", "42", "plums"]
    assert "".join(m.ipa for m in words[1].marks).count("b") == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Completely different words were written down in here.", "text"),
        ("?!", "no words"),
        ("word " * 200, "cannot be said"),
    ],
)
def test_a_text_that_was_not_said_is_refused(aligner, spoken, text, fault):
    with pytest.raises(AlignmentError, match=fault):
        text_clip(aligner, "x", "x", spoken.samples, spoken.rate, text)


def test_silence_is_refused(aligner):
    with pytest.raises(AlignmentError, match="silent"):
        aligner.align(np.zeros(48_000, np.float32), 16_000, "hello there")


def test_words_whose_spans_the_sound_contradicts_are_not_judged_by(aligner, spoken):
    words = aligner.align(spoken.samples, spoken.rate, TEXT)
    spans = [(w.start_s, w.end_s, w.text) for w in words]
    good = span_clip(aligner, "x", "x", spoken.samples, spoken.rate, spans)
    assert good.trusts is not None
    assert min(good.trusts) == 1
    # "bob" is said to be where silence is.
    wrong = [spans[0], (0.05, 0.2, "bob"), *spans[2:]]
    clip = span_clip(aligner, "x", "x", spoken.samples, spoken.rate, sorted(wrong))
    assert clip.trusts is not None
    assert 0 in clip.trusts
    assert sum(m.ipa == "b" for m, t in zip(clip.marks, clip.trusts, strict=True) if t) == 2, "those of maybe, bought"


def test_spans_of_another_unit_are_refused(aligner, spoken):
    with pytest.raises(AlignmentError, match="ends at"):
        span_clip(aligner, "x", "x", spoken.samples, spoken.rate, [(10.0, 20.0, "maybe"), (20.0, 30.0, "bob")])


# --- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_of_many_kinds_of_files(tmp_path, aligner, spoken):
    spans = [(w.start_s, w.end_s, w.text) for w in aligner.align(spoken.samples, spoken.rate, TEXT)]
    rows = [(0.0, spans[0][0], "sil"), *spans, (spans[-1][1], spoken.duration, "sil")]
    align = "".join(f"{round(25_000 * a)} {round(25_000 * b)} {w}\n" for a, b, w in rows)
    for folder in ("s1", "align/s1", "texts"):
        (tmp_path / folder).mkdir(parents=True)
    wave(tmp_path / "s1" / "one.wav", spoken, 25_000, channels=2)
    (tmp_path / "align" / "s1" / "one.align").write_text(align)
    wave(tmp_path / "two.ogg", spoken)
    (tmp_path / "two.txt").write_text(f"Text:  {TEXT}\nConf:  4\n")
    write_flac(spoken.samples, tmp_path / "texts" / "three-01.flac", spoken.rate)
    (tmp_path / "texts" / "three.trans.txt").write_text(f"three-01 {TEXT.upper()}\n")
    (tmp_path / "broken.wav").write_bytes(b"RIFF....")
    (tmp_path / "broken.txt").write_text(TEXT)
    wave(tmp_path / "wrong.wav", spoken)
    (tmp_path / "wrong.txt").write_text("Nobody ever said anything like this in here.")
    wave(tmp_path / "alone.wav", spoken)  # no text: not looked at
    clips, skipped, total = folder_clips(tmp_path, minutes=1)
    assert sorted(clip.name for clip in clips) == ["s1/one.wav", "texts/three-01.flac", "two.ogg"]
    assert {len([m for m in clip.marks if "PP" in visemes_of(m.ipa)]) for clip in clips} == {7}
    assert total == 5
    assert sorted(line.split()[0].rstrip(":") for line in skipped) == ["broken.wav", "wrong.wav"]
    assert all("\n" not in line for line in skipped)


def test_a_long_folder_is_sampled_the_same_way_each_time(tmp_path, spoken):
    for i in range(6):
        wave(tmp_path / f"{i}.wav", spoken)
        (tmp_path / f"{i}.txt").write_text(TEXT)
    first, _, total = folder_clips(tmp_path, minutes=2 * spoken.duration / 60 - 0.001)
    again, _, _ = folder_clips(tmp_path, minutes=2 * spoken.duration / 60 - 0.001)
    assert total == 6
    assert len(first) == 2
    assert [c.name for c in first] == [c.name for c in again]


@pytest.mark.parametrize("made", ["nothing", "text only", "unreadable"])
def test_a_folder_with_nothing_to_judge_is_an_error_of_usage(tmp_path, made):
    if made == "text only":
        (tmp_path / "a.txt").write_text(TEXT)
    if made == "unreadable":
        (tmp_path / "a.wav").write_bytes(b"not sound")
        (tmp_path / "a.txt").write_text(TEXT)
    with pytest.raises(UsageError) as caught:
        folder_clips(tmp_path, minutes=1)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        find_recordings(tmp_path / "x")


# --- made voices ---------------------------------------------------------------------------------------------------


def test_test_voices_are_none_that_training_uses():
    from avatar.models.visemes.texts import TEST, TRAIN, TRAIN_VARIANTS

    voices = {clip.voice.partition("+")[2] for clip in espeak_clips(held_out.ODD_VARIANTS, 1)}
    assert not voices & set(TRAIN_VARIANTS)
    assert voices <= set(held_out.ODD_VARIANTS)
    assert not {s for t in TEST.values() for s in t} & {s for t in TRAIN.values() for s in t}


# --- the command's side --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "options", "fault"),
    [
        ("lips", {}, "no task"),
        ("visemes", {"avatar": "lin"}, "no --avatar"),
        ("visemes", {"data": "/nowhere/at/all"}, "no such folder"),
    ],
)
def test_wrong_use_is_said_in_one_line(task, options, fault):
    from pathlib import Path

    given = {k: Path(v) if k == "data" else v for k, v in options.items()}
    with pytest.raises(UsageError, match=fault):
        evaluate(task, given)


def test_every_task_is_there():
    from importlib import import_module

    for name, task in TASKS.items():
        module = import_module(task.module)
        assert callable(getattr(module, name))
        assert callable(module.tables)
