"""The judge's figures against cases worked out by hand or in print."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avatar.models.expression import metrics

EVERYWHERE = np.ones((64, 64), bool)


def grey(value: int) -> np.ndarray:
    return np.full((64, 64, 3), value, np.uint8)


def noisy(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def test_mse_and_psnr_of_a_constant_difference():
    squared = metrics.mse(grey(100), grey(110), EVERYWHERE)
    assert squared == 100
    assert metrics.psnr(squared) == pytest.approx(20 * math.log10(255 / 10))
    assert metrics.psnr(0.0) == pytest.approx(100)


def test_what_lies_outside_the_mask_does_not_count():
    mask = EVERYWHERE.copy()
    mask[:, 32:] = False
    picture = grey(100)
    picture[:, 32:] = 250
    assert metrics.mse(picture, grey(100), mask) == 0


def test_ssim_of_equal_and_of_unrelated_pictures():
    assert metrics.ssim(noisy(), noisy(), EVERYWHERE) == pytest.approx(1)
    assert abs(metrics.ssim(noisy(1), noisy(2), EVERYWHERE)) < 0.1


def test_ssim_of_two_plain_greys_is_its_brightness_term():
    a, b, c1 = 100.0, 150.0, (0.01 * 255) ** 2
    assert metrics.ssim(grey(100), grey(150), EVERYWHERE) == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1))


def test_landmark_error_is_in_percent_of_the_eye_distance():
    points = np.zeros((10, 2))
    assert metrics.landmark_error(points + np.array((3, 4)), points, 80) == pytest.approx(100 * 5 / 80)


def test_folds_keep_people_whole_and_do_not_depend_on_the_order():
    names = [f"p{i:02}" for i in range(23)] * 2
    found = metrics.folds(names, 10)
    assert found[:23] == found[23:], "one person, one fold"
    sizes = np.bincount(found)
    assert len(sizes) == 10
    assert np.ptp(sizes) <= 2, "of two photos each"
    shuffled = list(reversed(names))
    assert dict(zip(shuffled, metrics.folds(shuffled, 10), strict=True)) == dict(zip(names, found, strict=True))


def test_few_people_get_a_fold_each():
    assert sorted(metrics.folds(["b", "a", "c"], 10)) == [0, 1, 2]


def test_identity_margins():
    distances = np.array([[0.2, 0.7, 0.6], [0.5, 0.4, 0.3]])
    own, margin, nearest = metrics.identity_margins(distances)
    np.testing.assert_allclose(own, (0.2, 0.4))
    np.testing.assert_allclose(margin, (0.4, -0.1))
    assert nearest.tolist() == [True, False]


def test_the_interval_holds_the_mean_and_is_always_the_same():
    values = np.random.default_rng(5).normal(3, 1, 100)
    low, high = metrics.interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 0.1, rel=0.25)
    assert metrics.interval(values) == (low, high)


# --- commanded against measured -------------------------------------------------------------------------------------

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
"""Table 2 of Shrout & Fleiss (1979): four judges rate six targets."""


def test_icc_of_the_published_example():
    assert metrics.icc3(SHROUT_FLEISS) == pytest.approx(0.71, abs=0.005), "their table 4"


def test_icc_does_not_mind_a_rater_who_is_always_higher():
    ratings = np.c_[np.arange(5.0), np.arange(5.0) + 3]
    assert metrics.icc3(ratings) == pytest.approx(1)


def test_icc_of_opposites_is_minus_one_and_of_nothing_is_0():
    assert metrics.icc3(np.c_[np.arange(5.0), -np.arange(5.0)]) == pytest.approx(-1)
    assert metrics.icc3(np.ones((4, 2))) == 0


def test_calibration_turns_the_answer_into_the_command():
    asked = np.tile((0, 0.5, 1), 4).astype(float)
    np.testing.assert_allclose(metrics.calibrated(asked, 7 - 2 + 3 * asked), asked)


def test_noise_is_not_taken_for_agreement():
    """A line fitted the other way round would shrink the noise: then even unrelated values agree a little."""
    rng = np.random.default_rng(0)
    asked = np.tile((0, 0.25, 0.5, 0.75, 1), 400)
    found = metrics.calibrated(asked, asked + rng.normal(0, np.std(asked), len(asked)))
    assert np.polyfit(asked, found, 1)[0] == pytest.approx(1, abs=0.02)
    # Half of the measured variance is the command's: ICC(3,1) = cov / mean variance = 1 / 1.5.
    assert metrics.icc3(np.c_[asked, found]) == pytest.approx(2 / 3, abs=0.03)


def test_no_answer_at_all():
    asked = np.tile((0.0, 0.5, 1.0), 4)
    flat = metrics.calibrated(asked, np.zeros(12))
    np.testing.assert_allclose(flat, 0.5)
    assert abs(metrics.icc3(np.c_[asked, flat])) < 0.1
    assert metrics.spearman(asked, np.zeros(12)) == 0


def test_spearman_asks_for_order_only():
    asked = np.array([0, 0.25, 0.5, 0.75, 1])
    assert metrics.spearman(asked, asked**3) == pytest.approx(1)
    assert metrics.spearman(asked, -asked) == pytest.approx(-1)


def test_leakage_is_measured_by_the_other_units_own_range():
    changes = {
        1: {1: np.array([1.0, 1.0]), 2: np.array([0.1, -0.1]), 4: np.array([0.5, 0.5])},
        2: {1: np.array([0.5, 0.5]), 2: np.array([0.4, 0.4]), 4: np.array([0.0, 0.0])},
        4: {1: np.array([0.0, 0.0]), 2: np.array([0.2, 0.2]), 4: np.array([-0.5, -1.5])},
    }
    leaks = metrics.leakage(changes, {1: frozenset({4})})
    assert leaks[1] == {2: pytest.approx(0.25)}, "kin are left out; signs do not cancel"
    assert leaks[2] == {1: pytest.approx(0.5), 4: 0}
    assert leaks[4] == {1: 0, 2: pytest.approx(0.5)}
