"""pix2pix (Isola, Zhu, Zhou & Efros 2017): a face at rest to the same face smiling, from pairs.

    G* = arg min_G max_D  E[log D(x, y)] + E[log(1 - D(x, G(x)))] + lambda E[|y - G(x)|]        (equations 1 to 4)

G is a U-Net whose noise is dropout, D judges overlapping patches of the pair (x, y). Here the classification loss is
the least-squares one of CycleGAN, and lambda is 100 as in the paper.

Limits: it knows one expression at one strength, of faces that were drawn; it must have seen pairs that differ in
nothing else; dropout gives hardly any variety (the paper says the same), so it is off when the file is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.types import F32, U8
from avatar.models.recipes.base import Figures, Losses, Recipe, frozen
from avatar.models.recipes.blocks import Critic, UNet, least_squares
from avatar.models.recipes.data import SIZE, Faces, planes
from avatar.models.recipes.export import Writer
from avatar.models.recipes.looks import Session, absolute, decibels, sheet
from avatar.models.recipes.trainer import train

BATCH, RATE, LAMBDA = 8, 4e-4, 100.0
TARGET = "happy"
STRONG = 0.8
"""Smiles from this intensity on are what is wanted."""


def pairs(faces: Faces) -> tuple[U8, U8]:
    """Pictures at rest, and the same people's full smiles from the same place in the same light."""
    rest, smile = faces.labelled("neutral"), faces.labelled(TARGET)
    still = rest.where(np.abs(rest.pose).max(1) == 0)
    strong = smile.where(smile.intensity >= STRONG)
    first = {int(who): i for i, who in reversed(list(enumerate(strong.person)))}
    there = [i for i, who in enumerate(still.person) if int(who) in first]
    return still.pictures[there], strong.pictures[[first[int(still.person[i])] for i in there]]


class Pix2Pix(Recipe):
    """Material: :class:`.data.Faces`."""

    name: ClassVar[str] = "pix2pix"
    steps: ClassVar[int] = 1500
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, material: Faces) -> None:
        super().__init__(material)
        self._rest, self._smile = pairs(material)

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": UNet(drop=0.2), "critic": Critic(6)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {k: torch.optim.Adam(self.net[k].parameters(), RATE, (0.5, 0.999)) for k in ("generator", "critic")}

    def batch(self, random: np.random.Generator) -> tuple[Tensor, ...]:
        chosen = random.integers(len(self._rest), size=BATCH)
        both = np.stack([planes(self._rest[chosen]), planes(self._smile[chosen])])
        flip = random.random(BATCH) < 0.5
        both[:, flip] = both[:, flip, ..., ::-1]
        return self.tensors(*(both * random.uniform(0.8, 1.0, (1, BATCH, 1, 1, 1)).astype(np.float32)))

    def step(self, batch: Any, done: float) -> Losses:
        x, y = batch
        generator, critic = self.net["generator"], self.net["critic"]
        with self.fast():
            made = moved(x, generator(x))
            real, fake = critic(torch.cat([x, y], 1))[0].float(), critic(torch.cat([x, made.detach()], 1))[0].float()
        against = (least_squares(real, True) + least_squares(fake, False)) / 2
        self.update("critic", against)
        with frozen(critic):
            with self.fast():
                fake = critic(torch.cat([x, made], 1))[0].float()
            fooled, near = least_squares(fake, True), functional.l1_loss(made, y)
            self.update("generator", fooled + LAMBDA * near)
        return {"critic": against.item(), "fooled": fooled.item(), "l1": near.item()}

    def samples(self, net: nn.ModuleDict) -> U8:
        x, y = self.tensors(planes(self._rest[:10]), planes(self._smile[:10]))
        made = moved(x, net["generator"](x)).clamp(-1, 1)
        return sheet(*(t.cpu().numpy() for t in (x, made, y)))

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        generator = net["generator"]
        assert isinstance(generator, UNet)
        w = Writer(self.name)
        x = w.graph.input("picture", (1, 3, SIZE, SIZE))
        raw = w.unet(x, generator)
        w.graph.output("made", w.graph.node("Add", x, raw), (1, 3, SIZE, SIZE))
        w.save(target, about)

    @classmethod
    def judge(cls, file: Path, held: Faces) -> Figures:
        """PSNR of the smile on people held out, beside the picture as it is and that picture plus the mean change."""
        rest, smile = (planes(p) for p in pairs(held.part("held")))
        known = [planes(p) for p in pairs(held.part("learn"))]
        (made,) = Session(file)(rest)
        change = (known[1] - known[0]).mean(0)
        return figures(made, rest, smile, change)


def moved(x: Tensor, raw: Tensor) -> Tensor:
    """What is made is a change of the picture: at the beginning, nothing."""
    return x + raw.float()


def figures(made: F32, source: F32, truth: F32, change: F32) -> Figures:
    """dB and grey levels of ``made``, of the source itself, and of the source plus the mean ``change`` of the people
    who were learnt from."""
    ways = {"made": made, "copy": source, "mean": source + change}
    found: Figures = {"people": len(source)}
    for way, pictures in ways.items():
        shown = np.clip(pictures, -1, 1)
        found |= {f"psnr_{way}": round(float(decibels(shown, truth).mean()), 2),
                  f"l1_{way}": round(absolute(shown, truth), 2)}  # fmt: skip
    return found


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train pix2pix``. Raises UsageError."""
    return train(Pix2Pix, data, target, minutes, resume, seed)
