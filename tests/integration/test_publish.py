"""The avatar at another server: one of our own by WHIP, and a real Janus."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from rtc_client import Show, until
from serve_for_test import SmallControl

from avatar.core.clock import SessionClock
from avatar.errors import ConfigError
from avatar.streams.access import Access
from avatar.streams.server import Server
from avatar.streams.signaling import PeerHub
from avatar.streams.sinks import publish
from avatar.streams.sinks.publish import JanusSink, WhipSink
from avatar.testing import janus

TOKEN = "a token that nobody guesses"


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(publish, "FIRST_WAIT", 0.2)
    monkeypatch.setattr(publish, "LONGEST_WAIT", 0.5)


async def endpoint(clock: SessionClock, folder, port: int = 0) -> Server:
    hub = PeerHub(clock)
    server = Server(SmallControl(hub, folder), hub, access=Access(TOKEN))
    await server.start(port=port)
    return server


async def first(source, clock):
    await source.open(clock)
    try:
        return await asyncio.wait_for(anext(source.items()), 10)
    finally:
        await source.close()


async def test_whip_publishes_and_comes_back_when_the_other_side_was_away(tmp_path, soon, caplog):
    clock = SessionClock()
    other = await endpoint(clock, tmp_path)
    sink = WhipSink(f"{other.url}/whip", TOKEN)
    try:
        async with Show(sink, clock):
            await asyncio.wait_for(sink.connected.wait(), 15)
            picture = await first(other._hub.video_source(), clock)
            sound = await first(other._hub.audio_source(), clock)
            assert picture.pixels.shape == (128, 128, 3)
            assert len(sound.samples) == 960
            port = other.port
            await other.stop()
            await until(lambda: not sink.connected.is_set(), 20)
            other = await endpoint(clock, tmp_path, port)
            await asyncio.wait_for(sink.connected.wait(), 20)
            await first(other._hub.video_source(), clock)
        await sink.close()
        await until(lambda: not other._hub._peers, 3)
        assert not sink.active
    finally:
        await other.stop()


@pytest.mark.parametrize(("token", "says"), [("another token, wrong", "401"), ("", "401")])
async def test_a_refusal_is_said_once(tmp_path, soon, caplog, token, says):
    clock = SessionClock()
    other = await endpoint(clock, tmp_path)
    sink = WhipSink(f"{other.url}/whip", token)
    with caplog.at_level(logging.WARNING):
        async with Show(sink, clock):
            await until(lambda: sink.failures >= 3, 10)
    await sink.close()
    await other.stop()
    lines = [r.getMessage() for r in caplog.records if "trying again" in r.getMessage()]
    assert len(lines) == 1
    assert says in lines[0]
    assert token not in lines[0] or not token


def test_an_address_that_is_none():
    for url in ("", "ftp://a/whip", "whip", "http:///whip"):
        with pytest.raises(ConfigError, match="write it as https://host/path"):
            WhipSink(url)
    with pytest.raises(ConfigError, match="wss://"):
        JanusSink("http://a")


# --- Janus -----------------------------------------------------------------------------------------------------------

needs_janus = pytest.mark.skipif(not janus.installed(), reason="janus is not installed")


class Watcher:
    """Subscribes to whoever publishes in the room, as a viewer's page does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames: dict[str, list] = {"audio": [], "video": []}
        self._ids: dict[str, int] = {}
        self._tasks: list[asyncio.Task] = []

    async def __aenter__(self) -> Watcher:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(self.url, protocols=("janus-protocol",))
        self._ids["session_id"] = (await self._ask({"janus": "create"}))["data"]["id"]
        self._ids["handle_id"] = (await self._ask({"janus": "attach", "plugin": JanusSink.PLUGIN}))["data"]["id"]
        body = {"request": "listparticipants", "room": janus.ROOM}
        (who,) = (await self._ask({"janus": "message", "body": body}))["plugindata"]["data"]["participants"]
        self.name = who["display"]
        body = {"request": "join", "ptype": "subscriber", "room": janus.ROOM, "pin": janus.PIN}
        offer = await self._ask({"janus": "message", "body": {**body, "streams": [{"feed": who["id"]}]}}, event=True)
        self.pc.on("track", lambda track: self._tasks.append(asyncio.create_task(self._read(track))))
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=offer["jsep"]["sdp"], type="offer"))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        jsep = {"type": "answer", "sdp": self.pc.localDescription.sdp}
        await self._ask({"janus": "message", "body": {"request": "start"}, "jsep": jsep}, event=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pc.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    async def _read(self, track) -> None:
        while True:
            self.frames[track.kind].append(await track.recv())

    async def _ask(self, message: dict, event: bool = False) -> dict:
        transaction = secrets.token_hex(4)
        await self._socket.send_str(json.dumps({**message, **self._ids, "transaction": transaction}))
        while True:
            answer = json.loads((await self._socket.receive(timeout=10)).data)
            if answer.get("transaction") == transaction and not (event and answer["janus"] == "ack"):
                return answer


@needs_janus
async def test_a_room_of_janus_shows_the_avatar_and_again_after_a_restart(soon):
    clock = SessionClock()
    with janus.Janus() as server:
        sink = JanusSink(server.url, janus.ROOM, janus.PIN)
        async with Show(sink, clock):
            await asyncio.wait_for(sink.connected.wait(), 15)
            for turn in range(2):
                async with Watcher(server.url) as viewer:
                    await until(lambda v=viewer: len(v.frames["video"]) >= 20 and len(v.frames["audio"]) >= 20, 15)
                    assert viewer.name == "Vultus (AI-generated)"
                    levels = [frame.to_ndarray(format="gray").mean() for frame in viewer.frames["video"][5:]]
                    assert max(levels) > 200, "it flashes"
                    assert min(levels) < 60
                if turn == 0:
                    server.stop()
                    await until(lambda: not sink.connected.is_set(), 20)
                    server.start()
                    await asyncio.wait_for(sink.connected.wait(), 20)
        await sink.close()


@needs_janus
async def test_a_wrong_pin_is_said(soon, caplog):
    with janus.Janus() as server, caplog.at_level(logging.WARNING):
        sink = JanusSink(server.url, janus.ROOM, "wrong")
        async with Show(sink, SessionClock()):
            await until(lambda: sink.failures >= 2, 10)
        await sink.close()
    assert any("Janus: Unauthorized" in r.getMessage() for r in caplog.records), caplog.text
