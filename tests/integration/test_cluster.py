"""Sessions and batches on a Ray cluster of two nodes, on the loopback interface."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from rtc_client import Client
from test_batch import states, table
from test_workers import Door, Post, begin

from avatar.config import load
from avatar.errors import RunError
from avatar.scale import batch
from avatar.testing.nodes import HOST, Nodes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(200),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: cluster)"),
]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    made = Nodes()
    yield made
    made.close()


def test_a_batch_is_whole_although_a_node_dies(nodes, tmp_path, capsys):
    name, count = states(tmp_path, count=20), 16
    path = table(tmp_path, *({"output": f"{k}.mp4", "states": name} for k in range(count)))
    config = load(None, ["avatar.size=256", "avatar.fps=10"]).config
    killed = threading.Event()

    def progress(done: int, of: int) -> None:
        if done >= count // 2 and not killed.is_set():
            killed.set()
            nodes.kill_second()

    outcome = batch.run(path, config, batch.crew(nodes.address, None), progress=progress)
    assert killed.is_set()
    assert (len(outcome.drawn), outcome.bad) == (count, [])
    entries = [json.loads(line) for line in path.with_name("jobs.csv.journal").read_text().splitlines()]
    assert sorted(entry["line"] for entry in entries) == list(range(2, count + 2)), "all, and none twice"
    assert all((tmp_path / f"{k}.mp4").stat().st_size == e["bytes"] for e in entries for k in (e["line"] - 2,))
    assert len({entry["worker"] for entry in entries}) >= 2, "both nodes drew"
    assert capsys.readouterr().out == "", "what a node's death leaves in Ray's logs is not for standard output"


async def test_sessions_are_actors_and_come_back(nodes, tmp_path):
    door = Door(tmp_path, "server.workers=2", f"server.cluster={nodes.address}")
    try:
        async with aiohttp.ClientSession(door.address) as http:
            first, second = await begin(http), await begin(http)
            async with http.post("/sessions", json={}) as response:
                assert response.status == 503
            posts = Post(http, first["whep"]), Post(http, second["whep"])
            async with Client(posts[0], kinds=("video",)) as there, Client(posts[1], kinds=("video",)) as other:
                await there.until(lambda: len(there.frames["video"]) >= 5 and len(other.frames["video"]) >= 5)
                async with http.get(f"/sessions/{first['session']}") as response:
                    assert (await response.json())["viewers"] == 1
                async with http.ws_connect(f"{first['page']}api/events") as events:
                    os.kill(actors(door)[0], signal.SIGKILL)
                    killed = time.monotonic()
                    while (message := await events.receive()).type is aiohttp.WSMsgType.TEXT:
                        last = json.loads(message.data)
                    assert (last["type"], last["again"], time.monotonic() - killed < 1.0) == ("end", True, True)
                    assert events.close_code == 1012
                before = len(other.frames["video"])
                while True:  # Ray may take a moment to notice: until then it is said to be live
                    async with http.get(f"/sessions/{first['session']}") as response:
                        if (await response.json())["state"] == "live" and "(1 of 3)" in door.log:
                            break
                    assert time.monotonic() - killed < 90
                    await asyncio.sleep(0.2)
                assert len(other.frames["video"]) > before
                async with Client(Post(http, first["whep"]), kinds=("video",)) as again:
                    await again.until(lambda: len(again.frames["video"]) >= 5)
        assert "started again (1 of 3)" in door.log
        door.process.send_signal(signal.SIGTERM)
        assert door.process.wait(30) == 0
    finally:
        door.kill()


async def test_what_an_actor_did_not_expect_is_one_line(nodes):
    from avatar.scale.cluster import RayWorkers

    workers = RayWorkers(nodes.address)
    await workers.start()
    try:
        worker = await workers.take(lambda beat: None)
        with pytest.raises(RunError, match=r"runs no session \(ValidationError") as error:
            await worker.begin({"server": {}, "avatar": {"colour": "green"}}, 0.0)
        assert "\n" not in str(error.value)
        await worker.end(0.0)
    finally:
        await workers.close()


def actors(door: Door) -> list[int]:
    """The sessions' processes, in the order in which they were started, as Ray names them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cmdline").read_bytes().startswith(b"ray::SessionActor"):
                found.append((int((entry / "stat").read_text().rsplit(")", 1)[1].split()[19]), int(entry.name)))
        except OSError:
            continue
    return [pid for _, pid in sorted(found)]


def test_no_cluster_is_one_line(avatar, tmp_path):
    path = table(tmp_path, {"output": "a.mp4", "text": "A."})
    for address in (f"{HOST}:1", "nonsense"):
        run = avatar("render", "--batch", path, "--cluster", address)
        assert (run.returncode, run.stderr.count("\n")) == (1, 1), run.stderr
        assert f"no Ray cluster at {address}" in run.stderr
