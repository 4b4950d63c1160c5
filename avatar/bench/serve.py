"""`avatar bench serve`: how many sessions this machine carries, and how many viewers one session.

Each session is an engine of its own (a process, as `avatar run` starts it) that speaks the demo voice at 25 pictures a
second; the viewers are in other processes on the same machine (:mod:`avatar.testing.crowd`), so both share its cores.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from avatar.bench.process import get, running, usage
from avatar.config import Config
from avatar.errors import RunError
from avatar.scale import cost

FPS = 25


def serve(
    config: Config, sessions: int = 4, viewers: int = 1, seconds: float = 30.0, one_door: bool = False
) -> dict[str, Any]:
    """``sessions`` engines with ``viewers`` each, for ``seconds``. Linux only (it reads /proc).

    ``estimates`` are what admission reckons with before it has seen any session (:mod:`avatar.scale.cost`), before and
    after; ``live_over_parts`` is what a session takes over what its parts take alone at the rate that was drawn.

    :param one_door: behind the front door of one server (``server.workers``), in place of a server each.

    Raises RunError where a session does not start or a viewer sees nothing.
    """
    made = config.model_dump(mode="json")
    made["avatar"]["fps"], made["input"]["audio"] = FPS, "demo"
    first = cost.measure(Config.model_validate(made))
    made["avatar"]["quality"] = first.quality  # what was measured is what runs
    config = Config.model_validate(made)
    result = _live(config, sessions, viewers, seconds, one_door)
    estimates = (first, cost.measure(config))
    parts = sum(each.parts(result["drawn_fps"]) for each in estimates) / 2
    return {
        **result,
        "estimates": [cost.as_json(each) for each in estimates],
        "live_over_parts": round(result["cpu_cores"] / sessions / parts, 3),
    }


def _live(config: Config, sessions: int, viewers: int, seconds: float, one_door: bool) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        engines = (_behind_one_door if one_door else _side_by_side)(stack, config, sessions, viewers)
        crowds = [_crowd(engine, viewers, seconds) for engine in engines]
        pids = {pid for engine in engines for pid in engine.pids}
        try:
            time.sleep(8.0)
            cpu, begun = sum(usage(pid)[0] for pid in pids), time.monotonic()
            before = [get(*engine.meters) for engine in engines]
            seen = [_answer(crowd, seconds) for crowd in crowds]
            cpu, wall = sum(usage(pid)[0] for pid in pids) - cpu, time.monotonic() - begun
            meters = [get(*engine.meters) for engine in engines]
            memory = sum(map(_proportional_mb, pids))
        finally:
            for crowd in crowds:
                crowd.kill()
    drawn = sum(row["frames"] for row in meters) - sum(row["frames"] for row in before)
    return {
        "sessions": sessions,
        "viewers": sessions * viewers,
        "fps": FPS,
        "fps_min": min(row["fps_min"] for row in seen),
        "drawn_fps": round(drawn / wall / sessions, 2),
        "freeze_ms_max": max(row["freeze_ms_max"] for row in seen),
        "shed": sum(row["shed"] for row in meters) - sum(row["shed"] for row in before),
        "lost_packets": sum(row["lost_packets"] for row in seen),
        "encodes": max(row["encodes"] for row in before),
        "cpu_cores": round(cpu / wall, 3),
        "cpu_cores_each": [row["cpu_cores"] for row in meters],
        "viewer_cores": round(sum(row["cpu_cores"] for row in seen), 3),
        "viewer_kbit_s": max(row["kbit_s"] for row in seen),
        "rss_mb": [row["rss_mb"] for row in meters],
        "pss_mb": round(memory, 1),
    }


@dataclass(frozen=True, slots=True)
class _Engine:
    """A session that is watched."""

    address: str
    whep: str
    meters: tuple[str, str]
    """Address and path of its figures."""
    pids: frozenset[int]
    """Of the server that it belongs to."""


def _side_by_side(stack: contextlib.ExitStack, config: Config, sessions: int, viewers: int) -> list[_Engine]:
    made = []
    for _ in range(sessions):
        settings = ("input.audio=demo", f"avatar.fps={FPS}", f"server.viewers={viewers + 1}")
        address, process = stack.enter_context(running(config, *settings))
        made.append(_Engine(address, "/whep", (address, "/api/meters"), frozenset((process.pid,))))
    return made


def _behind_one_door(stack: contextlib.ExitStack, config: Config, sessions: int, viewers: int) -> list[_Engine]:
    settings = (f"server.workers={sessions}", "server.cores=64", "server.drain_s=0", f"server.viewers={viewers + 1}")
    address, process = stack.enter_context(running(config, "input.audio=demo", f"avatar.fps={FPS}", *settings))
    names = []
    for _ in range(sessions):
        order = urllib.request.Request(f"{address}/sessions", b"{}", {"Content-Type": "application/json"})
        with urllib.request.urlopen(order, timeout=120) as answer:
            names.append(json.load(answer)["session"])
    family = frozenset((process.pid, *_children(process.pid)))
    return [_Engine(address, f"/whep/{name}", (address, f"/s/{name}/api/meters"), family) for name in names]


def _proportional_mb(pid: int) -> float:
    """Memory of a process in MiB, what it shares with others divided among them (proc(5), smaps_rollup)."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def _crowd(engine: _Engine, viewers: int, seconds: float) -> subprocess.Popen[str]:
    words = (engine.address, str(viewers), str(seconds), engine.whep)
    command = [sys.executable, "-m", "avatar.testing.crowd", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _answer(crowd: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    try:
        said, _ = crowd.communicate(timeout=seconds + 120)
    except subprocess.TimeoutExpired:
        raise RunError("the viewers did not answer in time") from None
    if crowd.returncode:
        raise RunError("the viewers have failed; their lines above say why")
    return dict(json.loads(said))
