"""The learned recipes, on pictures of noise: blocks, losses, two steps of each, files that answer as torch does."""

import numpy as np
import pytest

from avatar.engines.learned.face import controller
from avatar.models.recipes import data
from avatar.models.recipes.data import EXPRESSIONS, LABELS, UNITS, Faces, part_of, states

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'vultus[train]'")

from avatar.models.recipes import blocks  # noqa: E402
from avatar.models.recipes.cyclegan import CycleGan  # noqa: E402
from avatar.models.recipes.editing import weighed  # noqa: E402
from avatar.models.recipes.editing_judge import STEPS, of_measured  # noqa: E402
from avatar.models.recipes.exprgan import Exprgan  # noqa: E402
from avatar.models.recipes.ganimation import Ganimation  # noqa: E402
from avatar.models.recipes.looks import Session, decibels  # noqa: E402
from avatar.models.recipes.pix2pix import Pix2Pix, pairs  # noqa: E402
from avatar.models.recipes.reader import Reader, resting, varied  # noqa: E402
from avatar.models.recipes.stargan import Stargan  # noqa: E402
from avatar.models.recipes.trainer import Trainer  # noqa: E402

RECIPES = (Reader, Pix2Pix, CycleGan, Stargan, Exprgan, Ganimation)


@pytest.fixture(scope="module")
def faces():
    """Six people of noise, each in all states that are drawn."""
    random = np.random.default_rng(0)
    lines, count = [], 6
    for person in range(count):
        for units, label, level, turn in states(random):
            told = [units.get(unit, 0.0) for unit in UNITS]
            lines.append((told, label, level, random.normal(size=3) * turn, person))
    told, label, level, pose, who = (np.array(column) for column in zip(*lines, strict=True))
    n = len(lines)
    return Faces(
        random.integers(0, 256, (n, 64, 64, 3), np.uint8), told.astype(np.float32), label, level.astype(np.float32),
        pose.astype(np.float32), np.zeros((n, 72, 2), np.float32), who, np.array([f"{i}.jpg" for i in range(count)]),
        np.zeros(count, bool),
    )  # fmt: skip


# --- data


def test_every_unit_is_drawn_and_every_expression_is_made_of_them():
    assert {unit for shown in EXPRESSIONS.values() for unit in shown} <= set(UNITS)
    drawn = {unit for seed in range(9) for units, *_ in states(np.random.default_rng(seed)) for unit in units}
    assert drawn == set(UNITS)


def test_units_alone_are_in_the_order_that_the_judge_takes():
    told = np.array([data.units_of(units) for units, *_ in data.single_states(np.random.default_rng(0))])
    assert not told[0].any()
    wanted = np.eye(len(UNITS))[:, None, :] * np.array(STEPS)[None, :, None]
    assert told[1:].reshape(wanted.shape) == pytest.approx(wanted)


def test_faces_beside_others_find_the_same_person_at_rest(faces):
    both = faces.beside(faces.where(faces.expression < 0))
    assert len(both) > len(faces)
    at = resting(both)
    assert (both.person[at] == both.person).all()
    assert not both.units[at].any()


def test_parts_share_nobody_and_are_about_as_large_as_said(faces):
    parts = [part_of(f"{i:04}.jpg") for i in range(1000)]
    assert 0.52 < parts.count("learn") / 1000 < 0.68
    assert 0.14 < parts.count("held") / 1000 < 0.26
    people = [set(faces.part(p).person) for p in ("learn", "judge", "held")]
    assert sum(len(p) for p in people) == 6
    assert set.union(*people) == set(range(6))


def test_planes_and_pixels_are_each_others_inverse(faces):
    assert (data.pixels(data.planes(faces.pictures)) == faces.pictures).all()


def test_pairs_differ_in_the_smile_alone(faces):
    rest, smile = pairs(faces)
    assert len(rest) == len(smile) == 6
    with np.errstate(all="raise"):
        assert not (rest == smile).all()


def test_a_kept_file_that_is_none_says_so_in_one_line(tmp_path):
    from avatar.errors import UsageError

    (tmp_path / "faces.npz").write_bytes(b"no")
    with pytest.raises(UsageError, match=r"faces\.npz cannot be read; delete it"):
        data.load(tmp_path / "faces.npz")


