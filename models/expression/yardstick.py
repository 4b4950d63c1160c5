"""The generator of GANimation as published, with random weights: a known amount of work to measure machines with.

Pumarola, Agudo, Martinez, Sanfeliu & Moreno-Noguer, "GANimation: One-Shot Anatomically Consistent Facial Animation"
(IJCV 2019): a 128 x 128 photo and 17 action units as further channels, 64 channels after a 7 x 7 convolution, two
halvings, six residual blocks, two doublings, and two heads of 7 x 7: a colour picture (tanh) and an attention mask
(sigmoid). InstanceNorm and ReLU after every convolution but the heads'. 10.6 GMAC a picture.

Written from the paper, without the authors' code.
"""

from __future__ import annotations

import numpy as np

from avatar.models.onnx_file import Graph

SIDE, UNITS = 128, 17
WIDTH, BLOCKS = 64, 6


def ganimation(seed: int = 0) -> bytes:
    """The ONNX file: inputs ``photo`` (1, 3, 128, 128) and ``units`` (1, 17, 1, 1), outputs ``colour`` (1, 3, 128, 128)
    and ``attention`` (1, 1, 128, 128)."""
    rng = np.random.default_rng(seed)
    graph = Graph("ganimation")

    def kernel(*shape: int) -> str:
        # Scaled so that every layer keeps its input's spread: denormal numbers would be slow.
        spread = np.sqrt(2 / np.prod(shape[1:]))
        return graph.weight((rng.standard_normal(shape) * spread).astype(np.float32))

    def normal(x: str, channels: int) -> str:
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        return graph.node("InstanceNormalization", x, graph.weight(ones), graph.weight(zeros))

    def conv(x: str, taken: int, given: int, side: int, stride: int = 1) -> str:
        pad = (side - 1) // 2
        return graph.node("Conv", x, kernel(given, taken, side, side), strides=(stride, stride), pads=(pad,) * 4)

    photo = graph.input("photo", (1, 3, SIDE, SIDE))
    units = graph.input("units", (1, UNITS, 1, 1))
    spread = graph.node("Expand", units, graph.weight(np.array((1, UNITS, SIDE, SIDE), np.int64)))
    x = graph.node("Concat", photo, spread, axis=1)
    x = graph.node("Relu", normal(conv(x, 3 + UNITS, WIDTH, 7), WIDTH))
    width = WIDTH
    for _ in range(2):
        x = graph.node("Relu", normal(conv(x, width, 2 * width, 4, stride=2), 2 * width))
        width *= 2
    for _ in range(BLOCKS):
        inner = graph.node("Relu", normal(conv(x, width, width, 3), width))
        x = graph.node("Add", x, normal(conv(inner, width, width, 3), width))
    for _ in range(2):
        up = graph.node("ConvTranspose", x, kernel(width, width // 2, 4, 4), strides=(2, 2), pads=(1,) * 4)
        x = graph.node("Relu", normal(up, width // 2))
        width //= 2
    graph.output("colour", graph.node("Tanh", conv(x, width, 3, 7)), (1, 3, SIDE, SIDE))
    graph.output("attention", graph.node("Sigmoid", conv(x, width, 1, 7)), (1, 1, SIDE, SIDE))
    return graph.model({"about": "GANimation's generator as published, random weights: a yardstick of speed"})


def multiplications() -> int:
    """Multiply-accumulates of one picture, counted from the layers."""
    pixels, width = SIDE * SIDE, WIDTH
    total = 49 * (3 + UNITS) * width * pixels + 49 * width * 4 * pixels
    for _ in range(2):
        pixels, width = pixels // 4, 2 * width
        # Down to this size, and up from it: 4 x 4 kernels on the smaller grid.
        total += 2 * 16 * width * (width // 2) * pixels
    return total + 2 * BLOCKS * 9 * width * width * pixels
