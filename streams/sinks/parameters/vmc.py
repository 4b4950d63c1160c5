"""Virtual Motion Capture protocol: VRM avatars in VSeeFace, VNyan, Warudo, Unity and others.

OSC over UDP, port 39539, from a "Performer" to a "Marionette" (https://protocol.vmc.info/marionette-spec). For each
state: /VMC/Ext/OK, /VMC/Ext/T (seconds), /VMC/Ext/Root/Pos, /VMC/Ext/Bone/Pos of Neck, Head, LeftEye and RightEye
(local, Unity's axes, :mod:`avatar.streams.sinks.parameters.unity`), then one /VMC/Ext/Blend/Val a clip and
/VMC/Ext/Blend/Apply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from avatar.core.geometry import IDENTITY, from_euler
from avatar.core.types import SECOND, FaceState
from avatar.streams.sinks.parameters import unity, vrm
from avatar.streams.sinks.parameters.base import DatagramSink
from avatar.streams.sinks.parameters.osc import FLOAT, Argument, Message, OscPackets, limit
from avatar.streams.sinks.parameters.shaping import Shape

PORT = 39539
BONES = ("Neck", "Head", "LeftEye", "RightEye")
_POSE: tuple[Argument, ...] = (FLOAT,) * 7
"""Position x y z in metres, quaternion x y z w."""
_LOADED, _CALIBRATED, _NORMAL = 1, 3, 0
_HERE = (0.0, 0.0, 0.0)


def messages(clips: Sequence[vrm.Clips]) -> list[Message]:
    """What one state is made of."""
    blends: list[Message] = [("/VMC/Ext/Blend/Val", [name, FLOAT]) for kind in clips for name in vrm.names(kind)]
    bones: list[Message] = [("/VMC/Ext/Bone/Pos", [bone, *_POSE]) for bone in BONES]
    return [
        ("/VMC/Ext/OK", [_LOADED, _CALIBRATED, _NORMAL]),
        ("/VMC/Ext/T", [FLOAT]),
        ("/VMC/Ext/Root/Pos", ["root", *_POSE]),
        *bones,
        *blends,
        ("/VMC/Ext/Blend/Apply", []),
    ]


class VmcSink(DatagramSink):
    """Sends to any number of Marionettes.

    :param clips: which expressions; two kinds add up in an avatar that has both.
    :param look: gaze by the look presets instead of the eye bones.
    """

    name: ClassVar[str] = "vmc"

    def __init__(
        self,
        to: Sequence[str] = (f"127.0.0.1:{PORT}",),
        shape: Shape = Shape(),  # noqa: B008 - immutable
        clips: Sequence[vrm.Clips] = ("vrm0",),
        look: bool = False,
    ) -> None:
        super().__init__(to, shape, PORT, "vmc.to")
        self._clips, self._look = tuple(clips), look
        self._packets = OscPackets(messages(self._clips), limit(self.addresses))

    def encode(self, state: FaceState) -> list[bytes]:
        numbers = [state.pts / SECOND, *unity.position(state.head.translation), *unity.rotation(IDENTITY)]
        neck, head = unity.neck_and_head(state.head.rotation)
        gaze = state.gaze
        eye = IDENTITY if self._look else from_euler(math.degrees(gaze.yaw), math.degrees(gaze.pitch), 0.0)
        for bone in (neck, head, eye, eye):
            numbers += (*_HERE, *unity.rotation(bone))
        for kind in self._clips:
            numbers += vrm.weights(kind, state, self._look)
        return self._packets.encode(np.array(numbers, np.float32))
