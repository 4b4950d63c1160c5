"""Microphones, rooms, noises, lines and voices made up: a whole session of a speaker goes through one of each, as it
would in the world, so that a speaker's normalisation can learn to take it off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve, firwin2, resample_poly

from avatar.analysis.features import RATE
from avatar.core.types import F32
from avatar.models.data.noises import colored, piece

Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Session:
    """What one speaker's voice goes through, the same for all of a session's sentences."""

    speed: float
    """Voice and pace together, as of a larger or smaller person: 1 = as it is."""
    tempo: float
    """Pace alone, 1 = as it is."""
    gain_db: float
    tone: F32
    """(taps,) of the microphone."""
    echo: F32
    """(n,) of the room; (1,) = none."""
    snr_db: float
    """Infinite = none."""
    noise_exponent: float
    recorded_noise: bool
    line: str
    """"" or "mulaw": eight bits, as in G.711, at the full band. A telephone's band and cut-off tops are not here: those
    are recognised as what cannot be judged."""

    @classmethod
    def draw(cls, random: Random, strength: float = 1.0) -> Session:
        """A random session; strength 0 changes nothing but the gain and the voice."""
        some = random.random(6) < np.array([0.35, 0.7, 0.3, 0.15, 0.9, 0.6]) * max(strength, 1e-9)
        frequency = np.array([0, 150, 400, 1000, 2500, 5000, 8000]) / 8000
        tone = firwin2(63, frequency, 10 ** (random.normal(0, 3.5 * strength, 7) / 20)) if some[4] else np.ones(1)
        return cls(
            speed=float(2 ** random.uniform(-0.12, 0.12)),
            tempo=float(2 ** random.uniform(-0.15, 0.15)) if some[5] else 1.0,
            gain_db=float(random.uniform(-12, 6)),
            tone=tone.astype(np.float32),
            echo=_echo(random) if some[0] else np.ones(1, np.float32),
            snr_db=float(random.uniform(12, 45)) if some[1] else float("inf"),
            noise_exponent=float(random.uniform(0, 2)),
            recorded_noise=bool(some[2]),
            line="mulaw" if some[3] else "",
        )

    def apply(self, x: F32, random: Random) -> F32:
        """(n,) at 16 kHz to (m,) at 16 kHz; noise is drawn anew, all else is the session's."""
        y = np.asarray(x, np.float64)
        if abs(self.speed - 1) > 0.005:
            y = resample_poly(y, 100, round(100 * self.speed))
        if abs(self.tempo - 1) > 0.02:
            y = stretched(y, self.tempo)
        if len(self.echo) > 1:
            y = fftconvolve(y, self.echo)[: len(y)]
        if np.isfinite(self.snr_db):
            noise = self._noise(len(y), random)
            y = y + noise * np.sqrt(np.mean(y**2) / (np.mean(noise**2) + 1e-12) * 10 ** (-self.snr_db / 10))
        if len(self.tone) > 1:
            y = fftconvolve(y, self.tone, "same")
        y = y * 10 ** (self.gain_db / 20)
        return self._through_the_line(y).astype(np.float32)

    def _noise(self, n: int, random: Random) -> np.ndarray:
        if self.recorded_noise:
            return np.resize(piece(random)[1], n)
        return colored(n, random, self.noise_exponent)

    def _through_the_line(self, y: np.ndarray) -> np.ndarray:
        if self.line == "mulaw":
            y = np.clip(y, -1, 1)
            code = np.round(np.sign(y) * np.log1p(255 * np.abs(y)) / np.log(256) * 127) / 127
            y = np.sign(code) * (256 ** np.abs(code) - 1) / 255
        return np.clip(y, -1, 1)


def _echo(random: Random) -> F32:
    """A direct path and a tail that dies away exponentially (Polack's model of rooms)."""
    t = np.arange(int(RATE * random.uniform(0.15, 0.5))) / RATE
    tail = random.standard_normal(len(t)) * np.exp(-6.9 * t / random.uniform(0.15, 0.6))
    tail *= 10 ** (-random.uniform(2, 16) / 20) / np.sqrt((tail**2).sum())
    tail[: int(0.002 * RATE)] = 0
    tail[0] = 1
    return tail.astype(np.float32)


def stretched(y: np.ndarray, tempo: float) -> np.ndarray:
    """Faster (> 1) or slower at the same pitch: overlap-add of similar pieces (WSOLA, Verhelst & Roelands 1993)."""
    size, search = 512, 160
    step = size // 2
    window = np.hanning(size + 1)[:-1]
    count = int((len(y) - size - search) / (step * tempo))
    if count < 2:
        return y
    out = np.zeros(count * step + size)
    out[:size] += y[:size] * window
    last = 0
    for i in range(1, count):
        wanted = y[last + step : last + step + size]
        centre = int(i * step * tempo)
        low = max(0, centre - search)
        field = y[low : centre + search + size]
        if len(wanted) < size or len(field) < size:
            break
        last = low + int(np.correlate(field, wanted, "valid").argmax())
        out[i * step : i * step + size] += y[last : last + size] * window
    return out
