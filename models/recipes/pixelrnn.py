"""Pictures as a product of conditionals: Row LSTM with masked convolutions (van den Oord et al. 2016).

With the 3 n^2 values of a picture in their order, x_1 is the first pixel's red::

    p(x) = product over i of p(x_i | x_1 ... x_(i-1))
    bits per dimension = -log2 p(x) / (3 n^2)

Every conditional is a softmax over the levels, no shape assumed. 7x7 mask A, Row LSTM layers with residuals, two 1x1
mask B, as in the paper's table 1; what makes it small are 32 levels instead of 256, and few features. One thing is not
the paper's: a learnt offset for each place, since these faces all lie in the same place and a small memory soon forgets
where it is.

Limits: the likelihood is exact, but sampling takes one pass for each value, top left to bottom right, and a small model
holds textures together better than faces. Bits of 32 levels must not be compared with bits of 256.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.types import F32, U8
from avatar.models.recipes import arrays, data
from avatar.models.recipes.base import Figures, Losses, Recipe
from avatar.models.recipes.looks import tiles
from avatar.models.recipes.masked import COLOURS, Masked1d, Masked2d
from avatar.models.recipes.row_lstm import RowLstm, State
from avatar.models.recipes.trainer import train

SIZE, LEVELS = 32, 32
WINDOW = (8, 56, 10, 58)
"""Left, right, top and bottom of the face in the pictures of :mod:`.data`."""
_BATCH, _RATE = 16, 3e-3
_JUDGED = 256


def quantised(pictures: U8) -> NDArray[np.int64]:
    """(n, 64, 64, 3) to levels (n, 3, SIZE, SIZE) of the face."""
    left, right, top, bottom = WINDOW
    faces = [cv2.resize(p[top:bottom, left:right], (SIZE, SIZE), interpolation=cv2.INTER_AREA) for p in pictures]
    return np.stack(faces).transpose(0, 3, 1, 2).astype(np.int64) * LEVELS // 256


def shown(levels: NDArray[np.int64]) -> U8:
    """(n, 3, h, w) to pictures (n, h, w, 3)."""
    return np.asarray((levels.transpose(0, 2, 3, 1) + 0.5) * 256 / LEVELS, np.uint8)


class PixelRnn(nn.Module):
    """Levels (n, 3, h, w) to logits (n, 3, LEVELS, h, w), each of them told only what comes before it.

    :param hidden: of each Row LSTM, a multiple of 3. :param layers: of them. :param size: of the pictures.
    """

    def __init__(self, hidden: int = 30, layers: int = 2, levels: int = LEVELS, size: int = SIZE) -> None:
        super().__init__()
        self.levels, self.size = levels, size
        self.place = nn.Parameter(torch.zeros(2 * hidden, size, size))
        self.first = Masked2d("A", COLOURS, 2 * hidden, 7)
        self.layers = nn.ModuleList(RowLstm(hidden) for _ in range(layers))
        self.told = Masked1d(2 * hidden, 2 * hidden, 1)
        self.last = Masked1d(2 * hidden, COLOURS * levels, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        h = self.first(self._scaled(x)) + self.place
        for layer in self.layers:
            h = layer(h)
        rows = self._answer(h.permute(0, 2, 1, 3).reshape(n * height, -1, width))
        return rows.reshape(n, height, COLOURS, self.levels, width).permute(0, 2, 3, 1, 4)

    def bits(self, x: Tensor) -> Tensor:
        """Mean bits per dimension of levels (n, 3, h, w)."""
        logits = self(x).permute(0, 2, 1, 3, 4)
        return functional.cross_entropy(logits.float(), x) / math.log(2)

    @torch.no_grad()
    def sample(self, n: int) -> NDArray[np.int64]:
        """Draw ``n`` pictures, value by value; random numbers are torch's."""
        size = self.size
        x = torch.zeros(n, COLOURS, size, size, dtype=torch.int64)
        above = self.first.kernel_size[0] // 2
        states = [layer.begin(n, size) for layer in self.rnn]
        for row in range(size):
            seen = functional.pad(self._scaled(x), (0, 0, above, 0))[:, :, row : row + above + 1]
            # What stands for "above the picture" is zero after scaling, as the convolution's padding is.
            for column in range(size):
                for colour in range(COLOURS):
                    logits, _ = self._row(seen, row, states)
                    told = logits[:, colour, :, column].softmax(1)
                    value = torch.multinomial(told, 1)[:, 0]
                    x[:, colour, row, column] = value
                    seen[:, colour, above, column] = self._scaled(value)
            _, states = self._row(seen, row, states)
        return x.numpy()

    @property
    def rnn(self) -> list[RowLstm]:
        return [layer for layer in self.layers if isinstance(layer, RowLstm)]

    def _row(self, seen: Tensor, row: int, states: list[State]) -> tuple[Tensor, list[State]]:
        """Logits (n, 3, levels, w) of the last row of ``seen``, which is the picture's ``row``, and what is remembered
        after it."""
        h = self.first.last_row(seen) + self.place[:, row]
        after = []
        for layer, state in zip(self.rnn, states, strict=True):
            h, new = layer.row(h, state)
            after.append(new)
        return self._answer(h).reshape(len(h), COLOURS, self.levels, -1), after

    def _answer(self, h: Tensor) -> Tensor:
        return self.last(self.told(h.relu()).relu())

    def _scaled(self, levels: Tensor) -> Tensor:
        return levels.float() * (2 / (self.levels - 1)) - 1


