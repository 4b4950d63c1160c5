"""Blocks that the recipes share. Pictures are (n, 3, h, w) in [-1, 1]; all of it works at any size divisible by 32.

Instance normalisation: Ulyanov et al. 2016; conditional: Dumoulin, Shlens & Kudlur 2017. Residual blocks: He et al.
2016, as Johnson et al. 2016 use them. U-Net: Ronneberger et al. 2015. Critic of patches: Isola et al. 2017. Gradient
penalty: Gulrajani et al. 2017.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_FLOW = 0.16
"""In half sides of the picture: five of 64 pixels."""


class ConditionalNorm(nn.Module):
    """Instance normalisation whose gains and offsets follow a condition.

    Constant channels beside a picture, as the papers have them, are taken off again by the normalisation behind the
    convolution: all that passes is how the picture's border differs from them.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.scale, self.shift = nn.Linear(condition, channels), nn.Linear(condition, channels)
        for layer in (self.scale, self.shift):
            nn.init.normal_(layer.weight, std=0.3)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(n, channels, h, w) and (n, condition) to (n, channels, h, w)."""
        gain, offset = (layer(condition)[:, :, None, None] for layer in (self.scale, self.shift))
        return self.norm(x) * (1 + gain) + offset


def norm(channels: int) -> nn.InstanceNorm2d:
    """Instance normalisation with a gain and an offset a channel."""
    return nn.InstanceNorm2d(channels, affine=True)


def faint(layer: nn.Conv2d) -> nn.Conv2d:
    """``layer``, whose answer is next to nothing at first: what begins as a change of a picture begins as no change."""
    nn.init.normal_(layer.weight, std=0.002)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def down(a: int, b: int) -> nn.Sequential:
    """Half the size: 4x4 convolution of stride 2, normalised."""
    return nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), norm(b), nn.ReLU())


def up(a: int, b: int) -> nn.Sequential:
    """Twice the size: nearest neighbour and 3x3 convolution (Odena et al. 2016: no checkerboard), normalised."""
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, 1, 1), norm(b), nn.ReLU())


class Residual(nn.Module):
    """x + F(x), at one size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1), norm(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1), norm(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ToldResidual(nn.Module):
    """:class:`Residual` whose first normalisation follows a condition."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.conv, self.told = nn.Conv2d(channels, channels, 3, 1, 1), ConditionalNorm(channels, condition)
        self.rest = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1), norm(channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return x + self.rest(self.told(self.conv(x), condition))


PLACES = 16
"""Rows and columns of the map of :class:`Told`."""


class Told(nn.Module):
    """Residual blocks that are told a condition, and where in the picture they are.

    The places are a learnt offset each: these faces all lie in the same place, and an eye is found by that sooner than
    by its looks.
    """

    def __init__(self, channels: int, condition: int, blocks: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, channels, PLACES, PLACES))
        self.blocks = nn.ModuleList(ToldResidual(channels, condition) for _ in range(blocks))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(n, channels, h, w) and (n, condition) to (n, channels, h, w)."""
        place: Tensor = self.place
        if x.shape[2:] != place.shape[2:]:
            place = functional.interpolate(place, x.shape[2:], mode="bilinear")
        x = x + place
        for block in self.blocks:
            x = block(x, condition)
        return x


class Translator(nn.Module):
    """Picture and condition to a picture's worth of maps: down to a quarter, residual blocks, up again.

    It begins and ends at half the size, four pixels as one with four times the channels (Shi et al. 2016), where a step
    costs a third. The last stage sees the picture itself besides: what stays need not pass the narrow middle.

    :param condition: its length, 0 = none. :param maps: channels of the answer, without a squashing function.
    """

    def __init__(self, condition: int = 0, maps: int = 3, width: int = 32, blocks: int = 2) -> None:
        super().__init__()
        self.condition, self.maps = condition, maps
        self.first = nn.Sequential(nn.Conv2d(12, width, 3, 1, 1), norm(width), nn.ReLU())
        self.inward = down(width, 2 * width)
        self.middle: Told | nn.Sequential = (
            Told(2 * width, condition, blocks)
            if condition
            else nn.Sequential(*(Residual(2 * width) for _ in range(blocks)))
        )
        self.outward = up(2 * width, width)
        self.mix = nn.Sequential(nn.Conv2d(width + 12, width, 3, 1, 1), nn.ReLU())
        self.last = faint(nn.Conv2d(width, 4 * maps, 3, 1, 1))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(n, 3, h, w) and (n, condition) to (n, maps, h, w)."""
        four = functional.pixel_unshuffle(x, 2)
        h = self.inward(self.first(four))
        h = self.outward(self.middle(h) if condition is None else self.middle(h, condition))
        return functional.pixel_shuffle(self.last(self.mix(torch.cat([h, four], 1))), 2)


def repainted(x: Tensor, maps: Tensor) -> Tensor:
    """``x`` (n, 3, h, w) moved by a small flow and changed in colour; ``maps`` (n, 5, h, w) are both before their
    squashing. Zeros change nothing. Moving skin is learnt in minutes, painting it anew is not."""
    h, w = x.shape[2:]
    flow = MOST_FLOW * torch.tanh(maps[:, :2]).permute(0, 2, 3, 1)
    moved = functional.grid_sample(x, base_grid(h, w).to(x) + flow, padding_mode="border", align_corners=False)
    return moved + 2 * torch.tanh(maps[:, 2:])


def base_grid(h: int, w: int) -> Tensor:
    """(1, h, w, 2): where each pixel is, in [-1, 1]."""
    down_, across = (torch.linspace(-1 + 1 / n, 1 - 1 / n, n) for n in (h, w))
    return torch.stack(torch.meshgrid(across, down_, indexing="xy"), -1)[None]


class UNet(nn.Module):
    """Down by halves to a few pixels, and up again with each level's features beside (skip connections).

    Begins and ends at half the size, as :class:`Translator`.

    :param widths: channels of the levels, from half the size on. :param drop: share of features that is forgotten on
        the way up while it learns (the noise of Isola et al. 2017).
    """

    def __init__(self, maps: int = 3, widths: Sequence[int] = (32, 64, 96, 96), drop: float = 0.0) -> None:
        super().__init__()
        self.maps, self.widths = maps, tuple(widths)
        self.first = nn.Sequential(nn.Conv2d(12, widths[0], 3, 1, 1), norm(widths[0]), nn.ReLU())
        self.inward = nn.ModuleList(down(a, b) for a, b in itertools.pairwise(widths))
        rising = list(reversed(widths))
        self.outward = nn.ModuleList(
            up(a * (2 if i else 1), b) for i, (a, b) in enumerate(itertools.pairwise(rising))
        )  # fmt: skip
        self.drop = nn.Dropout(drop)
        self.last = nn.Conv2d(2 * widths[0], 4 * maps, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, maps, h, w), without a squashing function."""
        seen = [self.first(functional.pixel_unshuffle(x, 2))]
        for layer in self.inward:
            seen.append(layer(seen[-1]))
        h = seen.pop()
        for layer in self.outward:
            h = torch.cat([self.drop(layer(h)), seen.pop()], 1)
        return functional.pixel_shuffle(self.last(h), 2)


class Critic(nn.Module):
    """Verdicts on patches, and what it reads of the whole picture (units, classes).

    :param given: channels of the picture, and of what it is seen beside. :param read: values that are read; 0 = none.
    :param levels: halvings before the verdict.
    """

    def __init__(self, given: int = 3, read: int = 0, width: int = 32, levels: int = 3, size: int = 64) -> None:
        super().__init__()
        widths = [given, *(min(width * 2**i, 4 * width) for i in range(levels))]
        self.body = nn.Sequential(
            *itertools.chain.from_iterable(
                (nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.1)) for a, b in itertools.pairwise(widths)
            )
        )
        side = size >> levels
        self.verdict = nn.Conv2d(widths[-1], 1, 3, 1, 1)
        self.read = (
            nn.Sequential(nn.Conv2d(widths[-1], 4 * width, 3, 2, 1), nn.LeakyReLU(0.1), nn.Flatten(),
                          nn.Linear(4 * width * ((side + 1) // 2) ** 2, read))
            if read
            else None
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, given, h, w) to verdicts (n, 1, h', w') and readings (n, read)."""
        h = self.body(x)
        return self.verdict(h), x.new_zeros(len(x), 0) if self.read is None else self.read(h)


def penalty(critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    """(|gradient| - 1)^2 of the verdict, on lines between real and made pictures (WGAN-GP, equation 3)."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (share * real + (1 - share) * made).detach().requires_grad_(True)
    verdict, _ = critic(between)
    (slope,) = torch.autograd.grad(verdict.mean((1, 2, 3)).sum(), between, create_graph=True)
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


def slope(verdict: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Half the |gradient|^2 of a verdict (n, 1) at real pictures (R1, Mescheder et al. 2018): what holds a critic back
    that knows all of its pictures."""
    real = real.detach().requires_grad_(True)
    (steep,) = torch.autograd.grad(verdict(real).sum(), real, create_graph=True)
    return (steep.flatten(1) ** 2).sum(1).mean() / 2


def total_variation(x: Tensor) -> Tensor:
    """Mean squared difference between neighbours, across and down."""
    return ((x[..., 1:, :] - x[..., :-1, :]) ** 2).mean() + ((x[..., 1:] - x[..., :-1]) ** 2).mean()


def least_squares(verdict: Tensor, real: bool) -> Tensor:
    """Mao et al. 2017: squared distance of the verdicts from 1 or 0."""
    return functional.mse_loss(verdict, torch.full_like(verdict, float(real)))
