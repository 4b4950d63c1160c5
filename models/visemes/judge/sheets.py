# ruff: noqa: RUF001 - phonetic signs are meant
"""Pictures for people who judge lips by eye: the mouth's opening over the spectrogram, and the lips at each closure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import scipy.signal

from avatar.core.types import F32, U8
from avatar.models.visemes.judge.held_out import Clip
from avatar.models.visemes.judge.metrics import closures

if TYPE_CHECKING:
    from avatar.models.visemes.judge.rendered import Seen

_LIPS = (61, 291, 0, 17)
"""Corners and outer edges of the lips in MediaPipe's mesh."""
MOUTH_WIDTH = 160
_PIXELS_A_SECOND = 320
_HEIGHT = 300
_GREEN, _WHITE, _YELLOW, _RED = (90, 220, 90), (255, 255, 255), (60, 220, 255), (80, 80, 255)


def mouth_of(picture: U8, landmarks: F32 | None) -> U8:
    """The mouth's surroundings, cut from a picture (RGB); black where no face was found."""
    if landmarks is None:
        return np.zeros((MOUTH_WIDTH * 3 // 4, MOUTH_WIDTH, 3), np.uint8)
    points = landmarks[list(_LIPS), :2]
    half = 0.8 * float(np.hypot(*(points[1] - points[0])))
    x, y = points.mean(axis=0)
    size = (MOUTH_WIDTH, MOUTH_WIDTH * 3 // 4)
    scale = MOUTH_WIDTH / (2 * half)
    matrix = np.array([[scale, 0, size[0] / 2 - scale * x], [0, scale, size[1] / 2 - scale * y]])
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_AREA), np.uint8)


def plot(clip: Clip, seen: Seen, bound: float, path: Path) -> None:
    """The gap between the lips (yellow, zero = as at rest) over the sound, p, b, m in green, with the bound in red."""
    width = max(200, round(clip.seconds * _PIXELS_A_SECOND))
    f, _, power = scipy.signal.spectrogram(clip.samples, clip.rate, nperseg=round(0.008 * clip.rate) * 2)
    level = 10 * np.log10(power[f < 7000][::-1] + 1e-10)
    grey = np.clip((level - level.max() + 70) / 70 * 200, 0, 200).astype(np.uint8)
    picture = cv2.cvtColor(cv2.resize(grey, (width, _HEIGHT)), cv2.COLOR_GRAY2BGR)
    for a, b in closures(clip.truth):
        x0, x1 = round(a * _PIXELS_A_SECOND), max(round(a * _PIXELS_A_SECOND) + 1, round(b * _PIXELS_A_SECOND))
        picture[:, x0:x1] = (0.6 * picture[:, x0:x1] + 0.4 * np.array(_GREEN)).astype(np.uint8)
    below = np.full((_HEIGHT, width, 3), 30, np.uint8)
    top = max(0.3, float(np.nanmax(seen.gap, initial=0.3)))

    def row(gap: float) -> int:
        return round((_HEIGHT - 40) * (1 - gap / top)) + 10

    for a, b in closures(clip.truth):
        below[:, round(a * _PIXELS_A_SECOND) : round(b * _PIXELS_A_SECOND) + 1] = (50, 110, 50)
    for gap, colour in ((0.0, _WHITE), (bound, _RED)):
        cv2.line(below, (0, row(gap)), (width, row(gap)), colour, 1)
    points = [
        (round(t * _PIXELS_A_SECOND), row(g)) for t, g in zip(seen.times, seen.gap, strict=True) if np.isfinite(g)
    ]
    cv2.polylines(below, [np.array(points, np.int32)], False, _YELLOW, 1, cv2.LINE_AA)
    for point in points:
        cv2.circle(below, point, 2, _YELLOW, -1)
    for mark in clip.marks:
        x = round(mark.start_s * _PIXELS_A_SECOND)
        cv2.line(below, (x, _HEIGHT - 26), (x, _HEIGHT - 20), _WHITE, 1)
        cv2.putText(
            below, _plain(mark.ipa), (x + 1, _HEIGHT - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _WHITE, 1, cv2.LINE_AA
        )
    cv2.imwrite(str(path), np.vstack([picture, below]))


_ASCII = str.maketrans({
    "ɪ": "I", "ʊ": "U", "ə": "@", "ɐ": "@", "ʌ": "V", "æ": "ae", "ɛ": "E", "ɔ": "O", "ɑ": "A", "ɒ": "A", "ŋ": "N",
    "θ": "T", "ð": "D", "ʃ": "S", "ʒ": "Z", "ɹ": "r", "ɡ": "g", "ɚ": "3r", "ɜ": "3", "ː": "", "ˈ": "", "ˌ": "",
    "ɾ": "t", "ᵻ": "I", "ʔ": "?", "ʤ": "dZ", "ʧ": "tS",
})  # fmt: skip


def _write(picture: U8, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)


def _plain(ipa: str) -> str:
    """Phonetic signs in letters that OpenCV can draw (roughly X-SAMPA)."""
    return ipa.translate(_ASCII).encode("ascii", "replace").decode()


def contact_sheet(clip: Clip, seen: Seen, path: Path, columns: int = 12) -> None:
    """For each closure three pictures, one under the other: 120 ms before, the most closed one, and 120 ms after."""
    spans = closures(clip.truth)[:columns]
    if not spans or not seen.pictures:
        return
    sheet = []
    for start, end in spans:
        inside = np.flatnonzero((seen.times >= start - 0.04) & (seen.times <= end + 0.04) & np.isfinite(seen.gap))
        if not len(inside):
            continue
        best = int(inside[np.argmin(seen.gap[inside])])
        column = []
        for t in (start - 0.12, seen.times[best], end + 0.12):
            i = int(np.clip(np.searchsorted(seen.times, t), 0, len(seen.times) - 1))
            tile = cv2.cvtColor(seen.pictures[i], cv2.COLOR_RGB2BGR)
            label = f"{seen.times[i]:.2f} s  {seen.gap[i]:+.3f}"
            _write(tile, label, (4, 12), _YELLOW)
            column.append(tile)
        sheet.append(np.vstack(column))
    if sheet:
        cv2.imwrite(str(path), np.hstack(sheet))
