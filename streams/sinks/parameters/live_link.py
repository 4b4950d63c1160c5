"""Live Link Face: the packets of Epic's iOS app, for Unreal Engine (UDP, port 11111).

Version 6, all big-endian: uint8 version; device id and subject name, each an int32 length and that many bytes; frame
time as int32 frame, float32 sub-frame, int32 numerator and int32 denominator of the frame rate; uint8 61; 61 float32:
the 52 coefficients in the order of Unreal's EARFaceBlendShape, then yaw, pitch, roll of head, left eye and right eye.
(Layout: AppleARKitLiveLinkSource in Unreal Engine; the file form in docs/outputs.md has the same values.)

Angles are radians with the signs of Unreal's ARKit plug-in for a face that is not mirrored: yaw > 0 to the subject's
left, pitch > 0 down, roll > 0 anticlockwise in the picture.
"""

from __future__ import annotations

import math
import struct
import uuid
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from avatar.core import facs
from avatar.core.types import F32, SECOND, FaceState
from avatar.streams.sinks.parameters.base import DatagramSink
from avatar.streams.sinks.parameters.shaping import Shape

PORT = 11111
VERSION = 6
SHAPES: tuple[str, ...] = (
    "EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft", "EyeLookUpLeft", "EyeSquintLeft",
    "EyeWideLeft", "EyeBlinkRight", "EyeLookDownRight", "EyeLookInRight", "EyeLookOutRight", "EyeLookUpRight",
    "EyeSquintRight", "EyeWideRight", "JawForward", "JawLeft", "JawRight", "JawOpen", "MouthClose", "MouthFunnel",
    "MouthPucker", "MouthLeft", "MouthRight", "MouthSmileLeft", "MouthSmileRight", "MouthFrownLeft", "MouthFrownRight",
    "MouthDimpleLeft", "MouthDimpleRight", "MouthStretchLeft", "MouthStretchRight", "MouthRollLower", "MouthRollUpper",
    "MouthShrugLower", "MouthShrugUpper", "MouthPressLeft", "MouthPressRight", "MouthLowerDownLeft",
    "MouthLowerDownRight", "MouthUpperUpLeft", "MouthUpperUpRight", "BrowDownLeft", "BrowDownRight", "BrowInnerUp",
    "BrowOuterUpLeft", "BrowOuterUpRight", "CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft",
    "NoseSneerRight", "TongueOut",
)  # fmt: skip
ANGLES: tuple[str, ...] = tuple(
    part + angle for part in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll")
)
NAMES = (*SHAPES, *ANGLES)
"""The 61 values of a packet, in its order."""
_PLACES = np.array([facs.INDEX[name[0].lower() + name[1:]] for name in SHAPES])
DAY = 24 * 3600


def values(state: FaceState) -> F32:
    """The 61 values (61,), order :data:`NAMES`."""
    yaw, pitch, roll = (math.radians(angle) for angle in state.head.euler)
    eye = (state.gaze.yaw, -state.gaze.pitch, 0.0)
    return np.concatenate([state.arkit[_PLACES], np.array([yaw, -pitch, roll, *eye, *eye], np.float32)])


def packet(state: FaceState, subject: str, device: str, seconds: float, fps: int) -> bytes:
    """One packet.

    :param seconds: time of day of the state.
    """
    frame, part = divmod(seconds * fps, 1.0)
    if part > 1 - 1e-4:  # a whole number that was rounded down
        frame, part = frame + 1, 0.0
    name, identity = subject.encode("utf-8"), device.encode("ascii")
    return (
        struct.pack(">Bi", VERSION, len(identity))
        + identity
        + struct.pack(">i", len(name))
        + name
        + struct.pack(">ifiiB", int(frame), part, fps, 1, len(NAMES))
        + values(state).astype(">f4").tobytes()
    )


class LiveLinkSink(DatagramSink):
    """Sends packets.

    The time of a packet is that of its state on the session's timeline, counted from midnight as the app does, so that
    takes of sound, picture and face by the same clock fit together.

    :param subject: the name in Unreal's Live Link window.
    :param began: seconds from midnight to the session's zero.
    """

    name: ClassVar[str] = "live_link"

    def __init__(
        self,
        to: Sequence[str] = (f"127.0.0.1:{PORT}",),
        shape: Shape = Shape(),  # noqa: B008 - immutable
        subject: str = "Vultus",
        began: float = 0.0,
    ) -> None:
        super().__init__(to, shape, PORT, "live_link.to")
        self._subject = subject
        self._device = str(uuid.uuid5(uuid.NAMESPACE_OID, f"vultus-{uuid.getnode()}")).upper()
        self._began = began

    def encode(self, state: FaceState) -> list[bytes]:
        seconds = (self._began + state.pts / SECOND) % DAY
        return [packet(state, self._subject, self._device, seconds, self.fps)]
