"""The melody of speech: pitch, its normalisation to the speaker, accents and phrase ends.

Pitch: YIN (de Cheveigné & Kawahara 2002, "YIN, a fundamental frequency estimator for speech and music"), steps 1 to 5,
frame by frame; the difference function comes from the autocorrelation by FFT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from avatar.analysis.features import PAST, RATE
from avatar.analysis.speaker import Speaker
from avatar.core.types import F32

F0_MIN, F0_MAX = 60.0, 500.0
_STEP = 2
_RATE = RATE // _STEP
"""Pitch is sought at half the rate, on sums of two samples: a voice's periods are long, and it costs half."""
_W = 160
"""Samples that are compared: 20 ms, and up to one period more on top."""
_LAG_MIN, _LAG_MAX = int(_RATE / F0_MAX), math.ceil(_RATE / F0_MIN)
_SPAN = _W + _LAG_MAX + 1
_N_FFT = 300
"""At least _SPAN, so that no wanted lag wraps around."""
_THRESHOLD = 0.15
_LAGS = np.arange(1, _LAG_MAX + 2, dtype=np.float32)


def yin(past: F32) -> list[tuple[float, float]]:
    """Pitch of the newest 37 ms of each row of ``past`` (n, PAST): n times (hertz, confidence in [0, 1]).

    The pitch is a best guess whatever the confidence; below about 0.6 the frame is unvoiced. (0, 0) where it is silent.
    """
    x = past[:, PAST - 2 * _SPAN :: 2] + past[:, PAST - 2 * _SPAN + 1 :: 2]
    x -= x.mean(axis=1, keepdims=True)
    head = np.zeros_like(x)
    head[:, :_W] = x[:, :_W]
    spectrum = np.fft.rfft(np.stack((x, head)), _N_FFT, axis=-1)
    correlation = np.fft.irfft(spectrum[0] * spectrum[1].conj(), _N_FFT, axis=-1)[:, 1 : _LAG_MAX + 2]
    energy = np.cumsum(x.astype(np.float64) ** 2, axis=1)
    moved = energy[:, _W : _W + _LAG_MAX + 1] - energy[:, : _LAG_MAX + 1]
    difference = np.maximum(energy[:, _W - 1 : _W] + moved - 2 * correlation, 0)
    normal = difference * _LAGS / (np.cumsum(difference, axis=1) + 1e-12)  # cumulative mean normalised, step 3
    return [_dip(row) if e > 1e-6 else (0.0, 0.0) for row, e in zip(normal, energy[:, -1], strict=True)]


def _dip(normal: np.ndarray) -> tuple[float, float]:
    """Steps 4 and 5: the first dip under the threshold, down to its bottom, and a parabola through it."""
    search = normal[_LAG_MIN - 1 : _LAG_MAX]
    i = int((search < _THRESHOLD).argmax())
    if search[i] < _THRESHOLD:
        rising = search[i + 1 :] >= search[i:-1]
        i = i + int(rising.argmax()) if rising.any() else len(search) - 1
    else:
        i = int(search.argmin())
    depth = float(search[i])
    i += _LAG_MIN - 1
    lag = float(i + 1)
    if 0 < i < len(normal) - 1:
        a, b, c = float(normal[i - 1]), float(normal[i]), float(normal[i + 1])
        curve = a - 2 * b + c
        if curve > 1e-9:
            lag += min(0.5, max(-0.5, 0.5 * (a - c) / curve))
    return _RATE / lag, min(1.0, max(0.0, 1 - depth))


VOICED = 0.6
"""Confidence from which a frame counts as voiced."""


@dataclass(frozen=True, slots=True)
class Prosody:
    """One hop."""

    f0: float
    """Hertz, 0 where unvoiced."""
    confidence: float
    level: float
    """dBFS."""
    z: float
    """Log pitch in the speaker's standard deviations above the speaker's mean; held through unvoiced frames."""
    loud: float
    """Level in units of 6 dB above the speaker's usual level."""
    speaking: bool


