"""Sound to frames: a causal resampler and streaming log-mel / MFCC features at 100 frames a second.

Frame ``i`` is centred on sample ``i * HOP`` of the 16 kHz signal, as with ``librosa.feature.melspectrogram(center=True,
pad_mode="constant")``, so a frame is complete 12.5 ms after the moment it describes.

Mel filters: Slaney (1998), area-normalised, as in librosa's default. MFCC: Davis & Mermelstein (1980).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from avatar.core.types import F32
from avatar.errors import UsageError

RATE = 16_000
"""Samples a second of everything that listens."""
HOP = 160
"""Samples between frames: 10 ms."""
WINDOW = 400
"""Samples in a frame: 25 ms."""
HALF = WINDOW // 2
N_FFT = 512
MELS = 40
MFCCS = 13
MEL_LOW, MEL_HIGH = 60.0, 7600.0
POWER_FLOOR = 1e-7
"""Added to every mel band, so that digital silence has a logarithm; a full-scale sine is about 8e0."""
DB_FLOOR = -100.0

_MIN_RATE, _MAX_RATE = 4_000, 768_000


def clean(samples: np.ndarray) -> F32:
    """Samples as float32 in [-1, 1]; what is not a number becomes silence."""
    x = np.asarray(samples, np.float32)
    # One cheap reduction tells apart the ordinary chunk from the one with NaN, infinity or clipping.
    peak = float(np.abs(x).max()) if x.size else 0.0
    if peak <= 1.0:
        return x
    return np.clip(np.nan_to_num(x, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0).astype(np.float32)


@lru_cache(maxsize=8)
def _polyphase(rate: int) -> tuple[int, int, F32, int]:
    """(up, down, filters (up, taps), half) of the windowed-sinc resampler from ``rate`` to 16 kHz."""
    g = math.gcd(rate, RATE)
    up, down = RATE // g, rate // g
    cutoff = 0.92 * min(1.0, RATE / rate)  # of the input's Nyquist frequency
    half = math.ceil(10 / cutoff)
    taps = np.arange(-half + 1, half + 1, dtype=np.float64)
    phase = np.arange(up, dtype=np.float64)[:, None] / up
    t = taps[None, :] - phase
    window = np.where(np.abs(t) < half, np.i0(7.0 * np.sqrt(np.maximum(0.0, 1 - (t / half) ** 2))) / np.i0(7.0), 0.0)
    h = cutoff * np.sinc(cutoff * t) * window
    h /= h.sum(axis=1, keepdims=True)
    return up, down, np.ascontiguousarray(h, np.float32), half


class Resampler:
    """Streaming resampling to 16 kHz by a windowed-sinc polyphase filter (Kaiser window, about 70 dB).

    Made for low delay: output sample ``k`` stands for the very moment ``k / 16000`` of the input and needs
    :attr:`delay` of input beyond it. Block resamplers such as soxr's hold back 6 to 60 ms, varying from call to call.

    :param rate: samples a second of the input. Raises UsageError outside 4 to 768 kHz.
    """

    def __init__(self, rate: int) -> None:
        if not _MIN_RATE <= rate <= _MAX_RATE:
            raise UsageError(f"a sample rate of {rate} Hz cannot be used: give {_MIN_RATE} to {_MAX_RATE} Hz")
        self.rate = rate
        self._identity = rate == RATE
        if not self._identity:
            self._up, self._down, self._filters, self._half = _polyphase(rate)
        self.reset()

    @property
    def delay(self) -> float:
        """Seconds of input needed beyond the moment of an output sample."""
        return 0.0 if self._identity else self._half / self.rate

    def reset(self) -> None:
        self._next = 0  # number of the next output sample
        self._base = 0  # input sample number of self._buffer[0]
        if not self._identity:
            # Silence before the beginning, so that output starts with sample 0.
            self._buffer = np.zeros(self._half - 1, np.float32)
            self._base = -(self._half - 1)

    def process(self, x: F32) -> F32:
        """(n,) at the input rate to what can be had at 16 kHz so far, (m,)."""
        if self._identity:
            return x
        buffer = self._buffer = np.concatenate((self._buffer, x))
        end = self._base + len(buffer)  # input samples below this are known
        # Output k lies between input samples floor(k * down / up) and the next one.
        last = ((end - self._half) * self._up - 1) // self._down
        count = last - self._next + 1
        if count <= 0:
            return np.empty(0, np.float32)
        if self._up == 1:  # 48 and 96 kHz: one filter for every sample
            first = self._next * self._down - self._base - (self._half - 1)
            part = buffer[first : first + (count - 1) * self._down + 2 * self._half]
            out = np.correlate(part, self._filters[0], "valid")[:: self._down]
        else:
            position = np.arange(self._next, self._next + count, dtype=np.int64) * self._down
            starts = position // self._up - self._base - (self._half - 1)
            windows = buffer[starts[:, None] + np.arange(2 * self._half)]
            out = np.einsum("ij,ij->i", windows, self._filters[position % self._up])
        self._next += count
        keep = self._next * self._down // self._up - self._base - (self._half - 1)
        if keep > 0:
            self._buffer = buffer[keep:].copy()
            self._base += keep
        return out


def _hz_to_mel(f: np.ndarray) -> np.ndarray:
    return np.where(f < 1000, f / (200 / 3), 15 + np.log(np.maximum(f, 1000) / 1000) / (np.log(6.4) / 27))


def _mel_to_hz(m: np.ndarray) -> np.ndarray:
    return np.where(m < 15, m * (200 / 3), 1000 * np.exp((np.log(6.4) / 27) * (m - 15)))


@lru_cache(maxsize=1)
def mel_filters() -> F32:
    """(MELS, N_FFT // 2 + 1) triangular filters on the power spectrum."""
    low, high = _hz_to_mel(np.array([MEL_LOW, MEL_HIGH])).tolist()
    edges = _mel_to_hz(np.linspace(low, high, MELS + 2))
    f = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    rise = (f[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - f[None]) / (edges[2:] - edges[1:-1])[:, None]
    bank = np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return bank.astype(np.float32)


@lru_cache(maxsize=1)
def dct_matrix() -> F32:
    """(MFCCS, MELS) orthonormal DCT-II."""
    k, n = np.arange(MFCCS)[:, None], np.arange(MELS)[None]
    m = np.cos(np.pi * k * (2 * n + 1) / (2 * MELS)) * math.sqrt(2 / MELS)
    m[0] /= math.sqrt(2)
    return m.astype(np.float32)


_MEL = np.ascontiguousarray(mel_filters().T)

# Periodic, as librosa's; the frame sits in the middle of the transform's 512 samples, which changes only the phase.
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def log_mel(windows: F32) -> F32:
    """(..., WINDOW) samples to the natural logarithm of mel power, (..., MELS)."""
    spectrum = np.fft.rfft(windows * _HANN, N_FFT, axis=-1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(power @ _MEL + POWER_FLOOR)


def mfcc(logmel: F32) -> F32:
    """(..., MELS) to cepstral coefficients (..., MFCCS)."""
    return logmel @ dct_matrix().T


def level_db(window: F32) -> float:
    """RMS level of samples in dBFS, not below -100."""
    power = float(np.dot(window, window)) / max(1, len(window))
    return max(DB_FLOOR, 10 * math.log10(power + 1e-12))


@dataclass(frozen=True, slots=True)
class Hop:
    """One frame of sound."""

    index: int
    """The frame is centred on sample ``index * HOP``."""
    logmel: F32
    """(MELS,)."""
    level: float
    """dBFS of the middle 20 ms."""
    past: F32
    """(PAST,) samples that end where the frame ends, for pitch."""
    new: F32
    """(HOP,) the newest samples of the frame, each sample in exactly one hop, for the voice activity detector."""


PAST = 640


class Ring:
    """The newest ``n`` rows, oldest first, always as one contiguous array and without moving them."""

    def __init__(self, n: int, width: int, fill: float = 0.0) -> None:
        # Every row is written twice, n apart, so that some n rows in a row are always the newest ones.
        self._rows = np.full((2 * n, width), fill, np.float32)
        self._n = n
        self._at = 0

    def push(self, row: np.ndarray | tuple[float, ...]) -> F32:
        """Take a row (width,); returns a view (n, width) that is good until the next push."""
        self._rows[self._at] = self._rows[self._at + self._n] = row
        self._at = (self._at + 1) % self._n
        return self._rows[self._at : self._at + self._n]


class FrameStream:
    """Cuts 16 kHz sound into :class:`Hop`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        # The first frame is centred on sample 0: half of it, and the pitch window, lie before the beginning.
        self._buffer = np.zeros(PAST - HALF, np.float32)
        self._index = 0

    def push(self, x: F32) -> list[Hop]:
        """(n,) samples to the frames they complete."""
        buffer = np.concatenate((self._buffer, x)) if len(x) else self._buffer
        count = (len(buffer) - PAST) // HOP + 1 if len(buffer) >= PAST else 0
        if count <= 0:
            self._buffer = buffer
            return []
        past = np.stack([buffer[i * HOP : i * HOP + PAST] for i in range(count)])
        windows = past[:, PAST - WINDOW :]
        mel = log_mel(windows)
        hops = [
            Hop(self._index + i, mel[i], level_db(windows[i, 40:360]), past[i], past[i, PAST - HOP :])
            for i in range(count)
        ]
        self._index += count
        self._buffer = buffer[count * HOP :]
        return hops
