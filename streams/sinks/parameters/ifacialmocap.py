"""iFacialMocap's text over UDP: this program stands for the phone (https://www.ifacialmocap.com/for-developer/).

One datagram a state: ``name-percent|`` for the 52 coefficients (0 to 100, sides as _L and _R), then
``=head#x,y,z,px,py,pz|rightEye#x,y,z|leftEye#x,y,z|`` with angles in degrees about ARKit's axes (right-handed, x to
the subject's left, y up, z out of the face, so x > 0 looks down) and the head's place in metres.

A receiver asks by sending :data:`HELLO` to port 49983 and is answered at its own port 49983 until it says good-bye or
is displaced. A receiver on this machine wants that port for itself: name it in ``to``, then nothing is listened to.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Sequence
from typing import Any, ClassVar

from avatar.core import facs
from avatar.core.types import FaceState
from avatar.streams.sinks.parameters.base import Address, DatagramSink
from avatar.streams.sinks.parameters.shaping import Shape
from avatar.streams.sockets import port_error

log = logging.getLogger(__name__)

PORT = 49983
HELLO = b"iFacialMocap_sahuasouryya9218sauhuiayeta91555dy3719"
GOODBYE = b"StopStreaming_FACEMOTION3D"
NAMES: tuple[str, ...] = tuple(
    name.removesuffix("Left") + "_L"
    if name.endswith("Left") and name not in ("jawLeft", "mouthLeft")
    else name.removesuffix("Right") + "_R"
    if name.endswith("Right") and name not in ("jawRight", "mouthRight")
    else name
    for name in facs.ARKIT
)
"""Order :data:`avatar.core.facs.ARKIT`."""
_MOST = 8
"""Receivers at a time; a ninth takes the place of the first."""


def text(state: FaceState) -> bytes:
    """The datagram of a state."""
    percent = (100 * state.arkit).round().clip(0, 100).astype(int).tolist()
    shapes = "".join(f"{name}-{value}|" for name, value in zip(NAMES, percent, strict=True))
    yaw, pitch, roll = state.head.euler
    x, y, z = (v / 1000 for v in state.head.translation)
    eye = f"{-math.degrees(state.gaze.pitch):.4f},{math.degrees(state.gaze.yaw):.4f},0.0000"
    head = f"=head#{-pitch:.4f},{yaw:.4f},{roll:.4f},{x:.5f},{y:.5f},{z:.5f}|"
    return f"{shapes}{head}rightEye#{eye}|leftEye#{eye}|".encode("ascii")


class _Door(asyncio.DatagramProtocol):
    """Hears who asks."""

    def __init__(self, sink: IFacialMocapSink) -> None:
        self._sink = sink

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._sink.asked(data.strip(), address)

    def error_received(self, error: Exception) -> None:
        log.debug("ifacialmocap: %s", error)


class IFacialMocapSink(DatagramSink):
    """Answers whoever asks, or sends to ``to``.

    :param port: where it listens, and where answers go to.
    """

    name: ClassVar[str] = "ifacialmocap"

    def __init__(
        self,
        to: Sequence[str] = (),
        shape: Shape = Shape(),  # noqa: B008 - immutable
        port: int = PORT,
        answer_port: int = 0,
    ) -> None:
        super().__init__(to, shape, PORT, "ifacialmocap.to")
        self._port, self._answer_port = port, answer_port or port
        self._door: asyncio.DatagramTransport | None = None
        self._line: socket.socket | None = None
        self._asked: dict[str, Address] = {}

    @property
    def listeners(self) -> int:
        """Receivers that have asked."""
        return len(self._asked)

    async def start(self) -> None:
        if self.addresses:
            await super().start()
            return
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        line.setblocking(False)
        try:
            line.bind(("0.0.0.0", self._port))
        except OSError as error:
            line.close()
            raise port_error(error, "0.0.0.0", self._port, "ifacialmocap.port") from error
        loop = asyncio.get_running_loop()
        self._line = line
        self._door, _ = await loop.create_datagram_endpoint(lambda: _Door(self), sock=line)
        log.info("ifacialmocap: waiting for a receiver to ask at port %d", self._port)

    def asked(self, data: bytes, address: Address) -> None:
        """A datagram has come from ``address``."""
        host = address[0]
        if data.startswith(GOODBYE):
            self._asked.pop(host, None)
        elif data.startswith(HELLO) and host not in self._asked:
            if len(self._asked) >= _MOST:
                self._asked.pop(next(iter(self._asked)))
            self._asked[host] = host, self._answer_port
            log.info("ifacialmocap: %s asks for the face", host)

    def encode(self, state: FaceState) -> list[bytes]:
        return [text(state)]

    def send(self, state: FaceState) -> None:
        if self.addresses:
            super().send(state)
        elif self._line is not None and self._asked:
            data = text(state)
            self.sent += 1
            for address in self._asked.values():
                self._answer(data, address)

    def _answer(self, data: bytes, address: Address) -> None:
        assert self._line is not None
        try:
            self._line.sendto(data, address)
        except OSError:  # the buffer is full, or the network has gone
            self.dropped += 1

    async def close(self) -> None:
        await super().close()
        door, self._door, self._line = self._door, None, None
        if door is not None:
            door.close()
        self._asked.clear()
