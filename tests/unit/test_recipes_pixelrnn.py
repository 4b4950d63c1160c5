"""Likelihoods: what comes later is never seen, bits are counted right, samples are drawn from what was counted."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'vultus[train]'")

from avatar.models.recipes import pixelrnn  # noqa: E402
from avatar.models.recipes.masked import Masked2d, colours, mask  # noqa: E402
from avatar.models.recipes.pixelrnn import Histograms, PixelRnn  # noqa: E402

SIZE, LEVELS = 7, 5


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    net = PixelRnn(hidden=6, layers=2, levels=LEVELS, size=SIZE)
    with torch.no_grad():  # strong weights, so that whatever is let through is seen
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return net.eval()


def order(colour, row, column):
    return (row * SIZE + column) * 3 + colour


def gradients(model, colour, row, column):
    """(3, SIZE, SIZE) absolute slope of the logits at one place by the scaled values."""
    x = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    model.double()
    scaled = model._scaled
    model._scaled = lambda levels: levels
    try:
        logits = model(x)[0, colour, :, row, column]
        (slope,) = torch.autograd.grad((logits * torch.randn(LEVELS, dtype=torch.float64)).sum(), x)
    finally:
        model._scaled = scaled
        model.float()
    return slope[0].abs().numpy()


@pytest.mark.parametrize("row", [0, 3, 6])
@pytest.mark.parametrize("column", [0, 2, 6])
@pytest.mark.parametrize("colour", [0, 1, 2])
def test_no_value_sees_itself_or_what_comes_after_it(model, colour, row, column):
    slope = gradients(model, colour, row, column)
    here = order(colour, row, column)
    for c in range(3):
        for r in range(SIZE):
            for k in range(SIZE):
                if order(c, r, k) >= here:
                    assert slope[c, r, k] == 0, (c, r, k)


def test_a_value_sees_its_neighbours_and_the_colours_before_it(model):
    slope = gradients(model, 2, 4, 3)
    assert (slope[:2, 4, 3] > 0).all()
    assert (slope[:, 4, 2] > 0).all()
    assert (slope[:, 3] > 0).all(), "the row above is known whole"
    assert (slope[:, 0, 3] > 0).all(), "and what is remembered of the first row"


def test_masks_are_those_of_the_paper():
    first = mask("A", 3, 3, 3, 3)
    assert first[0, :, 1, 1].tolist() == [0, 0, 0]
    assert first[2, :, 1, 1].tolist() == [1, 1, 0]
    assert mask("B", 3, 3, 3, 3)[1, :, 1, 1].tolist() == [1, 1, 0]
    assert first[:, :, 0].min() == 1
    assert first[:, :, 2].max() == 0
    assert first[:, :, 1, 2].max() == 0
    with pytest.raises(ValueError, match="three equal groups"):
        colours(8)


def test_the_last_row_alone_is_as_in_the_whole_picture():
    torch.manual_seed(0)
    layer = Masked2d("A", 3, 6, 7)
    x = torch.randn(2, 3, 5, 9)
    padded = torch.nn.functional.pad(x, (0, 0, 3, 0))
    for row in range(5):
        assert torch.allclose(layer.last_row(padded[:, :, row : row + 4]), layer(x)[:, :, row], atol=1e-6)


def test_sampling_asks_for_the_same_probabilities_as_the_likelihood(model, monkeypatch):
    """What each draw was made from, beside the probabilities that the finished pictures have."""
    told = []
    draw = torch.multinomial
    monkeypatch.setattr(torch, "multinomial", lambda p, n: told.append(p.clone()) or draw(p, n))
    torch.manual_seed(1)
    x = torch.from_numpy(model.sample(3))
    with torch.no_grad():
        whole = model(x).softmax(2)
    for i, p in enumerate(told):
        pixel, colour = divmod(i, 3)
        assert torch.allclose(p, whole[:, colour, :, pixel // SIZE, pixel % SIZE], atol=1e-5)
    assert len(told) == 3 * SIZE * SIZE


def test_bits_of_a_known_distribution():
    model = PixelRnn(hidden=6, layers=1, levels=8, size=16)
    shares = np.array([0.5, 0.25, 0.125, 0.125, 0, 0, 0, 0])
    with torch.no_grad():
        model.last.weight.zero_()
        model.last.bias.copy_(torch.from_numpy(np.tile(np.log(shares + 1e-30), 3)))
    x = torch.from_numpy(np.random.default_rng(0).choice(8, p=shares, size=(4, 3, 16, 16)))
    counted = -np.log2(shares[x.numpy()]).mean()
    assert float(model.bits(x).detach()) == pytest.approx(counted, abs=1e-4)
    assert counted == pytest.approx(1.75, abs=0.05)  # the entropy


def test_baselines_know_what_can_be_counted_and_nothing_else():
    random = np.random.default_rng(0)
    noise = random.integers(pixelrnn.LEVELS, size=(400, 3, 6, 6))
    assert Histograms.of(noise).by_pixel(noise) == pytest.approx(math.log2(pixelrnn.LEVELS), abs=0.1)
    place = np.broadcast_to(random.integers(pixelrnn.LEVELS, size=(1, 3, 6, 6)), (400, 3, 6, 6))
    assert Histograms.of(place).by_pixel(place) < 0.2  # always the same picture
    flat = np.broadcast_to(random.integers(pixelrnn.LEVELS, size=(400, 1, 1, 1)), (400, 3, 6, 6)).copy()
    table = Histograms.of(flat)
    assert table.by_copy(flat) < 1.0 < table.by_pixel(flat)  # each picture of one value


def test_it_learns_what_histograms_cannot(tmp_path):
    """Stripes whose phase differs: each place is a coin, given its neighbour there is no doubt."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    model = PixelRnn(hidden=6, layers=1, levels=2, size=8)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        phase = random.integers(2, size=(8, 1, 1, 1))
        x = torch.from_numpy(np.broadcast_to((np.arange(8) + phase) % 2, (8, 3, 8, 8)).copy())
        bits = model.bits(x)
        optimizer.zero_grad()
        bits.backward()
        optimizer.step()
    assert float(bits.detach()) < 0.2


def test_two_steps_a_file_and_its_figures(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    levels = random.integers(pixelrnn.LEVELS, size=(20, 3, 32, 32))
    torch.manual_seed(0)
    recipe = pixelrnn.PixelRecipe(levels)
    for step in range(2):
        losses = recipe.step(recipe.batch(random), step / 2)
    assert 4 < losses["bits"] < 7  # log2(32) = 5, more or less
    recipe.write(recipe.net, tmp_path / "p.npz", {"steps": 2})

    class Held:
        pictures = random.integers(256, size=(16, 64, 64, 3), dtype=np.uint8)

        def part(self, part):
            assert part == "held"
            return self

    figures = pixelrnn.PixelRecipe.judge(tmp_path / "p.npz", Held())
    assert figures["pictures"] == 16
    assert {"bits", "bits_by_pixel", "bits_by_copy"} < figures.keys()


def test_levels_and_back():
    picture = np.full((1, 64, 64, 3), 200, np.uint8)
    levels = pixelrnn.quantised(picture)
    assert levels.shape == (1, 3, 32, 32)
    assert (levels == 25).all()
    assert (pixelrnn.shown(levels) == 204).all()
