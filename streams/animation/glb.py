"""An animated head in one file: binary glTF 2.0 (Khronos; https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html).

Nodes Head (52 morph targets named as ARKit's coefficients, in ``extras.targetNames``), LeftEye, RightEye and what
follows the head (hair, neck); pictures are inside. One animation: the head's translation and rotation, the eyes'
rotations, the 52 weights; linear between the states.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from avatar.core.geometry import Quaternion, from_euler
from avatar.core.types import F32, SECOND, FaceState
from avatar.streams.animation.base import StateWriter
from avatar.streams.animation.gltf import Buffer, packed, scene
from avatar.streams.animation.mesh import MorphMesh


class GlbWriter(StateWriter):
    """Keeps the states' numbers until the end (300 bytes each)."""

    def __init__(self, path: Path, fps: int, head: MorphMesh) -> None:
        super().__init__(path, fps)
        self._head = head
        self._times: list[float] = []
        self._weights: list[F32] = []
        self._places: list[tuple[float, float, float]] = []
        self._turns: list[Quaternion] = []
        self._looks: list[Quaternion] = []

    def write(self, state: FaceState) -> None:
        self._times.append(state.pts / SECOND)
        self._weights.append(np.asarray(state.arkit, np.float32))
        x, y, z = state.head.translation
        self._places.append((x / 1000, y / 1000, z / 1000))
        self._turns.append(_xyzw(state.head.rotation, self._turns))
        gaze = from_euler(math.degrees(state.gaze.yaw), math.degrees(state.gaze.pitch), 0.0)
        self._looks.append(_xyzw(gaze, self._looks))

    def finish(self) -> None:
        buffer = Buffer()
        document = scene(self._head, buffer)
        if self._times:
            document["animations"] = [self._animation(buffer)]
        self.put(packed(document, buffer))

    def _animation(self, buffer: Buffer) -> dict[str, Any]:
        times = buffer.floats(np.array(self._times, np.float32) - np.float32(self._times[0]), bounds=True)
        tracks: list[tuple[int, str, F32]] = [
            (0, "translation", np.array(self._places, np.float32)),
            (0, "rotation", np.array(self._turns, np.float32)),
            (0, "weights", np.concatenate(self._weights)),
        ]
        looks = np.array(self._looks, np.float32)
        tracks += [(1 + i, "rotation", looks) for i in range(len(self._head.eyes))]
        samplers: list[dict[str, Any]] = []
        channels: list[dict[str, Any]] = []
        for node, what, values in tracks:
            channels.append({"sampler": len(samplers), "target": {"node": node, "path": what}})
            samplers.append({"input": times, "output": buffer.floats(values), "interpolation": "LINEAR"})
        return {"name": "Face", "channels": channels, "samplers": samplers}


def _xyzw(q: Quaternion, before: list[Quaternion]) -> Quaternion:
    """glTF's order, on the same side of the sphere as the one before: interpolation takes the short way."""
    w, x, y, z = q
    turned = (x, y, z, w)
    if before and sum(a * b for a, b in zip(turned, before[-1], strict=True)) < 0:
        return (-x, -y, -z, -w)
    return turned
