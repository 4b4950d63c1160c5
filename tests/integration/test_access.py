"""Who may use the server."""

from __future__ import annotations

import aiohttp
import pytest
from serve_for_test import SmallControl

from avatar.config import Config
from avatar.core.clock import SessionClock
from avatar.errors import ConfigError
from avatar.streams.access import Access, check
from avatar.streams.server import Server
from avatar.streams.signaling import PeerHub

TOKEN = "a token that nobody guesses"


@pytest.fixture
async def site(tmp_path):
    now = [0.0]
    hub = PeerHub(SessionClock())
    server = Server(SmallControl(hub, tmp_path), hub, access=Access(TOKEN, seconds=lambda: now[0]))
    await server.start(port=0)
    server.now = now
    yield server
    await server.stop()


async def status(http: aiohttp.ClientSession, path: str, **more) -> int:
    async with http.get(path, allow_redirects=False, **more) as response:
        return response.status


async def test_nothing_without_the_token(site):
    async with aiohttp.ClientSession(site.url) as http:
        for path in ("/", "/app.js", "/api/state", "/api/meters", "/api/events", "/metrics", "/api/recordings/a.mp4"):
            assert await status(http, path) == 401, path
        for path in ("/healthz", "/readyz"):
            assert await status(http, path) == 200, path
        async with http.post("/api/offer", json={"sdp": "", "type": "offer"}) as response:
            assert response.status == 401
            assert "token" in (await response.json())["error"]


async def test_a_program_sends_it_with_each_request(site):
    async with aiohttp.ClientSession(site.url, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        assert await status(http, "/api/state") == 200
        assert await status(http, "/metrics") == 200


async def test_a_person_opens_the_address_once(site):
    async with aiohttp.ClientSession(site.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with http.get("/", params={"token": TOKEN}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/")
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert await status(http, "/") == 200
        assert await status(http, "/api/state") == 200
        async with http.ws_connect("/api/events") as events:
            assert (await events.receive_json())["type"] == "state"
    async with aiohttp.ClientSession(site.url, cookies={"vultus": "invented"}) as http:
        assert await status(http, "/api/state") == 401


async def test_guessing_is_slow(site):
    async with aiohttp.ClientSession(site.url) as http:
        answers = [await status(http, "/api/state", headers={"Authorization": f"Bearer {k:020}"}) for k in range(12)]
        assert answers == [401] * 8 + [429] * 4
        good = {"Authorization": f"Bearer {TOKEN}"}
        assert await status(http, "/api/state", headers=good) == 429
        site.now[0] += 61
        assert await status(http, "/api/state", headers=good) == 200


def test_an_address_that_others_reach_demands_a_token():
    check("127.0.0.1", "")
    check("0.0.0.0", TOKEN)
    for host in ("0.0.0.0", "::", "192.0.2.7", "avatar.example"):
        with pytest.raises(ConfigError, match=r"set server\.token too") as refused:
            check(host, "")
        assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="too few"):
        check("127.0.0.1", "short")


def test_the_command_refuses_to_start_in_the_open(avatar):
    run = avatar("run", "--set", "server.host=0.0.0.0")
    assert run.returncode == 2
    assert "server.token" in run.stderr.splitlines()[-1]
    assert Config().server.host == "127.0.0.1"
