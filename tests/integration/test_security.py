"""Attacks on a running engine: each is refused with the right status, and the pictures go on meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import io
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from avatar.streams import limits
from avatar.streams.server import MAX_UPLOAD

TOKEN, SECRET, PASSWORD = "a-token-that-nobody-guesses", "what-only-turn-knows", "of-the-room-and-secret"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FPS = 10
pytestmark = pytest.mark.slow


class Engine:
    """``avatar run`` with a token, and a look at how many pictures it has drawn."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        settings = [
            "server.port=0", f'server.token="{TOKEN}"', f'server.turn_secret="{SECRET}"', "avatar.size=256",
            'server.ice=["turn:turn.example.org"]', f"avatar.fps={FPS}", 'output.sinks=["webrtc", "null"]',
            f'output.publish_token="{PASSWORD}"', "avatar.quality=low",
        ]  # fmt: skip
        arguments = [word for setting in settings for word in ("--set", setting)]
        environment = {
            **os.environ, "PYTHONUNBUFFERED": "1",
            "XDG_DATA_HOME": str(folder / "data"), "XDG_VIDEOS_DIR": str(folder / "videos"),
        }  # fmt: skip
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "avatar.cli", "run", "-vv", *arguments],
                stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, self.log.read_text()
        self.url = line.split()[-1]
        self.host, self.port = "127.0.0.1", urlsplit(self.url).port or 0

    def frames(self) -> int:
        asked = urllib.request.Request(f"{self.url}/api/meters", headers=BEARER)
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(json.loads(answer.read())["frames"])

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    running = Engine(tmp_path_factory.mktemp("engine"))
    end = time.monotonic() + 60
    while running.frames() < 5 * FPS and time.monotonic() < end:  # the first seconds are a start's, not an attack's
        time.sleep(0.2)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def pictures_go_on(engine: Engine, request: pytest.FixtureRequest, record_property: Any) -> Iterator[None]:
    """Looks at the number of pictures five times a second while an attack is on."""
    seen: list[tuple[float, int]] = []
    over = threading.Event()

    def look() -> None:
        line = http.client.HTTPConnection(engine.host, engine.port, timeout=10)  # one connection, which stays
        while not over.wait(0.2) or len(seen) < 12:
            line.request("GET", "/api/meters", headers=BEARER)
            seen.append((time.monotonic(), json.loads(line.getresponse().read())["frames"]))
            if over.is_set():
                time.sleep(0.2)
        line.close()

    watch = threading.Thread(target=look)
    watch.start()
    yield
    over.set()
    watch.join(20)
    assert engine.process.poll() is None, engine.log.read_text()[-2000:]
    rate = (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])
    moved = [seen[0][0]] + [at for (_, before), (at, now) in itertools.pairwise(seen) if now > before]
    longest = max(b - a for a, b in zip(moved, [*moved[1:], seen[-1][0]], strict=True))
    print(f"{request.node.name}: {rate:.1f} pictures a second, longest stand {longest:.2f} s")
    assert rate > FPS / 4, "the engine slows down (beside everything else that this machine does)"
    assert longest < 2.0, "the picture stands still"


async def ask(engine: Engine, method: str, path: str, **more: Any) -> tuple[int, str, Any]:
    headers = {**BEARER, **more.pop("headers", {})}
    async with aiohttp.ClientSession(engine.url) as site, site.request(method, path, headers=headers, **more) as answer:
        return answer.status, await answer.text(), answer.headers


async def raw(engine: Engine, *pieces: bytes, wait: float = 0.0) -> bytes:
    """What comes back for some bytes; the server may hang up before all of them are sent."""
    reader, writer = await asyncio.open_connection(engine.host, engine.port)
    answer = asyncio.create_task(reader.read(4096))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if wait and (await asyncio.wait({answer}, timeout=wait))[0]:
                break
        return await asyncio.wait_for(answer, 30)
    except ConnectionError:
        return b""
    finally:
        writer.close()


# --- who may -------------------------------------------------------------------------------------------------------


async def test_another_origin(engine: Engine) -> None:
    evil = {"Origin": "https://evil.example"}
    for method, path in (
        ("PATCH", "/api/state"), ("POST", "/api/say"), ("POST", "/api/avatars"), ("POST", "/whip"), ("POST", "/whep"),
        ("DELETE", "/api/calibration"), ("OPTIONS", "/api/state"), ("OPTIONS", "/whip"),
    ):  # fmt: skip
        status, _, headers = await ask(engine, method, path, headers=evil, data="{}")
        assert status == 403, (method, path)
        assert "Access-Control-Allow-Origin" not in headers
    status, _, headers = await ask(engine, "GET", "/api/state", headers=evil)
    assert "Access-Control-Allow-Origin" not in headers, "answered, but no page of another origin can read it"
    assert (await ask(engine, "POST", "/api/say", headers={"Sec-Fetch-Site": "cross-site"}, json={}))[0] == 403
    async with aiohttp.ClientSession(engine.url) as site:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await site.ws_connect("/api/events", headers={**BEARER, **evil})
    assert refused.value.status == 403


