"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): the door for OBS, GStreamer, SFUs and any other program.

=================================  ====================================================================================
``POST /whip``                     an SDP offer: this program's microphone and camera drive the face; 201 with the
                                   answer, ``Location`` of the session, ``ETag`` and ``Link`` of STUN and TURN servers
``POST /whep``, ``/whep/live``     an SDP offer: watch the avatar
``PATCH`` on the location          more ICE candidates (``application/trickle-ice-sdpfrag``, RFC 8840); ICE restarts are
                                   refused with 422, as RFC 9725 has it for who has none
``DELETE`` on the location         good-bye
``OPTIONS``                        what may be posted, and CORS for the pages that are allowed
=================================  ====================================================================================
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from aiohttp import web
from aiortc import sdp as sdp_lines

from avatar.errors import UsageError
from avatar.streams import limits
from avatar.streams.ice import link_headers
from avatar.streams.signaling import MAX_CANDIDATES, MAX_SDP, Answer, PeerHub, Role

SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"
SESSION = "live"
ID = "{id:[A-Za-z0-9_-]{1,32}}"
_UFRAG = re.compile(r"^a=ice-ufrag:(\S+)", re.M)


class Driver(Protocol):
    """What a WHIP client changes: whose microphone and camera drive the face."""

    async def update(self, changes: dict[str, Any]) -> dict[str, Any]: ...


class Door:
    """The routes.

    :param ice: STUN and TURN servers that clients are told of. :param changed: awaited when what drives the face has.
    :param turn_secret: what TURN credentials are made of; empty = none are given.
    """

    def __init__(
        self,
        hub: PeerHub,
        driver: Driver,
        ice: Sequence[str],
        changed: Callable[[], Awaitable[None]],
        turn_secret: str = "",
    ) -> None:
        self._hub, self._driver, self._changed = hub, driver, changed
        self._ice, self._turn_secret = ice, turn_secret
        self._sessions: dict[str, tuple[str, str]] = {}
        """By peer: its offer's ufrag, by which an ICE restart is told from more candidates, and the ETag."""

    def routes(self) -> list[web.RouteDef]:
        made = []
        for path, role in (("/whip", Role.SPEAK), ("/whep", Role.WATCH), (f"/whep/{SESSION}", Role.WATCH)):
            made.append(web.post(path, self._for(role)))
            made.append(web.options(path, self._options))
        for path in (f"/whip/{ID}", f"/whep/{SESSION}/{ID}"):
            made += [web.patch(path, self._patch), web.delete(path, self._delete), web.options(path, self._options)]
        made.append(web.post("/whep/{session}", self._no_session))
        # RFC 9725, 4.1: GET, HEAD and PUT are reserved.
        for path in ("/whip", "/whep", f"/whep/{SESSION}"):
            made += [web.get(path, self._reserved), web.put(path, self._reserved)]
        return made

    def _for(self, role: Role) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def post(request: web.Request) -> web.Response:
            offered = await _text(request, SDP)
            answer = await self._hub.offer(offered, role=role)
            tag = _etag(answer.sdp)
            self._sessions = {peer: known for peer, known in self._sessions.items() if peer in self._hub}
            self._sessions[answer.peer] = _ufrag(offered), tag
            if role is Role.SPEAK:
                await self._listen_to(answer, offered)
            place = f"/whip/{answer.peer}" if role is Role.SPEAK else f"/whep/{SESSION}/{answer.peer}"
            response = web.Response(status=201, text=answer.sdp, content_type=SDP)
            response.headers["Location"] = place
            response.headers["ETag"] = tag
            response.headers["Accept-Patch"] = FRAGMENT
            for link in link_headers(self._ice, self._turn_secret, answer.peer):
                response.headers.add("Link", link)
            return response

        return post

    async def _listen_to(self, answer: Answer, offer: str) -> None:
        kinds = {media.kind for media in sdp_lines.SessionDescription.parse(offer).media}
        changes: dict[str, Any] = {"peer": answer.peer}
        if "audio" in kinds:
            changes["source"] = "page"
        if "video" in kinds:
            changes["camera"] = True
        try:
            await self._driver.update(changes)
        except BaseException:
            await self._hub.drop(answer.peer)
            raise
        await self._changed()

    async def _patch(self, request: web.Request) -> web.Response:
        peer = self._known(request)
        offered, tag = self._sessions[peer]
        fragment = await _text(request, FRAGMENT)
        if request.headers.get("If-Match", "*") not in ("*", tag):
            return _plain(412, "the session has changed; the ETag is an old one")
        if _ufrag(fragment) not in ("", offered):
            return _plain(422, "ICE restarts are not supported; DELETE this session and POST a new offer")
        self._hub.more_candidates(peer, fragment, MAX_CANDIDATES)
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        await self._hub.drop(self._known(request))
        return web.Response(status=200)

    async def _options(self, request: web.Request) -> web.Response:
        allowed = "DELETE, OPTIONS, PATCH" if "id" in request.match_info else "OPTIONS, POST"
        return web.Response(status=204, headers={"Accept-Post": SDP, "Allow": allowed})

    async def _no_session(self, request: web.Request) -> web.Response:
        return _plain(404, f"there is no session {request.match_info['session'][:40]!r}; this one is {SESSION!r}")

    async def _reserved(self, request: web.Request) -> web.Response:
        return _plain(405, "POST an SDP offer here")

    def _known(self, request: web.Request) -> str:
        peer = request.match_info["id"]
        if peer not in self._sessions or peer not in self._hub:
            raise web.HTTPNotFound(text="there is no such session, or it has ended")
        return peer


async def _text(request: web.Request, kind: str) -> str:
    """The request's body. Raises HTTPUnsupportedMediaType, UsageError for one that is no text or too long."""
    if request.content_type != kind:
        raise web.HTTPUnsupportedMediaType(text=f"send this as {kind}")
    read = await limits.body(request, MAX_SDP)
    try:
        return read.decode()
    except UnicodeDecodeError:
        raise UsageError("the session description is not text") from None


def _ufrag(sdp: str) -> str:
    found = _UFRAG.search(sdp)
    return found[1] if found else ""


def _etag(answer: str) -> str:
    return f'"{hashlib.sha256(answer.encode()).hexdigest()[:16]}"'


def _plain(status: int, line: str) -> web.Response:
    return web.json_response({"error": line}, status=status)
