"""``avatar train matte``: MediaPipe's selfie segmentation, from its package to an ONNX file.

Nothing is learnt here. The network and its weights (Apache-2.0, the MediaPipe Authors) are taken from the published
package, whose file is known by its sha256, and written anew operator by operator.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from avatar.errors import ModelFileError
from avatar.models import registry, tflite
from avatar.models.onnx_file import Graph, save

SOURCE = registry.ModelFile(
    name="selfie_segmentation.tflite",
    sha256="9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    size=249505,
    license="Apache-2.0",
    about="MediaPipe Selfie Segmentation, general model",
    sources=(
        registry.Source(
            "wheel", "mediapipe==0.10.21", "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite"
        ),
    ),
)


def build(target: Path) -> dict[str, Any]:
    """Write ``target``: ``picture`` (1, 3, 256, 256), RGB in [0, 1], to ``person`` (1, 1, 256, 256) in [0, 1].

    Raises ModelFileError where the package cannot be had.
    """
    with tempfile.TemporaryDirectory() as scratch:
        data = registry.fetch_into(Path(scratch), SOURCE).read_bytes()
    content = converted(tflite.read(data), {"source": SOURCE.name, "sha256": hashlib.sha256(data).hexdigest()})
    save(target, content)
    return {"bytes": len(content)}


def converted(network: tflite.Network, about: dict[str, str]) -> bytes:
    """The content of an ONNX file. Raises ModelFileError for what cannot be said there."""
    graph = Graph("matte")
    halves = {op.output: op.inputs[0] for op in network.operators if op.kind == "dequantize"}

    def constant(number: int) -> np.ndarray:
        return np.asarray(network.constants[halves.get(number, number)], np.float32)

    (source,) = network.inputs
    _, height, width, channels = network.shapes[source]
    names = {source: graph.input("picture", (1, channels, height, width))}
    for op in network.operators:
        if op.kind == "dequantize":
            continue
        names[op.output] = _node(graph, op, network, names, constant)
    (result,) = network.outputs
    _, height, width, channels = network.shapes[result]
    graph.output("person", names[result], (1, channels, height, width))
    return graph.model({key: json.dumps(value) for key, value in about.items()})


def _node(graph: Graph, op: tflite.Operator, network: tflite.Network, names: dict[int, str], constant: Any) -> str:
    x = names[op.inputs[0]]
    match op.kind:
        case "conv" | "depthwise":
            weight = constant(op.inputs[1])
            # (out, h, w, in), and of a depthwise one (1, h, w, out), to (out, in, h, w).
            order = (0, 3, 1, 2) if op.kind == "conv" else (3, 0, 1, 2)
            weight = np.ascontiguousarray(weight.transpose(order))
            made = graph.node(
                "Conv", x, graph.weight(weight), graph.weight(constant(op.inputs[2])),
                kernel_shape=list(weight.shape[2:]), strides=[op.stride] * 2,
                pads=_pads(network.shapes[op.inputs[0]][1:3], weight.shape[2:], op),
                group=len(weight) if op.kind == "depthwise" else 1,
            )  # fmt: skip
        case "Convolution2DTransposeBias":
            # Kernel and stride are both two: no output pixel has two sources, so there is nothing to pad.
            weight = np.ascontiguousarray(constant(op.inputs[1]).transpose(3, 0, 1, 2))
            made = graph.node(
                "ConvTranspose", x, graph.weight(weight), graph.weight(constant(op.inputs[2])),
                kernel_shape=[2, 2], strides=[2, 2],
            )  # fmt: skip
        case "pool":
            if network.shapes[op.output][1:3] != (1, 1):
                raise ModelFileError("a pool that leaves more than one pixel is not known here")
            made = graph.node("GlobalAveragePool", x)
        case "resize":
            size = np.array((1, network.shapes[op.output][3], *network.shapes[op.output][1:3]), np.int64)
            made = graph.node(
                "Resize", x, "", "", graph.weight(size), mode="linear", coordinate_transformation_mode="half_pixel"
            )
        case "add" | "mul":
            made = graph.node(op.kind.capitalize(), x, names[op.inputs[1]])
        case "relu" | "logistic" | "hardswish":
            return graph.node({"relu": "Relu", "logistic": "Sigmoid", "hardswish": "HardSwish"}[op.kind], x)
        case _:
            raise ModelFileError(f"operator {op.kind} is not known here")
    return graph.node("Relu", made) if op.activation else made


def _pads(size: tuple[int, ...], kernel: tuple[int, ...], op: tflite.Operator) -> list[int]:
    """Top, left, bottom, right. TensorFlow's "same" padding has the odd pixel at the end."""
    if not op.same:
        return [0] * 4
    totals = [max(0, (-(-n // op.stride) - 1) * op.stride + k - n) for n, k in zip(size, kernel, strict=True)]
    return [t // 2 for t in totals] + [t - t // 2 for t in totals]
