"""The one trainer of all recipes.

It keeps a checkpoint (all or nothing), takes a stopped training up again at the same step with the same random numbers,
writes ``log.csv``, curves for TensorBoard and sheets of samples, and runs in several processes under ``torchrun``::

    torchrun --nproc-per-node 2 -m avatar train ganimation --data DIR

Each process then draws batches of its own and all average their gradients, so a step sees as many batches as there are
processes. Only the first one writes.
"""

from __future__ import annotations

import logging
import os
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from avatar.errors import UsageError
from avatar.models.expression.sheet import write_sheet
from avatar.models.recipes.base import Recipe
from avatar.models.recipes.data import cache
from avatar.models.recipes.events import EventWriter
from avatar.models.run import Average, Run

log = logging.getLogger(__name__)

CHECKPOINT_S = 45.0
LINE = 25
"""Steps from one line of the log to the next."""
_PROGRESS_S = 10.0


class Processes:
    """This process among those that ``torchrun`` started; one alone without it."""

    def __init__(self) -> None:
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        on_cards = torch.cuda.is_available()
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if on_cards else torch.device("cpu")
        if on_cards:
            torch.cuda.set_device(self.device)
        if self.count > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if on_cards else "gloo")

    @property
    def first(self) -> bool:
        return self.rank == 0

    def agree(self, value: float) -> float:
        """The first process' value, in all of them: clocks differ."""
        if self.count == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(told, 0)
        return float(told)


class Trainer(Run):
    """Trains one recipe.

    :param folder: of the checkpoint, the log, the curves and the samples. :param seed: of everything random.
    """

    def __init__(self, kind: type[Recipe], material: Any, folder: Path, seed: int = 0) -> None:
        self.processes = Processes()
        torch.manual_seed(seed)
        self.recipe = kind(material)
        self.seed = seed
        self.device = self.processes.device
        self.recipe.device = self.device
        self.recipe.net.to(self.device)
        self._started = [[group["lr"] for group in o.param_groups] for o in self.recipe.optimizer.values()]
        kept = nn.ModuleDict({name: self.recipe.net[name] for name in kind.averaged})
        super().__init__(kept, folder, LINE)
        self.average = Average(kept, 0.995)
        self._same()
        self._events: EventWriter | None = None

    def _same(self) -> None:
        """All processes begin with the weights of the first one."""
        if self.processes.count > 1:
            for value in self.recipe.net.state_dict().values():
                torch.distributed.broadcast(value, 0)

    def state(self) -> dict[str, Any]:
        made = super().state() | {"net": self.recipe.net.state_dict(), "seed": self.seed, "seen": self._seen}
        return made | {f"optimizer.{name}": o.state_dict() for name, o in self.recipe.optimizer.items()}

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one. Raises UsageError where it is another training's."""
        if not self.checkpoint.is_file():
            return False
        try:
            state = self.load()
            self.recipe.net.load_state_dict(state["net"])
            for name, optimizer in self.recipe.optimizer.items():
                optimizer.load_state_dict(state[f"optimizer.{name}"])
            self.seed, self._seen = state["seed"], state["seen"]
        except (RuntimeError, KeyError, ValueError, EOFError) as error:
            raise UsageError(f"{self.checkpoint} does not fit this recipe; delete it and train again") from error
        return True

    def run(self, steps: int, minutes: float | None = None) -> None:
        """Train until ``steps`` are made in all, or ``minutes`` are spent in all. The number of steps alone gives the
        same result again: time hurries the schedule."""
        began = time.monotonic() - self.spent
        saved = said = time.monotonic()
        while True:
            clock = (time.monotonic() - began) / (60 * minutes) if minutes else 0.0
            done = self.processes.agree(max(self.steps / steps, clock))
            if done >= 1:
                break
            parts = self._step(done)
            self.spent = time.monotonic() - began
            self.count(parts)
            now = time.monotonic()
            if self.processes.first:
                self._tell()
                if now - said > _PROGRESS_S:
                    self._say(done)
                    said = now
                if now - saved > CHECKPOINT_S:
                    self.save()
                    saved = now
        if self.processes.first:
            self.save()
            self.sheet()

    def _step(self, done: float) -> dict[str, float]:
        """Random numbers depend on the step and the process alone."""
        random = np.random.default_rng((self.seed, self.steps, self.processes.rank))
        torch.manual_seed(int(random.integers(1 << 31)))
        for optimizer, rates in zip(self.recipe.optimizer.values(), self._started, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * self.recipe.rate(done)
        self.recipe.net.train()
        self.recipe.done = done
        return self.recipe.step(self.recipe.batch(random), done)

    def _tell(self) -> None:
        """Curves and samples, when they are due."""
        if self._events is None:
            self._events = EventWriter(self.folder)
        if self.rows and self.rows[-1]["steps"] == self.steps:
            row = self.rows[-1]
            self._events.scalars(self.steps, {f"loss/{k}": v for k, v in row.items() if k not in ("minutes", "steps")})
        if self.steps % self.recipe.sample_every == 0:
            self.sheet()

    def _say(self, done: float) -> None:
        left = self.spent * (1 / done - 1) if done else 0.0
        recent = self.rows[-1] if self.rows else {}
        losses = " ".join(f"{k} {v:.3f}" for k, v in recent.items() if k not in ("minutes", "steps"))
        log.info("%s: %d steps, %.0f %%, %.1f minutes left; %s", self.recipe.name, self.steps, 100 * done, left / 60,
                 losses)  # fmt: skip

    def sheet(self) -> Path:
        """Samples of the averaged networks, as ``samples.png`` and as a curve's picture."""
        with torch.no_grad():
            made = self.recipe.samples(self.averaged())
        path = self.folder / "samples.png"
        write_sheet(path, made)
        if self._events is not None:
            _, png = cv2.imencode(".png", cv2.cvtColor(made, cv2.COLOR_RGB2BGR))
            self._events.picture(self.steps, "samples", png.tobytes(), *made.shape[:2])
        return path

    def averaged(self) -> nn.ModuleDict:
        """All networks, in ``eval``; averaged where the recipe asks for it."""
        net = deepcopy(self.recipe.net)
        if self.average.steps:
            for name in self.recipe.averaged:
                own = {k.removeprefix(f"{name}."): v for k, v in self.average.state.items() if k.startswith(f"{name}.")}
                net[name].load_state_dict(own)
        return net.eval()


def train(
    kind: type[Recipe],
    data: Path,
    target: Path,
    minutes: float | None = None,
    resume: bool = False,
    seed: int = 0,
    steps: int | None = None,
) -> dict[str, Any]:
    """Train ``kind`` on the bundle ``data`` and write ``target``. Raises UsageError."""
    torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "2"))))
    trainer = Trainer(kind, kind.load(data), cache() / kind.name, seed)
    if resume:
        trainer.resume()
    trainer.run(steps or kind.steps, minutes)
    if not trainer.processes.first:
        return {}
    target.parent.mkdir(parents=True, exist_ok=True)
    trainer.recipe.write(trainer.averaged().cpu(), target, {"recipe": kind.name, "steps": trainer.steps, "seed": seed})
    return {
        "steps": trainer.steps,
        "minutes": round(trainer.spent / 60, 1),
        "samples": str(trainer.folder / "samples.png"),
        "bytes": target.stat().st_size,
    }
