"""The network that sees glasses: its samples, and its file against torch."""

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch", reason="training extra")

import torch
from drawn_face import drawn_face

from avatar.errors import UsageError
from avatar.models.glasses import learning
from avatar.portrait.glasses import CROP, as_input


@pytest.fixture(scope="module")
def bases() -> list[learning.Base]:
    made = drawn_face(512)
    return [learning.Base("drawn", learning._base(made.portrait, made.landmarks))]


def test_samples_are_the_same_for_the_same_seed_and_some_are_bare(bases):
    first = [learning.sample(np.random.default_rng(seed), bases) for seed in range(12)]
    again = [learning.sample(np.random.default_rng(seed), bases) for seed in range(12)]
    for (picture, frame), (other, same) in zip(first, again, strict=True):
        assert picture.shape == (*CROP, 3)
        assert frame.shape == CROP
        assert np.array_equal(picture, other)
        assert np.array_equal(frame, same)
    bare = [not frame.any() for _, frame in first]
    assert any(bare)
    assert not all(bare)


def test_the_file_computes_what_torch_does(bases):
    torch.manual_seed(0)
    net = learning.Net()
    picture, _ = learning.sample(np.random.default_rng(0), bases)
    x = as_input(picture[None])
    with torch.no_grad():
        net.train()
        net(torch.from_numpy(np.repeat(x, 4, 0)))  # the norms' running means are no longer 0 and 1
        net.eval()
        expected = torch.sigmoid(net(torch.from_numpy(x))).numpy()
    session = onnxruntime.InferenceSession(
        learning.network_bytes(net, {"steps": 0}), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"picture": x})[0]
    assert found.shape == (1, 1, *CROP)
    np.testing.assert_allclose(found, expected, atol=0.01)  # weights are kept as float16


def test_a_moment_of_training_keeps_the_network_finite(bases):
    net, steps = learning.train(bases, 0.02, 0)
    assert steps >= 1
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


def test_who_wears_glasses_is_never_learnt_from(tmp_path):
    with pytest.raises(UsageError, match="give the data bundle"):
        learning.read_bases(tmp_path)
    assert len(learning.WEARERS) == len(set(learning.WEARERS)) == 52
    assert 0.1 < np.mean([learning.held_out(f"{i:04d}") for i in range(500)]) < 0.3
