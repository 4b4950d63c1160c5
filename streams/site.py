"""What every HTTP door of ours does alike: who may come in, the page's files, errors as one line of JSON."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from avatar.errors import AvatarError, PhotoError, PortInUseError, RunError, UsageError
from avatar.streams import limits
from avatar.streams.access import Access, host_of, is_loopback, same_origin

log = logging.getLogger(__name__)

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WEB = Path(__file__).resolve().parent / "web"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""The page's files; nothing else in its folder is served."""
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
CORS = {
    "Access-Control-Allow-Methods": "DELETE, OPTIONS, PATCH, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": "ETag, Link, Location",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Vary": "Origin",
}
"""For the foreign pages that are allowed."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self' blob:; img-src 'self' blob: data:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
MAX_UPLOAD = 32 * 1024 * 1024
MAX_JSON = 256 * 1024


def error(status: int, line: str, code: str | None = None) -> web.Response:
    """The body of every failure."""
    body = {"error": " ".join(line.split())}
    if code is not None:
        body["code"] = code
    return web.json_response(body, status=status)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except PhotoError as problem:
        return error(400, str(problem), problem.code)
    except UsageError as problem:
        return error(400, str(problem))
    except AvatarError as problem:
        response = error(503, str(problem))
        response.headers["Retry-After"] = "5"
        return response
    except web.HTTPRequestEntityTooLarge:
        return error(413, f"too large; the limit is {MAX_UPLOAD // 2**20} MB")
    except web.HTTPException as problem:
        if problem.status < 400:
            raise
        return error(problem.status, problem.text or problem.reason)
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return error(500, "internal error; the log of the program says more")


async def json_body(request: web.Request) -> Json:
    """The object that a request carries. Raises UsageError where it carries none."""
    try:
        read = await limits.body(request, MAX_JSON)
    except web.HTTPRequestEntityTooLarge:
        raise UsageError("the request is too long") from None
    try:
        body = json.loads(read)
    except (ValueError, RecursionError):
        raise UsageError("the request is not JSON") from None
    if not isinstance(body, dict):
        raise UsageError("the request is not a JSON object")
    return body


async def thumb(read: Callable[[str], bytes], name: str) -> web.Response:
    """A small picture of an avatar, or 404."""
    try:
        # In a thread: the store may be a server that takes its time.
        picture = await asyncio.to_thread(read, name)
    except UsageError as problem:
        raise web.HTTPNotFound(text=str(problem)) from None
    return web.Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-cache"})


class _Site(web.TCPSite):
    """Its connections are counted and timed."""

    async def start(self) -> None:
        serve = self._runner._server
        assert serve is not None
        self._runner._server = cast(web.Server, limits.Connections(serve))
        try:
            await super().start()
        finally:
            self._runner._server = serve


class Site(ABC):
    """Listens, lets in who may come in, and serves the files of a page. What else it answers is its subclass'.

    :param access: who may use it; None = everybody who can reach it. :param root: the folder of the page.
    """

    def __init__(self, access: Access | None, root: Path) -> None:
        self._rates = limits.Rates()
        self._access = access or Access()
        self._root = root.resolve()
        self._runner: web.AppRunner | None = None
        self._local_only = True
        self.host = ""
        self.port = 0

    @abstractmethod
    def _application(self) -> web.Application:
        """What it answers, by path."""

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def start(self, host: str = "127.0.0.1", port: int = 8080) -> int:
        """Listen; returns the port (0 takes any free one).

        Raises PortInUseError, UsageError for an address that is not ours.
        """
        self._local_only = is_loopback(host)
        runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=0.5, keepalive_timeout=limits.KEEP_S,
            lingering_time=limits.LINGER_S, auto_decompress=False,
        )  # fmt: skip
        await runner.setup()
        site = _Site(runner, host, port)
        try:
            await site.start()
        except OSError as problem:
            await runner.cleanup()
            if problem.errno == errno.EADDRINUSE:
                raise PortInUseError(
                    f"port {port} on {host} is taken by another program; stop that or choose another port"
                ) from None
            if problem.errno == errno.EACCES:
                raise RunError(f"port {port} needs administrator rights; choose one above 1023") from None
            raise UsageError(f"cannot listen on {host!r} port {port}: {problem.strerror or problem}") from None
        self._runner = runner
        self.host, self.port = host, runner.addresses[0][1]
        return self.port

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        foreign = self._access.foreign(request) if request.path.startswith(("/whip", "/whep")) else ""
        response = self._refused(request, foreign) or self._access.welcome(request) or await handler(request)
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            if request.path.startswith("/api/"):
                response.headers.setdefault("Cache-Control", "no-store")
            if foreign:
                response.headers.update(CORS)
                response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        return response

    def _refused(self, request: web.Request, foreign: str) -> web.Response | None:
        # A foreign name that resolves to this computer would make a foreign page "same origin" (DNS rebinding).
        if self._local_only and not is_loopback(host_of(request)):
            return error(403, f"this is not the address of this program; open {self.url}")
        if (request.content_length or 0) > MAX_UPLOAD:
            return error(413, f"too large; the limit is {MAX_UPLOAD // 2**20} MB")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return error(415, "send the body as it is, not packed")
        if request.method == "OPTIONS" and foreign:
            return None  # a browser asks without the token
        if refusal := self._access.refusal(request):
            return error(*refusal)
        if request.method not in ("GET", "HEAD") and not same_origin(request) and not foreign:
            return error(403, "only this program's own page may do that")
        if wait := self._rates.wait(request):
            response = error(429, f"too many of these requests; wait {wait} s")
            response.headers["Retry-After"] = str(wait)
            return response
        return None

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return self._file(request.match_info.get("path") or "index.html")

    def _file(self, name: str) -> web.StreamResponse:
        inside = all(FILE_NAME.fullmatch(part) for part in name.split("/"))
        path = (self._root / name).resolve() if inside else self._root
        kind = CONTENT_TYPES.get(path.suffix)
        if kind is None or not path.is_relative_to(self._root) or not path.is_file():
            raise web.HTTPNotFound(text="there is no such page")
        cache = "no-store" if path.suffix == ".html" else "no-cache"
        return web.FileResponse(path, headers={"Content-Type": kind, "Cache-Control": cache, **HEADERS})
