"""Closed lids: where they are drawn, in which colour, and the shape of the lashes."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.engines import head_lids
from avatar.engines.head_lids import Lid, eye_frame
from avatar.engines.raster import SKIN
from avatar.portrait.fit import LEFT_BROW, LEFT_EYE

SKIN_COLOUR = np.array((200, 150, 120))
SIZE = 128


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    """A plain picture with one white eye, and landmarks (478, 3)."""
    landmarks = np.zeros((478, 3), np.float32)
    s = np.linspace(0, 1, 9)
    upper = np.c_[40 + 48 * s, 64 - 10 * np.sin(np.pi * s)]
    lower = np.c_[40 + 48 * s, 64 + 7 * np.sin(np.pi * s)]
    landmarks[list(LEFT_EYE), :2] = np.vstack([upper, lower[-2:0:-1]])
    along = np.linspace(30, 95, 5)
    landmarks[list(LEFT_BROW), :2] = np.vstack([np.c_[along, np.full(5, 30.0)], np.c_[along[::-1], np.full(5, 36.0)]])
    landmarks[280, :2] = 70, 100
    picture = np.full((SIZE, SIZE, 3), SKIN_COLOUR, np.uint8)
    yy, xx = np.mgrid[:SIZE, :SIZE]
    white = (xx > 40) & (xx < 88)
    inside = (xx - 40) / 48
    white &= (yy > 64 - 10 * np.sin(np.pi * inside)) & (yy < 64 + 7 * np.sin(np.pi * inside))
    picture[white] = 235
    return picture, landmarks


def drawn(face: tuple[np.ndarray, np.ndarray], closed: float, lowered: float | None = None) -> np.ndarray:
    picture, landmarks = face
    lid = Lid(picture, landmarks, "Left", np.array((20.0, 15, 15), np.float32), 0.9)
    contour = landmarks[list(LEFT_EYE), :2].copy()
    lower = contour[[0, *range(15, 8, -1), 8]]
    contour[:9] += np.float32(closed) * (lower - contour[:9])
    out = picture.copy()
    lid.draw(out, np.full((SIZE, SIZE), SKIN, np.uint8), contour, closed, closed if lowered is None else lowered)
    return out


def test_frame_of_an_eye() -> None:
    contour = np.zeros((16, 2), np.float32)
    contour[0], contour[8] = (10, 20), (40, 60)
    frame = eye_frame(contour)
    np.testing.assert_allclose(contour[[0, 8]] @ frame[:, :2].T + frame[:, 2], [(0, 0), (1, 0)], atol=1e-5)


def test_an_open_eye_is_left_alone(face) -> None:
    np.testing.assert_array_equal(drawn(face, 0.0), face[0])


def test_a_cheek_that_rises_leaves_the_upper_lid_alone(face) -> None:
    np.testing.assert_array_equal(drawn(face, 0.5, lowered=0.05), face[0])


def test_a_shut_lid_is_skin(face) -> None:
    lid = drawn(face, 1.0)[56:64, 50:78].reshape(-1, 3).astype(float)
    assert np.abs(lid.mean(0) / SKIN_COLOUR - 1).max() < 0.15
    assert lid.max() < 232


def test_lashes_are_dark_and_lie_on_the_edge(face) -> None:
    shut = drawn(face, 1.0).astype(float).mean(2)
    assert 68 <= int(shut[50:90, 64].argmin()) + 50 <= 80
    assert shut[50:90, 64].min() < 0.45 * SKIN_COLOUR.mean()


def test_nothing_changes_far_from_the_eye(face) -> None:
    changed = (drawn(face, 1.0) != face[0]).any(2)
    assert not changed[:34].any()
    assert not changed[100:].any()


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_lashes_taper_towards_the_nose(side: str) -> None:
    cover = head_lids._lashes(side)[..., 0].sum(0)
    at = np.searchsorted(
        head_lids.S_RANGE[0] + np.arange(len(cover)) / 96, (0.05, 0.7) if side == "Left" else (0.95, 0.3)
    )
    assert cover[at[0]] < 0.6 * cover[at[1]]
    assert cover.min() >= 0
