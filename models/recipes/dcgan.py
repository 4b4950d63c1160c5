"""DCGAN (Radford, Metz & Chintala 2016): faces out of noise, by two convolutional networks that play a game.

    min over G, max over D of   E[log D(x)] + E[log(1 - D(G(z)))],   z from a unit normal

Strided and transposed convolutions, batch normalisation in both, ReLU in G, leaky ReLU (.2) in D, Adam with beta1 .5;
G maximises log D(G(z)) instead, as everybody does. Three things are not the paper's: the last layer paints four pixels
at once (Shi et al. 2016), which halves the cost; D is punished for steep slopes at real pictures, every sixteenth step
or so (R1, Mescheder et al. 2018), since a hundred people are soon known by heart; and G's weights are averaged.

It learns from the drawn faces, mirrored, half of them with glasses painted on (:mod:`.attributes`), so that there is
something to find in its latent space (:mod:`.interfacegan`).

Limits: 32 pixels, one crop, about a hundred people: what it draws are mixtures of them. It has no way to tell how
likely a picture is, and none back from picture to noise but search.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.types import F32, U8
from avatar.models.recipes import arrays, data
from avatar.models.recipes.attributes import NAMES, Attributes, labelled
from avatar.models.recipes.base import Figures, Losses, Recipe, frozen
from avatar.models.recipes.looks import tiles
from avatar.models.recipes.trainer import train

LATENT = 64
WIDTHS = (128, 64, 32)
"""Channels at 4, 8 and 16 pixels."""
_BATCH, _RATE = 32, 5e-4
_LAZY, _R1 = 16, 0.05
_MORE = {"smile": 5.0, "old": 2.0}
_JUDGED, _SEARCH, _SPREAD = 48, 250, 2000
"""Pictures that are looked for in the latent space, steps of the search, and samples whose spread is measured."""


class Generator(nn.Module):
    """Noise (n, LATENT) to pictures (n, 3, 32, 32) in [-1, 1]."""

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        a, b, c = widths
        self.first = nn.Linear(LATENT, a * 16, bias=False)
        self.body = nn.Sequential(
            nn.BatchNorm2d(a), nn.ReLU(),
            nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
            nn.ConvTranspose2d(b, c, 4, 2, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, 12, 3, 1, 1), nn.PixelShuffle(2), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z)
        made: Tensor = self.body(h.reshape(len(z), -1, 4, 4))
        return made


class Discriminator(nn.Module):
    """Pictures (n, 3, 32, 32) to the log odds (n,) that they are real."""

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        a, b, c = widths
        self.body = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, c, 3, 1, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(c, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2),
            nn.Conv2d(b, a, 4, 2, 1, bias=False), nn.BatchNorm2d(a), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(a * 16, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        odds: Tensor = self.body(x)
        return odds[:, 0]


def begun(net: nn.Module) -> nn.Module:
    """Weights as the paper begins: normal, of standard deviation .02 (gains of the normalisations around 1)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.02)
    return net


class Dcgan(Recipe):
    """``avatar train dcgan``."""

    name = "dcgan"
    steps: ClassVar[int] = 3000
    averaged = ("generator",)
    sample_every: ClassVar[int] = 250

    def __init__(self, material: Attributes) -> None:
        super().__init__(material)
        self._chance = chances(material)

    @classmethod
    def load(cls, bundle: Path) -> Attributes:
        return labelled(data.faces(bundle).part("learn"))

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": begun(Generator()), "discriminator": begun(Discriminator())}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            name: torch.optim.Adam(self.net[name].parameters(), lr=_RATE, betas=(0.5, 0.99))
            for name in ("generator", "discriminator")
        }

    def batch(self, random: np.random.Generator) -> tuple[Tensor, Tensor, bool]:
        """Pictures, noise, and whether slopes are looked at."""
        chosen = self.material.pictures[random.choice(len(self.material), size=_BATCH, p=self._chance)]
        x = data.planes(np.where((random.random(_BATCH) < 0.5)[:, None, None, None], chosen[:, :, ::-1], chosen))
        z = random.standard_normal((2 * _BATCH, LATENT)).astype(np.float32)
        real, noise = self.tensors(x, z)
        return real, noise, bool(random.integers(_LAZY) == 0)

    def step(self, batch: tuple[Tensor, Tensor, bool], done: float) -> Losses:
        real, noise, steep = batch
        generator, critic = self.net["generator"], self.net["discriminator"]
        with self.fast(), torch.no_grad():
            fake = generator(noise[:_BATCH])
        with self.fast():
            on_real, on_fake = critic(real).float(), critic(fake).float()
        told = functional.softplus(-on_real).mean() + functional.softplus(on_fake).mean()
        total = told
        if steep:
            total = total + _LAZY * _R1 / 2 * slope(critic, real)
        self.update("discriminator", total)
        with frozen(critic), self.fast():
            fooled = functional.softplus(-critic(generator(noise[_BATCH:])).float()).mean()
        self.update("generator", fooled)
        return {"discriminator": told.item(), "generator": fooled.item()}

    def samples(self, net: nn.ModuleDict) -> U8:
        """Two rows that were learnt from, then samples."""
        z = torch.from_numpy(np.random.default_rng(1).standard_normal((60, LATENT)).astype(np.float32))
        made = data.pixels(net["generator"](z.to(self.device)).cpu().numpy())
        some = np.random.default_rng(1).choice(len(self.material), 24, p=self._chance)
        return tiles(np.concatenate([self.material.pictures[some], made]), 12, 3)

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        """The generator, the mean picture that it has to beat, and the axes in which it is judged."""
        arrays.save(target, net["generator"], {}, about)

    @classmethod
    def judge(cls, file: Path, held: Any) -> Figures:
        """How near the generator comes to people held out, and how its pictures are spread.

        ``psnr_found``: held-out pictures, searched for in the latent space; beside it the mean picture (``psnr_mean``)
        and the most similar of all pictures that were learnt from (``psnr_copy``). ``frechet``: see :func:`frechet`; of
        samples, of the learnt pictures (as good as it gets), of the mean picture alone, and of one person alone.
        """
        generator = Generator()
        arrays.load(file, generator)
        learnt, unseen = labelled(held.part("learn")), labelled(held.part("held"))
        known, truth = data.planes(learnt.pictures), data.planes(unseen.pictures)
        chosen = truth[np.random.default_rng(0).permutation(len(truth))[:_JUDGED]]
        found = drawn(generator, search(generator, chosen, _SEARCH))
        mean = known.mean(0, keepdims=True)
        nearest = np.stack([known[((known - one) ** 2).mean((1, 2, 3)).argmin()] for one in chosen])
        made = drawn(generator, np.random.default_rng(0).standard_normal((_SPREAD, LATENT)).astype(np.float32))
        axes = principal(known)
        one = known[learnt.person == learnt.person[0]]
        return {
            "pictures": len(chosen),
            "psnr_found": decibels(found, chosen),
            "psnr_mean": decibels(mean, chosen),
            "psnr_copy": decibels(nearest, chosen),
            "frechet": frechet(made, truth, axes),
            "frechet_learnt": frechet(known, truth, axes),
            "frechet_mean": frechet(np.repeat(mean, 2, 0), truth, axes),
            "frechet_copy": frechet(one, truth, axes),
        }


