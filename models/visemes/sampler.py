"""Batches for the viseme network: who speaks, in what room, through what microphone, and when the stream began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avatar.analysis.features import MELS
from avatar.analysis.normalizer import LEVEL_MEMORY_HOPS, Normalizer
from avatar.core.types import F32
from avatar.models.visemes.augment import disturb, drop_bands
from avatar.models.visemes.dataset import COLUMNS, Item, unpack

SHARES: dict[str, float] = {"espeak": 0.2, "kokoro": 0.25, "real": 0.55}
"""How often an utterance of each kind begins a sample, once there is enough of it (:data:`ENOUGH_S`)."""
ENOUGH_S = 1200.0
"""Seconds of speech; a kind of which there is less is drawn less, by the root."""
ONLY_NOISE = 0.05
"""Share of samples in which nobody speaks."""
COLD = 0.45
"""Share of samples at the beginning of a stream, when nothing is known of the speaker."""
SILENCE_DB = -100.0


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of training."""

    features: F32
    """(n, MELS, hops) normalised."""
    visemes: F32
    """(n, 15, hops)."""
    curves: F32
    """(n, 3, hops): jaw, rounding, press."""
    weights: F32
    """(n, 2, hops)."""
    phones: np.ndarray
    """(n, hops) int64, -1 = unknown."""


def kind_of(source: str) -> str:
    """espeak, kokoro or real."""
    return next((kind for kind in ("espeak", "kokoro") if source.startswith(kind)), "real")


def is_noise(item: Item) -> bool:
    return not item.language


def talking(packed: np.ndarray) -> np.ndarray:
    """(..., COLUMNS) to bool (...): somebody speaks."""
    return packed[..., 0] < 128


def gate_of(talk: np.ndarray, delay: np.ndarray) -> F32:
    """When the gate would be open: pauses of up to 100 ms bridged, and late by ``delay`` hops.

    :param talk: (n, hops) bool. :param delay: (n,) hops.
    """
    n, hops = talk.shape
    wide = np.zeros((n, hops + 20), bool)
    for k in range(11):  # dilated by 5 hops either way
        wide[:, 5 + k : 5 + k + hops] |= talk
    out = np.zeros((n, hops), np.float32)
    for k in range(n):
        # Widening begins 5 hops early, so that is what the delay counts from.
        start = 10 - 5 - int(delay[k])
        at = np.arange(hops) + start
        out[k, at >= 0] = wide[k, at[at >= 0]]
    return out


def at_speed(mel: np.ndarray, packed: np.ndarray, speed: float, most: int) -> tuple[F32, np.ndarray]:
    """At most ``most`` hops of an utterance said faster or slower, the voice as it is."""
    count = max(1, min(most, int(len(mel) / speed)))
    if speed == 1.0:
        return mel[:count].astype(np.float32), packed[:count]
    at = np.minimum(np.arange(count) * speed, len(mel) - 1)
    low = at.astype(int)
    part = (at - low).astype(np.float32)[:, None]
    high = np.minimum(low + 1, len(mel) - 1)
    return mel[low] * (1 - part) + mel[high] * part, packed[np.round(at).astype(int)]


def normalise(logmel: F32, speaking: F32, shape: F32, warm: np.ndarray, random: np.random.Generator) -> F32:
    """What the network sees, (n, hops, MELS), with the very class that runs live.

    :param logmel: (n, hops, MELS). :param speaking: (n, hops) 0 or 1. :param shape: (MELS,) to begin with.
    :param warm: (n,) bool: the speaker was heard before the sample begins.
    """
    n, hops, _ = logmel.shape
    norm = Normalizer(shape, (n,))
    for _ in range(2):  # the second time from what the first has found
        if not warm.any():
            break
        for t in range(0, hops, 3):
            norm.step(logmel[:, t], speaking[:, t : t + 1])
    w = warm[:, None]
    heard = np.minimum(norm.level_weight * 3, LEVEL_MEMORY_HOPS)
    level = np.where(w, norm.level + random.normal(0, 0.3, (n, 1)), 0).astype(np.float32)
    spectrum = np.where(w, norm.shape + random.normal(0, 0.2, (n, MELS)), 0).astype(np.float32)
    norm.reset()
    norm.level = np.where(w, level, norm.level)
    norm.shape = np.where(w, spectrum, norm.shape)
    norm.level_weight = np.where(w, heard, norm.level_weight).astype(np.float32)
    norm.shape_weight = np.where(w, heard + 100, norm.shape_weight).astype(np.float32)
    return np.stack([norm.step(logmel[:, t], speaking[:, t : t + 1]) for t in range(hops)], axis=1)


