"""The networks inside ``face_landmarker_v2.task``, written anew operator by operator for ONNX Runtime.

Nothing is learnt and nothing is shipped: the file (Apache-2.0, the MediaPipe Authors) is fetched as before, and its
networks are turned into ONNX in memory when a camera is first used (0.2 s). The canonical face and the weights of the
pose come from the same file (``face_geometry.proto`` of MediaPipe: a mesh, and landmarks with weights).
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.face_nets import FaceFile
from avatar.core.types import freeze
from avatar.errors import ModelFileError
from avatar.models import tflite
from avatar.models.onnx_file import Graph, read_varint

MEMBERS = {
    "detector": "face_detector.tflite",
    "landmarks": "face_landmarks_detector.tflite",
    "blendshapes": "face_blendshapes.tflite",
}
GEOMETRY = "geometry_pipeline_metadata_landmarks.binarypb"
_ONE_INPUT = {"relu": "Relu", "logistic": "Sigmoid", "neg": "Neg", "sqrt": "Sqrt"}
_NORMALIZATION = ("mean", "neg", "squared_difference", "mean", "add", "rsqrt", "mul", "mul", "mul", "add")
_TWO_INPUTS = {"add": "Add", "mul": "Mul", "sub": "Sub", "div": "Div"}


def read(task: Path) -> FaceFile:
    """Everything that following a face needs, of a Face Landmarker's file. Raises ModelFileError."""
    try:
        with zipfile.ZipFile(task) as archive:
            networks = {name: tflite.read(archive.read(member)) for name, member in MEMBERS.items()}
            mesh, weights = _geometry(archive.read(GEOMETRY))
        made = {name: converted(network, flat=name == "blendshapes") for name, network in networks.items()}
    except (OSError, KeyError, ValueError, IndexError, struct.error, zipfile.BadZipFile) as error:
        raise ModelFileError(f"model file {task.name} cannot be used ({error}); run: avatar models fetch") from error
    return FaceFile(made["detector"], made["landmarks"], made["blendshapes"], freeze(mesh), freeze(weights))


def converted(network: tflite.Network, flat: bool) -> bytes:
    """A network as ONNX, float32; its inputs and outputs keep TFLite's order and shapes, but for the picture, which
    comes as (1, channels, height, width).

    :param flat: whether its convolutions are all of one pixel: then they are products of matrices.

    Raises ValueError for an operator that is not known here.
    """
    return _Writer(network, flat).content()


