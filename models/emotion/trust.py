"""Sounds that no emotion should be read from: music, noise, two voices at once, cut-off tops, a telephone's band."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import resample_poly

from avatar.analysis.features import RATE
from avatar.core.types import F32
from avatar.models.data.noises import piece
from avatar.models.emotion.linear import logistic

Random = np.random.Generator
SECONDS = 2.0


def two_voices(sounds: list[F32], speakers: np.ndarray, random: Random) -> F32:
    """Two different speakers at once, about as loud as each other."""
    first = int(random.integers(len(sounds)))
    other = int(random.choice(np.flatnonzero(speakers != speakers[first])))
    n = int(RATE * SECONDS)
    a, b = (np.resize(sounds[i], n) for i in (first, other))
    gain = np.sqrt(np.mean(a**2) / (np.mean(b**2) + 1e-9)) * 10 ** (random.uniform(-4, 4) / 20)
    return _loud(a + gain * b, random)


def cut_off(sounds: list[F32], speakers: np.ndarray, random: Random) -> F32:
    """Far too loud for its microphone."""
    x = sounds[int(random.integers(len(sounds)))]
    top = np.abs(x).max() * 10 ** (-random.uniform(12, 26) / 20)
    return _loud(np.clip(x, -top, top), random, (-6, -0.1))


def telephone(sounds: list[F32], speakers: np.ndarray, random: Random) -> F32:
    """Eight thousand samples a second, there and back."""
    x = sounds[int(random.integers(len(sounds)))]
    return _loud(resample_poly(resample_poly(x, 1, 2), 2, 1)[: len(x)], random)


def noise(sounds: list[F32], speakers: np.ndarray, random: Random) -> F32:
    """Noises and music without voices."""
    return _loud(np.resize(piece(random)[1], int(RATE * SECONDS)), random)


def voice_in_noise(sounds: list[F32], speakers: np.ndarray, random: Random) -> F32:
    """A voice that drowns in music or noise."""
    x = sounds[int(random.integers(len(sounds)))]
    other = np.resize(piece(random)[1], len(x))
    gain = np.sqrt(np.mean(x**2) / (np.mean(other**2) + 1e-9)) * 10 ** (random.uniform(-2, 8) / 20)
    return _loud(x + gain * other, random)


def _loud(x: np.ndarray, random: Random, peak_db: tuple[float, float] = (-24, -1)) -> F32:
    return (x / (np.abs(x).max() + 1e-9) * 10 ** (random.uniform(*peak_db) / 20)).astype(np.float32)


KINDS: dict[str, Callable[[list[F32], np.ndarray, Random], F32]] = {
    "two voices": two_voices,
    "cut off": cut_off,
    "telephone": telephone,
    "noise": noise,
    "voice in noise": voice_in_noise,
}


def fit_trust(good: F32, bad: F32, decay: float = 3e-4) -> tuple[F32, float]:
    """Weights (d,) and bias of the log odds that a window can be judged; both kinds weigh the same.

    :param good: (n, d) and :param bad: (m, d) standardised functionals.
    """
    x = np.concatenate((good, bad))
    wanted = np.zeros((len(x), 2), np.float32)
    wanted[: len(good), 0] = wanted[len(good) :, 1] = 1
    share = np.concatenate((np.full(len(good), 0.5 / len(good)), np.full(len(bad), 0.5 / len(bad))))
    weights, bias = logistic(x, wanted, share, decay, 150)
    return weights[:, 0] - weights[:, 1], float(bias[0] - bias[1])
