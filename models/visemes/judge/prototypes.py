"""The yardstick: visemes by nearest prototypes of cepstra, with a closure detector and the gate for silence.

A plain scheme, as uLipSync has it (mean MFCC per sound, softmax over distances), made fit for strangers and
microphones: levels count relative to the speaker's own, the channel is removed by a running cepstral mean, a little
context is stacked and projected by linear discriminant analysis, and every class has several prototypes.
The engine listens with the network of :mod:`avatar.analysis.visemes`; ``avatar eval visemes`` prints this one beside
it.
Trained by :mod:`avatar.models.visemes.judge.train_prototypes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar.analysis.features import MELS, MFCCS, Hop, Ring, dct_matrix
from avatar.analysis.mouth import SHAPES, LipEstimate
from avatar.analysis.vad import SpeechGate
from avatar.core.facs import INDEX, VISEME_INDEX, VISEMES
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
_MIX = np.concatenate(
    (dct_matrix().T, np.stack([[(a <= i < b) / (b - a) for i in range(MELS)] for a, b in BANDS], axis=1)), axis=1
).astype(np.float32)
"""(MELS, MFCCS + len(BANDS)): cepstra and band means in one product."""
_PP, _SIL = VISEME_INDEX["PP"], VISEME_INDEX["sil"]
_CURVES = np.stack(
    [
        SHAPES[:, INDEX["jawOpen"]] / SHAPES[VISEME_INDEX["aa"], INDEX["jawOpen"]],
        SHAPES[:, INDEX["mouthPucker"]] / SHAPES[VISEME_INDEX["ou"], INDEX["mouthPucker"]],
    ],
    axis=1,
).astype(np.float32)
"""(15, 2): jaw and rounding of each viseme, 1 = those of "aa" and of "ou"."""


class Normalizer:
    """Level and channel out of the log-mel frames, as they come.

    The level of the speaker is subtracted, what is far below it is cut, and the mean cepstrum of the speech heard so
    far (a prior worth a second, a memory of ten) is subtracted.
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
        both = np.maximum(logmel - np.float32(level), np.float32(-_DYNAMIC)) @ _MIX
        cepstrum, bands = both[:MFCCS], both[MFCCS:]
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
            raise ModelFileError(f"{path} is missing: install the package again")
        try:
            with np.load(path) as f:
                if f["projection"].shape[0] != len(OFFSETS) * MFCCS:
                    raise ValueError("made for other features")
                return cls(
                    f["cepstral_mean"], f["projection"], f["offset"], f["centres"], f["labels"], f["prior"],
                    f["closure"], float(f["closure_threshold"]),
                )  # fmt: skip
        except (KeyError, ValueError, OSError) as error:
            raise ModelFileError(f"{path} does not hold viseme prototypes: install the package again") from error


_PAIRS = np.triu_indices(14)


def closure_features(bands: F32, z: F32) -> F32:
    """Input of the closure detector: levels and bent levels of the bands, how much the low band stands out (a closed
    mouth hums), and the discriminants with their products.

    :param bands: (..., len(CLOSURE_OFFSETS), len(BANDS)) relative to the speaker. :param z: (..., 14).
    """
    flat = bands.reshape(*bands.shape[:-2], -1) / 4
    low_high = (bands[..., 0] - bands[..., 3]) / 4
    low_mid = (bands[..., 0] - bands[..., 1]) / 4
    products = z[..., _PAIRS[0]] * z[..., _PAIRS[1]] / 20
    linear = (flat, flat * np.abs(flat), low_high * np.abs(low_high), low_mid * np.abs(low_mid))
    return np.concatenate((*linear, z / 3, products), axis=-1)


class PrototypeEstimator:
    """Streaming viseme probabilities, one hop of 10 ms at a time, behind the same contract as the network's estimator.

    A result belongs to the hop :attr:`ahead` steps ago. Jaw and rounding are those of the visemes' usual shapes.
    """

    ahead = AHEAD
    TEMPERATURE = 1.6
    """Softens the softmax over half squared distances: neighbouring features are far from independent."""
    SMOOTH = 0.75

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
        self._cepstra = Ring(self._n, MFCCS)
        self._bands = Ring(self._n, len(BANDS), -_DYNAMIC)
        self._smooth = np.zeros(len(VISEMES), np.float32)
        self._smooth[_SIL] = 1
        self._closure_before = 0.0
        self.closure = 0.0
        """Probability of a lip closure in the hop last judged."""

    def step(self, hop: Hop, gate: SpeechGate) -> LipEstimate:
        """The lips of the hop ``ahead`` ago; ``gate`` has been stepped with ``hop``."""
        cepstrum, bands = self._norm.step(hop.logmel, gate.levels.speech, gate.open)
        cepstra, levels = self._cepstra.push(cepstrum), self._bands.push(bands)
        p = self._p
        z = cepstra[self._rows].reshape(-1) @ p.projection - p.offset
        score = (p.centres @ z - self._half_norm) / self.TEMPERATURE
        score = np.exp(score - score.max())
        probabilities = (score @ self._class_of) / score.sum()
        # An opening gate is seen early, thanks to the look-ahead; a closing one shuts the mouth at once.
        gate_now = gate.smooth
        x = float(closure_features(levels[self._closure_rows], z) @ p.closure[:-1] + p.closure[-1])
        # The mean of two hops: a burst or a flap of the tongue is shorter than any closure of the lips.
        now = 1 / (1 + math.exp(-min(30.0, max(-30.0, x))))
        self.closure, self._closure_before = 0.5 * gate_now * (now + self._closure_before), now
        self._smooth += self.SMOOTH * (probabilities - self._smooth)
        out = self._smooth * gate_now
        out[_SIL] += 1 - gate_now
        visemes = self._with_closure(out)
        jaw, rounding = (visemes @ _CURVES).tolist()
        return LipEstimate(visemes, jaw, rounding, float(visemes[_PP]))

    def _with_closure(self, out: F32) -> F32:
        """The detector decides about p, b, m, as it sees more than the prototypes; the rest is shared as before."""
        low, high = self._p.closure_threshold - 0.1, self._p.closure_threshold + 0.04
        sure = 0.2 + 0.75 * min(1.0, (self.closure - low) / (high - low))
        if self.closure <= low:
            sure = min(0.2, float(out[_PP]))
        rest = 1 - float(out[_PP])
        out *= (1 - sure) / max(1e-6, rest)
        out[_PP] = sure if rest > 1e-6 else 1.0
        return out
