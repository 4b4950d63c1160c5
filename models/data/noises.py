"""Sound that is not speech, synthesized: noises of rooms and desks, and music without voices. No marks: the mouth stays
closed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from avatar.core.types import F32, freeze
from avatar.models.data.corpus import RATE, Plan, Split, Utterance

NOISE_MINUTES = 20.0
PIECE_S = (4.0, 9.0)
"""Shortest and longest piece."""

Random = np.random.Generator
Maker = Callable[[int, Random], np.ndarray]


def make_noise(plan: Plan) -> None:
    """Pieces of noise and music, some of two kinds at once."""
    limit = 60 * (plan.minutes or NOISE_MINUTES)
    seconds, index = plan.corpus.seconds("noise/"), -1
    while seconds < limit:
        index += 1
        name = f"noise/{index:05d}"
        if name in plan.corpus:
            continue
        random = np.random.default_rng((plan.seed, 3, index))
        kind, samples = piece(random)
        split: Split = "test" if index % 8 == 7 else "val" if index % 24 == 3 else "train"
        plan.corpus.add(name, Utterance(samples, (), f"noise-{kind}", "noise", "", freeze(np.zeros(0)), split))
        seconds += len(samples) / RATE


def piece(random: Random) -> tuple[str, F32]:
    """One piece: its kind and (n,) samples at 16 kHz, peak between .05 and .9."""
    n = int(RATE * random.uniform(*PIECE_S))
    kind = list(MAKERS)[int(random.integers(len(MAKERS)))]
    sound = _even(MAKERS[kind](n, random))
    if random.random() < 0.3:
        other = list(MAKERS)[int(random.integers(len(MAKERS)))]
        sound = sound + 10 ** random.uniform(-1.2, 0) * _even(MAKERS[other](n, random))
    if random.random() < 0.5:
        sound = _room(sound, random)
    sound = sound / (np.abs(sound).max() + 1e-9) * 10 ** random.uniform(-1.3, -0.05)
    return kind, freeze(sound.astype(np.float32))


def _even(x: np.ndarray) -> np.ndarray:
    return x / (np.sqrt(np.mean(x**2)) + 1e-9)


def _room(x: np.ndarray, random: Random) -> np.ndarray:
    """With the decaying echo of a room."""
    t = np.arange(int(RATE * random.uniform(0.1, 0.6))) / RATE
    echo = random.standard_normal(len(t)) * np.exp(-t * random.uniform(8, 30))
    echo[0] = random.uniform(3, 15)
    return fftconvolve(x, echo)[: len(x)]


# --- noises ------------------------------------------------------------------------------------------------------


def colored(n: int, random: Random, exponent: float) -> np.ndarray:
    """Noise whose power falls with frequency to the power of ``exponent``: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(random.standard_normal(n))
    hertz = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20.0)
    return np.fft.irfft(spectrum * hertz ** (-exponent / 2), n)


