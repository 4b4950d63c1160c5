# ruff: noqa: RUF001 - phonetic signs and Chinese punctuation are meant
"""Phonemes to visemes to mouth shapes."""

import numpy as np
import pytest

from avatar.analysis.mouth import SHAPES, LipEstimate, MouthShaper, curves, shape_track
from avatar.analysis.phonemes import PhonemeMark, lip_cues, move_closures, viseme_track, visemes_of
from avatar.core.facs import INDEX, MOUTH_INDICES, VISEME_INDEX, VISEMES, to_action_units
from avatar.core.types import SECOND

JAW, CLOSE, PRESS, PUCKER = (INDEX[n] for n in ("jawOpen", "mouthClose", "mouthPressLeft", "mouthPucker"))
OPENERS = [i for name, i in INDEX.items() if name.startswith(("mouthLowerDown", "mouthUpperUp", "mouthFunnel"))]


def shut(mouth: np.ndarray) -> np.ndarray:
    """Where the lips touch, (n,) bool of (n, 52)."""
    return (mouth[:, JAW] - mouth[:, CLOSE] < 0.01) & (mouth[:, OPENERS].max(axis=1) < 0.02) & (mouth[:, PRESS] > 0.25)


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
    assert (shut(inside) & (inside[:, JAW] < 0.05)).any()
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


ONE_HOT = np.eye(15, dtype=np.float32)
ONLY = dict(zip(VISEMES, ONE_HOT, strict=True))
USUAL_JAW = float(SHAPES[VISEME_INDEX["aa"], JAW])

# --- streaming ---------------------------------------------------------------------------------------------------


def stream(names: list[str], loud: float = 1.0) -> np.ndarray:
    """The mouth of a recogniser that is always right, one row a hop of ``names``, moved back by the look-ahead."""
    shaper = MouthShaper()
    visemes = ONE_HOT[[VISEMES.index(n) for n in [*names, *["sil"] * shaper.ahead]]]
    press = visemes[:, VISEME_INDEX["PP"]]
    heard = [LipEstimate(v, *curve, p) for v, curve, p in zip(visemes, curves(visemes).tolist(), press, strict=True)]
    return np.array([shaper.step(estimate, loud) for estimate in heard])[shaper.ahead :]


def shaped(press: list[float], jaw: float = 0.6, ahead: int = 1, viseme: str = "aa") -> np.ndarray:
    """Lips that a network sees pressed as ``press`` says, over an even jaw; moved back as in :func:`stream`."""
    shaper = MouthShaper(ahead)
    vector = np.eye(15, dtype=np.float32)[VISEMES.index(viseme)]
    rows = [shaper.step(LipEstimate(vector, jaw, 0.0, p), 1.0) for p in [*press, *press[-1:] * ahead]]
    return np.array(rows)[ahead:]


def test_streamed_shapes_reach_their_targets():
    for name in VISEMES:
        last = stream([name] * 60)[-5]
        expected = SHAPES[VISEME_INDEX[name]].copy()
        expected[CLOSE] = last[CLOSE]  # follows from the others
        np.testing.assert_allclose(last[MOUTH_INDICES], expected[MOUTH_INDICES], atol=0.02, err_msg=name)


def test_streamed_bilabials_close_fully_in_time():
    mouth = stream(["aa"] * 30 + ["PP"] * 6 + ["aa"] * 30)
    assert shut(mouth[31:36]).all()
    assert mouth[32:37, JAW].min() < 0.06
    assert mouth[25, JAW] > 0.2
    assert mouth[50, JAW] > 0.35


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_a_contact_is_begun_by_20_ms_and_seen_by_every_camera(ahead):
    mouth = shaped([0.0] * 30 + [1.0] * 2 + [0.0] * 30, ahead=ahead)
    run = np.flatnonzero(shut(mouth))
    assert run[-1] - run[0] == len(run) - 1 >= 4, "40 ms from the first to the last: a picture of 25 a second is in it"
    assert 30 - 1 <= run[0] <= 32
    assert not shut(shaped([0.0] * 30 + [1.0] + [0.0] * 30, ahead=ahead)).any(), "a burst of 10 ms is none"


def test_a_contact_neither_flickers_nor_ends_early():
    unsure = [0.0] * 20 + [0.6, 0.7, 0.4, 0.6, 0.35, 0.45, 0.9, 0.9, 0.25, 0.6, 0.8] + [0.0] * 20
    mouth = shaped(unsure)
    assert shut(mouth[21:31]).all()
    assert not shut(mouth[34:]).any()


def test_the_lips_close_over_a_jaw_that_is_slower():
    mouth = shaped([0.0] * 30 + [1.0] * 8 + [0.0] * 30, jaw=1.0)
    assert shut(mouth[31:38]).all()
    assert mouth[31, JAW] > 0.2, "the jaw is on its way"
    assert to_action_units(mouth[25])[25] == 1
    assert to_action_units(mouth[31])[25] < 0.05, "lips that touch are not parted, whatever the jaw does"
    assert mouth[37, JAW] < 0.05
    assert np.abs(np.diff(mouth[:, JAW])).max() < 0.0851


def test_a_heard_labiodental_reaches_the_teeth_though_it_is_never_sure():
    shaper = MouthShaper()
    unsure = 0.35 * ONLY["FF"] + 0.35 * ONLY["SS"] + 0.3 * ONLY["TH"]
    rows = [shaper.step(LipEstimate(v, 0.3, 0.0, 0.0), 1.0) for v in [ONLY["aa"]] * 30 + [unsure] * 6]
    assert rows[-1][INDEX["mouthRollLower"]] > 0.37
    assert rows[-1][INDEX["mouthLowerDownLeft"]] < 0.01
    assert rows[-1][JAW] - rows[-1][CLOSE] < 0.1


