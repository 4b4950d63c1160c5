"""Gain and channel out of log-mel frames, causally: what the viseme network sees, live and in training alike."""

from __future__ import annotations

import numpy as np

from avatar.analysis.features import MELS
from avatar.core.types import F32

LEVEL_PRIOR = -4.0
"""Natural logarithm of the mean mel power of usual speech in its louder frames, at an RMS of -26 dBFS."""
LEVEL_PRIOR_HOPS, LEVEL_MEMORY_HOPS = 3.0, 400.0
"""The first fifth of a second of speech sets the level; from then on it follows slowly."""
LEVEL_BAND = 2.5
"""Frames further below the level (natural logarithm of power; 11 dB) count as if they were this much below it, so that
closures and pauses, which are as deep as the background, do not pull it down."""
SHAPE_PRIOR_HOPS, SHAPE_MEMORY_HOPS = 100.0, 1000.0
LOWEST, HIGHEST = -8.5, 5.0
"""Relative to the level: what is quieter, by 37 dB, is background and says nothing."""
SCALE = 2.0


class Normalizer:
    """A running level of the speaker is taken off, what lies far below it is cut, then the running mean spectrum of the
    louder frames, which is the microphone's tone and the speaker's.

    Several streams may be stepped at once: every array may have any number of leading axes, ``batch``.

    :param shape: (MELS,) the mean spectrum to begin with.
    """

    def __init__(self, shape: F32, batch: tuple[int, ...] = ()) -> None:
        self._prior, self._batch = shape, batch
        self.reset()

    def reset(self) -> None:
        self.level = np.full((*self._batch, 1), LEVEL_PRIOR, np.float32)
        self.shape = np.broadcast_to(self._prior, (*self._batch, MELS)).astype(np.float32)
        self.level_weight = np.full((*self._batch, 1), LEVEL_PRIOR_HOPS, np.float32)
        self.shape_weight = np.full((*self._batch, 1), SHAPE_PRIOR_HOPS, np.float32)

    def step(self, logmel: F32, speaking: np.ndarray | np.floating) -> F32:
        """One hop.

        :param logmel: (*batch, MELS) as of :func:`avatar.analysis.features.log_mel`.
        :param speaking: (*batch, 1) 0 or 1: the gate is open. Only then the running means move.
        """
        loudness = np.log(np.exp(logmel).mean(axis=-1, keepdims=True))
        self.level_weight = np.minimum(self.level_weight + speaking, LEVEL_MEMORY_HOPS)
        above = np.maximum(loudness - self.level, -LEVEL_BAND)
        self.level = self.level + speaking * above / self.level_weight
        relative = np.clip(logmel - self.level, LOWEST, HIGHEST)
        loud = speaking * (above > -LEVEL_BAND)
        self.shape_weight = np.minimum(self.shape_weight + loud, SHAPE_MEMORY_HOPS)
        self.shape = self.shape + loud * (relative - self.shape) / self.shape_weight
        return np.asarray((relative - self.shape) / SCALE, np.float32)
