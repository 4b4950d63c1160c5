"""The guess about unmarked pictures: its features, its learning, and its honesty about missing weights."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from avatar.errors import ModelFileError, UsageError
from avatar.models.trust.detector import detector, fit
from avatar.trust.detector import Detector, features


def clip(noise: float, count: int = 12) -> list[np.ndarray]:
    """A picture that stands still, with a camera's noise of so many grey levels."""
    rng = np.random.default_rng(3)
    still = cv2.resize(data.astronaut(), (256, 256)).astype(np.float32)
    return [np.clip(still + rng.normal(0, noise, still.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def test_one_picture_and_a_clip_have_features_of_their_own_whatever_the_size():
    for shape in ((256, 256), (512, 512), (360, 640)):
        picture = cv2.resize(data.astronaut(), shape[::-1])
        one, several = features([picture]), features([picture] * 12)
        assert (one.shape, several.shape) == ((35,), (43,))
        assert np.isfinite(one).all()
        assert np.isfinite(several).all()
    flat = [np.full((256, 256, 3), 90, np.uint8)] * 12
    assert np.isfinite(features(flat)).all()


def test_a_picture_that_never_rests_is_told_from_one_that_does():
    rest, noisy = features(clip(0.0)), features(clip(4.0))
    assert rest[-2] > 0.99, "nothing changes"
    assert noisy[-2] < 0.5


def test_learning_separates_what_can_be_separated_and_doubts_the_rest():
    rng = np.random.default_rng(5)
    ours = np.arange(200) % 4 == 0
    found = rng.normal(0, 1, (200, 6))
    found[:, 2] += 3.0 * ours
    weights = fit(found, ours)
    scores = np.array([weights.score(row) for row in found])
    assert (scores[ours] > 0.5).mean() > 0.85
    assert (scores[~ours] < 0.5).mean() > 0.85
    assert np.abs(weights.weight).argmax() == 2
    blind = fit(rng.normal(0, 1, (400, 2)), np.arange(400) % 2 == 0)
    assert abs(blind.score(np.zeros(2)) - 0.5) < 0.1


def test_without_weights_or_data_it_says_so(tmp_path):
    with pytest.raises(ModelFileError, match="missing or damaged"):
        Detector(tmp_path / "detector.npz")
    with pytest.raises(UsageError, match="--data"):
        detector(tmp_path)
    with pytest.raises(UsageError, match="faces/london"):
        detector(tmp_path, tmp_path)
