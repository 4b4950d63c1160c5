"""What a mouth's shapes may move, and what they learn from smiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import avatar.models
from avatar.core import facs
from avatar.core.facs import INDEX
from avatar.engines import raster
from avatar.engines.head import HeadEngine
from avatar.engines.head_mesh import TONGUE
from avatar.models import registry
from avatar.models.head_basis import learned
from avatar.models.head_basis.mouth_correctives import funnel_goal
from avatar.portrait import bundle
from avatar.portrait.basis import HeadBasis
from avatar.portrait.fit import fit_head, on_landmarks

FILE = Path(avatar.models.__file__).parent / "weights" / "head_basis.npz"


@pytest.fixture(scope="module")
def basis() -> HeadBasis:
    return HeadBasis.load(FILE, subdivide=False)


def moved(basis: HeadBasis, unit: int) -> np.ndarray:
    """Way (468, 3) of the landmarks at the full unit."""
    shape = basis.shape(facs.from_action_units({unit: 1.0}))
    return basis.landmarks(shape) - basis.landmarks(basis.vertices)


def test_a_raised_chin_takes_the_corners_along(basis: HeadBasis) -> None:
    way = moved(basis, 17)[:, 1]
    between = way[0] + 0.36 * (way[17] - way[0])
    assert way[17] > 0.3
    assert abs(way[[61, 291]].mean() - between) < 0.05


def test_lips_that_part_leave_the_width(basis: HeadBasis) -> None:
    way = moved(basis, 25)[:, 0]
    assert abs(way[291] - way[61]) < 0.05


def test_a_dropped_jaw_draws_the_corners_in_and_leaves_the_upper_lip(basis: HeadBasis) -> None:
    rest = basis.landmarks(basis.vertices)
    way = basis.landmarks(basis.shape(facs.arkit_vector({"jawOpen": 1.0}))) - rest
    width = rest[291, 0] - rest[61, 0]
    assert 0.75 < 1 + (way[291, 0] - way[61, 0]) / width < 0.9
    assert way[291, 0] == pytest.approx(-way[61, 0], abs=0.02)
    assert abs(way[13, 1]) < 0.2
    assert way[14, 1] < -1


def test_the_tongue_stays_up_as_the_jaw_drops_but_not_when_it_is_out() -> None:
    engine = HeadEngine(bundle.load(registry.avatars_dir() / "max"), 256, registry.weights_dir())
    mesh, tongue = engine._mesh, engine._mesh.parts == TONGUE

    def heights(lift: bool, **coefficients: float) -> np.ndarray:
        vertices, weights = mesh.rest.copy(), facs.arkit_vector(coefficients)
        raster.add_shapes(vertices, weights, mesh.starts, mesh.rows, mesh.deltas)
        if lift:
            engine._tongue.lift(vertices, weights)
        return vertices[:, 1]

    lifted = heights(True, jawOpen=0.8) - heights(False, jawOpen=0.8)
    fell = heights(False, jawOpen=0.8) - mesh.rest[:, 1]
    assert not lifted[~tongue].any()
    share = lifted[tongue] / -fell[tongue]
    assert 0.3 < share.min() < share.max() < 0.65
    np.testing.assert_allclose(heights(True, jawOpen=0.8, tongueOut=1), heights(False, jawOpen=0.8, tongueOut=1))


@pytest.mark.parametrize("unit", [10, 12, 17, 22, 27])
def test_mouth_and_jaw_leave_the_lids(basis: HeadBasis, unit: int) -> None:
    way = moved(basis, unit)
    assert np.abs(way[[159, 145, 386, 374]]).max() < 0.08


def test_a_funnel_is_round() -> None:
    x = np.linspace(-2, 2, 81)
    upper, lower = (np.c_[x, sign * (2 - np.abs(x)) / 2, 0 * x] for sign in (1, -1))
    up, down = funnel_goal(upper, lower)
    gap = (upper[:, 1] + up) - (lower[:, 1] + down)
    # A diamond is half as open half-way to its corners; an ellipse is .87.
    assert gap[40] == pytest.approx(2)
    assert 0.75 < np.interp(0.86, x, gap) / gap[40] < 0.9
    assert np.abs(gap[[0, -1]]).max() < 1e-6


def test_learning_finds_what_all_smiles_do_otherwise(basis: HeadBasis) -> None:
    """People whose smiles move one landmark further than the basis does teach it that way, within the ridge."""
    extra = 0.4
    photo = np.zeros((478, 3), np.float32)
    at = basis.landmarks(basis.vertices).astype(np.float32)
    photo[:468] = (at * (1, -1, -1)) * 12 + (256, 256, 0)
    photo[468:] = photo[:1]
    smiling = np.zeros(len(facs.ARKIT), np.float32)
    smiling[[INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]]] = 1
    calm = np.zeros(len(facs.ARKIT), np.float32)
    head = fit_head(basis, photo, calm)
    shape = on_landmarks(basis, head.rest + np.tensordot(smiling, head.expressions, 1))
    shape[[61, 291], 1] += extra
    smile = photo.copy()
    smile[:468] = head.project(shape)
    pairs = [learned.Pair("somebody", photo, calm, smile, smiling)] * 8
    mirror = np.arange(468)
    mirror[[61, 291]] = 291, 61
    found = learned.learn(basis, pairs, mirror)
    both = found[INDEX["mouthSmileLeft"]] + found[INDEX["mouthSmileRight"]]
    assert 0.4 * extra < both[[61, 291], 1].mean() < 1.2 * extra
    assert np.abs(found[INDEX["browInnerUp"]]).max() == 0


def test_opposite_shapes() -> None:
    assert learned.OPPOSITE[INDEX["mouthSmileLeft"]] == INDEX["mouthSmileRight"]
    assert learned.OPPOSITE[INDEX["jawOpen"]] == INDEX["jawOpen"]
