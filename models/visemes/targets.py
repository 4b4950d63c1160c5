# ruff: noqa: RUF001 - phonetic signs are meant
"""What the viseme network learns to say at each hop of 10 ms, made from phonemes and their times.

Jaw and rounding are the mouth's own curves (:func:`avatar.analysis.mouth.curves`), so that what is learnt has its
coarticulation in it: tongue sounds hardly move the lips, and rounding comes about 120 ms early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avatar.analysis import mouth
from avatar.analysis.phonemes import PhonemeMark, viseme_track, visemes_of
from avatar.core.facs import VISEME_INDEX
from avatar.core.types import F32

EDGE_S = 0.01
"""Within this of the beginning and the end of a closure its times are not sure."""
EDGE_WEIGHT = 0.4

PHONES: tuple[str, ...] = (
    "", "p", "b", "mɱ", "fɸ", "vβʋ", "θ", "ð", "tʈ", "dɖ", "kqc", "ɡgɟɢ", "xχhɦħç", "ɣʁʀʕ", "ʃʂɕ", "ʒʐʑ", "s", "z",
    "nɳ", "ŋɲɴ", "lɫɭʎɬɮ", "ɹɻ", "rɾɽ", "jʝ", "wʍɥ", "iɪɨᵻ", "yʏøœ", "eɛ", "æa", "ɑɐʌɒ", "əɜɘɚɝᵊɤ", "oɔ", "uʊɯʉ",
)  # fmt: skip
"""Finer classes that training tells apart besides the visemes; the first is silence."""
_PHONE = {symbol: k for k, symbols in enumerate(PHONES) for symbol in symbols}

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
    curves[:, :2] = np.clip(mouth.curves(track), 0, 1)
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
