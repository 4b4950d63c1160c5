"""The trained network as the ONNX file that ships: one call takes any number of pairs of hops and the state so far.

Inputs ``features`` (1, MELS, hops) and ``state`` (1, n): every layer's past, one after another. Outputs ``logits``
(1, heads, 2, 18, pairs), the earlier hop of each pair first, and ``next_state``. The file's metadata hold what
:mod:`avatar.analysis.visemes` needs to know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from avatar.analysis.features import MELS
from avatar.analysis.visemes import FORMAT
from avatar.core.types import F32
from avatar.models.onnx_file import Graph
from avatar.models.visemes.model import OUT, PAIR, Causal, Head, VisemeNet


def _array(tensor: Any) -> F32:
    return np.asarray(tensor.detach().numpy(), np.float32)


class _Writer:
    """Writes causal layers whose past comes from slices of one state."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.features = self.graph.input("features", (1, MELS, "hops"))
        self.size = 0
        self.pasts: list[str] = []
        self._end = np.iinfo(np.int64).max

    def ints(self, *values: int) -> str:
        return self.graph.weight(np.array(values, np.int64))

    def causal(self, x: str, layer: Causal) -> str:
        """Convolution and ReLU; a layer that looks back keeps its past in the state."""
        weight, bias = (_array(t) for t in layer.folded())
        channels = weight.shape[1]
        g = self.graph
        if layer.past:
            a, b = self.size, self.size + channels * layer.past
            self.size = b
            flat = g.node("Slice", "state", self.ints(a), self.ints(b), self.ints(1))
            past = g.node("Reshape", flat, self.ints(1, channels, layer.past))
            x = g.node("Concat", past, x, axis=2)
            last = g.node("Slice", x, self.ints(-layer.past), self.ints(self._end), self.ints(2))
            self.pasts.append(g.node("Reshape", last, self.ints(1, channels * layer.past)))
        kernel = weight.shape[2]
        dilation = layer.past // (kernel - 1) if kernel > 1 else 1
        y = g.node("Conv", x, g.weight(weight), g.weight(bias), kernel_shape=[kernel], dilations=[dilation])
        return g.node("Relu", y)


def onnx_bytes(net: VisemeNet, metadata: Mapping[str, Any]) -> bytes:
    """The file. Its ``metadata`` are JSON values; sizes and heads are added."""
    net.eval()
    w = _Writer()
    g = w.graph
    front, c = w.causal(w.features, net.front), net.shape.front
    split = g.node("Reshape", front, w.ints(1, c, -1, PAIR))
    paired = g.node("Reshape", g.node("Transpose", split, perm=[0, 3, 1, 2]), w.ints(1, PAIR * c, -1))
    h = w.causal(paired, net.first)
    for block in net.blocks:
        assert isinstance(block, Causal)
        h = g.node("Add", h, w.causal(h, block))
    # All heads at once: their hidden layers side by side, then one grouped convolution.
    heads = [cast(Head, head) for head in net.heads]
    folded = [head.hidden.folded() for head in heads]
    weight = np.concatenate([_array(f[0]) for f in folded])
    bias = np.concatenate([_array(f[1]) for f in folded])
    hidden = g.node("Relu", g.node("Conv", h, g.weight(weight), g.weight(bias), kernel_shape=[1]))
    out_weight = np.concatenate([_array(head.out.weight) for head in heads])
    out_bias = np.concatenate([_array(head.out.bias) for head in heads])
    outs = g.node("Conv", hidden, g.weight(out_weight), g.weight(out_bias), kernel_shape=[1], group=len(heads))
    logits = g.node("Reshape", outs, w.ints(1, len(heads), PAIR, OUT, -1))
    g.output("logits", logits, (1, len(heads), PAIR, OUT, "pairs"))
    g.output("next_state", g.node("Concat", *w.pasts, axis=1), (1, w.size))
    g.input("state", (1, w.size))
    about = {"format": FORMAT, "heads": list(net.shape.heads), "state": w.size, **metadata}
    return g.model({key: json.dumps(value) for key, value in about.items()})
