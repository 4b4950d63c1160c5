"""The avatar, published to another server: to any WHIP endpoint (RFC 9725), or to a video room of Janus.

Fan-out to thousands is an SFU's work; one connection there costs us one encode. The connection is kept: when it ends or
never comes up, another is tried, sooner at first, then every half minute, and the log says so once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from abc import abstractmethod
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription

from avatar.errors import ConfigError, RunError
from avatar.streams.base import StreamFormat
from avatar.streams.rtc_patches import Losses, check_aiortc, make_live
from avatar.streams.sinks.webrtc import Outlet, WebRtcSink

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds between tries."""
CONNECT_S = 15.0
PATIENCE_S = 10.0
"""For one answer of the other server."""


class Publisher(WebRtcSink):
    """Keeps one connection to another server and sends the session over it.

    :param url: of the other server. :param token: what it wants to see. :param ice: STUN and TURN servers.
    """

    schemes: ClassVar[tuple[str, ...]]

    def __init__(self, url: str, token: str = "", ice: tuple[str, ...] = ()) -> None:
        super().__init__()
        check_aiortc()
        parts = urlsplit(url)
        if parts.scheme not in self.schemes or not parts.netloc:
            raise ConfigError(f"{self.name}: {url!r} is not an address; write it as {self.schemes[-1]}://host/path")
        self.url, self.token = url, token
        self.connected = asyncio.Event()
        self.failures = 0
        """Tries that came to nothing since the last connection."""
        self._ice = [RTCIceServer(urls=server) for server in ice]
        self._task: asyncio.Task[None] | None = None

    async def open(self, form: StreamFormat) -> None:
        await super().open(form)
        if self._task is None:
            self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await super().close()

    async def _keep(self) -> None:
        wait, told = FIRST_WAIT, ""
        while True:
            try:
                await self._publish()
                why, wait = "the connection has ended", FIRST_WAIT
            except (RunError, OSError, aiohttp.ClientError, ValueError) as error:
                why = " ".join(str(error).split())[:160] or type(error).__name__
            except TimeoutError:
                why = "no answer in time"
            self.failures += 1
            if why != told:
                log.warning("%s: %s; trying again", urlsplit(self.url).netloc, why)
                told = why
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _publish(self) -> None:
        """One connection, from the offer until it ends."""
        outlet, pc = self.attach(), RTCPeerConnection(RTCConfiguration(iceServers=self._ice))
        ended, up = asyncio.Event(), asyncio.Event()

        def look() -> None:
            if pc.connectionState == "connected":
                up.set()
            elif pc.connectionState in ("failed", "closed"):
                ended.set()

        pc.on("connectionstatechange", look)
        try:
            await self._negotiate(pc, outlet)
            await asyncio.wait_for(_either(up, ended), CONNECT_S)
            if not up.is_set():
                raise RunError("the media connection was not made; does a firewall stop UDP?")
            log.info("publishing to %s", urlsplit(self.url).netloc)
            self.failures = 0
            self.connected.set()
            await self._hold(ended)
        finally:
            self.connected.clear()
            self.detach(outlet)
            with contextlib.suppress(OSError, aiohttp.ClientError, TimeoutError):
                await asyncio.wait_for(self._leave(), 2.0)
            await pc.close()

    async def _negotiate(self, pc: RTCPeerConnection, outlet: Outlet) -> None:
        from avatar.streams.signaling import prefer

        for track in outlet.tracks.values():
            prefer(pc.addTransceiver(track, direction="sendonly"))
        await pc.setLocalDescription(await pc.createOffer())
        answer = await self._exchange(pc.localDescription.sdp)
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        # The codecs are agreed on, and nothing has been sent: connecting begins when the loop is free again.
        losses = Losses()
        for transceiver in pc.getTransceivers():
            make_live(transceiver, self.line, losses, outlet.viewer)

    @abstractmethod
    async def _exchange(self, offer: str) -> str:
        """Send the offer, return the answer. Raises RunError with one line where it is refused."""

    @abstractmethod
    async def _leave(self) -> None:
        """Say good-bye."""

    async def _hold(self, ended: asyncio.Event) -> None:
        """Until the connection ends."""
        await ended.wait()