def _band(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return sosfilt(butter(2, (low, min(high, 7800.0)), "band", fs=RATE, output="sos"), x)


def _hiss(n: int, random: Random) -> np.ndarray:
    return colored(n, random, random.uniform(-0.3, 2.2))


def _fan(n: int, random: Random) -> np.ndarray:
    """A fan or a computer: blade tone with harmonics, air noise, slow beating."""
    t = np.arange(n) / RATE
    base = random.uniform(45, 240)
    hum = _partials(base * t, 9, 0.1, random)
    beat = 1 + 0.3 * np.sin(2 * np.pi * random.uniform(0.3, 4) * t)
    return _even(hum) * random.uniform(0.1, 1.5) * beat + _even(colored(n, random, random.uniform(0.7, 1.8)))


def _partials(turns: np.ndarray, count: int, least: float, random: Random) -> np.ndarray:
    """Harmonics of a tone, each of a random strength."""
    k = np.arange(1, count)[:, None]
    strength, phase = random.uniform(least, 1, k.shape) / k, random.uniform(0, 7, k.shape)
    return (strength * np.sin(2 * np.pi * k * turns + phase)).sum(axis=0)


def _mains(n: int, random: Random) -> np.ndarray:
    t = np.arange(n) / RATE
    base = random.choice([50.0, 60.0])
    hum = _partials(base * t, 16, 0.0, random)
    return _even(hum) + 0.1 * colored(n, random, 0.0)


def _strokes(n: int, random: Random, gap_s: tuple[float, float], one: Maker) -> np.ndarray:
    """Short sounds one after another over faint noise."""
    out = 0.004 * _even(colored(n, random, 1.0))
    at = int(RATE * random.uniform(0, gap_s[1]))
    while at < n:
        stroke = one(0, random) * random.uniform(0.3, 1)
        end = min(n, at + len(stroke))
        out[at:end] += stroke[: end - at]
        at += int(RATE * random.uniform(*gap_s))
    return out


def _decay(length_s: float, seconds: float) -> np.ndarray:
    return np.exp(-np.arange(int(RATE * length_s)) / (RATE * seconds))


def _key(_: int, random: Random) -> np.ndarray:
    """A key: a click, its resonance in the case, and the click of its return."""
    length = 0.15
    noise = random.standard_normal(int(RATE * length)) * _decay(length, random.uniform(0.002, 0.008))
    tone = np.sin(2 * np.pi * random.uniform(180, 900) * np.arange(len(noise)) / RATE) * _decay(length, 0.012)
    out = _band(noise, random.uniform(300, 1500), random.uniform(3000, 7500)) + random.uniform(0, 0.5) * tone
    back = int(RATE * random.uniform(0.05, 0.11))
    out[back:] += random.uniform(0.1, 0.5) * out[:-back]
    return out


def _click(_: int, random: Random) -> np.ndarray:
    noise = random.standard_normal(int(RATE * 0.04)) * _decay(0.04, random.uniform(0.0005, 0.004))
    return _band(noise, random.uniform(200, 2500), 7500)


def _clap(_: int, random: Random) -> np.ndarray:
    length = 0.2
    noise = random.standard_normal(int(RATE * length)) * _decay(length, random.uniform(0.01, 0.04))
    return _band(noise, random.uniform(500, 1000), random.uniform(2000, 5000))


def _thump(_: int, random: Random) -> np.ndarray:
    """A door, a step, a knock on the table."""
    length, base = 0.3, random.uniform(50, 250)
    t = np.arange(int(RATE * length)) / RATE
    tone = np.sin(2 * np.pi * base * t * (1 - 0.3 * t)) * _decay(length, random.uniform(0.02, 0.07))
    return tone + 0.3 * random.standard_normal(len(t)) * _decay(length, 0.01)


def _breath(_: int, random: Random) -> np.ndarray:
    """Air in or out: noise through a wide, slowly moving resonance."""
    length = random.uniform(0.4, 1.6)
    n = int(RATE * length)
    shape = np.sin(np.pi * np.linspace(0, 1, n) ** random.uniform(0.5, 1.6)) ** 2
    low = random.uniform(250, 1200)
    sound = _band(random.standard_normal(n), low, low * random.uniform(2.5, 6))
    return _even(sound + 0.25 * _band(random.standard_normal(n), 2000, 7000)) * shape


def _rustle(_: int, random: Random) -> np.ndarray:
    """Cloth or paper: noise that crackles."""
    n = int(RATE * random.uniform(0.2, 1.0))
    crackle = np.repeat(random.exponential(1.0, n // 40 + 1) ** 2, 40)[:n]
    shape = np.sin(np.pi * np.linspace(0, 1, n))
    return _even(_band(random.standard_normal(n) * crackle, random.uniform(500, 2500), 7500)) * shape


def _beep(_: int, random: Random) -> np.ndarray:
    """A telephone, a microwave oven, a reversing lorry."""
    n = int(RATE * random.uniform(0.08, 0.6))
    t = np.arange(n) / RATE
    hertz = random.uniform(350, 3000)
    edge = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / 80)
    tone = np.sin(2 * np.pi * hertz * t) + (random.random() < 0.5) * np.sin(2 * np.pi * hertz * 1.26 * t)
    return edge * (np.sign(tone) * 0.5 if random.random() < 0.3 else tone)


def _sweep(n: int, random: Random) -> np.ndarray:
    """A siren, an engine: a rich tone that glides."""
    t = np.arange(n) / RATE
    base = random.uniform(60, 900)
    glide = base * (1 + random.uniform(0.02, 0.5) * np.sin(2 * np.pi * random.uniform(0.1, 1.5) * t))
    phase = 2 * np.pi * np.cumsum(glide) / RATE
    partials = int(random.integers(1, 25))
    k = np.arange(1, partials + 1)[:, None]
    tone = (np.sin(k * phase) / k ** random.uniform(0.6, 1.6)).sum(axis=0)
    return _even(tone) + random.uniform(0, 0.5) * _even(colored(n, random, 1.0))


def _rain(n: int, random: Random) -> np.ndarray:
    drops = (random.random(n) < random.uniform(20, 400) / RATE) * random.exponential(1.0, n)
    ring = random.standard_normal(160) * _decay(0.01, 0.002)
    return _even(fftconvolve(drops, ring)[:n]) + random.uniform(0.1, 1) * _even(colored(n, random, 0.5))


# --- music -------------------------------------------------------------------------------------------------------

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10))


def _hertz(note: float) -> float:
    return 440.0 * 2 ** ((note - 69) / 12)


def plucked(note: float, seconds: float, random: Random) -> np.ndarray:
    """A string of Karplus & Strong (1983): a delay line with a low pass in its loop."""
    n, period = int(RATE * seconds), max(2, round(RATE / _hertz(note)))
    excitation = np.zeros(n)
    first = min(period, n)
    excitation[:first] = random.uniform(-1, 1, first)
    loss = 0.5 * random.uniform(0.988, 0.999)
    feedback = np.zeros(period + 2)
    feedback[0], feedback[period], feedback[period + 1] = 1.0, -loss, -loss
    return lfilter([1.0], feedback, excitation)


