"""Lip closures in sound: the span of p, b and m is moved to where the sound says that the lips touch.

Every source has its own idea of where a stop begins and ends: synthesizers count the aspiration after the burst,
aligners round to 10 ms. While the lips touch, little passes above 1 kHz; so the dip of that band near the mark is the
closure, in every source alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avatar.analysis.phonemes import PhonemeMark, visemes_of
from avatar.core.types import F32

HOP_S = 0.005
_WINDOW_S = 0.012
_LOW_HZ, _HIGH_HZ = 1000.0, 7000.0
_REACH_BEFORE_S, _REACH_AFTER_S = 0.035, 0.020
"""How far a closure may lie outside its mark."""
_AROUND_S = 0.08
_CLEAR_DB = 8.0
"""A dip that is less deep than this moves nothing."""
_NASAL_DB = 18.0
_RISE = 0.35
"""Share of the dip's depth, in dB, at which the closure ends."""
_SHORTEST_S = 0.02


def band_level(samples: F32, rate: int) -> F32:
    """(n,) dB of the sound between 1 and 7 kHz every 5 ms, the first around moment 0."""
    hop, width = round(HOP_S * rate), round(_WINDOW_S * rate)
    n = len(samples) // hop + 1
    padded = np.pad(samples, (width // 2, width + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop][:n] * np.hanning(width).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    hertz = np.fft.rfftfreq(width, 1 / rate)
    level = power[:, (hertz >= _LOW_HZ) & (hertz <= _HIGH_HZ)].sum(axis=1)
    return (10 * np.log10(level + 1e-6 * float(level.max(initial=1e-6)))).astype(np.float32)


def is_bilabial(ipa: str) -> bool:
    """Whether a phoneme is made by closing the lips and nothing else."""
    return visemes_of(ipa) == ["PP"]


def snap_closures(marks: Sequence[PhonemeMark], samples: F32, rate: int) -> tuple[PhonemeMark, ...]:
    """Marks with the spans of bilabials moved to the dips of the sound; their neighbours give or take the time."""
    level = band_level(samples, rate)
    out = list(marks)
    for i, mark in enumerate(out):
        if not is_bilabial(mark.ipa) or mark.end_s - mark.start_s <= 0:
            continue
        span = _dip(level, mark)
        if span is None:
            continue
        start, end = span
        before = out[i - 1] if i > 0 else None
        after = out[i + 1] if i + 1 < len(out) else None
        # A neighbour that is a bilabial too ("mp") shares the closure: the border between them stays.
        if before is not None and before.end_s >= mark.start_s - 1e-3:
            if is_bilabial(before.ipa):
                start = mark.start_s
            else:
                start = max(start, before.start_s + min(0.01, 0.5 * (before.end_s - before.start_s)))
                out[i - 1] = replace(before, end_s=start)
        if after is not None and after.start_s <= mark.end_s + 1e-3:
            if is_bilabial(after.ipa):
                end = mark.end_s
            else:
                end = min(end, after.end_s - min(0.01, 0.5 * (after.end_s - after.start_s)))
                out[i + 1] = replace(after, start_s=end)
        if end - start >= 0.5 * _SHORTEST_S:
            out[i] = replace(mark, start_s=start, end_s=end)
    return tuple(out)


def _dip(level: F32, mark: PhonemeMark) -> tuple[float, float] | None:
    """(start s, end s) of the dip at a mark, None where there is no clear one."""
    n = len(level)
    first = max(0, round((mark.start_s - _REACH_BEFORE_S) / HOP_S))
    last = min(n, round((mark.end_s + _REACH_AFTER_S) / HOP_S) + 1)
    if last - first < 3:
        return None
    around = level[max(0, first - round(_AROUND_S / HOP_S)) : min(n, last + round(_AROUND_S / HOP_S))]
    if "m" in mark.ipa:
        # Voice goes on through the nose: the silence of a stop beside it must not outdo its own, shallower dip.
        level = np.maximum(level, around.max() - _NASAL_DB)
    middle = first + int(np.argmin(level[first:last]))
    depth = float(around.max() - level[middle])
    if depth < _CLEAR_DB:
        return None
    limit = level[middle] + _RISE * min(depth, 30.0)
    a = b = middle
    while a > first and level[a - 1] < limit:
        a -= 1
    while b + 1 < last and level[b + 1] < limit:
        b += 1
    start, end = max(0.0, (a - 0.5) * HOP_S), (b + 0.5) * HOP_S
    return (start, end) if end - start >= _SHORTEST_S else None
