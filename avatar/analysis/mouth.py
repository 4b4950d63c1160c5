"""From visemes to the mouth: 52 ARKit coefficients with coarticulation.

Coarticulation after Cohen & Massaro (1993, "Modeling coarticulation in synthetic visual speech"): every viseme has a
dominance over the jaw, the lips' opening and the lips' rounding; a shape is the dominance-weighted mean over a window
of time, the jaw's window being wider than the lips'. Tongue sounds hardly dominate the lips, so "t" between two "oo"
stays round. What must touch does touch: after the smoothing a contact track closes jaw and lips for p, b, m and lays
the lower lip to the teeth for f, v, long enough that pictures at 25 or 30 a second show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar.analysis.features import Ring
from avatar.core.facs import ARKIT, INDEX, MOUTH_INDICES, VISEME_INDEX, VISEMES, arkit_vector
from avatar.core.types import F32

HOP_S = 0.01


@dataclass(frozen=True, slots=True)
class LipEstimate:
    """What is known about the mouth in one hop of 10 ms: the contract between recognition and the shape of the lips."""

    visemes: F32
    """(15,) probabilities over :data:`avatar.core.facs.VISEMES`."""
    jaw: float
    """[0, 1]: 1 = the jaw of a usual open "aa". A learnt curve has its coarticulation in it already."""
    rounding: float
    """[0, 1]: 1 = the lips of a full "oo"."""
    press: float
    """Probability that the lips touch each other in this hop."""


_SHAPES = {
    "sil": {},
    "PP": {"mouthPress": 0.32, "mouthRollLower": 0.12, "mouthRollUpper": 0.10},
    "FF": {"jawOpen": 0.07, "mouthRollLower": 0.38, "mouthUpperUp": 0.34, "mouthFunnel": 0.05},
    "TH": {"jawOpen": 0.13, "mouthLowerDown": 0.14, "mouthUpperUp": 0.08, "tongueOut": 0.08},
    "DD": {"jawOpen": 0.10, "mouthLowerDown": 0.16, "mouthUpperUp": 0.07, "mouthStretch": 0.04},
    "kk": {"jawOpen": 0.15, "mouthLowerDown": 0.15, "mouthUpperUp": 0.06},
    "CH": {"jawOpen": 0.09, "mouthFunnel": 0.42, "mouthPucker": 0.25, "mouthLowerDown": 0.12, "mouthUpperUp": 0.10},
    "SS": {"jawOpen": 0.06, "mouthStretch": 0.18, "mouthLowerDown": 0.34, "mouthUpperUp": 0.18, "mouthSmile": 0.06},
    "nn": {"jawOpen": 0.12, "mouthLowerDown": 0.16, "mouthUpperUp": 0.06},
    "RR": {"jawOpen": 0.12, "mouthPucker": 0.32, "mouthFunnel": 0.18, "mouthLowerDown": 0.08},
    "aa": {"jawOpen": 0.46, "mouthLowerDown": 0.22, "mouthUpperUp": 0.12, "mouthStretch": 0.05},
    "E": {"jawOpen": 0.29, "mouthLowerDown": 0.23, "mouthUpperUp": 0.10, "mouthStretch": 0.12, "mouthSmile": 0.06},
    "ih": {"jawOpen": 0.17, "mouthLowerDown": 0.20, "mouthUpperUp": 0.08, "mouthStretch": 0.22, "mouthSmile": 0.10},
    "oh": {"jawOpen": 0.34, "mouthFunnel": 0.40, "mouthPucker": 0.20, "mouthLowerDown": 0.08},
    "ou": {"jawOpen": 0.10, "mouthPucker": 0.70, "mouthFunnel": 0.18},
}
SHAPES: F32 = np.stack([arkit_vector(_SHAPES[v]) for v in VISEMES])
"""(15, 52): each viseme alone, at a speaker's usual loudness."""

_JAW, _OPENING, _ROUNDING = 0, 1, 2
#                 jaw  opening rounding
_DOMINANCE = {
    "sil": (0.8, 0.9, 0.8),
    "PP": (0.9, 1.0, 0.30),
    "FF": (0.9, 1.0, 0.35),
    "TH": (0.6, 0.45, 0.20),
    "DD": (0.55, 0.40, 0.15),
    "kk": (0.40, 0.35, 0.12),
    "CH": (0.9, 0.8, 1.2),
    "SS": (0.9, 0.6, 0.30),
    "nn": (0.50, 0.40, 0.15),
    "RR": (0.6, 0.7, 0.8),
    "aa": (1.2, 1.0, 0.9),
    "E": (1.0, 1.0, 0.9),
    "ih": (0.9, 1.0, 0.9),
    "oh": (1.1, 1.0, 1.3),
    "ou": (1.0, 1.0, 1.5),
}


def _group(name: str) -> int:
    if name.startswith("jaw"):
        return _JAW
    return _ROUNDING if name in ("mouthPucker", "mouthFunnel") else _OPENING


