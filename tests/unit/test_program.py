"""What programs tell: messages, priorities, holding, fading, gestures."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avatar.core import facs
from avatar.core.program import KEYS, Command, CommandError, parse
from avatar.core.types import ExpressionCue, LipCue, Ns, Pose, PoseCue, freeze, seconds
from avatar.streams.sources import osc
from avatar.streams.sources.program import may_connect
from avatar.sync.program import GESTURES
from avatar.sync.synchronizer import Synchronizer

FPS = 60


def run(face: Synchronizer, begin: float, end: float) -> list:
    return [face.sample(seconds(i / FPS)) for i in range(round(begin * FPS), round(end * FPS))]


def told(t: float, client: str = "a", **data) -> Command:
    return parse(data, seconds(t), client)


# --- messages ----------------------------------------------------------------------------------------------------


def test_a_command_names_parts_by_either_alphabet():
    command = told(1.0, au={"12": 0.8, 45: 1.0}, arkit={"jawOpen": 0.3, "eyeBlink": 0.2}, head={"yaw": 10})
    assert command.arkit[facs.INDEX["mouthSmileLeft"]] == pytest.approx(0.8)
    assert command.arkit[facs.INDEX["eyeBlinkRight"]] == pytest.approx(0.2), "the coefficient wins over the unit"
    assert command.arkit[facs.INDEX["jawOpen"]] == pytest.approx(0.3)
    assert command.head == (10.0, 0.0, 0.0)
    assert command.gaze is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "JSON object"), ({"jaw": 1}, "unknown key"), ({"arkit": {"ear": 1}}, "ear"), ({"au": {"99": 1}}, "99"),
        ({"arkit": {"jawOpen": "x"}}, "number"), ({"head": {"tilt": 1}}, "tilt"), ({"head": {"yaw": 500}}, "head.yaw"),
        ({"priority": 101}, "priority"), ({"hold": -1}, "hold"), ({"gesture": 5}, "gesture"),
        ({"release": 1}, "release"), ({"client": ""}, "client"), ({"au": {"12": True}}, "number"),
        ({"arkit": {"jawOpen": float("nan")}}, "number"), ({"head": {"yaw": 10**400}}, "head.yaw"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_clear_line(data, words):
    with pytest.raises(CommandError, match=words) as error:
        parse(data, Ns(0), "a")
    assert "\n" not in str(error.value)


anything = st.none() | st.booleans() | st.floats() | st.text(max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # time is the benchmarks' business
@given(st.dictionaries(st.sampled_from(KEYS), anything | st.dictionaries(st.text(max_size=8), anything, max_size=3)))
def test_nothing_else_than_that_line_comes_of_any_message(data):
    with contextlib.suppress(CommandError):
        parse(data, Ns(0), "a")


# --- whose face it is --------------------------------------------------------------------------------------------


def test_a_program_has_what_it_names_and_leaves_the_rest():
    face = Synchronizer()
    voice = facs.arkit_vector({"jawOpen": 0.6})
    for i in range(60):
        t = seconds(i / FPS)
        face.push(LipCue(t, np.eye(15, dtype=np.float32)[10], voice, voiced=True), "voice")
        face.push(PoseCue(t, Pose.degrees(3, 0, 0)), "voice")
        if i % 6 == 0:
            face.program.put(told(i / FPS, au={"1": 0.9}, head={"roll": 8}))
        state = face.sample(t)
    assert state.au[1] == pytest.approx(0.9, abs=0.02)
    assert state.arkit[facs.INDEX["jawOpen"]] == pytest.approx(0.6, abs=0.02)
    assert state.head.euler == pytest.approx((0, 0, 8), abs=0.1)


def test_the_higher_priority_wins_and_among_equals_the_newer():
    face = Synchronizer()
    face.program.put(told(0.0, "low", arkit={"jawOpen": 0.2}, priority=10, hold=9))
    face.program.put(told(0.0, "high", arkit={"jawOpen": 0.8}, priority=90, hold=9))
    face.program.put(told(0.1, "later", arkit={"jawOpen": 0.5}, priority=90, hold=9))
    jaw = facs.INDEX["jawOpen"]
    states = run(face, 0, 1)
    assert states[5].arkit[jaw] == pytest.approx(0.8, abs=0.1)
    assert states[-1].arkit[jaw] == pytest.approx(0.5, abs=0.01)
    face.program.put(told(1.0, "later", release=True))
    face.program.put(told(1.0, "high", release=True))
    assert run(face, 1, 2)[-1].arkit[jaw] == pytest.approx(0.2, abs=0.01)


def test_the_last_value_is_held_and_then_given_back_smoothly():
    face = Synchronizer()
    smile = freeze(facs.arkit_vector({"mouthSmile": 0.3}))
    face.program.put(told(0.5, arkit={"mouthSmile": 0.9}, hold=1.0, fade=0.5))
    values = []
    for i in range(4 * FPS):
        face.push(ExpressionCue(seconds(i / FPS), smile), "camera")
        values.append(float(face.sample(seconds(i / FPS)).arkit[facs.INDEX["mouthSmileLeft"]]))
    assert values[round(0.4 * FPS)] == pytest.approx(0.3, abs=0.01)
    assert values[round(1.4 * FPS)] == pytest.approx(0.9, abs=0.01), "held"
    assert 0.4 < values[round(1.75 * FPS)] < 0.8, "on the way back"
    assert values[-1] == pytest.approx(0.3, abs=0.01), "given back"
    assert np.abs(np.diff(values)).max() < 0.3


def test_steps_of_a_slow_program_are_smoothed():
    face = Synchronizer()
    angles = []
    for i in range(2 * FPS):
        if i % 6 == 0:  # ten commands a second
            face.program.put(told(i / FPS, head={"yaw": 20 * np.sin(i / FPS * 3)}))
        angles.append(face.sample(seconds(i / FPS)).head.euler[0])
    assert np.abs(np.diff(angles)).max() < 3
    assert max(angles) > 15


# --- gestures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GESTURES)
def test_a_gesture_plays_and_ends_where_it_began(name):
    face = Synchronizer()
    face.program.put(told(0.2, gesture=name))
    states = run(face, 0, 4)
    heads = np.array([s.head.euler for s in states])
    shapes = np.array([s.arkit for s in states])
    assert max(np.abs(heads).max() / 10, shapes.max()) > 0.4
    assert np.abs(heads[-1]).max() < 0.1
    assert shapes[-1].max() < 0.01
    assert np.abs(np.diff(heads, axis=0)).max() * FPS < 130


def test_a_nod_is_added_to_where_the_head_is():
    face = Synchronizer()
    face.program.put(told(0.0, head={"yaw": 10}, hold=5))
    face.program.put(told(0.5, gesture="nod"))
    heads = np.array([s.head.euler for s in run(face, 0, 1.5)])
    assert heads[:, 1].min() < -6
    assert heads[-1] == pytest.approx((10, 0, 0), abs=0.2)


def test_a_body_gesture_goes_out_with_the_state():
    face = Synchronizer()
    face.program.put(told(1.0, gesture="wave_right"))
    found = [(s.pts, s.gesture) for s in run(face, 0, 3)]
    shown = [g for _, g in found if g is not None]
    assert {g.name for g in shown} == {"wave_right"}
    assert shown[0].pts == seconds(1.0)
    assert found[-1][1] is None


# --- OSC and origins ---------------------------------------------------------------------------------------------


def message(address: str, tags: str = "", *values: bytes) -> bytes:
    def text(value: str) -> bytes:
        raw = value.encode() + b"\0"
        return raw + b"\0" * (-len(raw) % 4)

    return text(address) + text("," + tags) + b"".join(values)


def test_messages_and_bundles_are_read():
    one = message("/avatar/au/12", "f", struct.pack(">f", 0.5))
    two = message("/x", "iTFs", struct.pack(">i", -3), b"nod\0")
    bundle = b"#bundle\0" + bytes(8) + b"".join(struct.pack(">i", len(m)) + m for m in (one, two))
    assert osc.read(bundle) == [
        osc.Message("/avatar/au/12", (0.5,)), osc.Message("/x", (-3, True, False, "nod")),
    ]  # fmt: skip


@given(st.binary(max_size=80))
def test_any_datagram_is_read_or_refused(data):
    for datagram in (data, b"#bundle\0" + bytes(8) + data, b"/a\0\0," + data):
        with contextlib.suppress(osc.OscError):
            osc.read(datagram)


def test_only_this_computer_may_connect():
    assert may_connect(None)
    assert may_connect("null")
    assert may_connect("http://localhost:3000")
    assert may_connect("http://127.0.0.1:8080")
    assert not may_connect("https://example.org")
    assert not may_connect("http://localhost.example.org")
