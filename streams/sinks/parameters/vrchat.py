"""VRChat by OSC (port 9000): avatar parameters as VRCFaceTracking sends them, and VRChat's own eye tracking.

* /avatar/parameters/[prefix]v2/NAME (:mod:`avatar.streams.sinks.parameters.unified`), and the flags that tell an avatar
  that it is tracked.
* /tracking/eye/... (https://docs.vrchat.com/docs/osc-eye-tracking): degrees, pitch > 0 down, yaw > 0 to the user's
  right; VRChat takes one eye-look address at a time and falls back to its own eyes after ten seconds of silence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from avatar.core.facs import INDEX
from avatar.core.types import FaceState
from avatar.streams.sinks.parameters import unified
from avatar.streams.sinks.parameters.base import DatagramSink
from avatar.streams.sinks.parameters.osc import FLOAT, Message, OscPackets, limit
from avatar.streams.sinks.parameters.shaping import Shape

PORT = 9000
Eyes = Literal["center", "left_right", "off"]
_ACTIVE = ("EyeTrackingActive", "ExpressionTrackingActive", "LipTrackingActive")
_LOOK: dict[Eyes, list[Message]] = {
    "center": [("/tracking/eye/CenterPitchYaw", [FLOAT] * 2)],
    "left_right": [("/tracking/eye/LeftRightPitchYaw", [FLOAT] * 4)],
    "off": [],
}


class VrchatSink(DatagramSink):
    """Sends to VRChat.

    :param prefix: before ``v2/``, as ``FT/``, where an avatar's parameters have one.
    :param eyes: native eye-look, or none.
    :param lids: native lids.
    """

    name: ClassVar[str] = "vrchat"

    def __init__(
        self,
        to: Sequence[str] = (f"127.0.0.1:{PORT}",),
        shape: Shape = Shape(),  # noqa: B008 - immutable
        prefix: str = "",
        eyes: Eyes = "center",
        lids: bool = True,
    ) -> None:
        super().__init__(to, shape, PORT, "vrchat.to")
        self._eyes, self._lids = eyes, lids
        prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        base = "/avatar/parameters/"
        self._packets = OscPackets(
            [
                *((f"{base}{name}", [True]) for name in _ACTIVE),
                *((f"{base}{prefix}v2/{name}", [FLOAT]) for name in unified.NAMES),
                *([("/tracking/eye/EyesClosedAmount", [FLOAT])] if lids else []),
                *_LOOK[eyes],
            ],
            limit(self.addresses),
        )

    def encode(self, state: FaceState) -> list[bytes]:
        native: list[float] = []
        if self._lids:
            native.append(float(state.arkit[INDEX["eyeBlinkLeft"]] + state.arkit[INDEX["eyeBlinkRight"]]) / 2)
        pitch, yaw = -math.degrees(state.gaze.pitch), -math.degrees(state.gaze.yaw)
        native += {"center": [pitch, yaw], "left_right": [pitch, yaw] * 2, "off": []}[self._eyes]
        return self._packets.encode(np.concatenate([unified.values(state), np.array(native, np.float32)]))
