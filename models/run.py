"""What every training has, whatever it trains: the time it took so far, a checkpoint, a log, averaged weights."""

from __future__ import annotations

import csv
import logging
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

log = logging.getLogger(__name__)


@cache
def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32 (a step takes half the time then)."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and re.search(r"avx512_bf16|amx_bf16", flags.read_text()) is not None


class Average:
    """Exponential mean of a network's weights, steadier than the last step's."""

    def __init__(self, net: nn.Module, keep: float = 0.998) -> None:
        self._keep = keep
        self.steps = 0
        self.state = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def step(self, net: nn.Module, count: int = 1) -> None:
        """After ``count`` more steps of training."""
        self.steps += count
        keep = min(self._keep, self.steps / (self.steps + 10)) ** count
        for name, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - keep)
            else:
                self.state[name].copy_(value)


class Run:
    """A training that can be stopped and taken up again.

    :param net: what is trained and averaged. :param folder: of checkpoint.pt and log.csv.
    :param every: steps from one line of the log to the next.
    """

    def __init__(self, net: nn.Module, folder: Path, every: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.average = folder, Average(net)
        self.spent, self.steps = 0.0, 0
        """Seconds and steps so far."""
        self.rows: list[dict[str, float]] = []
        self._net, self._every = net, every
        self._seen: list[dict[str, float]] = []

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def state(self) -> dict[str, Any]:
        """What the checkpoint holds; a training adds its own."""
        return {"average": self.average.state, "spent": self.spent, "steps": self.steps, "rows": self.rows}

    def save(self) -> None:
        """Write checkpoint and log, all or nothing."""
        part = self.checkpoint.with_suffix(".part")
        torch.save(self.state(), part)
        part.replace(self.checkpoint)
        if self.rows:
            with (self.folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(self.rows[0]))
                writer.writeheader()
                writer.writerows(self.rows)

    def load(self) -> dict[str, Any]:
        """Take the common part of the checkpoint up again, and hand out all of it."""
        state: dict[str, Any] = torch.load(self.checkpoint, weights_only=True)
        self.average.state, self.average.steps = state["average"], state["steps"]
        self.spent, self.steps, self.rows = state["spent"], state["steps"], state["rows"]
        return state

    def count(self, parts: dict[str, float]) -> None:
        """After a step whose losses are ``parts``."""
        self.steps += 1
        self.average.step(self._net)
        self._seen.append(parts)
        if len(self._seen) == self._every:
            row = {"minutes": round(self.spent / 60, 2), "steps": self.steps}
            row |= {name: round(float(np.mean([p[name] for p in self._seen])), 5) for name in parts}
            self.rows.append(row)
            log.info("%s", row)
            self._seen = []
