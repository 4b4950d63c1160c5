"""The page, its API and its events, on aiohttp.

==========================================  ===========================================================================
``GET /``, ``GET /{file}``                  the page (``streams/web``)
``POST /api/offer``                         ``{"sdp", "type"}`` -> ``{"sdp", "type", "peer"}``, with all candidates
``DELETE /api/peers/{id}``                  good-bye (also ``POST /api/peers/{id}/bye``, which a closing page can send)
``GET /api/state``, ``PATCH /api/state``    what is chosen; ``{"source": "page", "peer": id}`` takes
                                            that page's microphone, ``{"camera": true, "peer": id}`` its camera;
                                            ``{"emotion": {"mode"} | {"angle", "radius"} | {"label", "intensity"}}``
``POST /api/avatars``                       a form with ``photo``, ``name``, ``title``, ``consent``, perhaps ``smile``
``GET /api/avatars/{name}/thumb.jpg``       a small picture of an avatar
``POST /say``, ``POST /api/say``            ``{"text"}``: speak this, as an ``act``, with a ``voice`` and an ``emotion``
                                            (``{"label", "intensity"}``) where these are given
``POST /api/record``                        ``{"on": bool}``
``GET /api/recordings/{file}``              a recording
``GET /api/meters``, ``GET /api/events``    figures, once or as a WebSocket of ``{"type": "meters" | "state", …}``
``/api/calibration``                        the user's own head: :mod:`avatar.streams.calibration_api`
``GET /api/label``                          ``{"alg", "key"}``: checks the signed label of the data channel ``label``
``/vr``, ``GET /api/states``                heads in space: :mod:`avatar.streams.room`
``/whip``, ``/whep``                        other programs: :mod:`avatar.streams.whip`
``GET /healthz``, ``GET /readyz``           ``{"ok": true}``; 503 where nobody else can be taken
``GET /metrics``                            the meters for Prometheus
==========================================  ===========================================================================

Every error is ``{"error": line}`` and, where a program may care, ``"code"``. Requests that change something are taken
from our own page only, and from programs. Who may use it at all: :mod:`avatar.streams.access`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from avatar.errors import UsageError
from avatar.streams import calibration_api, limits, prometheus
from avatar.streams.access import Access, is_remote
from avatar.streams.events import Events
from avatar.streams.room import Room
from avatar.streams.signaling import PeerHub
from avatar.streams.site import FILE_NAME, HEADERS, MAX_UPLOAD, WEB, Json, Site, error, errors_as_json, json_body, thumb
from avatar.streams.whip import Door

log = logging.getLogger(__name__)

RECORDING_TYPES = {".mp4": "video/mp4", ".mkv": "video/x-matroska", ".wav": "audio/wav", ".jsonl": "application/jsonl"}


class Control(Protocol):
    """What the server needs from the engine. All values are JSON's; errors are AvatarErrors with one line."""

    @property
    def own_head(self) -> calibration_api.CalibrationControl:
        """Learns the user's head."""
        ...

    def state(self) -> Json:
        """What there is to choose from, and what is chosen."""
        ...

    async def update(self, changes: Json) -> Json:
        """Apply some of avatar, engine, source, camera, emotion, head, gaze; returns the new state. With ``source`` =
        ``page`` or ``camera`` = true comes ``peer``, the page to choose at the hub; ``remote`` = true where the request
        came from another machine. Raises UsageError."""
        ...

    async def create_avatar(
        self, photo: bytes, name: str, title: str, consent: str, smile: bytes | None = None
    ) -> Json:
        """Make an avatar from a photo, and from a second one of the same person's smile; returns the new state with the
        photo's ``report``. Raises PhotoError, UsageError."""
        ...

    def thumb(self, name: str) -> bytes:
        """A JPEG. Raises UsageError where there is no such avatar."""
        ...

    async def say(
        self, text: str, act: str | None = None, voice: str | None = None, emotion: object = None
    ) -> Json | None:
        """Speak a text, as a dialogue act, with a voice and an emotion ``{"label", "intensity"}``. Raises
        UsageError."""
        ...

    async def record(self, on: bool) -> Json:
        """Start or stop recording. Raises StorageError."""
        ...

    def recordings_dir(self) -> Path:
        """The folder of the recordings."""
        ...

    def meters(self) -> Json:
        """Live figures."""
        ...


def field(body: Json, name: str, kind: type) -> Any:
    value = body.get(name)
    if not isinstance(value, kind):
        names = {str: "a text", bool: "true or false"}
        raise UsageError(f"the request lacks {name!r}, {names[kind]}")
    return value