_COLUMNS = MOUTH_INDICES
_GROUP_OF = np.array([_group(ARKIT[i]) for i in _COLUMNS])
_WEIGHT: F32 = np.array([_DOMINANCE[v] for v in VISEMES], np.float32)  # (15, 3)
_TARGET: F32 = (SHAPES[:, _COLUMNS] * _WEIGHT[:, _GROUP_OF]).astype(np.float32)  # (15, columns)

# What grows with the voice: a shout opens, a murmur hardly does. Rounding and contact do not depend on it.
_LOUD = np.array([ARKIT[i].startswith(("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthStretch")) for i in _COLUMNS])

_MURMUR, _SHOUT = 0.35, 1.25

_SIL, _PP, _FF = VISEME_INDEX["sil"], VISEME_INDEX["PP"], VISEME_INDEX["FF"]
JAW_OPEN = INDEX["jawOpen"]

# Contact works on these entries of the result.
_OPEN_ENTRIES = np.array([i for i in MOUTH_INDICES if ARKIT[i].startswith(("mouthLowerDown", "mouthUpperUp"))])
_LOWER_ENTRIES = np.array([i for i in MOUTH_INDICES if ARKIT[i].startswith("mouthLowerDown")])
_PP_SHAPE = SHAPES[_PP]
_FF_ENTRIES = np.array([i for i in np.flatnonzero(SHAPES[_FF]) if i != JAW_OPEN])
_FF_SHAPE, _FF_JAW = SHAPES[_FF][_FF_ENTRIES], float(SHAPES[_FF][JAW_OPEN])

_LIP_RAMP = np.array([0.33, 0.67, 1, 1, 1, 0.67, 0.33], np.float32)
_JAW_RAMP = np.array([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 0.8, 0.6, 0.4, 0.2], np.float32)
"""A contact recognised at one hop is held for 30 ms, with ramps. Centred; live, the future is cut at the look-ahead."""

JAW_SIGMA, LIP_SIGMA = 3.6, 2.0
"""Hops."""


def _kernel(sigma: float, past: int, ahead: int) -> F32:
    """Gaussian over hops -past .. ahead, sum 1."""
    k = np.exp(-0.5 * (np.arange(-past, ahead + 1) / sigma) ** 2)
    return (k / k.sum()).astype(np.float32)


def loudness_scale(loud: F32) -> F32:
    """Opening relative to the usual one, for loudness as in :func:`avatar.analysis.vad.loudness`."""
    return np.clip(_MURMUR + (1 - _MURMUR) * loud, _MURMUR, _SHOUT)


def contact_strength(probability: F32) -> F32:
    """How surely a viseme that needs contact is meant: 0 below .3, 1 from .6 on."""
    return np.clip((probability - 0.3) / 0.3, 0, 1)


def _apply_contact(mouth: F32, lips: F32, jaw: F32) -> None:
    """Force contact in place.

    :param mouth: (n, 52).
    :param lips: (n, 2): strength of lip-lip and of lip-teeth contact.
    :param jaw: (n, 2): the same with a wider ramp, because the jaw is slower than the lips.
    """
    b, f = lips[:, :1], lips[:, 1:] * (1 - lips[:, :1])
    opening = mouth[:, JAW_OPEN] * (1 - jaw[:, 0])
    mouth[:, JAW_OPEN] = opening - jaw[:, 1] * np.maximum(0, opening - _FF_JAW)
    mouth[:, _OPEN_ENTRIES] *= 1 - b
    mouth[:, _LOWER_ENTRIES] *= 1 - f
    mouth[:] = np.maximum(mouth, b * _PP_SHAPE)
    mouth[:, _FF_ENTRIES] = np.maximum(mouth[:, _FF_ENTRIES], f * _FF_SHAPE)


