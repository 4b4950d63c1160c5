"""Emotion of a voice: the speaker's shift, the held class, and what cannot be judged."""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import avatar.models
from avatar.analysis import voice_frames
from avatar.analysis.emotion import CLASSES, EMBEDDING, EVERY, WEIGHTS_FILE, EmotionEstimator, HeldClass, is_flat
from avatar.analysis.features import RATE, Resampler
from avatar.analysis.held_class import Leaving
from avatar.analysis.manner import MEMORY, ShiftModel, SpeakerProfile
from avatar.analysis.voice import VoiceAnalyzer
from avatar.analysis.voice_frames import WIDTH
from avatar.analysis.voice_functionals import LEAST, functionals, speech_part
from avatar.core.types import EMOTIONS, AudioChunk, EmotionCue, Ns
from avatar.errors import ModelFileError, UsageError
from avatar.models.emotion import clips, families, kept, learn, linear
from avatar.models.emotion.augment import Session, stretched
from avatar.models.emotion.linear import Samples, fit, scale
from avatar.models.emotion.stream import Listener
from avatar.streams.sources.text import EspeakVoice, Speech

WEIGHTS = Path(avatar.models.__file__).parent / "weights"
FILE = WEIGHTS / WEIGHTS_FILE
RANDOM = np.random.default_rng(0)


@cache
def voice(variant: str = "en-us+m3") -> np.ndarray:
    spoken = EspeakVoice().synthesize("The parcel lies on the table in the hall, beside the other letters.", variant)
    return Speech(spoken.samples, spoken.rate).resampled(RATE).samples


def readings(samples: np.ndarray, estimator: EmotionEstimator | None = None) -> list:
    listener = Listener(WEIGHTS, estimator or EmotionEstimator(FILE))
    return [reading for _, reading in listener.hear(samples.astype(np.float32))]


def trust(samples: np.ndarray) -> float:
    """The highest confidence."""
    return max(r.confidence for r in readings(samples))


def always_neutral(samples: np.ndarray) -> bool:
    return all(r.label == "neutral" and r.probabilities[0] > 0.5 for r in readings(samples))


def melody(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    notes = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4, 5, 9])[(t / 0.3).astype(int) % 8] / 12)
    phase = 2 * np.pi * np.cumsum(notes) / RATE
    return 0.2 * sum(np.sin(k * phase) / k for k in range(1, 6)) * np.exp(-3 * (t % 0.3))


# --- the stream ---------------------------------------------------------------------------------------------------


def test_a_reading_every_100_ms_with_sane_numbers():
    heard = readings(voice())
    assert len(heard) == len(voice()) // (EVERY * RATE // 100)
    for r in heard:
        assert r.probabilities.shape == (7,)
        assert r.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert r.probabilities.min() >= -1e-6
        assert r.embedding.shape == (EMBEDDING,)
        assert np.abs(r.embedding).max() <= 1
        assert -1 <= r.valence <= 1
        assert -1 <= r.arousal <= 1
        assert 0 <= r.confidence <= 1
        assert not r.probabilities.flags.writeable


def test_surprise_which_it_has_never_heard_is_never_heard():
    assert all(r.probabilities[EMOTIONS.index("surprise")] == 0 for r in readings(voice()))


def test_the_analyzer_emits_it_only_when_asked():
    chunk = AudioChunk(Ns(0), voice(), RATE)
    asked = [c for c in VoiceAnalyzer(WEIGHTS, emotion=True).step(chunk) or () if isinstance(c, EmotionCue)]
    assert len(asked) == len(readings(voice()))
    assert asked[-1].probabilities is not None
    assert not any(isinstance(c, EmotionCue) for c in VoiceAnalyzer(WEIGHTS).step(chunk) or ())


