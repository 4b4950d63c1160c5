"""The HTTP side, over real sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from rtc_client import Client, Show, Tone, until
from serve_for_test import SmallControl

from avatar.core.clock import SessionClock
from avatar.errors import PortInUseError, UsageError
from avatar.streams import access
from avatar.streams.server import Server
from avatar.streams.signaling import PeerHub

HERE = Path(__file__).parent


class Site:
    """A running server and a client for it."""

    def __init__(self, server: Server, hub: PeerHub, control: SmallControl, http: aiohttp.ClientSession) -> None:
        self.server, self.hub, self.control, self.http = server, hub, control, http

    async def ask(self, method: str, path: str, **more) -> tuple[int, dict]:
        async with self.http.request(method, path, **more) as response:
            return response.status, await response.json()

    async def signal(self, sdp: str, kind: str) -> tuple[str, str, str]:
        status, answer = await self.ask("POST", "/api/offer", json={"sdp": sdp, "type": kind})
        assert status == 200, answer
        return answer["sdp"], answer["type"], answer["peer"]


@pytest.fixture
async def site(tmp_path):
    hub = PeerHub(SessionClock())
    control = SmallControl(hub, tmp_path)
    server = Server(control, hub)
    await server.start(port=0)
    async with aiohttp.ClientSession(server.url) as http:
        yield Site(server, hub, control, http)
    await server.stop()
    await server.stop()


# --- the page ------------------------------------------------------------------------------------------------------


async def test_the_page(site):
    async with site.http.get("/") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        html = await response.text()
    assert "<html" in html
    assert "<script>" not in html, "the policy forbids scripts in the page"
    async with site.http.get("/app.js") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing.html",
        "/index.html%00",
        "/a/../../server.py",
        "/__init__.py",
        "/../server.py",
        "/%2e%2e/server.py",
        "/..%2fserver.py",
        "/%2fetc%2fpasswd",
        "/api/nothing",
    ],
)
async def test_only_the_page_is_served(site, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 404")
    assert json.loads(body)["error"] == "there is no such page"


async def test_it_is_alive(site):
    assert await site.ask("GET", "/healthz") == (200, {"ok": True})


# --- state and errors ----------------------------------------------------------------------------------------------


async def test_state_is_read_and_changed(site):
    status, state = await site.ask("GET", "/api/state")
    assert (status, state["source"]) == (200, "demo")
    status, state = await site.ask("PATCH", "/api/state", json={"source": "silence", "head": 0.5})
    assert (status, state["source"], state["head"]) == (200, "silence", 0.5)
    assert await site.ask("PATCH", "/api/state", json={"head": 9}) == (400, {"error": "head: a number from 0 to 1.5"})


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"{", "the request is not JSON"),
        (b"\xff\xfe", "the request is not JSON"),
        (b"[1]", "the request is not a JSON object"),
        (b'{"source": "page", "peer": 3}', "'peer' is the text that came with the answer to the offer"),
        (b'{"source": "page", "peer": "x"}', "no page with the id 'x' is connected; reload the page"),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "the request is too long"),
    ],
)
async def test_bad_requests_get_one_line(site, body, line):
    assert await site.ask("PATCH", "/api/state", data=body) == (400, {"error": line})


async def test_a_fault_of_ours_is_logged_and_not_told(site, monkeypatch, caplog):
    monkeypatch.setattr(site.control, "meters", lambda: 1 / 0)
    status, answer = await site.ask("GET", "/api/meters")
    assert status == 500
    assert answer == {"error": "internal error; the log of the program says more"}
    assert "ZeroDivisionError" in caplog.text


async def test_say_and_record(site):
    assert await site.ask("POST", "/api/say", json={"text": "Hello"}) == (200, {"ok": True})
    assert site.control.said == ["Hello"]
    assert await site.ask("POST", "/api/say", json={}) == (400, {"error": "the request lacks 'text', a text"})
    asked = {"text": "Is it late?", "act": "ask", "voice": "de", "emotion": {"label": "anger"}}
    assert await site.ask("POST", "/say", json=asked) == (200, {"ok": True})
    assert site.control.said[-1] == "Is it late?"
    status, answer = await site.ask("POST", "/say", json={"text": "x", "act": 5})
    assert (status, answer["error"]) == (400, "the request lacks 'act', a text")
    status, answer = await site.ask("POST", "/say", json={"text": "x", "actt": "ask"})
    assert (status, answer["error"]) == (400, "unknown key 'actt'; there are: text, act, voice, emotion")
    assert await site.ask("POST", "/api/record", json={"on": True}) == (200, {"recording": "a.mp4"})
    status, answer = await site.ask("POST", "/api/record", json={"on": "yes"})
    assert (status, answer["error"]) == (400, "the request lacks 'on', true or false")


# --- avatars and recordings ----------------------------------------------------------------------------------------


def form(photo: bytes | None, /, **texts: str) -> aiohttp.FormData:
    made = aiohttp.FormData(texts, default_to_multipart=True)
    if photo is not None:
        made.add_field("photo", photo, filename="me.jpg", content_type="image/jpeg")
    return made


async def test_a_photo_is_taken(site):
    photo = b"\xff\xd8" + bytes(3_000_000)
    texts = {"name": "me", "title": " Me ", "consent": "self"}
    status, answer = await site.ask("POST", "/api/avatars", data=form(photo, **texts))
    assert (status, answer) == (201, {"name": "me", "title": "Me", "builtin": False})
    assert site.control.photos == [(photo, "me", "Me", "self")]


async def test_a_second_photo_is_taken_and_is_a_file(site):
    texts = {"name": "me", "title": "Me", "consent": "self"}
    both = form(b"\xff\xd8one", **texts)
    both.add_field("smile", b"\xff\xd8two", filename="smile.jpg", content_type="image/jpeg")
    assert (await site.ask("POST", "/api/avatars", data=both))[0] == 201
    assert site.control.smiles == [b"\xff\xd8two"]
    answer = await site.ask("POST", "/api/avatars", data=form(b"\xff\xd8one", **texts, smile="cheese"))
    assert answer == (400, {"error": "the form's 'smile' is no file"})


async def test_a_photo_that_is_none_is_refused(site):
    line = "this is not a picture; choose a JPEG or PNG"
    answer = await site.ask("POST", "/api/avatars", data=form(b"GIF89a", name="x"))
    assert answer == (400, {"error": line, "code": "unreadable"})
    answer = await site.ask("POST", "/api/avatars", data=form(b"", name="x"))
    assert answer == (400, {"error": line, "code": "unreadable"})
    answer = await site.ask("POST", "/api/avatars", data=form(None, name="x", photo="text"))
    assert answer == (400, {"error": "the form has no file called 'photo'"})
    answer = await site.ask("POST", "/api/avatars", json={"photo": "x"})
    assert answer == (400, {"error": "send the photo as a form (multipart/form-data)"})
    status, answer = await site.ask("POST", "/api/avatars", data=form(b"\xff\xd8", name="x" * 300))
    assert (status, answer["error"]) == (400, "name, title and consent are texts of at most 200 characters")


async def test_a_file_that_is_too_large_is_refused(site, monkeypatch):
    status, answer = await site.ask("POST", "/api/avatars", data=form(bytes(33 * 1024 * 1024), name="x"))
    assert (status, answer) == (413, {"error": "too large; the limit is 32 MB"})
    assert site.control.photos == []


async def test_thumbs(site):
    async with site.http.get("/api/avatars/ada/thumb.jpg") as response:
        assert response.headers["Content-Type"] == "image/jpeg"
        assert await response.read() == b"\xff\xd8thumb"
    assert await site.ask("GET", "/api/avatars/eve/thumb.jpg") == (404, {"error": "there is no avatar 'eve'"})


async def test_recordings(site, tmp_path):
    (tmp_path / "a.mp4").write_bytes(bytes(range(100)))
    (tmp_path / "notes.txt").write_text("private")
    (tmp_path / "link.mp4").symlink_to("/etc/hostname")
    async with site.http.get("/api/recordings/a.mp4", headers={"Range": "bytes=10-19"}) as response:
        assert response.status == 206
        assert response.headers["Content-Type"] == "video/mp4"
        assert await response.read() == bytes(range(10, 20))
    for name in ("b.mp4", "notes.txt", "link.mp4", "..%2fa.mp4", ".hidden.mp4", "a.mp4%00", "a%5c..%5cb.mp4"):
        status, answer = await site.ask("GET", aiohttp.client.URL(f"/api/recordings/{name}", encoded=True))
        assert (status, answer) == (404, {"error": "there is no such recording"}), name


# --- whose page ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/api/state"),
        ("POST", "/api/offer"),
        ("POST", "/api/say"),
        ("POST", "/api/record"),
        ("POST", "/api/avatars"),
        ("DELETE", "/api/peers/x"),
    ],
)
async def test_other_pages_change_nothing(site, method, path, headers):
    answer = await site.ask(method, path, headers=headers, json={"text": "x"})
    assert answer == (403, {"error": "only this program's own page may do that"})


async def test_our_own_page_may(site):
    headers = {"Origin": site.server.url, "Sec-Fetch-Site": "same-origin"}
    status, _ = await site.ask("PATCH", "/api/state", headers=headers, json={"head": 0.3})
    assert status == 200


async def test_a_name_that_points_here_is_not_us(site):
    """DNS rebinding: a foreign page under a name that resolves to 127.0.0.1."""
    host = f"evil.example:{site.server.port}"
    headers = {"Host": host, "Origin": f"http://{host}"}
    for method, path in (("GET", "/api/state"), ("PATCH", "/api/state"), ("GET", "/")):
        status, answer = await site.ask(method, path, headers=headers, json={})
        assert (status, answer["error"]) == (403, f"this is not the address of this program; open {site.server.url}")
    for name in ("localhost", "[::1]", "127.0.0.1"):
        status, _ = await site.ask("GET", "/api/state", headers={"Host": f"{name}:{site.server.port}"})
        assert status == 200


async def test_other_pages_hear_no_events(site):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.http.ws_connect("/api/events", headers={"Origin": "http://evil.example"})
    assert refused.value.status == 403


# --- events --------------------------------------------------------------------------------------------------------


async def test_events(site):
    async with site.http.ws_connect("/api/events", headers={"Origin": site.server.url}) as events:
        first = await events.receive_json(timeout=2)
        assert (first["type"], first["source"]) == ("state", "demo")
        begun, kinds = time.monotonic(), []
        while len(kinds) < 4:
            kinds.append((await events.receive_json(timeout=2))["type"])
        assert kinds == ["meters"] * 4 or kinds[0] == "state"
        assert 0.6 < time.monotonic() - begun < 2.5, "four a second"
        await site.ask("PATCH", "/api/state", json={"source": "silence"})
        while (event := await events.receive_json(timeout=2))["type"] != "state":
            pass
        assert event["source"] == "silence"
        site.control.values["source"] = "demo"  # nobody asked: the engine changed by itself
        while (event := await events.receive_json(timeout=2))["type"] != "state" or event["source"] != "demo":
            pass
    await until(lambda: not site.server._events._sockets, 2)


# --- peers ---------------------------------------------------------------------------------------------------------


async def test_a_page_connects_speaks_and_leaves(site):
    clock = SessionClock()
    microphone, chunks = site.hub.audio_source(), []
    await microphone.open(clock)

    async def listen():
        async for chunk in microphone.items():
            chunks.append(chunk)

    listening = asyncio.create_task(listen())
    async with Show(site.hub.sink, clock), Client(site.signal, audio=Tone()) as page:
        await page.until(lambda: page.frames["video"] and page.frames["audio"])
        assert (await site.ask("GET", "/api/meters"))[1]["viewers"] == 1
        status, _ = await site.ask("PATCH", "/api/state", json={"source": "page", "peer": page.peer})
        assert status == 200
        await until(lambda: len(chunks) > 10)
        assert await site.ask("DELETE", f"/api/peers/{page.peer}") == (200, {"ok": True})
        assert page.peer not in site.hub
        assert await site.ask("DELETE", f"/api/peers/{page.peer}") == (200, {"ok": True})
        status, answer = await site.ask("PATCH", "/api/state", json={"source": "page", "peer": page.peer})
        assert status == 400
        assert "is connected; reload the page" in answer["error"]
    await microphone.close()
    await listening


@pytest.mark.parametrize("sdp", ["", "nonsense", "v=0\r\nm=audio\r\n"])
async def test_a_bad_offer(site, sdp):
    status, answer = await site.ask("POST", "/api/offer", json={"sdp": sdp, "type": "offer"})
    assert status == 400
    assert answer["error"].startswith("the offer cannot be used (")
    status, answer = await site.ask("POST", "/api/offer", json={"type": "offer"})
    assert (status, answer) == (400, {"error": "the request lacks 'sdp', a text"})


async def test_no_room(site):
    site.hub.max_peers = 0
    status, answer = await site.ask("POST", "/api/offer", json={"sdp": "x", "type": "offer"})
    assert status == 503
    assert "limit" in answer["error"]


# --- starting and stopping -----------------------------------------------------------------------------------------


async def test_a_port_that_is_taken(site):
    hub = PeerHub(SessionClock())
    other = Server(SmallControl(hub, Path()), hub)
    with pytest.raises(PortInUseError) as refused:
        await other.start(port=site.server.port)
    port = site.server.port
    line = f"port {port} on 127.0.0.1 is taken by another program; stop that or choose another port"
    assert str(refused.value) == line
    with pytest.raises(UsageError, match=r"^cannot listen on '192\.0\.2\.99' port 0: "):
        await other.start("192.0.2.99", 0)
    await other.stop()


async def test_nothing_is_left_after_the_end(tmp_path):
    before = asyncio.all_tasks()
    clock = SessionClock()
    hub = PeerHub(clock)
    server = Server(SmallControl(hub, tmp_path), hub)
    await server.start(port=0)
    async with aiohttp.ClientSession(server.url) as http, Show(hub.sink, clock):
        site = Site(server, hub, server._control, http)
        page = await Client(site.signal, audio=Tone()).__aenter__()
        events = await http.ws_connect("/api/events")
        await page.until(lambda: page.frames["video"])
        begun = time.monotonic()
        await server.stop()
        assert time.monotonic() - begun < 1.5
        await page.close()
        await events.close()
    await until(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()}, 3)


async def test_it_ends_within_two_seconds_of_a_sigterm(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "serve_for_test.py"), stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            site = Site(None, None, None, http)
            async with Client(site.signal, audio=Tone()) as page:
                events = await http.ws_connect("/api/events")
                await page.until(lambda: page.frames["video"] and page.frames["audio"])
                process.send_signal(signal.SIGTERM)
                begun = time.monotonic()
                assert await asyncio.wait_for(process.wait(), 10) == 0
                assert time.monotonic() - begun < 2.0
                await events.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_addresses_of_this_computer():
    for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost", "x.localhost"):
        assert access.is_loopback(host)
    for host in ("0.0.0.0", "192.0.2.1", "", "localhost.evil.example", "127.0.0.1.evil.example"):
        assert not access.is_loopback(host)


# --- the user's own head -------------------------------------------------------------------------------------------


async def test_a_head_is_learnt_only_with_consent(site):
    for body, says in (
        ({"peer": "a"}, "consent"),
        ({"peer": "a", "consent": "yes"}, "consent"),
        ({"consent": True}, "'peer'"),
        ({"peer": "a", "consent": True, "seconds": "long"}, "'seconds'"),
        ({"peer": "a", "consent": True, "seconds": True}, "'seconds'"),
    ):
        status, answer = await site.ask("POST", "/api/calibration", json=body)
        assert (status, says in answer["error"]) == (400, True), answer
    assert site.control.own_head.asked == []
    status, answer = await site.ask("POST", "/api/calibration", json={"peer": "a", "consent": True, "seconds": 60})
    assert (status, answer["asked"]) == (201, [["a", 60]])


async def test_the_own_head_is_looked_at_used_and_deleted(site):
    assert (await site.ask("GET", "/api/calibration"))[1]["state"] == "idle"
    assert (await site.ask("PATCH", "/api/calibration", json={"use": False}))[1]["asked"] == [False]
    for method, path, body, says in (
        ("PATCH", "/api/calibration", {"use": 1}, "'use'"),
        ("POST", "/api/calibration/stop", {}, "'keep'"),
        ("POST", "/api/calibration/stop", {"keep": True}, "no calibration is on"),
        ("DELETE", "/api/calibration", None, "no calibration is called"),
    ):
        status, answer = await site.ask(method, path, json=body)
        assert (status, says in answer["error"]) == (400, True), answer


async def test_another_site_cannot_start_a_recording(site):
    body = {"peer": "a", "consent": True}
    for headers in ({"Origin": "https://example.org"}, {"Sec-Fetch-Site": "cross-site"}):
        status, _ = await site.ask("POST", "/api/calibration", json=body, headers=headers)
        assert status == 403
    assert site.control.own_head.asked == []


async def test_the_meters_of_a_real_session_with_every_kind_of_sink():
    from avatar.assembly import Pipeline
    from avatar.config import load

    pipeline = Pipeline(load(None, ['output.sinks=["webrtc", "parameters", "null"]', "avatar.size=256"]).config)
    for sink in pipeline.sinks:
        pipeline.attach(sink)
    said = json.loads(json.dumps(pipeline.control.meters()))
    assert said["dropped"] == {"frames": 0, "states": 0, "sound": 0, "sound_in_s": 0.0}
    assert said["viewers"] == said["encodes"] == 0
    for sink in pipeline.sinks:
        await pipeline.session.detach(sink)
