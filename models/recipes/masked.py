"""Convolutions that see only what comes before, in the order of pixels (row by row) and, within one, red, green, blue.

van den Oord, Kalchbrenner & Kavukcuoglu 2016, "Pixel recurrent neural networks", section 3.4. Features are thirds, one
for each colour: the third of a colour may see the colours before it at the same pixel and, behind the first layer (mask
B), its own; at the first layer (mask A) its own value is what has to be foretold.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

COLOURS = 3
Kind = Literal["A", "B"]


def colours(channels: int) -> Tensor:
    """(channels,) the colour that each one stands for: thirds, in order. Raises ValueError where they are not equal."""
    if channels % COLOURS:
        raise ValueError(f"{channels} channels are not three equal groups")
    return torch.arange(channels) // (channels // COLOURS)


def mask(kind: Kind, given: int, made: int, height: int, width: int) -> Tensor:
    """(made, given, height, width) of 0 and 1. The pixel that is foretold lies in the middle of the last row of a
    ``height`` of 1, else in the middle of the middle row."""
    out = torch.zeros(made, given, height, width)
    row, column = height // 2, width // 2
    out[:, :, :row] = 1
    out[:, :, row, :column] = 1
    before, own = colours(given)[None, :], colours(made)[:, None]
    out[:, :, row, column] = (before < own if kind == "A" else before <= own).float()
    return out


class Masked2d(nn.Conv2d):
    """A convolution of odd size with the mask of ``kind``. Its lower half is zero, so it may be asked for the last row
    of a picture that ends there (:meth:`last_row`)."""

    shape: Tensor

    def __init__(self, kind: Kind, given: int, made: int, size: int) -> None:
        super().__init__(given, made, size, padding=size // 2)
        self.register_buffer("shape", mask(kind, given, made, size, size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, given, h, w) to (n, made, h, w)."""
        return functional.conv2d(x, self.weight * self.shape, self.bias, padding=self.padding)

    def last_row(self, x: Tensor) -> Tensor:
        """(n, given, size // 2 + 1, w), the row in question last and zeros above the picture, to (n, made, w)."""
        half = self.kernel_size[0] // 2
        weight = (self.weight * self.shape)[:, :, : half + 1]
        return functional.conv2d(x, weight, self.bias, padding=(0, half))[:, :, 0]


class Masked1d(nn.Conv1d):
    """A convolution along a row, mask B: to the left, and the pixel itself by colours."""

    shape: Tensor

    def __init__(self, given: int, made: int, size: int) -> None:
        super().__init__(given, made, size, padding=size // 2)
        self.register_buffer("shape", mask("B", given, made, 1, size)[:, :, 0], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, given, w) to (n, made, w)."""
        return functional.conv1d(x, self.weight * self.shape, self.bias, padding=self.padding)
