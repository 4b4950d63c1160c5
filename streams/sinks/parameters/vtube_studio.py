"""VTube Studio: drives a Live2D model through the plug-in API (WebSocket, port 8001).

The first time VTube Studio asks its user to allow "Vultus"; the token that it then gives is kept in a file that only
this user can read. Parameters are lost after a second without news, so a state is sent again where none comes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from pathlib import Path
from typing import Any, ClassVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException

from avatar.core import facs
from avatar.core.types import FaceState
from avatar.errors import ConfigError
from avatar.streams.sinks.parameters import vtube_api as api
from avatar.streams.sinks.parameters.base import BUFFER, LinkError, LinkSink, RefusedError
from avatar.streams.sinks.parameters.shaping import Shape

log = logging.getLogger(__name__)

KEEP_ALIVE = 0.5
"""Seconds after which the last state is sent again: half of what VTube Studio allows."""
ANSWER_WITHIN = 10.0
ALLOW_WITHIN = 300.0
"""Seconds that a user has to press Allow."""
LISTEN = 2.5
"""Seconds for the broadcast, which comes every two."""
HERE = f"ws://127.0.0.1:{api.PORT}"


class VtubeStudioSink(LinkSink):
    """Sends to one VTube Studio.

    :param address: ``ws://host:port``, or ``auto``.
    :param token_file: where the token is kept, mode 0600.
    :param custom: make and set the 52 coefficients as well.
    """

    name: ClassVar[str] = "vtube_studio"
    faults = (*LinkSink.faults, WebSocketException)

    def __init__(
        self,
        token_file: Path,
        address: str = "auto",
        shape: Shape = Shape(),  # noqa: B008 - immutable
        custom: bool = True,
        discovery_port: int = api.DISCOVERY_PORT,
    ) -> None:
        if address != "auto" and not address.startswith(("ws://", "wss://")):
            raise ConfigError(f"vtube_studio.address = {address!r}: write ws://host:{api.PORT}, or auto")
        super().__init__("VTube Studio" if address == "auto" else address, shape)
        self._address, self._custom = address, custom
        self._token_file = token_file
        self._discovery_port = discovery_port
        self._complaints: set[str] = set()

    async def converse(self) -> None:
        address = self._address if self._address != "auto" else (await discover(self._discovery_port)) or HERE
        self.where = f"VTube Studio at {address}"
        try:
            opening = connect(address, compression=None, write_limit=BUFFER, max_size=2**22, open_timeout=ANSWER_WITHIN)
        except InvalidURI as error:
            raise RefusedError(f"{address} is no address ({error}); write ws://host:{api.PORT}") from None
        async with opening as line:
            await self._log_in(line)
            if self._custom:
                await self._create(line)
            at: socket.socket | None = line.transport.get_extra_info("socket")
            if at is not None:
                # The system would hold megabytes of old states for a program that does not read.
                at.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            self.established()
            reading = asyncio.create_task(self._read(line))
            try:
                await self._inject(line, reading)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    # --- the beginning of a session ------------------------------------------------------------------------------

    async def _ask(
        self, line: ClientConnection, kind: str, data: dict[str, Any], within: float = ANSWER_WITHIN
    ) -> tuple[str, dict[str, Any]]:
        """Send a request; the type and the data of its answer."""
        await line.send(api.request(kind, data))
        async with asyncio.timeout(within):
            while True:
                found, number, content = api.answer(await line.recv())
                if number == f"{kind}0":
                    return found, content

    async def _log_in(self, line: ClientConnection) -> None:
        token = self._token()
        if token is None or not await self._authenticated(line, token):
            log.warning("%s: press Allow in VTube Studio, which asks about %s", self.name, api.PLUGIN)
            kind, data = await self._ask(line, "AuthenticationToken", dict(api.identity()), ALLOW_WITHIN)
            if kind == "APIError":
                self._refused(data)
            token = str(data.get("authenticationToken", ""))
            if not await self._authenticated(line, token):
                raise LinkError("VTube Studio does not take the token that it has just given")
            self._keep_token(token)

    async def _authenticated(self, line: ClientConnection, token: str) -> bool:
        kind, data = await self._ask(line, "Authentication", dict(api.identity(token)))
        return kind == "AuthenticationResponse" and bool(data.get("authenticated"))

    def _refused(self, data: dict[str, Any]) -> None:
        if data.get("errorID") == api.DENIED:
            raise RefusedError("VTube Studio's user has not allowed it; restart and press Allow to use this output")
        raise LinkError(f"VTube Studio gives no token: {data.get('message', 'no reason given')}")

    async def _create(self, line: ClientConnection) -> None:
        for name, shape in zip(api.CUSTOM, facs.ARKIT, strict=True):
            kind, data = await self._ask(line, "ParameterCreation", api.creation(name, shape))
            if kind == "APIError":
                raise RefusedError(
                    f"VTube Studio does not make the parameter {name} ({data.get('message', '')}); "
                    "set vtube_studio.custom to false to do without"
                )

    def _token(self) -> str | None:
        try:
            return str(json.loads(self._token_file.read_text(encoding="utf-8"))["token"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # the first time, or damaged: VTube Studio gives another

    def _keep_token(self, token: str) -> None:
        try:
            self._token_file.parent.mkdir(parents=True, exist_ok=True)
            self._token_file.unlink(missing_ok=True)  # an old file could be readable for others
            made = os.open(self._token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(made, "w", encoding="utf-8") as file:
                json.dump({"token": token}, file)
        except OSError as error:
            log.warning(
                "%s: %s cannot be written (%s); VTube Studio will ask again", self.name, self._token_file, error
            )

    # --- while it lasts ------------------------------------------------------------------------------------------

    async def _inject(self, line: ClientConnection, reading: asyncio.Task[None]) -> None:
        last: FaceState | None = None
        number = 0
        while not reading.done():
            state = await self.take(KEEP_ALIVE)
            last = state or last
            if last is None:
                continue
            number += 1
            await line.send(api.injection(last, self._custom, number))
            self.sent += state is not None
        reading.result()

    async def _read(self, line: ClientConnection) -> None:
        async for text in line:
            if "APIError" not in str(text):
                continue
            kind, _, data = api.answer(text)
            message = str(data.get("message", ""))
            if kind == "APIError" and message not in self._complaints and len(self._complaints) < 20:
                self._complaints.add(message)  # sixty a second would be too many
                log.warning("%s: VTube Studio says: %s", self.name, message)


class _Ear(asyncio.DatagramProtocol):
    """Takes the first broadcast of a VTube Studio whose API is on."""

    def __init__(self) -> None:
        self.found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, address: Any) -> None:
        try:
            kind, _, content = api.answer(data)
            port = int(content["port"])
        except (LinkError, KeyError, TypeError, ValueError):
            return
        if kind == "VTubeStudioAPIStateBroadcast" and content.get("active") and not self.found.done():
            self.found.set_result(f"ws://{address[0]}:{port}")


async def discover(port: int = api.DISCOVERY_PORT, within: float = LISTEN) -> str | None:
    """Where a VTube Studio on this network listens; None where none says so."""
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        # Other plug-ins listen too.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        line.bind(("", port))
        line.setblocking(False)
        transport, ear = await asyncio.get_running_loop().create_datagram_endpoint(_Ear, sock=line)
    except OSError as error:
        line.close()
        log.debug("vtube_studio: cannot listen for the broadcast (%s)", error)
        return None
    try:
        return await asyncio.wait_for(ear.found, within)
    except TimeoutError:
        return None
    finally:
        transport.close()
