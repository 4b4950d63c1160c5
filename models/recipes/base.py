"""The contract of a recipe: networks, losses, schedule and judge. :class:`.trainer.Trainer` does all the rest.

A recipe has no loop, no file and no clock. ``batch`` draws from the generator that it is given, so step n of a training
is the same whether it was interrupted before or not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from avatar.core.types import U8
from avatar.models.recipes import data
from avatar.models.run import has_bfloat16

Losses = dict[str, float]
Figures = dict[str, Any]


class Recipe(ABC):
    """One method. Made once for a training, or for its samples.

    :param material: what :meth:`material` gave.
    """

    name: ClassVar[str]
    """As in ``avatar train NAME``."""
    steps: ClassVar[int]
    """Of the small configuration, which ends on two cores within ten minutes."""
    averaged: ClassVar[tuple[str, ...]] = ()
    """Networks whose weights are averaged over the steps; samples and files are made of the averages."""
    sample_every: ClassVar[int] = 500
    """Steps from one sheet of samples to the next."""

    def __init__(self, material: Any) -> None:
        self.material = material
        self.done = 0.0
        """Share of the training so far, for :meth:`batch`."""
        self.device = torch.device("cpu")
        self.net: nn.ModuleDict = nn.ModuleDict(self.networks())
        self.optimizer: Mapping[str, torch.optim.Optimizer] = self.optimizers()

    # --- what a recipe says of itself

    @classmethod
    def load(cls, bundle: Path) -> Any:
        """What is learnt from. :param bundle: ``--data``. Raises UsageError."""
        return data.faces(bundle).part("learn")

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """By name; called once, after the seed is set."""

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By name, over the parameters of ``self.net[...]``; their rates are the largest ones."""

    @abstractmethod
    def batch(self, random: np.random.Generator) -> Any:
        """What one step learns from: a tensor, or a tuple of them."""

    @abstractmethod
    def step(self, batch: Any, done: float) -> Losses:
        """One step: losses, and :meth:`update` for each optimizer that has its turn.

        :param done: share of the training, 0 to 1.
        """

    @abstractmethod
    def samples(self, net: nn.ModuleDict) -> U8:
        """A sheet (h, w, 3) to look at; always of the same people. :param net: with averaged weights, in ``eval``."""

    @abstractmethod
    def write(self, net: nn.ModuleDict, target: Path, about: Mapping[str, Any]) -> None:
        """The file that is used (ONNX, npz). :param about: JSON values for its metadata."""

    @classmethod
    @abstractmethod
    def judge(cls, file: Path, held: Any) -> Figures:
        """Figures of a written file on people who were not learnt from.

        :param held: the whole :class:`.data.Faces`; take its parts ``held`` and ``judge``.
        """

    # --- what a recipe uses

    def rate(self, done: float) -> float:
        """Factor of the learning rates: a short rise, full, and linearly to nothing over the second half."""
        return min(1.0, 2 * (1 - done), done * 50 + 0.1)

    def update(self, name: str, loss: Tensor, clip: float | None = None) -> None:
        """One step of an optimizer down ``loss``; with several processes the gradients are averaged first."""
        optimizer = self.optimizer[name]
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        averaged(parameters)
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()

    @contextmanager
    def fast(self) -> Iterator[None]:
        """Convolutions in bfloat16 meanwhile, where this processor is faster in it. What comes out may be bfloat16:
        take ``.float()`` of it."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cpu" and has_bfloat16()):
            yield

    def tensors(self, *arrays: np.ndarray) -> tuple[Tensor, ...]:
        """Arrays on this recipe's device."""
        return tuple(torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in arrays)


def averaged(parameters: list[nn.Parameter]) -> None:
    """Gradients averaged over all processes, as one message; nothing to do for one process.

    ``DistributedDataParallel`` does this within ``backward``, and counts on one backward pass for each forward pass.
    Here several networks share a pass, and penalties differentiate twice, so it is done after it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized() and parameters):
        return
    flat = parameters_to_vector([p.grad for p in parameters if p.grad is not None])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    at = 0
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad.copy_(flat[at : at + parameter.numel()].view_as(parameter))
        at += parameter.numel()


@contextmanager
def frozen(*nets: nn.Module) -> Iterator[None]:
    """Their parameters need no gradients meanwhile: what passes through them is cheaper."""
    touched = [p for net in nets for p in net.parameters() if p.requires_grad]
    for parameter in touched:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in touched:
            parameter.requires_grad_(True)
