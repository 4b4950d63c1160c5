"""The screen face: what moves when a coefficient moves."""

from pathlib import Path

import numpy as np
import pytest

from avatar.core import facs
from avatar.core.types import FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.screen import INSIDE, LINE, PUPIL, TONGUE, WHITE, ScreenEngine
from avatar.errors import EngineError
from avatar.models import registry
from avatar.portrait import bundle
from avatar.testing.contracts import check_engine

SIZE = 256


@pytest.fixture(scope="module")
def engine() -> ScreenEngine:
    return ScreenEngine(bundle.load(registry.avatars_dir() / "sam"), SIZE, Path("."))


def state(gaze: tuple[float, float] = (0.0, 0.0), pose: tuple[float, float, float] = (0, 0, 0), **shapes: float):
    return FaceState(Ns(0), freeze(facs.arkit_vector(shapes)), Pose.degrees(*pose), Gaze(*np.radians(gaze)))


def where(picture: np.ndarray, colour: tuple[int, int, int], right: bool | None = None) -> np.ndarray:
    """(n, 2) x and y of the pixels of a colour; of the picture's right or left half."""
    y, x = np.nonzero(np.abs(picture.astype(int) - colour).sum(2) < 40)
    keep = np.ones(len(x), bool) if right is None else (x > SIZE / 2) == right
    return np.stack([x[keep], y[keep]], axis=1)


def test_it_keeps_the_contract_of_an_engine():
    avatar = bundle.load(registry.avatars_dir() / "sam")
    check_engine(lambda size: ScreenEngine(avatar, size, Path(".")))


@pytest.mark.parametrize("name", [n for n in facs.ARKIT if not n.startswith(("eyeLook", "jawForward", "mouthClose"))])
def test_every_shape_but_thrust_is_seen(engine, name):
    base = {"jawOpen": 0.4} if name == "tongueOut" else {}
    assert (engine.render(state(**base)) != engine.render(state(**base, **{name: 1.0}))).any()


def test_a_lid_shuts_its_own_eye(engine):
    shut = engine.render(state(eyeBlinkLeft=1.0))
    assert len(where(shut, WHITE, right=True)) == 0, "the subject's left is the picture's right"
    assert len(where(shut, WHITE, right=False)) > 500


def test_eyes_look_where_the_gaze_says(engine):
    at = {g: where(engine.render(state(gaze=g)), PUPIL).mean(0) for g in ((0, 0), (12, 0), (0, 12))}
    assert at[12, 0][0] > at[0, 0][0] + 3
    assert at[0, 12][1] < at[0, 0][1] - 3


def test_the_head_turns_as_the_pose_says(engine):
    def eyes(**k: tuple[float, float, float]) -> np.ndarray:
        return where(engine.render(state(**k)), WHITE).mean(0)

    rest = eyes()
    assert eyes(pose=(15, 0, 0))[0] > rest[0] + 10
    assert eyes(pose=(0, 10, 0))[1] < rest[1] - 8
    tilted = engine.render(state(pose=(0, 0, 12)))
    assert where(tilted, WHITE, right=True)[:, 1].mean() < where(tilted, WHITE, right=False)[:, 1].mean() - 5


def test_mouths_differ_as_people_read_them(engine):
    def mouth(**shapes: float) -> np.ndarray:
        points = where(engine.render(state(**shapes)), LINE)
        return points[points[:, 1] > 0.6 * SIZE]

    smile, frown, pucker, rest = (mouth(**{n: 1.0}) for n in ("mouthSmile", "mouthFrown", "mouthPucker", "mouthClose"))
    corner, middle = (lambda m: m[m[:, 0] == m[:, 0].min(), 1].mean()), (lambda m: m[abs(m[:, 0] - 128) < 3, 1].mean())
    assert corner(smile) < middle(smile) - 4
    assert corner(frown) > middle(frown) + 3
    assert np.ptp(pucker[:, 0]) < 0.7 * np.ptp(rest[:, 0]) < np.ptp(rest[:, 0]) < np.ptp(smile[:, 0])
    for close, inside in ((0.0, True), (0.8, False)):
        picture = engine.render(state(jawOpen=0.8, mouthClose=close))
        assert ((picture == INSIDE).all(axis=2).sum() > 50) == inside
    assert len(where(engine.render(state(jawOpen=0.5, tongueOut=1.0)), TONGUE)) > 50


def test_backgrounds(engine):
    engine.set_background("#204060")
    assert tuple(engine.render(state())[0, 0]) == (0x20, 0x40, 0x60)
    engine.set_background("keep")
    with pytest.raises(EngineError, match="keep, green or a colour"):
        engine.set_background("blur")


def test_numbers_that_are_none_are_survived(engine):
    odd = FaceState(Ns(0), head=Pose(translation=(float("nan"), float("inf"), 0.0)))
    assert engine.render(odd).shape == (SIZE, SIZE, 3)
