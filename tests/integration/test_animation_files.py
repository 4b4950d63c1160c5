"""States as CSV, BVH and GLB, read by second implementations of the formats; and by the command."""

from __future__ import annotations

import csv
import json
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receivers import any_face, face

from avatar.core import facs
from avatar.core.geometry import to_matrix
from avatar.errors import StorageError, UsageError
from avatar.head_export import morph_head
from avatar.models import registry
from avatar.portrait.basis import HeadBasis
from avatar.streams import animation
from avatar.streams.sources.states_file import read_states

FPS = 30
STATES = [any_face(i, i / FPS) for i in range(75)]
"""Two seconds and a half."""


def written(path: Path, states: list[Any] = STATES, fps: int = FPS) -> Path:
    head = morph_head() if path.suffix == ".glb" else None
    with animation.writer(path, fps, head) as write:
        for state in states:
            write(state)
    return path


def test_jsonl_is_read_back(tmp_path: Path) -> None:
    back = list(read_states(written(tmp_path / "x.jsonl")))
    assert len(back) == len(STATES)
    assert np.abs(back[-1].arkit - STATES[-1].arkit).max() < 1e-5


# --- CSV -----------------------------------------------------------------------------------------------------------


def test_csv_as_live_link_face_records_it(tmp_path: Path) -> None:
    with written(tmp_path / "x.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert len(header) == 63
    assert header[16:20] == ["JawForward", "JawRight", "JawLeft", "JawOpen"]
    assert header[-9:] == [p + a for p in ("Head", "LeftEye", "RightEye") for a in ("Yaw", "Pitch", "Roll")]
    assert {name[0].lower() + name[1:] for name in header[2:54]} == set(facs.ARKIT)
    assert len(rows) == len(STATES)
    assert [row[0] for row in rows[:2]] == ["00:00:00:00.000", "00:00:00:01.000"]
    assert rows[74][0] == "00:00:02:14.000"
    for row, state in zip(rows, STATES, strict=True):
        assert row[1] == "61"
        found = dict(zip(header[2:], map(float, row[2:]), strict=True))
        for name in facs.ARKIT:
            assert found[name[0].upper() + name[1:]] == pytest.approx(state.arkit[facs.INDEX[name]], abs=1e-7)
        yaw, pitch, roll = (math.radians(v) for v in state.head.euler)
        head = [found[f"Head{a}"] for a in ("Yaw", "Pitch", "Roll")]
        assert head == pytest.approx([yaw, -pitch, roll], abs=1e-6)
        assert found["LeftEyeYaw"] == found["RightEyeYaw"] == pytest.approx(state.gaze.yaw, abs=1e-6)
        assert found["LeftEyePitch"] == pytest.approx(-state.gaze.pitch, abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "fps", "text"),
    [
        (0, 60, "00:00:00:00.000"),
        (1.5, 60, "00:00:01:30.000"),
        (1 / 120, 60, "00:00:00:00.500"),
        (59.99999999, 30, "00:01:00:00.000"),
        (3661 + 29 / 30, 30, "01:01:01:29.000"),
    ],
)
def test_timecode(seconds: float, fps: int, text: str) -> None:
    from avatar.streams.animation.csv import timecode

    assert timecode(seconds, fps) == text


# --- BVH -----------------------------------------------------------------------------------------------------------


