"""Just enough of the ONNX format to write a small network, or to hand out one more value of a given one, without the
onnx package.

Messages and field numbers: ``onnx/onnx.proto``; the wire format is Protocol Buffers'. Weights are kept as float16 and
turned into float32 by a ``Cast`` that the runtime folds away at loading.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

IR_VERSION, OPSET = 8, 17
_FLOAT, _INT64, _FLOAT16 = 1, 7, 10
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_STRING, _ATTRIBUTE_INTS = 1, 2, 3, 7


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers take ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, value: np.ndarray) -> bytes:
    kind = {np.dtype(np.float16): _FLOAT16, np.dtype(np.int64): _INT64, np.dtype(np.float32): _FLOAT}[value.dtype]
    dims = b"".join(_number(1, n) for n in value.shape)
    return dims + _number(2, kind) + _bytes(8, name) + _bytes(9, value.astype(value.dtype.newbyteorder("<")).tobytes())


def _attribute(name: str, value: int | float | str | Sequence[int]) -> bytes:
    if isinstance(value, float):
        return _bytes(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, _ATTRIBUTE_FLOAT)
    if isinstance(value, str):
        return _bytes(1, name) + _bytes(4, value) + _number(20, _ATTRIBUTE_STRING)
    if isinstance(value, int):
        return _bytes(1, name) + _number(3, value) + _number(20, _ATTRIBUTE_INT)
    return _bytes(1, name) + b"".join(_number(8, v) for v in value) + _number(20, _ATTRIBUTE_INTS)


def _value_info(name: str, dims: Sequence[int | str]) -> bytes:
    shape = b"".join(_bytes(1, _number(1, d) if isinstance(d, int) else _bytes(2, d)) for d in dims)
    tensor = _number(1, _FLOAT) + _bytes(2, shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


class Graph:
    """An ONNX graph that grows node by node; values are called by name.

    :param name: of the graph, for people.
    """

    def __init__(self, name: str = "visemes") -> None:
        self._graph_name = name
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._count = 0

    def _name(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"

    def input(self, name: str, dims: Sequence[int | str]) -> str:
        """float32; a dimension that is a name may have any length."""
        self._inputs.append(_value_info(name, dims))
        return name

    def weight(self, value: np.ndarray, exact: bool = False) -> str:
        """float32 (kept as float16 unless ``exact``) or int64."""
        if value.dtype == np.int64 or exact:
            name = self._name("index")
            self._weights.append(_tensor(name, value))
            return name
        name = self._name("half")
        self._weights.append(_tensor(name, value.astype(np.float16)))
        return self.node("Cast", name, to=_FLOAT)

    def node(self, kind: str, *inputs: str, **attributes: int | float | str | Sequence[int]) -> str:
        """An operator with one output; an input that is left out is ""; returns that output's name."""
        out = self._name(kind.lower())
        body = b"".join(_bytes(1, name) for name in inputs) + _bytes(2, out) + _bytes(4, kind)
        self._nodes.append(body + b"".join(_bytes(5, _attribute(k, v)) for k, v in attributes.items()))
        return out

    def output(self, name: str, value: str, dims: Sequence[int | str]) -> None:
        """Hand out ``value`` as ``name``."""
        self._nodes.append(_bytes(1, value) + _bytes(2, name) + _bytes(4, "Identity"))
        self._outputs.append(_value_info(name, dims))

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The file's content."""
        graph = (
            b"".join(_bytes(1, node) for node in self._nodes)
            + _bytes(2, self._graph_name)
            + b"".join(_bytes(5, weight) for weight in self._weights)
            + b"".join(_bytes(11, value) for value in self._inputs)
            + b"".join(_bytes(12, value) for value in self._outputs)
        )
        properties = b"".join(_bytes(14, _bytes(1, k) + _bytes(2, v)) for k, v in metadata.items())
        opset = _bytes(8, _number(2, OPSET))
        return _number(1, IR_VERSION) + _bytes(2, "vultus") + _bytes(7, graph) + opset + properties


def save(target: Path, content: bytes) -> None:
    """All or nothing."""
    part = target.with_suffix(".part")
    part.write_bytes(content)
    part.replace(target)


def with_output(model: bytes, name: str) -> bytes:
    """A file's content with the inner value ``name`` as one more output of the graph. Raises ValueError where there is
    no graph."""
    extra = _bytes(12, _bytes(1, name))
    at = 0
    while at < len(model):
        start = at
        key, at = read_varint(model, at)
        kind, field = key & 7, key >> 3
        if kind == 2:
            length, at = read_varint(model, at)
            if field == 7:
                return model[:start] + _bytes(7, model[at : at + length] + extra) + model[at + length :]
            at += length
        elif kind == 0:
            _, at = read_varint(model, at)
        else:
            at += 8 if kind == 1 else 4
    raise ValueError("not an ONNX model: it has no graph")


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at ``at``, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
