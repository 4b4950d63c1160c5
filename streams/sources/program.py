"""A program drives the face: commands over a WebSocket (JSON) and over OSC (UDP).

WebSocket: each text is one command with the keys of :data:`avatar.core.program.KEYS`, for example
``{"au": {"12": 0.8}, "head": {"yaw": 10}, "priority": 60, "hold": 2}`` or ``{"gesture": "nod"}``. What cannot be done
is answered with ``{"error": line}``; nothing else is sent. When a client goes, what it has told fades.

OSC: ``/avatar/arkit/NAME f``, ``/avatar/au/NUMBER f``, ``/avatar/head yaw pitch roll``, ``/avatar/gaze yaw pitch`` in
degrees, ``/avatar/gesture s``, ``/avatar/priority i``, ``/avatar/hold f``, ``/avatar/release``; and
``/VMC/Ext/Blend/Val name value`` with ARKit's names, as face trackers send it. What cannot be done is logged once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from avatar.core import facs
from avatar.core.clock import Clock
from avatar.core.program import Command, CommandError, parse
from avatar.streams.base import Source
from avatar.streams.handover import Handover
from avatar.streams.sockets import port_error
from avatar.streams.sources import osc

log = logging.getLogger(__name__)

QUEUE = 256
MAX_TEXT = 16 * 1024
_ANY_CASE = {name.lower(): name for name in facs.ARKIT}


def may_connect(origin: str | None) -> bool:
    """Whether a WebSocket's ``Origin`` is a program (none), a page from this computer's disk, or one served by it: a
    foreign page that happens to be open must not move the face."""
    if origin is None or origin == "null":
        return True
    host = urlsplit(origin).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Commands(Source[Command]):
    """Hands on what its listener has put into the queue."""

    _queue: Handover[Command] | None = None
    _clock: Clock | None = None

    async def items(self) -> AsyncIterator[Command]:
        if self._queue is None:
            raise RuntimeError("items before open")
        while True:
            command, _ = await self._queue.get()
            yield command


class ProgramSource(_Commands):
    """Listens on a WebSocket's ``port``; 0 = any free one. Any number of clients."""

    name: ClassVar[str] = "program"

    def __init__(self, host: str = "127.0.0.1", port: int = 8083) -> None:
        self._host, self._port = host, port
        self._server: Server | None = None
        self._count = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else self._port

    async def open(self, clock: Clock) -> None:
        self._clock, self._queue = clock, Handover[Command](QUEUE)
        try:
            self._server = await serve(
                self._serve, self._host, self._port, max_size=MAX_TEXT, max_queue=32, process_request=_refuse_strangers
            )
        except OSError as error:
            raise port_error(error, self._host, self._port, "input.program_port") from error

    async def close(self) -> None:
        server, self._server, self._queue = self._server, None, None
        if server is not None:
            server.close(code=1001)
            await server.wait_closed()

    async def _serve(self, connection: ServerConnection) -> None:
        assert self._clock is not None
        self._count += 1
        name = f"client {self._count}"
        names: set[str] = set()
        try:
            async for message in connection:
                try:
                    command = parse(_object(message), self._clock.now(), name)
                except CommandError as error:
                    await connection.send(json.dumps({"error": str(error)}))
                    continue
                names.add(command.client)
                self._put(command)
        except ConnectionClosed:
            pass  # its face fades, below
        finally:
            for each in names:
                self._put(Command(self._clock.now(), each, release=True))

    def _put(self, command: Command) -> None:
        if self._queue is not None:
            self._queue.put(command)


def _object(message: str | bytes) -> Any:
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        raise CommandError('a command is a JSON object, as {"arkit": {"jawOpen": 0.5}}') from None


async def _refuse_strangers(connection: ServerConnection, request: Request) -> Response | None:
    if may_connect(request.headers.get("Origin")):
        return None
    return connection.respond(403, "only programs and pages of this computer may do that\n")


class OscSource(_Commands):
    """Listens on a UDP ``port``; 0 = any free one. Each sender's address is a client of its own."""

    name: ClassVar[str] = "osc"

    def __init__(self, host: str = "127.0.0.1", port: int = 9000) -> None:
        self._host, self._port = host, port
        self._transport: asyncio.DatagramTransport | None = None
        self._settings: dict[str, dict[str, Any]] = {}
        self._warned = False

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._transport.get_extra_info("sockname")[1]) if self._transport is not None else self._port

    async def open(self, clock: Clock) -> None:
        self._clock, self._queue = clock, Handover[Command](QUEUE)
        loop = asyncio.get_running_loop()
        try:
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=(self._host, self._port)
            )
        except OSError as error:
            raise port_error(error, self._host, self._port, "input.osc_port") from error

    async def close(self) -> None:
        transport, self._transport, self._queue = self._transport, None, None
        if transport is not None:
            transport.close()

    def received(self, data: bytes, sender: str) -> None:
        """A datagram: all its values are one command."""
        if self._queue is None or self._clock is None:
            return
        try:
            merged = dict(self._settings.get(sender, {}))
            told = False
            for message in osc.read(data):
                told |= self._merge(message, merged)
            kept: dict[str, Any] = {key: merged[key] for key in ("priority", "hold", "fade") if key in merged}
            if len(self._settings) < 64 or sender in self._settings:
                self._settings[sender] = kept
            if told:
                self._queue.put(parse(merged, self._clock.now(), sender))
        except (osc.OscError, CommandError) as error:
            if not self._warned:
                log.warning("OSC from %s: %s", sender, error)
            self._warned = True

    @staticmethod
    def _merge(message: osc.Message, into: dict[str, Any]) -> bool:
        """Put a message into a command; False = it only sets how the ones that follow are meant, or is not for us."""
        parts, arguments = message.address.strip("/").split("/"), message.arguments
        match parts:
            case ["avatar", "arkit", name]:
                into.setdefault("arkit", {})[_ANY_CASE.get(name.lower(), name)] = _first(arguments)
            case ["avatar", "au", number]:
                into.setdefault("au", {})[number] = _first(arguments)
            case ["avatar", "head" | "gaze" as part]:
                into[part] = dict(zip(("yaw", "pitch", "roll"), arguments, strict=False))
            case ["avatar", "gesture"]:
                into["gesture"] = _first(arguments)
            case ["avatar", "release"]:
                into["release"] = True
            case ["avatar", "priority" | "hold" | "fade" as part]:
                into[part] = _first(arguments)
                return False
            case ["VMC", "Ext", "Blend", "Val"] if len(arguments) == 2 and isinstance(arguments[0], str):
                name = _ANY_CASE.get(arguments[0].lower(), "")
                if not name:
                    return False  # a VRM model's own clip
                into.setdefault("arkit", {})[name] = arguments[1]
            case _:
                return False
        return True


def _first(arguments: tuple[osc.Argument, ...]) -> osc.Argument:
    if not arguments:
        raise CommandError("a value is missing")
    return arguments[0]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, source: OscSource) -> None:
        self._source = source

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        with contextlib.suppress(IndexError):  # a sender without an address cannot be told from others
            self._source.received(data, f"{addr[0]}:{addr[1]}")


def sources(ports: Mapping[str, int]) -> list[Source[Command]]:
    """The inputs whose port is not 0, of ``program`` and ``osc``."""
    made: list[Source[Command]] = []
    if ports.get("program"):
        made.append(ProgramSource(port=ports["program"]))
    if ports.get("osc"):
        made.append(OscSource(port=ports["osc"]))
    return made