async def _either(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class WhipSink(Publisher):
    """Publishes to a WHIP endpoint."""

    name: ClassVar[str] = "whip"
    schemes = ("http", "https")

    _place: str | None = None

    async def _exchange(self, offer: str) -> str:
        headers = {"Content-Type": "application/sdp", **self._authorization}
        async with self._http() as http, http.post(self.url, data=offer.encode(), headers=headers) as response:
            text = await response.text()
            if response.status != 201:
                raise RunError(f"WHIP answered {response.status}: {text[:120]}")
            location = response.headers.get("Location")
            self._place = urljoin(str(response.url), location) if location else None
            return text

    async def _leave(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            async with self._http() as http, http.delete(place, headers=self._authorization):
                pass

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @staticmethod
    def _http() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S))


class JanusSink(Publisher):
    """Publishes to a room of Janus' video room plug-in, over its WebSocket API.

    :param url: as in ``ws://127.0.0.1:8188``. :param room: its number. :param token: the room's pin.
    """

    name: ClassVar[str] = "janus"
    schemes = ("ws", "wss")
    PLUGIN = "janus.plugin.videoroom"
    KEEP_ALIVE_S = 20.0
    """Janus ends a session of which nothing is heard for a minute."""

    def __init__(
        self, url: str, room: int = 1234, token: str = "", display: str = "Vultus (AI-generated)",
        ice: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(url, token, ice)
        self._room, self._display = room, display
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._ids: dict[str, int] = {}

    async def _exchange(self, offer: str) -> str:
        self._http = aiohttp.ClientSession()
        self._socket = await asyncio.wait_for(
            self._http.ws_connect(self.url, protocols=("janus-protocol",)), PATIENCE_S
        )
        self._ids["session_id"] = (await self._ask({"janus": "create"}))["data"]["id"]
        self._ids["handle_id"] = (await self._ask({"janus": "attach", "plugin": self.PLUGIN}))["data"]["id"]
        join = {"request": "join", "ptype": "publisher", "room": self._room, "display": self._display}
        await self._ask({"janus": "message", "body": join | ({"pin": self.token} if self.token else {})}, event=True)
        jsep = {"type": "offer", "sdp": offer}
        answer = await self._ask({"janus": "message", "body": {"request": "publish"}, "jsep": jsep}, event=True)
        if "jsep" not in answer:
            raise RunError("Janus sent no answer to the offer")
        return str(answer["jsep"]["sdp"])

    async def _ask(self, message: dict[str, Any], event: bool = False) -> dict[str, Any]:
        """The answer to a message; with ``event`` what comes after the acknowledgement."""
        assert self._socket is not None
        transaction = secrets.token_hex(6)
        await self._socket.send_str(json.dumps({**message, **self._ids, "transaction": transaction}))
        async with asyncio.timeout(PATIENCE_S):
            async for raw in self._socket:
                if raw.type is not aiohttp.WSMsgType.TEXT:
                    break
                answer: dict[str, Any] = json.loads(raw.data)
                if answer.get("transaction") != transaction or (event and answer["janus"] == "ack"):
                    continue
                data = answer.get("plugindata", {}).get("data", {})
                if answer["janus"] == "error" or "error" in data:
                    raise RunError(f"Janus: {data.get('error') or answer['error'].get('reason', 'refused')}")
                return answer
        raise RunError("Janus has closed the connection")

    async def _hold(self, ended: asyncio.Event) -> None:
        done, socket = asyncio.Event(), self._socket
        assert socket is not None

        async def listen() -> None:
            async for raw in socket:
                if raw.type is not aiohttp.WSMsgType.TEXT or json.loads(raw.data).get("janus") in ("hangup", "timeout"):
                    break
            done.set()

        async def live() -> None:
            while True:
                await asyncio.sleep(self.KEEP_ALIVE_S)
                beat = {"janus": "keepalive", "session_id": self._ids["session_id"], "transaction": "alive"}
                await socket.send_str(json.dumps(beat))

        tasks = [asyncio.create_task(listen()), asyncio.create_task(live())]
        try:
            await _either(done, ended)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave(self) -> None:
        socket, http, self._socket, self._http = self._socket, self._http, None, None
        ids, self._ids = self._ids, {}
        try:
            if socket is not None and not socket.closed and "session_id" in ids:
                bye = {"janus": "destroy", "session_id": ids["session_id"], "transaction": "bye"}
                await socket.send_str(json.dumps(bye))
                await socket.close()
        finally:
            if http is not None:
                await http.close()