# --- blocks and losses


def test_translator_and_unet_keep_the_size():
    x = torch.zeros(2, 3, 32, 32)
    assert blocks.Translator(5, 4, 8, 1)(x, torch.zeros(2, 5)).shape == (2, 4, 32, 32)
    assert blocks.UNet(3, (4, 8, 8))(x).shape == (2, 3, 32, 32)


def test_what_is_told_reaches_the_middle_of_the_picture():
    """Constant channels would not: the normalisation takes them off, but at the border."""
    torch.manual_seed(0)
    net = blocks.Translator(2, 3, 8, 1).eval()
    torch.nn.init.normal_(net.last.weight)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        one, other = (net(x, torch.tensor([told]))[..., 24:40, 24:40] for told in ((1.0, 0.0), (0.0, 1.0)))
    assert (one - other).abs().mean() > 0.1 * one.abs().mean()


def test_the_slope_is_half_the_squared_gradient():
    found = blocks.slope(lambda x: 3 * x.flatten(1).sum(1, keepdim=True), torch.randn(2, 3, 4, 4))
    assert found.item() == pytest.approx(9 * 48 / 2)


def test_a_small_change_counts_about_as_much_as_a_large_one():
    rest = torch.zeros(2, 3, 64, 64)
    truth = rest.clone()
    truth[0, :, 20:24, 10:30] = 0.3
    truth[1, :, 20:60, 10:50] = 0.3
    added = ((truth - rest).abs() * (weighed(rest, truth) - 1)).mean((1, 2, 3))
    assert 0.3 < (added[0] / added[1]).item() < 1
    assert (weighed(rest, rest) == 1).all()


def test_the_critics_verdict_is_of_patches():
    """A verdict in one corner knows nothing of the other corner."""
    critic = blocks.Critic(width=4)
    x = torch.zeros(1, 3, 64, 64, requires_grad=True)
    verdict, _ = critic(x)
    verdict[0, 0, 0, 0].backward()
    assert x.grad[0, :, :24, :24].abs().sum() > 0
    assert x.grad[0, :, 40:, 40:].abs().sum() == 0


def test_the_penalty_is_nothing_for_slope_one_and_one_for_slope_nought():
    class Flat(torch.nn.Module):
        def __init__(self, slope):
            super().__init__()
            self.slope = slope

        def forward(self, x):
            return self.slope * x.flatten(1).sum(1)[:, None, None, None], x

    real, made = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    steep = 1 / np.sqrt(3 * 64)
    assert blocks.penalty(Flat(steep), real, made).item() == pytest.approx(0, abs=1e-6)
    assert blocks.penalty(Flat(2 * steep), real, made).item() == pytest.approx(1, abs=1e-5)


def test_total_variation_counts_steps():
    assert blocks.total_variation(torch.ones(1, 1, 8, 8)).item() == 0
    stripes = torch.zeros(1, 1, 8, 8)
    stripes[..., ::2] = 1
    assert blocks.total_variation(stripes).item() == pytest.approx(1)


def test_least_squares_is_nothing_when_right():
    assert blocks.least_squares(torch.ones(3), True).item() == 0
    assert blocks.least_squares(torch.ones(3), False).item() == 1


def test_ganimation_keeps_what_its_mask_keeps(faces):
    torch.manual_seed(0)
    recipe = Ganimation(faces)
    net = recipe.net["generator"]
    with torch.no_grad():
        net.last.weight.normal_()
        net.last.weight[:4] = 0
        net.last.bias[:4] = 30  # the mask's four pixels of each place
        x = torch.rand(1, 3, 64, 64) * 2 - 1
        made, mask = recipe.make(net, x, torch.zeros(1, len(UNITS)))
    assert mask.min() > 0.999
    torch.testing.assert_close(made, x, atol=1e-5, rtol=0)


def test_the_controller_has_one_sign_for_the_wanted_and_another_for_the_rest():
    code = controller(LABELS.index("sad"), 0.4)
    assert code[LABELS.index("sad") - 1] == pytest.approx(0.4)
    assert np.delete(code, LABELS.index("sad") - 1) == pytest.approx(-0.4)
    assert not controller(0, 0.4).any()


