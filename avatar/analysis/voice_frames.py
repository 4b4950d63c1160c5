"""What one frame of a voice says about its manner: loudness, timbre, pitch, voice quality, formants.

The low-level descriptors of the ComParE and eGeMAPS sets (Schuller et al., Interspeech 2013; Eyben et al., IEEE
Transactions on Affective Computing 2016), written anew and frame by frame, so that a stream costs as much a second as a
recording. One Fourier transform of 40 ms serves all that is spectral.
"""

from __future__ import annotations

import numpy as np

from avatar.analysis.features import MELS, PAST, RATE
from avatar.analysis.prosody import F0_MAX, F0_MIN, VOICED
from avatar.core.types import F32

BANDS = MELS // 2
CEPSTRA = 14

SOUND_NAMES: tuple[str, ...] = (
    "level",
    "loudness",
    *(f"band{i}" for i in range(BANDS)),
    *(f"mfcc{i}" for i in range(1, CEPSTRA + 1)),
    "centroid",
    "spread",
    "skewness",
    "kurtosis",
    "entropy",
    "flatness",
    "slope_0_500",
    "slope_500_1500",
    "alpha",
    "hammarberg",
    "rolloff25",
    "rolloff50",
    "rolloff75",
    "rolloff90",
    "low_band",
    "mid_band",
    "zero_crossings",
    "cepstral_peak",
)
"""Of every frame."""
VOICE_NAMES = ("f0", "hnr", "h1_h2", "h1_a3", "f1", "f2", "f3", "b1", "b2", "b3", "a1", "a2", "a3", "peak")
"""Of voiced frames; what they say of others means nothing."""
NAMES = (*SOUND_NAMES, *VOICE_NAMES, "voicing")
SOUND, VOICE = len(SOUND_NAMES), len(VOICE_NAMES)
WIDTH = len(NAMES)
LEVEL, F0, PEAK, VOICING = 0, SOUND, SOUND + VOICE - 1, WIDTH - 1