def test_after_speech_it_fades_to_nothing_within_a_second_and_a_half():
    last = readings(np.concatenate((voice(), np.zeros(2 * RATE))))
    assert last[-1].confidence == 0
    assert last[-1].probabilities[0] == 1
    assert np.flatnonzero([r.confidence > 0 for r in last])[-1] / 10 < len(voice()) / RATE + 1.5


def test_the_same_sound_in_other_chunks_gives_the_same():
    listener = Listener(WEIGHTS, EmotionEstimator(FILE))
    parts = [r for a in range(0, len(voice()), 777) for _, r in listener.hear(voice()[a : a + 777])]
    for one, other in zip(readings(voice()), parts, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(3 * RATE),
        0.1 * RANDOM.standard_normal(3 * RATE),
        melody(3),
        np.full(3 * RATE, np.float32(0.5)),
        0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE),
    ],
    ids=["silence", "noise", "music", "direct current", "a tone"],
)
def test_what_is_no_speech_is_neutral_without_confidence(sound):
    assert trust(sound) < 0.3
    assert always_neutral(sound)


def test_cut_off_tops_take_the_confidence():
    loud = np.clip(voice() / np.abs(voice()).max() * 12, -0.7, 0.7)
    assert trust(loud) < 0.3
    assert always_neutral(loud)
    assert is_flat(loud[RATE : RATE + 320].astype(np.float32)) or is_flat(loud[RATE + 320 : RATE + 640])
    t = np.arange(320) / RATE
    assert not is_flat(np.sin(2 * np.pi * 180 * t).astype(np.float32))


def test_a_telephone_is_not_believed():
    narrow = np.concatenate((voice()[::2], np.zeros(200, np.float32)))
    back = Resampler(8000).process(narrow)
    assert trust(back) <= trust(voice())
    assert always_neutral(back)


# --- the speaker --------------------------------------------------------------------------------------------------


def shifts(usual: float = 0.0) -> ShiftModel:
    means = np.eye(3, dtype=np.float32) * 6
    return ShiftModel(np.zeros(3, np.float32), means, 2.0, 1.0, np.array([usual, 0, 0], np.float32))


def test_a_speaker_of_all_classes_is_known_after_some_clips():
    model, shift = shifts(), np.array([1.5, -1.0, 0.5])
    labels = RANDOM.integers(3, size=60)
    heard = model.means[labels] + shift + RANDOM.normal(0, 0.7, (60, 3))
    found = model.shift(heard, iterations=20)
    assert found == pytest.approx(shift, abs=0.5)


def test_a_speaker_who_is_always_neutral_is_not_taken_for_average():
    model, shift = shifts(1.0), np.array([-1.0, 1.0, 0.0])
    heard = model.means[np.zeros(40, int)] + shift + RANDOM.normal(0, 0.7, (40, 3))
    found = model.shift(heard)
    assert (heard - found).mean(axis=0).argmax() == 0
    assert model.posterior(model.means[1] + shift, found).argmax() == 1  # and another emotion still stands out


def test_all_balance_is_a_running_mean_and_none_is_the_classes_own():
    means, heard = np.eye(3, dtype=np.float32) * 6, RANDOM.normal(2, 5, (20, 3))
    model = ShiftModel(np.zeros(3, np.float32), means, 2.0, 1.0, None, 1.0)
    assert model.shift(heard) == pytest.approx((heard.sum(axis=0) - 20 * 2) / 22, abs=1e-4)
    always_one = np.tile(means[1], (20, 1))
    apart = [np.abs(ShiftModel(model.bias, means, 2.0, 1.0, None, b).shift(always_one)).max() for b in (0, 0.3, 1)]
    assert apart[0] < 0.1 < apart[1] < apart[2]


def test_nothing_heard_is_no_shift():
    assert not shifts().shift(np.zeros((0, 3))).any()


