"""Just enough of the TFLite format to read a small network, without TensorFlow.

Tables and field numbers: ``tensorflow/compiler/mlir/lite/schema/schema.fbs``; the encoding is FlatBuffers' ("Binary
format" in its documentation): a table points to a list of offsets, one for each field that is there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_KINDS = {0: np.float32, 1: np.float16, 2: np.int32}
OPERATORS = {
    0: "add", 1: "pool", 2: "concat", 3: "conv", 4: "depthwise", 6: "dequantize", 14: "logistic", 17: "maxpool",
    18: "mul", 19: "relu", 22: "reshape", 23: "resize", 32: "custom", 34: "pad", 39: "transpose", 40: "mean", 41: "sub",
    42: "div", 45: "slice", 54: "prelu", 59: "neg", 74: "sum", 75: "sqrt", 76: "rsqrt", 99: "squared_difference",
    117: "hardswish",
}  # fmt: skip
"""Numbers of ``BuiltinOperator`` that are known here."""
ACTIVATIONS = {0: "", 1: "relu"}


class _Table:
    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - struct.unpack_from("<i", data, at)[0]
        self._length = struct.unpack_from("<H", data, self._fields)[0]

    def _place(self, field: int) -> int:
        """Where the field lies; 0 = it is not there."""
        entry = 4 + 2 * field
        if entry >= self._length:
            return 0
        offset = struct.unpack_from("<H", self._data, self._fields + entry)[0]
        return self._at + offset if offset else 0

    def _target(self, field: int) -> int:
        place = self._place(field)
        return place + struct.unpack_from("<I", self._data, place)[0] if place else 0

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """``kind`` as in :mod:`struct`."""
        place = self._place(field)
        return int(struct.unpack_from("<" + kind, self._data, place)[0]) if place else default

    def table(self, field: int) -> _Table | None:
        target = self._target(field)
        return _Table(self._data, target) if target else None

    def tables(self, field: int) -> list[_Table]:
        target = self._target(field)
        count = struct.unpack_from("<I", self._data, target)[0] if target else 0
        places = (target + 4 + 4 * i for i in range(count))
        return [_Table(self._data, place + struct.unpack_from("<I", self._data, place)[0]) for place in places]

    def array(self, field: int, kind: Any) -> np.ndarray:
        target = self._target(field)
        count = struct.unpack_from("<I", self._data, target)[0] if target else 0
        return np.frombuffer(self._data, kind, count, target + 4) if count else np.zeros(0, kind)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator; values are called by number."""

    kind: str
    """Of :data:`OPERATORS`, or a custom operator's own name."""
    inputs: tuple[int, ...]
    output: int
    stride: int = 1
    size: int = 1
    """A pool's window."""
    same: bool = True
    """Padded so that the output has the input's size over the stride; else not padded."""
    activation: str = ""
    axis: int = 0
    """Of a concatenation."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network as a list of operators in order."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: Mapping[int, tuple[int, ...]]
    constants: Mapping[int, np.ndarray]
    operators: tuple[Operator, ...]


def read(data: bytes) -> Network:
    """Read a file's content. Raises ValueError for an operator that is not known here."""
    model = _Table(data, struct.unpack_from("<I", data, 0)[0])
    codes = [
        (max(code.number(0, "b"), code.number(3, "i")), code.array(1, np.uint8).tobytes().decode())
        for code in model.tables(1)
    ]
    graph, buffers = model.tables(2)[0], model.tables(4)
    shapes: dict[int, tuple[int, ...]] = {}
    constants: dict[int, np.ndarray] = {}
    for i, tensor in enumerate(graph.tables(0)):
        shapes[i] = tuple(int(n) for n in tensor.array(0, np.int32))
        content = buffers[tensor.number(2, "I")].array(0, np.uint8)
        if len(content):
            constants[i] = np.frombuffer(content.tobytes(), _KINDS[tensor.number(1, "b")]).reshape(shapes[i])
    operators = [_operator(table, codes) for table in graph.tables(3)]
    inputs, outputs = (tuple(int(n) for n in graph.array(field, np.int32)) for field in (1, 2))
    return Network(inputs, outputs, shapes, constants, tuple(operators))


def _operator(table: _Table, codes: list[tuple[int, str]]) -> Operator:
    number, name = codes[table.number(0, "I")]
    if number not in OPERATORS:
        raise ValueError(f"operator {number} {name} is not known")
    kind = OPERATORS[number]
    inputs = tuple(int(n) for n in table.array(1, np.int32))
    output = int(table.array(2, np.int32)[0])
    options = table.table(4)
    if kind == "custom" or options is None:
        return Operator(name or kind, inputs, output)
    if kind == "concat":
        return Operator(kind, inputs, output, axis=options.number(0, "i"))
    if kind in ("conv", "depthwise", "pool", "maxpool"):
        activation = ACTIVATIONS[options.number({"conv": 3, "depthwise": 4}.get(kind, 5), "b")]
        size = options.number(3, "i") if kind.endswith("pool") else 1
        return Operator(kind, inputs, output, options.number(2, "i"), size, options.number(0, "b") == 0, activation)
    if kind in ("add", "mul"):
        return Operator(kind, inputs, output, activation=ACTIVATIONS[options.number(0, "b")])
    return Operator(kind, inputs, output)
