"""The head engine on a drawn face: what each state must change, and what it must leave alone."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_face import WEIGHTS, drawn_face

from avatar.core.facs import arkit_vector
from avatar.core.types import U8, FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.head import MAX_YAW, HeadEngine, shape_weights, soft_limit
from avatar.errors import EngineError
from avatar.portrait.fit import eye_distance

SIZE = 512
MOUTH, RIGHT_EYE, LEFT_EYE, NOSE, CHIN = 13, 159, 386, 1, 152


@pytest.fixture(scope="module")
def engine() -> HeadEngine:
    return HeadEngine(drawn_face(SIZE), SIZE, WEIGHTS)


def state(yaw: float = 0, pitch: float = 0, roll: float = 0, gaze: tuple[float, float] = (0, 0), **arkit) -> FaceState:
    return FaceState(
        Ns(0),
        freeze(arkit_vector(arkit)),
        Pose.degrees(yaw, pitch, roll),
        Gaze(math.radians(gaze[0]), math.radians(gaze[1])),
    )


def psnr(a: U8, b: U8) -> float:
    return float(cv2.PSNR(a, b))


def changed(a: U8, b: U8) -> np.ndarray:
    """Pixels that differ by more than a tenth of a pixel's motion does at the drawn face's hard edges."""
    return np.abs(a.astype(int) - b).max(axis=2) > 24


def place(landmark: int) -> np.ndarray:
    return drawn_face(SIZE).landmarks[landmark, :2]


def distance_from(landmark: int) -> np.ndarray:
    """Of every pixel, in distances between the eyes."""
    yy, xx = np.mgrid[:SIZE, :SIZE]
    x, y = place(landmark)
    return np.hypot(xx - x, yy - y) / eye_distance(drawn_face(SIZE).landmarks)


def test_a_state_of_zeros_is_the_photo(engine):
    assert psnr(engine.render(state()), drawn_face(SIZE).portrait) >= 40


@pytest.mark.parametrize("size", [256, 300, 720, 1024])
def test_other_sizes_show_the_same_picture(size):
    picture = HeadEngine(drawn_face(SIZE), size, WEIGHTS).render(state())
    portrait = drawn_face(SIZE).portrait
    flags = cv2.INTER_AREA if size < SIZE else cv2.INTER_CUBIC
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert psnr(picture, cv2.resize(portrait, (size, size), interpolation=flags)) >= 40


@pytest.mark.parametrize("size", [0, 255, 1025])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(EngineError, match=str(size)):
        HeadEngine(drawn_face(SIZE), size, WEIGHTS)


def test_the_same_state_gives_the_same_bytes_whatever_came_before(engine):
    wanted = state(yaw=6, pitch=-3, gaze=(5, -4), jawOpen=0.4, eyeBlink=0.5, mouthSmile=0.5)
    first = engine.render(wanted)
    engine.render(state(yaw=-15, jawOpen=1, eyeWide=1, mouthPucker=1))
    np.testing.assert_array_equal(engine.render(wanted), first)
    np.testing.assert_array_equal(HeadEngine(drawn_face(SIZE), SIZE, WEIGHTS).render(wanted), first)


def test_a_picture_belongs_to_the_caller(engine):
    first = engine.render(state())
    first[:] = 0
    assert engine.render(state()).any()
    assert not first.any()


def test_an_open_jaw_changes_the_lower_face_only(engine):
    rest, opened = engine.render(state()), engine.render(state(jawOpen=0.7))
    differs = changed(rest, opened)
    assert differs[distance_from(MOUTH) < 0.25].mean() > 0.25
    above = differs[: int(place(RIGHT_EYE)[1])]
    assert above.mean() < 0.01


def test_an_open_mouth_is_darker_than_the_lips_it_parts(engine):
    x, y = (int(v) for v in place(MOUTH))
    column = engine.render(state(jawOpen=0.8))[y : y + 60, x].max(axis=1)
    lips = drawn_face(SIZE).portrait[y, x].max()
    assert column.min() < 0.6 * lips


@pytest.mark.parametrize("pose", [(0, -12), (0, 12), (15, 0)])
def test_closed_lips_stay_closed_when_the_head_moves(engine, pose):
    """No dark slit of the mouth's inside."""
    picture = engine.render(state(yaw=pose[0], pitch=pose[1]))
    assert picture[distance_from(MOUTH) < 0.5].max(axis=1).min() > 100


def test_a_wider_jaw_opens_wider(engine):
    rest = engine.render(state())
    near = distance_from(MOUTH) < 0.6
    counts = [changed(rest, engine.render(state(jawOpen=v)))[near].sum() for v in (0.1, 0.3, 0.6, 1.0)]
    assert counts == sorted(counts)
    assert counts[0] > 0


@pytest.mark.parametrize(("shape", "here", "there"), [
    ("eyeBlinkRight", RIGHT_EYE, LEFT_EYE),
    ("eyeBlinkLeft", LEFT_EYE, RIGHT_EYE),
])  # fmt: skip
def test_a_blink_closes_its_own_eye_and_changes_nothing_else(engine, shape, here, there):
    rest, closed = engine.render(state()), engine.render(state(**{shape: 1.0}))
    differs = changed(rest, closed)
    assert differs[distance_from(here) < 0.12].mean() > 0.3
    assert not differs[distance_from(there) < 0.3].any()
    assert not differs[distance_from(here) > 0.6].any()
    # No white of the eye is left: the lid's skin covers it.
    white = closed[distance_from(here) < 0.15].min(axis=1) > 215
    assert white.mean() < 0.02


