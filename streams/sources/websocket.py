"""Sound from a program, over a WebSocket.

A client sends one JSON text, ``{"rate": 16000, "format": "s16le"}``, and then its sound as binary messages: mono, in
that format (``s16le`` or ``f32le``), in pieces of any length up to a second. One client at a time; another is refused
with code 1013. What cannot be understood ends the connection with code 1002 and the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import numpy as np
import soxr
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from avatar.core.clock import Clock, DriftFit
from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, Ns, freeze
from avatar.streams.base import Source
from avatar.streams.handover import Handover
from avatar.streams.sockets import port_error
from avatar.streams.sources.paced import RATE

log = logging.getLogger(__name__)

FORMATS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
HELLO_WITHIN = 5.0
"""Seconds that a client has for its first message."""
QUEUE = 50
AHEAD = SECOND // 2
"""How far a client may send ahead of real time; it is then left waiting, which TCP passes on to it."""


class WebSocketSource(Source[AudioChunk]):
    """Listens on ``host:port``; 48 kHz mono out, whatever rate the client has.

    A client may send faster than real time: its sound is then played at the pace of real time. While nobody is
    connected, or the client pauses, nothing is yielded.
    """

    name: ClassVar[str] = "websocket"

    def __init__(self, host: str = "127.0.0.1", port: int = 8081) -> None:
        self._host, self._port = host, port
        self._server: Server | None = None
        self._queue: Handover[tuple[F32, Ns, bool]] | None = None
        self._clock: Clock | None = None
        self._client: ServerConnection | None = None
        self.overruns = 0
        """Times at which sound was lost because the session was busy."""

    @property
    def port(self) -> int:
        """Where it listens; chosen by the system if it was 0."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else self._port

    async def open(self, clock: Clock) -> None:
        self._clock = clock
        self._queue = Handover[tuple[F32, Ns, bool]](QUEUE)
        try:
            self._server = await serve(self._serve, self._host, self._port, max_size=2**20, max_queue=4)
        except OSError as error:
            raise port_error(error, self._host, self._port, "input.websocket_port") from error

    async def items(self) -> AsyncIterator[AudioChunk]:
        if self._queue is None:
            raise RuntimeError("items before open")
        queue, last = self._queue, -1
        while True:
            (samples, pts, gap), lost = await queue.get()
            self.overruns += lost
            pts = Ns(max(pts, last + MILLISECOND))
            last = pts
            yield AudioChunk(pts, freeze(samples), RATE, discontinuity=gap or lost)

    async def close(self) -> None:
        server, self._server, self._queue = self._server, None, None
        if server is not None:
            server.close(code=1001)
            await server.wait_closed()

    async def _serve(self, client: ServerConnection) -> None:
        if self._client is not None:
            await client.close(1013, "another client is sending; try again later")
            return
        self._client = client
        try:
            await self._receive(client)
        except _ProtocolError as error:
            log.warning("sound client refused: %s", error)
            await client.close(1002, str(error)[:120])  # a reason may have 123 bytes
        except ConnectionClosed:
            pass
        finally:
            self._client = None

    async def _receive(self, client: ServerConnection) -> None:
        assert self._clock is not None
        rate, kind = await _hello(client)
        stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32") if rate != RATE else None
        fit, counted, gap, carry = DriftFit(), 0, True, b""
        async for message in client:
            if isinstance(message, str):
                raise _ProtocolError("after the first message only binary sound is understood")
            if len(message) > rate * kind.itemsize:
                raise _ProtocolError("a message holds more than one second; send shorter ones")
            data = carry + message
            whole = len(data) - len(data) % kind.itemsize
            carry = data[whole:]
            samples = _samples(data[:whole], kind)
            if stream is not None:
                samples = stream.resample_chunk(samples)
            if not len(samples):
                continue
            length = len(samples) * SECOND // RATE
            place = counted * SECOND // RATE
            if not gap and fit.to_session(place) > self._clock.now():
                # Sent ahead of time: it follows what came before.
                pts = fit.to_session(place)
            else:
                restarts = fit.restarts
                pts = fit.observe(place, self._clock.now())
                gap = gap or fit.restarts != restarts
            counted += len(samples)
            if self._queue is not None:
                self._queue.put((samples, pts, gap))
            gap = False
            await self._clock.sleep_until(Ns(pts + length - AHEAD))


class _ProtocolError(Exception):
    """The client does not keep to the protocol; the text is the reason it is told."""


async def _hello(client: ServerConnection) -> tuple[int, np.dtype[Any]]:
    try:
        message = await asyncio.wait_for(client.recv(), HELLO_WITHIN)
    except TimeoutError:
        raise _ProtocolError(f"no first message within {HELLO_WITHIN:g} s") from None
    hello: Any = None
    if isinstance(message, str):
        with contextlib.suppress(ValueError, RecursionError):
            hello = json.loads(message)
    if not isinstance(hello, dict):
        raise _ProtocolError('the first message must be JSON like {"rate": 16000, "format": "s16le"}')
    if unknown := set(hello) - {"rate", "format"}:
        raise _ProtocolError(f"unknown key {sorted(unknown)[0]!r} in the first message")
    rate, kind = hello.get("rate"), hello.get("format", "s16le")
    if not isinstance(rate, int) or isinstance(rate, bool) or not 8_000 <= rate <= 192_000:
        raise _ProtocolError("rate must be a whole number from 8000 to 192000")
    if kind not in FORMATS:
        raise _ProtocolError(f"format must be one of {', '.join(FORMATS)}")
    return rate, FORMATS[kind]


def _samples(data: bytes, kind: np.dtype[Any]) -> F32:
    samples: F32 = np.frombuffer(data, kind).astype(np.float32)
    if kind.kind == "i":
        samples /= 32768
    np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(samples, -1, 1, out=samples)
