"""The heads of the page in space: geometry, paint and file; the renderer in the tree; states for the page's server."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from avatar import head_export, head_hair, head_paint
from avatar.core import facs
from avatar.core.types import AvatarFrame, FaceState, Ns
from avatar.errors import UsageError
from avatar.models import registry
from avatar.portrait.basis import HeadBasis
from avatar.streams.animation import gltf
from avatar.streams.animation.mesh import MorphMesh
from avatar.streams.sinks.states import StateFeed
from avatar.streams.web import vendor

CROWN, FOREHEAD, CHEEK = (0.0, 10.2, -5.0), (0.0, 4.0, 2.4), (5.0, -4.0, 0.5)


@pytest.fixture(scope="module")
def basis() -> HeadBasis:
    return HeadBasis.load(registry.weights_dir() / "head_basis.npz")


@pytest.fixture(scope="module")
def head() -> MorphMesh:
    return head_export.morph_head(fine=True, bends=True)


@pytest.fixture(scope="module")
def painted(basis: HeadBasis) -> np.ndarray:
    person = head_export.PEOPLE[0]
    return head_paint.skin(basis, basis.vertices, person.look, person.style).astype(int)


def colour(picture: np.ndarray, point: Any) -> np.ndarray:
    """Around the place of a point on the head."""
    column, row = np.round(head_paint.unrolled(np.array(point, np.float32)) * head_paint.SIDE).astype(int)
    return picture[row - 4 : row + 5, column - 4 : column + 5].mean((0, 1))


def test_the_face_is_unrolled_without_folding_over(basis: HeadBasis) -> None:
    skin = basis.triangles[basis.triangle_part == 0]
    corners = basis.vertices[skin]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ahead = (normal[:, 2] > 0.7 * np.linalg.norm(normal, axis=1)) & (corners[..., 2].min(1) > 1.0)
    (ax, ay), (bx, by) = (
        (head_paint.unrolled(corners[ahead, k]) - head_paint.unrolled(corners[ahead, 0])).T for k in (1, 2)
    )
    turn = ax * by - ay * bx
    assert ahead.sum() > 2000
    assert max((turn > 0).mean(), (turn < 0).mean()) > 0.995
    everywhere = head_paint.unrolled(basis.vertices)
    assert everywhere.min() >= 0
    assert everywhere.max() <= 1


def test_paint(painted: np.ndarray, basis: HeadBasis) -> None:
    marks = basis.landmarks(basis.vertices)
    forehead, cheek, crown = (colour(painted, p) for p in (FOREHEAD, CHEEK, CROWN))
    lip, brow = colour(painted, marks[17] * 0.5 + marks[14] * 0.5), colour(painted, marks[[105, 52]].mean(0))
    assert forehead[0] > forehead[1] > forehead[2], "skin"
    assert lip[1] / lip[0] < 0.88 * cheek[1] / cheek[0], "lips are redder"
    assert brow.sum() < 0.75 * forehead.sum()
    assert crown.sum() < 0.4 * forehead.sum()


def test_eye() -> None:
    eye = head_paint.eye(head_paint.Look()).astype(int)
    middle = head_paint.EYE_SIDE // 2
    pupil, iris, white = eye[middle, middle], eye[middle, middle + 32], eye[middle, middle + 62]
    assert pupil.max() < 30
    assert white.min() > 190
    assert iris[2] > iris[0] + 10, "blue-grey"


@pytest.mark.parametrize("person", head_export.PEOPLE)
def test_hair_covers_the_skull_and_not_the_face(basis: HeadBasis, person: head_export.Person) -> None:
    identity = np.array(person.identity, np.float32)
    at = basis.shape(np.zeros(52, np.float32), identity)
    points, triangles = head_hair.shell(at[basis.vertices_of("skin")], person.style)
    assert np.isfinite(points).all()
    assert triangles.max() < len(points)
    marks = basis.landmarks(at)
    for mark in (10, 151, 9, 1, 152, 50, 280):  # forehead to chin, cheeks
        assert np.linalg.norm(points - marks[mark], axis=1).min() > 0.5
    for ray in ((0, 0.2, -1), (0, 1, -0.3), (0.7, 0.5, -0.8), (-0.7, 0.5, -0.8)):
        ray = np.array(ray) / np.linalg.norm(ray)
        away = points - head_hair._MIDDLE
        along = away @ ray
        assert (along[np.linalg.norm(away - along[:, None] * ray, axis=1) < 1.2] > 6).any(), ray


def test_normals_move_with_the_skin(head: MorphMesh) -> None:
    skin = head.parts[0]
    assert skin.targets is not None
    turned = gltf.turns(skin)
    assert turned is not None
    jaw = facs.INDEX["jawOpen"]
    expected = gltf.normals(skin.vertices + skin.targets[jaw], skin.triangles)
    found = gltf.normals(skin.vertices, skin.triangles) + turned[jaw]
    assert np.abs(found - expected).max() <= gltf.TURNED + 1e-6
    assert np.abs(turned[jaw]).max() > 0.3
    assert gltf.turns(replace(skin, bends=False)) is None


def test_the_file_holds_its_pictures() -> None:
    raw = head_export.glb(2)
    size = struct.unpack_from("<I", raw, 12)[0]
    document, data = json.loads(raw[20 : 20 + size]), raw[28 + size :]
    assert [node["name"] for node in document["nodes"]] == ["Head", "LeftEye", "RightEye", "Hair", "Neck"]
    assert document["nodes"][0]["children"] == [1, 2, 3, 4]
    assert "animations" not in document
    for image in document["images"]:
        view = document["bufferViews"][image["bufferView"]]
        coded = np.frombuffer(data, np.uint8, view["byteLength"], view["byteOffset"])
        assert cv2.imdecode(coded, cv2.IMREAD_COLOR) is not None
    painted = {
        material["name"] for material in document["materials"] if "baseColorTexture" in material["pbrMetallicRoughness"]
    }
    assert painted == {"skin", "eye_left", "eye_right", "hair"}
    assert len(raw) < 10e6


def test_heads_that_there_are_not() -> None:
    with pytest.raises(UsageError, match="there is no head 3; there are 1 to 2"):
        head_export.glb(3)


def test_the_renderer_in_the_tree_is_the_one_that_was_agreed() -> None:
    content = vendor.FILE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == vendor.SHA256
    assert b"Three.js Authors" in content[:300]
    assert b"SPDX-License-Identifier: MIT" in content[:300]


async def test_states_for_who_asks() -> None:
    feed = StateFeed()
    assert not feed.active, "nothing is drawn for nobody"
    frame = AvatarFrame(Ns(0), np.zeros((2, 2, 3), np.uint8), FaceState(Ns(40_000_000)))
    await feed.video(frame)
    first, second = [], []
    end = feed.subscribe(first.append)
    feed.subscribe(second.append)
    assert feed.active
    await feed.video(frame)
    end()
    end()
    await feed.video(frame)
    assert len(first) == 1
    assert len(second) == 2
    assert json.loads(first[0])["t"] == 0.04
