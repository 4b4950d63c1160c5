"""The package's own head (:mod:`avatar.portrait.basis`) as a mesh with 52 morph targets: for animation files, and for
the page that shows heads in space."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from avatar import head_hair, head_paint
from avatar.core.types import F32, U8
from avatar.errors import UsageError
from avatar.head_hair import Style
from avatar.head_paint import Look
from avatar.models import registry
from avatar.portrait.basis import PARTS, HeadBasis
from avatar.streams.animation import gltf
from avatar.streams.animation.mesh import MorphMesh, MorphPart

LOOKS = {
    "skin": ((1.0, 1.0, 1.0), 0.52),
    "lining": ((0.30, 0.06, 0.06), 0.5),
    "gums": ((0.48, 0.14, 0.14), 0.35),
    "teeth_upper": ((0.78, 0.74, 0.66), 0.25),
    "teeth_lower": ((0.74, 0.70, 0.62), 0.25),
    "tongue": ((0.52, 0.16, 0.16), 0.45),
    "eye_left": ((1.0, 1.0, 1.0), 0.12),
    "eye_right": ((1.0, 1.0, 1.0), 0.12),
}
"""Colour (linear RGB) and roughness of each part; what is painted is white here."""
_CENTIMETRE = 0.01
_PIVOT = np.array([0.0, -9.0, -8.0], np.float32)
"""The top of the neck, about which a head turns; centimetres from between the eyes, where the basis has its origin."""


@dataclass(frozen=True)
class Person:
    """One of the heads that there are."""

    look: Look = field(default_factory=Look)
    style: Style = field(default_factory=Style)
    identity: tuple[float, ...] = ()
    """Weights of the basis' identities; none = the mean head."""


PEOPLE = (
    Person(),
    Person(
        Look((198, 146, 116), (186, 98, 80), (160, 84, 78), (50, 38, 33), (104, 74, 46), brow=0.75, seed=5),
        Style(volume=1.5, fall=-9.6, ears=False, line=6.9),
        (-0.7, 0.5, -0.6, 0.4),
    ),
)
"""The heads of the page: the mean one, and somebody else for the other side of the table."""


def morph_head(person: Person = PEOPLE[0], fine: bool = False, bends: bool = False) -> MorphMesh:
    """A head. Raises ModelFileError where its file is missing.

    :param fine: smoothed: four times the triangles of skin and hair. :param bends: with normals that move.
    """
    smooth = HeadBasis.load(registry.weights_dir() / "head_basis.npz")
    basis = smooth if fine else HeadBasis.load(registry.weights_dir() / "head_basis.npz", subdivide=False)
    shape = np.zeros(len(basis.expressions), np.float32)
    identity = np.array(person.identity, np.float32)
    vertices, drawn = basis.shape(shape, identity), smooth.shape(shape, identity)
    parts = [_part(basis, vertices, name, bends) for name in PARTS if not name.startswith("eye_")]
    parts[0] = replace(
        parts[0],
        uv=head_paint.unrolled(vertices[_cut(basis, "skin")[0]]),
        picture=_jpeg(head_paint.skin(smooth, drawn, person.look, person.style)),
    )
    cover = drawn[smooth.vertices_of("skin")]
    eye = _jpeg(head_paint.eye(person.look))
    eyes = [_eye(basis, name, eye) for name in ("eye_left", "eye_right")]
    return MorphMesh(parts, eyes, [_hair(cover, person, fine), _neck(cover, person)])


def glb(number: int, fine: bool = True) -> bytes:
    """The file of one of :data:`PEOPLE`, counted from 1, without animation; ``fine`` as in :func:`morph_head`.

    Raises UsageError where there is no such head, ModelFileError.
    """
    if not 1 <= number <= len(PEOPLE):
        raise UsageError(f"there is no head {number}; there are 1 to {len(PEOPLE)}")
    buffer = gltf.Buffer()
    return gltf.packed(gltf.scene(morph_head(PEOPLE[number - 1], fine, bends=True), buffer), buffer)


def _jpeg(picture: U8) -> bytes:
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return data.tobytes()


def _cut(basis: HeadBasis, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of a part's vertices, and its triangles by their places among those. Teeth stand in vertices of the gums,
    which both get."""
    triangles = basis.triangles[basis.triangle_part == PARTS.index(name)]
    chosen, places = np.unique(triangles, return_inverse=True)
    return chosen, places.reshape(triangles.shape)


def _part(basis: HeadBasis, at: F32, name: str, bends: bool) -> MorphPart:
    chosen, triangles = _cut(basis, name)
    if name == "skin":  # the torn back of the neck; there is a whole one
        torn = (basis.vertices[chosen, 1] < -9) & (basis.vertices[chosen, 2] < -7.5)
        triangles = triangles[~torn[triangles].any(1)]
    colour, roughness = LOOKS[name]
    targets = basis.expressions[:, chosen] * np.float32(_CENTIMETRE)
    return MorphPart(
        name,
        colour,
        roughness,
        _placed(at[chosen]),
        triangles,
        targets,
        bends=bends and name == "skin",
        both=name != "lining",
    )


def _placed(points: F32) -> F32:
    """Metres from the pivot."""
    return np.asarray((points - _PIVOT) * np.float32(_CENTIMETRE), np.float32)


def _eye(basis: HeadBasis, name: str, picture: bytes) -> tuple[MorphPart, tuple[float, float, float]]:
    chosen, triangles = _cut(basis, name)
    shell = basis.vertices[chosen]
    side = (shell[:, 0].min() + shell[:, 0].max()) / 2
    centre = np.array([side, 0.0, 0.0], np.float32)  # the basis' origin lies midway between the eyeballs' centres
    local = shell - centre
    uv: F32 = 0.5 + local[:, :2] * np.array([0.5, -0.5], np.float32) / np.abs(local).max()
    colour, roughness = LOOKS[name]
    part = MorphPart(name, colour, roughness, local * np.float32(_CENTIMETRE), triangles, uv=uv, picture=picture)
    x, y, z = (float(v) for v in (centre - _PIVOT) * _CENTIMETRE)
    return part, (x, y, z)


def _hair(cover: F32, person: Person, fine: bool) -> MorphPart:
    points, triangles = head_hair.shell(cover, person.style, fine)
    picture, uv = _jpeg(head_paint.hair(person.look)), head_paint.unrolled(points)
    return MorphPart("hair", (1.0, 1.0, 1.0), 0.8, _placed(points), triangles, uv=uv, picture=picture)


def _neck(cover: F32, person: Person) -> MorphPart:
    points, triangles = head_hair.neck(cover)
    red, green, blue = ((c / 255) ** 2.2 for c in person.look.skin)
    return MorphPart("neck", (red, green, blue), 0.6, _placed(points), triangles)
