# ruff: noqa: RUF001 - phonetic signs and Chinese punctuation are meant
"""Phonemes to visemes to mouth shapes."""

import numpy as np
import pytest

from avatar.analysis.mouth import SHAPES, MouthShaper, shape_track
from avatar.analysis.phonemes import PhonemeMark, lip_cues, move_closures, viseme_track, visemes_of
from avatar.core.facs import INDEX, MOUTH_INDICES, VISEME_INDEX, VISEMES
from avatar.core.types import SECOND

JAW, PRESS, PUCKER = INDEX["jawOpen"], INDEX["mouthPressLeft"], INDEX["mouthPucker"]


def marks(*rows: tuple[float, str]) -> tuple[list[PhonemeMark], float]:
    """(milliseconds, ipa) one after another."""
    out, at = [], 0.0
    for ms, ipa in rows:
        out.append(PhonemeMark(at, at + ms / 1000, ipa))
        at += ms / 1000
    return out, at


def mouths(*rows: tuple[float, str], rate: int = 100) -> np.ndarray:
    return np.array([cue.mouth for cue in lip_cues(*marks(*rows), rate=rate)])


@pytest.mark.parametrize(
    ("ipa", "expected"),
    [
        ("p", ["PP"]), ("ˈɑː", ["aa"]), ("eɪ", ["E", "ih"]), ("tʃ", ["CH"]), ("ʤ", ["CH"]), ("A", ["E", "ih"]),
        ("O", ["oh", "ou"]), ("ts", ["SS"]), ("pf", ["PP", "FF"]), ("θ", ["TH"]), ("", ["sil"]), (" ", ["sil"]),
        ("(en)", ["sil"]), ("kʰ", ["kk"]), ("ph", ["PP"]), ("y", ["ou"]), ("ɹ", ["RR"]), ("ŋ", ["kk"]), ("a˥", ["aa"]),
        ("ɑ̃", ["aa"]), ("☃", ["sil"]),
    ],
)  # fmt: skip
def test_phonemes_have_the_usual_visemes(ipa, expected):
    assert visemes_of(ipa) == expected


def test_h_looks_like_the_vowel_after_it():
    track = viseme_track(*marks((100, "h"), (200, "uː")))
    assert track[5, VISEME_INDEX["ou"]] == 1


def test_a_track_is_a_distribution_and_gaps_are_silence():
    rows = [PhonemeMark(0.1, 0.2, "a"), PhonemeMark(0.35, 0.4, "b")]
    track = viseme_track(rows, 0.5)
    np.testing.assert_allclose(track.sum(axis=1), 1, atol=1e-5)
    assert track[28, VISEME_INDEX["sil"]] == 1
    assert track[15, VISEME_INDEX["aa"]] == 1


@pytest.mark.parametrize("ipa", ["p", "b", "m"])
@pytest.mark.parametrize("rate", [25, 30, 60, 100])
def test_bilabials_always_close_even_when_short(ipa, rate):
    mouth = mouths((150, "a"), (25, ipa), (150, "a"), rate=rate)
    inside = mouth[round(0.12 * rate) : round(0.21 * rate) + 1]
    closed = (inside[:, JAW] < 0.02) & (inside[:, PRESS] > 0.25)
    assert closed.any()
    assert mouth[:, JAW].max() > 0.3


def test_labiodentals_lay_the_lip_to_the_teeth():
    mouth = mouths((150, "a"), (80, "f"), (150, "a"))
    assert mouth[19, INDEX["mouthRollLower"]] > 0.35
    assert mouth[19, INDEX["mouthUpperUpLeft"]] > 0.1
    assert mouth[19, INDEX["mouthLowerDownLeft"]] < 0.05
    assert mouth[19, JAW] < 0.1


def test_lips_round_before_the_sound_and_through_tongue_sounds():
    mouth = mouths((200, "s"), (200, "uː"))
    assert mouth[12, PUCKER] > 0.02, "80 ms ahead"
    assert mouth[17, PUCKER] > 0.15
    through = mouths((120, "uː"), (60, "t"), (120, "uː"))
    assert through[15, PUCKER] > 0.45


def test_an_open_vowel_is_as_open_as_a_speaker_opens():
    mouth = mouths((400, "ɑː"))
    assert 0.35 <= mouth[:, JAW].max() <= 0.5


