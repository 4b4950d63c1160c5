"""A bidirectional LSTM of the HMM's size: what a network makes of the same clips (baseline for the judge only).

It sees the whole sound, past and future, and gives a mean and a deviation for each gesture feature.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

F64 = NDArray[np.float64]


class Blstm(nn.Module):
    """(batch, T, inputs) to mean and logarithm of the deviation, (batch, T, outputs) each."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, 2 * outputs)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log deviation."""
        mean, spread = self.out(self.net(x)[0]).chunk(2, dim=-1)
        return mean, spread.clamp(-3, 2)


def size(inputs: int, outputs: int, numbers: int) -> int:
    """Hidden units with which the network has about so many free numbers."""
    for hidden in range(2, 200):
        if 8 * hidden * (inputs + hidden + 2) + (2 * hidden + 1) * 2 * outputs >= numbers:
            return hidden
    return 200


def train(
    heard: Sequence[F64], seen: Sequence[F64], numbers: int, thin: int = 3, steps: int = 250, seed: int = 0
) -> Blstm:
    """Maximum likelihood on sequences (T, inputs) and (T, outputs), every ``thin`` rows, in pieces of 3 s."""
    torch.manual_seed(seed)
    net = Blstm(heard[0].shape[1], seen[0].shape[1], size(heard[0].shape[1], seen[0].shape[1], numbers))
    x = [torch.from_numpy(h[::thin].astype(np.float32)) for h in heard]
    y = [torch.from_numpy(s[::thin].astype(np.float32)) for s in seen]
    random = np.random.default_rng(seed)
    span = 300 // thin
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        picks = [(int(random.integers(len(x))), float(random.random())) for _ in range(16)]
        starts = [(i, int(f * max(1, len(x[i]) - span))) for i, f in picks]
        a = torch.stack([x[i][s : s + span] for i, s in starts])
        b = torch.stack([y[i][s : s + span] for i, s in starts])
        mean, spread = net(a)
        loss = (0.5 * ((b - mean) / spread.exp()) ** 2 + spread).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net


@torch.no_grad()
def predict(net: Blstm, heard: F64, thin: int = 3) -> tuple[F64, F64]:
    """Mean and deviation (T, outputs) at every row."""
    mean, spread = net(torch.from_numpy(heard[None, ::thin].astype(np.float32)))
    at, grid = np.arange(len(heard)), np.arange(0, len(heard), thin)

    def spread_out(rows: torch.Tensor) -> F64:
        values = rows[0].numpy().astype(np.float64)
        return np.stack([np.interp(at, grid, column) for column in values.T], axis=1)

    return spread_out(mean), np.exp(spread_out(spread))
