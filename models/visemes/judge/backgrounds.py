"""Sounds of a room in which nobody speaks, made here: noises and music for ``avatar eval quiet``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal

from avatar.core.types import F32

RATE = 48_000

Random = np.random.Generator
_CHORDS = ((0, 4, 7, 11), (5, 9, 12, 16), (7, 11, 14, 17), (9, 12, 16, 19))
"""Chords in semitones above the key."""


def at_level(samples: np.ndarray, dbfs: float) -> F32:
    """(n,) with the RMS level ``dbfs`` where it sounds; peaks are clipped as a sound card does."""
    loud = np.abs(samples) > 1e-6
    rms = float(np.sqrt(np.mean(samples[loud] ** 2))) if loud.any() else 1.0
    return np.clip(samples * (10 ** (dbfs / 20) / rms), -1, 1).astype(np.float32)


def coloured(n: int, random: Random, slope: float) -> np.ndarray:
    """(n,) noise whose power falls with frequency to the power ``slope``: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(random.standard_normal(n))
    f = np.fft.rfftfreq(n, 1 / RATE)
    return np.fft.irfft(spectrum * np.maximum(f, 20.0) ** (-slope / 2), n)


def band(x: np.ndarray, low: float, high: float, order: int = 2) -> np.ndarray:
    """(n,) between two frequencies in Hz."""
    sos = scipy.signal.butter(order, (low, high), "bandpass", fs=RATE, output="sos")
    return scipy.signal.sosfilt(sos, x)


def white(n: int, random: Random) -> np.ndarray:
    return random.standard_normal(n)


def pink(n: int, random: Random) -> np.ndarray:
    return coloured(n, random, 1.0)


def hum(n: int, random: Random) -> np.ndarray:
    """Mains hum: 50 Hz and its overtones."""
    t = np.arange(n) / RATE
    parts = [random.uniform(0.2, 1) / k * np.sin(2 * np.pi * 50 * k * t + random.uniform(0, 6)) for k in range(1, 12)]
    return np.sum(parts, axis=0) + 0.02 * coloured(n, random, 1.0)


def fan(n: int, random: Random) -> np.ndarray:
    """Rushing air, the blades' tone and its overtones, a little unsteady."""
    t = np.arange(n) / RATE
    turn = random.uniform(22, 40) * (1 + 0.01 * np.sin(2 * np.pi * 0.3 * t))
    phase = 2 * np.pi * np.cumsum(turn) / RATE
    tones = sum(np.sin(5 * k * phase) / k for k in (1, 2, 3))
    air = band(coloured(n, random, 0.7), 80, 5000)
    return air / air.std() * (1 + 0.2 * np.sin(phase)) + 0.5 * tones


def keyboard(n: int, random: Random) -> np.ndarray:
    """Typing: a click and a thump at each key, pressed and released, in bursts of words."""
    out = np.zeros(n + RATE)
    at = 0.0
    while at * RATE < n:
        for _ in range(int(random.integers(2, 9))):
            for delay, gain in ((0.0, 1.0), (random.uniform(0.05, 0.09), 0.4)):
                length = int(random.uniform(0.012, 0.03) * RATE)
                decay = np.exp(-np.arange(length) / (length / 5))
                click = band(random.standard_normal(length), random.uniform(1500, 3000), random.uniform(5000, 9000))
                thump = np.sin(2 * np.pi * random.uniform(120, 300) * np.arange(length) / RATE)
                first = int((at + delay) * RATE)
                if first < n:
                    out[first : first + length] += gain * random.uniform(0.5, 1) * decay * (click + 0.3 * thump)
            at += random.uniform(0.09, 0.25)
        at += random.uniform(0.1, 0.9)
    return out[:n] + 1e-4 * random.standard_normal(n)


def breath(n: int, random: Random) -> np.ndarray:
    """Somebody near the microphone: breathing in and out, with a throat's broad resonances."""
    noise = random.standard_normal(n)
    spaces = ((400, 900, 0.5), (1200, 2200, 1.0), (2500, 5000, 0.6))
    inward = np.sum([g * band(noise, a * 1.2, b * 1.2) for a, b, g in spaces], axis=0)
    outward = np.sum([g * band(noise, a, b) for a, b, g in spaces], axis=0)
    out = np.zeros(n)
    at = 0
    while at < n:
        for sound, low, high in ((inward, 0.6, 1.2), (outward, 0.8, 1.6)):
            length = int(random.uniform(low, high) * RATE)
            end = min(n, at + length)
            envelope = np.sin(np.pi * np.linspace(0, 1, length)) ** random.uniform(0.7, 2)
            out[at:end] += sound[at:end] * envelope[: end - at]
            at += length + int(random.uniform(0.1, 0.5) * RATE)
            if at >= n:
                break
    return out + 1e-4 * random.standard_normal(n)


