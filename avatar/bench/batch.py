"""`avatar bench batch`: many short clips by one process, by one for each core, and by Ray on two nodes of loopback, of
which one is killed half-way through a larger batch."""

from __future__ import annotations

import collections
import contextlib
import csv
import importlib.util
import json
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avatar.config import Config
from avatar.scale import batch

Progress = Callable[[int, int], None]

SECONDS = 1.0
"""Of a clip."""


def bench(
    config: Config, clips: int = 60, killed: int = 200, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """How long ``clips`` clips of a second take each way (0 = none), and how many times faster than one process that
    is: the start of the processes is included, the cluster's is not. Then ``killed`` clips (0 = none) on two nodes, of
    which one is killed after the first half: how many are there in the end, and how many the journal has twice."""
    ray = importlib.util.find_spec("ray") is not None
    done, total = 0, clips * (3 if ray else 2) + (killed if ray else 0)

    def said(part: int, of: int) -> None:
        progress(done + part, total)

    facts = {"clips": clips, "clip_s": SECONDS, "size": config.avatar.size, "fps": config.avatar.fps}
    result: dict[str, Any] = {**facts, "cores": batch.cores()}
    with tempfile.TemporaryDirectory(prefix="vultus-batch-") as folder, contextlib.ExitStack() as stack:
        ways: dict[str, Callable[[int], batch.Crew]] = {}
        if clips:
            ways = {"one_worker": batch.crew("", 1), "processes": batch.crew("", batch.cores())}
        table = _table(Path(folder), clips, config.avatar.fps)
        for way, crew in ways.items():
            result[way] = _timed(table, config, crew, said)
            done += clips
        if ray and total:
            from avatar.testing.nodes import Nodes

            nodes = Nodes()
            stack.callback(nodes.close)
            crew = batch.crew(nodes.address, None)
            if clips:
                result["ray_two_nodes"] = _timed(table, config, crew, said)
                done += clips
            if killed:
                table = _table(Path(folder), killed, config.avatar.fps)
                result["ray_one_killed"] = _killed(table, config, crew, nodes.kill_second, said)
    for way in {"processes", "ray_two_nodes"} & set(result):
        result[way]["speedup"] = round(result["one_worker"]["seconds"] / result[way]["seconds"], 2)
    return result


def _killed(
    table: Path, config: Config, crew: Callable[[int], batch.Crew], kill: Callable[[], None], progress: Progress
) -> dict[str, Any]:
    at: list[int] = []

    def said(done: int, of: int) -> None:
        if not at and 2 * done >= of:
            at.append(done)
            kill()
        progress(done, of)

    return {**_timed(table, config, crew, said), "killed_after": at[0]}


def _table(folder: Path, clips: int, fps: int) -> Path:
    states = folder / "states.jsonl"
    rows = [
        {"t": k / fps, "arkit": {"jawOpen": 0.3 + 0.3 * math.sin(k)}, "head": {"yaw": 6 * math.sin(k / 9)}}
        for k in range(round(SECONDS * fps))
    ]
    states.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    table = folder / "jobs.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("output", "states"))
        writer.writerows((f"out/{k}.mp4", states.name) for k in range(clips))
    return table


def _timed(table: Path, config: Config, crew: Callable[[int], batch.Crew], progress: Progress) -> dict[str, Any]:
    outcome = batch.run(table, config, crew, progress=progress)
    there = len(list((table.parent / "out").glob("*.mp4")))
    journal = table.with_name(table.name + ".journal")
    lines = collections.Counter(json.loads(line)["output"] for line in journal.read_text().splitlines())
    shutil.rmtree(table.parent / "out")
    journal.unlink()
    figures = {key: outcome.as_json()[key] for key in ("seconds", "cpu_s", "workers", "drawn", "failed")}
    return figures | {"there": there, "twice": sum(count > 1 for count in lines.values())}
