"""What the page in space (``streams/web/vr``) needs beside its files.

==========================  ===========================================================================================
``GET /vr``, ``GET /vr/``   the page; it may open WebSockets to other engines, which the main page may not
``GET /vr/head-N.glb``      a head with the 52 morph targets, made when it is first asked for; ``head-N-low.glb`` has a
                            third of the triangles
``GET /api/states``         a WebSocket of states, one JSON text each (:mod:`avatar.streams.wire`); for our own page
                            and for programs. Other pages use the parameter output, or a data channel
==========================  ===========================================================================================
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from avatar.errors import UsageError
from avatar.streams.access import same_origin
from avatar.streams.sinks.states import StateFeed

log = logging.getLogger(__name__)

PAGE = Path(__file__).resolve().parent / "web" / "vr" / "index.html"
POLICY = (
    "default-src 'self'; connect-src 'self' blob: ws: wss:; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""As the main page's, and besides: other engines' states, and the pictures inside a head's file (``blob:``)."""
CHANNEL = "states"
"""A page that opens a data channel of this name gets the states by it."""
WAITING = 16 * 1024
"""Bytes that may wait for a slow data channel: some six states. Beyond it states are left out."""


class Room:
    """The routes.

    :param states: of the session; None = there are none.
    :param head: makes the file of one of the heads, counted from 1, fine or not; raises UsageError where there is no
        such one.
    """

    def __init__(self, states: StateFeed | None = None, head: Callable[[int, bool], bytes] | None = None) -> None:
        self.states = states
        self._head = head
        self._made: dict[tuple[int, bool], bytes] = {}
        self._making = asyncio.Lock()
        self._open: set[web.WebSocketResponse] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/vr", self._to_page),
            web.get("/vr/", self._page),
            web.get(r"/vr/head-{number:\d{1,4}}{low:(-low)?}.glb", self._file),
            web.get("/api/states", self._serve),
        ]

    async def close(self) -> None:
        """End the sockets that are open."""
        await asyncio.gather(*(socket.close() for socket in list(self._open)), return_exceptions=True)

    async def _to_page(self, request: web.Request) -> web.Response:
        query = f"?{request.query_string}" if request.query_string else ""
        return web.Response(status=302, headers={"Location": f"/vr/{query}"})

    async def _page(self, request: web.Request) -> web.FileResponse:
        kind = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
        return web.FileResponse(PAGE, headers={**kind, "Content-Security-Policy": POLICY})

    async def _file(self, request: web.Request) -> web.Response:
        which = int(request.match_info["number"]), not request.match_info["low"]
        if self._head is None:
            raise web.HTTPNotFound(text="there are no heads here")
        async with self._making:
            if which not in self._made:
                try:
                    self._made[which] = await asyncio.to_thread(self._head, *which)
                except UsageError as error:
                    raise web.HTTPNotFound(text=str(error)) from None
        headers = {"Cache-Control": "no-cache"}
        answer = web.Response(body=self._made[which], content_type="model/gltf-binary", headers=headers)
        answer.enable_compression()
        return answer

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        if not same_origin(request):
            raise web.HTTPForbidden(text="these states are for this program's own page; use the output parameters")
        if self.states is None:
            raise web.HTTPNotFound(text="there are no states here")
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=1024, compress=False)
        await socket.prepare(request)
        newest: asyncio.Queue[str] = asyncio.Queue(1)

        def take(line: str) -> None:
            if newest.full():  # a slow page gets the newest next
                newest.get_nowait()
            newest.put_nowait(line)

        async def send() -> None:
            while True:
                await socket.send_str(await newest.get())

        end = self.states.subscribe(take)
        sending = asyncio.create_task(send())
        self._open.add(socket)
        try:
            async for _ in socket:  # nothing is expected, but reading is what notices the end
                pass
        finally:
            end()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._open.discard(socket)
        return socket