def test_stargan_is_told_only_clear_expressions(faces):
    told = Stargan(faces).conditions
    faint = (faces.expression > 0) & (faces.intensity < 0.5)
    assert np.isnan(told[faint]).all()
    assert np.isnan(told[faces.expression < 0]).all()
    assert (told[faces.expression == 0].argmax(1) == 0).all()


def test_varied_pictures_stay_pictures(faces):
    x = data.planes(faces.pictures[:5])
    made = varied(x, np.random.default_rng(0))
    assert made.shape == x.shape
    assert made.min() >= -1
    assert made.max() <= 1
    assert (varied(x, np.random.default_rng(0)) == made).all()


# --- figures


def test_a_perfect_answer_has_no_leakage_and_a_perfect_icc():
    steps = np.array((0.25, 0.5, 0.75, 1.0))
    measured = np.eye(len(UNITS))[None, :, None, :] * steps[None, None, :, None].repeat(3, 0)
    found = of_measured(measured)
    assert found["icc_mean"] == pytest.approx(1)
    assert found["leakage_mean"] == 0
    assert found["units_icc_70"] == len(UNITS)


def test_no_answer_has_none():
    found = of_measured(np.random.default_rng(0).normal(0, 1e-3, (8, len(UNITS), 4, len(UNITS))))
    assert found["icc_mean"] < 0.3
    assert found["leakage_mean"] > 0.5


def test_decibels_look_at_the_face_alone():
    a = np.zeros((1, 3, 64, 64), np.float32)
    b = a.copy()
    b[..., :5, :] = 1
    assert decibels(a, b)[0] > 80
    b[..., 30, 30] = 1
    assert decibels(a, b)[0] < 60


# --- the recipes


@pytest.mark.parametrize("kind", RECIPES, ids=lambda k: k.name)
def test_two_steps_change_the_weights_and_the_sheet_is_a_picture(kind, faces, tmp_path):
    trainer = Trainer(kind, faces, tmp_path)
    before = {k: v.clone() for k, v in trainer.recipe.net.state_dict().items()}
    trainer.recipe.steps = 2
    losses = [trainer._step(done) for done in (0.0, 0.5)]
    assert all(np.isfinite(v) for parts in losses for v in parts.values())
    assert set(losses[0]) == set(losses[1])
    for name, net in trainer.recipe.net.items():
        assert any(not torch.equal(before[f"{name}.{k}"], v) for k, v in net.state_dict().items()), name
    with torch.no_grad():
        sheet = trainer.recipe.samples(trainer.averaged())
    assert sheet.dtype == np.uint8
    assert sheet.ndim == 3


@pytest.mark.parametrize("kind", RECIPES, ids=lambda k: k.name)
def test_the_file_answers_as_the_network_does(kind, faces, tmp_path):
    trainer = Trainer(kind, faces, tmp_path)
    recipe, net = trainer.recipe, trainer.averaged()
    for part in net.values():
        if hasattr(part, "last"):  # which begins as next to nothing
            torch.nn.init.normal_(part.last.weight, std=0.02)
        for module in part.modules():
            if isinstance(module, blocks.Told):
                torch.nn.init.normal_(module.place, std=0.2)
    recipe.write(net, tmp_path / "net.onnx", {"steps": 0})
    x = data.planes(faces.pictures[:2])
    given, asked = torch.from_numpy(x), None
    with torch.no_grad():
        if kind is Reader:
            x = np.concatenate([x, x[::-1]], 1)
            wanted = [net["reader"](torch.from_numpy(x))]
        elif kind is Pix2Pix:
            wanted = [given + net["generator"](given)]
        elif kind is CycleGan:
            wanted = [blocks.repainted(given, net[way](given)) for way in ("there", "back")]
        else:
            asked = recipe.wanted(recipe.conditions[:2], np.random.default_rng(1))
            made, beside = recipe.make(net["generator"], given, torch.from_numpy(asked))
            wanted = [beside] if kind is Ganimation else [made]
    answers = Session(tmp_path / "net.onnx")(x, asked)
    for answer, truth in zip(answers, wanted, strict=False):
        if kind is Stargan:
            answer = answer.clip(-1.2, 1.2)
        np.testing.assert_allclose(answer, truth.numpy(), atol=0.02)  # weights are kept as float16
