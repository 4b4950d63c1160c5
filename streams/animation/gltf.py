"""A head as the mesh, the materials and the nodes of binary glTF 2.0 (Khronos;
https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html). Morph targets are sparse accessors: a smile moves a quarter
of the vertices."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from avatar.core import facs
from avatar.core.types import F32
from avatar.streams.animation.mesh import MorphMesh, MorphPart

STILL = 1e-5
"""Metres below which a vertex counts as not moved: a hundredth of a millimetre."""
TURNED = 0.02
"""Change of a unit normal below which it counts as none: a degree."""
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_BYTE_INDEX, _WIDE_INDEX, _FLOAT = 5123, 5125, 5126  # glTF's UNSIGNED_SHORT, UNSIGNED_INT, FLOAT
_VERTICES, _INDICES = 34962, 34963  # ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


class Buffer:
    """The binary chunk, and the tables that point into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, array: np.ndarray, target: int | None = None) -> int:
        return self.raw(np.ascontiguousarray(array).tobytes(), target)

    def raw(self, raw: bytes, target: int | None = None) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)}
        self.views.append(view | ({"target": target} if target is not None else {}))
        self.data += raw
        return len(self.views) - 1

    def _add(self, accessor: dict[str, Any]) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def floats(self, array: F32, target: int | None = None, bounds: bool = False) -> int:
        """An accessor for (n,) or (n, 2 to 4) float32."""
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


def turns(part: MorphPart) -> F32 | None:
    """(52, V, 3) by which each target changes a part's normals; None where it says that they stay."""
    if not part.bends or part.targets is None:
        return None
    rest = normals(part.vertices, part.triangles)
    changed = np.zeros_like(part.targets)
    for out, delta in zip(changed, part.targets, strict=True):
        if np.abs(delta).max() > STILL:
            turned = normals(part.vertices + delta, part.triangles) - rest
            out[:] = np.where(np.linalg.norm(turned, axis=1, keepdims=True) > TURNED, turned, 0)
    return changed


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


def scene(head: MorphMesh, buffer: Buffer) -> dict[str, Any]:
    """The document of a head at rest; its numbers are in ``buffer``."""
    document = _nodes(head)
    for name, parts in _meshes(head):
        document["meshes"].append(_mesh(name, parts, buffer, document))
    return document


def packed(document: dict[str, Any], buffer: Buffer) -> bytes:
    """The file."""
    data = bytes(buffer.data) + b"\0" * (-len(buffer.data) % 4)
    tables = {"accessors": buffer.accessors, "bufferViews": buffer.views, "buffers": [{"byteLength": len(data)}]}
    text = json.dumps(document | tables, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<III", _MAGIC, 2, 12 + 8 + len(text) + 8 + len(data))
    return head + struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(data), _BIN) + data


def _meshes(head: MorphMesh) -> list[tuple[str, list[MorphPart]]]:
    eyes = zip(("LeftEye", "RightEye"), (part for part, _ in head.eyes), strict=False)
    rigid = [(part.name.capitalize(), [part]) for part in head.rigid]
    return [("Head", list(head.parts)), *((name, [part]) for name, part in eyes), *rigid]


def _nodes(head: MorphMesh) -> dict[str, Any]:
    """Scene and nodes; the tables are filled in later."""
    eyes = [
        {"name": name, "mesh": 1 + i, "translation": list(centre)}
        for i, (name, (_, centre)) in enumerate(zip(("LeftEye", "RightEye"), head.eyes, strict=False))
    ]
    first = 1 + len(eyes)
    rigid = [{"name": part.name.capitalize(), "mesh": first + i} for i, part in enumerate(head.rigid)]
    count = len(eyes) + len(rigid)
    children = {"children": list(range(1, 1 + count))} if count else {}
    return {
        "asset": {"version": "2.0", "generator": "Vultus", "extras": {"note": "AI-generated motion"}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "Head", "mesh": 0, **children}, *eyes, *rigid],
        "meshes": [],
        "materials": [],
    }


def _mesh(name: str, parts: list[MorphPart], buffer: Buffer, document: dict[str, Any]) -> dict[str, Any]:
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
        if part.uv is not None:
            attributes["TEXCOORD_0"] = buffer.floats(part.uv, _VERTICES)
        primitive: dict[str, Any] = {
            "attributes": attributes, "indices": buffer.indices(part.triangles),
            "material": len(document["materials"]),
        }  # fmt: skip
        if moves:
            still = np.zeros((len(facs.ARKIT), *part.vertices.shape), np.float32)
            targets = still if part.targets is None else part.targets
            primitive["targets"] = [{"POSITION": buffer.moves(delta)} for delta in targets]
            bent = turns(part)
            for target, turned in zip(primitive["targets"], () if bent is None else bent, strict=False):
                target["NORMAL"] = buffer.moves(turned)
        primitives.append(primitive)
        document["materials"].append(_material(part, buffer, document))
    mesh: dict[str, Any] = {"name": name, "primitives": primitives}
    if moves:
        mesh |= {"weights": [0.0] * len(facs.ARKIT), "extras": {"targetNames": list(facs.ARKIT)}}
    return mesh


def _material(part: MorphPart, buffer: Buffer, document: dict[str, Any]) -> dict[str, Any]:
    surface: dict[str, Any] = {
        "baseColorFactor": [*part.colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": part.roughness,
    }  # fmt: skip
    if part.picture is not None:
        images = document.setdefault("images", [])
        document["textures"] = [*document.get("textures", []), {"source": len(images)}]
        surface["baseColorTexture"] = {"index": len(images)}
        images.append({"bufferView": buffer.raw(part.picture), "mimeType": "image/jpeg"})
    return {"name": part.name, "doubleSided": part.both, "pbrMetallicRoughness": surface}