def rotation(axis: str, degrees: float) -> np.ndarray:
    """A right-handed rotation about one axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def read_bvh(path: Path) -> tuple[float, list[dict[str, dict[str, Any]]]]:
    """Frame time, and for each frame joint -> place and rotation matrix (channels applied in their order)."""
    words = path.read_text().split()
    joints: list[tuple[str, list[str]]] = []
    at = 0
    while words[at] != "MOTION":
        if words[at] in ("ROOT", "JOINT"):
            name = words[at + 1]
        if words[at] == "CHANNELS":
            count = int(words[at + 1])
            joints.append((name, words[at + 2 : at + 2 + count]))
        at += 1
    assert words[:at].count("{") == words[:at].count("}")
    assert words[at + 1] == "Frames:"
    frames, seconds = int(words[at + 2]), float(words[at + 5])
    numbers = np.array(words[at + 6 :], float).reshape(frames, sum(len(channels) for _, channels in joints))
    out = []
    for row in numbers:
        values, found = iter(row), {}
        for name, channels in joints:
            place, matrix = [0.0, 0.0, 0.0], np.eye(3)
            for channel in channels:
                value = next(values)
                if channel.endswith("position"):
                    place["XYZ".index(channel[0])] = value
                else:
                    matrix = matrix @ rotation(channel[0], value)
            found[name] = {"place": place, "matrix": matrix}
        out.append(found)
    return seconds, out


def test_bvh_head_and_eyes(tmp_path: Path) -> None:
    seconds, frames = read_bvh(written(tmp_path / "x.bvh"))
    assert seconds == pytest.approx(1 / FPS)
    assert len(frames) == len(STATES)
    for found, state in zip(frames, STATES, strict=True):
        assert set(found) == {"Head", "LeftEye", "RightEye"}
        assert np.abs(found["Head"]["matrix"] - to_matrix(state.head.rotation)).max() < 1e-5
        assert found["Head"]["place"] == pytest.approx([v / 10 for v in state.head.translation], abs=1e-4)
        ahead = found["LeftEye"]["matrix"] @ (0, 0, 1)
        assert math.atan2(ahead[0], ahead[2]) == pytest.approx(state.gaze.yaw, abs=1e-5)
        assert math.asin(ahead[1]) == pytest.approx(state.gaze.pitch, abs=1e-5)


# --- GLB -----------------------------------------------------------------------------------------------------------


class Glb:
    """A reader of binary glTF 2.0: chunks, accessors (sparse ones too)."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", raw)
        assert (magic, version, length) == (b"glTF", 2, len(raw))
        size, kind = struct.unpack_from("<I4s", raw, 12)
        assert kind == b"JSON"
        assert size % 4 == 0
        self.json = json.loads(raw[20 : 20 + size])
        more, kind = struct.unpack_from("<I4s", raw, 20 + size)
        assert kind == b"BIN\0"
        self.data = raw[28 + size : 28 + size + more]
        assert self.json["buffers"] == [{"byteLength": len(self.data)}]

    def _view(self, number: int, kind: int, count: int) -> np.ndarray:
        view = self.json["bufferViews"][number]
        dtype = {5123: "<u2", 5125: "<u4", 5126: "<f4"}[kind]
        assert view["byteOffset"] % 4 == 0
        return np.frombuffer(self.data, dtype, count, view["byteOffset"])

    def accessor(self, number: int) -> np.ndarray:
        a = self.json["accessors"][number]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[a["type"]]
        if "bufferView" in a:
            out = self._view(a["bufferView"], a["componentType"], a["count"] * width).reshape(-1, width).copy()
        else:
            out = np.zeros((a["count"], width), np.float32)
        if sparse := a.get("sparse"):
            indices = self._view(sparse["indices"]["bufferView"], sparse["indices"]["componentType"], sparse["count"])
            assert (np.diff(indices.astype(int)) > 0).all(), "indices must ascend"
            values = self._view(sparse["values"]["bufferView"], a["componentType"], sparse["count"] * width)
            out[indices] = values.reshape(-1, width)
        if "min" in a:
            assert np.allclose(out.min(0), a["min"])
            assert np.allclose(out.max(0), a["max"])
        return out

    def tracks(self) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
        """(node, path) -> times, values."""
        (made,) = self.json["animations"]
        found = {}
        for channel in made["channels"]:
            sampler = made["samplers"][channel["sampler"]]
            assert sampler["interpolation"] == "LINEAR"
            node = self.json["nodes"][channel["target"]["node"]]["name"]
            times, values = self.accessor(sampler["input"])[:, 0], self.accessor(sampler["output"])
            found[node, channel["target"]["path"]] = times, values
        return found


def quaternion_matrix(q: np.ndarray) -> np.ndarray:
    x, y, z, w = (float(v) for v in q)
    return to_matrix((w, x, y, z))


