"""The folds of the head engine, and the learning of them, on made-up faces."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from drawn_face import WEIGHTS, drawn_face

from avatar.core.facs import ARKIT, arkit_vector
from avatar.core.types import FaceState, Ns, freeze
from avatar.engines.head import HeadEngine
from avatar.engines.head_folds import (
    FILE,
    FRAME,
    FoldMaps,
    Folds,
    band,
    bare_skin,
    fold_weights,
    log_ratio,
)
from avatar.engines.raster import SKIN
from avatar.errors import ModelFileError
from avatar.models import disjoint
from avatar.models.folds.designed import line
from avatar.models.folds.mean_face import skin_mask
from avatar.models.folds.ridge import symmetric_ridge

SIZE = 256


@pytest.fixture(scope="module")
def maps() -> FoldMaps:
    return FoldMaps.load(WEIGHTS / FILE)


@pytest.fixture(scope="module")
def folds(maps) -> Folds:
    bundle = drawn_face(SIZE)
    return Folds(maps, bundle.portrait, bundle.landmarks, 1.0)


def still() -> np.ndarray:
    """Sources (s, s, 2) of a picture in which nothing moves."""
    return np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32)


def drawn(folds: Folds, **arkit: float) -> np.ndarray:
    """Factors x 200 that the folds put on an even picture."""
    picture = np.full((SIZE, SIZE, 3), 200, np.uint8)
    shown = np.full((SIZE, SIZE), SKIN, np.uint8)
    folds.draw(picture, still(), shown, (0, 0, SIZE, SIZE), np.asarray(arkit_vector(arkit), np.float32))
    return picture


def test_weights_keep_the_sides_apart_and_stop_at_one():
    names = ("smile", "squint", "brow_inner_up")
    found = fold_weights(
        arkit_vector({"mouthSmileLeft": 0.5, "eyeSquint": 1, "cheekSquint": 1, "browInnerUp": 1}), names
    )
    np.testing.assert_allclose(found, [[0, 0.5], [1, 1], [1, 1]])


def test_zeros_leave_the_picture_alone_and_folds_come_in_without_a_step(folds):
    assert (drawn(folds) == 200).all()
    before = drawn(folds, mouthSmile=0.001).astype(int)
    for weight in np.arange(0.005, 0.1, 0.005):
        now = drawn(folds, mouthSmile=weight).astype(int)
        assert np.abs(now - before).max() <= 1
        before = now


def test_a_smile_darkens_the_nasolabial_folds_and_leaves_the_forehead_alone(folds):
    points = drawn_face(SIZE).landmarks
    smile = drawn(folds, mouthSmile=1)[..., 0].astype(int)
    for fold in (206, 426):
        x, y = np.round(points[fold, :2]).astype(int)
        assert smile[y - 4 : y + 5, x - 4 : x + 5].mean() < 194
    x, y = np.round(points[151, :2]).astype(int)
    assert abs(smile[y, x] - 200) <= 3
    assert np.ptp(drawn(folds, mouthSmile=1), axis=2).max() == 0  # luminance only


def test_one_sided_shapes_fold_one_side(folds):
    points = drawn_face(SIZE).landmarks
    change = np.abs(drawn(folds, mouthSmileLeft=1)[..., 0].astype(int) - 200)
    right, left = points[206, :2].astype(int), points[426, :2].astype(int)
    assert change[left[1], left[0]] > 3
    assert change[right[1], right[0]] == 0


def test_only_skin_is_multiplied(folds):
    picture = np.full((SIZE, SIZE, 3), 200, np.uint8)
    shown = np.zeros((SIZE, SIZE), np.uint8)
    folds.draw(picture, still(), shown, (0, 0, SIZE, SIZE), np.ones(len(ARKIT), np.float32))
    assert (picture == 200).all()


def test_hair_and_frames_of_glasses_get_no_folds(maps):
    bundle = drawn_face(SIZE)
    plain = np.full_like(bundle.portrait, 180)
    assert bare_skin(maps, plain, bundle.landmarks).min() > 0.99
    covered = plain.copy()
    points = np.round(bundle.landmarks[:, :2]).astype(int)
    hair = points[:468, 1].min() + 12
    covered[:hair] = 40
    x, y = points[330]  # on the cheek
    cv2.line(covered, (int(x) - 25, int(y)), (int(x) + 25, int(y)), (60, 60, 60), 3)
    skin = maps.face.bring(covered[..., 0].astype(np.float32), bundle.landmarks)
    found = bare_skin(maps, covered, bundle.landmarks)
    plainly = maps.skin > 0.9
    assert found[(skin < 70) & plainly].max() < 0.2
    assert found[plainly].mean() > 0.6


class _Plain(HeadEngine):
    folds = False


def test_the_engine_draws_them_and_what_learns_them_does_without():
    smile = FaceState(Ns(0), freeze(arkit_vector({"mouthSmile": 1})))
    bundle = drawn_face(SIZE)
    plain = _Plain(bundle, SIZE, WEIGHTS).render(smile)
    folded = HeadEngine(bundle, SIZE, WEIGHTS).render(smile)
    assert np.abs(plain.astype(int) - folded).max() > 4
    assert cv2.PSNR(plain, folded) > 28


def test_the_folds_without_somebody_are_others(maps):
    lists = sorted(WEIGHTS.glob(f"without/*/{FILE}.people.json"))
    people = [set(json.loads(names.read_text())) for names in lists]
    assert len(people) == disjoint.FOLDS
    assert len(set.union(*people)) == sum(map(len, people))
    for names in lists:
        other = FoldMaps.load(names.with_name(FILE)).maps
        assert other.shape == maps.maps.shape
        assert np.abs(other - maps.maps).max() > 0.01


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(ModelFileError, match="install the package again"):
        FoldMaps.load(tmp_path / FILE)


def test_the_ratio_of_two_pictures_is_what_was_painted(maps):
    points = np.pad(maps.face.points, ((0, 0), (0, 1)))
    before = np.full((*FRAME, 3), 150, np.uint8)
    after = np.full((*FRAME, 3), 120, np.uint8)
    found = log_ratio(maps.face, (before, points), (after, points))
    np.testing.assert_allclose(found[maps.face.inside], np.log(130 / 160), atol=0.01)


def test_planted_maps_are_found_again_past_outliers():
    rng = np.random.default_rng(0)
    planted = rng.normal(0, 0.1, (2, 12, 9))
    planted = np.concatenate([planted[:, :, :4], planted[:, :, 4:5], planted[:, :, 3::-1]], 2)
    weights = np.repeat(rng.uniform(0, 1, (60, 2, 1)), 2, axis=2)
    ratios = np.einsum("nk,khw->nhw", weights[..., 0], planted) + rng.normal(0, 0.01, (60, 12, 9))
    ratios[::12] += 3  # beards
    found = symmetric_ridge(ratios.astype(np.float32), weights.astype(np.float32), 1e-5, mean=False)
    np.testing.assert_allclose(found, planted, atol=0.03)
    np.testing.assert_array_equal(found, found[:, :, ::-1])


def test_the_band_lets_no_general_tone_through(maps):
    inside = maps.face.inside
    slope = np.broadcast_to(np.linspace(0, 0.5, FRAME[0], dtype=np.float32)[:, None], FRAME)
    found = band(np.stack([slope + 0.7]), inside, 14.0)[0]
    middle = cv2.erode(inside.astype(np.uint8), np.ones((61, 61))) > 0
    assert np.abs(found[middle]).max() < 0.03


def test_designed_lines_are_dark_with_light_flanks_and_taper():
    made = line((30, 60), (60, 60), (90, 60), 0.1, 1.0)
    assert made[60, 60] == pytest.approx(-0.1, abs=0.005)
    assert made[57, 60] > 0.005
    assert abs(made[60, 31]) < 0.02
    assert made[30, 30] == pytest.approx(0, abs=1e-4)


def test_no_map_reaches_eyes_lips_or_the_edge(maps):
    mask = skin_mask(maps.face)
    for point in (159, 145, 386, 374, 13, 14, 0, 17):
        x, y = np.round(maps.face.points[point]).astype(int)
        assert mask[y, x] == 0
        assert np.abs(maps.maps[:, y, x]).max() < 1e-6
    assert not mask[~maps.face.inside].any()
    np.testing.assert_array_equal(mask, mask[:, ::-1])
