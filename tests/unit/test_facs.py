"""Names, numbers and rotations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar.core import facs
from avatar.core.geometry import from_euler, matrix_to_euler, multiply, scale, slerp, to_euler, to_matrix
from avatar.core.types import FaceState, Gaze, Pose


def test_there_are_52_shapes_and_15_visemes():
    assert len(set(facs.ARKIT)) == 52
    assert len(set(facs.VISEMES)) == 15
    assert set(facs.MOUTH_INDICES) & set(facs.UPPER_INDICES) == set()


@pytest.mark.parametrize("number", sorted(facs.AU_TO_ARKIT))
@pytest.mark.parametrize("intensity", [0.25, 0.6, 1.0])
def test_every_unit_survives_the_round_trip(number, intensity):
    back = facs.to_action_units(facs.from_action_units({number: intensity}))
    if number == 27:  # shares jawOpen with 26, of which it is the upper part
        assert back[26] == pytest.approx(min(1, intensity / 0.6), abs=1e-6)
        assert back[27] == pytest.approx(max(0, (intensity - 0.6) / 0.4), abs=1e-6)
    else:
        assert back[number] == pytest.approx(intensity, abs=1e-5)


def test_one_unit_does_not_speak_for_another():
    allowed = {10: {25}, 16: {25}, 23: {24, 28}, 25: {10, 16, 26}, 26: {25, 27}, 27: {25, 26}, 43: {45}, 45: {43}}
    for number in facs.AU_TO_ARKIT:
        back = facs.to_action_units(facs.from_action_units({number: 1.0}))
        others = {n for n, v in back.items() if v > 0.01} - {number}
        assert others <= allowed.get(number, set()), number


def test_unknown_names_are_errors():
    with pytest.raises(KeyError, match="smirk"):
        facs.arkit_vector({"smirk": 1})
    with pytest.raises(KeyError, match="99"):
        facs.from_action_units({99: 1})
    assert facs.arkit_vector({"eyeBlink": 2.0}).sum() == 2


def test_gaze_and_head_are_units_too():
    state = FaceState(pts=0, gaze=Gaze(math.radians(15), math.radians(-30)), head=Pose.degrees(yaw=-30, pitch=15))
    assert state.au[61] == pytest.approx(0.5)
    assert state.au[64] == pytest.approx(1.0)
    assert state.au[52] == pytest.approx(1.0)
    assert state.au[53] == pytest.approx(0.5, abs=0.01)
    out = np.zeros(52, np.float32)
    facs.set_eye_look(out, 0.2, -0.1)
    assert facs.eye_look(out) == pytest.approx((0.2, -0.1), abs=1e-6)


angle = st.floats(-80, 80)


@given(angle, angle, angle)
def test_angles_survive_the_quaternion(yaw, pitch, roll):
    q = from_euler(yaw, pitch, roll)
    assert to_euler(q) == pytest.approx((yaw, pitch, roll), abs=1e-6)
    assert matrix_to_euler(3 * to_matrix(q)) == pytest.approx((yaw, pitch, roll), abs=1e-6)


def test_signs_of_the_angles():
    nose = np.array([0, 0, 1.0])
    assert (to_matrix(from_euler(10, 0, 0)) @ nose)[0] > 0
    assert (to_matrix(from_euler(0, 10, 0)) @ nose)[1] > 0
    assert (to_matrix(from_euler(0, 0, 10)) @ np.array([1.0, 0, 0]))[1] > 0


@given(angle, angle)
def test_slerp_and_scale(yaw, pitch):
    q = from_euler(yaw, pitch, 0)
    assert slerp(q, q, 0.3) == pytest.approx(q, abs=1e-9)
    half = scale(q, 0.5)
    assert multiply(half, half) == pytest.approx(q, abs=1e-6)
    assert to_euler(scale(from_euler(10, 0, 0), 1.5))[0] == pytest.approx(15)
