"""The judge of the learned recipes: reads action units and the expression off a small face.

It sees a picture beside the same face at rest, since a unit is a change: who has low brows does not frown. It learns
from people whom no generator has seen, and nobody trains against it. Its own agreement with the truth on people held
out is printed with every figure that rests on it.
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
from avatar.models.expression.metrics import icc3
from avatar.models.recipes import data
from avatar.models.recipes.base import Figures, Losses, Recipe
from avatar.models.recipes.data import LABELS, NO_LABEL, SIZE, UNITS, Faces, planes
from avatar.models.recipes.export import Writer
from avatar.models.recipes.looks import Session, sheet
from avatar.models.recipes.trainer import train

BATCH, RATE = 32, 1e-3
SHIFT = 2
"""Pixels that pictures are moved at most while it learns."""


class ReaderNet(nn.Module):
    """At rest and change (n, 6, 64, 64) to (n, len(UNITS) + len(LABELS)): intensities, and logits of the
    expressions."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        w = width
        self.layers = nn.Sequential(
            nn.Conv2d(6, w, 4, 2, 1), nn.ReLU(), nn.Conv2d(w, 2 * w, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(2 * w, 3 * w, 3, 1, 1), nn.ReLU(), nn.Conv2d(3 * w, 3 * w, 4, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Dropout(0.3), nn.Linear(3 * w * 64, 96), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(96, len(UNITS) + len(LABELS)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x)
        return made


def resting(faces: Faces) -> NDArray[np.intp]:
    """(n,) for each picture, where the same person is at rest."""
    first = {int(who): i for i, who in reversed(list(enumerate(faces.person))) if not faces.units[i].any()}
    return np.array([first[int(who)] for who in faces.person], np.intp)


def pair(rest: F32, shown: F32) -> F32:
    """(n, 6, h, w) what the reader sees of pictures (n, 3, h, w): the face at rest, and twice the change."""
    return np.concatenate([rest, 2 * (shown - rest)], 1)


def varied(pictures: F32, random: np.random.Generator) -> F32:
    """Pictures (n, c, h, w), c a multiple of 3, mirrored, moved and lit at random, each for itself; units stay what
    they are."""
    n, colours = pictures.shape[:2]
    made = pictures.copy()
    flip = random.random(n) < 0.5
    made[flip] = made[flip][..., ::-1]
    for i, (dy, dx) in enumerate(random.integers(-SHIFT, SHIFT + 1, (n, 2))):
        made[i] = np.roll(made[i], (dy, dx), (1, 2))
    gain = (
        random.uniform(0.75, 1.15, (n, 1, 1, 1))
        * np.tile(random.uniform(0.93, 1.07, (n, 3, 1, 1)), (1, colours // 3, 1, 1))
    ).astype(np.float32)
    return np.clip((made + 1) * gain - 1, -1, 1)


class Reader(Recipe):
    """Material: the judge's people."""

    name: ClassVar[str] = "unit_reader"
    steps: ClassVar[int] = 4000
    averaged: ClassVar[tuple[str, ...]] = ("reader",)

    def __init__(self, material: Faces) -> None:
        super().__init__(material)
        self._rest = resting(material)
        self._mixed = np.flatnonzero((material.expression == NO_LABEL) & ((material.units > 0).sum(1) > 1))

    @classmethod
    def load(cls, bundle: Path) -> Faces:
        return data.faces(bundle).beside(data.alone(bundle)).part("judge")

    def networks(self) -> dict[str, nn.Module]:
        return {"reader": ReaderNet()}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"reader": torch.optim.AdamW(self.net["reader"].parameters(), RATE, weight_decay=0.02)}

    def batch(self, random: np.random.Generator) -> tuple[Tensor, ...]:
        faces: Faces = self.material
        chosen = random.integers(len(faces), size=BATCH)
        # Expressions teach few units, and always the same ones.
        chosen[: BATCH // 2] = random.choice(self._mixed, BATCH // 2)
        rest = self._rest[chosen]
        x = varied(np.concatenate([planes(faces.pictures[rest]), planes(faces.pictures[chosen])], 1), random)
        return self.tensors(pair(x[:, :3], x[:, 3:]), faces.units[chosen], faces.expression[chosen])

    def step(self, batch: Any, done: float) -> Losses:
        x, units, label = batch
        with self.fast():
            read = self.net["reader"](x).float()
        miss = functional.mse_loss(read[:, : len(UNITS)], units)
        wrong = functional.cross_entropy(read[:, len(UNITS) :], label, ignore_index=NO_LABEL)
        wrong = torch.nan_to_num(wrong)  # of a batch that has no expression
        self.update("reader", 10 * miss + 0.2 * wrong, clip=5.0)
        return {"units": miss.item(), "label": wrong.item()}

    def samples(self, net: nn.ModuleDict) -> U8:
        return sheet(planes(self.material.pictures[:8]))

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        w = Writer(self.name)
        x = w.graph.input("pair", (1, 6, SIZE, SIZE))
        reader = net["reader"]
        assert isinstance(reader, ReaderNet)
        w.graph.output("read", w.module(x, reader.layers), (1, len(UNITS) + len(LABELS)))
        w.save(target, about)

    @classmethod
    def judge(cls, file: Path, held: Faces) -> Figures:
        """ICC(3,1) with the truth of each unit, and the share of expressions at two thirds or more that are told, on
        people held out who keep still, as the judged ones do."""
        faces = held.part("held")
        faces = faces.where(np.abs(faces.pose).max(1) == 0)
        shown = planes(faces.pictures)
        units, logits = read(file, shown[resting(faces)], shown)
        agreement = {u: icc3(np.c_[faces.units[:, i], units[:, i]]) for i, u in enumerate(UNITS)}
        clear = (faces.expression == 0) | ((faces.expression > 0) & (faces.intensity >= 0.6))
        right = logits[clear].argmax(1) == faces.expression[clear]
        return {
            "icc": {str(u): round(v, 3) for u, v in agreement.items()},
            "icc_mean": round(float(np.mean(list(agreement.values()))), 3),
            "icc_least": round(min(agreement.values()), 3),
            "accuracy": round(float(right.mean()), 3),
            "pictures": len(faces),
        }


def read(file: Path, rest: F32, shown: F32) -> tuple[F32, F32]:
    """Units (n, len(UNITS)) and logits (n, len(LABELS)) of pictures (n, 3, 64, 64) beside the same faces at rest."""
    (found,) = Session(file)(pair(rest, shown))
    return found[:, : len(UNITS)], found[:, len(UNITS) :]


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train unit_reader``. Raises UsageError."""
    return train(Reader, data, target, minutes, resume, seed)
