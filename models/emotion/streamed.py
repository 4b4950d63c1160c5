"""Recordings joined into streams: how long a change takes to be heard, and how steady neutral speech stays neutral."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.emotion import CLASSES, EmotionEstimator
from avatar.analysis.features import RATE
from avatar.core.types import F32
from avatar.models.emotion.clips import Clips, sound
from avatar.models.emotion.stream import Listener

LEAD_CLIPS = 4
"""Neutral recordings before the change, so that the speaker is known a little."""
AFTER_S = 4.0
"""Seconds after the change in which it may be heard."""
NEUTRAL_S = 120.0
"""Of each speaker's neutral recordings, at most."""
_AUDIBLE = 0.01


@dataclass(slots=True)
class Heard:
    """What streams showed."""

    latencies: list[float] = field(default_factory=list)
    """Seconds from the change to the first reading that holds the right class; infinite where none did."""
    neutral: int = 0
    readings: int = 0
    flips: int = 0

    def summary(self) -> dict[str, Any]:
        """Keys of the result."""
        reached = np.isfinite(self.latencies) if self.latencies else np.zeros(0, bool)
        median = float(np.median(self.latencies)) if self.latencies else float("inf")
        minutes = self.readings / 600
        return {
            "latency_s": round(median, 2) if np.isfinite(median) else None,
            "latency_reached": round(float(reached.mean()), 3) if len(reached) else None,
            "latency_trials": len(self.latencies),
            "neutral_s": round(self.readings / 10, 1),
            "neutral_share": round(self.neutral / self.readings, 3) if self.readings else None,
            "flips_per_minute": round(self.flips / minutes, 2) if self.readings else None,
        }


def streamed(
    heard: Heard, clips: Clips, speaker: str, some: np.ndarray, file: Path, weights: Path, most: int, seed: int
) -> None:
    """Add what the streams of one speaker show.

    :param some: (n,) bool, the clips that may be heard: the speaker's. :param file: weights of the encoder.
    :param weights: folder of the shipped weights. :param most: changes of all speakers together, at most.
    """
    random = np.random.default_rng(seed)
    labels = clips.labels
    mine = some & (clips.speakers == speaker)
    neutral = np.flatnonzero(mine & (labels == CLASSES.index("neutral")))
    if not len(neutral):
        return
    _steady(heard, Listener(weights, EmotionEstimator(file)), [sound(clips.clips[i].file) for i in neutral])
    for label, name in enumerate(CLASSES):
        others = random.permutation(np.flatnonzero(mine & (labels == label)))
        if name in ("neutral", "boredom") or not len(others) or len(heard.latencies) >= most:
            continue
        lead = [spoken(sound(clips.clips[i].file)) for i in random.permutation(neutral)[:LEAD_CLIPS]]
        after = [spoken(sound(clips.clips[i].file)) for i in others[:2]]
        heard.latencies.append(change(Listener(weights, EmotionEstimator(file)), lead, after, name))


def _steady(heard: Heard, listener: Listener, sounds: list[F32]) -> None:
    """Neutral recordings one after the other, a quarter of a second between them."""
    pause = np.zeros(RATE // 4, np.float32)
    samples = np.concatenate([part for one in sounds for part in (one, pause)])[: int(NEUTRAL_S * RATE)]
    labels = [reading.label for _, reading in listener.hear(samples)]
    heard.readings += len(labels)
    heard.neutral += sum(label == "neutral" for label in labels)
    heard.flips += sum(a != b for a, b in pairwise(labels))


def change(listener: Listener, lead: list[F32], after: list[F32], name: str) -> float:
    """Seconds from the end of ``lead`` until ``name`` is held, infinite where that takes longer than AFTER_S."""
    start = np.concatenate(lead)
    listener.hear(start)
    onset = len(start) / RATE
    for t, reading in listener.hear(np.concatenate(after)[: int(AFTER_S * RATE)]):
        if reading.label == name and t > onset:
            return t - onset
    return float("inf")


def spoken(samples: F32) -> F32:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > _AUDIBLE * max(1e-6, float(np.abs(samples).max())) * 3)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples
