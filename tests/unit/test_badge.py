"""The badge: large enough, readable on anything, fast, and only where it belongs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from avatar.engines.badge import CORNERS, MIN_SHARE, Badge
from avatar.errors import ConfigError


@pytest.mark.parametrize("size", [256, 512, 720, 1024])
@pytest.mark.parametrize("corner", CORNERS)
def test_it_is_large_enough_and_stays_in_its_corner(size, corner):
    badge = Badge(size, corner=corner)
    grey = np.full((size, size, 3), 128, np.uint8)
    badge.apply(grey)
    rows, columns = np.nonzero((grey != 128).any(axis=2))
    assert np.ptp(rows) + 1 >= MIN_SHARE * size
    assert (rows.mean() < size / 2) == corner.startswith("top")
    assert (columns.mean() < size / 2) == corner.endswith("left")


@pytest.mark.parametrize("background", [0, 128, 255])
def test_the_letters_stand_out_on_any_background(background):
    picture = np.full((512, 512, 3), background, np.uint8)
    badge = Badge(512)
    badge.apply(picture)
    pill = picture[badge.region].mean(axis=2)
    # WCAG 2.2, 1.4.3 asks 4.5:1 of text; sRGB to luminance.
    ink, back = ((np.array([np.percentile(pill, 99.5), np.median(pill)]) / 255 + 0.055) / 1.055) ** 2.4
    assert (ink + 0.05) / (back + 0.05) >= 4.5


def test_it_is_the_same_each_time_and_quick():
    badge = Badge(512)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    a, b = picture.copy(), picture.copy()
    badge.apply(a)
    badge.apply(b)
    np.testing.assert_array_equal(a, b)
    took = []
    for _ in range(50):
        start = time.perf_counter()
        badge.apply(b)
        took.append(time.perf_counter() - start)
    assert min(took) < 1e-4


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"corner": "middle"}, "middle"),
        ({"text": " "}, "ASCII"),
        ({"text": "made by äi"}, "ASCII"),
        ({"text": "generated " * 20}, "shorter"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kwargs, said):
    with pytest.raises(ConfigError, match=said):
        Badge(256, **kwargs)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match="512"):
        Badge(512).apply(np.zeros((256, 256, 3), np.uint8))
