"""Lips from sound: a small causal network that runs hop by hop, and the gate that keeps the mouth shut in silence.

The network (``models/visemes``, a temporal convolutional network after Bai, Kolter & Koltun 2018) sees normalised
log-mel frames, two at a time, and has a head for each of several look-aheads. Its file says which, and how sure of a
closure it has to be.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from avatar.analysis.features import HALF, HOP, MELS, RATE, Hop, Ring
from avatar.analysis.mouth import LIVE_MS, LipEstimate
from avatar.analysis.normalizer import Normalizer
from avatar.analysis.vad import SpeechGate
from avatar.core.facs import VISEME_INDEX, VISEMES
from avatar.core.types import F32
from avatar.errors import ModelFileError
from avatar.network import one_thread_session

WEIGHTS_FILE = "visemes.onnx"
FORMAT = 1
"""Of the file's metadata; ``models/visemes/export.py`` writes it."""
FRAME_MS = 1000 * HALF / RATE
"""A frame is complete this much after the moment it describes."""
GATE_LATE = 5
"""Hops after which the gate knows of a beginning or an end."""

_JAW, _ROUNDING, _PRESS = len(VISEMES), len(VISEMES) + 1, len(VISEMES) + 2
_SIL = VISEME_INDEX["sil"]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-min(30.0, max(-30.0, x))))


class VisemeEstimator:
    """Streaming visemes, jaw, rounding and lip contact, one hop of 10 ms at a time.

    A result belongs to the hop :attr:`ahead` steps ago.

    :param weights: the ONNX file.
    :param look_ahead_ms: at most this much of the future is used, as far as the network has a head for it; the least is
        half a frame, 12.5 ms. Raises ModelFileError where the file is missing or not such a network.
    """

    def __init__(self, weights: Path, look_ahead_ms: int = LIVE_MS) -> None:
        self._session = one_thread_session(weights)
        try:
            about = {k: json.loads(v) for k, v in self._session.get_modelmeta().custom_metadata_map.items()}
            if about["format"] != FORMAT:
                raise ValueError("another format")
            self.heads = [int(k) for k in about["heads"]]
            """Look-aheads that the network has, in hops."""
            allowed = [k for k in self.heads if k * 1000 * HOP / RATE + FRAME_MS <= look_ahead_ms]
            self.ahead: int = max(allowed, default=min(self.heads))
            """Hops of look-ahead."""
            self._head = self.heads.index(self.ahead)
            self._state_size = int(about["state"])
            self._press_bias = float(about["press_bias"][str(self.ahead)])
            shape = np.array(about["shape"], np.float32)
            if shape.shape != (MELS,):
                raise ValueError("other features")
        except (KeyError, ValueError, TypeError) as error:
            raise ModelFileError(
                f"{weights} is not a viseme network of this version: install the package again"
            ) from error
        self._norm = Normalizer(shape)
        self.reset()

    def reset(self) -> None:
        """Forget the sound and the speaker."""
        self._norm.reset()
        self._state = np.zeros((1, self._state_size), np.float32)
        self._pair = np.zeros((1, MELS, 2), np.float32)
        self._second = 0
        """Which hop of a pair comes next."""
        self._due = np.full((2, _PRESS + 1), -8.0, np.float32)
        self._due[:, _SIL] = 8.0
        self._gates = Ring(max(1, self.ahead - GATE_LATE + 1), 1)

    def step(self, hop: Hop, gate: SpeechGate) -> LipEstimate:
        """The lips of the hop ``ahead`` ago; ``gate`` has been stepped with ``hop``."""
        features = self._norm.step(hop.logmel, np.float32(gate.open))
        # Once the second hop of a pair is there, what is due now and what is due at the next hop come out together.
        self._pair[0, :, self._second] = features
        if self._second:
            feed = {"features": self._pair, "state": self._state}
            logits, self._state = self._session.run(None, feed)
            self._due = logits[0, self._head, :, :, 0]
        out: F32 = self._due[1 - self._second]
        self._second = 1 - self._second
        visemes = np.exp(out[:_JAW] - out[:_JAW].max())
        visemes /= visemes.sum()
        jaw, rounding = _sigmoid(float(out[_JAW])), _sigmoid(float(out[_ROUNDING]))
        press = _sigmoid(float(out[_PRESS]) + self._press_bias)
        # An opening gate is seen early, thanks to the look-ahead. What shuts it is known GATE_LATE hops late, so
        # a longer look-ahead must not use it earlier, or the mouth would shut before the voice ends.
        opened = float(self._gates.push((gate.smooth,)).max())
        visemes *= opened
        visemes[_SIL] += 1 - opened
        return LipEstimate(visemes, jaw * opened, rounding * opened, press * opened)
