"""From faces without glasses to the network that :mod:`avatar.portrait.glasses` runs.

The network never sees a picture of real glasses: those of the data (:data:`WEARERS`) are what it is judged on.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from avatar.core.types import F32, U8
from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.expression import folders
from avatar.models.glasses.synthesis import wear
from avatar.models.onnx_file import Graph, save
from avatar.parts import LANDMARKER
from avatar.portrait.glasses import CROP, EYES, MIDDLE, as_input, crop_matrix
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.photo import read_photo

log = logging.getLogger(__name__)

WEARERS = (
    9, 13, 15, 26, 61, 64, 84, 92, 94, 102, 118, 119, 130, 134, 138, 142, 147, 151, 154, 156, 202, 203, 219, 250, 252,
    256, 258, 261, 262, 269, 270, 271, 272, 300, 317, 318, 319, 320, 321, 322, 324, 325, 326, 327, 330, 331, 332, 333,
    405, 413, 424, 482,
)  # fmt: skip
"""Numbers of the pictures of faces/t2i in which somebody wears glasses; found by looking at all of them."""
MINUTES = 20.0
CHANNELS = (8, 16, 32, 48)
_BATCH = 16
_DRAW = 2
"""Glasses are drawn at so many times the network's size."""
_MARGIN = 28
"""Pixels kept around the crop, for turns and shifts."""
_BARE = 0.3
"""Share of samples without glasses."""


def held_out(name: str) -> bool:
    """A fifth of the faces is never learnt from: on them false alarms are counted."""
    return zlib.crc32(name.encode()) % 5 == 0


@dataclass(frozen=True)
class Base:
    """A face without glasses: the crop with a margin, at the size that glasses are drawn at."""

    name: str
    picture: U8


