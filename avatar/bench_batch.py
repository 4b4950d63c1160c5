"""`avatar bench batch`: many short clips by one process, by one for each core, and by Ray on two nodes of loopback."""

from __future__ import annotations

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

SECONDS = 2.0
"""Of a clip."""


def bench(config: Config, clips: int = 60, progress: Progress = lambda done, of: None) -> dict[str, Any]:
    """Seconds for ``clips`` clips of two seconds each way, the start of the processes included (the cluster's is not),
    and how many times faster than one process that is."""
    with tempfile.TemporaryDirectory(prefix="vultus-batch-") as folder:
        table = _table(Path(folder), clips, config.avatar.fps)
        ways = 3 if importlib.util.find_spec("ray") else 2

        def through(way: int) -> Progress:
            return lambda done, of: progress(way * of + done, ways * of)

        one = _timed(table, config, lambda count: batch.LocalCrew(1), through(0))
        result: dict[str, Any] = {
            "clips": clips,
            "clip_s": SECONDS,
            "size": config.avatar.size,
            "fps": config.avatar.fps,
        }
        result["one_worker"] = one
        local = _timed(table, config, lambda count: batch.LocalCrew(batch.cores()), through(1))
        result["processes"] = {**local, "speedup": round(one["seconds"] / local["seconds"], 2)}
        if ways == 3:
            with two_nodes() as address:
                from avatar.scale.cluster import RayCrew

                nodes = _timed(table, config, lambda count: RayCrew(address), through(2))
            result["ray_two_nodes"] = {**nodes, "speedup": round(one["seconds"] / nodes["seconds"], 2)}
        return result


def two_nodes() -> Any:
    from avatar.testing.nodes import two_nodes

    return two_nodes()


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
    shutil.rmtree(table.parent / "out")
    table.with_name(table.name + ".journal").unlink()
    figures = outcome.as_json()
    return {key: figures[key] for key in ("seconds", "cpu_s", "workers", "drawn", "failed")} | {"there": there}
