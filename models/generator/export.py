"""The trained networks as the two ONNX files that ship."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from avatar.core.types import F32
from avatar.engines.corrector import CONDITION, CROP, MAPS, MOST_COLOUR, MOST_FLOW, MOST_GAIN
from avatar.models.generator.model import GRID, Block, CorrectorNet, Portrait
from avatar.models.onnx_file import Graph


def _array(tensor: Any) -> F32:
    return np.asarray(tensor.detach().numpy(), np.float32)


class _Writer:
    """Layers of torch as nodes."""

    def __init__(self) -> None:
        self.graph = Graph("generator")

    def conv(self, x: str, layer: Any, order: np.ndarray | None = None) -> str:
        """``order`` rearranges the output's channels."""
        weight, bias = _array(layer.weight), _array(layer.bias)
        if order is not None:
            weight, bias = weight[order], bias[order]
        g, pad = self.graph, list(layer.padding) * 2
        return g.node(
            "Conv", x, g.weight(weight), g.weight(bias), kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride), pads=pad, group=layer.groups,
        )  # fmt: skip

    def linear(self, x: str, layer: Any) -> str:
        g = self.graph
        product = g.node("MatMul", x, g.weight(np.ascontiguousarray(_array(layer.weight).T)))
        return g.node("Add", product, g.weight(_array(layer.bias)))

    def relu(self, x: str) -> str:
        return self.graph.node("Relu", x)

    def shuffled(self, x: str, layer: Any) -> str:
        """Convolution and pixel shuffle. ONNX's DepthToSpace has the four places outermost, torch innermost."""
        channels = layer.out_channels // 4
        order = np.arange(layer.out_channels).reshape(channels, 4).T.ravel()
        return self.graph.node("DepthToSpace", self.conv(x, layer, order), blocksize=2)


def portrait_bytes(net: Portrait) -> bytes:
    """``portrait`` (1, 3, 128, 128) to ``features`` (1, channels, 32, 32)."""
    w = _Writer()
    x = w.graph.input("portrait", (1, 3, CROP, CROP))
    h = w.conv(w.relu(w.conv(w.relu(w.conv(x, net.first)), net.second)), net.third)
    places = _array(net.places)
    w.graph.output("features", w.graph.node("Add", h, w.graph.weight(places)), places.shape)
    return w.graph.model({})


def corrector_bytes(net: CorrectorNet, about: Mapping[str, Any]) -> bytes:
    """``features``, ``drawn`` (1, 3, 128, 128) and ``condition`` (1, CONDITION) to ``maps`` (1, 6, 128, 128).

    :param about: JSON values for the file's metadata.
    """
    w = _Writer()
    g, channels = w.graph, net.shape.channels
    features = g.input("features", (1, channels, GRID, GRID))
    drawn = g.input("drawn", (1, 3, CROP, CROP))
    told = g.input("condition", (1, CONDITION))
    for layer in (net.told[0], net.told[2]):
        told = w.relu(w.linear(told, layer))
    h = g.node("Add", features, w.conv(drawn, net.patch))
    shape = g.weight(np.array((1, -1, 1, 1), np.int64))
    for module in net.blocks:
        block = cast(Block, module)
        one = g.weight(np.ones((1, 1, 1, 1), np.float32))
        scale = g.node("Add", g.node("Reshape", w.linear(told, block.scale), shape), one)
        shift = g.node("Reshape", w.linear(told, block.shift), shape)
        wide = w.relu(g.node("Add", g.node("Mul", w.conv(h, block.wide), scale), shift))
        h = g.node("Add", h, w.conv(w.relu(w.conv(wide, block.depth)), block.narrow))
    up = w.relu(w.shuffled(h, net.up))
    both = g.node("Concat", up, w.relu(w.conv(drawn, net.fine)), axis=1)
    raw = w.shuffled(w.relu(w.conv(both, net.mix)), net.out)
    limits = np.array([MOST_FLOW] * 2 + [MOST_GAIN] + [MOST_COLOUR] * 3, np.float32).reshape(1, MAPS, 1, 1)
    g.output("maps", g.node("Mul", g.node("Tanh", raw), g.weight(limits)), (1, MAPS, CROP, CROP))
    return g.model({key: json.dumps(value) for key, value in about.items()})