async def test_no_token(engine: Engine) -> None:
    for path in ("/", "/app.js", "/api/state", "/metrics", "/api/recordings/a.mp4"):
        assert (await ask(engine, "GET", path, headers={"Authorization": ""}))[0] == 401
    for path in ("/whip", "/whep", "/api/offer", "/api/avatars"):
        assert (await ask(engine, "POST", path, headers={"Authorization": ""}, data=b"x"))[0] == 401


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second address of this computer")
async def test_wrong_tokens(engine: Engine) -> None:
    here = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))  # or the other tests would have to wait
    async with aiohttp.ClientSession(engine.url, connector=here) as site:
        got = []
        for k in range(12):
            async with site.get("/api/state", headers={"Authorization": f"Bearer wrong-{k:020}"}) as answer:
                got.append(answer.status)
    assert got == [401] * 8 + [429] * 4


async def test_scripts_come_from_our_own_files_only(engine: Engine) -> None:
    status, page, headers = await ask(engine, "GET", "/")
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert status == 200
    assert policy.get("script-src", policy["default-src"]) == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "<script>" not in page
    assert " onclick=" not in page
    assert headers.get("Access-Control-Allow-Origin") is None


# --- too much, too slow --------------------------------------------------------------------------------------------


async def test_a_body_of_a_gigabyte(engine: Engine) -> None:
    head = f"POST /api/avatars HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    said = f"{head}Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {2**30}\r\n\r\n".encode()
    assert (await raw(engine, said)).startswith(b"HTTP/1.1 413"), "the announcement is enough"
    unsaid = f"{head}Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    part = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    chunks = [b"%x\r\n%b\r\n" % (len(part), part)]
    chunks += [b"%x\r\n%b\r\n" % (2**20, bytes(2**20))] * 1024
    sent = 0

    async def counted() -> bytes:
        nonlocal sent
        reader, writer = await asyncio.open_connection(engine.host, engine.port)
        writer.write(unsaid)
        try:
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
                await asyncio.sleep(0.004)  # faster than any network, and slower than this computer with itself
        except ConnectionError:
            pass
        try:
            return await asyncio.wait_for(reader.read(4096), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    answer = await counted()
    assert answer.startswith(b"HTTP/1.1 413") or not answer, answer[:100]
    assert sent < 2**30, "it hung up before the end"
    status, line, _ = await ask(engine, "POST", "/api/avatars", data={"photo": io.BytesIO(bytes(MAX_UPLOAD + 10))})
    assert (status, "32 MB" in line) == (413, True)
    assert (await ask(engine, "PATCH", "/api/state", data=b"[" * 10_000_000))[0] == 400
    assert (await ask(engine, "POST", "/whep", data=b"v" * 10_000_000, headers={"Content-Type": "application/sdp"}))[
        0
    ] == 413


async def test_slowloris(engine: Engine) -> None:
    async def slow_headers() -> bytes:
        return await raw(engine, b"GET / HTTP/1.1\r\n", *[b"X-Slow: 1\r\n"] * 40, wait=0.5)

    async def slow_body() -> bytes:
        head = f"PATCH /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        return await raw(engine, f"{head}Content-Length: 1000\r\n\r\n".encode(), *[b"x"] * 60, wait=0.5)

    begun = time.monotonic()
    answers = await asyncio.gather(*(slow_headers() for _ in range(40)), *(slow_body() for _ in range(10)))
    assert time.monotonic() - begun < limits.BODY_S + 30
    assert {answer.split(b"\r\n")[0][9:12] for answer in answers if answer} == {b"408"}


async def test_more_connections_than_one_address_may_have(engine: Engine) -> None:
    lines = [await asyncio.open_connection(engine.host, engine.port) for _ in range(limits.PER_LOOPBACK + 20)]
    try:
        last = await asyncio.wait_for(lines[-1][0].read(200), 5)
        assert last.startswith(b"HTTP/1.1 429")
    finally:
        for _, writer in lines:
            writer.close()
    await asyncio.sleep(0.5)
    assert (await ask(engine, "GET", "/api/state"))[0] == 200, "room again"


# --- files ---------------------------------------------------------------------------------------------------------


PATHS = (
    "/../../../../etc/passwd", "/..%2f..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
    "/api/recordings/..%2f..%2f..%2fetc%2fpasswd", "/api/recordings/%2e%2e", "/api/avatars/..%2fada/thumb.jpg",
    "/api/avatars/%00/thumb.jpg", "/app.js%00.html", "/./__init__.py", "/..\\..\\server.py",
)  # fmt: skip


async def test_paths_that_lead_out(engine: Engine) -> None:
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    for path in PATHS:
        answer = await raw(engine, f"GET {path} HTTP/1.1\r\n{head}".encode())
        assert answer.split(b"\r\n")[0][9:12] in (b"404", b"400"), (path, answer[:200])
        assert b"root:" not in answer


async def upload(engine: Engine, photo: bytes, **more: bytes) -> tuple[int, dict[str, Any]]:
    form = aiohttp.FormData({"name": "bomb", "consent": "synthetic"})
    form.add_field("photo", photo, filename="photo.png", content_type="image/png")
    for name, data in more.items():
        form.add_field(name, data, filename="x.png", content_type="image/png")
    status, line, _ = await ask(engine, "POST", "/api/avatars", data=form)
    return status, json.loads(line)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    """A picture that claims this size and holds a run of zeros."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(50_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BOMBS = {
    "png of 2.5 gigapixels": lambda: png(50_000, 50_000),
    "png whose header lies": lambda: png(6_300, 6_300),
    "png with packed text": lambda: png(64, 64, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))),
    "png with a packed profile": lambda: png(64, 64, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))),
    "gif of 4 gigapixels": lambda: b"GIF89a" + b"\xff" * 4 + b"\x80" + bytes(5) + b"\xff" * 3 + b"," + bytes(4)
    + b"\xff" * 4 + b"\0\2\2D\1\0;",
    "jpeg of 4 gigapixels": lambda: b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    + b"\xff\xc0\0\x11\x08\xff\xdc\xff\xdc\3\1\x22\0\2\x11\1\3\x11\1"
    + b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0" + bytes(1000) + b"\xff\xd9",
    "zip": lambda: packed_zeros(),
}  # fmt: skip


def packed_zeros() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("portrait.png", bytes(100_000_000))
    return out.getvalue()


async def test_bombs(engine: Engine) -> None:
    for name, bomb in BOMBS.items():
        begun = time.monotonic()
        status, said = await upload(engine, await asyncio.to_thread(bomb))
        print(f"{name}: {status} {said} after {time.monotonic() - begun:.1f} s")
        assert status == 400, (name, said)
        assert said["code"] in ("large", "damaged", "format", "no_face"), (name, said)
        assert "\n" not in said["error"]


async def test_a_packed_body(engine: Engine) -> None:
    body = gzip.compress(b'{"text": "' + b"a" * 100_000_000 + b'"}')
    status, _, _ = await ask(engine, "POST", "/api/say", data=body, headers={"Content-Encoding": "gzip"})
    assert status == 415


# --- WebRTC --------------------------------------------------------------------------------------------------------


BROKEN = (
    b"", b"v=0\r\n", b"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", b"\0" * 1000, b"m=" * 1000, b"\xff\xfe\xfd",
    b"v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\n" + b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 50,
    b"v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:99999999999999999999 VP8/0\r\na=fingerprint:x\r\n",
)  # fmt: skip


async def test_a_malformed_description(engine: Engine) -> None:
    for sdp in BROKEN:
        for path in ("/whep", "/whip"):
            status, line, _ = await ask(engine, "POST", path, data=sdp, headers={"Content-Type": "application/sdp"})
            assert status == 400, (sdp, line)
        status, line, _ = await ask(engine, "POST", "/api/offer", json={"sdp": sdp.decode("latin1"), "type": "offer"})
        assert status == 400, (sdp, line)


async def test_ten_thousand_candidates(engine: Engine) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection

    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("video", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    good = pc.localDescription.sdp
    kind = {"Content-Type": "application/sdp"}
    many = [f"a=candidate:{k} 1 udp 1 192.0.2.{k % 250} 9 typ host\r\n" for k in range(10_000)]
    assert (await ask(engine, "POST", "/whep", data=good + "".join(many), headers=kind))[0] == 413
    status, line, _ = await ask(engine, "POST", "/whep", data=good + "".join(many[:70]), headers=kind)
    assert (status, "more than 64 candidates" in line) == (400, True)
    assert (await ask(engine, "POST", "/api/offer", json={"sdp": good + "".join(many), "type": "offer"}))[0] == 400
    status, _, headers = await ask(engine, "POST", "/whep", data=good, headers=kind)
    assert status == 201
    link = headers["Link"]
    assert SECRET not in link
    assert 'credential-type="password"' in link
    trickle = {"Content-Type": "application/trickle-ice-sdpfrag"}
    place = headers["Location"]
    assert (await ask(engine, "PATCH", place, data="".join(many), headers=trickle))[0] == 413
    got = [(await ask(engine, "PATCH", place, data="".join(many[:30]), headers=trickle))[0] for _ in range(4)]
    assert got[0] == 204
    assert got[-1] == 400, "they are counted over all of them"
    assert (await ask(engine, "DELETE", place))[0] == 200
    await pc.close()


# --- what the log says ---------------------------------------------------------------------------------------------


async def test_no_secret_is_in_the_log(engine: Engine) -> None:
    await ask(engine, "GET", f"/?token={TOKEN}", allow_redirects=False)
    await ask(engine, "GET", f"/nothing/{TOKEN}")
    log = engine.log.read_text()
    assert log, "it says something"
    for secret in (TOKEN, SECRET, PASSWORD):
        assert secret not in log
