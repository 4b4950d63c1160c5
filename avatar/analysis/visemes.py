"""Visemes from sound: nearest prototypes of cepstra, a closure detector, a gate for silence and noise.

A plain scheme, as uLipSync has it (mean MFCC per sound, softmax over distances), made fit for strangers and
microphones: levels count relative to the speaker's own, the channel is removed by a running cepstral mean, a little
context is stacked and projected by linear discriminant analysis, and every class has several prototypes (voices differ).
The prototypes are trained on synthetic speech by :mod:`avatar.models.visemes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar.analysis.features import MFCCS, Hop, dct_matrix
from avatar.analysis.vad import SpeechGate
from avatar.core.facs import VISEME_INDEX, VISEMES
from avatar.core.types import F32
from avatar.errors import ModelFileError

WEIGHTS_FILE = "visemes_mfcc.npz"
OFFSETS = (-6, -3, -1, 0, 1, 3)
"""Hops that are stacked around the one that is judged."""
AHEAD = max(OFFSETS)
CLOSURE_OFFSETS = (-5, -4, -3, -2, -1, 0, 1, 2, 3)
BANDS = ((0, 6), (6, 14), (14, 24), (24, 40))
"""Mel bands whose energies the closure detector sees: voicing, first formant, second formant, hiss."""

_NATS_PER_DB = 0.2302585
"""Mel frames are natural logarithms of power."""
_DYNAMIC = 8.0
"""Depth below the speaker's level (natural logarithm of power) at which mel bands are cut: 35 dB."""
_PP, _SIL = VISEME_INDEX["PP"], VISEME_INDEX["sil"]


class Normalizer:
    """Level and channel out of the log-mel frames, as they come.

    The level of the speaker is subtracted, what is far below it is cut, and the mean cepstrum of the speech heard so far
    (a prior worth a second, a memory of ten) is subtracted.
    """

    PRIOR_HOPS, MEMORY_HOPS = 100.0, 1000.0

    def __init__(self, mean: F32 | None = None) -> None:
        self._prior = np.zeros(MFCCS, np.float32) if mean is None else mean
        self.reset()

    def reset(self) -> None:
        self._mean = self._prior.copy()
        self._weight = self.PRIOR_HOPS

    def step(self, logmel: F32, speech_db: float, speaking: bool) -> tuple[F32, F32]:
        """(MELS,) to cepstra (MFCCS,) and the band levels (len(BANDS),), both free of gain and channel."""
        level = speech_db * _NATS_PER_DB
        x = np.maximum(logmel - level, -_DYNAMIC)
        cepstrum = dct_matrix() @ x
        bands = np.array([x[a:b].mean() for a, b in BANDS], np.float32)
        if speaking:
            self._weight = min(self._weight + 1, self.MEMORY_HOPS)
            self._mean += (cepstrum - self._mean) / self._weight
        out = cepstrum - self._mean
        out[0] = cepstrum[0]  # the level is known already; its mean would follow what is being said
        return out, bands


@dataclass(frozen=True)
class Prototypes:
    """What training gives."""

    cepstral_mean: F32
    """(MFCCS,) prior of the running mean."""
    projection: F32
    """(len(OFFSETS) * MFCCS, d) linear discriminants, scaled so that the within-class variance is 1."""
    offset: F32
    """(d,) subtracted after the projection."""
    centres: F32
    """(k, d) prototypes."""
    labels: np.ndarray
    """(k,) index into VISEMES."""
    prior: F32
    """(k,) logarithm of how common each prototype is, tempered."""
    closure: F32
    """Weights of the closure detector: (features,), bias last."""
    closure_threshold: float

    @classmethod
    def load(cls, path: Path) -> Prototypes:
        """Raises ModelFileError where the file is missing or not what it should be."""
        if not path.is_file():
            raise ModelFileError(f"{path} is missing: install the package again, or run avatar train visemes")
        try:
            with np.load(path) as f:
                if f["projection"].shape[0] != len(OFFSETS) * MFCCS:
                    raise ValueError("made for other features")
                return cls(
                    f["cepstral_mean"], f["projection"], f["offset"], f["centres"], f["labels"], f["prior"],
                    f["closure"], float(f["closure_threshold"]),
                )  # fmt: skip
        except (KeyError, ValueError, OSError) as error:
            raise ModelFileError(f"{path} does not hold viseme prototypes: run avatar train visemes") from error


