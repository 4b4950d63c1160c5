"""The classical methods: their equations on planted truth."""

import itertools

import numpy as np
import pytest

from avatar.core.facs import INDEX, arkit_vector
from avatar.core.geometry import from_euler, to_matrix
from avatar.core.types import FaceState, Ns, Pose, freeze
from avatar.engines.classical import (
    coefficients,
    eri,
    flat,
    geometry,
    keys,
    morph,
    morph3d,
    retrieve,
    statistical,
    transplant,
    viewmorph,
)
from avatar.engines.classical.mapping import MapEngine
from avatar.engines.classical.plane import arrays, frame_between, triangulation
from avatar.errors import ModelFileError
from avatar.models import registry
from avatar.models.laboratory.coefficients import described, reduced_rank
from avatar.models.laboratory.geometry import spread_out
from avatar.parts import library

WEIGHTS = registry.weights_dir()
FLAT = [eri.EriEngine, geometry.GeometryEngine, coefficients.CoefficientsEngine, statistical.StatisticalEngine,
        retrieve.RetrieveEngine, transplant.TransplantEngine]  # fmt: skip


@pytest.fixture(scope="module")
def bundle():
    shelf = library()
    return shelf.load(shelf.names()[0])


@pytest.fixture(scope="module")
def known():
    return arrays(WEIGHTS / flat.MAP_FILE)


def state(turn=Pose(), **weights):  # noqa: B008 - immutable
    return FaceState(Ns(0), freeze(arkit_vector(weights)), turn)


def turned(points, yaw=0.0, pitch=0.0, roll=0.0, scale=1.0, shift=(0, 0, 0)):
    return scale * points @ to_matrix(from_euler(yaw, pitch, roll)).T + shift


# --- map -----------------------------------------------------------------------------------------------------------


def test_displacements_are_normalised_for_scale_and_rotation(known):
    mean, shapes = known["mean"], known["shapes"].astype(np.float32)
    photo = turned(mean, 10, -6, 15, scale=180, shift=(250, 260, 0))
    frame = frame_between(mean, photo)
    assert frame.scale == pytest.approx(180, rel=1e-4)
    smile = shapes[INDEX["mouthSmileLeft"]]
    np.testing.assert_allclose(frame.directions(smile), turned(smile, 10, -6, 15, 180), atol=0.05)
    np.testing.assert_allclose(frame.back(frame.directions(smile)), smile, atol=1e-4)


def test_rest_is_the_photo_and_a_smile_widens_the_mouth(bundle):
    engine = MapEngine(bundle, 256, WEIGHTS)
    assert np.array_equal(engine.render(state()), bundle.at_size(256)[0])
    rest = engine.plane.moved.copy()
    engine.render(state(mouthSmile=1.0))
    wide = [np.ptp(points[[61, 291], 0]) for points in (rest, engine.plane.moved)]
    assert wide[1] > 1.08 * wide[0]
    engine.render(state(jawOpen=0.8))
    assert engine.plane.moved[152, 1] - rest[152, 1] > 5
    assert np.abs(engine.plane.moved[10] - rest[10]).max() < 1.5


def test_a_weak_smile_is_drawn_stronger_and_a_full_one_as_it_is(bundle):
    engine = eri.EriEngine(bundle, 256, WEIGHTS)
    index = INDEX["mouthSmileLeft"]
    drawn = [engine.emphasised(arkit_vector({"mouthSmile": w, "jawOpen": w}))[index] for w in (0, 0.3, 0.6, 1.0)]
    assert drawn[0] == 0
    assert drawn[1] > 0.45
    assert drawn[3] == pytest.approx(1)
    assert np.all(np.diff(drawn) > 0)


def test_eyes_shut_whatever_their_opening(bundle):
    engine = MapEngine(bundle, 256, WEIGHTS)
    gap = engine.plane.face[[145, 374], 1] - engine.plane.face[[159, 386], 1]
    engine.render(state(eyeBlink=1.0))
    left = engine.plane.moved[[145, 374], 1] - engine.plane.moved[[159, 386], 1]
    assert np.all(left < 0.4 * gap)


def test_triangles_do_not_sew_the_lips_together(known):
    triangles = triangulation(known["mean"], 0.5 * known["shapes"][INDEX["jawOpen"]].astype(np.float32))
    upper, lower = {82, 13, 312}, {87, 14, 317}
    lips = [set(t) for t in triangles.tolist() if set(t) & upper]
    # Skin above the inner lip never reaches the lower lip's skin.
    outside_lower = {17, 84, 314, 16, 85, 315, 15, 86, 316}
    assert not any(t & outside_lower for t in lips)
    assert any(t & lower for t in lips)  # the mouth's inside


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(ModelFileError, match="avatar train eri --data DIR"):
        arrays(tmp_path / "eri.npz")