def _toned(note: float, seconds: float, random: Random, attack_s: float, brightness: float, decay: bool) -> np.ndarray:
    """Harmonics with an attack, vibrato and, where it decays, less treble with time: bowed, blown or struck."""
    t = np.arange(int(RATE * seconds)) / RATE
    base = _hertz(note)
    depth = 0.0 if decay else random.uniform(0, 0.006)
    phase = 2 * np.pi * base * (t - depth / 5.5 * np.cos(2 * np.pi * 5.5 * t))
    out = np.zeros(len(t))
    for k in range(1, max(2, int(min(24, 7500 / base)))):
        fall = np.exp(-t * k * random.uniform(0.8, 2.5)) if decay else 1.0
        out += k**-brightness * random.uniform(0.3, 1) * fall * np.sin(k * phase + random.uniform(0, 7))
    edge = np.minimum(1, t / attack_s) * np.minimum(1, (t[-1] - t) / 0.03)
    return out * edge


def _instrument(random: Random) -> Callable[[float, float], np.ndarray]:
    kind = random.integers(4)
    if kind == 0:
        return lambda note, seconds: plucked(note, seconds, random)
    attack, brightness = ((0.005, 1.4), (0.08, 1.0), (0.04, 1.8))[int(kind) - 1]
    brightness += random.uniform(-0.3, 0.5)
    return lambda note, seconds: _toned(note, seconds, random, attack, brightness, decay=kind == 1)


def _melody(n: int, random: Random) -> np.ndarray:
    play, scale = _instrument(random), _SCALES[int(random.integers(len(_SCALES)))]
    root, beat = int(random.integers(43, 72)), random.uniform(0.15, 0.5)
    out, at, step = np.zeros(n + RATE * 4), 0, int(random.integers(7))
    while at < n:
        seconds = beat * random.choice([0.5, 1, 1, 2])
        step = int(np.clip(step + random.integers(-3, 4), -4, 12))
        note = root + scale[step % len(scale)] + 12 * (step // len(scale))
        sound = _even(play(note, max(0.12, seconds * random.uniform(0.8, 1.2)))) * random.uniform(0.5, 1)
        out[at : at + len(sound)] += sound
        at += int(RATE * seconds)
    return out[:n]


def _chords(n: int, random: Random) -> np.ndarray:
    play, scale = _instrument(random), _SCALES[int(random.integers(3))]
    root, seconds = int(random.integers(40, 62)), random.uniform(0.4, 2.0)
    out, at = np.zeros(n + RATE * 4), 0
    while at < n:
        degree = int(random.integers(7))
        for third in (0, 2, 4):
            k = degree + third
            sound = _even(play(root + scale[k % len(scale)] + 12 * (k // len(scale)), seconds * 1.1))
            out[at : at + len(sound)] += sound
        at += int(RATE * seconds)
    return out[:n]


def _drums(n: int, random: Random) -> np.ndarray:
    beat = int(RATE * random.uniform(0.1, 0.25))
    pattern = random.random((3, 16)) < np.array([[0.3], [0.2], [0.6]])
    out = np.zeros(n + RATE)
    for i, at in enumerate(range(0, n, beat)):
        for row, stroke in enumerate((_thump, _clap, _click)):
            if pattern[row, i % 16]:
                sound = stroke(0, random) * (1.5, 0.8, 0.4)[row]
                out[at : at + len(sound)] += sound
    return out[:n]


def _band_of(n: int, random: Random) -> np.ndarray:
    voices = [random.uniform(0.4, 1) * _even(make(n, random)) for make in (_melody, _chords, _drums)]
    return np.sum(voices, axis=0)


MAKERS: dict[str, Maker] = {
    "hiss": _hiss,
    "fan": _fan,
    "mains": _mains,
    "keyboard": lambda n, random: _strokes(n, random, (0.06, 0.35), _key),
    "clicks": lambda n, random: _strokes(n, random, (0.1, 1.2), _click),
    "claps": lambda n, random: _strokes(n, random, (0.15, 0.9), _clap),
    "thumps": lambda n, random: _strokes(n, random, (0.2, 1.5), _thump),
    "breath": lambda n, random: _strokes(n, random, (1.2, 2.5), _breath),
    "rustle": lambda n, random: _strokes(n, random, (0.4, 2.0), _rustle),
    "beeps": lambda n, random: _strokes(n, random, (0.3, 1.5), _beep),
    "sweep": _sweep,
    "rain": _rain,
    "melody": _melody,
    "chords": _chords,
    "drums": _drums,
    "band": _band_of,
    "melody2": _melody,
    "band2": _band_of,
}
"""Kinds of sound by name; those of music are there twice because music is the harder case."""
