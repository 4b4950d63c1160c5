"""CycleGAN (Zhu, Park, Isola & Efros 2017): faces at rest to smiling ones and back, without pairs.

    L(G, F, D_X, D_Y) = L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda L_cyc                                  (equation 3)
    L_cyc = E[|F(G(x)) - x|] + E[|G(F(y)) - y|]                                                       (equation 2)

with the least-squares form of L_GAN and lambda = 5. What differs: the picture is moved by a small flow and changed in
colour, nothing at first, so that the identity loss of the paper's section 5.2 is not needed; a critic has one verdict
of the whole face, since of 64 verdicts on patches two or three could see a smile; critics learn alone at the beginning,
and are held back by their slope at real pictures (R1).

No pairs: who rests and who smiles are drawn independently, and nothing tells which belong together. Both sets hold the
same people, as the paper's maps and photographs are of the same places: of a hundred people in two halves, critics
can learn which half somebody is of.

Limits: what a smile is, is what tells the two sets apart; one expression; the mouth of a closed face is invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.types import U8
from avatar.models.recipes.base import Figures, Losses, Recipe, frozen
from avatar.models.recipes.blocks import Critic, Translator, least_squares, repainted, slope
from avatar.models.recipes.data import SIZE, Faces, planes
from avatar.models.recipes.export import Writer
from avatar.models.recipes.looks import Session, absolute, sheet
from avatar.models.recipes.pix2pix import STRONG, TARGET, figures, pairs
from avatar.models.recipes.reader import varied
from avatar.models.recipes.trainer import train

BATCH, SEEN, RATE, CRITIC_RATE, CYCLE = 4, 12, 5e-4, 1e-3, 5.0
"""Pictures of each side that are changed, and that the critics see."""
TURN, FIRST = 0.06, 32
"""Share of the training in which the critics learn alone, from unchanged pictures, and how many of each side."""
STEEP, EVERY = 0.05, 4
"""Weight of the critics' squared slopes at real pictures, and the steps from one time to the next."""


class CycleGan(Recipe):
    """Material: :class:`.data.Faces`: those at rest on one side, full smiles on the other."""

    name: ClassVar[str] = "cyclegan"
    steps: ClassVar[int] = 1500
    averaged: ClassVar[tuple[str, ...]] = ("there", "back")

    def __init__(self, material: Faces) -> None:
        super().__init__(material)
        rest, smile = material.labelled("neutral"), material.labelled(TARGET)
        # Smiles are seen from one place: a turned face at rest would tell the sets apart by its turn.
        self._rest = rest.where(np.abs(rest.pose).max(1) == 0).pictures
        self._smile = smile.where(smile.intensity >= STRONG).pictures

    def networks(self) -> dict[str, nn.Module]:
        made: dict[str, nn.Module] = {name: Translator(maps=5) for name in ("there", "back")}
        return made | {name: Critic(read=1) for name in ("smiling", "resting")}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        both = [*self.net["there"].parameters(), *self.net["back"].parameters()]
        critics = [*self.net["smiling"].parameters(), *self.net["resting"].parameters()]
        return {
            "generators": torch.optim.Adam(both, RATE, (0.5, 0.99)),
            "critics": torch.optim.Adam(critics, CRITIC_RATE, (0.5, 0.99)),
        }

    def batch(self, random: np.random.Generator) -> tuple[Tensor, ...]:
        size = FIRST if self.done < TURN else SEEN
        drawn = [s[random.integers(len(s), size=size)] for s in (self._rest, self._smile)]
        return self.tensors(*(varied(planes(p), random) for p in drawn))

    def step(self, batch: Any, done: float) -> Losses:
        x, y = batch
        if done < TURN:
            return {"critics": self._judged(x, y, y, x), "fooled": 0.0, "cycle": 0.0}
        there, back = self.net["there"], self.net["back"]
        shown = x, y
        x, y = x[:BATCH], y[:BATCH]
        with self.fast():
            smile, rest = repainted(x, there(x).float()), repainted(y, back(y).float())
        against = self._judged(*shown, rest.detach(), smile.detach())
        with frozen(self.net["smiling"], self.net["resting"]):
            with self.fast():
                again = repainted(smile, back(smile).float()), repainted(rest, there(rest).float())
            fooled = least_squares(self._verdict("smiling", smile), True)
            fooled = fooled + least_squares(self._verdict("resting", rest), True)
            cycle = functional.l1_loss(again[0], x) + functional.l1_loss(again[1], y)
            self.update("generators", fooled + CYCLE * cycle, clip=10.0)
        return {"critics": against, "fooled": fooled.item(), "cycle": cycle.item()}

    def _judged(self, rest: Tensor, smile: Tensor, no_rest: Tensor, no_smile: Tensor) -> float:
        """One step of both critics: two are real, two are not."""
        pairs = (("resting", rest, no_rest), ("smiling", smile, no_smile))
        against, steep = rest.new_zeros(()), rest.new_zeros(())
        for name, real, made in pairs:
            against = against + least_squares(self._verdict(name, real), True) / 4
            against = against + least_squares(self._verdict(name, made), False) / 4
        if float(torch.rand(())) < 1 / EVERY:
            for name, real, _ in pairs:
                steep = steep + slope(partial(self.whole, name), real[:BATCH])
        self.update("critics", against + STEEP * EVERY * steep)
        return against.item()

    def whole(self, name: str, x: Tensor) -> Tensor:
        """(n, 1) the verdict of a critic on pictures (n, 3, h, w)."""
        made: Tensor = self.net[name](x)[1]
        return made

    def _verdict(self, name: str, x: Tensor) -> Tensor:
        with self.fast():
            return self.whole(name, x).float()

    def samples(self, net: nn.ModuleDict) -> U8:
        x, y = self.tensors(planes(self._rest[:8]), planes(self._smile[:8]))
        there, back = net["there"], net["back"]
        smile, rest = repainted(x, there(x)), repainted(y, back(y))
        columns = x, smile, repainted(smile, back(smile)), y, rest, repainted(rest, there(rest))
        return sheet(*(c.clamp(-1, 1).cpu().numpy() for c in columns))

    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        """``picture`` (1, 3, 64, 64) to ``smiling`` and ``resting``, the picture on each side."""
        there, back = net["there"], net["back"]
        assert isinstance(there, Translator)
        assert isinstance(back, Translator)
        w, shape = Writer(self.name), (1, 3, SIZE, SIZE)
        x = w.graph.input("picture", shape)
        w.graph.output("smiling", w.repainted(x, w.translator(x, there, SIZE), SIZE)[0], shape)
        w.graph.output("resting", w.repainted(x, w.translator(x, back, SIZE), SIZE)[0], shape)
        w.save(target, about)

    @classmethod
    def judge(cls, file: Path, held: Faces) -> Figures:
        """PSNR of the smile of people held out, as pix2pix has it, and grey levels between a picture and what comes
        back."""
        rest, smile = (planes(p) for p in pairs(held.part("held")))
        known = [planes(p) for p in pairs(held.part("learn"))]
        session = Session(file)
        there, away = session(rest)[0], session(smile)[1]
        found = figures(there, rest, smile, (known[1] - known[0]).mean(0))
        cycle = (absolute(session(there)[1], rest) + absolute(session(away)[0], smile)) / 2
        moves = (absolute(there, rest) + absolute(away, smile)) / 2
        return found | {"cycle_l1": round(cycle, 2), "moved_l1": round(moves, 2)}


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """``avatar train cyclegan``. Raises UsageError."""
    return train(CycleGan, data, target, minutes, resume, seed)