@pytest.mark.parametrize(
    ("yaw", "pitch", "axis", "sign"), [(10, 0, 0, 1), (-10, 0, 0, -1), (0, 10, 1, -1), (0, -10, 1, 1)]
)
def test_the_nose_goes_where_the_pose_says(engine, yaw, pitch, axis, sign):
    """yaw > 0 towards the right edge, pitch > 0 up."""

    def nose(picture: U8) -> np.ndarray:
        x, y = (int(v) for v in place(NOSE))
        window = picture[y - 36 : y + 40, x - 50 : x + 50].astype(float)
        like = np.abs(window - (120, 60, 50)).sum(axis=2) < 45
        yy, xx = np.nonzero(like)
        return np.array([xx.mean(), yy.mean()])

    moved = nose(engine.render(state(yaw=yaw, pitch=pitch))) - nose(engine.render(state()))
    assert sign * moved[axis] > 3


def test_roll_is_anticlockwise(engine):
    left_end, right_end = place(RIGHT_EYE), place(LEFT_EYE)
    picture = engine.render(state(roll=10))

    def white_row(x: float) -> float:
        strip = picture[:, int(x) - 12 : int(x) + 12].min(axis=2) > 200
        return float(np.flatnonzero(strip.any(axis=1)).mean())

    assert white_row(left_end[0]) > white_row(right_end[0]) + 5


def test_the_pose_is_limited(engine):
    np.testing.assert_allclose(soft_limit(90.0, MAX_YAW), MAX_YAW, atol=0.01)
    assert soft_limit(-5.0, MAX_YAW) == -5.0
    assert psnr(engine.render(state(yaw=70)), engine.render(state(yaw=90))) > 50


def test_the_borders_of_the_picture_stay(engine):
    rest, turned = engine.render(state()), engine.render(state(yaw=15, pitch=10, roll=-12))
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.abs(rest[edge].astype(int) - turned[edge]).max() <= 4


def test_the_iris_goes_where_the_gaze_says(engine):
    def iris(picture: U8, landmark: int) -> float:
        x, y = (int(v) for v in place(landmark))
        window = picture[y - 5 : y + 25, x - 40 : x + 40].astype(float)
        green = np.clip(window[..., 1] - window[..., 0], 0, None)
        return float((green * np.arange(80)).sum() / green.sum())

    for landmark in (RIGHT_EYE, LEFT_EYE):
        left, middle, right = (iris(engine.render(state(gaze=(g, 0))), landmark) for g in (-12, 0, 12))
        assert left < middle - 1
        assert right > middle + 1


def test_numbers_that_are_not_numbers_count_as_rest(engine):
    broken = np.zeros(52, np.float32)
    broken[[3, 10, 24]] = np.nan
    nan = float("nan")
    wild = FaceState(Ns(0), freeze(broken), Pose((nan, nan, nan, nan), (nan, 0, 0)), Gaze(nan, nan))
    np.testing.assert_array_equal(engine.render(wild), engine.render(state()))


def test_read_only_input_is_enough(engine):
    bundle = drawn_face(SIZE)
    assert not bundle.portrait.flags.writeable
    assert not bundle.landmarks.flags.writeable
    before = bundle.portrait.copy(), bundle.landmarks.copy()
    engine.render(state(jawOpen=1))
    np.testing.assert_array_equal(bundle.portrait, before[0])
    np.testing.assert_array_equal(bundle.landmarks, before[1])


def test_an_open_mouthed_photo_keeps_its_picture_at_rest():
    closed = drawn_face(SIZE)
    landmarks = closed.landmarks.copy()
    lower = [95, 88, 178, 87, 14, 317, 402, 318, 324]
    landmarks[lower, 1] += 0.08 * eye_distance(landmarks)
    opened = replace(closed, landmarks=freeze(landmarks))
    picture = HeadEngine(opened, SIZE, WEIGHTS).render(state())
    assert psnr(picture, closed.portrait) >= 40


def test_shapes_that_exclude_each_other():
    both, _, _ = shape_weights(state(mouthSmile=1, mouthPucker=1, mouthClose=0.8, jawOpen=0.3))
    only, _, _ = shape_weights(state(mouthSmile=1))
    from avatar.core.facs import INDEX

    assert both[INDEX["mouthSmileLeft"]] == 0
    assert only[INDEX["mouthSmileLeft"]] == 1
    assert both[INDEX["mouthClose"]] == pytest.approx(0.3)


def test_a_blink_closes_only_what_a_squint_leaves_open():
    from avatar.core.facs import INDEX

    weights, _, _ = shape_weights(state(eyeBlink=1, eyeSquint=1, cheekSquint=1))
    assert 0 < weights[INDEX["eyeBlinkLeft"]] < 0.5
    assert shape_weights(state(eyeBlink=1))[0][INDEX["eyeBlinkLeft"]] == 1


def test_lids_follow_the_gaze():
    from avatar.core.facs import INDEX

    weights, yaw, pitch = shape_weights(state(gaze=(40, -9)))
    assert math.degrees(yaw) == pytest.approx(15)
    assert math.degrees(pitch) == pytest.approx(-9)
    assert weights[INDEX["eyeLookDownLeft"]] == pytest.approx(0.3)
    assert weights[INDEX["eyeLookUpLeft"]] == 0
    assert weights[INDEX["eyeLookOutLeft"]] == pytest.approx(0.5)
    assert weights[INDEX["eyeLookInRight"]] == pytest.approx(0.5)
