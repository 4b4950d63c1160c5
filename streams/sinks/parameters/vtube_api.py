"""VTube Studio's plug-in API, without I/O (https://github.com/DenchiSoft/VTubeStudio): requests, answers, and what a
face state is in its tracking parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from avatar.core import facs
from avatar.core.types import FaceState
from avatar.errors import UsageError
from avatar.streams.sinks.parameters.base import LinkError
from avatar.streams.wire import finite

PORT = 8001
DISCOVERY_PORT = 47779
PLUGIN, DEVELOPER = "Vultus", "Vultus"
"""Between 3 and 32 characters; the token belongs to this pair."""
DENIED = 50
"""The error that says that the user refused."""
CUSTOM_MOST = 100
"""Custom parameters that one plug-in may make."""
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_API = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0"}

CUSTOM: tuple[str, ...] = tuple(PLUGIN + name[0].upper() + name[1:] for name in facs.ARKIT)
"""The 52 coefficients as parameters of our own, order :data:`avatar.core.facs.ARKIT`."""


def check_name(name: str) -> str:
    """A custom parameter's name, as it is. Raises UsageError where VTube Studio would refuse it."""
    if not (name.isascii() and name.isalnum() and 4 <= len(name) <= 32):
        raise UsageError(f"{name!r}: VTube Studio takes 4 to 32 letters and digits as a parameter's name")
    return name


def request(kind: str, data: Mapping[str, Any] | None = None, number: int = 0) -> str:
    """One request as text. ``kind`` without "Request"; ``number`` comes back in the answer."""
    message: dict[str, Any] = {**_API, "requestID": f"{kind}{number}", "messageType": f"{kind}Request"}
    if data is not None:
        message["data"] = data
    return _ENCODE(message)


def answer(text: str | bytes) -> tuple[str, str, dict[str, Any]]:
    """(messageType, requestID, data) of an answer. Raises LinkError for what is none."""
    try:
        message = json.loads(text)
        return str(message["messageType"]), str(message.get("requestID", "")), dict(message.get("data") or {})
    except (ValueError, KeyError, TypeError) as error:
        raise LinkError(f"not an answer of VTube Studio's API ({error})") from None


def identity(token: str | None = None) -> dict[str, str]:
    """Who we are, with the token or without."""
    who = {"pluginName": PLUGIN, "pluginDeveloper": DEVELOPER}
    return who if token is None else {**who, "authenticationToken": token}


def creation(name: str, shape: str) -> dict[str, Any]:
    """What makes a custom parameter."""
    return {
        "parameterName": check_name(name),
        "explanation": f"ARKit coefficient {shape}",
        "min": 0,
        "max": 1,
        "defaultValue": 0,
    }


def tracking(state: FaceState) -> dict[str, float]:
    """VTube Studio's own tracking parameters in their usual ranges.

    Angles in degrees, positions in centimetres. MouthSmile and the brows rest at .5: below it is a frown.
    """
    a = dict(zip(facs.ARKIT, state.arkit.tolist(), strict=True))

    def both(name: str) -> float:
        return (a[name + "Left"] + a[name + "Right"]) / 2

    def brow(*sides: str) -> float:
        up = sum(0.5 * a["browInnerUp"] + 0.5 * a["browOuterUp" + s] - a["browDown" + s] for s in sides) / len(sides)
        return 0.5 + 0.5 * up

    yaw, pitch, roll = state.head.euler
    x, y, z = (v / 10 for v in state.head.translation)
    look_x, look_y = state.gaze.yaw / facs.EYE_RANGE, state.gaze.pitch / facs.EYE_RANGE
    return {
        "FaceAngleX": yaw,
        "FaceAngleY": pitch,
        "FaceAngleZ": -roll,
        "FacePositionX": x,
        "FacePositionY": y,
        "FacePositionZ": z,
        "MouthOpen": _unit((a["jawOpen"] - a["mouthClose"]) / 0.6),
        "MouthSmile": _unit(0.5 + 0.5 * (both("mouthSmile") - both("mouthFrown"))),
        "MouthX": a["mouthLeft"] - a["mouthRight"],
        "TongueOut": a["tongueOut"],
        "CheekPuff": a["cheekPuff"],
        "FaceAngry": _unit(both("browDown") * (0.5 + 0.5 * both("noseSneer"))),
        "Brows": _unit(brow("Left", "Right")),
        "BrowLeftY": _unit(brow("Left")),
        "BrowRightY": _unit(brow("Right")),
        "EyeOpenLeft": _unit(1 - a["eyeBlinkLeft"]),
        "EyeOpenRight": _unit(1 - a["eyeBlinkRight"]),
        "EyeLeftX": _signed(look_x),
        "EyeLeftY": _signed(look_y),
        "EyeRightX": _signed(look_x),
        "EyeRightY": _signed(look_y),
    }


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))


def _signed(value: float) -> float:
    return min(1.0, max(-1.0, value))


def injection(state: FaceState, custom: bool, number: int = 0) -> str:
    """The request that sets the parameters to a state."""
    values = {name: round(v, 4) if math.isfinite(v) else 0.0 for name, v in tracking(state).items()}
    if custom:
        own = np.round(finite(state.arkit.astype(np.float64)), 4).tolist()
        values |= zip(CUSTOM, own, strict=True)
    rows = [{"id": name, "value": value} for name, value in values.items()]
    return request("InjectParameterData", {"faceFound": True, "mode": "set", "parameterValues": rows}, number)
