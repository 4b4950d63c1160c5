"""An animated head in one file: binary glTF 2.0 (Khronos; https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html).

Nodes Head (52 morph targets named as ARKit's coefficients, in ``extras.targetNames``), LeftEye and RightEye. One
animation: the head's translation and rotation, the eyes' rotations, the 52 weights; linear between the states. Morph
targets are sparse accessors: a smile moves a quarter of the vertices.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from avatar.core import facs
from avatar.core.geometry import Quaternion, from_euler
from avatar.core.types import F32, SECOND, FaceState
from avatar.streams.animation.base import StateWriter
from avatar.streams.animation.mesh import MorphMesh, MorphPart

STILL = 1e-5
"""Metres below which a vertex counts as not moved: a hundredth of a millimetre."""
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_BYTE_INDEX, _WIDE_INDEX, _FLOAT = 5123, 5125, 5126  # glTF's UNSIGNED_SHORT, UNSIGNED_INT, FLOAT
_VERTICES, _INDICES = 34962, 34963  # ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


class _Buffer:
    """The binary chunk, and the tables that point into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, array: np.ndarray, target: int | None = None) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        raw = np.ascontiguousarray(array).tobytes()
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)}
        self.views.append(view | ({"target": target} if target is not None else {}))
        self.data += raw
        return len(self.views) - 1

    def _add(self, accessor: dict[str, Any]) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def floats(self, array: F32, target: int | None = None, bounds: bool = False) -> int:
        """An accessor for (n,) or (n, 3 or 4) float32."""
        values = np.asarray(array, "<f4")
        width = 1 if values.ndim == 1 else values.shape[1]
        accessor: dict[str, Any] = {
            "bufferView": self.view(values, target), "componentType": _FLOAT, "count": len(values),
            "type": _TYPES[width],
        }  # fmt: skip
        if bounds:
            flat = values.reshape(len(values), width)
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        return self._add(accessor)

    def indices(self, triangles: np.ndarray) -> int:
        flat = np.asarray(triangles).ravel()
        wide = int(flat.max()) > 65534
        view = self.view(flat.astype("<u4" if wide else "<u2"), _INDICES)
        kind = _WIDE_INDEX if wide else _BYTE_INDEX
        return self._add({"bufferView": view, "componentType": kind, "count": len(flat), "type": "SCALAR"})

    def moves(self, delta: F32) -> int:
        """A sparse accessor for (V, 3) displacements, most of them 0."""
        moved = np.flatnonzero(np.linalg.norm(delta, axis=1) > STILL)
        kept = np.zeros_like(delta)
        kept[moved] = delta[moved]
        accessor: dict[str, Any] = {
            "componentType": _FLOAT, "count": len(delta), "type": "VEC3",
            "min": kept.min(0).astype(float).tolist(), "max": kept.max(0).astype(float).tolist(),
        }  # fmt: skip
        if len(moved):
            wide = len(delta) > 65535
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {
                    "bufferView": self.view(moved.astype("<u4" if wide else "<u2")),
                    "componentType": _WIDE_INDEX if wide else _BYTE_INDEX,
                },
                "values": {"bufferView": self.view(delta[moved].astype("<f4"))},
            }
        return self._add(accessor)


def normals(vertices: F32, triangles: np.ndarray) -> F32:
    """Unit normals (V, 3), the mean of the triangles around weighted by area."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    faces = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(total, triangles[:, i], faces)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0], np.float32)  # a vertex without triangles has no direction of its own
    return np.asarray(np.where(length > 0, total / np.maximum(length, 1e-12), up), np.float32)


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
        buffer, document = _Buffer(), self._document()
        for name, parts in self._meshes():
            document["meshes"].append(self._mesh(name, parts, buffer, document["materials"]))
        if self._times:
            document["animations"] = [self._animation(buffer)]
        document |= {"accessors": buffer.accessors, "bufferViews": buffer.views}
        data = bytes(buffer.data) + b"\0" * (-len(buffer.data) % 4)
        document["buffers"] = [{"byteLength": len(data)}]
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        size = 12 + 8 + len(text) + 8 + len(data)
        self.put(struct.pack("<III", _MAGIC, 2, size))
        self.put(struct.pack("<II", len(text), _JSON) + text)
        self.put(struct.pack("<II", len(data), _BIN) + data)

    def _meshes(self) -> list[tuple[str, list[MorphPart]]]:
        eyes = zip(("LeftEye", "RightEye"), (part for part, _ in self._head.eyes), strict=False)
        return [("Head", list(self._head.parts)), *((name, [part]) for name, part in eyes)]

    def _document(self) -> dict[str, Any]:
        """Scene and nodes; the tables are filled in later."""
        eyes = [
            {"name": name, "mesh": 1 + i, "translation": list(centre)}
            for i, (name, (_, centre)) in enumerate(zip(("LeftEye", "RightEye"), self._head.eyes, strict=False))
        ]
        children = {"children": list(range(1, 1 + len(eyes)))} if eyes else {}
        return {
            "asset": {"version": "2.0", "generator": "Vultus", "extras": {"note": "AI-generated motion"}},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": "Head", "mesh": 0, **children}, *eyes],
            "meshes": [],
            "materials": [],
        }

    @staticmethod
    def _mesh(name: str, parts: list[MorphPart], buffer: _Buffer, materials: list[dict[str, Any]]) -> dict[str, Any]:
        """Every surface of a mesh must have the same targets; one that never moves has them empty."""
        moves = any(part.targets is not None for part in parts)
        primitives = []
        for part in parts:
            attributes = {
                "POSITION": buffer.floats(part.vertices, _VERTICES, bounds=True),
                "NORMAL": buffer.floats(normals(part.vertices, part.triangles), _VERTICES),
            }
            if part.colours is not None:
                attributes["COLOR_0"] = buffer.floats(part.colours, _VERTICES)
            primitive = {
                "attributes": attributes, "indices": buffer.indices(part.triangles), "material": len(materials),
            }  # fmt: skip
            if moves:
                still = np.zeros((len(facs.ARKIT), *part.vertices.shape), np.float32)
                targets = still if part.targets is None else part.targets
                primitive["targets"] = [{"POSITION": buffer.moves(delta)} for delta in targets]
            primitives.append(primitive)
            materials.append(
                {
                    "name": part.name,
                    "doubleSided": True,
                    "pbrMetallicRoughness": {
                        "baseColorFactor": [*part.colour, 1.0],
                        "metallicFactor": 0.0,
                        "roughnessFactor": part.roughness,
                    },
                }
            )
        mesh: dict[str, Any] = {"name": name, "primitives": primitives}
        if moves:
            mesh |= {"weights": [0.0] * len(facs.ARKIT), "extras": {"targetNames": list(facs.ARKIT)}}
        return mesh

    def _animation(self, buffer: _Buffer) -> dict[str, Any]:
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
