"""Sound through the live estimator: what it said, every 100 ms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatar.analysis.emotion import EmotionEstimator, EmotionReading
from avatar.analysis.features import HOP, RATE, FrameStream
from avatar.analysis.prosody import yin
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate
from avatar.core.types import F32


class Listener:
    """The parts of :class:`avatar.analysis.voice.VoiceAnalyzer` that an estimator needs.

    :param weights: folder of the shipped weights, for the voice activity detector.
    """

    def __init__(self, weights: Path, estimator: EmotionEstimator) -> None:
        self.estimator = estimator
        self._vad = SileroVad(weights / VAD_FILE)
        self._gate = SpeechGate()
        self._frames = FrameStream()

    def hear(self, samples: F32) -> list[tuple[float, EmotionReading]]:
        """(n,) at 16 kHz to (second of its end, reading) of all that they complete; go on with more samples at will."""
        out = []
        for first in range(0, len(samples), RATE // 2):
            hops = self._frames.push(samples[first : first + RATE // 2])
            if not hops:
                continue
            pitches = yin(np.stack([hop.past for hop in hops]))
            for hop, (f0, confidence) in zip(hops, pitches, strict=True):
                self._gate.step(hop.level, self._vad.push(hop.new))
                reading = self.estimator.step(hop, f0, confidence, self._gate)
                if reading is not None:
                    out.append(((hop.index + 1) * HOP / RATE, reading))
        return out
