"""Is somebody speaking: a neural voice activity detector, and a gate with onset, hangover and an adaptive floor.

The detector is Silero VAD v6 (Silero Team, MIT licence) in ONNX form, run with one thread that never spins.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from avatar.analysis.features import DB_FLOOR
from avatar.core.types import F32
from avatar.network import one_thread_session

VAD_FILE = "silero_vad.onnx"
_CHUNK = 512
_CONTEXT = 64
_STATE = 128


class SileroVad:
    """Streaming speech probability. Looks at 32 ms at a time; the probability stays until the next 32 ms are full."""

    def __init__(self, path: Path) -> None:
        self._session = one_thread_session(path)
        self.reset()

    def reset(self) -> None:
        self._buffer = np.zeros(_CONTEXT, np.float32)
        self._h = np.zeros((1, 1, _STATE), np.float32)
        self._c = np.zeros((1, 1, _STATE), np.float32)
        self.probability = 0.0
        """Of the newest full 32 ms, in [0, 1]."""

    def push(self, samples: F32) -> float:
        """(n,) samples at 16 kHz; returns :attr:`probability`."""
        self._buffer = np.concatenate((self._buffer, samples))
        while len(self._buffer) >= _CONTEXT + _CHUNK:
            window = self._buffer[None, : _CONTEXT + _CHUNK]
            out, self._h, self._c = self._session.run(None, {"input": window, "h": self._h, "c": self._c})
            self.probability = float(out[0])
            self._buffer = self._buffer[_CHUNK:]
        return self.probability


class LevelTracker:
    """Follows the level of the background and of the speaker, in dBFS, so that no threshold depends on the gain."""

    FALL = 0.2
    """Share of the way down to a quieter frame that the background goes in one hop."""
    RISE_DB, RISE_SILENT_DB = 0.02, 0.2
    """Decibels a hop that the background may rise in speech and outside it."""
    PRIOR_HOPS = 30.0
    """The first third of a second of speech sets the speaker's level; from then on it follows slowly."""
    MEMORY_HOPS = 400.0

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.floor = -60.0
        self.speech = -26.0
        self._weight = 3.0
        self._started = False

    def step(self, level: float, speaking: bool) -> None:
        """One hop of ``level`` dBFS; ``speaking``: the detector hears speech in it."""
        if not self._started and level > DB_FLOOR:
            self.floor, self._started = min(-35.0, level), True
        if level < self.floor:
            self.floor += self.FALL * (level - self.floor)
        elif not speaking or level < self.floor + 6:
            self.floor += min(self.RISE_DB if speaking else self.RISE_SILENT_DB, level - self.floor)
        self.floor = max(self.floor, -85.0)
        # Pauses and closures inside speech say nothing about how loud the voice is.
        if speaking and level > max(self.speech - 18, self.floor + 8):
            self._weight = min(self._weight + 1, self.MEMORY_HOPS)
            self.speech += (level - self.speech) / min(self._weight, self.MEMORY_HOPS)
        self.speech = min(max(self.speech, -60.0), -6.0)


class SpeechGate:
    """From the detector's probability and the level to "the mouth may move", one step a hop.

    Opens when the detector is sure, or nearly sure and the level stands out. Closes when the detector has been unsure
    for ``HANGOVER`` hops, and at once when the level has lain near the background for ``QUIET`` hops, which tells the
    end of speech earlier than the detector does.
    """

    ON, NEARLY, OFF = 0.5, 0.3, 0.35
    HANGOVER = 4
    QUIET = 6
    """Longer than most stop closures, so that they do not count as silence."""
    STAND_OUT_DB = 12.0
    NEAR_FLOOR = 0.3
    """Share of the way from the background to the speaker below which a frame is quiet."""

    def __init__(self) -> None:
        self.levels = LevelTracker()
        self.reset()

    def reset(self) -> None:
        self.open = False
        self._unsure = self._quiet = 0
        self.smooth = 0.0
        """The gate as a ramp in [0, 1], 30 ms either way."""

    def step(self, level: float, probability: float) -> bool:
        """``level`` in dBFS, ``probability`` of speech; returns :attr:`open`."""
        self.levels.step(level, probability > self.ON)
        floor, speech = self.levels.floor, self.levels.speech
        quiet = level < min(floor + max(4.0, self.NEAR_FLOOR * (speech - floor)), speech - 18)
        self._quiet = self._quiet + 1 if quiet else 0
        self._unsure = self._unsure + 1 if probability < self.OFF else 0
        if self.open:
            self.open = self._unsure < self.HANGOVER and self._quiet < self.QUIET
        elif not quiet:
            self.open = probability > self.ON or (
                probability > self.NEARLY and level > floor + self.STAND_OUT_DB and level > speech - 12
            )
        step = 1 / 3 if self.open else -1 / 3
        self.smooth = min(1.0, max(0.0, self.smooth + step))
        return self.open


def loudness(level: float, speech: float) -> float:
    """How loud a hop is for this speaker: 0 = 24 dB below the usual level or less, 1 = usual, at most 1.5."""
    return min(1.5, max(0.0, 1 + (level - speech) / 24)) if math.isfinite(level) else 0.0
