"""VRChat's parameters and eye tracking, read by python-osc."""

from __future__ import annotations

import math
from typing import Any

import pytest
from receivers import OscReceiver, any_face, face, frame, opened, until

from avatar.core import facs
from avatar.core.types import FaceState
from avatar.streams.sinks.parameters.vrchat import VrchatSink

# From the tables of VRCFaceTracking's documentation: what a shape of ARKit is there, by itself.
SINGLE = {
    "JawOpen": "jawOpen", "MouthClosed": "mouthClose", "JawZ": "jawForward", "TongueOut": "tongueOut",
    "EyeSquintLeft": "eyeSquintLeft", "EyeSquintRight": "eyeSquintRight",
    "BrowLowererLeft": "browDownLeft", "BrowPinchRight": "browDownRight", "BrowInnerUpLeft": "browInnerUp",
    "BrowOuterUpRight": "browOuterUpRight", "NoseSneerLeft": "noseSneerLeft", "CheekSquintRight": "cheekSquintRight",
    "CheekPuffSuckLeft": "cheekPuff", "LipSuckUpperLeft": "mouthRollUpper", "LipSuckLowerRight": "mouthRollLower",
    "LipFunnelUpperLeft": "mouthFunnel", "LipFunnelLowerRight": "mouthFunnel", "LipPuckerUpperRight": "mouthPucker",
    "LipPuckerLowerLeft": "mouthPucker", "MouthUpperUpLeft": "mouthUpperUpLeft",
    "MouthLowerDownRight": "mouthLowerDownRight", "MouthCornerPullLeft": "mouthSmileLeft",
    "MouthCornerSlantRight": "mouthSmileRight", "MouthFrownLeft": "mouthFrownLeft",
    "MouthStretchRight": "mouthStretchRight", "MouthDimpleLeft": "mouthDimpleLeft",
    "MouthRaiserUpper": "mouthShrugUpper", "MouthRaiserLower": "mouthShrugLower", "MouthPressRight": "mouthPressRight",
}  # fmt: skip


async def received(state: FaceState, **options: Any) -> OscReceiver:
    last = {"off": "/avatar/parameters/v2/EyeLid", "left_right": "/tracking/eye/LeftRightPitchYaw"}
    wanted = last.get(options.get("eyes", "center"), "/tracking/eye/CenterPitchYaw")
    async with OscReceiver().listening() as there, opened(VrchatSink([f"127.0.0.1:{there.port}"], **options)) as sink:
        await sink.video(frame(state))
        await until(lambda: any(address.endswith(wanted) for address, _ in there.messages))
    return there


def parameter(there: OscReceiver, name: str, prefix: str = "") -> float:
    (value,) = there.last(f"/avatar/parameters/{prefix}v2/{name}")
    return float(value)


async def test_every_shape_arrives_under_its_name() -> None:
    for name, shape in SINGLE.items():
        there = await received(face(**{shape: 0.6}))
        assert parameter(there, name) == pytest.approx(0.6, abs=1e-6), name
    whole = await received(any_face(3))
    for name, shape in SINGLE.items():
        value = any_face(3).arkit[facs.INDEX[shape]]
        assert parameter(whole, name) == pytest.approx(value, abs=1e-6), name


async def test_lids_rest_at_three_quarters() -> None:
    assert parameter(await received(face()), "EyeLidLeft") == pytest.approx(0.75)
    assert parameter(await received(face(eyeBlinkLeft=1)), "EyeLidLeft") == 0
    assert parameter(await received(face(eyeWideRight=1)), "EyeLidRight") == 1
    half = await received(face(eyeBlinkLeft=1))
    assert parameter(half, "EyeLid") == pytest.approx(0.375)


async def test_left_is_negative_because_right_is_the_users_right() -> None:
    there = await received(face(look=(math.radians(22.5), math.radians(9)), jawLeft=0.4, mouthRight=0.3))
    for eye in ("EyeLeft", "EyeRight", "Eye"):
        assert parameter(there, eye + "X") == pytest.approx(-0.5), "to the user's left"
        assert parameter(there, eye + "Y") == pytest.approx(0.2)
    assert parameter(there, "JawX") == pytest.approx(-0.4)
    assert parameter(there, "MouthX") == pytest.approx(0.3)


async def test_combined_parameters() -> None:
    there = await received(face(mouthSmile=0.2, mouthFrownLeft=0.5, mouthStretchLeft=0.7, mouthStretchRight=0.1))
    assert parameter(there, "MouthSadLeft") == pytest.approx(0.7)
    assert parameter(there, "SmileSadLeft") == pytest.approx(-0.5)
    assert parameter(there, "SmileFrownLeft") == pytest.approx(-0.3)
    assert parameter(there, "SmileFrownRight") == pytest.approx(0.2)
    brows = await received(face(browInnerUp=1, browOuterUp=1))
    assert parameter(brows, "BrowUp") == parameter(brows, "BrowExpressionLeft") == pytest.approx(1)
    assert parameter(await received(face(browDown=1)), "BrowExpression") == pytest.approx(-1)


async def test_native_eye_tracking() -> None:
    """The example of VRChat's documentation: 15 degrees up and 20 to the user's right is -15, 20."""
    state = face(look=(math.radians(-20), math.radians(15)), eyeBlinkLeft=0.5, eyeBlinkRight=0.3)
    there = await received(state)
    assert there.last("/tracking/eye/CenterPitchYaw") == pytest.approx((-15, 20), abs=1e-4)
    assert there.last("/tracking/eye/EyesClosedAmount") == pytest.approx((0.4,))
    assert not there.named("/tracking/eye/LeftRightPitchYaw"), "one eye-look address at a time"
    both = await received(state, eyes="left_right")
    assert both.last("/tracking/eye/LeftRightPitchYaw") == pytest.approx((-15, 20, -15, 20), abs=1e-4)
    assert not both.named("/tracking/eye/CenterPitchYaw")
    off = await received(state, eyes="off", lids=False)
    assert not [address for address, _ in off.messages if address.startswith("/tracking/")]


async def test_flags_and_prefix() -> None:
    there = await received(face(jawOpen=0.5), prefix="FT/")
    for flag in ("EyeTrackingActive", "ExpressionTrackingActive", "LipTrackingActive"):
        assert there.last(f"/avatar/parameters/{flag}") == (True,)
    assert parameter(there, "JawOpen", "FT/") == pytest.approx(0.5)
    assert not there.named("/avatar/parameters/v2/JawOpen")


async def test_ranges() -> None:
    there = await received(any_face(9))
    numbers = [value for address, (value, *_) in there.messages if "/v2/" in address]
    assert len(numbers) == len(set(address for address, _ in there.messages if "/v2/" in address)) == 97
    assert all(-1 <= value <= 1 for value in numbers)