# --- eri -----------------------------------------------------------------------------------------------------------


def test_the_filter_smooths_where_pictures_agree_and_keeps_what_has_folded():
    rng = np.random.default_rng(0)
    skin = np.kron(rng.normal(0, 0.2, (19, 16)), np.ones((8, 8))).astype(np.float32)
    skin += rng.normal(0, 0.05, skin.shape).astype(np.float32)
    after = skin.copy()
    after[60:64, 30:100] -= 0.8  # a fold
    noise = rng.normal(0, 0.03, skin.shape).astype(np.float32)
    ratio = np.repeat((after - skin + noise)[..., None], 3, 2)
    made = eri.adaptive_smoothing(ratio, skin, after + noise)
    calm = np.s_[90:140, 20:110]
    assert made[calm].std() < 0.3 * ratio[calm].std()
    wide = np.asarray(eri.cv2.GaussianBlur(ratio, (0, 0), eri.WIDE))
    assert made[60:64, 40:90].mean() < 1.3 * wide[60:64, 40:90].mean()  # deeper than the wide one leaves it


@pytest.mark.parametrize("kind", FLAT, ids=lambda kind: kind.name)
def test_shading_comes_with_the_smile_and_leaves_rest_alone(bundle, kind):
    engine = kind(bundle, 256, WEIGHTS)
    assert np.array_equal(engine.render(state()), bundle.at_size(256)[0])
    weights = arkit_vector({"mouthSmile": 0.8, "cheekSquint": 0.5})
    displacement = engine.geometry(weights)
    ratio = engine.ratio(weights, displacement)
    assert ratio.shape == (152, 128, 3)
    assert 0.02 < np.abs(ratio).max() < 3
    plain, shaded = engine.draw(displacement, Pose()), engine.draw(displacement, Pose(), None, ratio)
    changed = np.abs(plain.astype(int) - shaded).max(-1)
    assert changed.max() > 4
    assert changed[:20].max() == 0  # nothing above the face


# --- geometry ------------------------------------------------------------------------------------------------------


def test_convex_combinations_are_found_again_and_stay_inside():
    rng = np.random.default_rng(1)
    examples = rng.normal(size=(6, 40))
    planted = np.array([0.5, 0, 0.3, 0, 0.2, 0])
    gram = examples @ examples.T
    found = geometry.convex(gram, examples @ (planted @ examples))
    np.testing.assert_allclose(found, planted, atol=0.01)
    beyond = geometry.convex(gram, examples @ (3 * examples[2]))
    assert beyond.sum() == pytest.approx(1)
    assert beyond.min() >= 0
    assert beyond.argmax() == 2


def test_regions_share_every_pixel_and_fade(known):
    share, region = geometry.partition(known["frame"].astype(np.float32))
    np.testing.assert_allclose(share.sum(0), 1, atol=1e-5)
    assert np.abs(np.diff(share, axis=2)).max() < 0.5
    names = list(geometry.REGIONS)
    assert names[region[13]] == "mouth"
    assert names[region[105]] == "brow_right"


def test_raised_brows_and_a_smile_take_different_examples(bundle):
    engine = geometry.GeometryEngine(bundle, 256, WEIGHTS)
    names = list(geometry.REGIONS)
    smile = engine.combination(engine.geometry(arkit_vector({"mouthSmile": 1.0})))
    assert smile[names.index("mouth"), -1] < 0.5  # not the photo's own
    np.testing.assert_allclose(smile.sum(1), 1, atol=1e-6)
    brows = engine.combination(engine.geometry(arkit_vector({"browInnerUp": 1.0})))
    assert brows[names.index("chin"), -1] > 0.7
    assert smile[names.index("chin"), -1] < 0.4


def test_examples_are_spread_out():
    line = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]], np.float32)
    assert set(spread_out(line, 3).tolist()) == {4, 2, 0} or set(spread_out(line, 3).tolist()) == {4, 2, 1}


# --- coefficients --------------------------------------------------------------------------------------------------


