"""iFacialMocap and Live Link Face, read by second implementations made from their published descriptions."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from receivers import UdpReceiver, any_face, face, frame, opened, until

from avatar.core import facs
from avatar.errors import PortInUseError
from avatar.streams.base import StreamFormat
from avatar.streams.sinks.parameters import live_link
from avatar.streams.sinks.parameters.ifacialmocap import GOODBYE, HELLO, IFacialMocapSink
from avatar.streams.sinks.parameters.live_link import LiveLinkSink
from avatar.streams.sinks.parameters.shaping import Shape


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


# --- iFacialMocap ---------------------------------------------------------------------------------------------------

_SAMPLE_NAMES = """
mouthSmile_R eyeLookOut_L mouthUpperUp_L eyeWide_R mouthClose mouthPucker mouthRollLower eyeBlink_R eyeLookDown_L
cheekSquint_R eyeBlink_L tongueOut jawRight eyeLookIn_R cheekSquint_L mouthDimple_L mouthPress_L eyeSquint_L
mouthRight mouthShrugLower eyeLookUp_R eyeLookOut_R mouthPress_R cheekPuff jawForward mouthLowerDown_L mouthFrown_L
mouthShrugUpper browOuterUp_L browInnerUp mouthDimple_R browDown_R mouthUpperUp_R mouthRollUpper mouthFunnel
mouthStretch_R mouthFrown_R eyeLookDown_R jawOpen jawLeft browDown_L mouthSmile_L noseSneer_R mouthLowerDown_R
noseSneer_L eyeWide_L mouthStretch_L browOuterUp_R eyeLookIn_L eyeSquint_R eyeLookUp_L mouthLeft
"""
SAMPLE_NAMES = tuple(_SAMPLE_NAMES.split())
"""The names in the example of the developer page."""


def read_mocap(data: bytes) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Percentages by name, and the numbers of head and eyes."""
    shapes, rotations = data.decode("ascii").split("=", 1)
    percent = {name: int(value) for name, value in (item.rsplit("-", 1) for item in shapes.split("|") if item)}
    parts = dict(item.split("#") for item in rotations.split("|") if item)
    return percent, {name: [float(v) for v in values.split(",")] for name, values in parts.items()}


def long_name(short: str) -> str:
    return {"_L": short[:-2] + "Left", "_R": short[:-2] + "Right"}.get(short[-2:], short)


async def test_mocap_text_has_the_names_and_values() -> None:
    state = any_face(6)
    async with (
        UdpReceiver().listening() as there,
        opened(IFacialMocapSink([f"127.0.0.1:{there.port}"])) as sink,
    ):
        await sink.video(frame(state))
        await until(lambda: there.datagrams)
    percent, parts = read_mocap(there.datagrams[0])
    assert sorted(percent) == sorted(SAMPLE_NAMES)
    for name, value in percent.items():
        assert value / 100 == pytest.approx(state.arkit[facs.INDEX[long_name(name)]], abs=0.00501), name
    yaw, pitch, roll = state.head.euler
    assert parts["head"][:3] == pytest.approx([-pitch, yaw, roll], abs=1e-4)
    assert parts["head"][3:] == pytest.approx([v / 1000 for v in state.head.translation], abs=1e-5)
    look = [-math.degrees(state.gaze.pitch), math.degrees(state.gaze.yaw), 0]
    assert parts["rightEye"] == parts["leftEye"] == pytest.approx(look, abs=1e-4)


async def test_mocap_is_sent_to_whoever_asks_until_good_bye() -> None:
    door, answers = free_port(), free_port()
    async with (
        opened(IFacialMocapSink(port=door, answer_port=answers)) as sink,
        UdpReceiver().listening(answers) as there,
    ):
        await sink.video(frame(face()))
        there.transport.sendto(b"who are you", ("127.0.0.1", door))
        await asyncio.sleep(0.1)
        await sink.video(frame(face()))
        await asyncio.sleep(0.1)
        assert there.datagrams == [], "nobody has asked"
        there.transport.sendto(HELLO, ("127.0.0.1", door))
        await until(lambda: sink.listeners)
        for i in range(60):
            await sink.video(frame(face(i / 60, jawOpen=i / 60)))
        await until(lambda: len(there.datagrams) == 60)
        jaws = [read_mocap(data)[0]["jawOpen"] for data in there.datagrams]
        assert jaws == [round(100 * i / 60) for i in range(60)]
        there.transport.sendto(GOODBYE, ("127.0.0.1", door))
        await until(lambda: not sink.listeners)
        await sink.video(frame(face()))
        await asyncio.sleep(0.05)
        assert len(there.datagrams) == 60


async def test_a_port_that_is_taken_names_the_setting() -> None:
    port = free_port()
    async with opened(IFacialMocapSink(port=port)):
        with pytest.raises(PortInUseError, match=r"ifacialmocap\.port"):
            await IFacialMocapSink(port=port).open(StreamFormat())


# --- Live Link Face -------------------------------------------------------------------------------------------------

