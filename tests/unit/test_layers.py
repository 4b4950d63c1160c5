"""The portrait in two layers, and what is put behind it."""

import cv2
import numpy as np
import pytest

from avatar.engines import layers
from avatar.errors import UsageError
from avatar.portrait.matte import Matte

SIZE = 256


def _portrait() -> tuple[np.ndarray, Matte]:
    """A disc of noise with a soft edge before a slope of grey, with a thin dark line that the matte has missed."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:SIZE, :SIZE]
    alpha = np.clip((80 - np.hypot(x - 128, y - 140)) / 3, 0, 1).astype(np.float32)
    scene = np.repeat((80 + x * 0.3)[..., None], 3, 2)
    person = random.integers(100, 255, (SIZE, SIZE, 3))
    picture = person * alpha[..., None] + scene * (1 - alpha[..., None])
    picture[53:63, 127:129] = 10
    return np.round(picture).astype(np.uint8), Matte(alpha)


def test_unmoved_layers_are_the_photo_to_the_last_bit():
    picture, matte = _portrait()
    apart = layers.take_apart(picture, matte)
    np.testing.assert_array_equal(layers.over(apart.kept, apart.behind), picture)


def test_what_the_matte_missed_moves_with_the_person():
    picture, matte = _portrait()
    apart = layers.take_apart(picture, matte)
    assert apart.behind[56, 128].min() > 90, "the strand of hair is still in the background"
    assert apart.kept[56, 128, 3] > 200
    assert apart.cut[56, 128, 3] == 0


def test_the_background_continues_where_the_person_was():
    picture, matte = _portrait()
    behind = layers.take_apart(picture, matte).behind.astype(float)
    wanted = 80 + np.arange(SIZE) * 0.3
    assert np.abs(behind[140, :, 0] - wanted).max() < 20
    assert np.abs(np.diff(behind[140, :, 0])).max() <= 4, "a step where the continuation begins"


def test_another_background_leaves_none_of_the_old_one():
    picture, matte = _portrait()
    apart = layers.take_apart(picture, matte)
    made = layers.over(apart.cut, layers.background("#0000ff", apart.behind))
    assert (made[matte.alpha == 0] == (0, 0, 255)).all()
    np.testing.assert_array_equal(made[matte.alpha == 1], picture[matte.alpha == 1])


def test_an_exchanged_background_is_what_drawing_over_it_gives():
    picture, matte = _portrait()
    apart = layers.take_apart(picture, matte)
    green = layers.background("green", apart.behind)
    made = layers.over(apart.cut, apart.behind)
    layers.exchange(made, apart.cut[..., 3], apart.behind, green)
    wanted = layers.over(apart.cut, green)
    assert np.abs(made.astype(int) - wanted).max() <= 1


def test_a_straight_picture_over_black_is_what_it_was():
    picture, matte = _portrait()
    apart = layers.take_apart(picture, matte)
    black = layers.over(apart.cut, layers.background("alpha", apart.behind))
    rgba = layers.straight(black, apart.cut[..., 3])
    again = rgba[..., :3].astype(float) * (rgba[..., 3:] / 255)
    assert np.abs(again - black).max() < 1.5


def test_a_picture_behind_is_cut_to_a_square(tmp_path):
    file = tmp_path / "wide.png"
    wide = np.zeros((50, 150, 3), np.uint8)
    wide[:, 50:100] = (10, 200, 30)
    cv2.imwrite(str(file), wide)
    made = layers.background(str(file), np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_array_equal(made, np.broadcast_to((30, 200, 10), (64, 64, 3)))


@pytest.mark.parametrize("name", ["beach", "#12345", "gone.png", ""])
def test_an_unknown_background_is_refused_in_one_line(name):
    with pytest.raises(UsageError, match="one of keep, blur, green, alpha"):
        layers.background(name, np.zeros((8, 8, 3), np.uint8))


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    file = tmp_path / "words.png"
    file.write_text("no picture")
    with pytest.raises(UsageError, match="not a picture"):
        layers.background(str(file), np.zeros((8, 8, 3), np.uint8))