def test_a_profile_survives_saving_and_stays_small():
    estimator = EmotionEstimator(FILE)
    readings(np.tile(voice(), 2), estimator)
    profile = estimator.profile
    assert 1 <= len(profile.heard) <= MEMORY
    again = SpeakerProfile.load(profile.save())
    assert np.array_equal(EmotionEstimator(FILE, again).profile.heard, profile.heard)
    estimator.reset()
    assert len(estimator.profile.heard) == len(profile.heard)
    estimator.forget_speaker()
    assert len(estimator.profile.heard) == 0


def test_a_speaker_who_is_known_is_believed_sooner():
    stranger = EmotionEstimator(FILE)
    first = readings(np.tile(voice(), 2), stranger)
    again = readings(voice()[: 2 * RATE], EmotionEstimator(FILE, stranger.profile))
    assert again[-1].confidence > first[len(again) - 1].confidence


def test_a_profile_of_other_weights_is_not_used():
    width = len(CLASSES) + EMBEDDING
    profile = SpeakerProfile(np.ones((3, width), np.float32), "others")
    assert len(EmotionEstimator(FILE, profile).profile.heard) == 0


def test_a_broken_profile_is_refused_with_one_line():
    with pytest.raises(UsageError, match="calibrate again"):
        SpeakerProfile.load({"heard": np.full((2, 2), np.nan)})


def test_missing_or_wrong_weights_are_named(tmp_path):
    with pytest.raises(ModelFileError, match="missing"):
        EmotionEstimator(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ModelFileError, match=r"other\.npz"):
        EmotionEstimator(tmp_path / "other.npz")


# --- the held class -----------------------------------------------------------------------------------------------


def sure_of(index: int, p: float) -> np.ndarray:
    out = np.full(7, (1 - p) / 6, np.float32)
    out[index] = p
    return out


def test_a_short_spike_does_not_change_the_class_and_a_clear_lead_does():
    held = HeldClass(margin=0.3, owed=0.1)
    assert held.step(sure_of(3, 0.6)) == "neutral"
    assert [held.step(sure_of(0, 0.9)) for _ in range(5)] == ["neutral"] * 5
    assert "anger" in [held.step(sure_of(3, 0.9)) for _ in range(4)]


def test_an_even_race_never_flips():
    held = HeldClass(margin=0.3, owed=0.1)
    said = {held.step(sure_of(int(i), 0.4)) for i in RANDOM.integers(0, 7, 500)}
    assert said == {"neutral"}


LEAVING = Leaving(1.5, 0.3, 1.0, -0.3, -1.0, 1.0, 600.0, (30.0, -3.0, 1.0))


def ahead(lead: float, index: int = 3) -> np.ndarray:
    """Log odds over neutral (7,), those of one class higher than the rest."""
    out = np.full(7, lead - 3, np.float32)
    out[index], out[0] = lead, 0
    return out


def updates_to_anger(held: HeldClass, lead: float) -> int:
    return next((n for n in range(1, 50) if held.step(sure_of(3, 0.75), ahead(lead)) == "anger"), 50)


def test_who_speaks_in_a_lively_voice_must_lead_by_more_to_leave_neutral():
    even, lively = HeldClass(0.1, 0.08, LEAVING), HeldClass(0.1, 0.08, LEAVING)
    for k in range(200):
        assert even.step(sure_of(0, 0.9), ahead(-3 + 0.5 * (-1) ** k)) == "neutral"
        assert lively.step(sure_of(0, 0.9), ahead(-2.5 + min(3.4, 1 + k / 40) * (-1) ** k)) == "neutral"
    assert updates_to_anger(even, 1.2) <= 4
    assert updates_to_anger(lively, 1.2) > 10


def test_a_class_that_is_less_probable_than_neutral_is_not_taken_up_however_even_the_voice():
    held = HeldClass(0.1, 0.08, LEAVING)
    for _ in range(300):
        held.step(sure_of(0, 0.99), ahead(-9))
    assert updates_to_anger(held, -1.5) == 50


