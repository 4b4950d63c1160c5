"""`avatar bench batch`: many short clips by one process, by one for each core, and by Ray on two nodes of loopback, of
which one is killed half-way through a larger batch."""

from __future__ import annotations

import collections
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
    """Seconds for ``clips`` clips of a second each way, the start of the processes included (the cluster's is not), and
    how many times faster than one process that is; then ``killed`` clips (0 = none) on two nodes, of which one is
    killed after the first half: how many are there in the end, and how many the journal has twice."""
    done = 0

    def said(part: int, of: int) -> None:
        progress(done + part, total)

    with tempfile.TemporaryDirectory(prefix="vultus-batch-") as folder:
        ray = importlib.util.find_spec("ray") is not None
        total = clips * (3 if ray else 2) + (killed if ray else 0)
        table = _table(Path(folder), clips, config.avatar.fps)
        result: dict[str, Any] = {
            "clips": clips,
            "clip_s": SECONDS,
            "size": config.avatar.size,
            "fps": config.avatar.fps,
            "cores": batch.cores(),
        }
        one = result["one_worker"] = _timed(table, config, lambda count: batch.LocalCrew(1), said)

        def faster(figures: dict[str, Any]) -> dict[str, Any]:
            return {**figures, "speedup": round(one["seconds"] / figures["seconds"], 2)}

        done = clips
        local = _timed(table, config, lambda count: batch.LocalCrew(batch.cores()), said)
        result["processes"] = faster(local)
        if ray:
            from avatar.testing.nodes import Nodes

            nodes = Nodes()
            try:
                crew = batch.crew(nodes.address, None)
                done = 2 * clips
                result["ray_two_nodes"] = faster(_timed(table, config, crew, said))
                if killed:
                    done = 3 * clips
                    table = _table(Path(folder), killed, config.avatar.fps)
                    result["ray_one_killed"] = _killed(table, config, crew, nodes.kill_second, said)
            finally:
                nodes.close()
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