def test_rounding_survives_tongue_sounds_and_spreads_no_lips():
    shaper = MouthShaper()
    s = np.eye(15, dtype=np.float32)[VISEME_INDEX["SS"]]
    rows = [shaper.step(LipEstimate(s, 0.13, r, 0.0), 1.0) for r in np.repeat([0.0, 0.8], 30)]
    assert rows[-1][PUCKER] > 0.3
    assert rows[-1][INDEX["mouthStretchLeft"]] < 0.5 * rows[29][INDEX["mouthStretchLeft"]]


@pytest.mark.parametrize("frozen", [True, False])
def test_silence_shuts_the_mouth_within_100_ms_and_for_good(frozen):
    """Also where the jaw's curve is stuck half open."""
    shaper = MouthShaper()
    names = ["aa"] * 40 + ["sil"] * 100
    rows = [
        shaper.step(LipEstimate(ONLY[n], 1.0 if frozen or n == "aa" else 0.0, 0.4 if frozen else 0.0, 0.0), 1.25)
        for n in names
    ]
    mouth = np.array(rows)[shaper.ahead :]
    assert mouth[39, JAW] > 0.4
    assert (mouth[50:, JAW] < 0.05).all()
    assert np.abs(mouth[55:]).max() == 0


def test_a_mouth_at_rest_is_not_pressed():
    assert np.abs(shaped([0.9] * 100, jaw=0.3, viseme="sil")).max() == 0


def test_a_short_pause_does_not_shut_the_mouth():
    for mouth in (stream(["E"] * 30 + ["sil"] * 6 + ["E"] * 30), mouths((300, "e"), (60, ""), (300, "e"))):
        assert mouth[20:66, JAW].min() > 0.05
        assert not shut(mouth).any()
    long = stream(["E"] * 30 + ["sil"] * 20 + ["E"] * 30)
    assert long[41:49, JAW].max() < 0.02


def test_known_and_heard_phonemes_look_the_same():
    names = "sil:10 aa:12 PP:7 oh:10 DD:6 ou:14 SS:8 ih:12 FF:8 aa:14 sil:20"
    track = [n for part in names.split() for n in [part.split(":")[0]] * int(part.split(":")[1])]
    heard = stream(track)
    known = shape_track(ONE_HOT[[VISEME_INDEX[n] for n in track]], np.ones(len(track), np.float32))
    for name in ("jawOpen", "mouthPucker", "mouthPressLeft", "mouthLowerDownLeft"):
        a, b = heard[:, INDEX[name]], known[:, INDEX[name]]
        best = max(np.corrcoef(np.roll(a, -k), b)[0, 1] for k in range(6))
        assert best > 0.85, name
        assert a.max() == pytest.approx(b.max(), abs=0.1)


def test_loudness_opens_smoothly_and_does_not_pump():
    shaper = MouthShaper()
    vowel = LipEstimate(ONLY["aa"], 1.0, 0.0, 0.0)
    jaw = np.array([shaper.step(vowel, loud)[JAW] for loud in np.repeat([0.2, 1.4], 150)])
    assert jaw[145] < 0.6 * USUAL_JAW < 1.1 * USUAL_JAW < jaw[-1]
    assert np.diff(jaw[150:]).max() < 0.03
    waves = 1 + 0.4 * np.sin(2 * np.pi * 5 * np.arange(300) / 100)  # a tremble of the voice, five times a second
    jaw = np.array([shaper.step(vowel, loud)[JAW] for loud in waves])[100:]
    assert np.ptp(jaw) < 0.08


def test_after_a_silence_the_voice_is_as_loud_as_before():
    shaper = MouthShaper()
    for _ in range(100):
        shaper.step(LipEstimate(ONLY["aa"], 1.0, 0.0, 0.0), 0.5)
    for _ in range(300):
        shaper.step(LipEstimate(ONLY["sil"], 0.0, 0.0, 0.0), 0.0)
    row = [shaper.step(LipEstimate(ONLY["aa"], 1.0, 0.0, 0.0), 0.5) for _ in range(12)][-1]
    assert row[JAW] == pytest.approx((0.35 + 0.65 * 0.5) * USUAL_JAW, abs=0.02)


def test_streamed_mouth_moves_smoothly_and_the_jaw_slower_than_the_lips():
    mouth = stream(["sil"] * 20 + ["aa"] * 30)
    assert np.abs(np.diff(mouth[:, JAW])).max() < 0.0851
    jaw, lip = mouth[:45, JAW], mouth[:45, INDEX["mouthLowerDownLeft"]]
    rise = lambda x: np.argmax(x > 0.9 * x[-1]) - np.argmax(x > 0.1 * x[-1])  # noqa: E731
    assert rise(jaw) > rise(lip)


def test_curves_are_shares_of_the_fullest_sound():
    of = lambda name: curves(ONE_HOT[[VISEME_INDEX[name]] * 60])[30]  # noqa: E731
    np.testing.assert_allclose(of("aa"), (1, 0), atol=0.01)
    assert of("ou")[1] == pytest.approx(1, abs=0.01)
    assert 0.3 < of("oh")[1] < 0.9
    np.testing.assert_allclose(of("sil"), 0, atol=1e-6)


def test_every_value_stays_in_range():
    random = np.random.default_rng(0)
    shaper = MouthShaper()
    for _ in range(500):
        p = random.dirichlet(np.full(15, 0.1)).astype(np.float32)
        out = shaper.step(LipEstimate(p, *random.uniform(0, 1, 3)), float(random.uniform(0, 1.5)))
        assert out.min() >= 0
        assert out.max() <= 1