@dataclass
class _Writer:
    network: tflite.Network
    flat: bool

    def content(self) -> bytes:
        net = self.network
        self._graph = Graph("face")
        self._halves = {op.output: op.inputs[0] for op in net.operators if op.kind == "dequantize"}
        (source,) = net.inputs
        dims = net.shapes[source]
        if not self.flat:
            dims = (dims[0], dims[3], dims[1], dims[2])
        self._names = {source: self._graph.input("input", dims)}
        operators = [op for op in net.operators if op.kind != "dequantize"]
        at = 0
        while at < len(operators):
            group = operators[at : at + len(_NORMALIZATION)]
            if tuple(op.kind for op in group) == _NORMALIZATION:
                self._names[group[-1].output] = self._normalized(group)
                at += len(group)
            else:
                self._names[operators[at].output] = self._node(operators[at])
                at += 1
        for i, number in enumerate(net.outputs):
            self._graph.output(f"output_{i}", self._plain(number), net.shapes[number])
        return self._graph.model({})

    def _constant(self, number: int) -> np.ndarray | None:
        number = self._halves.get(number, number)
        return self.network.constants.get(number)

    def _value(self, number: int) -> str:
        """The name of a value, a constant included."""
        if number in self._names:
            return self._names[number]
        constant = self._constant(number)
        if constant is None:
            raise ValueError(f"value {number} comes from nowhere")
        # What is float16 in the file loses nothing by being kept so.
        return self._graph.weight(np.asarray(constant, np.float32), exact=number not in self._halves)

    def _plain(self, number: int) -> str:
        """A picture's values in TFLite's order, (1, height, width, channels)."""
        picture = not self.flat and len(self.network.shapes[number]) == 4
        name = self._value(number)
        return self._graph.node("Transpose", name, perm=[0, 2, 3, 1]) if picture else name

    def _integers(self, number: int) -> np.ndarray:
        constant = self._constant(number)
        if constant is None:
            raise ValueError(f"value {number} is no constant")
        return np.atleast_1d(np.asarray(constant, np.int64))

    def _node(self, op: tflite.Operator) -> str:
        graph = self._graph
        if op.kind in ("conv", "depthwise"):
            made = self._product(op) if self.flat else self._convolution(op)
        elif op.kind in _TWO_INPUTS:
            made = graph.node(_TWO_INPUTS[op.kind], self._value(op.inputs[0]), self._value(op.inputs[1]))
        elif op.kind in _ONE_INPUT:
            made = graph.node(_ONE_INPUT[op.kind], self._value(op.inputs[0]))
        else:
            made = self._other(op)
        return graph.node("Relu", made) if op.activation == "relu" else made

    def _other(self, op: tflite.Operator) -> str:
        graph, shapes = self._graph, self.network.shapes
        x = op.inputs[0]
        match op.kind:
            case "prelu":
                return self._prelu(self._value(x), np.asarray(self._constant(op.inputs[1]), np.float32))
            case "maxpool":
                return graph.node(
                    "MaxPool", self._value(x), kernel_shape=[op.size] * 2, strides=[op.stride] * 2,
                    pads=pads(shapes[x][1:3], (op.size,) * 2, op),
                )  # fmt: skip
            case "pad":
                before = self._integers(op.inputs[1]).reshape(-1, 2)[[0, 3, 1, 2]]
                return graph.node("Pad", self._value(x), graph.weight(before.T.reshape(-1).copy()))
            case "reshape":
                size = np.array(shapes[op.output], np.int64)
                return graph.node("Reshape", self._plain(x), graph.weight(size))
            case "concat":
                return graph.node("Concat", *(self._value(i) for i in op.inputs), axis=op.axis)
            case "transpose":
                return graph.node("Transpose", self._value(x), perm=self._integers(op.inputs[1]).tolist())
            case "mean":
                return graph.node("ReduceMean", self._value(x), axes=self._axes(op), keepdims=self._keeps(op))
            case "sum":
                axes = graph.weight(np.array(self._axes(op), np.int64))
                return graph.node("ReduceSum", self._value(x), axes, keepdims=self._keeps(op))
            case "rsqrt":
                return graph.node("Reciprocal", graph.node("Sqrt", self._value(x)))
            case "squared_difference":
                less = graph.node("Sub", self._value(x), self._value(op.inputs[1]))
                return graph.node("Mul", less, less)
            case "slice":
                return self._slice(op)
        raise ValueError(f"operator {op.kind} is not known here")

    def _normalized(self, group: list[tflite.Operator]) -> str:
        """(x - mean) / sqrt(variance + epsilon) * gain over the last axis, in one step instead of ten."""
        epsilon, gain = self._constant(group[4].inputs[1]), group[6].inputs[1]
        assert epsilon is not None
        return self._graph.node(
            "LayerNormalization", self._value(group[0].inputs[0]), self._value(gain), axis=-1, epsilon=float(epsilon)
        )

    def _prelu(self, x: str, slope: np.ndarray) -> str:
        """a x + (1 - a) relu(x), as two convolutions of one pixel and one channel: ONNX Runtime's own PRelu leaves its
        blocked layout, and made the whole network two and a half times slower."""
        slope = slope.reshape(-1, 1, 1, 1)
        rest = np.asarray(1 - slope, np.float32)

        def scaled(value: str, by: np.ndarray) -> str:
            options: dict[str, Any] = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "group": len(by)}
            return self._graph.node("Conv", value, self._graph.weight(by, exact=True), **options)

        if slope.max() <= 1:  # then relu((1 - a) x) is the same, and is done with the product
            bent = self._graph.node("Relu", scaled(x, rest))
        else:
            bent = scaled(self._graph.node("Relu", x), rest)
        return self._graph.node("Add", scaled(x, slope), bent)

    def _axes(self, op: tflite.Operator) -> list[int]:
        rank = len(self.network.shapes[op.inputs[0]])
        return sorted(int(a) % rank for a in self._integers(op.inputs[1]))

    def _keeps(self, op: tflite.Operator) -> int:
        return int(len(self.network.shapes[op.output]) == len(self.network.shapes[op.inputs[0]]))

    def _slice(self, op: tflite.Operator) -> str:
        """The beginning of a value; axes of one place may be dropped."""
        if self._integers(op.inputs[1]).any():
            raise ValueError("a slice that does not begin at the beginning is not known here")
        before, after = self.network.shapes[op.inputs[0]], self.network.shapes[op.output]
        graph, end = self._graph, np.array(after, np.int64)
        if len(before) != len(after):
            if tuple(n for n in before if n > 1) != tuple(n for n in after if n > 1):
                raise ValueError("a slice that drops an axis of several places is not known here")
            return graph.node("Reshape", self._value(op.inputs[0]), graph.weight(end))
        return graph.node("Slice", self._value(op.inputs[0]), graph.weight(np.zeros_like(end)), graph.weight(end))

    def _product(self, op: tflite.Operator) -> str:
        weight = np.asarray(self._constant(op.inputs[1]), np.float32)
        if op.kind != "conv" or weight.shape[1:3] != (1, 1):
            raise ValueError("a convolution of more than one pixel among the flat ones")
        matrix = self._graph.weight(np.ascontiguousarray(weight[:, 0, 0].T))
        return self._graph.node(
            "Add", self._graph.node("MatMul", self._value(op.inputs[0]), matrix), self._value(op.inputs[2])
        )

    def _convolution(self, op: tflite.Operator) -> str:
        # (out, h, w, in), and of a depthwise one (1, h, w, out), to (out, in, h, w).
        order = (0, 3, 1, 2) if op.kind == "conv" else (3, 0, 1, 2)
        weight = np.ascontiguousarray(np.asarray(self._constant(op.inputs[1]), np.float32).transpose(order))
        bias = np.asarray(self._constant(op.inputs[2]), np.float32)
        return self._graph.node(
            "Conv", self._value(op.inputs[0]), self._graph.weight(weight), self._graph.weight(bias),
            kernel_shape=list(weight.shape[2:]), strides=[op.stride] * 2,
            pads=pads(self.network.shapes[op.inputs[0]][1:3], weight.shape[2:], op),
            group=len(weight) if op.kind == "depthwise" else 1,
        )  # fmt: skip


