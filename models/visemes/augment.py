"""Voices, rooms, microphones and backgrounds made up on mel frames: cheap enough to be new at every use.

All of it works on power, (batch, hops, MELS), as the features have it before the logarithm.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.signal

from avatar.analysis.features import MELS, POWER_FLOOR
from avatar.core.types import F32

_BANDS = np.arange(MELS, dtype=np.float32)


def warp(power: F32, random: np.random.Generator, most: float = 0.12) -> F32:
    """Longer and shorter vocal tracts: the bands are stretched and moved (Jaitly & Hinton 2013, "Vocal tract length
    perturbation improves speech recognition")."""
    out = np.empty_like(power)
    for k, one in enumerate(power):
        factor, shift = 1 + float(random.uniform(-most, most)), float(random.uniform(-0.8, 0.8))
        at = np.clip(_BANDS * factor + shift, 0, MELS - 1.001)
        low = at.astype(int)
        part = (at - low).astype(np.float32)
        out[k] = one[:, low] * (1 - part) + one[:, low + 1] * part
    return out


def tone(power: F32, random: np.random.Generator) -> F32:
    """A microphone's smooth frequency response, and the gain; some lines carry only part of the band."""
    n = len(power)
    angle = np.pi * np.arange(MELS) / MELS
    curve = sum(random.normal(0, 0.7, (n, 1)) * np.cos(k * angle) for k in range(1, 5))
    curve = curve + random.normal(0, 1.4, (n, 1))
    for k in np.flatnonzero(random.random(n) < 0.12):
        if random.random() < 0.6:
            curve[k, int(random.integers(26, 38)) :] -= 12
        else:
            curve[k, : int(random.integers(2, 7))] -= 8
    return np.asarray(power * np.exp(curve)[:, None, :], np.float32)


def room(power: F32, random: np.random.Generator, share: float = 0.35) -> F32:
    """Reverberation: power that dies away, 20 ms and more later."""
    out = power.copy()
    for k in np.flatnonzero(random.random(len(power)) < share):
        keep = float(np.exp(-1 / random.uniform(2, 12)))
        gain = float(random.uniform(0.02, 0.35)) * (1 - keep)
        out[k] += scipy.signal.lfilter([0.0, gain], [1.0, -keep], power[k], axis=0).astype(np.float32)
    return out


@lru_cache(maxsize=1)
def _scatter() -> F32:
    """(n, MELS) of white noise. A band's power over 25 ms scatters as a gamma variable; wide bands hold more
    independent lines. Drawn once, as drawing takes longer than all the rest."""
    order = np.linspace(1.2, 8, MELS)
    return (np.random.default_rng(0).standard_gamma(order, (20_000, MELS)) / order).astype(np.float32)


def colour(n: int, hops: int, random: np.random.Generator) -> F32:
    """Steady noise of ``n`` random colours: (n, hops, MELS) with a mean power of 1."""
    angle = np.pi * np.arange(MELS) / MELS
    curve = sum(random.normal(0, 1.3 / k, (n, 1)) * np.cos(k * angle) for k in range(1, 4))
    scatter = _scatter()
    at = (random.integers(len(scatter), size=n)[:, None] + np.arange(hops)) % len(scatter)
    noise = np.exp(curve)[:, None, :] * scatter[at]
    return np.asarray(noise / noise.mean(axis=(1, 2), keepdims=True), np.float32)


def add_noise(power: F32, noise: F32, snr_db: F32) -> F32:
    """Noise at so many decibels under the speech's mean power.

    :param noise: (batch, hops, MELS). :param snr_db: (batch,); infinite = none.
    """
    speech = power.mean(axis=(1, 2))
    level = noise.mean(axis=(1, 2)) + 1e-20
    gain = np.where(np.isfinite(snr_db), speech / level * 10 ** (-snr_db / 10), 0.0)
    return np.asarray(power + gain[:, None, None] * noise, np.float32)


def suppress(power: F32, random: np.random.Generator, share: float = 0.08) -> F32:
    """A noise suppressor before us: what is weak becomes nothing."""
    out = power.copy()
    for k in np.flatnonzero(random.random(len(power)) < share):
        out[k][power[k] < float(power[k].mean()) * 10 ** float(random.uniform(-5, -3))] = 0.0
    return out


def drop_bands(features: F32, random: np.random.Generator, share: float = 0.15) -> F32:
    """Some bands unknown (Park et al. 2019, SpecAugment); on normalised features, where 0 is the mean."""
    for k in np.flatnonzero(random.random(len(features)) < share):
        a = int(random.integers(0, MELS - 6))
        features[k, :, a : a + int(random.integers(1, 7))] = 0.0
    return features


def disturb(power: F32, noises: F32, random: np.random.Generator, strength: float = 1.0) -> F32:
    """All of it in the order in which the world does it.

    :param noises: (batch, hops, MELS) recorded or made backgrounds, used for some of the batch; others steady noise.
    :param strength: 0 = only gain and tone.
    """
    n, hops, _ = power.shape
    x = room(warp(power, random, 0.04 + 0.08 * strength), random, 0.3 * strength)
    recorded = np.asarray(random.random(n) < 0.3)
    noise = np.where(recorded[:, None, None], noises, colour(n, hops, random))
    snr = np.where(recorded, random.uniform(5, 32, n), random.uniform(6, 50, n)).astype(np.float32)
    snr[random.random(n) > 0.85 * strength] = np.inf
    x = tone(add_noise(x, noise, snr), random)
    return np.asarray(np.log(suppress(x, random) + POWER_FLOOR), np.float32)
