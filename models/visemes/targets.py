# ruff: noqa: RUF001 - phonetic signs are meant
"""What the viseme network learns to say at each hop of 10 ms, made from phonemes and their times.

Jaw and rounding are blended by dominance (Cohen & Massaro 1993, "Modeling coarticulation in synthetic visual speech"),
so that a learnt curve has its coarticulation in it: tongue sounds hardly move the lips, and rounding comes about 120 ms
early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avatar.analysis.phonemes import PhonemeMark, viseme_track, visemes_of
from avatar.core.facs import VISEME_INDEX, VISEMES
from avatar.core.types import F32

CURVES: dict[str, tuple[float, float, float, float]] = {
    "sil": (0.00, 0.9, 0.00, 0.6),
    "PP": (0.00, 1.0, 0.08, 0.3),
    "FF": (0.12, 0.9, 0.05, 0.35),
    "TH": (0.26, 0.6, 0.00, 0.2),
    "DD": (0.20, 0.55, 0.05, 0.15),
    "kk": (0.32, 0.4, 0.05, 0.12),
    "CH": (0.18, 0.9, 0.62, 1.2),
    "SS": (0.12, 0.9, 0.00, 0.3),
    "nn": (0.25, 0.5, 0.05, 0.15),
    "RR": (0.25, 0.6, 0.50, 0.8),
    "aa": (1.00, 1.2, 0.00, 0.9),
    "E": (0.62, 1.0, 0.00, 0.9),
    "ih": (0.36, 0.9, 0.00, 0.9),
    "oh": (0.74, 1.1, 0.62, 1.3),
    "ou": (0.22, 1.0, 1.00, 1.5),
}
"""Viseme -> jaw (1 = that of a usual "aa"), how much it insists on it, rounding (1 = a full "oo"), how much on that."""
JAW_SIGMA = 3.6
"""Hops: the jaw is slower than the lips."""
ROUND_EARLY, ROUND_LATE = 5.0, 2.0
"""Hops: width of the window over which rounding looks ahead and back."""
EDGE_S = 0.01
"""Within this of the beginning and the end of a closure its times are not sure."""
EDGE_WEIGHT = 0.4

PHONES: tuple[str, ...] = (
    "", "p", "b", "mɱ", "fɸ", "vβʋ", "θ", "ð", "tʈ", "dɖ", "kqc", "ɡgɟɢ", "xχhɦħç", "ɣʁʀʕ", "ʃʂɕ", "ʒʐʑ", "s", "z",
    "nɳ", "ŋɲɴ", "lɫɭʎɬɮ", "ɹɻ", "rɾɽ", "jʝ", "wʍɥ", "iɪɨᵻ", "yʏøœ", "eɛ", "æa", "ɑɐʌɒ", "əɜɘɚɝᵊɤ", "oɔ", "uʊɯʉ",
)  # fmt: skip
"""Finer classes that training tells apart besides the visemes; the first is silence."""
_PHONE = {symbol: k for k, symbols in enumerate(PHONES) for symbol in symbols}

_SHAPE = np.array([CURVES[v] for v in VISEMES], np.float32)
_PP = VISEME_INDEX["PP"]


@dataclass(frozen=True, slots=True)
class Targets:
    """Of one utterance, n hops."""

    visemes: F32
    """(n, 15) shares that sum to 1."""
    curves: F32
    """(n, 3): jaw, rounding, press (1 = the lips touch each other)."""
    phones: np.ndarray
    """(n,) int8: index into :data:`PHONES`, -1 = not known."""
    weight: F32
    """(n, 2): how far visemes and curves, and how far press, are to be trusted."""


def _kernel(early: float, late: float, half: int = 14) -> F32:
    """Window over hops -half .. half; positive = what comes."""
    k = np.arange(-half, half + 1)
    w = np.exp(-0.5 * (k / np.where(k >= 0, early, late)) ** 2)
    return (w / w.sum()).astype(np.float32)


def _blend(track: F32, value: F32, dominance: F32, kernel: F32) -> F32:
    """(n, 15) shares to the dominance-weighted mean of ``value`` around each hop, (n,)."""
    half = len(kernel) // 2
    weight = track @ dominance
    padded = np.pad(np.stack((track @ (dominance * value), weight), axis=1), ((half, half), (0, 0)), mode="edge")
    # Correlation: entry k of the kernel belongs to the hop k - half later.
    top, bottom = (np.convolve(padded[:, c], kernel[::-1], "valid") for c in range(2))
    return np.asarray(top / np.maximum(bottom, 1e-3), np.float32)


def _phone_parts(ipa: str) -> list[int]:
    return [_PHONE[c] for c in ipa if c in _PHONE]


def _span(start_s: float, end_s: float, n: int) -> tuple[int, int]:
    """[first, last) hops whose moment lies in an interval."""
    return max(0, round(start_s * 100)), min(n, round(end_s * 100))


def targets(marks: Sequence[PhonemeMark], trusts: F32, n: int) -> Targets:
    """What to say in each of ``n`` hops.

    :param trusts: (len(marks),) in 0..1; what no mark covers is silence, trusted as its neighbours are.
    """
    track = viseme_track(marks, n / 100)[:n]
    curves = np.zeros((n, 3), np.float32)
    curves[:, 0] = _blend(track, _SHAPE[:, 0], _SHAPE[:, 1], _kernel(JAW_SIGMA, JAW_SIGMA))
    curves[:, 1] = _blend(track, _SHAPE[:, 2], _SHAPE[:, 3], _kernel(ROUND_EARLY, ROUND_LATE))
    curves[:, 2] = track[:, _PP]
    phones = np.zeros(n, np.int8)
    trust = np.full(n, np.nan, np.float32)
    press = np.ones(n, np.float32)
    for mark, sure in zip(marks, trusts, strict=True):
        a, b = _span(mark.start_s, mark.end_s, n)
        trust[a:b] = sure
        parts = _phone_parts(mark.ipa)
        if not parts and visemes_of(mark.ipa) != ["sil"]:
            phones[a:b] = -1
        for k, part in enumerate(parts):
            phones[a + (b - a) * k // len(parts) : a + (b - a) * (k + 1) // len(parts)] = part
        if "PP" in visemes_of(mark.ipa):
            for edge in (mark.start_s, mark.end_s):
                c, d = _span(edge - EDGE_S, edge + EDGE_S, n)
                press[c:d] = EDGE_WEIGHT
    weight = _filled(trust)
    return Targets(track, curves, phones, np.stack((weight, weight * press), axis=1))


def _filled(trust: F32) -> F32:
    """Gaps take the smaller of the trusts at their two ends; all of it 1 where there are no marks."""
    known = np.flatnonzero(~np.isnan(trust))
    if len(known) == 0:
        return np.ones_like(trust)
    at = np.arange(len(trust))
    right = np.minimum(np.searchsorted(known, at), len(known) - 1)
    left = np.maximum(np.searchsorted(known, at, side="right") - 1, 0)
    return np.minimum(trust[known[left]], trust[known[right]])
