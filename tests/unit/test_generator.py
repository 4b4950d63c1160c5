"""Engine ``generator``'s parts: frames, maps, the data factory, and the network's file against torch."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from avatar.core.facs import ARKIT, INDEX, arkit_vector
from avatar.core.geometry import similarity
from avatar.core.types import FaceState, Ns, Pose
from avatar.engines import corrector
from avatar.engines.corrector import CONDITION, CROP, EYES, MIDDLE, condition, crop, frame_of, presence
from avatar.models import disjoint, registry
from avatar.models.data import render
from avatar.portrait import bundle

NO_ONE = np.zeros(len(ARKIT), np.float32)


@pytest.fixture(scope="module")
def factory() -> render.Factory:
    return render.Factory(bundle.load(registry.avatars_dir() / "iris"), registry.weights_dir(), 512)


def test_the_eyes_come_to_lie_where_they_belong():
    eyes = np.array([(200.0, 240.0), (290.0, 250.0)])
    placed = eyes @ frame_of(eyes)[:, :2].T + frame_of(eyes)[:, 2]
    half = np.array((EYES / 2, 0))
    np.testing.assert_allclose(placed, [np.array(MIDDLE) - half, np.array(MIDDLE) + half], atol=1e-9)


def test_a_similarity_is_found_again():
    points = np.random.default_rng(0).normal(size=(9, 2))
    matrix = np.array([[0.8, -0.3, 4.0], [0.3, 0.8, -2.0]])
    np.testing.assert_allclose(similarity(points, points @ matrix[:, :2].T + matrix[:, 2]), matrix, atol=1e-12)


def test_a_large_picture_is_averaged_down_to_the_same_place():
    y, x = np.mgrid[0:512, 0:512]
    small = np.repeat((127 + 100 * np.sin(x / 40) * np.cos(y / 50))[..., None], 3, 2).astype(np.uint8)
    large = np.repeat(np.repeat(small, 2, 0), 2, 1)
    eyes = np.array([(215.0, 240.0), (305.0, 236.0)])
    a, b = crop(small, frame_of(eyes)), crop(large, frame_of(2 * eyes + 0.5))
    assert np.abs(a.astype(int) - b).mean() < 1.5


def test_rest_and_blinks_are_left_alone_and_a_smile_is_not():
    assert presence(NO_ONE) == 0
    assert presence(arkit_vector({"eyeBlink": 1.0, "eyeLookDown": 0.5})) == 0
    assert presence(arkit_vector({"mouthSmile": 0.7})) == 1
    assert 0 < presence(arkit_vector({"jawOpen": 0.02})) < 1


def test_the_condition_holds_the_state_and_where_it_leads():
    photo, smile = arkit_vector({"mouthSmile": 0.4}), arkit_vector({"mouthSmile": 0.5})
    told = condition(smile, photo)
    i = INDEX["mouthSmileLeft"]
    assert told.shape == (CONDITION,)
    assert told[i] == np.float32(0.5)
    assert told[len(ARKIT) + i] == pytest.approx(0.7)
    assert not told[2 * len(ARKIT) :].any()


LIPS = np.array([(50, 88), (64, 84), (78, 88), (64, 98)], np.float32)
"""Outline of the lips in the crop; the frame of the tests puts the crop's (64, 90) at the picture's (256, 330)."""


class _Maps:
    """In place of the session: maps that are known."""

    def __init__(self, maps: np.ndarray) -> None:
        self.maps = maps

    def run(self, _names, _given):
        return (self.maps[None],)


def _corrected(maps: np.ndarray, picture: np.ndarray, relative: np.ndarray) -> np.ndarray:
    made = object.__new__(corrector.Corrector)
    made._session, made._photo, made._features = _Maps(maps), NO_ONE, np.zeros(1, np.float32)
    made._reach = corrector.reach(np.array([(20, 10), (108, 10), (108, 120), (20, 120)], np.float32))
    made._low, made._high = np.array((0, 0)), np.array((CROP, CROP))
    frame = frame_of(np.array([(211.0, 230.0), (301.0, 230.0)]))
    out = picture.copy()
    made.correct(out, frame, relative, LIPS)
    return out


def test_no_maps_change_nothing_and_colour_and_gain_do_what_they_say():
    picture = np.full((512, 512, 3), 100, np.uint8)
    smile = arkit_vector({"mouthSmile": 1.0})
    maps = np.zeros((6, CROP, CROP), np.float32)
    np.testing.assert_array_equal(_corrected(maps, picture, smile), picture)
    maps[2], maps[3] = 0.5, -20 / 127.5
    out = _corrected(maps, picture, smile)
    assert tuple(out[256, 256]) == (130, 150, 150)
    assert tuple(out[5, 5]) == (100, 100, 100)
    np.testing.assert_array_equal(_corrected(maps, picture, NO_ONE), picture)


def test_flow_brings_pixels_from_where_it_points():
    x = np.tile(np.arange(512, dtype=np.float32) / 2, (512, 1))
    picture = np.repeat(x[..., None], 3, 2).astype(np.uint8)
    maps = np.zeros((6, CROP, CROP), np.float32)
    maps[0] = 2 / (CROP / 2)  # two pixels of the crop: 4.5 of this picture
    out = _corrected(maps, picture, arkit_vector({"jawOpen": 1.0}))
    assert float(out[256, 256, 0]) - picture[256, 256, 0] == pytest.approx(4.5 / 2, abs=1)


def test_a_mouth_that_does_not_smile_is_the_heads_own():
    picture = np.full((512, 512, 3), 100, np.uint8)
    maps = np.zeros((6, CROP, CROP), np.float32)
    maps[3] = -20 / 127.5
    mouth, forehead = (330, 256), (180, 256)
    speaks = _corrected(maps, picture, arkit_vector({"jawOpen": 0.5}))
    assert speaks[mouth][0] == 100
    assert speaks[forehead][0] == 80
    smiles = _corrected(maps, picture, arkit_vector({"jawOpen": 0.2, "mouthSmile": 0.4}))
    assert smiles[mouth][0] == smiles[forehead][0] == 80
    laughs = _corrected(maps, picture, arkit_vector({"jawOpen": 0.6, "mouthSmile": 0.9}))
    assert (laughs[mouth][0], laughs[forehead][0]) == (100, 80)
    shares = [corrector.smiling(arkit_vector({"mouthSmile": at})) for at in np.linspace(0, 0.4, 9)]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert all(a <= b for a, b in itertools.pairwise(shares))
    assert max(b - a for a, b in itertools.pairwise(shares)) < 0.35  # no jump as a smile comes


def test_the_frame_stays_on_the_face_whatever_the_pose(factory):
    still = factory.render(FaceState(Ns(0)))
    moved = factory.render(FaceState(Ns(0), arkit_vector({"jawOpen": 0.8}), Pose.degrees(8, -5, 9)))
    corners = [0, 8, 16, 24]  # of the eyes' contours

    def level(made: render.Render) -> np.ndarray:
        return made.landmarks[corners] @ made.frame[:, :2].T + made.frame[:, 2]

    assert np.abs(level(still) - level(moved)).max() < 3.0


def test_the_lens_bends_points_as_it_bends_pixels():
    picture = np.zeros((256, 256, 3), np.uint8)
    points = np.array([(60.0, 70.0), (180.0, 200.0), (128.0, 40.0)], np.float32)
    for x, y in points.astype(int):
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    bent, moved = render.bent(picture, points, 0.08)
    for x, y in np.round(moved).astype(int):
        assert bent[y, x, 0] > 150
    assert np.abs(moved - points).max() > 1


def test_random_states_are_faces_and_differ():
    random = np.random.default_rng(0)
    states = [render.random_state(random, smile=0.3) for _ in range(50)]
    every = np.stack([s.arkit for s in states])
    assert every.min() >= 0
    assert every.max() <= 1
    assert every[:, INDEX["mouthSmileLeft"]].max() <= 0.3 + 1e-6
    assert len(np.unique(every, axis=0)) > 40


def test_weights_without_a_person_are_complete_and_chosen_by_name(tmp_path: Path):
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("basis.npz", "net.onnx"):
        (weights / name).write_text(f"{name} of all")
    without = disjoint.place(weights / "net.onnx", 1)
    without.write_text("without anna")
    disjoint.note(without, ["anna"])
    unseen = disjoint.Unseen(weights, tmp_path / "scratch")
    assert unseen.folder("bert") == weights
    assert (unseen.folder("anna") / "net.onnx").read_text() == "without anna"
    assert (unseen.folder("anna") / "basis.npz").read_text() == "basis.npz of all"


def test_every_fold_holds_people():
    folds = [disjoint.fold_of(f"london_{i:03}") for i in range(100)]
    assert min(folds.count(k) for k in range(disjoint.FOLDS)) > 60 / disjoint.FOLDS


def test_the_file_says_what_torch_says(tmp_path: Path):
    torch = pytest.importorskip("torch", reason="training needs torch: pip install 'vultus[train]'")
    from avatar.models.generator.export import corrector_bytes, portrait_bytes
    from avatar.models.generator.model import CorrectorNet, Portrait, Shape, compose

    torch.manual_seed(0)
    portrait, net = Portrait(Shape()), CorrectorNet(Shape())
    torch.nn.init.normal_(net.out.weight, std=0.1)
    (tmp_path / corrector.FILE).write_bytes(corrector_bytes(net, {}))
    (tmp_path / corrector.PORTRAIT_FILE).write_bytes(portrait_bytes(portrait))
    random = np.random.default_rng(0)
    photo, drawn = random.integers(0, 255, (2, CROP, CROP, 3), dtype=np.uint8)
    state = random.random(len(ARKIT)).astype(np.float32)
    maps = corrector.Corrector(tmp_path, photo, np.array([(9, 9), (99, 9), (50, 99)], np.float32), NO_ONE).maps(
        drawn, state
    )
    planes = [torch.from_numpy(corrector.planes(p)) for p in (photo, drawn)]
    with torch.no_grad():
        wanted = net(portrait(planes[0]), planes[1], torch.from_numpy(condition(state, NO_ONE)[None]))
        same = compose(planes[1], torch.zeros_like(wanted))
    np.testing.assert_allclose(maps, wanted[0].permute(1, 2, 0).numpy(), atol=3e-3)
    np.testing.assert_allclose(same.numpy(), planes[1].numpy(), atol=1e-4)


def test_nobody_who_is_left_out_is_learnt_from():
    pytest.importorskip("torch", reason="training needs torch: pip install 'vultus[train]'")
    from avatar.models.generator.train import Sampler

    n = 8
    samples = {
        "kind": np.array([0, 3] * 4), "person": np.arange(n), "relative": np.ones((n, 52), np.float32),
        "photo": np.zeros((n, 52), np.float32), "regions": np.ones((n, CROP, CROP), np.uint8),
    }  # fmt: skip
    pictures = np.zeros((n, CROP, CROP, 3), np.uint8)
    pictures[[2, 3]] = 200
    samples |= {"portrait": pictures, "drawn": pictures, "wanted": pictures}
    batch = Sampler(samples, {2, 3}).batch(24)
    assert float(batch.wanted.max()) == -1
    assert float(Sampler(samples, set()).batch(24).wanted.max()) > 0