class Histograms:
    """Baselines that count: they are learnt from pictures too, and know nothing of faces.

    :param place: (3, h, w, LEVELS) probabilities. :param step: (2 LEVELS - 1,) of the differences from -LEVELS + 1 on.
    """

    def __init__(self, place: F32, step: F32) -> None:
        self.place, self.step = place, step

    @classmethod
    def of(cls, levels: NDArray[np.int64]) -> Histograms:
        """Counted in levels (n, 3, h, w)."""
        place = np.stack([(levels == k).sum(0) for k in range(LEVELS)], -1)
        return cls(_shares(place), _shares(np.bincount(_steps(levels).ravel(), minlength=2 * LEVELS - 1)))

    def by_pixel(self, levels: NDArray[np.int64]) -> float:
        """Bits per dimension, where each place and colour has its own histogram and nothing is known of the rest."""
        told = np.take_along_axis(self.place[None], levels[..., None], -1)
        return float(-np.log2(told).mean())

    def by_copy(self, levels: NDArray[np.int64]) -> float:
        """Where each value is taken for its left neighbour's, plus a difference whose histogram is known. The few
        differences that a value cannot have are not taken off: it costs this baseline a little."""
        return float(-np.log2(self.step[_steps(levels)]).mean())


def _steps(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Differences from the left neighbour (in the first column: from the one above, or the middle), from 0."""
    before = np.empty_like(levels)
    before[..., 1:] = levels[..., :-1]
    before[..., 1:, 0] = levels[..., :-1, 0]
    before[..., 0, 0] = LEVELS // 2
    return levels - before + LEVELS - 1


def _shares(counts: NDArray[np.integer]) -> F32:
    """Counts to probabilities along the last axis, one taken for seen everywhere."""
    smooth = counts.astype(np.float32) + 1
    return np.asarray(smooth / smooth.sum(-1, keepdims=True), np.float32)


class PixelRecipe(Recipe):
    """``avatar train pixelrnn``."""

    name = "pixelrnn"
    steps: ClassVar[int] = 400
    averaged = ("model",)
    sample_every: ClassVar[int] = 200

    @classmethod
    def load(cls, bundle: Path) -> NDArray[np.int64]:
        """Levels (n, 3, SIZE, SIZE) of those who are learnt from."""
        return quantised(data.faces(bundle).part("learn").pictures)

    def networks(self) -> dict[str, nn.Module]:
        return {"model": PixelRnn()}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": torch.optim.Adam(self.net["model"].parameters(), lr=_RATE)}

    def batch(self, random: np.random.Generator) -> Tensor:
        chosen = self.material[random.integers(len(self.material), size=_BATCH)]
        mirrored = np.where((random.random(_BATCH) < 0.5)[:, None, None, None], chosen[..., ::-1], chosen)
        return self.tensors(mirrored)[0]

    def step(self, batch: Tensor, done: float) -> Losses:
        bits = _model(self.net).bits(batch)
        self.update("model", bits, clip=1.0)
        return {"bits": bits.item()}

    def samples(self, net: nn.ModuleDict) -> U8:
        """A row of pictures that were learnt from, then rows of samples."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            drawn = _model(net).sample(16)
        some = self.material[np.random.default_rng(1).choice(len(self.material), 8)]
        return tiles(shown(np.concatenate([some, drawn])), 8, 3)

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        """The weights, and the baselines of the same pictures."""
        table = Histograms.of(self.material)
        arrays.save(target, _model(net), {"place": table.place.astype(np.float16), "step": table.step}, about)

    @classmethod
    def judge(cls, file: Path, held: Any) -> Figures:
        """Bits per dimension of people held out, beside those of the baselines."""
        model = PixelRnn()
        kept = arrays.load(file, model)
        levels = quantised(held.part("held").pictures)
        levels = levels[np.random.default_rng(0).permutation(len(levels))[:_JUDGED]]
        table = Histograms(kept["place"].astype(np.float32), kept["step"])
        with torch.no_grad():
            bits = [float(model.bits(torch.from_numpy(part))) for part in np.array_split(levels, len(levels) // 16)]
        return {
            "pictures": len(levels),
            "levels": LEVELS,
            "bits": round(float(np.mean(bits)), 3),
            "bits_by_pixel": round(table.by_pixel(levels), 3),
            "bits_by_copy": round(table.by_copy(levels), 3),
        }


def _model(net: nn.ModuleDict) -> PixelRnn:
    model = net["model"]
    assert isinstance(model, PixelRnn)
    return model


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train pixelrnn``. Raises UsageError."""
    return train(PixelRecipe, data, target, minutes, resume, seed)