def test_bilinear_regression_finds_what_depends_on_both():
    rng = np.random.default_rng(2)
    people = rng.normal(size=(40, 3)).astype(np.float32)
    shapes = np.repeat(people, 4, 0)
    shown = np.abs(rng.normal(size=(160, 52))).astype(np.float32) * (np.arange(52) < 3)
    shown = shown.astype(np.float32)
    basis = rng.normal(size=(3, 200))

    def truth(who, what):
        return (what[:, :3] * (1 + 0.5 * np.tanh(who))) @ basis

    who, scales = described([(p[:2], p[2:]) for p in people])
    each = np.repeat(who, 4, 0)
    outputs = [truth(shapes, shown)]
    alpha, (ways,) = reduced_rank(each, shown, outputs, rank=3, penalty=1e-3)
    assert ways.shape == (3, 200)
    stranger, asked = rng.normal(size=(20, 3)).astype(np.float32), shown[:20]
    features = np.concatenate([stranger[:, :2] * scales[0], stranger[:, 2:] * scales[1]], 1)
    goal = truth(stranger, asked)

    def missed(mine, theirs):
        a, (w,) = reduced_rank(mine, shown, outputs, rank=3, penalty=1e-3)
        kernel = coefficients.identity_kernel(theirs, mine) * (asked @ shown.T)
        return np.abs(kernel @ a @ w - goal).mean()

    assert missed(each, features) < 0.6 * missed(0 * each, 0 * features)
    assert alpha.shape == (160, 3)


# --- morphs --------------------------------------------------------------------------------------------------------


