"""What lies in a latent space: boundaries, walks that cross only one of them, and the small networks around them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'vultus[train]'")

from avatar.errors import ModelFileError  # noqa: E402
from avatar.models.recipes import arrays, dcgan, interfacegan  # noqa: E402
from avatar.models.recipes.attributes import NAMES, Attributes, age, labelled, with_glasses  # noqa: E402
from avatar.models.recipes.boundaries import accuracy, extremes, projected, svm  # noqa: E402
from avatar.models.recipes.interfacegan import LATENT, Planes  # noqa: E402


def unit(random, d=LATENT):
    v = random.standard_normal(d)
    return (v / np.linalg.norm(v)).astype(np.float32)


def some(n=40, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=(n, len(NAMES))).astype(np.float32)
    labels[::7, 1] = np.nan
    return Attributes(random.integers(256, size=(n, 32, 32, 3), dtype=np.uint8), labels, np.arange(n) // 4)


def test_a_planted_boundary_is_found():
    random = np.random.default_rng(0)
    normal = unit(random)
    x = random.standard_normal((3000, LATENT)).astype(np.float32)
    there = x @ normal + 0.4 > 0
    found, offset = svm(x[:2000], there[:2000])
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert found @ normal > 0.98
    assert offset == pytest.approx(0.4, abs=0.1)
    assert accuracy(x[2000:], there[2000:], found, offset) > 0.95


def test_a_boundary_needs_two_sides():
    with pytest.raises(ValueError, match="both sides"):
        svm(np.zeros((5, 3), np.float32), np.ones(5, bool))


def test_a_walk_keeps_what_it_was_told_to_keep():
    random = np.random.default_rng(1)
    first, second, third = (unit(random) for _ in range(3))
    along = projected(first, [second, third])
    assert np.linalg.norm(along) == pytest.approx(1, abs=1e-6)
    assert abs(along @ second) < 1e-6
    assert abs(along @ third) < 1e-6
    assert along @ first > 0
    one = projected(first, [second])  # equation 7 of the paper
    plain = first - (first @ second) * second
    assert np.allclose(one, plain / np.linalg.norm(plain), atol=1e-6)
    assert projected(first, []) is first
    with pytest.raises(ValueError, match="wholly"):
        projected(first, [second, first])


def test_planes_walk_by_name():
    random = np.random.default_rng(2)
    normals = np.stack([unit(random) for _ in NAMES])
    planes = Planes(normals, np.zeros(4, np.float32), np.ones(4, np.float32))
    assert np.allclose(planes.direction("old"), normals[1])
    others = np.delete(normals, 2, 0)
    assert np.abs(others @ planes.alone("glasses")).max() < 1e-6
    assert np.abs(normals[0] @ planes.direction("right", ("smile",))) < 1e-6


def test_extremes():
    assert extremes(np.arange(101, dtype=np.float32), 0.05) == (5, 95)


def test_shapes_and_beginnings():
    torch.manual_seed(0)
    generator, critic = dcgan.begun(dcgan.Generator((12, 8, 8))), dcgan.begun(dcgan.Discriminator((12, 8, 8)))
    x = generator(torch.randn(5, LATENT))
    assert x.shape == (5, 3, 32, 32)
    assert float(x.detach().abs().max()) <= 1
    assert critic(x).shape == (5,)
    assert interfacegan.Reader(4)(x).shape == (5, len(NAMES))


def test_slope_of_a_plane_is_its_normal():
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1))
    with torch.no_grad():
        critic[1].weight.fill_(0.5)
    assert float(dcgan.slope(critic, torch.randn(3, 3, 2, 2)).detach()) == pytest.approx(12 * 0.25)


def test_search_finds_what_the_generator_made():
    torch.manual_seed(0)
    generator = dcgan.Generator((12, 8, 8)).eval()
    with torch.no_grad():
        truth = generator(torch.randn(3, LATENT)).numpy()
    flat = np.zeros_like(truth)
    found = dcgan.drawn(generator, dcgan.search(generator, truth, 120))
    assert ((found - truth) ** 2).mean() < 0.1 * ((flat - truth) ** 2).mean()


def test_frechet_is_nothing_between_equals_and_grows_with_what_lacks():
    random = np.random.default_rng(0)
    base = random.standard_normal((400, 6)) @ random.standard_normal((6, 3 * 16 * 16))
    x = base.reshape(-1, 3, 16, 16).astype(np.float32)
    axes = dcgan.principal(x, 6)
    assert dcgan.frechet(x, x, axes) == pytest.approx(0, abs=1e-3)
    half = 0.5 * (x - x.mean(0)) + x.mean(0)  # half the spread: (1 - 1/2)^2 of the variance lacks
    assert dcgan.frechet(half, x, axes) == pytest.approx(0.25, abs=0.01)
    assert dcgan.frechet(np.repeat(x.mean(0, keepdims=True), 2, 0), x, axes) == pytest.approx(1, abs=0.01)


def test_what_is_mirrored_looks_to_the_other_side():
    known = some(200)
    x, labels = interfacegan.augmented(known.pictures, known.labels, np.random.default_rng(0))
    assert x.shape == (200, 3, 32, 32)
    assert np.abs(x).max() <= 1
    changed = labels[:, 3] != known.labels[:, 3]
    assert 0.3 < changed.mean() < 0.7
    assert np.array_equal(labels[:, :3], known.labels[:, :3], equal_nan=True)


def test_balanced_accuracy_leaves_out_what_has_no_label():
    odds = np.array([1, 1, -1, -1, 5], np.float32)
    assert interfacegan.balanced(odds, np.array([1, 1, 0, 1, np.nan], np.float32)) == pytest.approx((2 / 3 + 1) / 2)
    assert np.isnan(interfacegan.balanced(odds, np.ones(5, np.float32)))


def test_ages():
    assert age("0034.jpg") == 1
    assert age("0000.jpg") == 0
    assert np.isnan(age("0001.jpg"))


def test_labels_and_glasses():
    from avatar.models.recipes.data import UNITS, Faces

    n = 8
    units = np.zeros((n, len(UNITS)), np.float32)
    units[:, UNITS.index(12)] = [0, 0.1, 0.3, 0.5, 1, 0, 0, 0]
    pose = np.zeros((n, 3), np.float32)
    pose[:, 0] = [0, 8, -8, 0, 0, 2, -6, 20]
    marks = np.full((n, 72, 2), 25, np.float32)
    marks[:, :16, 0], marks[:, 16:32, 0] = 22, 42
    faces = Faces(
        np.full((n, 64, 64, 3), 170, np.uint8), units, np.zeros(n, np.int64), np.zeros(n, np.float32), pose, marks,
        np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array(["0034.jpg", "0000.jpg", "0001.jpg", "0003.jpg"]),
        np.array([False, False, False, True]),
    )  # fmt: skip
    made = labelled(faces, np.array([0, 0, 5, 0], np.float32), share=1.0)
    assert len(made) == 6, "who wears glasses anyway is left out"
    assert made.labels[:5, 0].tolist()[:2] == [0, 0]
    assert np.isnan(made.labels[2, 0])
    assert made.labels[3:5, 0].tolist() == [1, 1]
    assert made.labels[:2, 1].tolist() == [1, 1]
    assert made.labels[:, 2].tolist() == [1] * 6
    assert made.labels[1, 3] == 1
    assert made.labels[2, 3] == 0
    assert made.labels[4, 3] == 1, "the portrait's own turn counts"
    worn = with_glasses(faces.pictures[0], marks[0], np.random.default_rng(0))
    changed = np.abs(worn.astype(int) - 170).max(2) > 12
    rows = np.flatnonzero(changed.any(1))
    assert changed.sum() > 30
    assert rows.min() > 8
    assert rows.max() < 45
    bare = labelled(faces, share=0.0)
    assert np.isnan(bare.labels[:, 3]).all()
    assert (bare.pictures == 170).all()


def test_weights_go_to_a_file_and_back(tmp_path):
    torch.manual_seed(0)
    net, other = dcgan.Generator((12, 8, 8)), dcgan.Generator((12, 8, 8))
    arrays.save(tmp_path / "g.npz", net, {"table": np.arange(3)}, {"steps": 1})
    kept = arrays.load(tmp_path / "g.npz", other)
    assert kept["table"].tolist() == [0, 1, 2]
    z = torch.randn(2, LATENT)
    assert torch.allclose(net.eval()(z), other(z), atol=0.02)
    for broken in ("none.npz", "g.npz"):
        with pytest.raises(ModelFileError, match="not the weights"):
            arrays.load(tmp_path / broken, interfacegan.Reader())


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """Trainings that keep what they keep in a folder of their own."""
    from avatar.models.recipes import trainer

    monkeypatch.setattr(trainer, "cache", lambda: tmp_path)
    return trainer


def test_a_stopped_training_of_two_networks_ends_as_an_unbroken_one(at_home, tmp_path):
    def run(folder, *stops):
        for steps in stops:
            one = at_home.Trainer(dcgan.Dcgan, some(), tmp_path / folder, seed=4)
            one.resume()
            one.recipe.rate = lambda done: 1.0  # stops are not the training's end
            one.run(steps)
        return one.recipe.net.state_dict(), one.averaged()["generator"].state_dict()

    whole, whole_average = run("whole", 3)
    broken, broken_average = run("broken", 1, 3)
    for left, right in ((whole, broken), (whole_average, broken_average)):
        assert all(torch.equal(left[name], right[name]) for name in left)


def test_from_training_to_figures(at_home, tmp_path, monkeypatch):
    """Two steps of dcgan and of the reader on top of it, and both judges; what figures are there, not how good."""
    from avatar.models.recipes.data import Faces

    monkeypatch.setattr(dcgan, "labelled", lambda part, *_: some(60, part))
    monkeypatch.setattr(interfacegan, "of_part", lambda held, parts, turned: some(60, 1))
    for name, value in (("_JUDGED", 2), ("_SEARCH", 2), ("_SPREAD", 60)):
        monkeypatch.setattr(dcgan, name, value)
    for name, value in (("SAMPLES", 60), ("FRESH", 60)):
        monkeypatch.setattr(interfacegan, name, value)

    class Held(Faces):
        def part(self, part):
            return len(part)

    held = object.__new__(Held)
    pictures = np.random.default_rng(0).integers(256, size=(2, 3, 64, 64, 3), dtype=np.uint8)
    monkeypatch.setattr(interfacegan, "pairs", lambda faces: pictures)
    monkeypatch.setattr(interfacegan, "_SEARCH", 2)
    monkeypatch.setattr(dcgan.Dcgan, "load", classmethod(lambda cls, bundle: some()))
    at_home.train(dcgan.Dcgan, tmp_path, tmp_path / "dcgan.npz", steps=2)
    figures = dcgan.Dcgan.judge(tmp_path / "dcgan.npz", held)
    assert {"psnr_found", "psnr_mean", "psnr_copy", "frechet", "frechet_mean", "frechet_copy"} < figures.keys()

    material = some(), tmp_path / "dcgan.npz", np.zeros(1, np.float32)
    monkeypatch.setattr(interfacegan.InterfaceGan, "load", classmethod(lambda cls, bundle: material))
    told = at_home.train(interfacegan.InterfaceGan, tmp_path, tmp_path / "interfacegan.npz", steps=2)
    assert told["steps"] == 2
    figures = interfacegan.InterfaceGan.judge(tmp_path / "interfacegan.npz", held)
    for name in NAMES:
        assert {f"reader_{name}", f"boundary_{name}", f"all_{name}", f"kept_{name}"} < figures.keys()
    assert {"psnr_made", "psnr_copy", "psnr_mean"} < figures.keys()