def closure_features(bands: F32) -> F32:
    """Input of the closure detector: ``bands`` (..., len(CLOSURE_OFFSETS), len(BANDS)) levels relative to the speaker to
    (..., f): the levels, bent levels, and how much the low band stands out (a closed mouth hums).
    """
    flat = bands.reshape(*bands.shape[:-2], -1) / 4
    low_high = (bands[..., 0] - bands[..., 3]) / 4
    low_mid = (bands[..., 0] - bands[..., 1]) / 4
    return np.concatenate((flat, flat * np.abs(flat), low_high * np.abs(low_high), low_mid * np.abs(low_mid)), axis=-1)


class VisemeEstimator:
    """Streaming viseme probabilities, one hop of 10 ms at a time. A result belongs to the hop :attr:`ahead` steps ago."""

    ahead = AHEAD
    TEMPERATURE = 2.2
    """Softens the softmax over half squared distances: neighbouring features are far from independent."""
    SMOOTH = 0.55

    def __init__(self, prototypes: Prototypes) -> None:
        self._p = prototypes
        self._norm = Normalizer(prototypes.cepstral_mean)
        self._class_of = np.zeros((len(prototypes.labels), len(VISEMES)), np.float32)
        self._class_of[np.arange(len(prototypes.labels)), prototypes.labels] = 1
        self._half_norm = 0.5 * (prototypes.centres**2).sum(axis=1) - self.TEMPERATURE * prototypes.prior
        self._n = AHEAD - min(OFFSETS) + 1
        self._rows = np.array([o - AHEAD - 1 for o in OFFSETS])
        self._closure_rows = np.array([o - AHEAD - 1 for o in CLOSURE_OFFSETS])
        self.reset()

    def reset(self) -> None:
        self._norm.reset()
        self._cepstra = np.zeros((self._n, MFCCS), np.float32)
        self._cepstra[:, 0] = -40.0
        self._bands = np.full((self._n, len(BANDS)), -_DYNAMIC, np.float32)
        self._open = np.zeros(self._n, np.float32)
        self._smooth = np.zeros(len(VISEMES), np.float32)
        self._smooth[_SIL] = 1
        self.closure = 0.0
        """Probability of a lip closure in the hop last judged."""

    def features(self, hop: Hop, gate: SpeechGate) -> tuple[F32, F32]:
        """Take a hop in; returns the stacked cepstra and the closure detector's input of the hop ``ahead`` ago."""
        cepstrum, bands = self._norm.step(hop.logmel, gate.levels.speech, gate.open)
        for ring, row in ((self._cepstra, cepstrum), (self._bands, bands), (self._open, gate.smooth)):
            ring[:-1] = ring[1:]
            ring[-1] = row
        return self._cepstra[self._rows].reshape(-1), closure_features(self._bands[self._closure_rows])

    def step(self, hop: Hop, gate: SpeechGate) -> F32:
        """Probabilities (15,) over VISEMES of the hop ``ahead`` ago; ``gate`` has been stepped with ``hop``."""
        stacked, closure_input = self.features(hop, gate)
        p = self._p
        z = stacked @ p.projection - p.offset
        score = (p.centres @ z - self._half_norm) / self.TEMPERATURE
        score = np.exp(score - score.max())
        probabilities = (score @ self._class_of) / score.sum()
        # Speech at the hop that is judged, or within the look-ahead: an opening gate is seen early, a closing one late.
        gate_now = max(float(self._open[-1]), float(self._open[-1 - AHEAD])) if gate.open else float(self._open[-1])
        x = float(closure_input @ p.closure[:-1] + p.closure[-1])
        self.closure = gate_now / (1 + np.exp(-min(30.0, max(-30.0, x))))
        self._smooth += self.SMOOTH * (probabilities - self._smooth)
        out = self._smooth * gate_now
        out[_SIL] += 1 - gate_now
        if self.closure > p.closure_threshold:
            # Contact is all or nothing: what is left is shared as before.
            out *= 0.1 / max(1e-6, 1 - float(out[_PP])) if out[_PP] < 0.9 else 1
            out[_PP] = 0
            out[_PP] = 1 - float(out.sum())
        elif out[_PP] > 0.25:
            # The detector sees more than the prototypes do: without it they may lean to a closure, not make one.
            out *= 0.75 / max(1e-6, 1 - float(out[_PP]))
            out[_PP] = 0
            out[_PP] = 1 - float(out.sum())
        return out