def picture(size=128):
    rng = np.random.default_rng(3)
    return np.kron(rng.integers(40, 215, (size // 8, size // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def test_lines_that_stay_move_nothing_and_lines_that_shift_shift_all(known):
    points = known["frame"][:, :2].astype(np.float32) * 0.5 + 30
    still = morph.field(points, points, 128)
    np.testing.assert_allclose(still, np.dstack(np.meshgrid(*(np.arange(128),) * 2)), atol=1e-3)
    moved = morph.field(points + np.float32((4, 0)), points, 128)
    x, y = points[1].astype(int)
    np.testing.assert_allclose(moved[y, x] - (x, y), (-4, 0), atol=0.6)
    assert abs(moved[0, 64, 0] - 64) < 0.5  # the border stays


def test_a_morph_begins_and_ends_with_its_pictures(known):
    points = known["frame"][:, :2].astype(np.float32) * 0.5 + 30
    first, second = picture(), picture()[::-1].copy()
    other = points + np.float32(1.5)
    assert np.array_equal(morph.between(first, second, points, other, 0.0), first)
    assert np.array_equal(morph.between(first, second, points, other, 1.0), second)


def test_keys_of_a_mixture_are_found_again():
    mixed = 0.6 * arkit_vector(keys.KEYS["smile"]) + 0.4 * arkit_vector(keys.KEYS["brows_up"])
    found = dict(zip(keys.KEYS, keys.shares(mixed), strict=True))
    assert found["smile"] == pytest.approx(0.6, abs=0.1)
    assert found["brows_up"] == pytest.approx(0.4, abs=0.05)
    assert found["blink_left"] == found["jaw"] == 0
    assert not keys.shares(np.zeros(52, np.float32)).any()


def test_vertices_turn_on_an_arc(known):
    first = turned(known["mean"], -25, scale=100).astype(np.float32)
    second = turned(known["mean"], 25, scale=100).astype(np.float32)
    half = morph3d.vertices_between(first, second, 0.5)
    np.testing.assert_allclose(half - half.mean(0), 100 * (known["mean"] - known["mean"].mean(0)), atol=0.5)
    chord = (first + second) / 2
    assert np.ptp(chord[:, 0]) < 0.95 * np.ptp(half[:, 0])  # what a straight way would press together


# --- viewmorph -----------------------------------------------------------------------------------------------------


def test_a_view_morph_is_a_view_and_a_straight_morph_is_not(known):
    mean = known["mean"].astype(np.float64)
    flip = np.array((1.0, 1.0, 1.0))
    poses = [dict(yaw=-28, pitch=5, roll=-9), dict(yaw=24, pitch=-4, roll=12)]
    first, second = (turned(mean * flip, **pose, scale=90, shift=(120, 130, 0)) for pose in poses)
    cameras = tuple(viewmorph.View.of(mean, points) for points in (first, second))
    for t in (0.0, 0.25, 0.5, 1.0):
        wanted = viewmorph.view_between(*cameras, t)
        at = viewmorph.places(first, second, cameras, wanted, t)
        seen = viewmorph.View.of(mean, at)  # the camera that explains it best
        again = seen.scale * mean @ seen.rotation[:2].T + seen.offset
        assert np.abs(again - at).max() < 0.1  # a rigid face, exactly
        assert seen.scale == pytest.approx(90, rel=0.01)
    straight = (first + second)[:, :2] / 2
    seen = viewmorph.View.of(mean, straight)
    again = seen.scale * mean @ seen.rotation[:2].T + seen.offset
    assert np.abs(again - straight).max() > 2


def test_two_views_of_the_same_side_are_blended_as_they_are(known):
    points = turned(known["mean"], 10, scale=90)
    camera = viewmorph.View.of(known["mean"], points)
    assert viewmorph.rectify(camera, camera) is None
    at = viewmorph.places(points, points + np.array((2, 0, 0)), (camera, camera), camera, 0.5)
    np.testing.assert_allclose(at, points[:, :2] + np.array((1, 0)), atol=1e-3)


# --- transplant ----------------------------------------------------------------------------------------------------


def test_the_blend_takes_gradients_and_leaves_the_rest_alone():
    target = np.full((96, 96, 3), 120, np.uint8)
    target[..., 0] += np.arange(96, dtype=np.uint8)[None]
    reference = target + 50  # another exposure
    reference[40:52, 40:52] -= 30  # and a mark
    mask = np.zeros((96, 96), bool)
    mask[24:72, 20:76] = True
    made = target.copy()
    transplant.Region(mask).blend(made, reference.astype(np.uint8))
    assert np.array_equal(made[~mask], target[~mask])
    np.testing.assert_allclose(made[45:48, 45:48].astype(int), target[45:48, 45:48].astype(int) - 30, atol=2)
    assert np.abs(made[26:30, 22:74].astype(int) - target[26:30, 22:74]).max() <= 2  # no seam


def test_what_a_state_leaves_alone_stays_the_photo(bundle):
    engine = transplant.TransplantEngine(bundle, 256, WEIGHTS)
    photo = bundle.at_size(256)[0]
    made = engine.render(state(mouthPucker=1.0))
    (eyes, _), (lips, _) = engine.regions
    inside = np.zeros((256, 256), bool)
    inside[lips.box] = lips.mask
    assert np.array_equal(made[~inside], photo[~inside])
    assert np.abs(made.astype(int) - photo)[inside].max() > 20
    above = eyes.mask & ~inside[eyes.box]
    assert above.sum() > 1000
    raised = engine.render(state(mouthPucker=1.0, browInnerUp=1.0))
    assert np.abs(raised[eyes.box].astype(int) - photo[eyes.box])[above].max() > 20


# --- statistical, retrieve -----------------------------------------------------------------------------------------


def test_the_prior_pulls_a_noisy_face_to_the_mean():
    modes = np.linalg.qr(np.random.default_rng(4).normal(size=(30, 3)))[0].T.astype(np.float32)
    planted = np.array([2.0, -1.0, 0.5], np.float32)
    sure = statistical.most_probable(modes, np.ones(3), 1e-6, planted @ modes)
    np.testing.assert_allclose(sure, planted, atol=1e-3)
    unsure = statistical.most_probable(modes, np.ones(3), 1.0, planted @ modes)
    np.testing.assert_allclose(unsure, planted / 2, atol=1e-5)


def test_a_step_is_found_along_the_ways_that_were_seen():
    rng = np.random.default_rng(5)
    modes = np.linalg.qr(rng.normal(size=(60, 6)))[0].T
    way = np.array([1.0, 0.5, 0, 0, 0, 0])
    gain = statistical.step_gain(modes, np.outer(way, way), 1e-3)
    np.testing.assert_allclose(gain @ (way @ modes), way, atol=0.02)
    other = np.array([0.5, -1.0, 0, 0, 0, 0])
    assert np.linalg.norm(gain @ (other @ modes)) < 0.7 * np.linalg.norm(other)


def test_the_shortest_path_is_the_shortest():
    rng = np.random.default_rng(6)
    costs, frames = rng.random((5, 6)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)
    path = retrieve.shortest_path(costs, frames, 0.3, keep=6)

    def price(way):
        steps = sum(((frames[a] - frames[b]) ** 2).sum() for a, b in itertools.pairwise(way))
        return sum(costs[t, f] for t, f in enumerate(way)) + 0.3 * steps

    best = min(itertools.product(range(6), repeat=5), key=price)
    assert price(path) == pytest.approx(price(best))
    greedy = retrieve.shortest_path(costs, frames, 0.0, keep=6)
    assert greedy.tolist() == costs.argmin(1).tolist()


def test_retrieved_frames_come_and_go_smoothly(bundle):
    engine = retrieve.RetrieveEngine(bundle, 256, WEIGHTS)
    before = None
    for jaw in np.linspace(0.2, 0.6, 41):
        share = engine.shares(arkit_vector({"jawOpen": jaw, "mouthFunnel": 0.3}))
        assert share.sum() == pytest.approx(1, abs=1e-4)
        assert before is None or np.abs(share - before).max() < 0.25
        before = share
    path = engine.path([arkit_vector({"jawOpen": jaw}) for jaw in (0.1, 0.3, 0.5)])
    assert len(path) == 3
