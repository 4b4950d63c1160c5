"""The front door of many sessions, each behind a door of its own (:mod:`avatar.streams.server`) in another process.

=========================================  ============================================================================
``GET /``                                  a page that chooses an avatar and begins a session
``POST /sessions``                         ``{"avatar", "source", "voice", "emotion"}``, all of them optional -> 201
                                           ``{"session", "page", "whip", "whep"}``
``GET /sessions/{session}``                ``{"session", "state", …}``; ``DELETE`` ends it
``/s/{session}/…``                         the session's page and its API
``POST /whip``                             begins a session that this program drives (``?avatar=…&voice=…``);
                                           ``/whip/{session}`` drives one that is there
``POST /whep/{session}``                   watches it
``PATCH``, ``DELETE`` on their locations   as :mod:`avatar.streams.whip` has it
``GET /healthz``, ``/readyz``,             of all sessions together
``/metrics``
=========================================  ============================================================================

Signalling is passed on to the worker that has the session. Sound and pictures go from that worker's own sockets to the
peer: none of it comes through here. An id is all that leads to a session, so nobody is told but who began it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

from avatar.streams import limits, prometheus
from avatar.streams.access import Access, is_remote, same_origin
from avatar.streams.site import HEADERS, MAX_UPLOAD, WEB, Json, Site, error, errors_as_json, json_body, thumb
from avatar.streams.whip import ID, MAX_SDP, SDP, SESSION

log = logging.getLogger(__name__)

NAME = "{session:[A-Za-z0-9_-]{1,32}}"
THERE = ("Accept", "Content-Type", "If-Match", "If-Modified-Since", "If-None-Match", "Range")
"""Headers that a session's door needs to know of a request."""
BACK = (
    *("Accept-Patch", "Accept-Post", "Accept-Ranges", "Allow", "Cache-Control", "Content-Disposition", "Content-Range"),
    *("Content-Type", "ETag", "Last-Modified", "Retry-After"),
)
AGAIN_S = 2
"""Seconds after which a session that is being started again is worth another try."""
SHARED = ("/api/calibration", "/api/record")
"""What a session's own door does with files of whoever runs the program: with many sessions it does not."""
SHORT = 1 << 18
"""Bytes of an answer that is passed on in one piece."""
DEAD, RESTARTED = 1001, 1012
"""WebSocket close codes (RFC 6455 and IANA's registry): going away; service restart."""


class Session(Protocol):
    """What the door knows of a session."""

    id: str
    token: str
    address: str
    over: asyncio.Event
    why: str
    beat: Json

    @property
    def live(self) -> bool: ...

    @property
    def status(self) -> str: ...


class Sessions(Protocol):
    """Who has the sessions (:class:`avatar.scale.sessions.Sessions`)."""

    def find(self, name: str) -> Session: ...

    async def create(self, choice: Json) -> Session: ...

    async def end(self, name: str, why: str) -> bool: ...

    @property
    def has_room(self) -> bool: ...

    def meters(self) -> Json: ...


class Catalogue(Protocol):
    """What there is to choose from."""

    def choices(self) -> Json: ...

    def thumb(self, name: str) -> bytes: ...