_N = 1024
_HZ = RATE / _N
_F = (np.arange(_N // 2 + 1) * _HZ).astype(np.float32)
_HANN = np.hanning(PAST + 1)[:-1].astype(np.float32)
_EPS = 1e-9
_LPC = 10
_LPC_RATE = RATE // 2
_LPC_BINS = _N // 4
_HARMONIC_HZ = 0.25
"""Half the width, in fundamentals, in which a harmonic's peak is sought."""


def _cosines() -> F32:
    k, n = np.arange(1, CEPSTRA + 1)[:, None], np.arange(MELS)[None]
    return np.ascontiguousarray((np.cos(np.pi * k * (2 * n + 1) / (2 * MELS)) * np.sqrt(2 / MELS)).T, np.float32)


_DCT = _cosines()


def _between(low: float, high: float) -> slice:
    return slice(round(low / _HZ), round(high / _HZ) + 1)


_SHAPE = _between(60, 7600)
_LOW, _MID = _between(250, 650), _between(1000, 4000)


def _regression(low: float, high: float) -> tuple[slice, F32]:
    """Where, and the weights whose dot product with decibels is the slope in dB a kilohertz."""
    at = _between(low, high)
    x = _F[at] / 1000
    x = x - x.mean()
    return at, (x / (x @ x)).astype(np.float32)


_SLOPES = (_regression(60, 500), _regression(500, 1500))


def frames(past: F32, logmel: F32, level: F32, f0: F32, confidence: F32) -> F32:
    """Descriptors of n frames.

    :param past: (n, PAST) the 40 ms of sound that end with each frame. :param logmel: (n, MELS).
    :param level: (n,) dBFS. :param f0: (n,) hertz. :param confidence: (n,) of the pitch, [0, 1].
    :returns: (n, WIDTH) in the order of :data:`NAMES`.
    """
    n = len(past)
    out = np.empty((n, WIDTH), np.float32)
    centred = (past - past.mean(axis=1, keepdims=True)) * _HANN
    spectrum = np.fft.rfft(centred, _N, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) + np.float32(_EPS)
    decibels = 10 * np.log10(power)
    at = 2
    out[:, 0] = np.maximum(level, -70)
    out[:, 1] = (np.exp(0.33 * logmel)).mean(axis=1)
    out[:, at : at + BANDS] = logmel.reshape(n, BANDS, 2).mean(axis=2)
    at += BANDS
    out[:, at : at + CEPSTRA] = logmel @ _DCT
    at += CEPSTRA
    shape = _shape(power, decibels)
    out[:, at : at + shape.shape[1]] = shape
    at += shape.shape[1]
    out[:, at] = (past[:, 1:] * past[:, :-1] < 0).mean(axis=1)
    voiced = (confidence > VOICED) & (f0 >= F0_MIN) & (f0 <= F0_MAX) & (level > -60)
    pitch = np.clip(np.where(voiced, f0, 150.0), F0_MIN, F0_MAX).astype(np.float32)
    out[:, at + 1] = _cepstral_peak(decibels, pitch)
    out[:, F0:VOICING] = _voice(past, power, decibels, pitch, confidence)
    out[:, VOICING] = voiced
    return out


def _shape(power: F32, decibels: F32) -> F32:
    """(n, 16): moments, entropy, flatness, slopes, ratios, roll-offs, bands."""
    part, f = power[:, _SHAPE], _F[_SHAPE] / 1000
    total = part.sum(axis=1, keepdims=True)
    p = part / total
    mean = p @ f
    apart = f[None] - mean[:, None]
    square = apart * apart
    variance = np.maximum((p * square).sum(axis=1), 1e-4)
    spread = np.sqrt(variance)
    skew = (p * square * apart).sum(axis=1) / (variance * spread)
    kurtosis = (p * square * square).sum(axis=1) / variance**2
    logs = decibels[:, _SHAPE]
    entropy = -(p * (logs - 10 * np.log10(total))).sum(axis=1) / 10
    flatness = logs.mean(axis=1) - 10 * np.log10(total[:, 0] / part.shape[1])
    slopes = [decibels[:, s] @ w for s, w in _SLOPES]
    low, mid, high = power[:, _between(50, 1000)], power[:, _MID], power[:, _between(2000, 5000)]
    alpha = 10 * np.log10(mid.sum(axis=1) / low.sum(axis=1))
    hammarberg = 10 * np.log10(power[:, _between(50, 2000)].max(axis=1) / high.max(axis=1))
    grown = np.cumsum(p, axis=1)
    rolls = [f[np.minimum((grown < share).sum(axis=1), len(f) - 1)] for share in (0.25, 0.5, 0.75, 0.9)]
    bands = [10 * np.log10(power[:, s].sum(axis=1) / total[:, 0]) for s in (_LOW, _MID)]
    columns = (mean, spread, np.clip(skew, -10, 20), np.log(kurtosis), entropy, flatness, *slopes, alpha, hammarberg)
    return np.stack([*columns, *rolls, *bands], axis=1).astype(np.float32)


def _cepstral_peak(decibels: F32, pitch: F32) -> F32:
    """Height in dB of the cepstrum's peak near the period over its mean: how clear the voice is (Hillenbrand et al.
    1994)."""
    cepstrum = np.fft.irfft(decibels, axis=1)[:, : _N // 2]
    period = RATE / pitch
    index = np.arange(cepstrum.shape[1])[None]
    near = np.abs(index - period[:, None]) < 0.15 * period[:, None]
    peak = np.where(near, cepstrum, -1e9).max(axis=1)
    return (peak - cepstrum[:, 32:300].mean(axis=1)).astype(np.float32)


_OFFSETS = np.linspace(-1, 1, 9, dtype=np.float32)


def _peaks_near(decibels: F32, hertz: F32, half: F32) -> F32:
    """The highest decibels (n, k) of each row within ``half`` hertz of ``hertz``, both (n, k)."""
    n, k = hertz.shape
    bins = np.rint((hertz[..., None] + _OFFSETS * half[..., None]) / _HZ).astype(int)
    bins = np.clip(bins, 1, decibels.shape[1] - 1).reshape(n, -1)
    return np.take_along_axis(decibels, bins, axis=1).reshape(n, k, -1).max(axis=2)


def _voice(past: F32, power: F32, decibels: F32, pitch: F32, confidence: F32) -> F32:
    """(n, VOICE) in the order of :data:`VOICE_NAMES`."""
    semitones = 12 * np.log2(pitch / 55.0)
    harmonic = np.clip(confidence, 0.05, 0.999)
    hnr = 10 * np.log10(harmonic / (1 - harmonic))
    half = _HARMONIC_HZ * pitch
    hertz, width = _formants(power)
    wide = np.maximum(half, np.float32(60))
    places, halves = (pitch, 2 * pitch, *hertz.T), (half, half, wide, wide, wide)
    h1, h2, *formants = _peaks_near(decibels, np.stack(places, axis=1), np.stack(halves, axis=1)).T
    tops = [top - h1 for top in formants]
    peak = 20 * np.log10(np.abs(past).max(axis=1) + 1e-4)
    columns = (semitones, hnr, h1 - h2, -tops[2], *hertz.T / 1000, *np.log(width).T, *tops, peak)
    return np.stack(columns, axis=1).astype(np.float32)


def _formants(power: F32) -> tuple[F32, F32]:
    """Hertz and bandwidth, (n, 3) each, of the three lowest resonances below 4 kHz by linear prediction.

    The autocorrelation comes from the power spectrum below 4 kHz, pre-emphasised: no resampling. Levinson-Durbin, then
    the roots as eigenvalues of the companion matrices.
    """
    n = len(power)
    rising = (1 - 1.88 * np.cos(np.pi * np.arange(_LPC_BINS + 1) / _LPC_BINS) + 0.94**2).astype(np.float32)
    r = np.fft.irfft(power[:, : _LPC_BINS + 1] * rising, axis=1)[:, : _LPC + 1]
    r[:, 0] *= 1.0001
    a = np.zeros((n, _LPC + 1))
    a[:, 0] = 1
    error = r[:, 0].copy()
    for i in range(1, _LPC + 1):
        k = -(a[:, :i] * r[:, i:0:-1]).sum(axis=1) / error
        a[:, 1 : i + 1] += k[:, None] * a[:, i - 1 :: -1][:, :i]
        error *= 1 - k * k
    companion = np.zeros((n, _LPC, _LPC))
    companion[:, np.arange(1, _LPC), np.arange(_LPC - 1)] = 1
    companion[:, 0] = -a[:, 1:]
    roots = np.linalg.eigvals(companion)
    hertz = np.angle(roots) * _LPC_RATE / (2 * np.pi)
    width = -np.log(np.maximum(np.abs(roots), 1e-6)) * _LPC_RATE / np.pi
    wanted = (hertz > 150) & (hertz < 3900) & (width < 700)
    order = np.argsort(np.where(wanted, hertz, 1e5), axis=1)[:, :3]
    found = np.take_along_axis(wanted, order, axis=1)
    usual = np.array([500.0, 1500.0, 2500.0])
    hertz = np.where(found, np.take_along_axis(hertz, order, axis=1), usual)
    width = np.where(found, np.take_along_axis(width, order, axis=1), 200.0)
    return hertz.astype(np.float32), np.clip(width, 20, 700).astype(np.float32)
