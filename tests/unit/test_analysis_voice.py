"""The whole of the voice analysis, in virtual time: chunks in, cues out."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from test_calibrations import small_head

import avatar.models
from avatar.analysis.head_model import HEAD_FILE, HeadModel
from avatar.analysis.mouth import CALM_MS, LIVE_MS
from avatar.analysis.voice import VoiceAnalyzer
from avatar.core.facs import INDEX, UPPER_INDICES, VISEME_INDEX
from avatar.core.types import (
    MILLISECOND,
    SECOND,
    AudioChunk,
    Cue,
    ExpressionCue,
    LipCue,
    Ns,
    PoseCue,
    ProsodyCue,
    seconds,
)
from avatar.errors import ModelFileError, UsageError
from avatar.models.visemes.judge.recognised import recognise, score
from avatar.streams.sources.text import EspeakVoice, Speech

WEIGHTS = Path(avatar.models.__file__).parent / "weights"
JAW = INDEX["jawOpen"]
TEXT = "Maybe Bob bought a map. My mother baked some bread for you."


@cache
def speech() -> Speech:
    spoken = EspeakVoice().synthesize(TEXT, "en-us+m5")
    return Speech(spoken.samples, spoken.rate)


def chunks(samples: np.ndarray, rate: int, size: int, start: int = 0) -> list[AudioChunk]:
    return [
        AudioChunk(Ns(start + i * SECOND // rate), samples[i : i + size].astype(np.float32), rate)
        for i in range(0, len(samples), size)
    ]


def analyse(items: Iterable[AudioChunk], analyzer: VoiceAnalyzer | None = None, flush: bool = True) -> list[Cue]:
    analyzer = analyzer or VoiceAnalyzer(WEIGHTS)
    cues = [cue for chunk in items for cue in analyzer.step(chunk) or ()]
    return cues + list(analyzer.flush()) if flush else cues


def of(kind: type, cues: list[Cue]) -> list:
    return [cue for cue in cues if type(cue) is kind]


def jaw(cues: list[Cue]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and jawOpen of the lip cues."""
    lips = of(LipCue, cues)
    return np.array([c.pts / SECOND for c in lips]), np.array([c.mouth[JAW] for c in lips])


