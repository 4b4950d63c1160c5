"""Face states as JSON and back."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar.core import facs
from avatar.core.geometry import to_matrix
from avatar.core.types import EMOTIONS, SECOND, Confidence, Emotion, FaceState, Gaze, Ns, Pose, freeze
from avatar.errors import UsageError
from avatar.streams.wire import KEYS, state_from_json, state_to_json, state_to_line

unit = st.floats(0, 1, width=32)


@st.composite
def states(draw: st.DrawFn) -> FaceState:
    arkit = np.array(draw(st.lists(unit, min_size=52, max_size=52)), np.float32)
    gaze = Gaze(draw(st.floats(-0.5, 0.5)), draw(st.floats(-0.5, 0.5)))
    facs.set_eye_look(arkit, gaze.yaw, gaze.pitch)
    degrees = (draw(st.floats(-80, 80)) for _ in range(3))
    pose = Pose(Pose.degrees(*degrees).rotation, tuple(draw(st.floats(-100, 100)) for _ in range(3)))
    return FaceState(
        Ns(draw(st.integers(0, 10**6 * SECOND))),
        freeze(arkit),
        pose,
        gaze,
        freeze(np.array(draw(st.lists(unit, min_size=15, max_size=15)), np.float32)),
        Emotion(draw(st.sampled_from(EMOTIONS)), draw(unit), draw(st.floats(-1, 1)), draw(st.floats(-1, 1))),
        draw(st.booleans()),
        Confidence(draw(unit), draw(unit), draw(unit), draw(unit)),
    )


@given(states())
def test_round_trip(state: FaceState) -> None:
    back = state_from_json(json.loads(state_to_line(state)))
    assert abs(back.pts - state.pts) <= 1
    assert np.abs(back.arkit - state.arkit).max() < 1e-5
    assert np.abs(back.visemes - state.visemes).max() < 1e-5
    assert np.abs(to_matrix(back.head.rotation) - to_matrix(state.head.rotation)).max() < 1e-5
    assert np.allclose(back.head.translation, state.head.translation, atol=1e-5)
    assert (back.gaze.yaw, back.gaze.pitch) == pytest.approx((state.gaze.yaw, state.gaze.pitch), abs=1e-5)
    assert back.emotion.label == state.emotion.label
    assert back.emotion.intensity == pytest.approx(state.emotion.intensity, abs=1e-5)
    assert back.voiced == state.voiced
    assert back.confidence.lips == pytest.approx(state.confidence.lips, abs=1e-5)


def test_every_name_is_written() -> None:
    data = state_to_json(FaceState(Ns(SECOND)))
    assert tuple(data) == KEYS
    assert tuple(data["arkit"]) == facs.ARKIT
    assert tuple(data["viseme"]) == facs.VISEMES
    assert set(data["au"]) == {str(n) for n in facs.AU_NAMES}
    assert data["t"] == 1.0


def test_numbers_are_finite_even_if_the_state_is_not() -> None:
    arkit = np.full(52, np.nan, np.float32)
    data = state_to_json(FaceState(Ns(0), arkit, gaze=Gaze(math.inf, 0.0)))
    assert "NaN" not in json.dumps(data)
    assert "Infinity" not in json.dumps(data)


def test_action_units_are_used_where_coefficients_are_missing() -> None:
    state = state_from_json({"t": 0, "au": {"12": 0.5, "61": 1.0, "53": 0.5, "55": 1.0}})
    assert state.arkit[facs.INDEX["mouthSmileRight"]] == 0.5
    assert math.degrees(state.gaze.yaw) == pytest.approx(30)
    assert state.head.euler == pytest.approx((0, 15, -30), abs=1e-6)
    assert state.au[53] == pytest.approx(0.5)
    assert state.au[55] == pytest.approx(1.0)


def test_coefficients_win_over_action_units() -> None:
    state = state_from_json({"t": 0, "arkit": {"jawOpen": 0.2}, "au": {"12": 1.0, "26": 1.0}})
    assert state.arkit[facs.INDEX["jawOpen"]] == pytest.approx(0.2)
    assert state.arkit[facs.INDEX["mouthSmileLeft"]] == 0


def test_gaze_and_eye_coefficients_are_one_thing() -> None:
    from_gaze = state_from_json({"t": 0, "gaze": {"yaw": 15, "pitch": -10}})
    names = ("eyeLookOutLeft", "eyeLookInRight", "eyeLookDownLeft")
    assert [from_gaze.arkit[facs.INDEX[n]] for n in names] == pytest.approx([0.5, 0.5, 1 / 3])
    from_eyes = state_from_json({"t": 0, "arkit": {n: 0.5 for n in ("eyeLookOutLeft", "eyeLookInRight")}})
    assert math.degrees(from_eyes.gaze.yaw) == pytest.approx(15)


def test_a_sideless_name_sets_both_sides_and_values_are_clipped() -> None:
    state = state_from_json({"t": 0, "arkit": {"mouthSmile": 3, "jawOpen": -1}})
    assert state.arkit[facs.INDEX["mouthSmileLeft"]] == state.arkit[facs.INDEX["mouthSmileRight"]] == 1
    assert state.arkit[facs.INDEX["jawOpen"]] == 0


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"t": 0, "arkitt": {}}, "unknown key 'arkitt'"),
        ({}, "t is missing"),
        ({"t": "now"}, "t must be a finite number"),
        ({"t": True}, "t must be a finite number"),
        ({"t": math.nan}, "t must be a finite number"),
        ({"t": 0, "arkit": {"jawOpem": 1}}, "'jawOpem' in arkit"),
        ({"t": 0, "arkit": {"jawOpen": None}}, "arkit.jawOpen must be a finite number"),
        ({"t": 0, "arkit": [1]}, "arkit must be an object"),
        ({"t": 0, "au": {"99": 1}}, "unknown action unit '99'"),
        ({"t": 0, "au": {"x": 1}}, "unknown action unit 'x'"),
        ({"t": 0, "head": {"jaw": 1}}, "unknown key 'jaw' in head"),
        ({"t": 0, "gaze": {"yaw": math.inf}}, "gaze.yaw must be a finite number"),
        ({"t": 0, "viseme": {"zz": 1}}, "unknown key 'zz' in viseme"),
        ({"t": 0, "emotion": {"label": "joy"}}, "unknown emotion 'joy'"),
        ({"t": 0, "emotion": {"label": ["joy"]}}, "unknown emotion"),
        ({"t": 0, "voiced": 1}, "voiced must be true or false"),
        ({"t": 0, "confidence": {"lip": 1}}, "unknown key 'lip' in confidence"),
        ([], "the state must be an object, not list"),
    ],
)
def test_a_wrong_key_is_named(data: object, says: str) -> None:
    with pytest.raises(UsageError) as error:
        state_from_json(data)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