class Server(Site):
    """The HTTP side of a session.

    :param control: the engine.
    :param hub: the peers; the server closes it when it stops.
    :param root: the page's folder. :param access: who may use it; None = everybody who can reach it.
    :param ice: STUN and TURN servers that WHIP and WHEP clients are told of. :param turn_secret: shared with the TURN
        servers; clients get credentials made of it.
    :param room: heads and states of the page in space.
    """

    def __init__(
        self,
        control: Control,
        hub: PeerHub,
        root: Path = WEB,
        access: Access | None = None,
        ice: Sequence[str] = (),
        turn_secret: str = "",
        room: Room | None = None,
    ) -> None:
        super().__init__(access, root)
        self._control = control
        self._hub = hub
        self._events = Events(control)
        self._room = room or Room()
        self._door = Door(hub, control, ice, self._events.push_state, turn_secret)

    async def start(self, host: str = "127.0.0.1", port: int = 8080) -> int:
        await super().start(host, port)
        self._events.start()
        return self.port

    async def stop(self) -> None:
        """Stop listening and end every connection. The peers go first: open ones keep the process alive. Idempotent."""
        await self._hub.close()
        await self._events.stop()
        await self._room.close()
        await super().stop()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard, errors_as_json], client_max_size=MAX_UPLOAD)
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                *self._door.routes(),
                *self._room.routes(),
                web.post("/api/offer", self._offer),
                web.get("/api/label", self._label),
                web.delete("/api/peers/{id}", self._leave),
                web.post("/api/peers/{id}/bye", self._leave),
                web.get("/api/state", self._state),
                web.patch("/api/state", self._update),
                web.post("/api/avatars", self._create_avatar),
                web.get("/api/avatars/{name}/thumb.jpg", self._thumb),
                web.post("/api/say", self._say),
                web.post("/say", self._say),
                web.post("/api/record", self._record),
                web.get("/api/recordings/{file}", self._recording),
                *calibration_api.routes(self._control.own_head, json_body, self._events.push_state),
                web.get("/api/meters", self._meters),
                web.get("/api/events", self._events.serve),
                web.get("/", self._page),
                web.get("/{path:.+}", self._page),
            ]
        )
        return app

    # --- the page ------------------------------------------------------------------------------------------------

    async def _readyz(self, request: web.Request) -> web.Response:
        if not self._hub.has_room:
            return error(503, "no more viewers are taken")
        return web.json_response({"ok": True})

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=prometheus.text(self._control.meters()), headers={"Content-Type": prometheus.KIND})

    # --- peers ---------------------------------------------------------------------------------------------------

    async def _offer(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        answer = await self._hub.offer(field(body, "sdp", str), field(body, "type", str))
        return web.json_response({"sdp": answer.sdp, "type": answer.type, "peer": answer.peer})

    async def _label(self, request: web.Request) -> web.Response:
        return web.json_response(self._hub.label_key)

    async def _leave(self, request: web.Request) -> web.Response:
        # Whoever says good-bye twice, or too late, has got what it wanted.
        await self._hub.drop(request.match_info["id"])
        return web.json_response({"ok": True})

    # --- state ---------------------------------------------------------------------------------------------------

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(self._control.state())

    async def _update(self, request: web.Request) -> web.Response:
        changes = await json_body(request)
        if not isinstance(changes.get("peer", ""), str):
            raise UsageError("'peer' is the text that came with the answer to the offer")
        changes.pop("remote", None)
        if is_remote(request):
            changes["remote"] = True
        state = await self._control.update(changes)
        await self._events.push_state()
        return web.json_response(state)

    async def _meters(self, request: web.Request) -> web.Response:
        return web.json_response(self._control.meters())

    # --- avatars, speech, recordings -----------------------------------------------------------------------------

    async def _create_avatar(self, request: web.Request) -> web.Response:
        if not request.content_type.startswith("multipart/"):
            raise UsageError("send the photo as a form (multipart/form-data)")
        form = await limits.form(request)
        photo = form.get("photo")
        if not isinstance(photo, web.FileField):
            raise UsageError("the form has no file called 'photo'")
        texts = {name: form.get(name, "") for name in ("name", "title", "consent")}
        if not all(isinstance(text, str) and len(text) <= 200 for text in texts.values()):
            raise UsageError("name, title and consent are texts of at most 200 characters")
        second = form.get("smile") or None
        if not isinstance(second, web.FileField | None):
            raise UsageError("the form's 'smile' is no file")
        data = await asyncio.to_thread(photo.file.read)
        smile = await asyncio.to_thread(second.file.read) if second is not None else None
        words = {name: str(text).strip() for name, text in texts.items()}
        created = await self._control.create_avatar(data, **words, smile=smile)
        await self._events.push_state()
        return web.json_response(created, status=201)

    async def _thumb(self, request: web.Request) -> web.Response:
        return await thumb(self._control.thumb, request.match_info["name"])

    async def _say(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        if unknown := set(body) - {"text", "act", "voice", "emotion"}:
            raise UsageError(f"unknown key {sorted(unknown)[0]!r}; there are: text, act, voice, emotion")
        given = {name: field(body, name, str) for name in ("act", "voice") if body.get(name) is not None}
        result = await self._control.say(field(body, "text", str), **given, emotion=body.get("emotion"))
        return web.json_response(result or {"ok": True})

    async def _record(self, request: web.Request) -> web.Response:
        result = await self._control.record(field(await json_body(request), "on", bool))
        await self._events.push_state()
        return web.json_response(result)

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        folder = self._control.recordings_dir().resolve()
        path = (folder / name).resolve() if FILE_NAME.fullmatch(name) else folder
        kind = RECORDING_TYPES.get(path.suffix)
        if kind is None or path.parent != folder or not path.is_file():
            raise web.HTTPNotFound(text="there is no such recording")
        headers = {"Content-Type": kind, "Content-Disposition": f'attachment; filename="{name}"', **HEADERS}
        return web.FileResponse(path, headers=headers)