def test_one_loud_word_is_not_enough_and_what_is_not_trusted_counts_less():
    held = HeldClass(0.1, 0.08, LEAVING)
    assert held.step(sure_of(3, 1.0), ahead(30)) == "neutral"
    trusted, doubtful = HeldClass(0.1, 0.08, LEAVING), HeldClass(0.1, 0.08, LEAVING)
    for _ in range(4):
        trusted.step(sure_of(3, 0.9), ahead(5), 1.0)
        doubtful.step(sure_of(3, 0.9), ahead(5), 0.2)
    assert trusted.index == 3
    assert doubtful.index == 0


def test_silence_teaches_nothing_about_a_lively_voice():
    held, quiet = HeldClass(0.1, 0.08, LEAVING), HeldClass(0.1, 0.08, LEAVING)
    for _ in range(600):
        quiet.step(sure_of(0, 1.0))
    assert [held.step(sure_of(3, 0.6), ahead(0)) for _ in range(9)] == [
        quiet.step(sure_of(3, 0.6), ahead(0)) for _ in range(9)
    ]


# --- training -----------------------------------------------------------------------------------------------------


def test_every_functional_has_a_name_and_pitch_moves_those_of_pitch_alone():
    frames = RANDOM.normal(0, 1, (120, WIDTH)).astype(np.float32)
    frames[:, -1] = 1
    other = frames.copy()
    other[:, voice_frames.F0] += np.linspace(0, 3, 120)
    named = families.columns()
    assert len(named) == len(functionals(frames))
    moved = {named[i][0] for i in np.flatnonzero(np.abs(functionals(other) - functionals(frames)) > 1e-4)}
    assert "f0" in moved
    assert moved <= {"f0", "rhythm", *voice_frames.VOICE_NAMES}
    assert families.prosody()[[i for i, (d, _) in enumerate(named) if d == "f0"]].all()
    assert not families.prosody()[[i for i, (d, _) in enumerate(named) if d.startswith(("band", "mfcc"))]].any()


def test_the_classifier_found_among_few_clips_is_the_one_found_among_all_functionals():
    random = np.random.default_rng(2)
    x = random.normal(size=(40, 60)).astype(np.float32)
    labels = random.integers(3, size=40)
    x[:, :3] += 2 * np.eye(3)[labels].astype(np.float32)
    wanted, share = np.eye(3, dtype=np.float32)[labels], np.full(40, 1 / 40)
    few, _ = linear.logistic(x, wanted, share, 1e-2, 200)
    all_of_them, _ = linear._logistic(x, wanted, share, 1e-2, 200)
    assert few == pytest.approx(all_of_them, abs=2e-3)


def test_several_decays_at_once_give_what_each_gives_alone():
    random = np.random.default_rng(3)
    x, labels = random.normal(size=(40, 60)).astype(np.float32), random.integers(3, size=40)
    some = Samples(x, labels, random.integers(4, size=40), np.ones(40))
    for decay, one in zip((1e-4, 1e-2), linear.fits(some, *scale(x), (1e-4, 1e-2), 3), strict=True):
        assert np.array_equal(one.weights, fit(some, *scale(x), decay, 3).weights)


def test_who_was_left_out_twice_is_learnt_once_and_the_choice_stays_the_same():
    random = np.random.default_rng(4)
    labels, speakers = random.integers(7, size=140), np.array(list("abcd"))[random.integers(4, size=140)]
    x = (random.normal(size=(140, 30)) + np.eye(30)[labels]).astype(np.float32)
    made, known = clips.Views(x, x, x[None], x[None]), {}
    for speaker in "abcd":
        some = speakers != speaker
        alone = learn.choose_decay(made, labels, speakers, some)
        assert learn.choose_decay(made, labels, speakers, some, known) == alone
    assert len(known) == 6


