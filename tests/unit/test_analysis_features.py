"""Resampling, frames and cepstra."""

import numpy as np
import pytest

from avatar.analysis.features import HOP, MELS, RATE, FrameStream, Resampler, clean, log_mel, mfcc
from avatar.errors import UsageError


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
def test_resampling_keeps_the_wave_and_its_time(rate):
    resampler = Resampler(rate)
    x = tone(rate, 0.5)
    out = np.concatenate([resampler.process(x[i : i + 97]) for i in range(0, len(x), 97)])
    expected = tone(RATE, 0.5)[: len(out)]
    assert len(out) >= (0.5 - resampler.delay) * RATE - 2
    assert np.abs(out - expected)[100:-100].max() < 0.01
    assert resampler.delay < 0.003


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_resampling_removes_what_16_khz_cannot_hold(rate):
    out = Resampler(rate).process(tone(rate, 0.3, 11_000.0))
    assert np.abs(out[200:-200]).max() < 0.002


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_the_size_of_the_chunks_does_not_matter(rate):
    x = np.random.default_rng(1).normal(0, 0.1, rate // 3).astype(np.float32)
    whole = Resampler(rate).process(x)
    one_by_one = Resampler(rate)
    sizes = np.random.default_rng(2).integers(0, 400, 400)
    parts, at = [], 0
    for size in sizes:
        parts.append(one_by_one.process(x[at : at + size]))
        at += size
    out = np.concatenate(parts)
    assert len(out) == len(whole)
    np.testing.assert_allclose(out, whole, atol=1e-6)


@pytest.mark.parametrize("rate", [0, -1, 100, 10_000_000])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(UsageError, match="sample rate"):
        Resampler(rate)


def test_cepstra_agree_with_librosa():
    librosa = pytest.importorskip("librosa", reason="librosa is only in the test extra")
    x = np.random.default_rng(3).normal(0, 0.1, RATE).astype(np.float32)
    ours = np.array([hop.logmel for hop in FrameStream().push(x)])
    power = librosa.feature.melspectrogram(
        y=x,
        sr=RATE,
        n_fft=512,
        win_length=400,
        hop_length=HOP,
        n_mels=MELS,
        fmin=60,
        fmax=7600,
        pad_mode="constant",
    )
    theirs = np.log(power.T + 1e-7)[: len(ours)]
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    expected = librosa.feature.mfcc(S=theirs.T, n_mfcc=13).T
    np.testing.assert_allclose(mfcc(ours), expected, atol=1e-2)


def test_frames_come_at_100_a_second_whatever_the_pieces():
    x = np.random.default_rng(4).normal(0, 0.1, RATE).astype(np.float32)
    whole = FrameStream().push(x)
    stream = FrameStream()
    parts = [hop for i in range(0, len(x), 37) for hop in stream.push(x[i : i + 37])]
    assert [hop.index for hop in parts] == [hop.index for hop in whole] == list(range(len(whole)))
    assert len(whole) == (RATE - 200) // HOP + 1
    np.testing.assert_allclose([h.logmel for h in parts], [h.logmel for h in whole], atol=1e-4)


def test_each_sample_is_new_exactly_once():
    x = np.arange(4_000, dtype=np.float32)
    new = np.concatenate([hop.new for hop in FrameStream().push(x)])
    np.testing.assert_array_equal(np.diff(new), 1)


def test_bad_samples_become_silence_or_full_scale():
    x = np.array([np.nan, np.inf, -np.inf, 3.0, -3.0, 0.25], np.float32)
    np.testing.assert_array_equal(clean(x), np.array([0, 1, -1, 1, -1, 0.25], np.float32))


def test_silence_has_finite_features():
    assert np.isfinite(log_mel(np.zeros((2, 400), np.float32))).all()
