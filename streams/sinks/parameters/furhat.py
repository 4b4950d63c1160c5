"""Furhat: the Remote API (HTTP, port 54321) plays gestures (https://docs.furhat.io/remote-api/).

A gesture here is one key frame, reached after the time to the next one and kept: {"name", "frames": [{"time": [s],
"persist": true, "params": {...}}], "class": "furhatos.gestures.Gesture"}. Parameters are FaceCore's ARKit ones by their
names in capitals, and NECK_PAN, NECK_TILT, NECK_ROLL in degrees (pan > 0 to the robot's left, tilt > 0 down).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import aiohttp

from avatar.core import facs
from avatar.core.types import SECOND, FaceState
from avatar.errors import ConfigError
from avatar.streams.sinks.parameters.base import LinkError, LinkSink
from avatar.streams.sinks.parameters.shaping import Shape

NECK = 50.0
"""Degrees that the neck parameters go to, either way."""
NAMES: tuple[str, ...] = tuple(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() for name in facs.ARKIT)
"""Order :data:`avatar.core.facs.ARKIT`."""
WITHIN = 2.0
"""Seconds for an answer."""


def parameters(state: FaceState) -> dict[str, float]:
    """What a state is in FaceCore's parameters."""
    yaw, pitch, roll = (min(NECK, max(-NECK, angle)) for angle in state.head.euler)
    shapes = {name: round(float(v), 4) for name, v in zip(NAMES, state.arkit, strict=True)}
    return {**shapes, "NECK_PAN": round(yaw, 3), "NECK_TILT": round(-pitch, 3), "NECK_ROLL": round(roll, 3)}


def gesture(states: Sequence[FaceState], lead: float, name: str = "Vultus") -> dict[str, Any]:
    """A gesture of one frame for each state; the first is reached after ``lead`` seconds."""
    return {
        "name": name,
        "frames": [
            {
                "time": [round(lead + (state.pts - states[0].pts) / SECOND, 4)],
                "persist": True,
                "params": parameters(state),
            }
            for state in states
        ],
        "class": "furhatos.gestures.Gesture",
    }


class FurhatSink(LinkSink):
    """Posts one gesture a state; use a rate of about ten a second."""

    name: ClassVar[str] = "furhat"
    faults = (*LinkSink.faults, aiohttp.ClientError)

    def __init__(
        self,
        address: str = "http://127.0.0.1:54321",
        shape: Shape = Shape(rate=10.0),  # noqa: B008 - immutable
    ) -> None:
        if not address.startswith(("http://", "https://")):
            raise ConfigError(f"furhat.address = {address!r}: write http://host:54321")
        super().__init__(f"Furhat at {address}", shape)
        self._url = address.rstrip("/") + "/furhat/gesture"
        self._lead = 1 / shape.rate if shape.rate else 0.1

    async def converse(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN)) as session:
            async with session.get(self._url + "s"):  # is it there at all?
                self.established()
            while True:
                state = await self.take()
                if state is None:
                    continue
                body = gesture([state], self._lead)
                async with session.post(self._url, params={"blocking": "false"}, json=body) as reply:
                    if reply.status >= 400:
                        raise LinkError(f"it answers {reply.status}")
                self.sent += 1
