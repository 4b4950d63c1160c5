"""How much one address may ask of the server: connections, requests, bytes and seconds.

Whoever asks for more gets one line and the right status: 408 too slow, 413 too large, 415 packed, 429 too often or too
many connections, 503 the server is full. What this computer asks itself is allowed more: a proxy on it stands for many.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from multidict import MultiDictProxy  # aiohttp brings it

from avatar.streams.access import is_loopback

HEADERS_S, BODY_S, UPLOAD_S, LINGER_S, KEEP_S = 10.0, 15.0, 60.0, 1.0, 20.0
"""Seconds for a request's headers, its body, a photo's upload; how long an unread body is still taken; until the next
request of a connection has come."""
PER_ADDRESS, PER_LOOPBACK, IN_ALL = 64, 512, 768
"""Connections at the same time."""
RATES: dict[str, tuple[float, float]] = {
    "/api/offer": (60, 2), "/whip": (60, 2), "/whep": (60, 2), "/api/avatars": (6, 0.1), "/api/say": (20, 0.5),
    "/say": (20, 0.5), "/api/calibration": (10, 0.1), "/api/record": (20, 0.5),
}  # fmt: skip
"""By path: so many POSTs at once from one address, and so many a second after that."""
OWN = 10
"""This computer may ask so many times as much."""
ADDRESSES = 10_000


class Rates:
    """Token buckets by address and path. :param seconds: the time; for tests."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._known: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait(self, request: web.Request) -> int:
        """Seconds until this request may come again; 0 = it may be answered."""
        place = "/whep" if request.path.startswith("/whep") else request.path
        if request.method != "POST" or place not in RATES:
            return 0
        burst, each = RATES[place]
        address = request.remote or ""
        if is_loopback(address):
            burst, each = burst * OWN, each * OWN
        now, key = self._seconds(), (address, place)
        left, at = self._known.pop(key, (burst, now))
        left = min(burst, left + (now - at) * each)
        self._known[key] = (left - 1 if left >= 1 else left, now)
        while len(self._known) > ADDRESSES:
            self._known.popitem(last=False)
        return 0 if left >= 1 else int((1 - left) / each) + 1


class Connections:
    """Counts connections; makes the protocols of a server that refuses those that are too many or too slow.

    :param make: makes the protocol of one connection.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make
        self.open: Counter[str] = Counter()

    def __call__(self) -> asyncio.Protocol:
        return _Connection(self, self._make())

    def full(self, address: str) -> bytes:
        """Status line for a connection that is one too many; empty for one that is not."""
        if self.open.total() >= IN_ALL:
            return b"503 Service Unavailable"
        most = PER_LOOPBACK if is_loopback(address) else PER_ADDRESS
        return b"429 Too Many Requests" if self.open[address] >= most else b""


class _Connection(asyncio.Protocol):
    """Hands everything on, once the connection is one of those that may be open; the first headers have to come soon
    (the times between later requests are aiohttp's own keep-alive)."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._connections, self._inner = connections, inner
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._taken = False
        self._end = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._address = str((transport.get_extra_info("peername") or ("",))[0])
        if refused := self._connections.full(self._address):
            self._refuse(refused)
            return
        self._taken = True
        self._connections.open[self._address] += 1
        self._timer = asyncio.get_running_loop().call_later(HEADERS_S, self._refuse, b"408 Request Timeout")
        self._inner.connection_made(transport)

    def _refuse(self, status: bytes) -> None:
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
        )
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if not self._taken:
            return
        if self._timer is not None:
            self._end = (self._end + data)[-4096:] if len(data) < 4 else data
            if b"\r\n\r\n" in self._end:
                self._timer.cancel()
                self._timer, self._end = None, b""
            else:
                self._end = self._end[-3:]
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._taken else None

    def pause_writing(self) -> None:
        if self._taken:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._taken:
            self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._taken:
            self._connections.open[self._address] -= 1
            self._connections.open += Counter()  # forgets who has none
            self._inner.connection_lost(error)


async def body(request: web.Request, most: int, seconds: float = BODY_S) -> bytes:
    """A request's body. Raises HTTPRequestEntityTooLarge for more than ``most`` bytes, HTTPRequestTimeout."""
    size = request.content_length or 0
    if size > most:
        raise web.HTTPRequestEntityTooLarge(most, size)
    read = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_chunked(2**16):
                read += chunk
                if len(read) > most:
                    raise web.HTTPRequestEntityTooLarge(most, len(read))
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the request took more than {seconds:g} s to come") from None
    return bytes(read)


async def form(
    request: web.Request, seconds: float = UPLOAD_S
) -> MultiDictProxy[str | bytes | bytearray | web.FileField]:
    """A form with files. Raises HTTPRequestEntityTooLarge (the application's limit), HTTPRequestTimeout."""
    try:
        async with asyncio.timeout(seconds):
            return await request.post()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the upload took more than {seconds:g} s") from None
