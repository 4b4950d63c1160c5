"""`avatar bench serve`: how many sessions this machine carries, and how many viewers one session.

Several sessions are begun behind one door (``server.workers``), which admits them by what they cost and draws them so
that there is room for all; one session is the plain server, which is what a door's worker is as well. All speak the
demo voice at 25 pictures a second. The viewers are in other processes on the same machine
(:mod:`avatar.testing.crowd`), so all share its cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from avatar.bench.process import get, running, usage
from avatar.config import Config
from avatar.errors import RunError
from avatar.scale import cost

FPS = 25
SETTLE_S = 8.0
"""Until the viewers are there."""


def serve(
    config: Config, sessions: int = 4, viewers: int = 1, seconds: float = 30.0, side_by_side: bool = False
) -> dict[str, Any]:
    """``sessions`` with ``viewers`` each, for ``seconds``. Linux only (it reads /proc).

    ``sessions`` are those that were admitted of ``asked``. ``shed`` counts pictures that came too late to be drawn,
    ``left_out`` all that were not drawn of those that there should have been, ``given_up`` the sessions that were drawn
    at less than their rate at the end. ``cpu_cores`` is what all of the server's processes took, ``cpu_cores_each``
    what each session's did, ``viewer_cores`` what it cost to watch, ``other_cores`` what else ran on the machine.
    ``estimate`` is what one session was reckoned to take in the tier that was drawn, ``live_over_parts`` what it took
    over what its parts take alone at the rate that was drawn.

    :param side_by_side: a server for each session, which know nothing of each other.

    Raises RunError where no session starts or a viewer sees nothing.
    """
    made = config.model_dump(mode="json")
    made["avatar"]["fps"], made["input"]["audio"] = FPS, "demo"
    config = Config.model_validate(made)
    result = _live(config, sessions, viewers, seconds, sessions > 1 and not side_by_side)
    drawn = config.avatar.model_copy(update={"quality": result["quality"]})
    (estimate,) = cost.measure(config.model_copy(update={"avatar": drawn}))
    live = sum(result["cpu_cores_each"]) / len(result["cpu_cores_each"])
    over = round(live / estimate.parts(result["drawn_fps"]), 3) if result["drawn_fps"] else None
    return {**result, "estimate": cost.as_json([estimate])[0], "live_over_parts": over}


def _live(config: Config, sessions: int, viewers: int, seconds: float, one_door: bool) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        engines = (_behind_one_door if one_door else _side_by_side)(stack, config, sessions, viewers)
        crowds = [_crowd(engine, viewers, seconds) for engine in engines]
        try:
            _go(crowds)
            time.sleep(SETTLE_S)
            before = _taken(_family(engine.server for engine in engines))
            begun, busy = time.monotonic(), _busy()
            meters = [get(*engine.meters) for engine in engines]
            seen = [_answer(crowd, seconds) for crowd in crowds]
            wall = time.monotonic() - begun
            took = {pid: (cpu - before[pid]) / wall for pid, cpu in _taken(before).items()}
            busy = (_busy() - busy) / wall
            after = [get(*engine.meters) for engine in engines]
            given_up = _given_up(engines[0].address) if one_door else 0
            memory = sum(map(_proportional_mb, before))
            quality = get(engines[0].meters[0], engines[0].state)["quality"].split(":")[0]
        finally:
            for crowd in crowds:
                crowd.kill()
    gained = {key: [now[key] - was[key] for now, was in zip(after, meters, strict=True)] for key in ("frames", "shed")}
    doors = {engine.server for engine in engines} if one_door else set()
    watching = sum(row["cpu_cores"] for row in seen)
    return {
        "asked": sessions,
        "sessions": len(engines),
        "viewers": len(engines) * viewers,
        "fps": FPS,
        "fps_min": min(row["fps_min"] for row in seen),
        "drawn_fps": round(sum(gained["frames"]) / wall / len(engines), 2),
        "freeze_ms_max": max(row["freeze_ms_max"] for row in seen),
        "shed": sum(gained["shed"]),
        "left_out": max(0, round(FPS * wall * len(engines)) - sum(gained["frames"])),
        "given_up": given_up,
        "quality": quality,
        "lost_packets": sum(row["lost_packets"] for row in seen),
        "encodes": max(row["encodes"] for row in meters),
        "cpu_cores": round(sum(took.values()), 3),
        "cpu_cores_each": sorted((round(c, 3) for p, c in took.items() if p not in doors and c > 0.01), reverse=True),
        "viewer_cores": round(watching, 3),
        "other_cores": round(max(0.0, busy - sum(took.values()) - watching), 3),
        "viewer_kbit_s": max(row["kbit_s"] for row in seen),
        "rss_mb": [row["rss_mb"] for row in after],
        "pss_mb": round(memory, 1),
    }


@dataclass(frozen=True, slots=True)
class _Engine:
    """A session that is watched."""

    address: str
    whep: str
    meters: tuple[str, str]
    """Address and path of its figures."""
    state: str
    """Path of its state."""
    server: int
    """Process of the server that it belongs to."""


def _side_by_side(stack: contextlib.ExitStack, config: Config, sessions: int, viewers: int) -> list[_Engine]:
    made = []
    for _ in range(sessions):
        settings = ("input.audio=demo", f"avatar.fps={FPS}", f"server.viewers={viewers + 1}")
        address, process = stack.enter_context(running(config, *settings))
        made.append(_Engine(address, "/whep", (address, "/api/meters"), "/api/state", process.pid))
    return made


def _behind_one_door(stack: contextlib.ExitStack, config: Config, sessions: int, viewers: int) -> list[_Engine]:
    settings = (f"server.workers={sessions}", "server.drain_s=0", f"server.viewers={viewers + 1}")
    address, process = stack.enter_context(running(config, "input.audio=demo", f"avatar.fps={FPS}", *settings))
    names: list[str] = []
    for _ in range(sessions):
        order = urllib.request.Request(f"{address}/sessions", b"{}", {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(order, timeout=120) as answer:
                names.append(json.load(answer)["session"])
        except urllib.error.HTTPError as error:
            if error.code != 503 or not names:
                raise RunError(f"a session does not begin: {error.read(300).decode(errors='replace')}") from error
            break  # no more are admitted
    return [
        _Engine(address, f"/whep/{name}", (address, f"/s/{name}/api/meters"), f"/s/{name}/api/state", process.pid)
        for name in names
    ]


def _given_up(address: str) -> int:
    """Sessions behind a door that have given something up."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
        rows = dict(line.split() for line in answer.read().decode().splitlines() if not line.startswith("#"))
    return round(float(rows["vultus_given_up_frame_rate"]))


def _family(servers: Iterable[int]) -> set[int]:
    """Processes of these servers and of their workers."""
    return {pid for server in servers for pid in (server, *_children(server))}


def _taken(pids: Iterable[int]) -> dict[int, float]:
    """Processor time of each, in seconds."""
    return {pid: usage(pid)[0] for pid in pids}


def _busy() -> float:
    """Processor time that the whole machine has spent on anything, in seconds."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, soft = (int(field) for field in file.readline().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


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
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _go(crowds: list[subprocess.Popen[str]]) -> None:
    """Let the viewers come, all of them at once, when all have been loaded."""
    for crowd in crowds:
        assert crowd.stdout is not None
        crowd.stdout.readline()
    for crowd in crowds:
        assert crowd.stdin is not None
        with contextlib.suppress(OSError):  # it has died, which its answer will say
            crowd.stdin.write("\n")
            crowd.stdin.flush()


def _answer(crowd: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    try:
        said, _ = crowd.communicate(timeout=seconds + 120)
    except subprocess.TimeoutExpired:
        raise RunError("the viewers did not answer in time") from None
    if crowd.returncode:
        raise RunError("the viewers have failed; their lines above say why")
    return dict(json.loads(said))
