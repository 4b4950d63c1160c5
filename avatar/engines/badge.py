"""The visible mark of a generated picture: a small translucent pill in a corner."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from avatar.core.types import U8
from avatar.errors import ConfigError

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
CORNERS: tuple[Corner, ...] = ("top-left", "top-right", "bottom-left", "bottom-right")

MIN_SHARE = 0.05
"""Height of the pill in parts of the picture's shorter side; below this a label is not "clearly visible"."""
_LETTERS = 0.42
"""Height of a capital in parts of the pill's height."""
_MARGIN = 0.35
"""Distance from the corner in parts of the pill's height."""
_BACK, _BACK_ALPHA = (18.0, 20.0, 24.0), 0.64
_INK, _INK_ALPHA = (255.0, 255.0, 255.0), 0.96
_OVERSAMPLE = 4
_FONT = cv2.FONT_HERSHEY_DUPLEX


class Badge:
    """Draws ``text`` into a corner of square pictures of ``size`` pixels.

    :param share: height of the pill in parts of the picture's side; less than :data:`MIN_SHARE` is that.

    Raises ConfigError where the text is empty, not plain ASCII, or too long for the picture, or the corner is unknown.
    """

    def __init__(
        self, size: int, text: str = "AI-generated", corner: Corner = "bottom-right", share: float = MIN_SHARE
    ) -> None:
        if corner not in CORNERS:
            raise ConfigError(f"badge corner {corner!r}: choose one of {', '.join(CORNERS)}")
        if not text.strip() or not text.isascii() or not text.isprintable():
            raise ConfigError(f"badge text {text!r}: use plain ASCII letters, at least one")
        height = max(14, int(np.ceil(max(share, MIN_SHARE) * size)))
        ink, back = _pill(text, height)
        height, width = ink.shape
        margin = round(_MARGIN * height)
        if width + 2 * margin > size:
            raise ConfigError(f"badge text {text!r} does not fit into {size} pixels; use a shorter one")
        y = margin if corner.startswith("top") else size - margin - height
        x = margin if corner.endswith("left") else size - margin - width
        self.size = size
        self.region = (slice(y, y + height), slice(x, x + width))
        """Where the pill is drawn: rows, columns."""
        # Back first, then ink over it: out = picture * keep + add, with eight bits of fraction.
        keep = (1 - back) * (1 - ink)
        add = back[..., None] * (1 - ink[..., None]) * _BACK + ink[..., None] * np.array(_INK)
        self._keep = np.ascontiguousarray(
            np.repeat(np.round(keep * 256), 3).reshape(height, width, 3).astype(np.uint16)
        )
        self._add = np.round(add * 256 + 128).clip(0, 65535 - 255 * 256 * keep[..., None]).astype(np.uint16)
        self._work = np.empty((height, width, 3), np.uint16)

    def apply(self, pixels: U8) -> None:
        """Draw into ``pixels`` (size, size, 3) RGB in place. Raises ValueError for another shape."""
        if pixels.shape != (self.size, self.size, 3):
            raise ValueError(f"badge made for {self.size} x {self.size} pixels, picture has {pixels.shape}")
        region = pixels[self.region]
        np.multiply(region, self._keep, out=self._work, dtype=np.uint16)
        np.add(self._work, self._add, out=self._work)
        np.right_shift(self._work, 8, out=self._work)
        region[:] = self._work

    def apply_alpha(self, alpha: U8) -> None:
        """Cover ``alpha`` (size, size) where the badge is, in place: it belongs to a transparent picture too."""
        keep = self._keep[..., 0].astype(np.uint32)
        region = alpha[self.region]
        region[:] = (region * keep + 255 * (256 - keep)) >> 8


def _pill(text: str, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Alpha of the letters and of the pill behind them, each (height, width) float64."""
    k = _OVERSAMPLE
    letters = _LETTERS * height * k
    scale = letters / cv2.getTextSize("A", _FONT, 1.0, 1)[0][1]
    stroke = max(1, round(letters * 0.13))
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, stroke)
    width = -(-text_width // k) + round(0.9 * height)
    big = np.zeros((height * k, width * k), np.uint8)
    at = ((width * k - text_width) // 2, (height * k + text_height) // 2)
    cv2.putText(big, text, at, _FONT, scale, 255, stroke, cv2.LINE_AA)
    ink = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA) / 255.0
    big[:] = 0
    radius = height * k // 2
    cv2.line(big, (radius, radius), (width * k - radius - 1, radius), 255, 2 * radius - 1, cv2.LINE_AA)
    back = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA) / 255.0
    return ink * _INK_ALPHA, back * _BACK_ALPHA
