"""VMC, read by python-osc: addresses, names and values, and Unity's axes."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Any

import numpy as np
import pytest
from receivers import OscReceiver, any_face, face, frame, opened, until

from avatar.core import facs
from avatar.core.types import Emotion, FaceState
from avatar.errors import ConfigError, DeviceError
from avatar.streams.sinks.parameters.shaping import Shape
from avatar.streams.sinks.parameters.vmc import VmcSink

APPLY = "/VMC/Ext/Blend/Apply"
VRM0 = {
    "A", "I", "U", "E", "O", "Blink", "Blink_L", "Blink_R", "Joy", "Angry", "Sorrow", "Fun", "Neutral",
    "LookUp", "LookDown", "LookLeft", "LookRight",
}  # fmt: skip
VRM1 = {
    "aa", "ih", "ou", "ee", "oh", "blink", "blinkLeft", "blinkRight", "happy", "angry", "sad", "relaxed", "surprised",
    "neutral", "lookUp", "lookDown", "lookLeft", "lookRight",
}  # fmt: skip


async def received(state: FaceState, **options: Any) -> OscReceiver:
    """What arrives of one state."""
    async with OscReceiver().listening() as there, opened(VmcSink([f"127.0.0.1:{there.port}"], **options)) as sink:
        await sink.video(frame(state))
        await until(lambda: there.named(APPLY))
    return there


def clips(there: OscReceiver) -> dict[str, float]:
    return {str(name): value for name, value in there.named("/VMC/Ext/Blend/Val")}


def bone(there: OscReceiver, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Position and rotation matrix in Unity's axes."""
    (found,) = [arguments for arguments in there.named("/VMC/Ext/Bone/Pos") if arguments[0] == name]
    x, y, z, w = found[4:]
    assert x * x + y * y + z * z + w * w == pytest.approx(1, abs=1e-5)
    # Unity's rotation matrix of a quaternion is the usual formula, whatever the hand of its axes.
    matrix = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(found[1:4]), np.array(matrix)


async def test_the_messages_their_order_and_their_types() -> None:
    there = await received(face(12.5), clips=("vrm0", "perfect_sync"))
    addresses = [address for address, _ in there.messages]
    assert addresses[:3] == ["/VMC/Ext/OK", "/VMC/Ext/T", "/VMC/Ext/Root/Pos"]
    assert addresses[3:7] == ["/VMC/Ext/Bone/Pos"] * 4
    assert addresses[7:] == ["/VMC/Ext/Blend/Val"] * (17 + 52) + [APPLY]
    assert there.last("/VMC/Ext/OK") == (1, 3, 0)
    assert there.last("/VMC/Ext/T") == (12.5,)
    assert there.last("/VMC/Ext/Root/Pos") == ("root", 0, 0, 0, 0, 0, 0, 1)
    assert [arguments[0] for arguments in there.named("/VMC/Ext/Bone/Pos")] == ["Neck", "Head", "LeftEye", "RightEye"]
    assert there.last(APPLY) == ()


async def test_perfect_sync_is_the_52_coefficients() -> None:
    state = any_face(1)
    found = clips(await received(state, clips=("perfect_sync",)))
    assert len(found) == 52
    for name, value in zip(facs.ARKIT, state.arkit, strict=True):
        assert found[name[0].upper() + name[1:]] == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize(("kind", "names"), [("vrm0", VRM0), ("vrm1", VRM1)])
async def test_the_presets_of_both_versions(kind: Any, names: set[str]) -> None:
    found = clips(await received(any_face(2), clips=(kind,), look=True))
    assert set(found) == names
    assert all(0 <= value <= 1 for value in found.values())


async def test_vowels_share_one_mouth() -> None:
    wide = clips(await received(face(jawOpen=1)))
    assert (wide["A"], wide["O"], wide["U"]) == (1, 0, 0)
    oh = clips(await received(face(jawOpen=1, mouthFunnel=1)))
    assert (oh["A"], oh["O"]) == (0, 1)
    assert clips(await received(face(mouthPucker=1)))["U"] == 1
    assert clips(await received(face(mouthStretch=1)))["I"] == 1
    assert clips(await received(face(jawOpen=1, mouthStretch=1)))["E"] == 1
    shut = clips(await received(face(jawOpen=0.5, mouthClose=0.5)))
    assert max(shut[name] for name in "AIUEO") == 0, "closed lips over an open jaw are closed"
    for seed in range(5):
        found = clips(await received(any_face(seed)))
        assert sum(found[name] for name in "AIUEO") <= 1 + 1e-6


