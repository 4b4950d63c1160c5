"""Robots without ROS: the messages of :mod:`avatar.streams.sinks.parameters.hri` as JSON or MessagePack.

Two messages a state, ``{"type": "hri_msgs/FacialActionUnits", ...}`` and ``{"type": "hri_msgs/Expression", ...}``. Over
UDP each is a datagram; over TCP JSON is one line each, and MessagePack objects follow one another.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

from avatar.core.types import FaceState
from avatar.errors import ConfigError, DeviceError
from avatar.streams.sinks.parameters import hri
from avatar.streams.sinks.parameters.base import BUFFER, DatagramSink, LinkSink, parse_address
from avatar.streams.sinks.parameters.shaping import Shape

PORT = 9870
Format = Literal["json", "msgpack"]
Pack = Callable[[Mapping[str, Any]], bytes]


def packer(form: Format) -> Pack:
    """Turns an object into bytes. Raises DeviceError where MessagePack is not installed."""
    if form == "json":
        encoder = json.JSONEncoder(separators=(",", ":"))
        return lambda data: encoder.encode(data).encode()
    try:
        import msgpack
    except ImportError as error:
        raise DeviceError("format msgpack needs a package; pip install 'vultus[robot]', or use json") from error
    return cast(Pack, msgpack.Packer(use_single_float=False).pack)


def messages(state: FaceState, frame_id: str) -> list[dict[str, Any]]:
    """What is sent of a state."""
    return [
        {"type": "hri_msgs/FacialActionUnits", **hri.action_units(state, frame_id)},
        {"type": "hri_msgs/Expression", **hri.expression(state, frame_id)},
    ]


class RobotSink(DatagramSink):
    """Over UDP."""

    name: ClassVar[str] = "robot"

    def __init__(
        self,
        to: Sequence[str] = (f"127.0.0.1:{PORT}",),
        shape: Shape = Shape(),  # noqa: B008 - immutable
        form: Format = "json",
        frame_id: str = "face",
    ) -> None:
        super().__init__(to, shape, PORT, "robot.to")
        self._pack, self._frame_id = packer(form), frame_id

    def encode(self, state: FaceState) -> list[bytes]:
        return [self._pack(message) for message in messages(state, self._frame_id)]


class RobotTcpSink(LinkSink):
    """Over a TCP connection to a robot that listens."""

    name: ClassVar[str] = "robot"

    def __init__(
        self,
        to: Sequence[str] = (f"127.0.0.1:{PORT}",),
        shape: Shape = Shape(),  # noqa: B008 - immutable
        form: Format = "json",
        frame_id: str = "face",
    ) -> None:
        if len(to) != 1:
            raise ConfigError("robot.to: over tcp there is one receiver; name one, or set robot.transport to udp")
        super().__init__(to[0], shape)
        self._address = parse_address(to[0], PORT, "robot.to")
        self._pack, self._frame_id = packer(form), frame_id
        self._end = b"\n" if form == "json" else b""

    async def converse(self) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        gone = asyncio.create_task(reader.read(1))  # robots have nothing to say; this notices when they go
        try:
            line: socket.socket = writer.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            writer.transport.set_write_buffer_limits(BUFFER)
            self.established()
            while not gone.done():
                state = await self.take(1.0)
                if state is None:
                    continue
                for message in messages(state, self._frame_id):
                    writer.write(self._pack(message) + self._end)
                await writer.drain()
                self.sent += 1
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            writer.transport.abort()