class Sampler:
    """Draws batches from utterances. Deterministic for a seed."""

    def __init__(
        self, items: Sequence[Item], shape: F32, seed: int = 0, hops: int = 400, strength: float = 1.0
    ) -> None:
        self._random = np.random.default_rng(seed)
        self._shape, self._hops, self._strength = shape, hops, strength
        self._speech = [item for item in items if not is_noise(item)]
        self._noise = [item for item in items if is_noise(item)]
        self._weights = sample_weights(self._speech)
        self._by_voice: dict[str, list[int]] = defaultdict(list)
        for k, item in enumerate(self._speech):
            self._by_voice[item.voice].append(k)

    def _silence(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        packed = np.zeros((n, COLUMNS), np.uint8)
        packed[:, [0, -3, -2]] = 255
        packed[:, -1] = 1
        return np.full((n, MELS), -20.0, np.float32), packed

    def _stream(self) -> tuple[F32, np.ndarray]:
        """One voice for the length of a sample: log-mel (hops, MELS) and packed targets, pauses between utterances."""
        random = self._random
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        left = self._hops
        k = int(random.choice(len(self._speech), p=self._weights))
        if random.random() < 0.5:
            parts.append(self._silence(int(random.integers(1, 60))))
            left -= len(parts[0][0])
        while left > 0:
            item = self._speech[k]
            first = int(random.integers(0, max(1, len(item.mel) - left + 40))) if not parts else 0
            speed = float(np.exp(random.uniform(-0.2, 0.2))) if random.random() < 0.6 else 1.0
            mel, packed = at_speed(item.mel[first:], item.packed[first:], speed, left)
            parts.append((mel + np.float32(random.normal(0, 0.5)), packed))
            left -= len(mel)
            if left > 0:
                parts.append(self._silence(min(left, int(random.integers(1, 90)))))
                left -= len(parts[-1][0])
                k = int(random.choice(self._by_voice[item.voice]))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _background(self) -> F32:
        """Power (hops, MELS) of a recorded noise, or of others who speak."""
        random, hops = self._random, self._hops
        out = np.zeros((hops, MELS), np.float32)
        if self._noise and random.random() < 0.65:
            mel = self._noise[int(random.integers(len(self._noise)))].mel
            at = (int(random.integers(len(mel))) + np.arange(hops)) % len(mel)
            return np.exp(mel[at].astype(np.float32))
        for _ in range(int(random.integers(3, 8))):
            mel = self._speech[int(random.integers(len(self._speech)))].mel
            at = (int(random.integers(len(mel))) + np.arange(hops)) % len(mel)
            one = np.exp(mel[at].astype(np.float32))
            out += one / (one.mean() + 1e-12)
        return out

    def batch(self, n: int) -> Batch:
        """``n`` samples."""
        random = self._random
        streams = [self._stream() for _ in range(n)]
        power = np.exp(np.stack([s[0] for s in streams]))
        packed = np.stack([s[1] for s in streams])
        noises = np.stack([self._background() for _ in range(n)])
        alone = random.random(n) < ONLY_NOISE
        for k in np.flatnonzero(alone):
            power[k] = noises[k] * (float(power[k].mean()) / (float(noises[k].mean()) + 1e-12) * 0.1)
            packed[k] = self._silence(self._hops)[1]
        logmel = disturb(power, noises, random, self._strength)
        speaking = gate_of(talking(packed), random.integers(2, 8, n))
        # A gate that opens in noise now and then.
        speaking[alone] = random.random((int(alone.sum()), 1)) < 0.3
        warm = random.random(n) > COLD
        features = drop_bands(normalise(logmel, speaking, self._shape, warm, random), random)
        visemes, curves, weights, phones = unpack(packed)
        turn = (0, 2, 1)
        return Batch(
            np.ascontiguousarray(features.transpose(turn)),
            np.ascontiguousarray(visemes.transpose(turn)),
            np.ascontiguousarray(curves.transpose(turn)),
            np.ascontiguousarray(weights.transpose(turn)),
            phones,
        )


def sample_weights(items: Sequence[Item]) -> np.ndarray:
    """(len(items),) how often each is drawn: shares of the kinds; within a kind, sources by the root of their length,
    so that a small one is heard too; within a source by length. A second that is half trusted counts as half a one."""
    length = np.array([item.packed[:, -3].sum() / 25_500 + 1e-3 for item in items], np.float64)
    sources = np.array([item.source for item in items])
    kinds = np.array([kind_of(s) for s in sources])
    weight = np.zeros(len(items))
    for kind, share in SHARES.items():
        of_kind = kinds == kind
        if not of_kind.any():
            continue
        once = length[of_kind & np.array([item.variant == 0 for item in items])].sum()
        share *= np.sqrt(min(1.0, once / ENOUGH_S))
        names = np.unique(sources[of_kind])
        totals = np.array([length[sources == s].sum() for s in names])
        for name, part in zip(names, np.sqrt(totals) / np.sqrt(totals).sum(), strict=True):
            of_source = sources == name
            weight[of_source] = share * part * length[of_source] / length[of_source].sum()
    return weight / weight.sum()


def mean_shape(items: Sequence[Item], most: int = 400) -> F32:
    """(MELS,): the mean of the normaliser's spectra over voices, where it begins."""
    chosen = [item for item in items if not is_noise(item) and item.variant == 0][:: max(1, len(items) // most)]
    shapes = []
    for item in chosen:
        norm = Normalizer(np.zeros(MELS, np.float32))
        mel = item.mel.astype(np.float32)
        speaking = gate_of(talking(item.packed)[None], np.array([4]))[0]
        for _ in range(2):
            for t in range(0, len(mel), 2):
                norm.step(mel[t], speaking[t : t + 1])
        shapes.append(norm.shape)
    return np.mean(shapes, axis=0).astype(np.float32)
