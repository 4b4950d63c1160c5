"""What stands on the other side of the parameter outputs in tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import AsyncIOOSCUDPServer

from avatar.core import facs
from avatar.core.types import SECOND, AvatarFrame, Confidence, Emotion, FaceState, Gaze, Ns, Pose, freeze
from avatar.streams.base import Sink, StreamFormat

PIXELS = freeze(np.zeros((2, 2, 3), np.uint8))


def face(
    seconds: float = 0.0,
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    look: tuple[float, float] = (0.0, 0.0),
    place: tuple[float, float, float] = (0.0, 0.0, 0.0),
    emotion: Emotion = Emotion(),  # noqa: B008 - immutable
    **shapes: float,
) -> FaceState:
    """A state; ``look`` in radians."""
    arkit = facs.arkit_vector(shapes)
    facs.set_eye_look(arkit, *look)
    pose = Pose(Pose.degrees(yaw, pitch, roll).rotation, place)
    known = Confidence(0.9, 0.8, 0.7, 0.6)
    return FaceState(
        Ns(round(seconds * SECOND)), freeze(arkit), pose, Gaze(*look), emotion=emotion, voiced=True, confidence=known
    )


def any_face(seed: int, seconds: float = 0.0) -> FaceState:
    """A state with every value different."""
    random = np.random.default_rng(seed)
    shapes = dict(zip(facs.ARKIT, random.uniform(0, 1, 52), strict=True))
    yaw, pitch, roll = random.uniform(-25, 25, 3)
    x, y, z = random.uniform(-40, 40, 3)
    return face(seconds, yaw, pitch, roll, tuple(random.uniform(-0.4, 0.4, 2)), (x, y, z), **shapes)


def frame(state: FaceState) -> AvatarFrame:
    return AvatarFrame(state.pts, PIXELS, state)


@asynccontextmanager
async def opened(sink: Sink, fps: int = 60) -> AsyncIterator[Sink]:
    await sink.open(StreamFormat(fps=fps))
    try:
        yield sink
    finally:
        await sink.close()


async def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something that happens in real time."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


class OscReceiver:
    """python-osc's server: every message in the order in which it came."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[Any, ...]]] = []
        self.port = 0

    def _take(self, address: str, *arguments: Any) -> None:
        self.messages.append((address, arguments))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[OscReceiver]:
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(self._take)
        loop = asyncio.get_running_loop()
        transport, _ = await AsyncIOOSCUDPServer(("127.0.0.1", 0), dispatcher, loop).create_serve_endpoint()
        self.port = transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            transport.close()

    def named(self, address: str) -> list[tuple[Any, ...]]:
        return [arguments for found, arguments in self.messages if found == address]

    def last(self, address: str) -> tuple[Any, ...]:
        return self.named(address)[-1]


class UdpReceiver(asyncio.DatagramProtocol):
    """Every datagram as it came."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.port = 0
        self.transport: Any = None

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.datagrams.append(data)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[UdpReceiver]:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", port))
        self.port = self.transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            self.transport.close()
