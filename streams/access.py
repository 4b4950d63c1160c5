"""Who may use the server: this computer alone, or whoever has the token.

On a loopback address the page and its programs need nothing. On any other there is a token, or the server does not
start. A program sends it as ``Authorization: Bearer TOKEN`` (RFC 6750, as WHIP does); a person opens
``http://host:port/?token=TOKEN`` once, and the browser gets a cookie that scripts cannot read and other sites cannot
send. Guessing is slowed down: after some wrong tokens an address has to wait.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from aiohttp import web

from avatar.errors import ConfigError

COOKIE = "vultus"
OPEN_PATHS = frozenset(("/healthz", "/readyz"))
"""Answered without a token: they say nothing but yes or no."""
SHORTEST = 16
"""Characters of a token, at least."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this computer."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(request: web.Request) -> str:
    return urlsplit(f"//{request.host}").hostname or ""


def is_remote(request: web.Request) -> bool:
    """Whether somebody at another machine sent this, through a proxy on this one perhaps."""
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    return forwarded or not is_loopback(request.remote or "")


def same_origin(request: web.Request) -> bool:
    """Whether our own page sent this, or a program that is no browser (which sends neither header)."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()


def check(host: str, token: str) -> None:
    """Raises ConfigError where others could reach ``host`` and nothing keeps them out, or the token is weak."""
    if token and len(token) < SHORTEST:
        raise ConfigError(f"server.token: {len(token)} characters are too few; use at least {SHORTEST}")
    if not token and not is_loopback(host):
        raise ConfigError(
            f"server.host = {host!r} can be reached by others; set server.token too, for example to "
            f"{secrets.token_urlsafe(18)}"
        )


class Access:
    """Decides about requests.

    :param token: empty = none is asked for.
    :param origins: of foreign pages that may use WHIP and WHEP, with the token.
    :param seconds: the time; for tests.
    """

    TRIES, WITHIN_S = 8, 60.0
    """So many wrong tokens from one address in this time are answered; more have to wait."""
    COOKIES = 1000
    """Browsers that are known at the same time."""
    ADDRESSES = 10_000

    def __init__(
        self, token: str = "", origins: Iterable[str] = (), seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._token = token.encode()
        self.origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._seconds = seconds
        self._cookies: OrderedDict[str, None] = OrderedDict()
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def foreign(self, request: web.Request) -> str:
        """The origin of a foreign page that is allowed, else empty."""
        origin = request.headers.get("Origin", "").lower()
        return origin if origin in self.origins else ""

    def refusal(self, request: web.Request) -> tuple[int, str] | None:
        """Status and line for a request that may not be answered; None for one that may."""
        if not self._token or request.path in OPEN_PATHS:
            return None
        address = request.remote or ""
        if self._must_wait(address):
            return 429, "too many wrong tokens; wait a minute"
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        given = given.strip() if kind.lower() == "bearer" else request.query.get("token", "")
        if given:
            if hmac.compare_digest(given.encode(), self._token):
                return None
            self._count(address)
            return 401, "the token is wrong"
        if request.cookies.get(COOKIE, "") in self._cookies:
            return None
        return 401, "a token is needed: open the address with ?token=..., or send Authorization: Bearer"

    def welcome(self, request: web.Request) -> web.Response | None:
        """For a page that was opened with the right token in its address: a cookie, and the address without it."""
        if not self._token or request.method != "GET" or "token" not in request.query:
            return None
        cookie = secrets.token_urlsafe(24)
        self._cookies[cookie] = None
        while len(self._cookies) > self.COOKIES:
            self._cookies.popitem(last=False)
        response = web.Response(status=303, headers={"Location": request.path, "Cache-Control": "no-store"})
        secure = request.scheme == "https" or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict", secure=secure, path="/")
        return response

    def _must_wait(self, address: str) -> bool:
        tries = self._wrong.get(address)
        if tries is None:
            return False
        while tries and self._seconds() - tries[0] > self.WITHIN_S:
            tries.popleft()
        return len(tries) >= self.TRIES

    def _count(self, address: str) -> None:
        self._wrong.setdefault(address, deque()).append(self._seconds())
        self._wrong.move_to_end(address)
        while len(self._wrong) > self.ADDRESSES:
            self._wrong.popitem(last=False)