def chances(known: Attributes) -> NDArray[np.float64]:
    """(n,) how often each picture is shown: smiles and old faces, of which there are few, more often."""
    weight = np.ones(len(known))
    for name, factor in _MORE.items():
        weight[known.labels[:, NAMES.index(name)] == 1] *= factor
    return weight / weight.sum()


def slope(critic: nn.Module, real: Tensor) -> Tensor:
    """Mean squared length of the gradient of D's log odds at real pictures."""
    x = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradient**2).sum((1, 2, 3)).mean()


def search(generator: nn.Module, pictures: F32, steps: int) -> F32:
    """Noise (n, LATENT) of which ``generator`` makes what is nearest to ``pictures`` (n, 3, 32, 32): gradient descent
    on z, which is held near the shell where noise lies."""
    truth = torch.from_numpy(pictures)
    z = torch.zeros(len(truth), LATENT, requires_grad=True)
    optimizer = torch.optim.Adam([z], lr=0.1)
    with frozen(generator):
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 0.1 * min(1.0, 2 * (1 - step / steps))
            off = ((generator(z) - truth) ** 2).mean((1, 2, 3)).sum() + 1e-4 * (z**2).sum()
            optimizer.zero_grad()
            torch.autograd.backward(off)
            optimizer.step()
    return np.asarray(z.detach().numpy(), np.float32)


@torch.no_grad()
def drawn(generator: nn.Module, z: F32) -> F32:
    """Pictures (n, 3, 32, 32) of noise (n, LATENT)."""
    parts = np.array_split(z, max(1, len(z) // 250))
    return np.concatenate([generator(torch.from_numpy(part)).numpy() for part in parts])


def principal(pictures: F32, count: int = 48) -> tuple[F32, F32]:
    """Mean (d,) and the first ``count`` principal axes (count, d) of pictures, at half their size."""
    flat = _halved(pictures)
    mean = flat.mean(0)
    _, _, axes = np.linalg.svd(flat[:: max(1, len(flat) // 1500)] - mean, full_matrices=False)
    return mean, axes[:count]


def frechet(made: F32, truth: F32, axes: tuple[F32, F32]) -> float:
    """Frechet distance between two sets of pictures, taken for Gaussians along ``axes`` (Heusel et al. 2017, with
    pixels' principal axes where that has a network's features): squared grey levels, in units of one picture's total
    variance in ``truth``. 0 = the same mean and covariance."""
    a, b = ((_halved(x) - axes[0]) @ axes[1].T.astype(np.float64) for x in (made, truth))
    first, second = np.cov(a.T), np.cov(b.T)
    roots = np.linalg.eigvals(first @ second)
    cross = 2 * np.sqrt(np.maximum(roots.real, 0)).sum()
    gap = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - cross
    return round(float(gap / np.trace(second)), 3)


def _halved(pictures: F32) -> F32:
    n, c, h, w = pictures.shape
    return pictures.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5)).reshape(n, -1)


def decibels(made: F32, truth: F32) -> float:
    """Mean PSNR in dB of pictures in [-1, 1]."""
    miss = ((made - truth) ** 2).mean((1, 2, 3)) / 4
    return round(float((-10 * np.log10(miss)).mean()), 2)


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train dcgan``. Raises UsageError."""
    return train(Dcgan, data, target, minutes, resume, seed)
