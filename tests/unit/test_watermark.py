"""The invisible mark: quiet, always the same, read back after what networks do, and not where there is none."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from skimage import data

from avatar.engines.choice import speaking
from avatar.engines.head import HeadEngine
from avatar.engines.watermark import CODED, Message, Watermark, encode, layout
from avatar.models import registry
from avatar.models.trust.watermark import coded
from avatar.portrait import bundle
from avatar.trust import watermark_reader
from avatar.trust.watermark_reader import read, viterbi

MESSAGE = Message(0x1234ABCD, "licensed")


@pytest.fixture(scope="module")
def drawn() -> list[np.ndarray]:
    """Two seconds of a shipped avatar, unmarked."""
    engine = HeadEngine(bundle.load(registry.avatars_dir() / "noah"), 512, registry.weights_dir())
    return [engine.render(state) for state in speaking(60)]


@pytest.fixture(scope="module")
def marked(drawn) -> list[np.ndarray]:
    mark = Watermark(512, MESSAGE, drawn[0])
    pictures = [picture.copy() for picture in drawn]
    for picture in pictures:
        mark.apply(picture)
    return pictures


def test_the_layout_is_the_same_for_ever():
    known = layout()
    assert known.sync[:6].tolist() == [2686, 2867, 3432, 3782, 1552, 409]
    assert known.signs[:8].tolist() == [-1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0]
    assert sorted([*known.sync, *known.data]) == list(range(4096))


def test_a_message_is_its_bits_and_one_wrong_bit_is_none():
    bits = MESSAGE.to_bits()
    assert Message.from_bits(bits) == MESSAGE
    for index in range(len(bits)):
        wrong = bits.copy()
        wrong[index] ^= 1
        assert Message.from_bits(wrong) is None


def test_the_code_corrects_a_fifth_of_its_bits_drowned_in_noise():
    clean = 2.0 * encode(MESSAGE) - 1
    rng = np.random.default_rng(1)
    for _ in range(20):
        noisy = clean + rng.normal(0, 1.0, CODED)
        assert ((noisy > 0) != (clean > 0)).mean() > 0.08
        assert (viterbi(noisy) == MESSAGE.to_bits()).all()


def test_it_is_quiet_and_repeatable(drawn, marked):
    again = drawn[3].copy()
    Watermark(512, MESSAGE, drawn[0]).apply(again)
    np.testing.assert_array_equal(again, marked[3])
    for before, after in zip(drawn, marked, strict=True):
        error = np.mean((before.astype(np.float32) - after) ** 2)
        assert 10 * np.log10(255**2 / error) >= 42
        assert np.abs(before.astype(int) - after).max() <= 6


def test_a_plain_wall_gets_hardly_a_grey_level():
    wall = np.full((512, 512, 3), 140, np.uint8)
    seen = wall.copy()
    Watermark(512, MESSAGE, wall).apply(seen)
    assert np.abs(seen.astype(int) - 140).max() <= 2
    assert (np.abs(seen.astype(int) - 140) == 2).mean() < 0.01


@pytest.mark.parametrize("count", [1, 60])
def test_it_is_read_from_one_picture_and_from_many(marked, count):
    reading = read(marked[:count])
    assert reading is not None
    assert reading.message == MESSAGE
    assert reading.scale == pytest.approx(1.0, abs=0.006)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ((26, 486), (26, 486)),
        ((0, 461), (0, 512)),
        ((51, 512), (0, 512)),
        ((51, 512), (0, 461)),
        ((13, 499), (40, 500)),
    ],
    ids=["all around", "the badge's edge", "the top", "two edges", "unevenly"],
)
def test_it_survives_a_crop(marked, rows, columns):
    reading = read([picture[slice(*rows), slice(*columns)] for picture in marked])
    assert reading is not None
    assert reading.message == MESSAGE


@pytest.mark.parametrize("codec", ["libvpx", "libx264"])
def test_it_survives_half_the_size_at_500_kbits(marked, codec):
    for crop in (0.0, 0.1):
        reading = read(coded(marked, codec, 256, crop))
        assert reading is not None
        assert reading.message == MESSAGE


def test_it_survives_coding_twice_and_a_jpeg(marked):
    reading = read(coded(coded(marked, "libx264", 256), "libvpx", 256))
    assert reading is not None
    assert reading.message == MESSAGE
    jpeg = cv2.imencode(".jpg", marked[0], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    reading = read([cv2.imdecode(jpeg, cv2.IMREAD_COLOR)])
    assert reading is not None
    assert reading.message == MESSAGE


def test_two_sessions_are_told_apart(drawn):
    for session, kind in itertools.product((0, 1, 0xFFFFFFFF), ("self", "synthetic")):
        picture = drawn[0].copy()
        Watermark(512, Message(session, kind), drawn[0]).apply(picture)
        reading = read([picture])
        assert reading is not None
        assert reading.message == Message(session, kind)


def test_it_is_not_found_where_there_is_none(drawn):
    rng = np.random.default_rng(4)
    clean = [*drawn[:6], data.astronaut(), data.coffee(), data.chelsea(), np.zeros((512, 512, 3), np.uint8)]
    clean += [rng.integers(0, 256, (512, 512, 3), dtype=np.uint8), np.full((256, 300, 3), 77, np.uint8)]
    assert [read([picture]) for picture in clean] == [None] * len(clean)
    assert watermark_reader.read(drawn) is None


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="512"):
        Watermark(512, MESSAGE).apply(np.zeros((256, 256, 3), np.uint8))
