"""What StarGAN, ExprGAN and GANimation have in common: one network for all conditions, learnt without pairs.

A picture x that shows condition c is changed to show another condition c', and back again. The critic scores patches
(WGAN-GP) and reads the condition, from real pictures alone; the generator must please it, show c' to it, and come back
to x (cycle consistency)::

    critic     E[D(G(x, c'))] - E[D(x)] + 10 penalty + read(D(x), c)
    generator  -E[D(G(x, c'))] + READ read(D(G(x, c')), c') + CYCLE |G(G(x, c'), c) - x| + what the method adds

Drawn faces give what photographs cannot: the picture that was asked for. In most steps the generator learns from it
alone, by |G(x, c') - truth|, most where the truth differs from x (:func:`weighed`); so a method is learnt in minutes,
and more precisely than its paper could. In the others all losses above are taken.

The critic sees the same face at rest beside each picture, as that of pix2pix sees the source. The papers' do not, but
with a hundred people in place of ten thousand it would learn who they are, not what they show.

The condition reaches the generator by its normalisations (:class:`.blocks.ConditionalNorm`), not as constant channels
beside the picture.

A method says what a condition is, how it is read, how a picture is made and what it adds.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.types import F32, U8
from avatar.models.recipes.base import Losses, Recipe, frozen
from avatar.models.recipes.blocks import Critic, penalty
from avatar.models.recipes.data import Faces, planes
from avatar.models.recipes.looks import sheet
from avatar.models.recipes.reader import resting, varied

BATCH, READ, FIRST = 8, 24, 64
"""Pictures a step: that are changed, that are read, and that are read in the first turn."""
PENALTY = 10.0
PAIRS, TRUTH, CHANGED, FAINT = 12, 30.0, 1.0, 0.004
"""Pictures a step that have their truth, the weight of a miss, how much more it weighs where something changes, and the
mean change of a picture, in half ranges, below which it counts less."""
RESTING = 0.75
"""Share of those pairs that begin at rest, as an engine and a judge do."""
TURN = 0.1
"""Share of the training in which the critic learns to read: what it cannot read, nobody can learn from it."""


class Editor(Recipe):
    """Material: :class:`.data.Faces`."""

    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    count: ClassVar[int]
    """Length of a condition."""
    read_weight: ClassVar[float]
    cycle_weight: ClassVar[float] = 10.0
    played: ClassVar[float] = 0.12
    """Share of steps in which all losses are taken."""
    named: ClassVar[tuple[str, ...]] = ("truth", "distance", "misread", "steep", "shown", "cycle")
    """Losses, in the log's order; a method appends its own."""
    rates: ClassVar[tuple[float, float]] = (1e-3, 5e-4)
    """Of generator and critic."""

    def __init__(self, material: Faces) -> None:
        super().__init__(material)
        self.conditions = self.told(material)
        self._rest = resting(material)
        self._told = dict.fromkeys(self.named, 0.0)
        still = np.isfinite(self.conditions).all(1) & (np.abs(material.pose).max(1) == 0)
        self._mates = {int(who): np.flatnonzero(still & (material.person == who)) for who in np.unique(material.person)}
        self._people = [who for who, mates in self._mates.items() if len(mates) > 1]

    # --- what a method says

    @abstractmethod
    def told(self, faces: Faces) -> F32:
        """(n, count) the condition that each picture shows; NaN where it shows none."""

    @abstractmethod
    def wanted(self, own: F32, random: np.random.Generator) -> F32:
        """(n, count) conditions to ask for, of pictures that show ``own``."""

    @abstractmethod
    def generator(self) -> nn.Module: ...

    @abstractmethod
    def make(self, generator: nn.Module, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """The picture, and what :meth:`more` is told besides (a mask, a code)."""

    @abstractmethod
    def misread(self, read: Tensor, condition: Tensor) -> Tensor:
        """How far what the critic read is from the condition."""

    def more(self, x: Tensor, made: Tensor, same: Tensor, beside: Tensor) -> tuple[Tensor, Losses]:
        """Further losses of the generator.

        :param same: (n,) whose wanted condition is their own. :param beside: of the picture made, and of the way back.
        """
        return x.new_zeros(()), {}

    @abstractmethod
    def shown(self) -> F32:
        """(k, count) the conditions of the sheet's columns."""

    # --- what is the same in all

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator(), "critic": Critic(6, self.count)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        names = ("generator", "critic")
        rates = dict(zip(names, self.rates, strict=True))
        return {name: torch.optim.Adam(self.net[name].parameters(), rates[name], (0.5, 0.99)) for name in names}

    def batch(self, random: np.random.Generator) -> tuple[Tensor, ...]:
        faces: Faces = self.material
        usable = np.flatnonzero(np.isfinite(self.conditions).all(1))
        still = usable[faces.expression[usable] == 0]
        chosen = random.choice(usable, FIRST if self.done < TURN else READ)
        chosen[: BATCH // 3] = random.choice(still, BATCH // 3)  # what an engine is given rests
        seen = [self._rest[chosen], chosen]
        both = np.concatenate([planes(faces.pictures[i]) for i in seen], 1)
        both, own = varied(both, random), self.conditions[chosen]
        source, truth = self._pairs(random)
        pairs = varied(np.concatenate([planes(faces.pictures[i]) for i in (source, truth)], 1), random)
        return self.tensors(both[:, :3], both[:, 3:], own, self.wanted(own, random),
                            pairs[:, :3], self.conditions[truth], pairs[:, 3:])  # fmt: skip

    def _pairs(self, random: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Two pictures each of a person who kept still; the first one rests, most of the time."""
        chosen = []
        for who in random.choice(self._people, PAIRS):
            source, truth = random.choice(self._mates[int(who)], 2, replace=False)
            if random.random() < RESTING:
                source = self._rest[source]
            chosen.append((source, truth))
        first, second = np.array(chosen).T
        return first, second

    def step(self, batch: Any, done: float) -> Losses:
        if done < TURN:
            self._told |= self._read(*batch[:3])
        else:
            self._told |= self._learn(*batch[4:])
            if float(torch.rand(())) < self.played:
                self._told |= self._change(*batch[:4])
        return dict(self._told)

    def _learn(self, x: Tensor, wanted: Tensor, truth: Tensor) -> Losses:
        with self.fast():
            made, beside = self.make(self.net["generator"], x, wanted)
        miss = ((made - truth).abs() * weighed(x, truth)).mean()
        added, told = self.more(x, made, (wanted != wanted).any(1), beside)
        self.update("generator", TRUTH * miss + added, clip=10.0)
        return {"truth": miss.item()} | told

    def _read(self, rest: Tensor, x: Tensor, own: Tensor) -> Losses:
        with self.fast():
            _, read = self.net["critic"](beside_rest(rest, x))
        misread = self.misread(read.float(), own)
        self.update("critic", self.read_weight * misread)
        return {"misread": misread.item()}

    def _change(self, rest: Tensor, x: Tensor, own: Tensor, wanted: Tensor) -> Losses:
        generator, critic = self.net["generator"], self.net["critic"]
        with self.fast():
            verdict, read = critic(beside_rest(rest, x))
        misread = self.misread(read.float(), own)
        rest, x, own, wanted, verdict = (part[:BATCH] for part in (rest, x, own, wanted, verdict))
        with self.fast():
            made, beside = self.make(generator, x, wanted)
            against, _ = critic(beside_rest(rest, made.detach()))
        distance = verdict.float().mean() - against.float().mean()
        steep = penalty(critic, beside_rest(rest, x), beside_rest(rest, made.detach()))
        self.update("critic", PENALTY * steep - distance + self.read_weight * misread)
        with frozen(critic):
            with self.fast():
                verdict, read = critic(beside_rest(rest, made))
                back, beside_back = self.make(generator, made, own)
            shown = self.misread(read.float(), wanted)
            cycle = functional.l1_loss(back.float(), x)
            same = (own == wanted).all(1)
            added, told = self.more(x, made, same, torch.cat([beside, beside_back]))
            loss = self.read_weight * shown + self.cycle_weight * cycle + added - verdict.float().mean()
            self.update("generator", loss, clip=10.0)
        losses = {"distance": distance, "misread": misread, "steep": steep, "shown": shown, "cycle": cycle}
        return {name: value.item() for name, value in losses.items()} | told

    def samples(self, net: nn.ModuleDict) -> U8:
        rest = self.material.labelled("neutral")
        x = planes(rest.pictures[:: max(1, len(rest) // 8)][:8])
        columns = [x]
        for condition in self.shown():
            told = np.repeat(condition[None], len(x), 0).astype(np.float32)
            made, _ = self.make(net["generator"], *self.tensors(x, told))
            columns.append(made.float().cpu().numpy())
        return sheet(*columns)


def weighed(x: Tensor, truth: Tensor) -> Tensor:
    """(n, 1, h, w) how much a miss counts: one, and more where ``truth`` differs from ``x``, by its share of the
    picture's whole change. A lid that moves by two pixels then counts about as much as a laugh."""
    change = (truth - x).abs().mean(1, keepdim=True)
    return 1 + CHANGED * change / (change.mean((1, 2, 3), keepdim=True) + FAINT)


def beside_rest(rest: Tensor, x: Tensor) -> Tensor:
    """(n, 6, h, w) what the critic sees of pictures (n, 3, h, w): the face at rest, and twice the change."""
    return torch.cat([rest, 2 * (x - rest)], 1)
