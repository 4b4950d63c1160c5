"""Training of the corrector: pixels and edges first, a critic later. With checkpoints."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.facs import ARKIT, INDEX
from avatar.engines.corrector import CROP, condition, presence
from avatar.models.generator.model import CorrectorNet, Critic, Portrait, Shape, compose
from avatar.models.generator.samples import KINDS
from avatar.models.run import Run, has_bfloat16

log = logging.getLogger(__name__)

BATCH = 8
RATE, CRITIC_RATE = 1.5e-3, 4e-4
SHARES = {"smile": 0.46, "mouth": 0.20, "talk": 0.06, "same": 0.28}
ELSEWHERE = 0.6
"""Share of samples whose surroundings are another photo's: people of one studio must not be known by it."""
CRITIC_FROM = 0.4
"""Share of the run after which the critic is asked: before, there is nothing worth criticising."""
CHECKPOINT_S = 60.0
_KEPT = ("both", "judges", "optimizer", "judging")
"""What goes into a checkpoint, besides what every run keeps."""
ADVERSARY, FEATURES, COEFFICIENTS, EDGES, SHADE, EVEN = 0.008, 0.05, 0.02, 0.6, 2.0, 20.0
"""Weights: the critic's verdict, its layers, its reading of the expression; edges; low frequencies outside mouth and
eyes (a face whose colour wanders is worse than one without folds); unevenness of the flow."""
_MIRRORED = np.array(
    [
        INDEX[n.replace("Left", "#").replace("Right", "Left").replace("#", "Right")]
        if n[-4:] in ("Left", "ight")
        else i
        for i, n in enumerate(ARKIT)
    ]
)
_WEIGHTS = np.array((0.15, 1.0, 2.0, 2.4), np.float32)
"""Of :attr:`.samples.Sample.regions`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures (n, 3, 128, 128) in [-1, 1]; ``regions`` (n, 1, 128, 128); ``told`` (n, CONDITION)."""

    portrait: Tensor
    drawn: Tensor
    wanted: Tensor
    regions: Tensor
    told: Tensor
    present: Tensor
    """(n, 1, 1, 1) in [0, 1]."""
    weight: Tensor
    """(n, 1, 128, 128): what a miss costs."""


class Sampler:
    """Draws batches. Deterministic for a seed.

    :param without: people (:func:`.samples.key_of`) who are left out.
    """

    def __init__(self, samples: dict[str, np.ndarray], without: set[int], seed: int = 0) -> None:
        self._samples, self._random = samples, np.random.default_rng(seed)
        usable = ~np.isin(samples["person"], list(without))
        self._of = {k: np.flatnonzero(usable & (samples["kind"] == i)) for i, k in enumerate(KINDS)}
        there = [k for k in KINDS if len(self._of[k])]
        self._kinds, share = there, np.array([SHARES[k] for k in there])
        self._share = share / share.sum()

    def batch(self, n: int) -> Batch:
        """``n`` samples, mirrored, moved and lit at random."""
        random = self._random
        rows = []
        for _ in range(n):
            kind = str(random.choice(self._kinds, p=self._share))
            rows.append(self._one(int(random.choice(self._of[kind])), kind))
        portrait, drawn, wanted, regions, told, present, weight = (
            torch.from_numpy(np.stack(x)) for x in zip(*rows, strict=True)
        )
        return Batch(portrait, drawn, wanted, regions, told, present, weight)

    def _one(self, i: int, kind: str) -> tuple[np.ndarray, ...]:
        s, random = self._samples, self._random
        pictures = np.stack([s[name][i] for name in ("portrait", "drawn", "wanted")]).astype(np.float32)
        regions, relative, photo = s["regions"][i], s["relative"][i], s["photo"][i]
        if random.random() < 0.5:
            pictures, regions = pictures[:, :, ::-1], regions[:, ::-1]
            relative, photo = relative[_MIRRORED], photo[_MIRRORED]
        dx, dy = (int(v) for v in random.integers(-2, 3, 2))
        pictures, regions = np.roll(pictures, (dy, dx), (1, 2)), np.roll(regions, (dy, dx), (0, 1))
        if random.random() < ELSEWHERE:
            other = s["portrait"][int(random.integers(len(s["portrait"])))].astype(np.float32)
            inside = cv2.GaussianBlur((regions > 0).astype(np.float32), (0, 0), 2.0)[..., None]
            pictures = pictures * inside + other * (1 - inside)
        pictures = another_light(pictures, random)
        planes = np.clip(pictures, 0, 255).transpose(0, 3, 1, 2) * np.float32(2 / 255) - np.float32(1)
        told = condition(relative, photo)
        weight = _WEIGHTS[regions]
        if kind == "same":  # what is inside a painted mouth is not as it should be
            weight = np.where(regions == 3, np.float32(0), np.maximum(weight, 0.5))
        elif kind == "mouth":  # the skin is as it was photographed, painted mouth or not: it teaches nothing
            weight = np.where(regions == 3, 2 * weight, np.float32(0.1))
        share = np.float32(1 if kind == "mouth" else presence(relative))
        present = np.full((1, 1, 1), share, np.float32)
        return (*planes, regions[None].astype(np.float32), told, present, weight[None].astype(np.float32))