def test_loudness_scales_opening_but_not_contact():
    rows = marks((200, "a"), (80, "b"), (200, "a"))
    quiet, loud = (np.array([c.mouth for c in lip_cues(*rows, loud=np.full(48, v, np.float32))]) for v in (0.2, 1.2))
    assert quiet[10, JAW] < 0.6 * loud[10, JAW]
    assert quiet[24, PRESS] == pytest.approx(loud[24, PRESS])


def test_silence_is_a_closed_relaxed_mouth():
    mouth = mouths((200, "a"), (400, ""))
    assert np.abs(mouth[32:]).max() < 0.02


@pytest.mark.parametrize("rate", [25, 100])
def test_cues_are_regular_and_only_move_the_mouth(rate):
    cues = lip_cues(*marks((200, "h"), (300, "aʊ"), (55, "")), rate=rate)
    assert [c.pts for c in cues] == [round(k * SECOND / rate) for k in range(len(cues))]
    assert len(cues) == round(0.555 * rate)
    others = np.setdiff1d(np.arange(52), MOUTH_INDICES)
    assert not np.array([c.mouth for c in cues])[:, others].any()
    assert not cues[0].mouth.flags.writeable
    assert cues[round(0.3 * rate)].voiced


def test_no_marks_and_no_sound_are_no_error():
    assert lip_cues([], 0.0) == []
    assert np.abs([c.mouth for c in lip_cues([], 0.2)]).max() == 0
    assert shape_track(np.zeros((0, 15), np.float32), np.zeros(0, np.float32)).shape == (0, 52)


def test_the_silence_before_a_burst_belongs_to_the_stop():
    rate = 16_000
    samples = np.zeros(rate // 2, np.float32)
    wave = 0.3 * np.sin(2 * np.pi * 150 * np.arange(rate) / rate).astype(np.float32)
    samples[: rate // 5] = wave[: rate // 5]  # a vowel to 0.2 s, a closure to 0.28 s, then the burst
    samples[round(0.28 * rate) :] = wave[: len(samples) - round(0.28 * rate)]
    given = [PhonemeMark(0.0, 0.28, "a"), PhonemeMark(0.28, 0.32, "p"), PhonemeMark(0.32, 0.5, "a")]
    moved = move_closures(given, samples, rate)
    assert moved[1].start_s == pytest.approx(0.2, abs=0.011)
    assert moved[0].end_s == moved[1].start_s
    assert moved[2] == given[2]
    vowel = [given[0], PhonemeMark(0.28, 0.5, "e")]
    assert move_closures(vowel, samples, rate) == tuple(vowel)


# --- streaming ---------------------------------------------------------------------------------------------------


def stream(names: list[str], loud: float = 1.0) -> np.ndarray:
    shaper = MouthShaper()
    return np.array([shaper.step(np.eye(15, dtype=np.float32)[VISEMES.index(n)], loud) for n in names])


def test_streamed_shapes_reach_their_targets():
    for name in VISEMES:
        last = stream([name] * 60)[-1]
        expected = SHAPES[VISEME_INDEX[name]].copy()
        np.testing.assert_allclose(last[MOUTH_INDICES], expected[MOUTH_INDICES], atol=0.02, err_msg=name)


def test_streamed_bilabials_close_fully_in_time():
    shaper = MouthShaper()
    mouth = stream(["aa"] * 30 + ["PP"] * 4 + ["aa"] * 30)[shaper.ahead :]
    assert mouth[30:34, JAW].max() < 0.01
    assert mouth[30:34, PRESS].min() > 0.3
    assert mouth[25, JAW] > 0.2
    assert mouth[45, JAW] > 0.35


def test_streamed_mouth_moves_smoothly_and_the_jaw_slower_than_the_lips():
    mouth = stream(["sil"] * 20 + ["aa"] * 30)
    assert np.abs(np.diff(mouth[:, JAW])).max() < 0.09
    jaw, lip = mouth[:, JAW], mouth[:, INDEX["mouthLowerDownLeft"]]
    rise = lambda x: np.argmax(x > 0.9 * x[-1]) - np.argmax(x > 0.1 * x[-1])  # noqa: E731
    assert rise(jaw) > rise(lip)


def test_every_value_stays_in_range():
    random = np.random.default_rng(0)
    shaper = MouthShaper()
    for _ in range(500):
        p = random.dirichlet(np.full(15, 0.1)).astype(np.float32)
        out = shaper.step(p, float(random.uniform(0, 1.5)))
        assert out.min() >= 0
        assert out.max() <= 1