class PitchTracker:
    """YIN and the running mean and deviation of the speaker's log pitch (seconds of speech to settle, then a minute of
    memory).

    :param speaker: a voice that is known from a calibration: it counts as ten seconds of speech, so that the first word
        is right already and another voice is learnt within a sentence or two.
    """

    MEMORY_HOPS = 3000.0
    KNOWN_HOPS = 600.0

    def __init__(self, speaker: Speaker | None = None) -> None:
        self.speaker = speaker
        """Taken up by the next :meth:`reset`."""
        self.reset()

    def reset(self) -> None:
        # A prior worth 0.1 s: 150 Hz with three semitones of deviation serves either sex badly but briefly.
        self._weight, self._mean, self._var = 10.0, math.log2(150.0), 0.25**2
        if self.speaker is not None:
            self._weight, self._mean = self.KNOWN_HOPS, self.speaker.pitch
            self._var = self.speaker.deviation**2
        self._z = 0.0
        self._last = 0.0

    def step(self, f0: float, confidence: float, level: float, speech_level: float, speaking: bool) -> Prosody:
        """One hop: pitch and confidence from :func:`yin`, levels of the hop and of the speaker in dBFS."""
        voiced = confidence > VOICED and speaking and F0_MIN <= f0 <= F0_MAX
        if voiced:
            octave = math.log2(f0)
            # An octave error for a frame or two is YIN's usual fault: do not learn from a leap.
            leap = self._last > 0 and abs(octave - self._last) > 0.6
            self._last = octave
            if not leap:
                self._weight = min(self._weight + 1, self.MEMORY_HOPS)
                rate = 1 / self._weight
                delta = octave - self._mean
                self._mean += rate * delta
                self._var += rate * (delta * (octave - self._mean) - self._var)
                deviation = max(0.08, math.sqrt(self._var))
                self._z = min(3.0, max(-3.0, (octave - self._mean) / deviation))
        else:
            self._last = 0.0
        loud = min(2.0, max(-4.0, (level - speech_level) / 6))
        return Prosody(f0 if voiced else 0.0, confidence, level, self._z, loud, speaking)


@dataclass(frozen=True, slots=True)
class Melody:
    """What moves the head and the brows, found in one hop."""

    accent: float = 0.0
    """Strength in (0, 1] at the hop where a pitch accent is recognised, else 0."""
    began: bool = False
    """A phrase begins."""
    ended: bool = False
    """A phrase ended: a pause of 200 ms, or speech that stops."""


class AccentDetector:
    """Pitch accents as peaks of prominence (normalised pitch + loudness), and phrases as speech between pauses.

    A peak is recognised about 50 ms after it has passed. Terken & Hermes (2000) for prominence from pitch and loudness.
    """

    THRESHOLD = 0.55
    FALL = 0.12
    SPACING = 22
    """Hops between accents: nobody accents more than four syllables a second."""
    PAUSE = 20

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._smooth = self._peak = self._valley = 0.0
        self._armed = False
        self._since = 1000
        self._silent = self.PAUSE
        self._talking = False

    def step(self, hop: Prosody) -> Melody:
        began = ended = False
        if hop.speaking:
            began, self._talking, self._silent = not self._talking, True, 0
        else:
            self._silent += 1
            if self._talking and self._silent >= self.PAUSE:
                ended, self._talking = True, False
        raw = 0.6 * hop.z + 0.5 * hop.loud if hop.f0 > 0 else -1.0
        self._smooth += 0.25 * (raw - self._smooth)
        self._since += 1
        accent = 0.0
        if not self._armed:
            self._valley = min(self._valley, self._smooth)
            if self._smooth > self._valley + 0.35:
                self._armed, self._peak = True, self._smooth
        elif self._smooth > self._peak:
            self._peak = self._smooth
        elif self._smooth < self._peak - self.FALL:
            if self._peak > self.THRESHOLD - 0.4 and self._since >= self.SPACING and self._talking:
                accent = min(1.0, max(0.15, (self._peak - self.THRESHOLD + 0.6) / 1.6))
                self._since = 0
            self._armed, self._valley = False, self._smooth
        return Melody(accent, began, ended)
