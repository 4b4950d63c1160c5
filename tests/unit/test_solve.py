"""Weights and turn from landmarks: planted ones must be found again."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_face import basis

from avatar.core.facs import ARKIT, INDEX, arkit_vector, set_eye_look
from avatar.core.geometry import from_euler, matrix_to_euler, to_matrix
from avatar.core.types import zeros
from avatar.portrait.fit import fit_head
from avatar.portrait.solve import bounded_ridge, relative_to, solve


def seen(vertices, yaw=0.0, pitch=0.0, roll=0.0, scale=15.0) -> np.ndarray:
    """What a perfect detector would see: (478, 3)."""
    camera = basis().landmarks(vertices) @ to_matrix(from_euler(yaw, pitch, roll)).T * scale
    out = np.zeros((478, 3), np.float32)
    out[:468] = camera * (1, -1, -1) + (256, 190, 0)
    return out


@pytest.fixture(scope="module")
def person():
    photo = seen(basis().vertices)
    return photo, fit_head(basis(), photo, zeros(52))


def planted() -> np.ndarray:
    return arkit_vector({"mouthSmileLeft": 0.6, "mouthSmileRight": 0.5, "jawOpen": 0.3, "browInnerUp": 0.4})


def test_planted_weights_and_turn_are_found(person):
    photo, fitted = person
    shape = fitted.rest + np.tensordot(planted(), fitted.expressions, 1)
    solved = solve(basis(), fitted, photo, seen(shape, yaw=8, pitch=-4, roll=3, scale=11.0), planted() / 0.7)
    np.testing.assert_allclose(solved.weights, planted(), atol=0.05)
    np.testing.assert_allclose(matrix_to_euler(solved.turn), (8, -4, 3), atol=0.7)
    assert solved.error < 0.03


def test_a_prior_that_knows_nothing_still_leaves_the_right_motion(person):
    photo, fitted = person
    shape = fitted.rest + np.tensordot(planted(), fitted.expressions, 1)
    solved = solve(basis(), fitted, photo, seen(shape), zeros(52))
    assert solved.error < 0.05
    for name in ("mouthSmileLeft", "jawOpen", "browInnerUp"):
        assert solved.weights[INDEX[name]] > 0.5 * planted()[INDEX[name]]


def test_a_still_face_gives_zeros(person):
    photo, fitted = person
    solved = solve(basis(), fitted, photo, photo * 0.5, zeros(52))
    assert solved.weights.max() < 0.02
    np.testing.assert_allclose(solved.turn, np.eye(3), atol=0.01)


def test_gaze_and_tongue_are_left_to_others(person):
    photo, fitted = person
    looks = zeros(52).copy()
    set_eye_look(looks, 0.0, -0.3)
    shape = fitted.rest + np.tensordot(looks, fitted.expressions, 1)
    solved = solve(basis(), fitted, photo, seen(shape), np.ones(52, np.float32) * 0.0, looks)
    fixed = [i for i, name in enumerate(ARKIT) if name.startswith(("eyeLook", "tongue"))]
    assert not solved.weights[fixed].any()
    assert solved.weights[INDEX["eyeBlinkLeft"]] < 0.1, "lids that follow the gaze are no blink"


def test_weights_stay_between_0_and_1():
    moves = np.eye(3)
    found = bounded_ridge(moves, np.array([2.0, -1.0, 0.5]), np.zeros(3), 1e-6)
    np.testing.assert_allclose(found, (1, 0, 0.5), atol=1e-4)


def test_the_prior_decides_where_the_landmarks_do_not():
    moves = np.array([[1.0, 1.0]])  # two shapes with the same motion
    found = bounded_ridge(moves, np.array([0.8]), np.array([0.6, 0.2]), 1e-3)
    np.testing.assert_allclose(found, (0.6, 0.2), atol=1e-3)


def test_heavier_rows_count_more():
    moves = np.array([[1.0], [1.0]])
    found = bounded_ridge(moves, np.array([0.2, 0.8]), np.zeros(1), 0.0, np.array([1.0, 3.0]))
    assert found[0] == pytest.approx(0.65)


def test_coefficients_relative_to_rest_still_reach_1():
    np.testing.assert_allclose(
        relative_to(np.array([0.2, 0.2, 0.5, 1.0], np.float32), np.array([1.0, 0.2, 0.3, 1.0], np.float32)),
        (1, 0, 0, 1),
        atol=1e-6,
    )
