"""What every page is told without asking: meters four times a second, and the state when it has changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from avatar.streams.access import same_origin

log = logging.getLogger(__name__)


class Meters(Protocol):
    """What the events need from the engine (:class:`avatar.streams.server.Control`)."""

    def state(self) -> dict[str, Any]: ...

    def meters(self) -> dict[str, Any]: ...


class Events:
    """Pushes meters four times a second, and the state when it has changed, to every page that listens."""

    INTERVAL = 0.25
    PATIENCE = 0.5
    """Seconds; a page that takes longer to accept a message has gone."""

    def __init__(self, control: Meters) -> None:
        self._control = control
        self._sockets: set[web.WebSocketResponse] = set()
        self._told = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await asyncio.gather(*(self._close(socket) for socket in list(self._sockets)))

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        if not same_origin(request):
            raise web.HTTPForbidden(text="events are for this program's own page only")
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=1024, compress=False)
        await socket.prepare(request)
        await socket.send_str(json.dumps({"type": "state", **self._control.state()}))
        self._sockets.add(socket)
        try:
            async for message in socket:  # nothing is expected, but reading is what notices the end
                if message.type == WSMsgType.ERROR:
                    break
        finally:
            self._sockets.discard(socket)
        return socket

    async def push_state(self) -> None:
        """Tell every page what holds now, if it is not what they were told last."""
        state = json.dumps({"type": "state", **self._control.state()})
        if state != self._told:
            self._told = state
            await self._push(state)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.INTERVAL)
            if not self._sockets:
                continue
            try:
                await self.push_state()
                await self._push(json.dumps({"type": "meters", **self._control.meters()}))
            except Exception:
                log.exception("no meters")

    async def _push(self, text: str) -> None:
        await asyncio.gather(*(self._send(socket, text) for socket in list(self._sockets)))

    async def _send(self, socket: web.WebSocketResponse, text: str) -> None:
        try:
            await asyncio.wait_for(socket.send_str(text), self.PATIENCE)
        except (ConnectionError, TimeoutError, RuntimeError):
            self._sockets.discard(socket)
            await self._close(socket)

    async def _close(self, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, RuntimeError):  # it has left, or does not answer
            await asyncio.wait_for(socket.close(), self.PATIENCE)