def with_silence(rate: int = 48_000, after: float = 1.0, noise: float = 0.0) -> np.ndarray:
    x = speech().resampled(rate).samples
    x = np.concatenate((np.zeros(rate // 2, np.float32), x, np.zeros(round(after * rate), np.float32)))
    return x + np.random.default_rng(0).normal(0, noise, len(x)).astype(np.float32) if noise else x


def end_of_sound(x: np.ndarray, rate: int, threshold: float = 0.01) -> float:
    return float(np.flatnonzero(np.abs(x) > threshold)[-1]) / rate


def test_every_kind_of_cue_comes_in_order_with_the_time_of_its_sound():
    x = with_silence()
    start = 7 * SECOND
    cues = analyse(chunks(x, 48_000, 960, start))
    for kind, rate in ((LipCue, 100), (ProsodyCue, 100), (PoseCue, 100), (ExpressionCue, 50)):
        pts = [c.pts for c in of(kind, cues)]
        assert pts[0] == start
        np.testing.assert_allclose(np.diff(pts), SECOND / rate, atol=2)
        assert pts[-1] > start + len(x) / 48_000 * SECOND - 30 * MILLISECOND
    assert any(c.f0 > 0 for c in of(ProsodyCue, cues))


def test_the_mouth_opens_with_the_voice_and_closes_on_p_b_m():
    spoken = EspeakVoice().synthesize(TEXT, "en-us+m5")
    visemes, mouth = recognise(spoken, VoiceAnalyzer(WEIGHTS))
    result = score([(visemes, mouth, spoken)])
    assert result["closure_recall"] >= 0.75
    assert result["false_closure"] <= 0.45
    assert result["frame_accuracy"] >= 0.4
    assert abs(result["lag_ms"]) <= 30
    assert 0.7 < result["jaw_gain"] < 1.4
    assert 0.25 < mouth[:, JAW].max() < 0.6


@pytest.mark.parametrize(
    ("noise", "look_ahead_ms"), [(0.0, LIVE_MS), (0.001, LIVE_MS), (0.01, LIVE_MS), (0.001, CALM_MS)]
)
def test_the_mouth_closes_within_100_ms_of_the_end_of_speech(noise, look_ahead_ms):
    x = with_silence(noise=noise)
    t, opening = jaw(analyse(chunks(x, 48_000, 960), VoiceAnalyzer(WEIGHTS, look_ahead_ms=look_ahead_ms)))
    end = end_of_sound(with_silence(), 48_000, 0.01)
    assert opening[(t > 0.7) & (t < end)].max() > 0.25
    assert opening[t > end + 0.1].max() < 0.02
    assert opening[t < 0.4].max() < 0.02


def clatter(rate: int) -> np.ndarray:
    """Keyboard: clicks of a few milliseconds, four a second."""
    random = np.random.default_rng(1)
    x = random.normal(0, 0.0005, 6 * rate)
    for at in np.arange(0.5, 5.5, 0.23):
        i = int(at * rate)
        x[i : i + rate // 100] += random.normal(0, 0.3, rate // 100) * np.exp(-np.arange(rate // 100) / rate * 400)
    return x


def hum(rate: int) -> np.ndarray:
    t = np.arange(6 * rate) / rate
    return 0.1 * np.sin(2 * np.pi * 50 * t) + 0.05 * np.sin(2 * np.pi * 100 * t)


NOISES = {
    "white": lambda rate: np.random.default_rng(0).normal(0, 0.1, 6 * rate),
    "brown": lambda rate: np.clip(np.cumsum(np.random.default_rng(0).normal(0, 0.005, 6 * rate)) % 0.2 - 0.1, -1, 1),
    "breath": lambda rate: (
        np.random.default_rng(0).normal(0, 0.05, 6 * rate)
        * np.clip(np.sin(2 * np.pi * 0.4 * np.arange(6 * rate) / rate), 0, 1)
    ),
    "clatter": clatter,
    "hum": hum,
    "silence": lambda rate: np.zeros(6 * rate),
}


@pytest.mark.parametrize("name", NOISES)
def test_the_mouth_stays_closed_in_noise(name):
    t, opening = jaw(analyse(chunks(NOISES[name](16_000), 16_000, 320)))
    assert (opening > 0.05).mean() < 0.01
    assert t[-1] > 5.9


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
def test_any_rate_says_the_same(rate):
    reference_t, reference = jaw(analyse(chunks(with_silence(48_000), 48_000, 960)))
    _, opening = jaw(analyse(chunks(with_silence(rate), rate, rate // 50)))
    n = min(len(opening), len(reference))
    assert abs(len(opening) - len(reference_t)) <= 2
    # At 8 kHz all above 4 kHz is missing, so shapes differ somewhat.
    assert np.corrcoef(opening[:n], reference[:n])[0, 1] > (0.6 if rate == 8_000 else 0.97)


@pytest.mark.parametrize("size", [1, 7, 333, 4_801, 10**6])
def test_any_size_of_chunk_gives_the_same_cues(size):
    x = with_silence(16_000, after=0.2)[: 16_000 if size == 1 else None]
    expected = analyse(chunks(x, 16_000, 320))
    cues = analyse(chunks(x, 16_000, size))
    for kind in (LipCue, ProsodyCue, PoseCue):
        a, b = of(kind, expected), of(kind, cues)
        assert [c.pts for c in a] == pytest.approx([c.pts for c in b], abs=2)
    np.testing.assert_allclose(jaw(cues)[1], jaw(expected)[1], atol=1e-3)


def test_the_same_sound_and_seed_give_the_same_cues():
    x = with_silence(16_000, after=0.2)
    a, b = (analyse(chunks(x, 16_000, 320), VoiceAnalyzer(WEIGHTS, seed=4)) for _ in range(2))
    other = analyse(chunks(x, 16_000, 320), VoiceAnalyzer(WEIGHTS, seed=5))
    assert len(a) == len(b)
    for p, q in zip(a, b, strict=True):
        assert type(p) is type(q)
        assert p.pts == q.pts
        if isinstance(p, LipCue):
            np.testing.assert_array_equal(p.mouth, q.mouth)
        if isinstance(p, PoseCue):
            assert p == q
    assert [c.pose for c in of(PoseCue, a)] != [c.pose for c in of(PoseCue, other)]


def test_reset_starts_over():
    x = with_silence(16_000, after=0.2)
    analyzer = VoiceAnalyzer(WEIGHTS)
    first = analyse(chunks(x, 16_000, 320), analyzer)
    analyzer.reset()
    again = analyse(chunks(x, 16_000, 320), analyzer)
    np.testing.assert_array_equal(jaw(first)[1], jaw(again)[1])
    assert [c.pose for c in of(PoseCue, first)] == [c.pose for c in of(PoseCue, again)]


@pytest.mark.parametrize(("look_ahead_ms", "most"), [(0, 30), (LIVE_MS, 80), (CALM_MS, 190)])
def test_cues_come_out_within_the_stated_latency(look_ahead_ms, most):
    analyzer = VoiceAnalyzer(WEIGHTS, look_ahead_ms=look_ahead_ms)
    latest = 0
    for chunk in chunks(with_silence(), 48_000, 480):
        for cue in analyzer.step(chunk) or ():
            latest = max(latest, chunk.end - cue.pts)
    assert latest <= analyzer.latency + 10 * MILLISECOND, "the chunk's own length"
    assert latest > analyzer.latency - 10 * MILLISECOND, "not overstated either"
    assert analyzer.latency + 10 * MILLISECOND <= most * MILLISECOND


def test_known_lips_replace_recognised_ones_and_the_rest_goes_on():
    spoken = EspeakVoice().synthesize("Bob.", "en-us")
    known = list(spoken.chunks(seconds(1.0)))
    later = chunks(with_silence(), 48_000, 960, start=known[-1].end)
    cues = analyse([*known, *later])
    lips = of(LipCue, cues)
    inside = [c for c in lips if c.pts < known[-1].end]
    assert [c.pts for c in inside] == [c.pts for chunk in known for c in chunk.lips or ()]
    assert [c.mouth[JAW] for c in inside] == [c.mouth[JAW] for c in spoken.lips]
    pts = [c.pts for c in lips]
    assert all(a < b for a, b in pairwise(pts))
    assert max(c.mouth[JAW] for c in lips if c.pts > known[-1].end) > 0.2
    assert of(PoseCue, cues)[0].pts == seconds(1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 50.0])
def test_bad_samples_do_no_harm(value):
    x = with_silence(16_000).copy()
    x[8_000:9_000:3] = value
    x[20_000:20_400] = value
    cues = analyse(chunks(x, 16_000, 320))
    for cue in cues:
        if isinstance(cue, LipCue):
            assert np.isfinite(cue.mouth).all()
            assert 0 <= cue.mouth.min() <= cue.mouth.max() <= 1
            assert cue.visemes.sum() == pytest.approx(1, abs=1e-3)
        elif isinstance(cue, PoseCue):
            assert np.isfinite(cue.pose.euler).all()
        elif isinstance(cue, ProsodyCue):
            assert np.isfinite((cue.f0, cue.f0_confidence, cue.energy_db, cue.speech)).all()
    assert jaw(cues)[1][-1] < 0.02


def test_clipped_speech_still_moves_the_mouth():
    x = np.clip(with_silence(16_000) * 40, -1, 1)
    assert jaw(analyse(chunks(x, 16_000, 320)))[1].max() > 0.2


@pytest.mark.parametrize("gain", [0.03, 1.0])
def test_the_gain_hardly_matters(gain):
    x = with_silence(16_000)
    reference = jaw(analyse(chunks(x, 16_000, 320)))[1]
    opening = jaw(analyse(chunks(x * gain, 16_000, 320)))[1]
    half = len(x) // 320  # the level is known after a second or so
    assert np.corrcoef(opening[half:], reference[half:])[0, 1] > 0.8
    assert opening[half:].max() > 0.25


def test_a_gap_in_the_sound_makes_nothing_jump():
    x = with_silence(16_000)
    first, second = x[: len(x) // 2], x[len(x) // 2 :]
    after = chunks(second, 16_000, 320, start=round(len(first) * SECOND / 16_000) + 3 * SECOND)
    marked = [replace(after[0], discontinuity=True), *after[1:]]
    for items in (marked, after):
        cues = analyse([*chunks(first, 16_000, 320), *items])
        poses = np.array([c.pose.euler for c in of(PoseCue, cues)])
        assert np.abs(np.diff(poses, axis=0)).max() < 1.0
        pts = [c.pts for c in of(LipCue, cues)]
        assert all(a < b for a, b in pairwise(pts))
        late = [c for c in of(LipCue, cues) if c.pts >= after[0].pts]
        assert late[0].pts == after[0].pts


def test_a_still_head_and_brows():
    cues = analyse(chunks(with_silence(16_000), 16_000, 320), VoiceAnalyzer(WEIGHTS, head="still"))
    assert of(ExpressionCue, cues) == []
    assert {c.pose.euler for c in of(PoseCue, cues)} == {(0.0, 0.0, 0.0)}


def test_only_brows_are_expressed_by_the_voice():
    shown = np.array([c.arkit for c in of(ExpressionCue, analyse(chunks(with_silence(16_000), 16_000, 320)))])
    assert not shown[:, np.setdiff1d(np.arange(52), UPPER_INDICES)].any()


def test_a_drifting_clock_is_followed():
    items = chunks(with_silence(16_000), 16_000, 320)
    late = [replace(c, pts=Ns(round(c.pts * 1.0005))) for c in items]
    pts = np.array([c.pts for c in of(LipCue, analyse(late, flush=False))])
    np.testing.assert_allclose(np.diff(pts).mean(), 10 * MILLISECOND * 1.0005, rtol=1e-4)
    assert np.diff(pts).min() > 0


def test_closures_are_visemes_too():
    lips = of(LipCue, analyse(chunks(with_silence(16_000), 16_000, 320)))
    assert max(c.visemes[VISEME_INDEX["PP"]] for c in lips) > 0.9
    assert lips[0].visemes[VISEME_INDEX["sil"]] > 0.9


def test_missing_or_broken_weights_are_one_clear_line(tmp_path):
    with pytest.raises(ModelFileError, match="missing"):
        VoiceAnalyzer(tmp_path)
    (tmp_path / "silero_vad.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="not a model"):
        VoiceAnalyzer(tmp_path)
    (tmp_path / "silero_vad.onnx").write_bytes((WEIGHTS / "silero_vad.onnx").read_bytes())
    (tmp_path / "visemes.onnx").write_bytes((WEIGHTS / "silero_vad.onnx").read_bytes())
    with pytest.raises(ModelFileError, match="not a viseme network"):
        VoiceAnalyzer(tmp_path)


def test_an_impossible_rate_is_refused():
    with pytest.raises(UsageError, match="sample rate"):
        VoiceAnalyzer(WEIGHTS).step(AudioChunk(Ns(0), np.zeros(10, np.float32), 12))


def test_empty_chunks_are_no_trouble():
    analyzer = VoiceAnalyzer(WEIGHTS)
    assert analyzer.flush() == ()
    assert analyzer.step(AudioChunk(Ns(0), np.zeros(0, np.float32), 48_000)) is None


def test_another_head_goes_on_where_the_last_one_was_and_a_still_one_stays_still() -> None:
    pieces = chunks(with_silence(16_000), 16_000, 320)
    analyzer, still = VoiceAnalyzer(WEIGHTS), VoiceAnalyzer(WEIGHTS, head="still")
    usual = [c.pose.euler for c in of(PoseCue, analyse(pieces, flush=False))]
    cues: list[Cue] = []
    for index, piece in enumerate(pieces):
        if index in (60, 120):
            for each in (analyzer, still):
                each.use_head(small_head(6.0) if index == 60 else None)
        cues += analyzer.step(piece) or ()
        assert {c.pose.euler for c in of(PoseCue, list(still.step(piece) or ()))} <= {(0.0, 0.0, 0.0)}
    poses = np.array([c.pose.euler for c in of(PoseCue, cues)])
    assert np.abs(np.diff(poses, axis=0)).max() < 1.0, "degrees in 10 ms: it never jumps"
    assert np.allclose(poses[:100], usual[:100], atol=1e-6)
    assert np.abs(poses[130:230] - usual[130:230]).max() > 1.0, "it moves in another way"


def test_a_learnt_head_uses_the_look_ahead_of_the_lips_and_costs_none():
    for ahead in (LIVE_MS, CALM_MS):
        learnt = VoiceAnalyzer(WEIGHTS, head="hmm", look_ahead_ms=ahead)
        assert learnt.latency == VoiceAnalyzer(WEIGHTS, head="still", look_ahead_ms=ahead).latency
        cues = analyse(chunks(speech().samples, speech().rate, 441), learnt)
        poses, lips = of(PoseCue, cues), of(LipCue, cues)
        assert [c.pts for c in poses] == [c.pts for c in lips]
        assert np.abs(np.diff([c.pose.euler for c in poses], axis=0)).max() < 1.0
        assert np.ptp([c.pose.euler for c in poses], axis=0).max() > 0.5


def test_another_head_is_taken_up_while_it_runs():
    analyzer = VoiceAnalyzer(WEIGHTS, head="hmm")
    parts = chunks(speech().samples, speech().rate, 441)
    analyse(parts[:40], analyzer, flush=False)
    analyzer.use_head(HeadModel.load(WEIGHTS / HEAD_FILE))
    analyzer.feel("happiness", 1.0)
    assert of(PoseCue, analyse(parts[40:], analyzer))
    VoiceAnalyzer(WEIGHTS, head="rules").use_head(None)  # nothing to change there, and no fault