class MouthShaper:
    """Viseme probabilities and loudness to mouth coefficients, one hop of 10 ms at a time.

    :param ahead: hops of look-ahead; a result belongs to the hop ``ahead`` steps ago.
    """

    PAST = 9
    ROUND_PAST = 4
    """Rounding comes early and goes early: its window leans towards what comes."""

    def __init__(self, ahead: int = 2) -> None:
        self.ahead = ahead
        n = self.PAST + 1 + ahead
        kernels = np.zeros((3, n), np.float32)
        kernels[_JAW] = _kernel(JAW_SIGMA, self.PAST, ahead)
        kernels[_OPENING] = _kernel(LIP_SIGMA, self.PAST, ahead)
        kernels[_ROUNDING, self.PAST - self.ROUND_PAST :] = _kernel(3.0, self.ROUND_PAST, ahead)
        self._kernels = kernels
        self._column_kernels = np.ascontiguousarray(kernels[_GROUP_OF].T)  # (n, columns)
        self._weight_kernels = np.ascontiguousarray(kernels.T)
        self._n = n
        # Row k of the contact ring is a hop len(ramp) // 2 - k before the one that is shaped.
        rows = len(_JAW_RAMP) // 2 + 1 + ahead
        self._jaw_ramp = _JAW_RAMP[::-1][:rows, None]
        self._lip_ramp = np.pad(_LIP_RAMP, (len(_JAW_RAMP) - len(_LIP_RAMP)) // 2)[:rows, None]
        self.reset()

    def reset(self) -> None:
        self._targets = Ring(self._n, len(_COLUMNS))
        self._weights = Ring(self._n, 3)
        for _ in range(self._n):
            self._weights.push(_WEIGHT[_SIL])
        self._contact = Ring(len(_JAW_RAMP) // 2 + 1 + self.ahead, 2)

    def step(self, visemes: F32, loud: float) -> F32:
        """``visemes`` (15,) probabilities and loudness (1 = usual) of a hop; returns (52,) of the hop ``ahead`` ago."""
        row = visemes @ _TARGET
        row[_LOUD] *= min(_SHOUT, max(_MURMUR, _MURMUR + (1 - _MURMUR) * loud))
        numerator = np.einsum("ij,ij->j", self._targets.push(row), self._column_kernels)
        denominator = np.einsum("ij,ij->j", self._weights.push(visemes @ _WEIGHT), self._weight_kernels)
        out = np.zeros(len(ARKIT), np.float32)
        out[_COLUMNS] = numerator / denominator[_GROUP_OF]
        contact = self._contact.push(contact_strength(visemes[[_PP, _FF]]))
        if contact.any():
            jaw = (contact * self._jaw_ramp).max(axis=0, keepdims=True)
            lips = (contact * self._lip_ramp).max(axis=0, keepdims=True)
            _apply_contact(out[None], lips, jaw)
        return out


def shape_track(visemes: F32, loud: F32) -> F32:
    """The same for a whole utterance whose visemes are known: ``visemes`` (n, 15) and ``loud`` (n,) at 100 hops a
    second to (n, 52). Sees the future, so lips round 120 ms before a rounded sound.
    """
    n = len(visemes)
    if n == 0:
        return np.zeros((0, len(ARKIT)), np.float32)
    targets = visemes @ _TARGET
    targets[:, _LOUD] *= loudness_scale(loud)[:, None]
    weights = visemes @ _WEIGHT
    kernels = {
        _JAW: _kernel(JAW_SIGMA, 12, 12),
        _OPENING: _kernel(LIP_SIGMA, 12, 12),
        _ROUNDING: _anticipation(),
    }
    out = np.zeros((n, len(ARKIT)), np.float32)
    for group, kernel in kernels.items():
        numerator = _correlate(targets[:, group == _GROUP_OF], kernel)
        denominator = _correlate(weights[:, group : group + 1], kernel)
        out[:, _COLUMNS[group == _GROUP_OF]] = numerator / np.maximum(denominator, 1e-3)
    contact = contact_strength(visemes[:, [_PP, _FF]])
    # Known contacts are as long as they are; only those shorter than 50 ms are widened to it.
    wide = np.where(_runs(contact) < 5, _spread(contact, np.ones(5, np.float32)), contact)
    lips, jaw = _spread(wide, np.array([0.33, 0.67, 1, 0.67, 0.33])), _spread(wide, _JAW_RAMP[np.r_[0:5, 7:11]])
    _apply_contact(out, lips, jaw)
    return out


def _spread(x: F32, ramp: np.ndarray) -> F32:
    """(n, c): the largest of the neighbours' values times ``ramp``, centred."""
    half = len(ramp) // 2
    padded = np.pad(x, ((half, half), (0, 0)))
    return np.max([padded[k : k + len(x)] * np.float32(r) for k, r in enumerate(ramp)], axis=0)


def _anticipation() -> F32:
    """Window of the lips' rounding over hops -12 .. 12: from 120 ms ahead of a rounded sound, little after it."""
    k = np.arange(-12, 13)
    w = np.where(k >= 0, np.exp(-0.5 * (k / 5.0) ** 2), np.exp(-0.5 * (k / 2.0) ** 2))
    return (w / w.sum()).astype(np.float32)


def _correlate(x: F32, kernel: F32) -> F32:
    """(n, c) weighted by ``kernel`` centred on each row, edges repeated."""
    half = len(kernel) // 2
    padded = np.pad(x, ((half, half), (0, 0)), mode="edge")
    return np.einsum("nck,k->nc", np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0), kernel)


def _runs(contact: F32) -> F32:
    """(n, c): for each entry near a run of contact the length of that run, else 0."""
    out = np.zeros_like(contact)
    for c in range(contact.shape[1]):
        on = np.flatnonzero(np.diff(np.concatenate(([0], (contact[:, c] > 0.5).astype(np.int8), [0]))))
        for a, b in zip(on[::2], on[1::2], strict=True):
            out[max(0, a - 2) : b + 2, c] = b - a
    return out
