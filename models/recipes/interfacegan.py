"""InterFaceGAN (Shen, Gu, Tang & Zhou 2020): what a generator knows of faces without having been told.

A generator that has learnt faces keeps "smiling" and "not smiling" on two sides of a plane in its latent space. Here
the generator is that of :mod:`.dcgan`, and a small network that reads attributes from drawn faces says which of its
samples show them. As in the paper the boundary is learnt from the samples of which the reader is surest, here the
lowest and the highest quarter of its scores; the judge draws samples of its own, and takes 2 % as the paper does.
:mod:`.boundaries` has the equations.

Limits: attributes that go together in what was learnt go together here (few of the people are old); a walk of more than
three lengths leaves the shell where noise lies, and faces fall apart; the reader decides what an attribute is, so its
own accuracy stands beside every figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.types import F32, U8
from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.recipes import arrays, data
from avatar.models.recipes.attributes import NAMES, Attributes, crop, of_part, turns
from avatar.models.recipes.base import Figures, Losses, Recipe
from avatar.models.recipes.boundaries import accuracy, extremes, projected, svm
from avatar.models.recipes.dcgan import LATENT, Generator, decibels, drawn, search
from avatar.models.recipes.looks import tiles
from avatar.models.recipes.pix2pix import pairs
from avatar.models.recipes.trainer import train

GENERATOR = "dcgan.npz"
LEARNT, SURE = 0.25, 0.02
"""Of the samples at either end: what boundaries are learnt from, and what counts as surely with and surely without when
they are judged."""
SAMPLES, FRESH = 24_000, 10_000
"""From which boundaries are learnt, and on which they are judged."""
WALK = 2.5
"""Lengths of the walk that is judged."""
_BATCH, _RATE = 48, 1e-3
_PEOPLE, _SEARCH = 40, 200
"""Whose smiles are judged, at most, and steps of the search for each."""


class Reader(nn.Module):
    """Pictures (n, 3, 32, 32) to log odds (n, 4) of :data:`.attributes.NAMES`."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        w = width
        self.body = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, w, 3, 1, 1), nn.BatchNorm2d(w), nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, 2, 1), nn.BatchNorm2d(2 * w), nn.ReLU(),
            nn.Conv2d(2 * w, 4 * w, 3, 2, 1), nn.BatchNorm2d(4 * w), nn.ReLU(),
            nn.Conv2d(4 * w, 4 * w, 3, 1, 1), nn.BatchNorm2d(4 * w), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * w * 16, len(NAMES)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        odds: Tensor = self.body(x)
        return odds


@dataclass(frozen=True, slots=True)
class Planes:
    """The boundaries of all attributes."""

    normals: F32
    """(4, LATENT) of length 1."""
    offsets: F32
    """(4,)."""
    spread: F32
    """(4,) standard deviation of the reader's scores over the samples."""

    def direction(self, name: str, keep: tuple[str, ...] = ()) -> F32:
        """(LATENT,) of length 1: more of ``name``, and of the attributes ``keep`` neither more nor less."""
        return projected(self.normals[NAMES.index(name)], [self.normals[NAMES.index(k)] for k in keep])

    def alone(self, name: str) -> F32:
        """More of ``name``, all others kept."""
        return self.direction(name, tuple(other for other in NAMES if other != name))