_UNREAL = """
EyeBlinkLeft EyeLookDownLeft EyeLookInLeft EyeLookOutLeft EyeLookUpLeft EyeSquintLeft EyeWideLeft EyeBlinkRight
EyeLookDownRight EyeLookInRight EyeLookOutRight EyeLookUpRight EyeSquintRight EyeWideRight JawForward JawLeft JawRight
JawOpen MouthClose MouthFunnel MouthPucker MouthLeft MouthRight MouthSmileLeft MouthSmileRight MouthFrownLeft
MouthFrownRight MouthDimpleLeft MouthDimpleRight MouthStretchLeft MouthStretchRight MouthRollLower MouthRollUpper
MouthShrugLower MouthShrugUpper MouthPressLeft MouthPressRight MouthLowerDownLeft MouthLowerDownRight MouthUpperUpLeft
MouthUpperUpRight BrowDownLeft BrowDownRight BrowInnerUp BrowOuterUpLeft BrowOuterUpRight CheekPuff CheekSquintLeft
CheekSquintRight NoseSneerLeft NoseSneerRight TongueOut HeadYaw HeadPitch HeadRoll LeftEyeYaw LeftEyePitch LeftEyeRoll
RightEyeYaw RightEyePitch RightEyeRoll
"""
UNREAL = tuple(_UNREAL.split())
"""Unreal's EARFaceBlendShape."""


@dataclass
class Packet:
    device: str
    subject: str
    frame: int
    sub_frame: float
    fps: tuple[int, int]
    values: dict[str, float]


def read_packet(data: bytes) -> Packet:
    """The layout as Unreal's archive reads it: big-endian, strings with their length in front."""
    at = 0

    def take(form: str) -> tuple:
        nonlocal at
        found = struct.unpack_from(">" + form, data, at)
        at += struct.calcsize(">" + form)
        return found

    def text() -> str:
        nonlocal at
        (length,) = take("i")
        at += length
        return data[at - length : at].decode("utf-8")

    (version,) = take("B")
    assert version == 6
    device, subject = text(), text()
    number, sub, numerator, denominator = take("ifii")
    (count,) = take("B")
    assert count == 61
    values = take("61f")
    assert at == len(data), "nothing is left over"
    return Packet(device, subject, number, sub, (numerator, denominator), dict(zip(UNREAL, values, strict=True)))


async def test_live_link_packets() -> None:
    state = any_face(7, seconds=1.0)
    async with (
        UdpReceiver().listening() as there,
        opened(LiveLinkSink([f"127.0.0.1:{there.port}"], subject="Müller")) as sink,
    ):
        await sink.video(frame(state))
        await until(lambda: there.datagrams)
    packet = read_packet(there.datagrams[0])
    assert packet.subject == "Müller"
    assert len(packet.device) == 36
    assert packet.fps == (60, 1)
    for name, value in zip(facs.ARKIT, state.arkit, strict=True):
        assert packet.values[name[0].upper() + name[1:]] == value, name
    yaw, pitch, roll = (math.radians(angle) for angle in state.head.euler)
    head = [packet.values["Head" + angle] for angle in ("Yaw", "Pitch", "Roll")]
    assert head == pytest.approx([yaw, -pitch, roll], abs=1e-6)
    for eye in ("LeftEye", "RightEye"):
        found = [packet.values[eye + angle] for angle in ("Yaw", "Pitch", "Roll")]
        assert found == pytest.approx([state.gaze.yaw, -state.gaze.pitch, 0], abs=1e-6)


async def test_live_link_time_is_the_time_of_day_and_goes_on_with_the_session() -> None:
    async with (
        UdpReceiver().listening() as there,
        opened(LiveLinkSink([f"127.0.0.1:{there.port}"], began=86_000.25), fps=30) as sink,
    ):
        for i in range(90):
            await sink.video(frame(face(1000 + i / 60)))  # two pictures for each frame of the timecode
        await until(lambda: len(there.datagrams) == 90)
    packets = [read_packet(data) for data in there.datagrams]
    seconds = np.array([(p.frame + p.sub_frame) / 30 for p in packets])
    assert np.diff(seconds) == pytest.approx(1 / 60, abs=1e-5)
    assert all(0 <= p.sub_frame < 1 for p in packets)
    assert seconds[0] == pytest.approx(86_000.25 + 1000 - 86_400, abs=1e-5), "midnight has passed"


async def test_live_link_rate() -> None:
    async with (
        UdpReceiver().listening() as there,
        opened(LiveLinkSink([f"127.0.0.1:{there.port}"], Shape(rate=30))) as sink,
    ):
        for i in range(120):
            await sink.video(frame(face(i / 60)))
        await until(lambda: len(there.datagrams) == 60)


def test_a_frame_number_is_whole_where_the_time_is() -> None:
    for i in range(0, 86_400 * 60, 977):
        packet = read_packet(live_link.packet(face(), "s", "d" * 36, i / 60, 60))
        assert (packet.frame, packet.sub_frame) == (i, pytest.approx(0, abs=1e-3))