def test_glb_animation(tmp_path: Path) -> None:
    glb = Glb(written(tmp_path / "x.glb"))
    tracks = glb.tracks()
    assert set(tracks) == {
        ("Head", "translation"), ("Head", "rotation"), ("Head", "weights"), ("LeftEye", "rotation"),
        ("RightEye", "rotation"),
    }  # fmt: skip
    mesh = glb.json["meshes"][glb.json["nodes"][0]["mesh"]]
    assert mesh["extras"]["targetNames"] == list(facs.ARKIT)
    times, weights = tracks["Head", "weights"]
    assert times == pytest.approx([i / FPS for i in range(75)], abs=1e-6)
    assert np.array_equal(weights.reshape(75, 52), np.stack([state.arkit for state in STATES]))
    for i, state in enumerate(STATES):
        turned = quaternion_matrix(tracks["Head", "rotation"][1][i])
        assert np.abs(turned - to_matrix(state.head.rotation)).max() < 1e-5
        assert tracks["Head", "translation"][1][i] == pytest.approx(np.array(state.head.translation) / 1000, abs=1e-6)
        ahead = quaternion_matrix(tracks["LeftEye", "rotation"][1][i]) @ (0, 0, 1)
        assert math.atan2(ahead[0], ahead[2]) == pytest.approx(state.gaze.yaw, abs=1e-5)
    for (_, path), (_, values) in tracks.items():
        if path == "rotation":
            assert (np.sum(values[1:] * values[:-1], axis=1) >= 0).all(), "no detour on the sphere"


def test_glb_geometry_is_the_packages_head(tmp_path: Path) -> None:
    glb = Glb(written(tmp_path / "x.glb"))
    basis = HeadBasis.load(registry.weights_dir() / "head_basis.npz", subdivide=False)
    mesh = glb.json["meshes"][0]
    assert len(mesh["primitives"]) == 6
    state = STATES[3]
    whole = basis.shape(state.arkit)
    for part, primitive in enumerate(mesh["primitives"]):
        assert len(primitive["targets"]) == 52
        rest = glb.accessor(primitive["attributes"]["POSITION"])
        moved = rest + sum(
            w * glb.accessor(target["POSITION"]) for w, target in zip(state.arkit, primitive["targets"], strict=True)
        )
        used = np.unique(basis.triangles[basis.triangle_part == part])
        expected = (whole[used] - (0, -9, -8)) / 100
        assert np.abs(moved - expected).max() < 1e-3, "a millimetre: what hardly moves is left out"
        length = np.linalg.norm(glb.accessor(primitive["attributes"]["NORMAL"]), axis=1)
        assert length == pytest.approx(np.ones(len(rest)), abs=1e-5)
        indices = glb.accessor(primitive["indices"])
        assert indices.max() < len(rest)
    size = (tmp_path / "x.glb").stat().st_size
    assert size < 3e6


def test_a_file_of_no_states_is_still_one(tmp_path: Path) -> None:
    assert "animations" not in Glb(written(tmp_path / "x.glb", [])).json
    assert read_bvh(written(tmp_path / "x.bvh", []))[1] == []


# --- the command ---------------------------------------------------------------------------------------------------


def test_endings_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.fbx: states are written as \.jsonl, \.csv, \.bvh, \.glb"):
        animation.writer(tmp_path / "x.fbx", FPS)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        animation.writer(tmp_path / "file" / "x.csv", FPS)


def test_analyze_turns_states_into_every_form(tmp_path: Path) -> None:
    """Without drawing a picture; and over its own input too."""
    states = written(tmp_path / "in.jsonl", [face(i / FPS, jawOpen=0.5) for i in range(10)])
    for name in ("out.csv", "out.bvh", "out.glb", "in.jsonl"):
        command = [sys.executable, "-m", "avatar", "analyze", "--states", str(states), "--states-out"]
        run = subprocess.run([*command, str(tmp_path / name), "--json"], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["states"] == 10
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 11
    assert len(read_bvh(tmp_path / "out.bvh")[1]) == 10
    assert len(Glb(tmp_path / "out.glb").tracks()["Head", "weights"][0]) == 10
    assert len(list(read_states(states))) == 10
    wrong = subprocess.run([*command, str(tmp_path / "out.fbx")], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "change the name's ending" in wrong.stderr