def traffic(n: int, random: Random) -> np.ndarray:
    """A street: rumble, cars that pass, now and then a horn."""
    rumble = coloured(n, random, 2.0)
    out = rumble / rumble.std()
    t = np.arange(n) / RATE
    for _ in range(max(1, n // (3 * RATE))):
        when, width = random.uniform(0, n / RATE), random.uniform(0.6, 2)
        tyres = band(random.standard_normal(n), 300, 2500)
        out += 3 * tyres / tyres.std() * np.exp(-(((t - when) / width) ** 2))
    if random.random() < 0.5:
        start = random.uniform(0, max(0.1, n / RATE - 1))
        tone = sum(scipy.signal.sawtooth(2 * np.pi * f * t) for f in (420, 530))
        out += 0.8 * band(tone, 300, 3000) * ((t > start) & (t < start + 0.5))
    return out


def knocks(n: int, random: Random) -> np.ndarray:
    """A door, a cup put down, a chair: single blows with the ring of what was struck."""
    out = np.zeros(n)
    at = random.uniform(0.2, 0.8)
    while at * RATE < n:
        length = min(n - int(at * RATE), int(random.uniform(0.1, 0.4) * RATE))
        t = np.arange(length) / RATE
        tones = ((random.uniform(80, 1500), random.uniform(10, 50)) for _ in range(5))
        rings = sum(np.sin(2 * np.pi * f * t) * np.exp(-t * decay) for f, decay in tones)
        out[int(at * RATE) :][:length] += random.uniform(0.3, 1) * (
            rings + random.standard_normal(length) * np.exp(-t * 120)
        )
        at += random.uniform(0.4, 1.5)
    return out + 1e-4 * random.standard_normal(n)


def music(n: int, random: Random) -> np.ndarray:
    """A band without a singer: chords, bass, a melody with vibrato, drums."""
    beat = RATE * 60 / random.uniform(85, 130)
    key = int(random.integers(45, 57))
    out = np.zeros(n + 4 * RATE)
    step = 0
    while step * beat < n:
        first = int(step * beat)
        chord = _CHORDS[step // 4 % 4]
        if step % 4 == 0:
            for semitone in chord:
                _add(out, first, _note(key + semitone, 4 * beat, random, 0.25, 8, 0.0))
        _add(out, first, _note(key - 12 + chord[0], 0.9 * beat, random, 0.6, 5, 0.0))
        for part in (0.0, 0.5):
            if random.random() < 0.7:
                pitch = key + 12 + int(random.choice(chord))
                _add(out, int(first + part * beat), _note(pitch, 0.5 * beat, random, 0.5, 10, 0.006))
            _add(out, int(first + part * beat), _drum(random, 6000, 0.04, 0.25))
        _add(out, first, _drum(random, 60, 0.15, 1.0) if step % 2 == 0 else _drum(random, 1500, 0.1, 0.6))
        step += 1
    return out[:n]


def _add(out: np.ndarray, first: int, sound: np.ndarray) -> None:
    end = min(len(out), first + len(sound))
    out[first:end] += sound[: end - first]


def _note(pitch: int, length: float, random: Random, gain: float, overtones: int, vibrato: float) -> np.ndarray:
    """A tone of so many samples; ``pitch`` as in MIDI."""
    t = np.arange(int(length)) / RATE
    f = 440 * 2 ** ((pitch - 69) / 12) * (1 + vibrato * np.sin(2 * np.pi * 5.5 * t))
    phase = 2 * np.pi * np.cumsum(f) / RATE
    body = sum(random.uniform(0.3, 1) / k * np.sin(k * phase) for k in range(1, overtones + 1))
    return gain * body * np.minimum(1, t / 0.01) * np.exp(-t * 1.5)


def _drum(random: Random, f: float, length: float, gain: float) -> np.ndarray:
    t = np.arange(int(4 * length * RATE)) / RATE
    hit = np.sin(2 * np.pi * f * t) if f < 200 else random.standard_normal(len(t))
    return gain * hit * np.exp(-t / length)


def silence(n: int, random: Random) -> np.ndarray:
    """The hiss of an open microphone preamplifier."""
    return random.standard_normal(n)


KINDS: dict[str, Callable[[int, Random], np.ndarray]] = {
    "silence": silence, "white": white, "pink": pink, "hum": hum, "fan": fan, "keyboard": keyboard, "breath": breath,
    "traffic": traffic, "knocks": knocks, "music": music,
}  # fmt: skip
LEVELS = (-60.0, -48.0, -36.0, -24.0, -12.0)
"""dBFS at which each kind is heard; silence has levels of its own."""
SILENCES = (-np.inf, -96.0, -84.0, -78.0, -72.0)
