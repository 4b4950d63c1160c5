"""Muon: momentum whose steps are made orthogonal (Jordan et al. 2024, "Muon: an optimizer for hidden layers"), scaled
so that a step is as large as AdamW's (Liu et al. 2025, "Muon is scalable for LLM training").

It needs fewer steps than AdamW for the weights of hidden layers, which counts where a training run has an hour of one
core.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Of the quintic iteration that brings all singular values near 1."""


def orthogonal(g: Tensor, rounds: int = 5) -> Tensor:
    """(rows, columns) to the nearest matrix with singular values of about 1, by Newton-Schulz iterations."""
    x = g / (g.norm() + 1e-7)
    turned = x.shape[0] > x.shape[1]
    if turned:
        x = x.T
    for _ in range(rounds):
        a = x @ x.T
        x = _A * x + (_B * a + _C * a @ a) @ x
    return x.T if turned else x


class Muon(torch.optim.Optimizer):
    """For weights (outputs, inputs, kernel) and (outputs, inputs)."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch's overloads also return a loss
        """One step with Nesterov momentum."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                mean = state["momentum"]
                mean.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(mean, group["momentum"]).reshape(len(p), -1))
                size = 0.2 * max(update.shape) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.reshape(p.shape), alpha=-group["lr"] * size)