def build(data: Path, target: Path, minutes: float = MINUTES, seed: int = 0) -> dict[str, Any]:
    """Learn from ``faces/t2i`` and ``faces/london`` of ``data`` and write the network."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    bases = [base for base in read_bases(data) if not held_out(base.name)]
    net, steps = train(bases, minutes, seed)
    save(target, network_bytes(net, {"steps": steps, "faces": len(bases)}))
    return {"faces": len(bases), "steps": steps, "bytes": target.stat().st_size}


def read_bases(data: Path) -> list[Base]:
    """Everybody without glasses. Raises UsageError where the bundle lacks something."""
    for part in ("faces/london", "faces/t2i"):
        if not (data / part / "index.csv").is_file():
            raise UsageError(f"train glasses: {data} has no {part}/index.csv; give the data bundle")
    bare = [path for path in folders.portraits(data / "faces" / "t2i") if int(path.stem) not in WEARERS]
    named = [(path.stem, path) for path in bare]
    for person in folders.people(data / "faces" / "london"):
        named += [(person.name, path) for path in (person.neutral, person.smile) if path is not None]
    made = []
    with LandmarkDetector(registry.path(LANDMARKER)) as detector:
        for name, path in named:
            rgb = read_photo(path)
            if found := detector.detect(rgb):
                made.append(Base(name, _base(rgb, found[0].landmarks)))
    return made


def _base(rgb: U8, landmarks: F32) -> U8:
    matrix = crop_matrix(landmarks) * _DRAW
    matrix[:, 2] += _MARGIN * _DRAW + 0.5 * _DRAW - 0.5
    size = ((CROP[1] + 2 * _MARGIN) * _DRAW, (CROP[0] + 2 * _MARGIN) * _DRAW)
    return np.asarray(
        cv2.warpAffine(rgb, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def sample(rng: np.random.Generator, bases: Sequence[Base]) -> tuple[U8, F32]:
    """A picture (88, 168, 3) and its frame (88, 168) in [0, 1], which is 0 where there are no glasses."""
    picture = bases[int(rng.integers(len(bases)))].picture
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    middle = (_DRAW * (MIDDLE[0] + _MARGIN + 0.5) - 0.5, _DRAW * (MIDDLE[1] + _MARGIN + 0.5) - 0.5)
    frame = np.zeros(picture.shape[:2], np.float32)
    if rng.random() > _BARE:
        picture, frame = wear(rng, picture, middle, EYES * _DRAW)
    # Landmarks of a face with glasses are off by a little.
    angle, scale = rng.normal(scale=3.0), np.exp(rng.normal(scale=0.05))
    matrix = cv2.getRotationMatrix2D(middle, angle, scale)
    matrix[:, 2] += rng.normal(scale=3.0, size=2) - (_MARGIN * _DRAW, _MARGIN * _DRAW)
    size = (CROP[1] * _DRAW, CROP[0] * _DRAW)
    picture = cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    frame = cv2.warpAffine(frame, matrix, size)
    made = cv2.resize(picture, CROP[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    frame = cv2.resize(frame, CROP[::-1], interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        made = cv2.GaussianBlur(made, (0, 0), rng.uniform(0.3, 1.1))
    made = 255 * np.clip(made / 255, 0, 1) ** np.exp(rng.normal(scale=0.25))
    made = made * rng.uniform(0.7, 1.2) * np.exp(rng.normal(scale=0.06, size=3))
    grey = made.mean(2, keepdims=True)
    made = grey + (made - grey) * rng.uniform(0.5, 1.3) + rng.normal(scale=rng.uniform(0, 5), size=made.shape)
    return np.clip(made, 0, 255).astype(np.uint8), np.asarray(frame, np.float32)


class Net(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of four levels: picture (n, 3, h, w) to logits (n, 1, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        down, before = [], 3
        for channels in CHANNELS:
            down.append(_pair(before, channels))
            before = channels
        self.down = nn.ModuleList(down)
        self.grow = nn.ModuleList([nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(CHANNELS)])
        self.up = nn.ModuleList([_pair(2 * a, a) for a in CHANNELS[:-1]])
        self.last = nn.Conv2d(CHANNELS[0], 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            kept.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([self.grow[level](x), kept[level]], 1))
        return self.last(x)


def _pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
    )  # fmt: skip


def train(bases: Sequence[Base], minutes: float, seed: int) -> tuple[Net, int]:
    """The network after ``minutes``, and how many steps they were."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    begun, steps, told = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - begun) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (steps + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * share)) + 2e-5
        pairs = [sample(rng, bases) for _ in range(_BATCH)]
        x = torch.from_numpy(as_input(np.stack([p for p, _ in pairs])))
        y = torch.from_numpy(np.stack([f for _, f in pairs]))[:, None]
        logits = net(x)
        p = torch.sigmoid(logits)
        # Frames are a few percent of the pixels; the overlap (Dice) does not mind.
        overlap = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y) * 3 + overlap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if share - told > 0.05:
            told = share
            log.info("%3.0f %%, step %d: loss %.3f", 100 * share, steps, float(loss))
    return net.eval(), steps


def network_bytes(net: Any, about: dict[str, Any]) -> bytes:
    """``picture`` (1, 3, 88, 168), values of :func:`avatar.portrait.glasses.as_input`, to ``frame`` (1, 1, 88, 168)."""
    g = Graph("glasses")

    def conv(x: str, layer: Any, norm: Any = None) -> str:
        weight = layer.weight.detach()
        bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach()
        if norm is not None:
            factor = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * factor[:, None, None, None]
            bias = norm.bias.detach() + (bias - norm.running_mean) * factor
        k, pad = layer.kernel_size[0], int(layer.padding[0])
        return g.node("Conv", x, g.weight(weight.numpy()), g.weight(bias.numpy()), kernel_shape=[k, k], pads=[pad] * 4)

    def pair(x: str, block: Any) -> str:
        for i in (0, 3):
            x = g.node("Relu", conv(x, block[i], block[i + 1]))
        return x

    x = g.input("picture", (1, 3, *CROP))
    kept = []
    for level, block in enumerate(net.down):
        x = pair(x if level == 0 else g.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), block)
        kept.append(x)
    for level in reversed(range(len(net.up))):
        layer = net.grow[level]
        up = g.node(
            "ConvTranspose", x, g.weight(layer.weight.detach().numpy()), g.weight(layer.bias.detach().numpy()),
            kernel_shape=[2, 2], strides=[2, 2],
        )  # fmt: skip
        x = pair(g.node("Concat", up, kept[level], axis=1), net.up[level])
    g.output("frame", g.node("Sigmoid", conv(x, net.last)), (1, 1, *CROP))
    return g.model({key: json.dumps(value) for key, value in about.items()})
