"""The viseme network: a causal stack of dilated convolutions with one head for each look-ahead.

Temporal convolutional networks: Bai, Kolter & Koltun 2018, "An empirical evaluation of generic convolutional and
recurrent networks for sequence modeling". After the first layer the trunk works on pairs of hops, 50 times a second.
The head for look-ahead k says, once hops t - 1 and t are there, what the mouth does at hops t - k and t - k + 1; so the
trunk never sees the future and one network serves every look-ahead. Needs torch, which only training does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar.analysis.features import MELS
from avatar.core.facs import VISEMES
from avatar.models.visemes.targets import PHONES

OUT = len(VISEMES) + 3
"""A head's outputs: logits of the visemes, then of jaw, rounding and press."""


PAIR = 2
"""Hops that the trunk takes at once."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network."""

    front: int = 64
    """Channels of the first layer, which sees single hops."""
    front_kernel: int = 5
    channels: int = 176
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1, 2)
    kernel: int = 3
    hidden: int = 88
    """Of each head."""
    heads: tuple[int, ...] = (0, 2, 4, 14)
    """Look-aheads in hops."""


class Causal(nn.Module):
    """Convolution over the present and the past, normalised; ``folded`` gives it with the normalisation inside."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(functional.pad(x, (self.past, 0)))))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (outputs, inputs, kernel) and bias (outputs,)."""
        norm = self.norm
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return self.conv.weight * scale[:, None, None], norm.bias - norm.running_mean * scale


def pairs(x: Tensor) -> Tensor:
    """(n, c, hops) to (n, 2 c, hops / 2): channels of the earlier hop first."""
    n, c, hops = x.shape
    return x.reshape(n, c, hops // PAIR, PAIR).permute(0, 3, 1, 2).reshape(n, PAIR * c, hops // PAIR)


def hops_of(x: Tensor) -> Tensor:
    """(n, 2 c, m) to (n, c, 2 m), the other way round."""
    n, c, m = x.shape
    return x.reshape(n, PAIR, c // PAIR, m).permute(0, 2, 3, 1).reshape(n, c // PAIR, PAIR * m)


class Head(nn.Module):
    """Hidden layer and outputs; ``phones`` is for training only."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.hidden = Causal(channels, hidden, 1)
        self.out = nn.Conv1d(hidden, PAIR * OUT, 1)
        self.phones = nn.Conv1d(hidden, PAIR * len(PHONES), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(x)
        return hops_of(self.out(h)), hops_of(self.phones(h))


class VisemeNet(nn.Module):
    """(batch, MELS, hops) normalised log-mel to, for each look-ahead k, logits (batch, OUT, hops) and (batch, phones,
    hops). Hops come in pairs; place i is about hop i - k + 1, and known when the pair that i is in is complete."""

    def __init__(self, shape: Shape, dropout: float = 0.1) -> None:
        super().__init__()
        self.shape = shape
        c = shape.channels
        self.front = Causal(MELS, shape.front, shape.front_kernel)
        self.first = Causal(PAIR * shape.front, c, 1)
        self.blocks = nn.ModuleList(Causal(c, c, shape.kernel, d) for d in shape.dilations)
        self.heads = nn.ModuleList(Head(c, shape.hidden) for _ in shape.heads)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor) -> Mapping[int, tuple[Tensor, Tensor]]:
        h = self.first(pairs(self.front(x)))
        for block in self.blocks:
            h = h + self.dropout(block(h))
        return {k: head(h) for k, head in zip(self.shape.heads, self.heads, strict=True)}
