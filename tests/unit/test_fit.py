"""Landmarks to a head: known heads must be found again."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_face import basis, drawn_face

from avatar.core.facs import INDEX
from avatar.core.geometry import from_euler, matrix_to_euler, to_matrix
from avatar.core.types import zeros
from avatar.portrait.fit import (
    INNER_LIPS,
    LEFT_LOWER_LID,
    LEFT_UPPER_LID,
    LOWER_INNER_LIP,
    RIGHT_LOWER_LID,
    RIGHT_UPPER_LID,
    UPPER_INNER_LIP,
    fit_head,
    on_landmarks,
)


def landmarks_of(vertices, yaw=0.0, pitch=0.0, roll=0.0, scale=15.0) -> np.ndarray:
    """What a perfect detector would see of ``vertices``: (478, 3)."""
    camera = basis().landmarks(vertices) @ to_matrix(from_euler(yaw, pitch, roll)).T * scale
    out = np.zeros((478, 3), np.float32)
    out[:468] = camera * (1, -1, -1) + (256, 190, 0)
    return out


def on_photo(fitted) -> np.ndarray:
    return fitted.project(on_landmarks(basis(), fitted.rest))[:, :2]


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (12, -8, 5), (-15, 6, -10)])
def test_the_pose_is_found(yaw, pitch, roll):
    fitted = fit_head(basis(), landmarks_of(basis().vertices, yaw, pitch, roll), zeros(52))
    np.testing.assert_allclose(matrix_to_euler(fitted.rotation), (yaw, pitch, roll), atol=1.5)
    assert fitted.scale == pytest.approx(15.0, rel=0.03)
    assert np.linalg.det(fitted.rotation) == pytest.approx(1.0)


def test_another_identity_is_fitted_to_its_landmarks():
    weights = np.random.default_rng(3).normal(size=len(basis().identities)).astype(np.float32)
    target = landmarks_of(basis().shape(zeros(52), weights), yaw=5)
    fitted = fit_head(basis(), target, zeros(52))
    miss = np.hypot(*(on_photo(fitted) - target[:468, :2]).T)
    miss = np.delete(miss, INNER_LIPS)  # the inner lips are closed on purpose
    assert miss.mean() < 0.5
    assert np.percentile(miss, 95) < 2


def test_a_closed_mouth_is_closed():
    target = landmarks_of(basis().vertices)
    target[list(UPPER_INNER_LIP[1:-1]), 1] -= 1.0
    target[list(LOWER_INNER_LIP[1:-1]), 1] += 1.0
    fitted = fit_head(basis(), target, zeros(52))
    gap = on_photo(fitted)[list(LOWER_INNER_LIP)] - on_photo(fitted)[list(UPPER_INNER_LIP)]
    assert not fitted.mouth_open
    assert np.abs(gap[:, 1]).max() < 0.5


def test_an_open_mouth_stays_open():
    target = landmarks_of(basis().shape(np.eye(52, dtype=np.float32)[INDEX["jawOpen"]] * 0.5))
    fitted = fit_head(basis(), target, zeros(52))
    assert fitted.mouth_open
    assert on_photo(fitted)[14, 1] - on_photo(fitted)[13, 1] > 10


@pytest.mark.parametrize("narrow", [0.4, 0.7, 1.0, 1.3])
def test_a_blink_closes_eyes_of_any_opening(narrow):
    target = landmarks_of(basis().vertices)
    for upper, lower in ((LEFT_UPPER_LID, LEFT_LOWER_LID), (RIGHT_UPPER_LID, RIGHT_LOWER_LID)):
        low = target[list(lower), 1]
        target[list(upper), 1] = low + (target[list(upper), 1] - low) * narrow
    fitted = fit_head(basis(), target, zeros(52))
    for side, upper, lower in (
        ("Left", LEFT_UPPER_LID, LEFT_LOWER_LID),
        ("Right", RIGHT_UPPER_LID, RIGHT_LOWER_LID),
    ):
        closed = on_landmarks(basis(), fitted.rest + fitted.expressions[INDEX["eyeBlink" + side]])
        open_ = on_landmarks(basis(), fitted.rest)
        up, low = list(upper[2:-2]), list(lower[2:-2])
        left = (closed[up] - closed[low])[:, 1]
        was = (open_[up] - open_[low])[:, 1]
        assert left.max() < 0.25 * was.max()
        assert left.min() > -0.35 * was.max()


def test_a_smile_in_the_photo_is_not_taken_for_identity():
    """With the photo's coefficients the fitted face is the smile; the shapes still start from there."""
    smile = np.zeros(52, np.float32)
    for side in ("Left", "Right"):
        smile[INDEX["mouthSmile" + side]] = 0.8
    target = landmarks_of(basis().shape(smile))
    told, untold = (fit_head(basis(), target, c) for c in (smile, zeros(52)))
    assert told.error < untold.error


def test_coefficients_that_are_not_numbers_do_no_harm():
    broken = np.full(52, np.nan, np.float32)
    fitted = fit_head(basis(), drawn_face().landmarks, broken)
    assert np.isfinite(fitted.rest).all()
    assert np.isfinite(fitted.expressions).all()
