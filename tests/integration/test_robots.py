"""Robots: hri_msgs as JSON and MessagePack, Furhat's gestures, and a ROS node on a ROS that is made up."""

from __future__ import annotations

import asyncio
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import msgpack
import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from receivers import UdpReceiver, any_face, face, frame, opened, until

from avatar.core import facs
from avatar.core.types import EMOTIONS, SECOND, Emotion, FaceState
from avatar.errors import ConfigError, DeviceError
from avatar.streams.base import StreamFormat
from avatar.streams.sinks.parameters import base
from avatar.streams.sinks.parameters.furhat import FurhatSink, gesture
from avatar.streams.sinks.parameters.robot import RobotSink, RobotTcpSink
from avatar.streams.sinks.parameters.ros import RosSink
from avatar.streams.sinks.parameters.shaping import Shape

LOADS = {"json": json.loads, "msgpack": msgpack.unpackb}
EXPRESSIONS = {"neutral", "happy", "sad", "angry", "surprised", "disgusted", "scared"}
"""Of hri_msgs/Expression, those of Ekman."""


def check_units(message: dict[str, Any], state: FaceState) -> None:
    """FacialActionUnits as hri_msgs has it: 99 floats by number."""
    assert message["type"] == "hri_msgs/FacialActionUnits"
    second, rest = divmod(state.pts, SECOND)
    assert message["header"] == {"stamp": {"sec": second, "nanosec": rest}, "frame_id": "face"}
    for key in ("FAU", "intensity", "confidence"):
        assert len(message[key]) == 99
        assert all(isinstance(value, float) for value in message[key])
    for unit in range(99):
        known = unit in facs.AU_NAMES
        assert message["intensity"][unit] == pytest.approx(state.au[unit] if known else 0, abs=5e-5)
        assert (message["confidence"][unit] > 0) == known
        assert message["FAU"][unit] == float(known and state.au[unit] >= 0.05)
    assert message["confidence"][12] == pytest.approx(0.9)  # lips
    assert message["confidence"][4] == pytest.approx(0.8)  # expression
    assert message["confidence"][51] == pytest.approx(0.7)  # head
    assert message["confidence"][61] == pytest.approx(0.6)  # gaze


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_messages_over_udp(form: Any) -> None:
    state = any_face(8, 12.345)
    async with (
        UdpReceiver().listening() as there,
        opened(RobotSink([f"127.0.0.1:{there.port}"], form=form)) as sink,
    ):
        await sink.video(frame(state))
        await until(lambda: len(there.datagrams) == 2)
    units, expression = (LOADS[form](data) for data in there.datagrams)
    check_units(units, state)
    assert expression["type"] == "hri_msgs/Expression"
    assert expression["expression"] == "neutral"


async def test_every_emotion_has_its_expression() -> None:
    async with (
        UdpReceiver().listening() as there,
        opened(RobotSink([f"127.0.0.1:{there.port}"])) as sink,
    ):
        for label in EMOTIONS:
            await sink.video(frame(face(emotion=Emotion(label, 0.5, -0.25, 0.75))))
        await until(lambda: len(there.datagrams) == 2 * len(EMOTIONS))
    found = [json.loads(data) for data in there.datagrams[1::2]]
    assert {message["expression"] for message in found} == EXPRESSIONS
    assert {(message["valence"], message["arousal"]) for message in found} == {(-0.25, 0.75)}


