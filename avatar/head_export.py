"""The package's own head (:mod:`avatar.portrait.basis`) as a mesh with 52 morph targets, for animation files."""

from __future__ import annotations

import numpy as np

from avatar.core.types import F32
from avatar.models import registry
from avatar.portrait.basis import PARTS, HeadBasis
from avatar.streams.animation.mesh import MorphMesh, MorphPart

LOOKS = {
    "skin": ((0.72, 0.47, 0.36), 0.55),
    "lining": ((0.30, 0.06, 0.06), 0.5),
    "gums": ((0.48, 0.14, 0.14), 0.4),
    "teeth_upper": ((0.80, 0.76, 0.66), 0.3),
    "teeth_lower": ((0.80, 0.76, 0.66), 0.3),
    "tongue": ((0.52, 0.16, 0.16), 0.5),
    "eye_left": ((0.85, 0.85, 0.85), 0.15),
    "eye_right": ((0.85, 0.85, 0.85), 0.15),
}
"""Colour (linear RGB) and roughness of each part."""
_CENTIMETRE = 0.01
_PIVOT = np.array([0.0, -9.0, -8.0], np.float32)
"""The top of the neck, about which a head turns; centimetres from between the eyes, where the basis has its origin."""
_IRIS, _PUPIL = 0.93, 0.985
"""Cosine of the angle to the line of sight inside which an eye is iris, and pupil."""


def morph_head() -> MorphMesh:
    """The mean head. Raises ModelFileError where its file is missing."""
    basis = HeadBasis.load(registry.weights_dir() / "head_basis.npz", subdivide=False)
    parts = [_part(basis, name) for name in PARTS if not name.startswith("eye_")]
    return MorphMesh(parts, [_eye(basis, name) for name in ("eye_left", "eye_right")])


def _cut(basis: HeadBasis, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of a part's vertices, and its triangles by their places among those. Teeth stand in vertices of the gums,
    which both get."""
    triangles = basis.triangles[basis.triangle_part == PARTS.index(name)]
    chosen, places = np.unique(triangles, return_inverse=True)
    return chosen, places.reshape(triangles.shape)


def _part(basis: HeadBasis, name: str) -> MorphPart:
    chosen, triangles = _cut(basis, name)
    colour, roughness = LOOKS[name]
    vertices: F32 = (basis.vertices[chosen] - _PIVOT) * np.float32(_CENTIMETRE)
    return MorphPart(
        name, colour, roughness, vertices, triangles, basis.expressions[:, chosen] * np.float32(_CENTIMETRE)
    )


def _eye(basis: HeadBasis, name: str) -> tuple[MorphPart, tuple[float, float, float]]:
    chosen, triangles = _cut(basis, name)
    shell = basis.vertices[chosen]
    side = (shell[:, 0].min() + shell[:, 0].max()) / 2
    centre = np.array([side, 0.0, 0.0], np.float32)  # the basis' origin lies midway between the eyeballs' centres
    local = shell - centre
    ahead = local[:, 2] / np.linalg.norm(local, axis=1)
    colours = np.ones_like(local)
    colours[ahead > _IRIS] = (0.18, 0.30, 0.36)
    colours[ahead > _PUPIL] = (0.01, 0.01, 0.01)
    colour, roughness = LOOKS[name]
    part = MorphPart(name, colour, roughness, local * np.float32(_CENTIMETRE), triangles, colours=colours)
    x, y, z = (float(v) for v in (centre - _PIVOT) * _CENTIMETRE)
    return part, (x, y, z)
