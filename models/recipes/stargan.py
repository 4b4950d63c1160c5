"""StarGAN (Choi, Choi, Kim, Ha, Kim & Choo 2018): one generator for several expressions, told by a class.

    adversary   E[D(x)] - E[D(G(x, c))] - 10 E[(|grad D| - 1)^2]               (equations 1 and 8)
    class       E[-log D_cls(c | x)],  E[-log D_cls(c' | G(x, c'))]            (equations 2 and 3)
    cycle       E[|x - G(G(x, c'), c)|]                                        (equation 4)

The weights are the paper's: 1 for the class and 10 for the cycle. Labels are smoothed. The generator
moves the picture by a small flow and changes its colours; the paper's paints it from nothing.

Limits: a class at one strength, that of the pictures that it learnt from; nothing tells it to leave the rest alone but
the cycle. Live, an expression of the state is mixed with the picture at rest by its strength, which is no motion.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.types import F32
from avatar.models.recipes.base import Figures
from avatar.models.recipes.blocks import Translator, repainted
from avatar.models.recipes.data import LABELS, SIZE, Faces
from avatar.models.recipes.editing import Editor
from avatar.models.recipes.export import Writer
from avatar.models.recipes.trainer import train

SOFT = 0.1
"""Of every label is shared by all: a critic that is certain within minutes would throw the generator about."""
CLEAR = 0.5
"""Pictures of an expression from this intensity on count as showing it."""


class Stargan(Editor):
    """A condition is one of :data:`.data.LABELS`, as ones and zeros."""

    name: ClassVar[str] = "stargan"
    steps: ClassVar[int] = 1500
    count: ClassVar[int] = len(LABELS)
    read_weight: ClassVar[float] = 1.0

    def told(self, faces: Faces) -> F32:
        clear = (faces.expression == 0) | ((faces.expression > 0) & (faces.intensity >= CLEAR))
        made = np.full((len(faces), self.count), np.nan, np.float32)
        made[clear] = np.eye(self.count, dtype=np.float32)[faces.expression[clear]]
        return made

    def wanted(self, own: F32, random: np.random.Generator) -> F32:
        return np.eye(self.count, dtype=np.float32)[random.integers(self.count, size=len(own))]

    def generator(self) -> nn.Module:
        return Translator(self.count, 5)

    def make(self, generator: nn.Module, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        made = repainted(x, generator(x, condition).float())
        return made.clamp(-1.2, 1.2), x.new_zeros(len(x), 0)

    def misread(self, read: Tensor, condition: Tensor) -> Tensor:
        return functional.cross_entropy(read, condition, label_smoothing=SOFT)

    def shown(self) -> F32:
        return np.eye(self.count, dtype=np.float32)

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        """``picture`` (1, 3, 64, 64) in [-1, 1] and ``expression`` (1, 7) to ``made`` (1, 3, 64, 64) and
        ``flow`` (1, 2, 64, 64), x and y in halves of the side, by which the picture was moved for it."""
        generator = net["generator"]
        assert isinstance(generator, Translator)
        w = Writer(self.name)
        x = w.graph.input("picture", (1, 3, SIZE, SIZE))
        raw = w.translator(x, generator, SIZE, w.graph.input("expression", (1, self.count)))
        made, flow = w.repainted(x, raw, SIZE)
        w.graph.output("made", made, (1, 3, SIZE, SIZE))
        w.graph.output("flow", flow, (1, 2, SIZE, SIZE))
        w.save(target, {**about, "expressions": list(LABELS)})

    @classmethod
    def judge(cls, file: Path, held: Faces) -> Figures:
        from avatar.models.recipes.editing_judge import classes

        return classes(file, held, lambda label, _: np.eye(cls.count, dtype=np.float32)[label], strengths=(1.0,))


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train stargan``. Raises UsageError."""
    return train(Stargan, data, target, minutes, resume, seed)