class TcpRobot:
    """Listens; reads only while it is told to."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.messages: list[dict[str, Any]] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._talk, "127.0.0.1", port, limit=4096)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        unpacker, rest = msgpack.Unpacker(), b""
        while True:
            await self.reading.wait()
            data = await reader.read(4096)
            if not data:
                return
            if self.form == "msgpack":
                unpacker.feed(data)
                self.messages += list(unpacker)
            else:
                *lines, rest = (rest + data).split(b"\n")
                self.messages += [json.loads(line) for line in lines]


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_messages_over_tcp_and_a_robot_that_comes_late(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "RETRY_FIRST", 0.05)
    state, port, robot = any_face(9), unused_port(), TcpRobot(form)
    async with opened(RobotTcpSink([f"127.0.0.1:{port}"], form=form)) as sink:
        await sink.video(frame(state))  # lost: nobody is there
        await asyncio.sleep(0.1)
        server = await robot.serve(port)
        await until(lambda: sink.linked)
        await sink.video(frame(state))
        await until(lambda: len(robot.messages) == 2)
        check_units(robot.messages[0], state)
        robot.writers[0].close()  # the robot restarts
        await until(lambda: len(robot.writers) == 2 and sink.linked)
        await sink.video(frame(state))
        await until(lambda: len(robot.messages) == 4)
        server.close()
    assert sink.dropped == 0


async def test_a_robot_that_stalls_misses_states_and_gets_the_newest(caplog: pytest.LogCaptureFixture) -> None:
    port, robot = unused_port(), TcpRobot("json")
    server = await robot.serve(port)
    async with opened(RobotTcpSink([f"127.0.0.1:{port}"])) as sink:
        await until(lambda: sink.linked)
        robot.reading.clear()
        loop = asyncio.get_running_loop()
        longest, count = 0.0, 0
        while not sink.dropped and count < 20_000:  # what the system takes differs
            begun = loop.time()
            await sink.video(frame(face(count / 60, jawOpen=(count % 7) / 7)))
            longest = max(longest, loop.time() - begun)
            count += 1
            await asyncio.sleep(0)
        assert sink.dropped
        assert longest < 0.1
        for i in range(10):
            await sink.video(frame(face(1000 + i / 60)))
        assert len([r for r in caplog.records if "is slow" in r.message]) == 1
        robot.reading.set()
        newest = {"sec": 1000, "nanosec": round(9 / 60 * SECOND)}
        await until(lambda: robot.messages and robot.messages[-1]["header"]["stamp"] == newest)
    server.close()


def test_tcp_is_for_one_robot() -> None:
    with pytest.raises(ConfigError, match=r"robot\.to"):
        RobotTcpSink(["127.0.0.1:1", "127.0.0.1:2"])


# --- Furhat ---------------------------------------------------------------------------------------------------------


async def test_furhat_plays_gestures() -> None:
    posted: list[tuple[dict[str, Any], str]] = []

    async def play(request: web.Request) -> web.Response:
        posted.append((await request.json(), request.query["blocking"]))
        return web.json_response({"success": True})

    async def known(request: web.Request) -> web.Response:
        return web.json_response([])

    app = web.Application()
    app.router.add_get("/furhat/gestures", known)
    app.router.add_post("/furhat/gesture", play)
    runner = web.AppRunner(app)
    await runner.setup()
    port = unused_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    state = any_face(10)
    async with opened(FurhatSink(f"http://127.0.0.1:{port}", Shape(rate=10))) as sink:
        await until(lambda: sink.linked)
        await sink.video(frame(state))
        await until(lambda: posted)
    await runner.cleanup()
    (body, blocking), *more = posted
    assert not more
    assert blocking == "false"
    assert body["class"] == "furhatos.gestures.Gesture"
    (key,) = body["frames"]
    assert key["time"] == [0.1]
    assert key["persist"] is True
    parameters = key["params"]
    for name, value in (("BROW_INNER_UP", "browInnerUp"), ("EYE_LOOK_DOWN_LEFT", "eyeLookDownLeft")):
        assert parameters[name] == pytest.approx(state.arkit[facs.INDEX[value]], abs=5e-5)
    yaw, pitch, roll = state.head.euler
    assert [parameters[f"NECK_{n}"] for n in ("PAN", "TILT", "ROLL")] == pytest.approx([yaw, -pitch, roll], abs=1e-3)
    assert len(parameters) == 52 + 3


def test_a_furhat_gesture_of_several_frames() -> None:
    made = gesture([face(1 + i / 10, jawOpen=i / 10) for i in range(3)], 0.05)
    assert [key["time"] for key in made["frames"]] == [[0.05], [0.15], [0.25]]
    assert [key["params"]["JAW_OPEN"] for key in made["frames"]] == pytest.approx([0, 0.1, 0.2], abs=1e-4)


# --- ROS ------------------------------------------------------------------------------------------------------------


async def test_ros_is_asked_for_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(DeviceError, match=r"ros: rclpy cannot be loaded; install ROS 2 and its package hri_msgs"):
        await RosSink().open(StreamFormat())


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """As much of ROS 2 as the node uses: ROS itself comes with a Python of its own and not from a package index.
    Messages take no other fields than they have."""
    topics: dict[str, list[Any]] = {}

    class Header(SimpleNamespace):
        stamp: Any = None
        frame_id = ""

    class FacialActionUnits:
        __slots__ = ("confidence", "header", "intensity")  # no FAU: as since version 2

        def __init__(self) -> None:
            self.header = Header()
            self.intensity, self.confidence = [0.0] * 99, [0.0] * 99

    class Expression:
        __slots__ = ("arousal", "confidence", "expression", "header", "valence")

        def __init__(self) -> None:
            self.header = Header()
            self.expression, self.valence, self.arousal, self.confidence = "", 0.0, 0.0, 0.0

    def publisher(kind: type, topic: str, queue: int) -> Any:
        kept = topics.setdefault(topic, [])
        return SimpleNamespace(publish=kept.append)

    now = SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: "now"))
    node = SimpleNamespace(create_publisher=publisher, get_clock=lambda: now, destroy_node=lambda: None)
    rclpy, context = ModuleType("rclpy"), ModuleType("rclpy.context")
    hri_msgs, msg = ModuleType("hri_msgs"), ModuleType("hri_msgs.msg")
    vars(context).update(Context=lambda: SimpleNamespace(try_shutdown=lambda: None))
    vars(rclpy).update(init=lambda context: None, create_node=lambda name, context: node)
    vars(msg).update(Expression=Expression, FacialActionUnits=FacialActionUnits)
    for module in (rclpy, context, hri_msgs, msg):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return topics


async def test_ros_topics(ros: dict[str, list[Any]]) -> None:
    state = any_face(11)
    async with opened(RosSink(namespace="robot_face/", frame_id="head")) as sink:
        await sink.video(frame(state))
    (units,), (expression,) = ros["/robot_face/facs"], ros["/robot_face/expression"]
    assert (units.header.stamp, units.header.frame_id) == ("now", "head")
    assert len(units.intensity) == len(units.confidence) == 99
    assert units.intensity[26] == pytest.approx(state.au[26], abs=5e-5)
    assert expression.expression == "neutral"