def pads(size: tuple[int, ...], kernel: tuple[int, ...], op: tflite.Operator) -> list[int]:
    """Top, left, bottom, right. TensorFlow's "same" padding has the odd pixel at the end."""
    if not op.same:
        return [0] * 4
    totals = [max(0, (-(-n // op.stride) - 1) * op.stride + k - n) for n, k in zip(size, kernel, strict=True)]
    return [t // 2 for t in totals] + [t - t // 2 for t in totals]


# --- the canonical face ----------------------------------------------------------------------------------------------


def _geometry(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(468, 3) the canonical face in centimetres, and (468,) how much each point counts for the pose."""
    mesh: list[float] = []
    weights: dict[int, float] = {}
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            mesh = [v for f, v in _fields(value) if f == 3 and isinstance(v, float)]
        elif field == 2 and isinstance(value, bytes):
            pair = {name: number for name, number in _fields(value) if not isinstance(number, bytes)}
            weights[int(pair.get(1, 0))] = float(pair[2])
    points = np.array(mesh, np.float64).reshape(-1, 5)[:, :3]  # x, y, z, u, v
    basis = np.zeros(len(points))
    for number, weight in weights.items():
        basis[number] = weight
    return points, basis


def _fields(data: bytes) -> list[tuple[int, int | float | bytes]]:
    """The fields of a Protocol Buffers message: numbers, floats of four bytes, and bytes."""
    out: list[tuple[int, int | float | bytes]] = []
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind, field = key & 7, key >> 3
        if kind == 0:
            value, at = read_varint(data, at)
            out.append((field, value))
        elif kind == 2:
            length, at = read_varint(data, at)
            out.append((field, data[at : at + length]))
            at += length
        elif kind == 5:
            out.append((field, struct.unpack_from("<f", data, at)[0]))
            at += 4
        else:
            raise ValueError(f"a field of kind {kind}")
    return out
