"""Our own engines' output without its marks: a small classifier's guess, of little weight alone.

What it looks at: how the fine structure of a picture falls off with frequency (resampling softens it), how it is
spread over the picture, and in clips how still the still places are (a camera's noise never rests) and whether the
grain of one picture comes back in a later one. Logistic regression over that; error rates in ``models/CARDS.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import U8
from avatar.errors import ModelFileError

FILE = "detector.npz"
SIDE = 256
LAG = 10
"""Pictures between the two whose grain is compared, at most."""
_BANDS, _GRID, _BLOCK = 14, 4, 8
_STILLS = 4
"""Pictures of a clip whose structure is looked at."""
F64 = NDArray[np.float64]


def _grey(picture: U8) -> NDArray[np.float32]:
    """The middle square, (256, 256)."""
    side = min(picture.shape[:2])
    y, x = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = np.ascontiguousarray(picture[y : y + side, x : x + side])
    flags = cv2.INTER_AREA if side >= SIDE else cv2.INTER_CUBIC
    small = cv2.resize(square, (SIDE, SIDE), interpolation=flags)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def spatial(picture: U8) -> F64:
    """(35,) of one picture (h, w, 3), RGB."""
    grey = _grey(picture)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    window = np.hanning(SIDE)[:, None] * np.hanning(SIDE)
    power = np.abs(np.fft.rfft2(grey * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    ring = np.minimum((radius / 0.5 * _BANDS).astype(int), _BANDS)
    bands = np.log(np.bincount(ring.ravel(), power.ravel())[:_BANDS] / np.bincount(ring.ravel())[:_BANDS] + 1e-3)
    cells = fine.reshape(_GRID, SIDE // _GRID, _GRID, SIDE // _GRID)
    spread = np.log(cells.std(axis=(1, 3)).ravel() + 0.05)
    energy = float((fine * fine).mean()) + 1e-6
    lags = [float((fine[:, lag:] * fine[:, :-lag]).mean()) / energy for lag in (1, 2)]
    lags += [float((fine[lag:] * fine[:-lag]).mean()) / energy for lag in (1, 2)]
    peaked = max(1e-3, float((fine**4).mean()) / energy**2)  # 0 = one colour; of a structure it is at least 1
    return np.concatenate([np.diff(bands), spread - spread.mean(), [np.log(energy), np.log(peaked)], lags])


def temporal(pictures: Sequence[U8]) -> F64:
    """(8,) of successive pictures."""
    first, second, later = (_grey(pictures[i]) for i in (0, 1, min(LAG, len(pictures) - 1)))
    moved = np.abs(second - first).reshape(SIDE // _BLOCK, _BLOCK, SIDE // _BLOCK, _BLOCK).mean(axis=(1, 3))
    quantiles = np.log(np.quantile(moved, (0.05, 0.25, 0.5, 0.75, 0.95)) + 0.02)
    grain = [grey - cv2.GaussianBlur(grey, (0, 0), 1.0) for grey in (first, later)]
    calm = np.kron(moved <= np.quantile(moved, 0.3), np.ones((_BLOCK, _BLOCK), bool))
    again = float(np.corrcoef(grain[0][calm], grain[1][calm] + 1e-6)[0, 1]) if grain[0][calm].std() > 1e-3 else 1.0
    exact = float((np.abs(second - first) < 0.5).mean())
    return np.array([*quantiles, float(np.nan_to_num(again, nan=1.0)), exact, float((moved < 0.1).mean())])


def features(pictures: Sequence[U8]) -> F64:
    """Of one picture (35,), of a clip (43,)."""
    chosen = [pictures[i] for i in np.unique(np.linspace(0, len(pictures) - 1, _STILLS).round().astype(int))]
    structure = np.mean([spatial(picture) for picture in chosen], axis=0)
    return structure if len(pictures) < 2 else np.concatenate([structure, temporal(pictures)])


@dataclass(frozen=True, slots=True)
class Weights:
    """Of one logistic regression."""

    mean: F64
    scale: F64
    weight: F64
    bias: float

    def score(self, found: F64) -> float:
        """[0, 1]: how much it looks like ours."""
        return float(1 / (1 + np.exp(-((found - self.mean) / self.scale @ self.weight + self.bias))))


class Detector:
    """Scores pictures and clips. Raises ModelFileError where the weights are missing or not the right ones."""

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path) as file:
                self.of = {
                    kind: Weights(
                        file[f"{kind}_mean"].astype(np.float64),
                        file[f"{kind}_scale"].astype(np.float64),
                        file[f"{kind}_weight"].astype(np.float64),
                        float(file[f"{kind}_bias"]),
                    )
                    for kind in ("still", "clip")
                }
        except (OSError, KeyError, ValueError) as error:
            raise ModelFileError(f"{path} is missing or damaged ({error}); reinstall the package") from error

    def score(self, pictures: Sequence[U8]) -> float:
        """[0, 1] of one picture or of successive ones (h, w, 3), RGB."""
        return self.of["still" if len(pictures) < 2 else "clip"].score(features(pictures))
