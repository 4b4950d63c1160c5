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
from typing import Any

from avatar.bench import _process, get, running
from avatar.config import Config
from avatar.errors import RunError

FPS = 25


def serve(config: Config, sessions: int = 4, viewers: int = 1, seconds: float = 30.0) -> dict[str, Any]:
    """``sessions`` engines with ``viewers`` each, for ``seconds``. Linux only (it reads /proc).

    Raises RunError where a session does not start or a viewer sees nothing.
    """
    with contextlib.ExitStack() as stack:
        engines = [
            stack.enter_context(
                running(config, "input.audio=demo", f"avatar.fps={FPS}", f"server.viewers={viewers + 1}")
            )
            for _ in range(sessions)
        ]
        crowds = [_crowd(address, viewers, seconds) for address, _ in engines]
        try:
            time.sleep(8.0)
            cpu, begun = sum(_process(process.pid)[0] for _, process in engines), time.monotonic()
            before = [get(address, "/api/meters") for address, _ in engines]
            seen = [_answer(crowd, seconds) for crowd in crowds]
            cpu, wall = sum(_process(process.pid)[0] for _, process in engines) - cpu, time.monotonic() - begun
            meters = [get(address, "/api/meters") for address, _ in engines]
        finally:
            for crowd in crowds:
                crowd.kill()
        return {
            "sessions": sessions,
            "viewers": sessions * viewers,
            "fps": FPS,
            "fps_min": min(row["fps_min"] for row in seen),
            "freeze_ms_max": max(row["freeze_ms_max"] for row in seen),
            "shed": sum(row["shed"] for row in meters) - sum(row["shed"] for row in before),
            "lost_packets": sum(row["lost_packets"] for row in seen),
            "encodes": max(row["encodes"] for row in before),
            "cpu_cores": round(cpu / wall, 3),
            "viewer_cores": round(sum(row["cpu_cores"] for row in seen), 3),
            "rss_mb": [row["rss_mb"] for row in meters],
        }


def _crowd(address: str, viewers: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "avatar.testing.crowd", address, str(viewers), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _answer(crowd: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    try:
        said, _ = crowd.communicate(timeout=seconds + 120)
    except subprocess.TimeoutExpired:
        raise RunError("the viewers did not answer in time") from None
    if crowd.returncode:
        raise RunError("the viewers have failed; their lines above say why")
    return dict(json.loads(said))
