"""ExprGAN (Ding, Sricharan & Chellappa 2018): an expression and how strong it is.

An encoder makes a code of the picture, a controller a code c of the expression, and a decoder the picture of both::

    controller   c_i = |z| for the wanted expression, -|z| for all others, z in [-1, 1]                  (equation 1)
    pixels       E[|G_dec(G_enc(x), c) - x|]                                                             (equation 2)
    identity     E[sum of the critic's layers' differences]; here the cycle G(G(x, c'), c) = x           (equation 3)
    D_z          the encoder's codes cannot be told from uniform ones                                    (equation 4)
    D_img        real pictures and made ones, with WGAN-GP; it reads the expression                      (equation 5)
    Q            E[|Q(G(x, c)) - c|^2]: the code is found again in the picture, so strength shows        (equation 6)

The paper has no labels of strength, draws |z| for real pictures too and learns in three stages. Drawn faces have exact
strengths: c of a real picture is known, Q learns from real pictures alone, and one stage is enough. The decoder moves
and repaints the picture: a code of this size, learnt in minutes, does not hold a face.

Limits: one expression at a time; what it changes depends on the code, which is coarse.
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
from avatar.engines.learned.face import controller
from avatar.models.recipes.base import Figures, Losses, frozen
from avatar.models.recipes.blocks import Residual, Told, down, faint, norm, repainted, up
from avatar.models.recipes.data import LABELS, NO_LABEL, SIZE, Faces
from avatar.models.recipes.editing import Editor
from avatar.models.recipes.export import Writer
from avatar.models.recipes.trainer import train

CODE = 32
"""Channels of the picture's code, 16 x 16."""
SAME = 0.3
"""Share of pictures that are made again in their own expression."""
PRIOR, AGAIN = 0.02, 10.0
"""Weights of the codes' distribution, and of the picture made again in its own expression."""


class AutoEncoder(nn.Module):
    """The two halves of G; the code is all that they share but the picture that is changed."""

    def __init__(self, count: int, width: int = 32) -> None:
        super().__init__()
        w = width
        self.encoder = nn.Sequential(
            nn.Conv2d(12, w, 3, 1, 1), norm(w), nn.ReLU(), down(w, 2 * w), Residual(2 * w), nn.Conv2d(2 * w, CODE, 1)
        )
        self.first = nn.Sequential(nn.Conv2d(CODE, 2 * w, 3, 1, 1), norm(2 * w), nn.ReLU())
        self.middle = Told(2 * w, count, 2)
        self.outward = up(2 * w, w)
        self.last = faint(nn.Conv2d(w, 20, 3, 1, 1))

    def code(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, CODE, h / 4, w / 4) in [-1, 1]."""
        return torch.tanh(self.encoder(functional.pixel_unshuffle(x, 2)))

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        code = self.code(x)
        raw = self.last(self.outward(self.middle(self.first(code), condition)))
        return repainted(x, functional.pixel_shuffle(raw, 2).float()), code


class Exprgan(Editor):
    """A condition is the controller's code."""

    name: ClassVar[str] = "exprgan"
    steps: ClassVar[int] = 1500
    count: ClassVar[int] = len(LABELS) - 1
    read_weight: ClassVar[float] = 20.0
    named: ClassVar[tuple[str, ...]] = (*Editor.named, "again", "prior")

    def told(self, faces: Faces) -> F32:
        made = np.full((len(faces), self.count), np.nan, np.float32)
        for i in np.flatnonzero(faces.expression != NO_LABEL):
            made[i] = controller(int(faces.expression[i]), float(faces.intensity[i]))
        return made

    def wanted(self, own: F32, random: np.random.Generator) -> F32:
        labels = random.integers(len(LABELS), size=len(own))
        made = np.stack([controller(int(label), float(random.uniform(0.1, 1))) for label in labels])
        return np.where(random.random((len(own), 1)) < SAME, own, made).astype(np.float32)

    def networks(self) -> dict[str, nn.Module]:
        prior = nn.Sequential(nn.Conv2d(CODE, 48, 1), nn.LeakyReLU(0.1), nn.Conv2d(48, 1, 1))
        return super().networks() | {"prior": prior}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        prior = torch.optim.Adam(self.net["prior"].parameters(), 5e-4, (0.5, 0.99))
        return super().optimizers() | {"prior": prior}

    def generator(self) -> nn.Module:
        return AutoEncoder(self.count)

    def make(self, generator: nn.Module, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        made, code = generator(x, condition)
        return made.float(), code.float()

    def misread(self, read: Tensor, condition: Tensor) -> Tensor:
        return functional.mse_loss(read, condition)

    def step(self, batch: Any, done: float) -> Losses:
        generator, prior = self.net["generator"], self.net["prior"]
        assert isinstance(generator, AutoEncoder)
        with torch.no_grad():
            code = generator.code(batch[0])
        drawn = torch.rand_like(code) * 2 - 1
        loss = functional.softplus(-prior(drawn)).mean() + functional.softplus(prior(code)).mean()
        self.update("prior", loss)
        with frozen(prior):
            return super().step(batch, done) | {"prior": loss.item()}

    def more(self, x: Tensor, made: Tensor, same: Tensor, beside: Tensor) -> tuple[Tensor, Losses]:
        again = (made - x)[same].abs().mean() if bool(same.any()) else x.new_zeros(())
        return AGAIN * again + PRIOR * functional.softplus(-self.net["prior"](beside)).mean(), {"again": again.item()}

    def shown(self) -> F32:
        return np.stack([controller(label, s) for label in range(1, len(LABELS)) for s in (0.5, 1.0)])

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        """``picture`` (1, 3, 64, 64) in [-1, 1] and ``code`` (1, 6) to ``made`` (1, 3, 64, 64) and
        ``flow`` (1, 2, 64, 64), x and y in halves of the side, by which the picture was moved for it."""
        generator = net["generator"]
        assert isinstance(generator, AutoEncoder)
        w = Writer(self.name)
        x = w.graph.input("picture", (1, 3, SIZE, SIZE))
        code = w.graph.node("Tanh", w.module(w.unshuffled(x), generator.encoder))
        seen = w.residuals(w.module(code, generator.first), generator.middle, w.graph.input("code", (1, self.count)))
        raw = w.shuffled(w.module(seen, generator.outward), generator.last)
        made, flow = w.repainted(x, raw, SIZE)
        w.graph.output("made", made, (1, 3, SIZE, SIZE))
        w.graph.output("flow", flow, (1, 2, SIZE, SIZE))
        w.save(target, {**about, "expressions": list(LABELS)})

    @classmethod
    def judge(cls, file: Path, held: Faces) -> Figures:
        from avatar.models.recipes.editing_judge import classes

        return classes(file, held, controller, strengths=(0.25, 0.5, 0.75, 1.0))


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train exprgan``. Raises UsageError."""
    return train(Exprgan, data, target, minutes, resume, seed)
