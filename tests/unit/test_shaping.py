"""A sink's own rate, smoothing and mirror."""

import math

import numpy as np
import pytest

from avatar.core import facs
from avatar.core.types import SECOND, FaceState, Gaze, Ns, Pose, freeze
from avatar.streams.sinks.parameters.shaping import Shape, Shaper, mirrored


def at(seconds: float, **shapes: float) -> FaceState:
    return FaceState(Ns(round(seconds * SECOND)), freeze(facs.arkit_vector(shapes)))


@pytest.mark.parametrize(("rate", "fps"), [(30, 60), (24, 60), (25, 30), (10, 60), (50, 60), (1, 30)])
def test_a_rate_is_held_on_average_and_evenly(rate: float, fps: int) -> None:
    shaper = Shaper(Shape(rate=rate), fps)
    times = [i / fps for i in range(10 * fps) if shaper.step(at(i / fps)) is not None]
    assert len(times) == pytest.approx(10 * rate, abs=1)
    assert np.diff(times).max() <= 1 / rate + 1 / fps


def test_no_rate_means_every_state_as_it_is() -> None:
    shaper = Shaper(Shape(), 60)
    state = at(1.0, jawOpen=0.5)
    assert shaper.step(state) is state


def test_a_timeline_that_starts_again_or_stops_does_not_stop_the_sink() -> None:
    shaper = Shaper(Shape(rate=10), 60)
    assert shaper.step(at(100)) is not None
    assert shaper.step(at(0)) is not None
    assert shaper.step(at(0.02)) is None
    assert shaper.step(at(50)) is not None
    assert shaper.step(at(50.02)) is None


def test_smoothing_is_a_one_pole_filter_whatever_the_rate_of_pictures() -> None:
    for fps in (30, 60):
        shaper = Shaper(Shape(smooth_ms=100), fps)
        shaper.step(at(0, jawOpen=0))
        for i in range(1, fps // 10 + 1):
            out = shaper.step(at(i / fps, jawOpen=1))
        assert out is not None
        assert out.arkit[facs.INDEX["jawOpen"]] == pytest.approx(1 - math.exp(-1), abs=1e-3), "after one time constant"


def test_smoothing_turns_head_and_eyes_and_keeps_gaze_and_coefficients_one_thing() -> None:
    shaper = Shaper(Shape(smooth_ms=50), 60)
    left, right = facs.arkit_vector({}), facs.arkit_vector({})
    facs.set_eye_look(left, -0.4, 0)
    facs.set_eye_look(right, 0.4, 0)
    shaper.step(FaceState(Ns(0), freeze(left), Pose.degrees(yaw=-20), Gaze(-0.4, 0)))
    out = shaper.step(FaceState(Ns(SECOND // 60), freeze(right), Pose.degrees(yaw=20), Gaze(0.4, 0)))
    assert out is not None
    k = 1 - math.exp(-1 / 3)
    assert out.head.euler[0] == pytest.approx(-20 + 40 * k, abs=0.1)
    assert out.gaze.yaw == pytest.approx(-0.4 + 0.8 * k, abs=1e-4)
    assert facs.eye_look(out.arkit)[0] == pytest.approx(out.gaze.yaw, abs=1e-6)


def test_a_gap_is_not_smoothed_over() -> None:
    shaper = Shaper(Shape(smooth_ms=1000), 60)
    shaper.step(at(0, jawOpen=0))
    out = shaper.step(at(5, jawOpen=1))
    assert out is not None
    assert out.arkit[facs.INDEX["jawOpen"]] == 1


def test_a_mirror_swaps_sides_and_twice_is_nothing() -> None:
    arkit = facs.arkit_vector({"eyeBlinkLeft": 0.8, "jawRight": 0.3, "mouthLeft": 0.2, "jawOpen": 0.5})
    facs.set_eye_look(arkit, 0.2, 0.1)
    state = FaceState(Ns(0), freeze(arkit), Pose(Pose.degrees(10, 5, -7).rotation, (1.0, 2.0, 3.0)), Gaze(0.2, 0.1))
    seen = mirrored(state)
    for name, other in (("eyeBlinkRight", "eyeBlinkLeft"), ("jawLeft", "jawRight"), ("mouthRight", "mouthLeft")):
        assert seen.arkit[facs.INDEX[name]] == arkit[facs.INDEX[other]]
    assert seen.head.euler == pytest.approx((-10, 5, 7))
    assert seen.head.translation == (-1, 2, 3)
    assert facs.eye_look(seen.arkit) == pytest.approx((-0.2, 0.1))
    back = mirrored(seen)
    assert np.array_equal(back.arkit, arkit)
    assert back.head.rotation == state.head.rotation
