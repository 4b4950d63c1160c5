"""GANimation (Pumarola, Agudo, Martinez, Sanfeliu & Moreno-Noguer 2018): action units of any intensity, and a mask of
what is touched.

The generator answers with an attention mask A and a colour C; the critic reads the units y::

    G(x | y) = (1 - A) C + A x                                                                        (equation 1)
    E[D(G)] - E[D(x)] + 10 E[(|grad D| - 1)^2]                                    WGAN-GP             (equation 2)
    0.1 E[|A|^2] + TV sum (A_i+1,j - A_i,j)^2 + (A_i,j+1 - A_i,j)^2               attention           (equation 3)
    E[|D_y(G) - y'|^2] + E[|D_y(x) - y|^2]                                        action units        (equation 4)
    E[|G(G(x | y') | y) - x|]                                                     identity, cycle     (equation 5)

A = 1 leaves the pixel; without its term A rests at 1 and nothing is changed. C is the picture moved by a small flow
plus a change (the paper's network paints it from nothing). Weights differ from the paper's, whose losses are sums over
other numbers of pixels and units.

Limits: 64 x 64 pixels of a frontal face; thirteen units; drawn faces, whose skin moves as engine ``head`` moves it, so
that it can be no better than that; teeth are guessed; on photographs the change is soft, see its card.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.types import F32
from avatar.models.recipes import data
from avatar.models.recipes.base import Figures, Losses
from avatar.models.recipes.blocks import Translator, repainted, total_variation
from avatar.models.recipes.data import SIZE, UNITS, Faces
from avatar.models.recipes.editing import Editor
from avatar.models.recipes.export import Writer
from avatar.models.recipes.trainer import train

MASK, SMOOTH = 0.03, 0.5
"""Weights of the mask's mean square and of its total variation, both as means over pixels."""


class Ganimation(Editor):
    """A condition is the intensity of each of :data:`.data.UNITS`."""

    name: ClassVar[str] = "ganimation"
    steps: ClassVar[int] = 4000
    count: ClassVar[int] = len(UNITS)
    read_weight: ClassVar[float] = 120.0
    named: ClassVar[tuple[str, ...]] = (*Editor.named, "mask")

    @classmethod
    def load(cls, bundle: Path) -> Faces:
        return data.faces(bundle).beside(data.alone(bundle)).part("learn")

    def told(self, faces: Faces) -> F32:
        return faces.units

    def wanted(self, own: F32, random: np.random.Generator) -> F32:
        made = np.zeros_like(own)
        for line in made:
            if random.random() < 0.4:
                line[:] = self.material.units[int(random.integers(len(self.material)))]
            else:
                chosen = random.permutation(self.count)[: int(random.integers(1, 4))]
                line[chosen] = random.uniform(0.1, 1, len(chosen))
        return made

    def generator(self) -> nn.Module:
        return Translator(self.count, 6)

    def make(self, generator: nn.Module, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        raw = generator(x, condition).float()
        mask, colour = torch.sigmoid(raw[:, :1]), repainted(x, raw[:, 1:])
        return (1 - mask) * colour + mask * x, mask

    def misread(self, read: Tensor, condition: Tensor) -> Tensor:
        return functional.mse_loss(read, condition)

    def more(self, x: Tensor, made: Tensor, same: Tensor, beside: Tensor) -> tuple[Tensor, Losses]:
        attention = MASK * (beside**2).mean() + SMOOTH * total_variation(beside)
        return attention, {"mask": beside.mean().item()}

    def shown(self) -> F32:
        return np.eye(self.count, dtype=np.float32)

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        """``picture`` (1, 3, 64, 64) in [-1, 1] and ``units`` (1, 13) to ``mask`` (1, 1, 64, 64), ``colour`` (1, 3, 64,
        64) and ``flow`` (1, 2, 64, 64), x and y in halves of the side, by which the picture was moved for the
        colour."""
        generator = net["generator"]
        assert isinstance(generator, Translator)
        w = Writer(self.name)
        x = w.graph.input("picture", (1, 3, SIZE, SIZE))
        raw = w.translator(x, generator, SIZE, w.graph.input("units", (1, self.count)))
        w.graph.output("mask", w.graph.node("Sigmoid", w.part(raw, 0)), (1, 1, SIZE, SIZE))
        colour, flow = w.repainted(x, w.part(raw, 1, 2, 3, 4, 5), SIZE)
        w.graph.output("colour", colour, (1, 3, SIZE, SIZE))
        w.graph.output("flow", flow, (1, 2, SIZE, SIZE))
        w.save(target, {**about, "units": list(UNITS)})

    @classmethod
    def judge(cls, file: Path, held: Faces) -> Figures:
        from avatar.models.recipes.editing_judge import units

        return units(file, held)


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train ganimation``. Raises UsageError."""
    return train(Ganimation, data, target, minutes, resume, seed)
