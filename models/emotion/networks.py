"""Small causal networks on the descriptors of each frame, to be compared with the matrix that ships: a convolutional
recurrent one, a transformer, the same after masked pre-training, and one that learnt from the answers of others.

They get the speaker from outside: from each descriptor the running mean of what the speaker said before is taken off,
and in training that mean knows a random number of clips, none included, so that one network serves a stranger too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar.analysis.emotion import CLASSES, WINDOW_HOPS
from avatar.analysis.voice_frames import WIDTH
from avatar.core.types import F32

SIZE = 64
STRIDE = 4
"""Frames to a step of the network."""
STEPS = WINDOW_HOPS // STRIDE
PRIOR_CLIPS = 6.0
EPOCHS, BATCH, RATE = 20, 64, 2e-3
MASKED, SPAN = 0.3, 4
"""Share of the steps that are hidden in pre-training, and how many in a row."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Clips of at most two seconds."""

    frames: F32
    """(n, WINDOW_HOPS, WIDTH) standardised, zeros after the end."""
    lengths: np.ndarray
    """(n,) frames."""

    @classmethod
    def of(cls, clips: list[F32], mean: F32, std: F32) -> Windows:
        """From the frames (T, WIDTH) of each clip."""
        out = np.zeros((len(clips), WINDOW_HOPS, WIDTH), np.float32)
        lengths = np.array([min(len(clip), WINDOW_HOPS) for clip in clips])
        for row, clip, n in zip(out, clips, lengths, strict=True):
            row[:n] = np.clip((clip[:n] - mean) / std, -5, 5)
        return cls(out, lengths)

    def means(self) -> F32:
        """(n, WIDTH) of each clip."""
        return np.asarray(self.frames.sum(axis=1) / self.lengths[:, None], np.float32)

    def without(self, shift: F32) -> Tensor:
        """(n, WINDOW_HOPS, WIDTH) less ``shift`` (n, WIDTH) where there is sound."""
        there = np.arange(WINDOW_HOPS)[None] < self.lengths[:, None]
        return torch.from_numpy((self.frames - shift[:, None]) * there[..., None])


class Causal(nn.Module):
    """(n, T, WIDTH) to (n, T / STRIDE, SIZE): two convolutions that look back only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(WIDTH, SIZE, 5, 2)
        self.second = nn.Conv1d(SIZE, SIZE, 5, 2)
        self.norms = nn.ModuleList(nn.BatchNorm1d(SIZE) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for layer, norm in zip((self.first, self.second), self.norms, strict=True):
            x = functional.gelu(norm(layer(functional.pad(x, (3, 0)))))
        return x.transpose(1, 2)


class Recurrent(nn.Module):
    """Steps to steps: a gated recurrent unit."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.GRU(SIZE, SIZE, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.unit(x)[0]
        return out


class Attention(nn.Module):
    """Steps to steps: two layers of a transformer that looks back only (Vaswani et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(SIZE, 4, 2 * SIZE, 0.2, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.place = nn.Parameter(0.02 * torch.randn(STEPS, SIZE))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(STEPS), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x + self.place, mask=self.mask, is_causal=True)
        return out


class Network(nn.Module):
    """(n, WINDOW_HOPS, WIDTH) to log odds (n, classes): mean and maximum over the steps that hold sound."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.front, self.body = Causal(), body
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * SIZE, len(CLASSES)))
        self.guess = nn.Linear(SIZE, STRIDE * WIDTH)
        """For pre-training: the frames of a hidden step."""

    def forward(self, x: Tensor) -> Tensor:
        steps = self.body(self.front(x))
        there = (x.abs().amax(dim=2)[:, STRIDE - 1 :: STRIDE] > 0).float()[..., None]
        mean = (steps * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        top = (steps - 1e3 * (1 - there)).amax(dim=1)
        out: Tensor = self.head(torch.cat((mean, top), dim=1))
        return out


def parameters(net: Network) -> int:
    """How many weights the classifier has, without the part that only pre-training needs."""
    return sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in net.guess.parameters())


def shifts_for_training(means: F32, groups: np.ndarray, random: np.random.Generator) -> F32:
    """(n, WIDTH) to be taken off each clip: its speaker's mean over a random number of other clips, shrunk."""
    out = np.zeros_like(means)
    for i, group in enumerate(groups):
        mine = np.flatnonzero(groups == group)
        count = int(random.choice([0, 1, 3, 6, 12, len(mine)]))
        some = random.choice(mine, min(count, len(mine)), replace=False)
        out[i] = means[some].sum(axis=0) / (len(some) + PRIOR_CLIPS)
    return out


def train(net: Network, data: Windows, groups: np.ndarray, wanted: F32, share: F32, seed: int, epochs: int) -> None:
    """Learn ``wanted`` (n, classes), probabilities; each clip weighs ``share`` (n,)."""
    random = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * -(-len(groups) // BATCH))
    means, targets, weights = data.means(), torch.from_numpy(wanted), torch.from_numpy(share / share.mean())
    net.train()
    for _ in range(epochs):
        x = data.without(shifts_for_training(means, groups, random))
        for some in torch.from_numpy(random.permutation(len(groups))).split(BATCH):
            part = _hidden_pieces(x[some], random)
            loss = -(targets[some] * functional.log_softmax(net(part), dim=1)).sum(dim=1)
            optimiser.zero_grad()
            (loss * weights[some]).mean().backward()
            optimiser.step()
            schedule.step()
    net.eval()


def _hidden_pieces(x: Tensor, random: np.random.Generator) -> Tensor:
    """A stretch of time and some descriptors zeroed (SpecAugment, Park et al. 2019)."""
    first, width = int(random.integers(WINDOW_HOPS - 40)), int(random.integers(1, WIDTH // 6))
    low = int(random.integers(WIDTH - width))
    x = x.clone()
    x[:, first : first + int(random.integers(1, 40))] = 0
    x[:, :, low : low + width] = 0
    return x


def pretrain(net: Network, data: Windows, groups: np.ndarray, seed: int, epochs: int) -> None:
    """Guess hidden stretches of unlabelled speech from what was heard before them."""
    random = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.02)
    means = data.means()
    net.train()
    for _ in range(epochs):
        x = data.without(shifts_for_training(means, groups, random))
        for some in torch.from_numpy(random.permutation(len(groups))).split(BATCH):
            part = x[some]
            n = len(part)
            starts = torch.from_numpy(random.random((n, STEPS // SPAN + 1)) < MASKED)
            hidden = starts.repeat_interleave(SPAN, dim=1)[:, :STEPS]
            seen = part * (~hidden).repeat_interleave(STRIDE, dim=1)[..., None]
            guess = net.guess(net.body(net.front(seen)))
            target = part.reshape(n, STEPS, STRIDE * WIDTH)
            there = hidden & (target.abs().amax(dim=2) > 0)
            loss = functional.smooth_l1_loss(guess[there], target[there])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    net.eval()


@torch.no_grad()
def answers(net: Network, x: Tensor) -> F32:
    """(n, classes) log odds."""
    net.eval()
    return np.concatenate([net(part).numpy() for part in x.split(256)])
