"""Face states over a WebSocket, for a robot, a game engine or a headset: one JSON text a state
(:mod:`avatar.streams.wire`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import ClassVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from avatar.core.types import AvatarFrame, FaceState
from avatar.streams.base import Sink, StreamFormat
from avatar.streams.sinks.parameters.shaping import Shape, Shaper
from avatar.streams.sockets import port_error
from avatar.streams.wire import state_to_line

log = logging.getLogger(__name__)

BUFFER = 8 * 1024
"""Bytes that may wait on our side of a connection: about three states. Beyond it the client counts as slow."""


class _Client:
    """The newest state that one client has not got yet."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._wake = asyncio.Event()
        self.dropped = 0

    def offer(self, text: str) -> None:
        if self._text is not None:
            self.dropped += 1
        self._text = text
        self._wake.set()

    async def take(self) -> str:
        while self._text is None:
            self._wake.clear()
            await self._wake.wait()
        text, self._text = self._text, None
        return text


class ParameterSink(Sink):
    """Sends every state to any number of clients. A slow client misses states, counted, and gets the newest next."""

    name: ClassVar[str] = "parameters"

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8082,
        shape: Shape = Shape(),  # noqa: B008 - immutable
    ) -> None:
        self._host, self._port = host, port
        self._shape, self._shaper = shape, Shaper(shape, 60)
        self._server: Server | None = None
        self._clients: set[_Client] = set()
        self._dropped = 0

    @property
    def port(self) -> int:
        """Where it listens; chosen by the system if it was 0."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else self._port

    @property
    def clients(self) -> int:
        return len(self._clients)

    @property
    def dropped(self) -> int:
        """States that slow clients missed, all clients together."""
        return self._dropped + sum(client.dropped for client in self._clients)

    @property
    def hears(self) -> bool:
        return False

    async def open(self, form: StreamFormat) -> None:
        self._shaper = Shaper(self._shape, form.fps)
        try:
            self._server = await serve(
                self._serve, self._host, self._port, write_limit=BUFFER, max_size=4096, compression=None
            )
        except OSError as error:
            raise port_error(error, self._host, self._port, "output.parameters_port") from error

    async def video(self, frame: AvatarFrame) -> None:
        await self.state(frame.state)

    async def state(self, state: FaceState) -> None:
        """Send a state, for a session that draws nothing."""
        shaped = self._shaper.step(state)
        if not self._clients or shaped is None:
            return
        text = state_to_line(shaped)
        for client in self._clients:
            client.offer(text)

    async def _serve(self, connection: ServerConnection) -> None:
        line: socket.socket | None = connection.transport.get_extra_info("socket")
        if line is not None:
            # The system would hold megabytes of old states for a client that does not read.
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        client = _Client()
        self._clients.add(client)
        sending = asyncio.create_task(self._send(connection, client))
        try:
            with contextlib.suppress(ConnectionClosed):
                async for _ in connection:  # clients have nothing to say; this notices when they go
                    pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._clients.discard(client)
            self._dropped += client.dropped

    async def _send(self, connection: ServerConnection, client: _Client) -> None:
        try:
            while True:
                await connection.send(await client.take())
        except ConnectionClosed:
            return

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close(code=1001)
            await server.wait_closed()