class Front(Site):
    """The routes."""

    def __init__(
        self, sessions: Sessions, catalogue: Catalogue, access: Access | None = None, root: Path = WEB
    ) -> None:
        super().__init__(access, root)
        self._sessions, self._catalogue = sessions, catalogue
        self._http: aiohttp.ClientSession | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 8080) -> int:
        wait = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)
        self._http = aiohttp.ClientSession(
            timeout=wait,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0),
        )
        return await super().start(host, port)

    async def stop(self) -> None:
        await super().stop()
        if self._http is not None:
            await self._http.close()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard, errors_as_json], client_max_size=MAX_UPLOAD)
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/", self._start_page),
                web.get("/choices", self._choices),
                web.get("/avatars/{name}/thumb.jpg", self._thumb),
                web.post("/sessions", self._create),
                web.get(f"/sessions/{NAME}", self._look),
                web.delete(f"/sessions/{NAME}", self._end),
                web.get(f"/s/{NAME}", self._slash),
                web.route("*", f"/s/{NAME}/{{path:.*}}", self._behind),
                web.post("/whip", self._drive),
                web.post(f"/whip/{NAME}", self._drive),
                web.post("/whep", self._whep_without_name),
                web.post(f"/whep/{NAME}", self._watch),
                web.route("*", f"/whip/{NAME}/{ID}", self._whip_place),
                web.route("*", f"/whep/{NAME}/{ID}", self._whep_place),
                *(
                    web.options(path, self._options)
                    for path in ("/whip", f"/whip/{NAME}", "/whep", f"/whep/{NAME}", "/sessions")
                ),
                web.get("/{path:.+}", self._page),
            ]
        )
        return app

    # --- the door itself -----------------------------------------------------------------------------------------

    async def _start_page(self, request: web.Request) -> web.StreamResponse:
        return self._file("start.html")

    async def _choices(self, request: web.Request) -> web.Response:
        return web.json_response({**self._catalogue.choices(), "room": self._sessions.has_room})

    async def _thumb(self, request: web.Request) -> web.Response:
        return await thumb(self._catalogue.thumb, request.match_info["name"])

    async def _readyz(self, request: web.Request) -> web.Response:
        if not self._sessions.has_room:
            return error(503, "no more sessions are taken")
        return web.json_response({"ok": True})

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=prometheus.text(self._sessions.meters()), headers={"Content-Type": prometheus.KIND})

    async def _options(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Accept-Post": SDP, "Allow": "OPTIONS, POST"})

    # --- sessions ------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.Response:
        session = await self._sessions.create(await json_body(request))
        return web.json_response(
            {
                "session": session.id,
                "page": f"/s/{session.id}/",
                "whip": f"/whip/{session.id}",
                "whep": f"/whep/{session.id}",
            },
            status=201,
            headers={"Location": f"/sessions/{session.id}", "Cache-Control": "no-store"},
        )

    async def _look(self, request: web.Request) -> web.Response:
        session = self._known(request)
        body: Json = {"session": session.id, "state": session.status}
        body.update((key, session.beat[key]) for key in ("viewers", "fps", "late_ms", "level") if key in session.beat)
        return web.json_response(body, headers={"Cache-Control": "no-store"})

    async def _end(self, request: web.Request) -> web.Response:
        await self._sessions.end(self._known(request).id, "it was ended by whoever has its id")
        return web.json_response({"ok": True})

    def _known(self, request: web.Request) -> Session:
        try:
            return self._sessions.find(request.match_info["session"])
        except KeyError:
            raise web.HTTPNotFound(text="there is no such session, or it has ended") from None

    async def _slash(self, request: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": f"/s/{self._known(request).id}/"})

    async def _behind(self, request: web.Request) -> web.StreamResponse:
        session, path = self._known(request), "/" + request.match_info["path"]
        parts = path[1:].split("/")
        odd = path != "/" and {"", ".", ".."} & set(parts)
        if odd or path.startswith(("/whip", "/whep", "/metrics")):
            raise web.HTTPNotFound(text="there is no such page")
        if path.startswith(SHARED) or (path == "/api/avatars" and request.method != "GET"):
            raise web.HTTPForbidden(
                text="what is kept on this computer belongs to no single session; it is left out here"
            )
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request, session, path)
        return await self._pass(request, session, path, await limits.body(request, MAX_UPLOAD, limits.UPLOAD_S))

    # --- WHIP and WHEP ---------------------------------------------------------------------------------------------

    async def _drive(self, request: web.Request) -> web.StreamResponse:
        if "session" in request.match_info:
            return await self._offer(request, self._known(request), "/whip")
        offer = await _offered(request)
        wanted: Json = {"source": "silence"}
        wanted.update((key, value) for key, value in request.query.items() if key != "token")
        session = await self._sessions.create(wanted)
        done = False
        try:
            response = await self._offer(request, session, "/whip", offer)
            done = response.status == 201
        finally:
            if not done:
                await self._sessions.end(session.id, "the offer that it was begun for could not be used")
        return response

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        return await self._offer(request, self._known(request), f"/whep/{SESSION}")

    async def _whep_without_name(self, request: web.Request) -> web.Response:
        return error(404, "say whom to watch: /whep/SESSION, with the id that POST /sessions gave")

    async def _offer(
        self, request: web.Request, session: Session, path: str, offer: bytes | None = None
    ) -> web.StreamResponse:
        return await self._pass(request, session, path, offer if offer is not None else await _offered(request))

    async def _whip_place(self, request: web.Request) -> web.StreamResponse:
        body = await limits.body(request, MAX_SDP)
        return await self._pass(request, self._known(request), f"/whip/{request.match_info['id']}", body)

    async def _whep_place(self, request: web.Request) -> web.StreamResponse:
        body = await limits.body(request, MAX_SDP)
        return await self._pass(request, self._known(request), f"/whep/{SESSION}/{request.match_info['id']}", body)

    # --- passing on ------------------------------------------------------------------------------------------------

    def _target(self, request: web.Request, session: Session, path: str) -> tuple[URL, dict[str, str]]:
        """Address and headers for the session's own door. Raises _NotNow."""
        if not session.live:
            raise _NotNow
        headers = {name: request.headers[name] for name in THERE if name in request.headers}
        headers["Authorization"] = f"Bearer {session.token}"
        if is_remote(request):
            headers["X-Forwarded-For"] = request.remote or "unknown"
        return URL(session.address).with_path(path), headers

    async def _pass(self, request: web.Request, session: Session, path: str, body: bytes) -> web.StreamResponse:
        assert self._http is not None
        try:
            address, headers = self._target(request, session, path)
            query = {key: value for key, value in request.query.items() if key != "token"}
            async with self._http.request(
                request.method, address, params=query, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                return await self._answer(request, session, answer)
        except (_NotNow, aiohttp.ClientConnectionError, aiohttp.ServerDisconnectedError):
            return _not_now(session)

    async def _answer(
        self, request: web.Request, session: Session, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        short = answer.content_length is not None and answer.content_length < SHORT
        body = await answer.read() if short else b""
        response = web.Response(status=answer.status, body=body) if short else web.StreamResponse(status=answer.status)
        response.headers.update({name: answer.headers[name] for name in BACK if name in answer.headers})
        for link in answer.headers.getall("Link", []):
            response.headers.add("Link", link)
        if place := answer.headers.get("Location"):
            response.headers["Location"] = _place(place, session.id)
        if request.path == "/whip":
            response.headers.add("Link", f'</whep/{session.id}>; rel="alternate"')
        if isinstance(response, web.Response):
            return response
        response.content_length = answer.content_length
        response.headers.update(HEADERS)
        await response.prepare(request)
        async for piece in answer.content.iter_chunked(SHORT):
            await response.write(piece)
        await response.write_eof()
        return response

    async def _socket(self, request: web.Request, session: Session, path: str) -> web.StreamResponse:
        """A session's events, and in the end a last one that says why: ``{"type": "end", "reason", "again"}``, where
        ``again`` is whether it comes back under the same id."""
        if not same_origin(request):
            raise web.HTTPForbidden(text="events are for this program's own page only")
        assert self._http is not None
        try:
            address, headers = self._target(request, session, path)
            upstream = await self._http.ws_connect(address, headers=headers, heartbeat=15)
        except (_NotNow, aiohttp.ClientError):
            return _not_now(session)
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=1024)
        await socket.prepare(request)
        over = session.over
        tasks = [asyncio.create_task(w) for w in (_copy(upstream, socket), _copy(socket, upstream), _wait(over))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[1].done():  # it is not the page that has left
                # On a cluster it takes longer until it is known that a worker has died; the session is not over then.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), 0.5)
                again = session.status != "ended"
                why = session.why if over.is_set() else "its worker does not answer"
                last = {"type": "end", "reason": why or "the session has ended", "again": again}
                with contextlib.suppress(ConnectionError, RuntimeError):  # the page has left meanwhile
                    await socket.send_json(last)
                    await socket.close(code=RESTARTED if again else DEAD)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await upstream.close()
        return socket


class _NotNow(Exception):
    """The session has no worker at the moment."""


def _not_now(session: Session) -> web.Response:
    response = error(503, f"the session is being started again ({session.why or 'its worker does not answer'})")
    response.headers["Retry-After"] = str(AGAIN_S)
    return response


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _copy(source: Any, sink: Any) -> None:
    with contextlib.suppress(ConnectionError, RuntimeError):  # either side has left: the copying is done
        async for message in source:
            if message.type is WSMsgType.TEXT:
                await sink.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await sink.send_bytes(message.data)


async def _offered(request: web.Request) -> bytes:
    if request.content_type != SDP:
        raise web.HTTPUnsupportedMediaType(text=f"send this as {SDP}")
    return await limits.body(request, MAX_SDP)


def _place(place: str, session: str) -> str:
    """A location of the session's own door as ours."""
    if place.startswith(f"/whep/{SESSION}/"):
        return f"/whep/{session}/{place.removeprefix(f'/whep/{SESSION}/')}"
    if place.startswith("/whip/"):
        return f"/whip/{session}/{place.removeprefix('/whip/')}"
    return f"/s/{session}{place}"


__all__ = ["Catalogue", "Front", "Sessions"]