def test_what_was_made_is_kept_until_its_sounds_change(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATAR_MODEL_DIR", str(tmp_path))
    calls = []

    def make():
        calls.append(1)
        return {"a": np.arange(3)}

    for parts in ([b"x"], [b"x"], [b"y"], [b"x"]):
        assert kept.kept("test", parts, make)["a"].tolist() == [0, 1, 2]
    assert len(calls) == 2
    next((tmp_path / "emotion").glob("*.npz")).write_bytes(b"broken")
    for part in (b"x", b"y"):
        assert kept.kept("test", [part], make)["a"].tolist() == [0, 1, 2]
    assert len(calls) == 3


def test_functionals_are_finite_whatever_comes():
    for frames in (np.zeros((LEAST, WIDTH)), RANDOM.normal(0, 30, (200, WIDTH))):
        assert np.isfinite(functionals(frames.astype(np.float32))).all()
    assert len(speech_part(np.full((50, WIDTH), -90, np.float32))) == 0


def test_long_pauses_are_shortened():
    frames = np.zeros((200, WIDTH), np.float32)
    frames[60:150, 0] = -90
    assert len(speech_part(frames)) < 145


def test_the_classifier_finds_planted_classes_in_spite_of_speakers():
    random = np.random.default_rng(1)
    labels, groups = random.integers(7, size=400), random.integers(8, size=400)
    x = random.normal(size=(400, 20)) + 3 * np.eye(20)[labels] + 2 * random.normal(size=(8, 20))[groups]
    mean, std = scale(x[:300])
    weights = np.ones(300)
    model = fit(Samples(x[:300].astype(np.float32), labels[:300], groups[:300], weights), mean, std, 1e-3, 7)
    shift_model = ShiftModel(model.bias, model.means)
    answers, right = model.answers(x[300:]), 0
    for group in range(8):
        mine = groups[300:] == group
        shift = shift_model.shift(answers[mine], iterations=20)
        right += ((answers[mine] - shift + model.bias).argmax(axis=1) == labels[300:][mine]).sum()
    plain = ((answers + model.bias).argmax(axis=1) == labels[300:]).sum()
    assert right > plain
    assert right > 70


def test_sessions_keep_the_sound_finite_and_stretching_keeps_the_pitch():
    for seed in range(12):
        random = np.random.default_rng(seed)
        assert np.isfinite(Session.draw(random).apply(voice()[:RATE], random)).all()
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)
    faster = stretched(tone, 1.25)
    assert len(faster) == pytest.approx(RATE / 1.25, rel=0.08)
    assert np.abs(np.fft.rfft(faster[2000:10000])).argmax() * RATE / 8000 == pytest.approx(200, abs=4)


def index(
    folder: Path, rows: list[tuple[str, str, str]], heads: tuple[str, ...] = ("file", "speaker", "emotion")
) -> Path:
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([heads, *rows])
    return folder


def test_unknown_labels_are_counted_and_aliases_understood(tmp_path):
    (tmp_path / "a.wav").touch()
    found = clips.read(index(tmp_path, [("a.wav", "x", "Joy"), ("a.wav", "x", "envy"), ("a.wav", "y", "calm")]))
    assert [CLASSES[c.label] for c in found.clips] == ["happiness", "boredom"]
    assert found.unknown == {"envy": 1}
    assert not found.bored  # calm alone is judged as neutral
    assert clips.read(index(tmp_path, [("a.wav", "x", "Bored")])).bored


@pytest.mark.parametrize(
    ("rows", "heads", "says"),
    [
        ([("a.wav", "x", "joy")], ("file", "who", "emotion"), "no column speaker"),
        ([("gone.wav", "x", "joy")], ("file", "speaker", "emotion"), "gone.wav"),
        ([("a.wav", "x", "envy")], ("file", "speaker", "emotion"), "envy"),
        ([], ("file", "speaker", "emotion"), "no row"),
    ],
)
def test_a_bad_index_is_one_clear_line(tmp_path, rows, heads, says):
    (tmp_path / "a.wav").touch()
    with pytest.raises(UsageError, match=says):
        clips.read(index(tmp_path, rows, heads))


def test_no_index_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match=r"index\.csv is missing"):
        clips.read(tmp_path)
