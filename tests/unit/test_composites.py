"""Faces of people who do not exist: the morphing, on the shipped avatars as sources."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.data import composites
from avatar.portrait import bundle
from avatar.portrait.landmarks import LandmarkDetector


def test_recipes_are_complete_and_shipped():
    assert {r.name for r in composites.RECIPES} == {p.name for p in registry.avatars_dir().iterdir() if p.is_dir()}
    for recipe in composites.RECIPES:
        assert len(set(recipe.files)) >= 3, "two faces would still look like one of them"
        assert {recipe.eyes, recipe.mouth, recipe.skin} <= set(recipe.files)
        assert len({recipe.eyes, recipe.mouth, recipe.skin}) >= 2
        shipped = bundle.load(registry.avatars_dir() / recipe.name)
        assert shipped.provenance == composites.provenance(recipe)
        assert shipped.created == recipe.created


def test_missing_sources_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"lacks .*0364\.jpg.*--data") as caught:
        composites.build(tmp_path, tmp_path / "out", ["iris"])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> tuple[np.ndarray, list[bundle.AvatarBundle], bundle.AvatarBundle]:
    """A composite of three shipped avatars, one of them tilted and small."""
    data = tmp_path_factory.mktemp("data")
    folder = data / "faces" / "t2i"
    folder.mkdir(parents=True)
    sources = [bundle.load(registry.avatars_dir() / name) for name in ("raul", "sam", "raf")]
    for i, source in enumerate(sources):
        picture = cv2.cvtColor(source.portrait, cv2.COLOR_RGB2BGR)
        if i == 1:
            picture = cv2.warpAffine(picture, cv2.getRotationMatrix2D((320, 320), 9, 0.8), (640, 640),
                                     borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    recipe = composites.Recipe("mix", "Mix", "0.png", ("1.png", "2.png"), eyes="1.png", mouth="2.png", skin="0.png")
    patch = pytest.MonkeyPatch()
    registry.fetch("face_landmarker_v2.task")
    with patch.context() as context:
        context.setattr(composites, "RECIPES", (recipe,))
        (made,) = composites.build(data, data / "out")
        again = composites.build(data, data / "again")[0]
    assert (made / "portrait.png").read_bytes() == (Path(again) / "portrait.png").read_bytes(), "reproducible"
    return sources[0].portrait, sources, bundle.load(made)


def shape(points: np.ndarray) -> np.ndarray:
    """Landmarks without place, size and tilt."""
    points = points[:468, :2].astype(np.float64) - points[:468, :2].mean(0)
    eyes = points[263] - points[33]
    turn = np.array([[eyes[0], eyes[1]], [-eyes[1], eyes[0]]]) / (eyes @ eyes)
    return points @ turn.T


def test_the_shape_is_the_mean(mixed):
    _, sources, made = mixed
    mean = np.mean([shape(s.landmarks) for s in sources], axis=0)
    error = np.linalg.norm(shape(made.landmarks) - mean, axis=1).mean()
    spread = np.mean([np.linalg.norm(shape(s.landmarks) - mean, axis=1).mean() for s in sources])
    assert error < 0.5 * spread


def test_it_is_framed_like_a_portrait_and_upright(mixed):
    _, _, made = mixed
    assert made.portrait.shape == (composites.SIZE, composites.SIZE, 3)
    with LandmarkDetector(registry.path("face_landmarker_v2.task")) as detector:
        (face, *_) = detector.detect(made.portrait)
    assert abs(face.roll) < 4
    left, top, right, bottom = face.box
    assert (left + right) / 2 == pytest.approx(320, abs=15)
    assert 640 / max(bottom - top, 1.15 * (right - left)) == pytest.approx(1.95, abs=0.1)
    assert made.warnings == ()


def test_what_is_around_the_head_stays_the_bases(mixed):
    base, _, made = mixed
    corner = np.s_[20:120, 20:120]
    difference = (
        cv2.GaussianBlur(base, (0, 0), 3)[corner].astype(int) - cv2.GaussianBlur(made.portrait, (0, 0), 3)[corner]
    )
    assert np.abs(difference).mean() < 8


def test_nothing_is_washed_out(mixed):
    """Averaging three faces pixel by pixel would lose most of the fine detail; one part each keeps it."""
    _, sources, made = mixed

    def detail(picture: np.ndarray) -> float:
        return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F)[200:480, 200:440].std())

    assert detail(made.portrait) > 0.7 * min(detail(s.portrait) for s in sources)
