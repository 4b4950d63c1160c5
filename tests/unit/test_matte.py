"""Telling the person from the background."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import avatar.models
from avatar.core.types import FaceState, Ns, Pose
from avatar.engines.head import HeadEngine
from avatar.errors import UsageError
from avatar.models import tflite
from avatar.models.matte.build import converted
from avatar.network import one_thread_session
from avatar.portrait import bundle as bundles
from avatar.portrait import matte

MODELS = Path(avatar.models.__file__).parent
WEIGHTS = MODELS / "weights"


def _avatar(name: str) -> bundles.AvatarBundle:
    return bundles.load(MODELS / "avatars" / name)


def test_a_person_before_a_wall_is_found():
    portrait, landmarks = _avatar("max").at_size(512)
    found = matte.find_person(portrait, landmarks, WEIGHTS)
    assert not found.doubt
    assert found.alpha.shape == (512, 512)
    assert found.alpha[300, 256] == 1, "the face"
    assert found.alpha[20:200, :60].max() < 0.02, "the wall"
    assert 0.3 < found.alpha.mean() < 0.8


def test_no_person_is_doubted():
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (256, 256, 3)).astype(np.uint8)
    assert matte.find_person(noise, _avatar("max").at_size(256)[1], WEIGHTS).doubt


def test_strands_are_found_where_the_network_is_coarse():
    """A coarse outline, a plain background, and dark strands across it."""
    n = 256
    picture = np.full((n, n, 3), 200, np.uint8)
    picture[96:, 64:192] = 40
    for x in range(80, 180, 12):
        picture[88:97, x : x + 2] = 40
    coarse = np.zeros((n, n), np.float32)
    coarse[94:, 64:192] = 1
    found = matte.refined(picture, cv2.GaussianBlur(coarse, (0, 0), 3))
    strand, gap = found[91:94, 80:180:12].mean(), found[89:92, 86:180:12].mean()
    assert strand > gap + 0.25


def test_push_pull_keeps_what_is_known_and_continues_it():
    known = np.ones((64, 64), np.float32)
    known[20:40, 20:40] = 0
    picture = np.full((64, 64, 3), 50, np.float32)
    picture[known == 0] = 255
    made = matte.push_pull(picture, known, 4)
    np.testing.assert_allclose(made, 50, atol=0.01)


def test_a_bundle_brings_its_own_matte(tmp_path):
    given = np.zeros((640, 640), np.uint8)
    given[100:, 100:500] = 255
    avatar_ = _avatar("max")
    size = len(avatar_.portrait)
    given = cv2.resize(given, (size, size), interpolation=cv2.INTER_NEAREST)
    bundles.save(replace(avatar_, matte=given), tmp_path / "mine")
    loaded = bundles.load(tmp_path / "mine")
    np.testing.assert_array_equal(loaded.matte, given)
    assert matte.matte_of(loaded, 256, WEIGHTS).alpha[200, 128] == 1
    (tmp_path / "mine" / "matte.png").write_bytes(cv2.imencode(".png", given[:50])[1].tobytes())
    with pytest.raises(UsageError, match=r"matte\.png"):
        bundles.load(tmp_path / "mine")


def test_the_background_stays_while_the_head_turns():
    engine = HeadEngine(_avatar("max"), 256, WEIGHTS)
    rest, turned = (engine.render(FaceState(Ns(0), head=Pose.degrees(yaw, yaw, 0))) for yaw in (0, 12))
    portrait, _ = _avatar("max").at_size(256)
    np.testing.assert_array_equal(rest, portrait)
    np.testing.assert_array_equal(turned[10:110, :28], portrait[10:110, :28])
    engine.set_background("green")
    keyed = engine.render(FaceState(Ns(0), head=Pose.degrees(12, 12, 0)))
    np.testing.assert_array_equal(keyed[10:110, :28], np.broadcast_to((0, 255, 0), (100, 28, 3)))
    assert engine.background == "green"
    assert engine.alpha is not None
    assert engine.alpha[150, 128] == 255


def test_a_doubtful_matte_keeps_the_background_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr("avatar.engines.head.matte_of", lambda *_: matte.Matte(np.zeros((256, 256)), "it is dark"))
    engine = HeadEngine(_avatar("max"), 256, WEIGHTS)
    engine.set_background("blur")
    assert engine.background == "keep"
    assert "it is dark" in caplog.text
    np.testing.assert_array_equal(engine.render(FaceState(Ns(0))), _avatar("max").at_size(256)[0])


def test_conversion_says_what_the_network_says():
    """One convolution with an odd "same" padding, an activation, and a sum, against what they are."""
    random = np.random.default_rng(1)
    weight = random.normal(size=(2, 3, 3, 1)).astype(np.float32)
    network = tflite.Network(
        inputs=(0,), outputs=(4,), shapes={0: (1, 4, 4, 1), 3: (1, 2, 2, 2), 4: (1, 2, 2, 2)},
        constants={1: weight, 2: np.array((0.5, -0.5), np.float32)},
        operators=(
            tflite.Operator("conv", (0, 1, 2), 3, stride=2, activation="relu"),
            tflite.Operator("add", (3, 3), 4),
        ),
    )  # fmt: skip
    content = converted(network, {})
    session = _session_of(content)
    x = random.normal(size=(1, 1, 4, 4)).astype(np.float32)
    (given,) = session.run(None, {"picture": x})
    padded = np.pad(x[0, 0], ((0, 1), (0, 1)))  # TensorFlow pads at the end
    half = weight.astype(np.float16).astype(np.float32)
    for o in range(2):
        for i in range(2):
            for j in range(2):
                value = (padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * half[o, :, :, 0]).sum() + (0.5, -0.5)[o]
                assert given[0, o, i, j] == pytest.approx(2 * max(0, value), abs=1e-5)


def _session_of(content: bytes):
    import onnxruntime

    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def test_the_shipped_network_reads_pictures():
    session = one_thread_session(WEIGHTS / matte.FILE)
    (made,) = session.run(None, {"picture": np.zeros((1, 3, 256, 256), np.float32)})
    assert made.shape == (1, 1, 256, 256)
    assert 0 <= made.min() <= made.max() <= 1
