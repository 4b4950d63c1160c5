"""The corrector's networks in torch: portrait encoder, corrector, critic.

The corrector works at 32 x 32 on the portrait's features plus an embedding of the drawn face; its blocks are inverted
residuals (Sandler et al. 2018) modulated by the condition (FiLM, Perez et al. 2018). Faces lie in a fixed place, so a
learned map of places is added. Upwards it goes by pixel shuffling (Shi et al. 2016).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.facs import ARKIT
from avatar.engines.corrector import CONDITION, CROP, MAPS, MOST_COLOUR, MOST_FLOW, MOST_GAIN

GRID = CROP // 4


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the networks."""

    channels: int = 64
    blocks: int = 5
    expand: int = 2
    told: int = 64
    """Hidden units for the condition."""
    skip: int = 24
    """Channels at 64 x 64."""
    last: int = 32
    critic: int = 32


class Portrait(nn.Module):
    """(n, 3, 128, 128) to features (n, channels, 32, 32); runs once for an avatar. Its last bias is a map of places."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        c = shape.channels
        self.first = nn.Conv2d(3, 32, 4, 4)
        self.second = nn.Conv2d(32, 64, 3, 1, 1)
        self.third = nn.Conv2d(64, c, 3, 1, 1)
        self.places = nn.Parameter(torch.zeros(1, c, GRID, GRID))

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.second(functional.relu(self.first(x))))
        return self.third(h) + self.places


class Block(nn.Module):
    """Wider, modulated, depthwise, narrow again, and added."""

    def __init__(self, channels: int, expand: int, told: int) -> None:
        super().__init__()
        wide = expand * channels
        self.wide = nn.Conv2d(channels, wide, 1)
        self.scale = nn.Linear(told, wide)
        self.shift = nn.Linear(told, wide)
        self.depth = nn.Conv2d(wide, wide, 3, 1, 1, groups=wide)
        self.narrow = nn.Conv2d(wide, channels, 1)
        for layer in (self.scale, self.shift):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        h = self.wide(x)
        h = functional.relu(h * (1 + self.scale(told)[..., None, None]) + self.shift(told)[..., None, None])
        return x + self.narrow(functional.relu(self.depth(h)))


class CorrectorNet(nn.Module):
    """Features, drawn face (n, 3, 128, 128) in [-1, 1] and condition (n, CONDITION) to maps (n, 6, 128, 128)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        c, s = shape.channels, shape.skip
        self.patch = nn.Conv2d(3, c, 4, 4)
        self.told = nn.Sequential(
            nn.Linear(CONDITION, shape.told), nn.ReLU(), nn.Linear(shape.told, shape.told), nn.ReLU()
        )
        self.blocks = nn.ModuleList(Block(c, shape.expand, shape.told) for _ in range(shape.blocks))
        self.up = nn.Conv2d(c, 4 * s, 1)
        self.fine = nn.Conv2d(3, s, 4, 2, 1)
        self.mix = nn.Conv2d(2 * s, shape.last, 3, 1, 1)
        self.out = nn.Conv2d(shape.last, 4 * MAPS, 3, 1, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, drawn: Tensor, condition: Tensor) -> Tensor:
        told = self.told(condition)
        h = features + self.patch(drawn)
        for block in self.blocks:
            h = block(h, told)
        h = torch.cat([functional.pixel_shuffle(self.up(h), 2), functional.relu(self.fine(drawn))], 1)
        raw = functional.pixel_shuffle(self.out(functional.relu(self.mix(functional.relu(h)))), 2)
        limits = raw.new_tensor([MOST_FLOW] * 2 + [MOST_GAIN] + [MOST_COLOUR] * 3)
        return torch.tanh(raw) * limits[None, :, None, None]


def compose(drawn: Tensor, maps: Tensor) -> Tensor:
    """The corrected face (n, 3, 128, 128) in [-1, 1]: flow, then gain, then colour."""
    at = torch.linspace(-1 + 1 / CROP, 1 - 1 / CROP, CROP, dtype=drawn.dtype)
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)[None]
    moved = functional.grid_sample(
        drawn, grid + maps[:, :2].permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False
    )
    return (moved + 1) * (1 + maps[:, 2:3]) - 1 + maps[:, 3:]


class Critic(nn.Module):
    """Tells real patches from made ones (Isola et al. 2017), and reads the ARKit coefficients, as GANimation's does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        norm = nn.utils.spectral_norm
        widths = (3, width, 2 * width, 3 * width)
        self.layers = nn.ModuleList(norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(widths))
        self.real = norm(nn.Conv2d(3 * width, 1, 3, 1, 1))
        self.deeper = nn.Conv2d(3 * width, 3 * width, 4, 2, 1)
        self.coefficients = nn.Linear(3 * width * 16, len(ARKIT))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Patches' scores, coefficients (n, 52), the layers' answers."""
        seen = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            seen.append(x)
        h = functional.adaptive_avg_pool2d(functional.leaky_relu(self.deeper(x), 0.2), 4)
        return self.real(x), self.coefficients(h.flatten(1)), seen