async def test_lids_moods_and_looks() -> None:
    found = clips(await received(face(eyeBlinkLeft=0.7, mouthSmile=0.6), clips=("vrm1",)))
    assert (found["blinkLeft"], found["blinkRight"]) == (pytest.approx(0.7), 0)
    assert found["happy"] == pytest.approx(0.6)
    felt = clips(await received(face(emotion=Emotion("sadness", 0.4)), clips=("vrm1",)))
    assert felt["sad"] == pytest.approx(0.4)
    looking = face(look=(facs.EYE_RANGE / 2, -facs.EYE_RANGE / 4))
    found = clips(await received(looking, look=True))
    assert (found["LookLeft"], found["LookRight"]) == (pytest.approx(0.5), 0)
    assert (found["LookDown"], found["LookUp"]) == (pytest.approx(0.25), 0)
    assert clips(await received(looking))["LookLeft"] == 0, "the eye bones do it"


async def test_the_head_in_unitys_axes() -> None:
    """In Unity x is the avatar's right, y up, and it looks along +z; the neck and the head together are the head."""
    for (yaw, pitch, roll), nose in (
        ((30, 0, 0), (-0.5, 0, math.sqrt(3) / 2)),  # to the subject's left: Unity's -x
        ((0, 30, 0), (0, 0.5, math.sqrt(3) / 2)),  # up
        ((0, 0, 30), (0, 0, 1)),
    ):
        there = await received(face(yaw=yaw, pitch=pitch, roll=roll))
        head = bone(there, "Neck")[1] @ bone(there, "Head")[1]
        assert head @ (0, 0, 1) == pytest.approx(nose, abs=1e-5)
        if roll:  # anticlockwise in the picture: the top of the head goes to the picture's left, the subject's right
            assert head @ (0, 1, 0) == pytest.approx((0.5, math.sqrt(3) / 2, 0), abs=1e-5)


async def test_eyes_and_root() -> None:
    there = await received(face(look=(math.radians(20), math.radians(10)), place=(10, 20, -30)))
    for name in ("LeftEye", "RightEye"):
        gaze = bone(there, name)[1] @ (0, 0, 1)
        assert math.degrees(math.atan2(-gaze[0], gaze[2])) == pytest.approx(20, abs=1e-3)
        assert math.degrees(math.asin(gaze[1])) == pytest.approx(10, abs=1e-3)
    assert there.last("/VMC/Ext/Root/Pos")[1:4] == pytest.approx((-0.01, 0.02, -0.03))


async def test_rate_and_several_receivers() -> None:
    async with OscReceiver().listening() as one, OscReceiver().listening() as two:
        to = [f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"]
        async with opened(VmcSink(to, Shape(rate=20))) as sink:
            for i in range(60):
                await sink.video(frame(face(i / 60)))
                await asyncio.sleep(0)
            await until(lambda: len(one.named(APPLY)) == len(two.named(APPLY)) == 20)
        times = [t for (t,) in one.named("/VMC/Ext/T")]
        assert np.diff(times) == pytest.approx(0.05, abs=1e-3)
        assert (sink.sent, sink.dropped) == (20, 0)


async def test_values_that_are_no_numbers_are_sent_as_zero() -> None:
    broken = FaceState(any_face(1).pts, np.full(52, np.nan, np.float32))
    found = clips(await received(broken, clips=("vrm0", "perfect_sync")))
    assert all(math.isfinite(value) for value in found.values())


async def test_nobody_there_is_one_line_and_the_receiver_may_come_later(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with OscReceiver().listening() as there:
        port = there.port
    await asyncio.sleep(0.05)  # the port is free now
    async with opened(VmcSink([f"127.0.0.1:{port}"])) as sink:
        begun = time.monotonic()
        for i in range(100):
            await sink.video(frame(face(i / 60)))
        assert time.monotonic() - begun < 1
        assert sink.dropped > 0
        said = [record.message for record in caplog.records if "nobody takes" in record.message]
        assert len(said) == 1
        assert f"127.0.0.1:{port}" in said[0]


@pytest.mark.parametrize("to", ["", "host:port", "127.0.0.1:70000", ":9000"])
async def test_an_address_that_is_none_names_the_setting(to: str) -> None:
    with pytest.raises(ConfigError, match=r"vmc\.to"):
        VmcSink([to])


async def test_a_host_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(DeviceError, match=r"no-such-host\.invalid cannot be reached"):
        await VmcSink(["no-such-host.invalid"]).start()


@pytest.mark.parametrize(("to", "largest"), [("127.0.0.1:9", 4000), ("192.0.2.1:9", 1400)])
def test_datagrams_fit_the_way_they_go(to: str, largest: int) -> None:
    datagrams = VmcSink([to], clips=("vrm0", "perfect_sync")).encode(face())
    assert all(len(data) <= largest for data in datagrams)
    assert len(datagrams) == (1 if largest == 4000 else 3)
