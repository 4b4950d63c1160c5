"""How the classical methods learn: planted corrections, and files that have not seen whom they judge."""

import json

import numpy as np
import pytest

from avatar.core.facs import ARKIT, INDEX
from avatar.core.geometry import from_euler, to_matrix
from avatar.engines.classical.plane import arrays
from avatar.models import registry
from avatar.models.disjoint import FOLDS, WITHOUT, fold_of
from avatar.models.laboratory.london import DONOR, trusted
from avatar.models.laboratory.mapping import corrected, mirror, motion
from avatar.models.laboratory.people import Example, Shown

WEIGHTS = registry.weights_dir()
LEARNT = ("map", "eri", "geometry", "coefficients", "statistical")


@pytest.fixture(scope="module")
def known():
    return arrays(WEIGHTS / "map.npz")


def example(mean, moved, weights, yaw):
    """A person whose photos differ in the head's turn, size and place besides."""
    blank = np.zeros((4, 4, 3), np.uint8)
    turn = to_matrix(from_euler(yaw, 3, -5))
    before, after = 200 * mean + 256, 170 * (mean + moved) @ turn.T + (240, 250, 10)
    points = np.zeros((468, 2), np.float32)
    neutral, smile = (Shown(blank, points, np.asarray(p, np.float32)) for p in (before, after))
    return Example("planted", neutral, smile, {None: weights})


def test_motion_is_free_of_the_heads_turn_and_size(known):
    mean = known["mean"].astype(np.float64)
    smile = known["shapes"][INDEX["mouthSmileLeft"]].astype(np.float64)
    smile[[33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 10, 151, 9, 109, 338, 127, 356]] = 0
    found = motion(mean, example(mean, smile, np.zeros(52, np.float32), 12))
    np.testing.assert_allclose(found, smile, atol=2e-4)


def test_smiles_correct_the_shapes_that_they_hold_on_both_sides(known):
    mean, shapes = known["mean"].astype(np.float64), known["shapes"].astype(np.float64)
    rng = np.random.default_rng(0)
    bump = np.zeros((468, 3))
    bump[61, 0], bump[205, 1] = -0.05, -0.03  # the corner goes further out, the cheek further up
    truth = shapes.copy()
    truth[INDEX["mouthSmileRight"]] += bump
    people = []
    for i in range(24):
        weights = np.zeros(52, np.float32)
        weights[[INDEX["mouthSmileRight"], INDEX["mouthSmileLeft"]]] = rng.uniform(0.2, 1, 2)
        people.append(example(mean, np.tensordot(weights, truth, 1), weights, 3 * np.sin(i)))
    made = corrected(mean, shapes, people, None)
    right, left = INDEX["mouthSmileRight"], INDEX["mouthSmileLeft"]
    assert made[right, 61, 0] - shapes[right, 61, 0] < -0.02
    assert made[left, 291, 0] - shapes[left, 291, 0] > 0.01  # and its mirror image
    np.testing.assert_allclose(made[INDEX["jawOpen"]], shapes[INDEX["jawOpen"]])


def test_the_mirror_knows_the_other_side(known):
    points, shapes = mirror(known["mean"].astype(np.float64))
    assert points[61] == 291
    assert points[33] == 263
    assert ARKIT[shapes[INDEX["eyeBlinkLeft"]]] == "eyeBlinkRight"
    assert shapes[INDEX["jawLeft"]] == INDEX["jawRight"]
    assert shapes[INDEX["jawOpen"]] == INDEX["jawOpen"]


@pytest.mark.parametrize("name", LEARNT)
def test_every_fold_leaves_out_its_people_and_learns_something_else(name):
    everybody = set()
    with np.load(WEIGHTS / f"{name}.npz", allow_pickle=False) as shipped:
        for fold in range(FOLDS):
            path = WEIGHTS / WITHOUT / str(fold) / f"{name}.npz"
            people = json.loads(path.with_name(path.name + ".people.json").read_text())
            assert people
            assert {fold_of(person) for person in people} == {fold}
            everybody |= set(people)
            with np.load(path, allow_pickle=False) as other:
                assert set(other.files) == set(shipped.files)
                assert any(not np.array_equal(other[key], shipped[key]) for key in other.files)
    assert len(everybody) == 82


def test_a_single_donors_ratio_is_freed_of_the_lamp_and_of_one_side_alone():
    rows = np.mgrid[:152, :128][0]
    skin = np.ones((152, 128), np.float32)
    fold = np.zeros((152, 128, 3), np.float32)
    fold[70:73, 40:43] = 1.0
    lamp = np.repeat((0.5 * (rows / 151) ** 2)[..., None], 3, -1).astype(np.float32)

    shadow = trusted(lamp, skin)
    assert np.abs(shadow[30:120, 30:98]).max() < 0.2 * DONOR * np.ptp(lamp)
    drawn = trusted(fold, skin)
    assert drawn[71, 41].min() > 0.4 * DONOR
    np.testing.assert_allclose(drawn, drawn[:, ::-1], atol=1e-6)
    assert not trusted(fold, np.zeros_like(skin)).any()
