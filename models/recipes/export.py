"""Trained modules as ONNX, layer by layer, without the ``onnx`` package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from avatar.core.types import F32
from avatar.models.onnx_file import Graph, save
from avatar.models.recipes.blocks import (
    MOST_FLOW,
    ConditionalNorm,
    Residual,
    Told,
    ToldResidual,
    Translator,
    UNet,
    base_grid,
)


def _array(tensor: Tensor | None) -> F32:
    assert tensor is not None
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


class Writer:
    """Layers of torch as nodes of one graph."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name)

    def module(self, x: str, module: nn.Module) -> str:
        """Apply ``module`` to the value ``x``. Raises TypeError for a layer that cannot be written."""
        graph = self.graph
        if isinstance(module, nn.Sequential | nn.ModuleList):
            for layer in module:
                x = self.module(x, layer)
            return x
        if isinstance(module, nn.Conv2d):
            return self.conv(x, module)
        if isinstance(module, nn.InstanceNorm2d):
            gain, offset = graph.weight(_array(module.weight)), graph.weight(_array(module.bias))
            return graph.node("InstanceNormalization", x, gain, offset, epsilon=float(module.eps))
        if isinstance(module, nn.Linear):
            product = graph.node("MatMul", x, graph.weight(np.ascontiguousarray(_array(module.weight).T)))
            return graph.node("Add", product, graph.weight(_array(module.bias)))
        if isinstance(module, nn.Upsample):
            scales = graph.weight(np.array((1, 1, 2, 2), np.float32), exact=True)
            return graph.node("Resize", x, "", scales, mode="nearest", nearest_mode="floor",
                              coordinate_transformation_mode="asymmetric")  # fmt: skip
        if isinstance(module, Residual):
            return graph.node("Add", x, self.module(x, module.body))
        if isinstance(module, nn.LeakyReLU):
            return graph.node("LeakyRelu", x, alpha=float(module.negative_slope))
        simple = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid", nn.Flatten: "Flatten"}
        if type(module) in simple:
            return graph.node(simple[type(module)], x)
        if isinstance(module, nn.Dropout):
            return x
        raise TypeError(f"no ONNX for {type(module).__name__}")

    def conv(self, x: str, layer: nn.Conv2d, order: np.ndarray | None = None) -> str:
        """``order`` rearranges the output's channels."""
        weight = _array(layer.weight)
        bias = _array(layer.bias)
        if order is not None:
            weight, bias = weight[order], bias[order]
        pad = [int(p) for p in layer.padding] * 2
        return self.graph.node(
            "Conv", x, self.graph.weight(weight), self.graph.weight(bias), kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride), pads=pad, group=layer.groups,
        )  # fmt: skip

    def shuffled(self, x: str, layer: nn.Conv2d) -> str:
        """Convolution and pixel shuffle. ONNX's DepthToSpace has the four places outermost, torch innermost."""
        channels = layer.out_channels // 4
        order = np.arange(layer.out_channels).reshape(channels, 4).T.ravel()
        return self.graph.node("DepthToSpace", self.conv(x, layer, order), blocksize=2)

    def unshuffled(self, x: str) -> str:
        """Pixel unshuffle of three channels, in torch's order: a convolution whose weights are zeros and ones."""
        pick = np.zeros((12, 3, 2, 2), np.float32)
        for c in range(3):
            for i in range(4):
                pick[4 * c + i, c, i // 2, i % 2] = 1
        return self.graph.node("Conv", x, self.graph.weight(pick), kernel_shape=[2, 2], strides=[2, 2])

    def part(self, x: str, *channels: int) -> str:
        """Only these channels of ``x``."""
        return self.graph.node("Gather", x, self.graph.weight(np.array(channels, np.int64)), axis=1)

    def repainted(self, x: str, maps: str, size: int) -> tuple[str, str]:
        """:func:`.blocks.repainted` of ``x`` (1, 3, size, size) by ``maps`` (1, 5, size, size), and its flow (1, 2,
        size, size), in halves of the picture's side."""
        graph = self.graph
        most = graph.weight(np.array([MOST_FLOW], np.float32), exact=True)
        flow = graph.node("Mul", graph.node("Tanh", self.part(maps, 0, 1)), most)
        base = graph.weight(base_grid(size, size).numpy().astype(np.float32), exact=True)
        grid = graph.node("Add", graph.node("Transpose", flow, perm=[0, 2, 3, 1]), base)
        moved = graph.node("GridSample", x, grid, mode="bilinear", padding_mode="border", align_corners=0)
        change = graph.node("Tanh", self.part(maps, 2, 3, 4))
        return graph.node("Add", moved, graph.node("Add", change, change)), flow

    def translator(self, x: str, net: Translator, size: int, condition: str = "") -> str:
        """:class:`.blocks.Translator` on ``x`` (1, 3, size, size)."""
        four = self.unshuffled(x)
        seen = self.module(self.module(four, net.first), net.inward)
        middle = net.middle
        seen = self.residuals(seen, middle, condition) if isinstance(middle, Told) else self.module(seen, middle)
        seen = self.module(seen, net.outward)
        return self.shuffled(self.module(self.graph.node("Concat", seen, four, axis=1), net.mix), net.last)

    def residuals(self, x: str, net: Told, condition: str) -> str:
        """:class:`.blocks.Told` on ``x``, at a quarter of :data:`.data.SIZE`."""
        x = self.graph.node("Add", x, self.graph.weight(_array(net.place)))
        for block in net.blocks:
            assert isinstance(block, ToldResidual)
            inner = self.normed(self.conv(x, block.conv), block.told, condition)
            x = self.graph.node("Add", x, self.module(inner, block.rest))
        return x

    def normed(self, x: str, layer: ConditionalNorm, condition: str) -> str:
        """:class:`.blocks.ConditionalNorm` on ``x`` (1, c, h, w) and ``condition`` (1, count)."""
        shape = self.graph.weight(np.array((1, -1, 1, 1), np.int64))
        scale, shift = (
            self.graph.node("Reshape", self.module(condition, part), shape) for part in (layer.scale, layer.shift)
        )
        kept = self.module(x, layer.norm)
        return self.graph.node("Add", self.graph.node("Add", kept, self.graph.node("Mul", kept, scale)), shift)

    def unet(self, x: str, net: UNet) -> str:
        """:class:`.blocks.UNet` on ``x``."""
        seen = [self.module(self.unshuffled(x), net.first)]
        for layer in net.inward:
            seen.append(self.module(seen[-1], layer))
        h = seen.pop()
        for layer in net.outward:
            h = self.graph.node("Concat", self.module(h, layer), seen.pop(), axis=1)
        return self.shuffled(h, net.last)

    def save(self, target: Path, about: Mapping[str, Any]) -> None:
        """The file, all or nothing; ``about`` goes into its metadata as JSON."""
        save(target, self.graph.model({key: json.dumps(value) for key, value in about.items()}))