class InterfaceGan(Recipe):
    """``avatar train interfacegan``: what is trained is the reader; boundaries are found when it is done."""

    name = "interfacegan"
    steps: ClassVar[int] = 900
    averaged = ("reader",)
    sample_every: ClassVar[int] = 600

    @classmethod
    def load(cls, bundle: Path) -> tuple[Attributes, Path, F32]:
        """Labelled pictures, the generator's file, and how far each portrait looks aside. Raises UsageError."""
        file = registry.weights_dir() / GENERATOR
        if not file.is_file():
            raise UsageError(f"train interfacegan: there is no {file}; train dcgan first")
        faces = data.faces(bundle)
        turned = turns(bundle, [str(name) for name in faces.names])
        return of_part(faces, ("learn", "judge"), turned), file, turned

    def networks(self) -> dict[str, nn.Module]:
        return {"reader": Reader()}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"reader": torch.optim.AdamW(self.net["reader"].parameters(), lr=_RATE, weight_decay=0.02)}

    def batch(self, random: np.random.Generator) -> tuple[Tensor, ...]:
        known = self.material[0]
        chosen = random.integers(len(known), size=_BATCH)
        # Smiles and old people are few: a third of the pictures shows each.
        for i, name in enumerate(("smile", "old")):
            there = np.flatnonzero(known.labels[:, NAMES.index(name)] == 1)
            if len(there):
                chosen[i * _BATCH // 3 : (i + 1) * _BATCH // 3] = random.choice(there, _BATCH // 3)
        return self.tensors(*augmented(known.pictures[chosen], known.labels[chosen], random))

    def step(self, batch: tuple[Tensor, ...], done: float) -> Losses:
        x, labels = batch
        known = ~labels.isnan()
        odds = self.net["reader"](x)
        off = functional.binary_cross_entropy_with_logits(odds, labels.nan_to_num(), reduction="none")
        loss = (off * known).sum() / known.sum()
        self.update("reader", loss)
        right = ((odds > 0) == (labels > 0.5)) & known
        return {"reader": loss.item(), "right": (right.sum() / known.sum()).item()}

    def samples(self, net: nn.ModuleDict) -> U8:
        """Three faces, each walked from less to more of each attribute, the others kept."""
        generator = self._generator()
        planes = found(generator, _reader(net), min(2000, SAMPLES))
        random = np.random.default_rng(5)
        start = random.standard_normal((3, LATENT)).astype(np.float32)
        at = np.linspace(-1, 1, 7, dtype=np.float32) * 1.3 * WALK
        along = np.stack([z + a * planes.alone(name) for z in start for name in NAMES for a in at])
        return tiles(data.pixels(drawn(generator, along)), len(at), 3)

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        planes = found(self._generator(), _reader(net), SAMPLES)
        tables = {"normals": planes.normals, "offsets": planes.offsets, "spread": planes.spread}
        arrays.save(target, net["reader"], tables | {"turned": self.material[2]}, dict(about) | {"names": NAMES})

    def _generator(self) -> Generator:
        generator = Generator()
        arrays.load(self.material[1], generator)
        return generator

    @classmethod
    def judge(cls, file: Path, held: Any) -> Figures:
        """Of each attribute: the reader's accuracy on people held out (``reader_NAME``; balanced, the mean over both
        sides), the boundary's on fresh samples, of which the reader is sure (``boundary_NAME``) and all of them
        (``all_NAME``), what a walk changes of the others for each unit of its own (``entangled_NAME``, and
        ``kept_NAME`` with the others' normals projected off), and :func:`smiles`."""
        reader, generator = Reader(), Generator()
        kept = arrays.load(file, reader)
        arrays.load(file.with_name(GENERATOR), generator)
        planes = Planes(kept["normals"], kept["offsets"], kept["spread"])
        figures: Figures = {}
        unseen = of_part(held, ("held",), kept["turned"])
        odds = read(reader, data.planes(unseen.pictures))
        for k, name in enumerate(NAMES):
            figures[f"reader_{name}"] = round(balanced(odds[:, k], unseen.labels[:, k]), 3)
        z = np.random.default_rng(100).standard_normal((FRESH, LATENT)).astype(np.float32)
        scores = read(reader, drawn(generator, z))
        for k, name in enumerate(NAMES):
            low, high = extremes(scores[:, k], SURE)
            sure = (scores[:, k] <= low) | (scores[:, k] >= high)
            plane = planes.normals[k], float(planes.offsets[k])
            middle = float(np.median(scores[:, k]))
            figures[f"boundary_{name}"] = round(accuracy(z[sure], scores[sure, k] >= high, *plane), 3)
            figures[f"all_{name}"] = round(accuracy(z, scores[:, k] > middle, *plane), 3)
        for name in NAMES:
            for way, step in (("entangled", planes.direction(name)), ("kept", planes.alone(name))):
                figures[f"{way}_{name}"] = round(leak(generator, reader, planes, z[:500], name, step), 3)
        return figures | smiles(generator, planes, held)


def augmented(pictures: U8, labels: F32, random: np.random.Generator) -> tuple[F32, F32]:
    """Pictures (n, 3, 32, 32) in [-1, 1], half of them mirrored (what looked right looks left then), in another light,
    moved by up to two pixels and a little blurred: a generator's faces are softer than drawn ones."""
    n = len(pictures)
    x, labels = data.planes(pictures), labels.copy()
    flip = random.random(n) < 0.5
    x[flip] = x[flip, ..., ::-1]
    side = NAMES.index("right")
    labels[flip, side] = 1 - labels[flip, side]
    for i, (dx, dy) in enumerate(random.integers(-2, 3, (n, 2))):
        x[i] = np.roll(x[i], (dy, dx), (1, 2))
    soft = random.random(n) < 0.3
    x[soft] = (x[soft] + np.roll(x[soft], 1, 2) + np.roll(x[soft], 1, 3) + np.roll(x[soft], (1, 1), (2, 3))) / 4
    gain = np.exp(random.normal(0, 0.06, (n, 3, 1, 1)) + random.normal(0, 0.3, (n, 1, 1, 1)))
    middle = x.mean((1, 2, 3), keepdims=True)
    x = (x - middle) * gain + middle + random.normal(0, 0.25, (n, 1, 1, 1))  # contrast and brightness tell nothing
    return np.clip(x, -1, 1).astype(np.float32), labels


def found(generator: Generator, reader: Reader, samples: int) -> Planes:
    """The boundaries that ``reader`` sees in the pictures of ``generator``."""
    z = np.random.default_rng(7).standard_normal((samples, LATENT)).astype(np.float32)
    scores = read(reader, drawn(generator, z))
    normals, offsets = [], []
    for k in range(len(NAMES)):
        low, high = extremes(scores[:, k], LEARNT)
        sure = (scores[:, k] <= low) | (scores[:, k] >= high)
        normal, offset = svm(z[sure], scores[sure, k] >= high)
        normals.append(normal)
        offsets.append(offset)
    return Planes(np.stack(normals), np.array(offsets, np.float32), scores.std(0))


@torch.no_grad()
def read(reader: Reader, pictures: F32) -> F32:
    """(n, 4) log odds."""
    parts = np.array_split(pictures, max(1, len(pictures) // 250))
    return np.concatenate([reader(torch.from_numpy(part)).numpy() for part in parts])


def balanced(odds: F32, labels: F32) -> float:
    """Accuracy, the mean over both sides; of what has a label. NaN where a side is empty."""
    sides = [odds[labels == 1] > 0, odds[labels == 0] <= 0]
    return float(np.mean([side.mean() for side in sides])) if all(map(len, sides)) else float("nan")


def leak(generator: Generator, reader: Reader, planes: Planes, z: F32, name: str, step: F32) -> float:
    """Mean size of what a walk of :data:`WALK` along ``step`` changes in the scores of the other attributes, over what
    it changes in its own; scores in their standard deviations."""
    gone = read(reader, drawn(generator, z + WALK * step)) - read(reader, drawn(generator, z - WALK * step))
    change = np.abs(gone.mean(0)) / planes.spread
    own = NAMES.index(name)
    return float(np.delete(change, own).mean() / change[own])


def smiles(generator: Generator, planes: Planes, faces: Any) -> Figures:
    """PSNR of people held out who are made to smile: the face at rest is searched for in the latent space, walked
    along "smile", and the change is laid onto the face. Beside it the face as it is, and the face with the mean change
    of those who were learnt from. How far to walk is chosen on the latter."""
    rest, smile = (_cropped(p) for p in pairs(faces.part("learn")))
    known = slice(0, None, max(1, len(rest) // _PEOPLE))
    step = planes.alone("smile")
    z = search(generator, rest[known], _SEARCH)
    lengths = np.linspace(0.25, 1, 4) * WALK
    tried = [decibels(walked(generator, z, a * step, rest[known]), smile[known]) for a in lengths]
    best = float(lengths[int(np.argmax(tried))])
    change = (smile - rest).mean(0)
    rest, smile = (_cropped(p)[:_PEOPLE] for p in pairs(faces.part("held")))
    z = search(generator, rest, _SEARCH)
    return {
        "people": len(rest),
        "walk": best,
        "psnr_made": decibels(walked(generator, z, best * step, rest), smile),
        "psnr_copy": decibels(rest, smile),
        "psnr_mean": decibels(np.clip(rest + change, -1, 1), smile),
    }


def walked(generator: Generator, z: F32, step: NDArray[np.floating], pictures: F32) -> F32:
    """``pictures``, which ``z`` come near to, with what a walk by ``step`` changes in those."""
    change = drawn(generator, (z + step).astype(np.float32)) - drawn(generator, z)
    return np.asarray(np.clip(pictures + change, -1, 1), np.float32)


def _cropped(pictures: U8) -> F32:
    return data.planes(np.stack([crop(picture) for picture in pictures]))


def _reader(net: nn.ModuleDict) -> Reader:
    reader = net["reader"]
    assert isinstance(reader, Reader)
    return reader


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train interfacegan``. Raises UsageError."""
    return train(InterfaceGan, data, target, minutes, resume, seed)
