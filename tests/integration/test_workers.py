"""Many sessions behind one door, each in a process of its own: real processes, real connections, real kills."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import av
import numpy as np
import pytest
from rtc_client import Client, Tone, until
from yarl import URL

from avatar.scale.admission import ROOM_S, SHARE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc (Linux)"),
]
SDP = "application/sdp"


def children(pid: int) -> list[int]:
    """Workers of this process, those that are still running, in the order in which they were started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"avatar.scale.worker" in words and int(fields[1]) == pid and fields[0] != "Z":
                found.append((int(fields[19]), int(entry.name)))
    return [number for _, number in sorted(found)]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Door:
    """`avatar run` with workers."""

    def __init__(self, folder: Path, *settings: str) -> None:
        words = [sys.executable, "-m", "avatar.cli", "run"]
        usual = ("server.port=0", "server.cores=64", "avatar.size=256", "avatar.fps=10", "input.audio=silence")
        for setting in (*usual, *settings):
            words += ["--set", setting]
        self.log_file = folder / "log"
        environment = {**os.environ, "XDG_DATA_HOME": str(folder / "data"), "PYTHONUNBUFFERED": "1"}
        with self.log_file.open("w") as errors:
            self.process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, self.log
        self.address = line[line.index("http://") :].strip()

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def workers(self) -> list[int]:
        return children(self.process.pid)

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=10) as answer:
            lines = [line.split() for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def kill(self) -> None:
        workers = self.workers
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        for pid in filter(running, workers):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def door(tmp_path, request):
    made = Door(tmp_path, *getattr(request, "param", ("server.workers=4",)))
    yield made
    made.kill()


@pytest.fixture
async def http(door) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(door.address) as made:
        yield made


async def begin(http: aiohttp.ClientSession, **choice: str) -> dict[str, str]:
    async with http.post("/sessions", json=choice) as response:
        assert response.status == 201, await response.text()
        return await response.json()


class Post:
    """Offers by WHIP or WHEP; afterwards it knows where the connection's place is."""

    def __init__(self, http: aiohttp.ClientSession, path: str) -> None:
        self.http, self.path, self.place, self.links = http, path, "", []

    async def __call__(self, sdp: str, kind: str) -> tuple[str, str, str]:
        async with self.http.post(self.path, data=sdp, headers={"Content-Type": SDP}) as response:
            text = await response.text()
            assert response.status == 201, text
            self.place, self.links = response.headers["Location"], response.headers.getall("Link", [])
            return text, "answer", self.place.rsplit("/", 1)[1]


def loudness(frame: av.AudioFrame) -> int:
    """Of a sound frame of 16 bits."""
    return int(np.abs(frame.to_ndarray().astype(np.int32)).max())


async def status(http: aiohttp.ClientSession, method: str, path: str, **more) -> int:
    async with http.request(method, path, **more) as response:
        return response.status


async def test_sessions_are_begun_watched_and_ended(door, http):
    ada, iris = await begin(http, avatar="ada"), await begin(http, avatar="iris", source="demo")
    assert len(ada["session"]) >= 20
    watching = Post(http, ada["whep"])
    async with Client(watching, kinds=("video",)) as viewer, Client(Post(http, iris["whep"])) as other:
        await viewer.until(lambda: len(viewer.frames["video"]) >= 5)
        await other.until(lambda: len(other.frames["video"]) >= 5 and len(other.frames["audio"]) >= 10)
        assert watching.place == f"/whep/{ada['session']}/{viewer.peer}"
        async with http.get(f"/s/{ada['session']}/api/state") as response:
            assert (await response.json())["avatar"] == "ada"
        async with http.get(iris["page"]) as response:
            assert "<title>Vultus</title>" in await response.text()
        assert await status(http, "GET", f"{iris['page']}api.js") == 200
        assert await status(http, "DELETE", watching.place) == 200
        assert await status(http, "DELETE", watching.place) == 404
    assert door.metrics()["vultus_sessions_count"] == 2
    assert await status(http, "DELETE", f"/sessions/{ada['session']}") == 200
    for path in (f"/sessions/{ada['session']}", ada["page"], f"/s/{'x' * 22}/", "/sessions/live"):
        assert await status(http, "GET", path) == 404, path
    assert await status(http, "POST", ada["whep"], data="v=0", headers={"Content-Type": SDP}) == 404
    assert await status(http, "GET", f"{iris['page']}../../etc/passwd") == 404
    for path in ("api/calibration", "api/recordings/a.mp4", "api/recordings/../recordings/a.mp4"):
        assert await status(http, "GET", iris["page"] + path) == 403, path
    for path in ("x/%2e%2e/api/calibration", "/api/calibration", "%2e/api/calibration", "metrics", "whep"):
        assert await status(http, "GET", URL(door.address + iris["page"] + path, encoded=True)) == 404, path
    assert await status(http, "POST", f"{iris['page']}api/record", json={"on": True}) == 403
    assert await status(http, "POST", f"{iris['page']}api/avatars", data={"photo": "x"}) == 403
    assert await status(http, "POST", "/sessions", json={"avatar": "../../me"}) == 400
    assert await status(http, "POST", "/sessions", json={"avatar": "nobody"}) == 400
    assert await status(http, "POST", "/sessions", json={"config": "x"}) == 400
    foreign = {"Origin": "https://evil.example"}
    assert await status(http, "POST", "/sessions", json={}, headers=foreign) == 403
    assert door.metrics()["vultus_sessions_count"] == 1, "what was refused has left nothing behind"


async def test_a_program_that_comes_with_its_voice_begins_a_session(door, http):
    post = Post(http, "/whip?avatar=ada")
    async with Client(post, audio=Tone(), kinds=("audio",)):
        name = post.place.split("/")[2]
        assert f'</whep/{name}>; rel="alternate"' in post.links
        async with Client(Post(http, f"/whep/{name}")) as viewer:
            heard = viewer.frames["audio"]
            await viewer.until(lambda: len(heard) > 50 and max(map(loudness, heard[-20:])) > 1000)
        async with http.get(f"/s/{name}/api/state") as response:
            assert (await response.json())["source"] == "page"
    assert await status(http, "POST", "/whip", data="no offer", headers={"Content-Type": SDP}) == 400
    assert await status(http, "POST", "/whip", data="x" * 70_000, headers={"Content-Type": SDP}) == 413
    assert await status(http, "POST", "/whip", data="{}") == 415
    assert door.metrics()["vultus_sessions_count"] == 1


async def test_a_killed_worker_is_started_again_and_the_others_notice_nothing(door, http):
    first, second = await begin(http), await begin(http)
    victim, _, _ = door.workers
    async with (
        Client(Post(http, first["whep"]), kinds=("video",)) as there,
        Client(Post(http, second["whep"]), kinds=("video",)) as other,
        http.ws_connect(f"{first['page']}api/events") as events,
    ):
        await there.until(lambda: len(there.frames["video"]) >= 5 and len(other.frames["video"]) >= 5)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        while (message := await events.receive()).type is aiohttp.WSMsgType.TEXT:
            last = json.loads(message.data)
        assert time.monotonic() - killed <= 1.0
        assert (last["type"], last["again"], "SIGKILL" in last["reason"]) == ("end", True, True)
        assert events.close_code == 1012
        async with http.get(f"/sessions/{first['session']}") as response:
            assert (await response.json())["state"] == "restarting"
        before = len(other.frames["video"])
        assert await status(http, "POST", first["whep"], data="v=0", headers={"Content-Type": SDP}) == 503
        await asyncio.sleep(1.0)
        assert len(other.frames["video"]) - before >= 7, "ten a second, and a busy machine"

        async def live() -> bool:
            async with http.get(f"/sessions/{first['session']}") as response:
                return (await response.json())["state"] == "live"

        while not await live():
            assert time.monotonic() - killed < 60
            await asyncio.sleep(0.2)
        async with Client(Post(http, first["whep"]), kinds=("video",)) as again:
            await again.until(lambda: len(again.frames["video"]) >= 5)
    assert door.metrics()["vultus_sessions_restarts"] == 1
    said = [line for line in door.log.splitlines() if "SIGKILL" in line]
    assert len(said) == 1
    assert "started again (1 of 3)" in said[0]
    assert first["session"] not in door.log


async def test_a_worker_that_dies_again_and_again_is_given_up(door, http):
    session = await begin(http)
    deadline = time.monotonic() + 150
    while await status(http, "GET", f"/sessions/{session['session']}") == 200:
        assert time.monotonic() < deadline
        async with http.get(f"/sessions/{session['session']}") as response:
            if response.status == 200 and (await response.json())["state"] == "live":
                os.kill(door.workers[0], signal.SIGKILL)
        await asyncio.sleep(0.2)
    assert "for the 4th time in a minute; it has ended" in door.log
    assert door.metrics()["vultus_sessions_abandoned"] == 1
    assert await status(http, "GET", "/readyz") == 200


async def test_no_worker_outlives_the_door(door, http):
    session = await begin(http)
    async with Client(Post(http, session["whep"]), kinds=("video",)) as viewer:
        await viewer.until(lambda: len(viewer.frames["video"]) >= 5)
        workers = door.workers
        assert len(workers) == 2, "the session's and a spare"
        door.process.kill()
        door.process.wait(10)
        await until(lambda: not any(map(running, workers)), 6.0)


async def test_it_ends_in_order(door, http):
    """Who is connected goes on, nobody is taken any more, and when they have left nothing is left."""
    session = await begin(http)
    workers = door.workers
    async with Client(Post(http, session["whep"]), kinds=("video",)) as viewer:
        await viewer.until(lambda: len(viewer.frames["video"]) >= 5)
        door.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        before = len(viewer.frames["video"])
        assert await status(http, "GET", "/readyz") == 503
        async with http.post("/sessions", json={}) as response:
            assert response.status == 503
            assert "Retry-After" in response.headers
        await asyncio.sleep(1.0)
        assert len(viewer.frames["video"]) - before >= 5
    code = await asyncio.to_thread(door.process.wait, 30)
    assert code == 0
    assert not any(map(running, workers))


@pytest.mark.parametrize("door", [("server.workers=4", "server.idle_s=3")], indirect=True)
async def test_a_session_that_nobody_uses_ends(door, http):
    idle, used = await begin(http), await begin(http)
    async with Client(Post(http, used["whep"]), kinds=("video",)) as viewer:
        await viewer.until(lambda: len(viewer.frames["video"]) >= 5)
        async with asyncio.timeout(20):
            while await status(http, "GET", f"/sessions/{idle['session']}") == 200:  # noqa: ASYNC110 - asked by HTTP
                await asyncio.sleep(0.2)
        assert await status(http, "GET", f"/sessions/{used['session']}") == 200
    assert door.metrics()["vultus_sessions_reaped"] == 1


async def test_a_further_session_is_let_in_by_drawing_all_of_them_more_cheaply(tmp_path):
    """The generator for one, its head for two, and the generator again some time after one has left."""
    drawn = ("server.workers=3", "server.idle_s=600", "avatar.engine=auto", "avatar.fps=12", "avatar.size=512")
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    measured = Door(folders[0], *drawn)
    cost = measured.metrics()["vultus_cost_cores_first"]
    measured.kill()
    door = Door(folders[1], *drawn, f"server.cores={1.5 * cost / SHARE}")
    try:
        async with aiohttp.ClientSession(door.address) as http:

            async def drawing(session: dict[str, str]) -> str:
                async with http.get(f"{session['page']}api/state") as response:
                    return (await response.json())["quality"].split(",")[0]

            # Nobody watches: what else a busy machine does to sessions that are watched is not what is tested.
            first = await begin(http)
            assert await drawing(first) == "high: engine generator"
            second = await begin(http)
            both = [await drawing(each) for each in (first, second)]
            assert both[0] == both[1]
            assert both[0].endswith("engine head")
            assert door.metrics()["vultus_tier"] >= 1
            assert await status(http, "DELETE", f"/sessions/{second['session']}") == 200
            async with asyncio.timeout(2 * ROOM_S + 60):
                while await drawing(first) != "high: engine generator":  # noqa: ASYNC110 - asked by HTTP
                    await asyncio.sleep(1.0)
            async with Client(Post(http, first["whep"]), kinds=("video",)) as viewer:
                await viewer.until(lambda: len(viewer.frames["video"]) >= 5)
    finally:
        door.kill()


async def test_two_hundred_offers_at_once_and_four_sessions(door):
    async with aiohttp.ClientSession(door.address, connector=aiohttp.TCPConnector(limit=0)) as http:
        from aiortc import RTCConfiguration, RTCPeerConnection

        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.addTransceiver("audio", direction="sendonly")
        await pc.setLocalDescription(await pc.createOffer())
        sdp = pc.localDescription.sdp

        async def offer() -> tuple[int, bool]:
            async with http.post("/whip", data=sdp, headers={"Content-Type": SDP}) as response:
                return response.status, "Retry-After" in response.headers

        answers = await asyncio.gather(*(offer() for _ in range(200)))
        assert answers.count((201, False)) == 4
        assert answers.count((503, True)) == 196
        metrics = door.metrics()
        assert (metrics["vultus_sessions_count"], metrics["vultus_sessions_refused"]) == (4, 196)
        assert await status(http, "GET", "/readyz") == 503
        assert len(door.workers) == 5, "four, and a spare"
        await pc.close()
