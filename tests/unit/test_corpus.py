# ruff: noqa: RUF001 - phonetic signs are meant
"""The corpus: what is made, that it is not made twice, that speakers are apart, and that labels sit on the sound."""

import json
import struct
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from avatar.analysis.phonemes import PhonemeMark
from avatar.core.facs import VISEME_INDEX
from avatar.errors import MediaError, UsageError
from avatar.models.data import corpus, noises, prompts, prompts_games, sentences, synthetic
from avatar.models.data.closures import snap_closures
from avatar.models.data.labels import (
    HAMA_HOP_S,
    HAMA_LATE_S,
    TRUST_DOUBTED,
    Aligner,
    agreement,
    arpabet,
    split_ipa,
    with_gaps,
)
from avatar.models.data.speech import DEMO_SENTENCES
from avatar.models.registry import samples_dir
from avatar.streams.sources.text import EspeakVoice, load_speech


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus with a few seconds of espeak-ng and of noise."""
    folder = tmp_path_factory.mktemp("corpus")
    corpus.build(folder, ["espeak"], minutes=0.5)
    corpus.build(folder, ["noise"], minutes=0.2)
    return folder


def test_utterances_come_back_as_they_were_made(made):
    found = list(corpus.read(made))
    assert {u.source for u in found} == {"espeak", "noise"}
    for item in found:
        assert item.samples.dtype == np.float32
        assert np.abs(item.samples).max() > 0.01
        assert len(item.trusts) == len(item.marks)
        assert bool(item.marks) == (item.source == "espeak")
        assert all(0 <= m.start_s <= m.end_s <= len(item.samples) / corpus.RATE + 0.02 for m in item.marks)
    espeak = list(corpus.read(made, sources=["espeak"]))
    assert 30 <= sum(len(u.samples) for u in espeak) / corpus.RATE < 45
    assert [u.file for u in corpus.read(made, split="train", sources=["espeak"])] == [
        u.file for u in espeak if u.split == "train"
    ]


def test_what_exists_is_not_made_again_and_more_is_added(made):
    before = {p: p.stat().st_mtime_ns for p in made.rglob("*.flac")}
    lines = (made / corpus.MANIFEST).read_text().count("\n")
    corpus.build(made, ["espeak"], minutes=0.5)
    assert (made / corpus.MANIFEST).read_text().count("\n") == lines
    corpus.build(made, ["espeak"], minutes=0.7)
    assert (made / corpus.MANIFEST).read_text().count("\n") > lines
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_the_same_seed_says_the_same(made, tmp_path):
    corpus.build(tmp_path, ["espeak"], minutes=0.1)
    for row in corpus.rows(tmp_path):
        twin = next(r for r in corpus.rows(made) if r["file"] == row["file"])
        assert (row["voice"], row["language"], [m[2] for m in row["marks"]]) == (
            twin["voice"], twin["language"], [m[2] for m in twin["marks"]],
        )  # fmt: skip


def test_no_speaker_is_in_two_splits(made):
    for table in (synthetic.VARIANTS, synthetic.SPEAKERS):
        for a, b in combinations(table, 2):
            assert not set(table[a]) & set(table[b])
    assert not {"af_heart", "am_onyx"} & {*synthetic.SPEAKERS["train"], *synthetic.FOREIGN}
    where: dict[str, set[str]] = {}
    for row in corpus.rows(made):
        if row["source"] != "noise":
            where.setdefault(row["voice"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in where.values())


def test_a_cut_off_line_and_refused_recordings(made, tmp_path):
    (tmp_path / corpus.MANIFEST).write_text((made / corpus.MANIFEST).read_text().splitlines()[0] + '\n{"file": "x.fl')
    assert len(list(corpus.rows(tmp_path))) == 1
    corpus.Corpus(tmp_path).refuse("prompts/noise")
    again = corpus.Corpus(tmp_path)
    assert again.refused("prompts/noise")
    assert not again.refused("prompts/word")


def test_wrong_use_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="no corpus part named radio"):
        corpus.build(tmp_path, ["radio"])
    with pytest.raises(MediaError, match="holds no corpus"):
        list(corpus.read(tmp_path / "nothing"))


def test_a_part_that_cannot_be_made_leaves_the_others(tmp_path, caplog):
    made = corpus.build(tmp_path, ["bundle", "noise"], minutes=0.1)
    assert "bundle is left out" in caplog.text
    assert sum(made.values()) > 0.1


def test_command_line(tmp_path, capsys):
    assert corpus.main(["--out", str(tmp_path), "--part", "noise", "--minutes", "0.1"]) == 0
    assert any(key.startswith("noise/") for key in json.loads(capsys.readouterr().out))


# --- closures ----------------------------------------------------------------------------------------------------


def _tone_with_gap(gap: tuple[float, float]) -> np.ndarray:
    random = np.random.default_rng(0)
    sound = random.normal(0, 0.1, corpus.RATE).astype(np.float32)
    sound[round(gap[0] * corpus.RATE) : round(gap[1] * corpus.RATE)] *= 0.01
    return sound


def test_a_closure_is_moved_to_the_dip_of_the_sound():
    sound = _tone_with_gap((0.5, 0.57))
    marks = [PhonemeMark(0.2, 0.48, "a"), PhonemeMark(0.48, 0.6, "ˈp"), PhonemeMark(0.6, 0.9, "a")]
    a, p, b = snap_closures(marks, sound, corpus.RATE)
    assert p.start_s == pytest.approx(0.5, abs=0.008)
    assert p.end_s == pytest.approx(0.57, abs=0.008)
    assert a.end_s == p.start_s
    assert b.start_s == p.end_s


def test_no_dip_moves_nothing():
    marks = (PhonemeMark(0.2, 0.5, "a"), PhonemeMark(0.5, 0.6, "m"), PhonemeMark(0.6, 0.9, "a"))
    assert snap_closures(marks, _tone_with_gap((0.0, 0.0)), corpus.RATE) == marks


def test_only_bilabials_are_moved():
    marks = (PhonemeMark(0.2, 0.48, "a"), PhonemeMark(0.48, 0.6, "t"), PhonemeMark(0.6, 0.9, "a"))
    assert snap_closures(marks, _tone_with_gap((0.5, 0.57)), corpus.RATE) == marks


# --- labels ------------------------------------------------------------------------------------------------------


def test_words_fall_into_phonemes():
    assert split_ipa("tʃˈeɪndʒɪz") == ["tʃ", "ˈeɪ", "n", "dʒ", "ɪ", "z"]
    assert split_ipa("ˈɑːpʰ") == ["ˈɑː", "pʰ"]
    assert split_ipa("(en)hˈaʊs") == ["h", "ˈaʊ", "s"]
    assert [arpabet(p) for p in ("ˈɑː", "pʰ", "pf", "!")] == ["AA", "P", "P F", ""]


def test_every_language_has_models_for_its_phonemes():
    voice, missing = EspeakVoice(), {}
    for language in sentences.LANGUAGES:
        random = np.random.default_rng(0)
        for _ in range(10):
            for word in voice.phonemes(sentences.sentence(language, random), language).split():
                for phoneme in split_ipa(word):
                    if not arpabet(phoneme):
                        missing.setdefault(language, set()).add(phoneme)
    assert not missing


def _heard(n: int, peaks: dict[float, str]) -> np.ndarray:
    """What the recogniser gives for sounds at these moments."""
    out = np.zeros((n, len(VISEME_INDEX)), np.float32)
    for moment, viseme in peaks.items():
        out[round((moment + HAMA_LATE_S) / HAMA_HOP_S), VISEME_INDEX[viseme]] = 0.95
    return out


def test_trust_is_agreement():
    marks = [PhonemeMark(0.2, 0.4, "a"), PhonemeMark(0.4, 0.5, "p"), PhonemeMark(0.5, 0.7, "s")]
    trusts = agreement(marks, _heard(60, {0.3: "aa", 0.45: "PP", 0.6: "CH"}), best=1.0)
    assert trusts == pytest.approx([1.0, 1.0, TRUST_DOUBTED])
    # A neighbouring vowel is the same to it, another place in time is not.
    assert agreement(marks, _heard(60, {0.3: "E", 0.7: "PP"}), best=1.0) == pytest.approx(
        [1.0, TRUST_DOUBTED, TRUST_DOUBTED]
    )


def test_a_closure_that_only_the_recogniser_hears_is_doubted():
    marks = [PhonemeMark(0.1, 0.3, "s"), PhonemeMark(0.3, 0.5, "ɑː"), PhonemeMark(0.5, 0.7, "s")]
    heard = _heard(60, {0.2: "SS", 0.36: "aa", 0.42: "PP", 0.6: "SS"})
    assert agreement(marks, heard, best=1.0) == pytest.approx([1.0, TRUST_DOUBTED, 1.0])


def test_sound_without_a_phoneme_is_no_silence():
    sound = _tone_with_gap((0.6, 0.8))
    marks, trusts = with_gaps([PhonemeMark(0.1, 0.3, "a")], np.ones(1, np.float32), sound)
    assert [(m.start_s, m.end_s, m.ipa) for m in marks] == [
        (0.0, 0.1, ""), (0.1, 0.3, "a"), (0.3, 0.6, ""), (0.8, 1.0, ""),
    ]  # fmt: skip
    assert trusts.tolist() == [0, 1, 0, 0]


def test_alignment_finds_the_times_of_the_demo():
    speech = load_speech(samples_dir() / "demo.ogg").resampled(corpus.RATE)
    first = [m for m in speech.marks if m.end_s < 3.2]
    end = next(m.start_s for m in speech.marks if m.start_s > first[-1].end_s + 0.3)
    words = [split_ipa(word) for word in EspeakVoice().phonemes(DEMO_SENTENCES[0], "en-us").split()]
    samples = speech.samples[: round((end - 0.1) * corpus.RATE)]
    closures, known = (
        [m for m in snap_closures(marks, samples, corpus.RATE) if m.ipa == "m"]
        for marks in (Aligner().align(samples, words), first)
    )
    assert len(closures) == len(known) == 2
    for found, true in zip(closures, known, strict=True):
        assert found.start_s + found.end_s == pytest.approx(true.start_s + true.end_s, abs=0.08)


# --- sources -----------------------------------------------------------------------------------------------------


def test_sentences_are_filled_and_test_templates_are_others():
    random = np.random.default_rng(1)
    for language in sentences.LANGUAGES:
        for held_out in (False, True):
            text = sentences.sentence(language, random, held_out)
            assert len(text) > 5
            assert "{" not in text
    assert sentences.english(random, held_out=True) != sentences.english(random)


@pytest.mark.parametrize("kind", sorted(noises.MAKERS))
def test_every_noise_sounds(kind):
    sound = noises.MAKERS[kind](2 * corpus.RATE, np.random.default_rng(2))
    assert len(sound) == 2 * corpus.RATE
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() > 0.01


def test_prompt_tables():
    table = "; Prompts\n\nagent-pass: Please enter it: now.\nbeep: [a beep]\nempty:\ndigits/1: one\n"
    assert prompts.prompt_texts(table) == {"agent-pass": "Please enter it: now.", "digits/1": "one"}


def test_recordings_are_labelled_up_to_the_limit_and_failures_remembered(tmp_path):
    class Labels:
        marks = (PhonemeMark(0.1, 0.9, "a"),)
        trusts = np.ones(1, np.float32)

    class Labeller:
        asked = 0

        def label(self, samples, text, language):
            self.asked += 1
            return Labels if text else None

    sound = _tone_with_gap((0.5, 0.6))
    recordings = [
        prompts.Recording(f"r{k}", lambda: sound, "a" if k % 2 else None, "de", "someone", "train") for k in range(40)
    ]
    plan, labeller = corpus.Plan(corpus.Corpus(tmp_path), tmp_path), Labeller()
    prompts.label_all(plan, "clips", recordings, labeller, minutes=5 / 60)
    assert plan.corpus.seconds("clips/") == pytest.approx(5)
    first = labeller.asked
    again = replace(plan, corpus=corpus.Corpus(tmp_path))
    prompts.label_all(again, "clips", recordings, labeller, minutes=5 / 60)
    assert labeller.asked == first
    prompts.label_all(again, "clips", recordings, labeller, minutes=5)
    assert labeller.asked == 40
    assert again.corpus.seconds("clips/") == pytest.approx(20)


def test_archive_of_the_game(tmp_path: Path):
    names = (b"020001P2.SB", b"020006J1.SB", b"PICTURE.PCX")
    table = b"".join(struct.pack(">12sBII", name, 1, 100 * k, 5000) for k, name in enumerate(names))
    archive = tmp_path / "queen.1c"
    archive.write_bytes(b"QTBL" + b"CEM10\0\0\0" + b"\1" + struct.pack(">H", 3) + table)
    assert [r.voice for r in prompts_games.queen_recordings(archive)] == ["queen-020", "queen-joe"]
    archive.write_bytes(b"RIFF" + bytes(40))
    with pytest.raises(MediaError):
        prompts_games.queen_entries(archive)


def test_table_of_the_second_game(tmp_path: Path):
    def entry(number: int, offset: int, size: int) -> bytes:
        return struct.pack("<HHI", number, offset & 0xFFFF, size << 8 | offset >> 16)

    table = tmp_path / "sky.dnr"
    table.write_bytes(struct.pack("<I", 3) + entry(7, 64, 10) + entry(50_001, 300, 40) + entry(50_102, 0x800005, 50))
    assert prompts_games.sky_entries(table.read_bytes()) == [(7, 64, 10), (50_001, 300, 40), (50_102, 80, 50)]
    assert [r.voice for r in prompts_games.sky_recordings(table)] == ["sky-500", "sky-501"]
    with pytest.raises(MediaError):
        prompts_games.sky_entries(table.read_bytes()[:-1])


def test_script_of_the_third_game():
    script = """
        dialogId("1st-m-cool", "font_small", "Whew, that was cool!")
        dialogStr("To teda byl dobrej cool!")
        dialogId("left", "font_big", "No translation here")
    """
    assert prompts_games.dialogs(script) == {"1st-m-cool": ("small", "To teda byl dobrej cool!")}


def test_tags_in_another_encoding_do_not_stop_the_reader(tmp_path: Path):
    tags = b"INFO" + b"INAM" + struct.pack("<I", 4) + b"\xca\xfe\xe9\0"
    data = np.full(1600, 8000, "<i2").tobytes()
    body = b"WAVE" + b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    body += b"LIST" + struct.pack("<I", len(tags)) + tags + b"data" + struct.pack("<I", len(data)) + data
    path = tmp_path / "tagged.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert len(corpus.read_sound(path)) == 1600