def another_light(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Pictures (k, h, w, 3) in [0, 255] of one sample under one random light: exposure, tint, gamma, a slope."""
    at = np.linspace(-0.5, 0.5, CROP, dtype=np.float32)
    across, down = random.normal(0, 0.2, 2)
    slope = np.clip(1 + across * at[None, :] + down * at[:, None], 0.6, 1.4)[..., None]
    gain = random.uniform(0.7, 1.15) * random.uniform(0.88, 1.12, 3) * slope
    curve = float(np.exp(random.normal(0, 0.2)))
    lit = (np.clip(pictures, 0, 255) / 255) ** curve * gain * 255
    return np.asarray(lit, np.float32)


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def losses(made: Tensor, maps: Tensor, truth: Batch) -> Tensor:
    """All that needs no critic."""
    miss = made - truth.wanted
    loss = 3 * (((miss**2 + 0.0025).sqrt() - 0.05) * truth.weight).mean() + 3 * (miss**2 * truth.weight).mean()
    a, b, w = made, truth.wanted, truth.weight.clamp(max=1.5)
    for _ in range(3):
        (ya, xa), (yb, xb) = edges(a), edges(b)
        loss = loss + EDGES * (((ya - yb).abs() * w[..., 1:, :]).mean() + ((xa - xb).abs() * w[..., 1:]).mean())
        a, b, w = (functional.avg_pool2d(t, 2) for t in (a, b, w))
    away = 1 - functional.max_pool2d((truth.regions >= 2).float(), 16)
    loss = loss + SHADE * (functional.avg_pool2d(maps[:, 2:], 16) ** 2 * away).mean()
    fy, fx = edges(maps[:, :2])
    return loss + EVEN * ((fy**2).mean() + (fx**2).mean()) + 0.002 * (maps[:, 3:] ** 2).mean()


def mouths(x: Tensor, regions: Tensor) -> Tensor:
    """The part of ``x`` around the mouth, (n, 3, 48, 64)."""
    out = []
    for one, region in zip(x, regions, strict=True):
        at = torch.nonzero(region[0] == 3).float()
        cy, cx = (int(v) for v in at.mean(0)) if len(at) else (CROP // 2, CROP // 2)
        top, left = min(max(cy - 24, 0), CROP - 48), min(max(cx - 32, 0), CROP - 64)
        out.append(one[:, top : top + 48, left : left + 64])
    return torch.stack(out)


class Trainer(Run):
    """Trains the corrector.

    :param folder: of checkpoint.pt, log.csv and sample sheets. :param without: people who are left out.
    """

    def __init__(
        self, samples: dict[str, np.ndarray], folder: Path, without: set[int] | None = None, seed: int = 0,
        shape: Shape | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        self.shape = shape or Shape()
        self.portrait, self.net = Portrait(self.shape), CorrectorNet(self.shape)
        self.both = nn.ModuleDict({"portrait": self.portrait, "corrector": self.net})
        super().__init__(self.both, folder, every=50)
        self.critic, self.local = Critic(self.shape.critic), Critic(self.shape.critic)
        self.judges = nn.ModuleDict({"whole": self.critic, "mouth": self.local})
        self.sampler = Sampler(samples, without or set(), seed)
        self.optimizer = torch.optim.AdamW(self.both.parameters(), RATE, (0.85, 0.99), weight_decay=1e-4)
        self.judging = torch.optim.Adam(self.judges.parameters(), CRITIC_RATE, (0.5, 0.99))

    def state(self) -> dict[str, Any]:
        return super().state() | {name: getattr(self, name).state_dict() for name in _KEPT}

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = self.load()
        for name in _KEPT:
            getattr(self, name).load_state_dict(state[name])

    def run(self, steps: int, minutes: float | None = None) -> None:
        """Train until ``steps`` are made in all, or ``minutes`` are spent in all: a hurried run hurries its plan too,
        so only the number of steps gives the same result again."""
        began = time.monotonic() - self.spent
        saved = time.monotonic()

        def share_done() -> float:
            return max(self.steps / steps, (time.monotonic() - began) / (60 * minutes) if minutes else 0.0)

        while (done := share_done()) < 1:
            share = min(1.0, (self.steps + 1) / 80) * (1 - done) ** 0.8
            for group in self.optimizer.param_groups:
                group["lr"] = RATE * max(share, 0.01)
            parts = self._step(done > CRITIC_FROM)
            self.spent = time.monotonic() - began
            self.count(parts)
            if time.monotonic() - saved > CHECKPOINT_S:
                self.save()
                saved = time.monotonic()
        self.save()

    def _step(self, criticised: bool) -> dict[str, float]:
        batch = self.sampler.batch(BATCH)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            maps = self.net(self.portrait(batch.portrait), batch.drawn, batch.told)
        maps = maps.float() * batch.present
        made = compose(batch.drawn, maps)
        loss = losses(made, maps, batch)
        if criticised:
            loss = loss + self._criticise(made, batch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.both.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            inside = (batch.regions > 0).float()
            total = 3 * inside.sum()

            def squared(x: Tensor, where: Tensor = inside, total: Tensor = total) -> float:
                return float(((x - batch.wanted) ** 2 * where).sum() / total)

            return {
                "loss": float(loss), "made": squared(made), "drawn": squared(batch.drawn),
                "mask": float(maps[:, 2:].abs().mean()), "flow": float(maps[:, :2].abs().mean()),
            }  # fmt: skip

    def _criticise(self, made: Tensor, batch: Batch) -> Tensor:
        """Teach the critics, and say what they cost the corrector."""
        total = torch.zeros(())
        state = batch.told[:, len(ARKIT) : 2 * len(ARKIT)]
        for judge, view in ((self.critic, lambda x: x), (self.local, lambda x: mouths(x, batch.regions))):
            real, fake = view(batch.wanted), view(made)
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
                verdict, read, _ = judge(real)
                against, _, _ = judge(fake.detach())
            verdict, read, against = verdict.float(), read.float(), against.float()
            taught = functional.relu(1 - verdict).mean() + functional.relu(1 + against).mean()
            taught = taught + ((read - state) ** 2).mean()
            self.judging.zero_grad(set_to_none=True)
            torch.autograd.backward(taught)
            self.judging.step()
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
                against, read, seen = judge(fake)
                with torch.no_grad():
                    _, _, wanted = judge(real)
            alike = sum(((a.float() - b.float()).abs().mean() for a, b in zip(seen, wanted, strict=True)), total * 0)
            total = total - ADVERSARY * against.float().mean() + FEATURES * alike
            total = total + COEFFICIENTS * ((read.float() - state) ** 2).mean()
        return total

    def averaged(self) -> tuple[Portrait, CorrectorNet]:
        """The networks that ship."""
        return averaged(self.average.state, self.shape)


def averaged(state: dict[str, Tensor], shape: Shape) -> tuple[Portrait, CorrectorNet]:
    both = nn.ModuleDict({"portrait": Portrait(shape), "corrector": CorrectorNet(shape)})
    both.load_state_dict(state)
    both.eval()
    portrait, net = both["portrait"], both["corrector"]
    assert isinstance(portrait, Portrait)
    assert isinstance(net, CorrectorNet)
    return portrait, net


def sheet(portrait: Portrait, net: CorrectorNet, sampler: Sampler, path: Path, rows: int = 12) -> None:
    """Portrait, drawn, made, wanted and the mask of a few samples, as a picture."""
    batch = sampler.batch(rows)
    with torch.no_grad():
        maps = net(portrait(batch.portrait), batch.drawn, batch.told) * batch.present
        made = compose(batch.drawn, maps)
    mask = (maps[:, 2:].abs().amax(1, keepdim=True) * 4 - 1).clamp(-1, 1).expand(-1, 3, -1, -1)
    columns = torch.cat([batch.portrait, batch.drawn, made, batch.wanted, mask], 3)
    pixels = ((columns.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).reshape(-1, columns.shape[3], 3)
    cv2.imwrite(str(path), cv2.cvtColor(pixels.numpy().astype(np.uint8), cv2.COLOR_RGB2BGR))
