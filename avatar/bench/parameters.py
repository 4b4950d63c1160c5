"""`avatar bench parameters`: 60 states a second to eight outputs at once, with real receivers in another process.

Outputs and outlets are the session's own; the states are made up and nothing is drawn, so that the processor's time is
that of the outputs alone.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from avatar.bench.process import machine
from avatar.core import facs
from avatar.core.clock import SessionClock
from avatar.core.types import MILLISECOND, SECOND, AvatarFrame, Emotion, FaceState, Gaze, Ns, Pose, freeze
from avatar.errors import RunError
from avatar.pipeline.outlet import Outlet
from avatar.streams.base import Sink, StreamFormat
from avatar.streams.sinks.parameters.base import DatagramSink, LinkSink
from avatar.streams.sinks.parameters.ifacialmocap import IFacialMocapSink
from avatar.streams.sinks.parameters.live_link import LiveLinkSink
from avatar.streams.sinks.parameters.robot import RobotSink
from avatar.streams.sinks.parameters.servo import ServoSink
from avatar.streams.sinks.parameters.vmc import VmcSink
from avatar.streams.sinks.parameters.vrchat import VrchatSink
from avatar.streams.sinks.parameters.vtube_studio import VtubeStudioSink
from avatar.streams.sinks.parameters.websocket import ParameterSink

FPS = 60
BUDGET = Ns(120 * MILLISECOND)
LOOP = 10
"""Seconds of made-up states, played again and again."""
Progress = Callable[[int, int], None]


def parameters(seconds: float = 60.0, progress: Progress = lambda done, of: None) -> dict[str, Any]:
    """Send for ``seconds`` and report: ``drops`` (states that did not arrive, all outputs together), ``rates`` (states
    a second that arrived, by output) and ``cpu_share`` of one core in the sending process."""
    command = [sys.executable, "-m", "avatar.testing.parameter_receivers"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as there,
    ):
        assert there.stdin is not None
        assert there.stdout is not None
        try:
            first = there.stdout.readline()
            if not first:
                raise RunError("the receivers did not start; run python -m avatar.testing.parameter_receivers by hand")
            sinks = outputs(json.loads(first), Path(folder) / "token.json")
            return asyncio.run(_bench(sinks, there, seconds, progress))
        finally:
            there.kill()


def outputs(ports: dict[str, int], token_file: Path) -> dict[str, Sink]:
    """One of each that can be tried without a robot or a phone; VMC with both kinds of clips."""

    def to(name: str) -> list[str]:
        return [f"127.0.0.1:{ports[name]}"]

    return {
        "parameters": ParameterSink(port=0),
        "vmc": VmcSink(to("vmc"), clips=("vrm0", "perfect_sync")),
        "vrchat": VrchatSink(to("vrchat")),
        "vtube_studio": VtubeStudioSink(token_file, f"ws://127.0.0.1:{ports['vtube_studio']}"),
        "ifacialmocap": IFacialMocapSink(to("ifacialmocap")),
        "live_link": LiveLinkSink(to("live_link")),
        "robot": RobotSink(to("robot")),
        "servo": ServoSink(to("servo")),
    }


def track(seed: int = 1) -> list[FaceState]:
    """:data:`LOOP` seconds of a face that never rests: coefficients, head and eyes on sines of their own."""
    random = np.random.default_rng(seed)
    t = np.arange(LOOP * FPS) / FPS
    turns = random.integers(1, 3 * LOOP, 57)[:, None] / LOOP  # whole turns: the loop has no seam
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * turns * t + random.uniform(0, 6.28, (57, 1)))
    states = []
    for i, row in enumerate(waves.T.astype(np.float32)):
        arkit, (yaw, pitch, roll, x, y) = row[:52].copy(), (2 * row[52:] - 1).tolist()
        gaze = Gaze(0.4 * x, 0.3 * y)
        facs.set_eye_look(arkit, gaze.yaw, gaze.pitch)
        pose = Pose(Pose.degrees(15 * yaw, 10 * pitch, 8 * roll).rotation, (20 * x, 10 * y, 5 * roll))
        states.append(FaceState(Ns(i * SECOND // FPS), freeze(arkit), pose, gaze, emotion=Emotion("happiness", 0.5)))
    return states


async def _bench(
    sinks: dict[str, Sink], there: subprocess.Popen[str], seconds: float, progress: Progress
) -> dict[str, Any]:
    form, clock = StreamFormat(fps=FPS), SessionClock()
    outlets = {name: _outlet(sink, form, clock) for name, sink in sinks.items()}
    running = [asyncio.create_task(outlet.run()) for outlet in outlets.values()]
    try:
        await _linked(sinks, there)
        before, cpu, begun = machine(), time.process_time(), time.monotonic()
        count = await _play(list(outlets.values()), clock, seconds, progress)
        wall, cpu = time.monotonic() - begun, time.process_time() - cpu
        stolen, total = (after - was for was, after in zip(before, machine(), strict=True))
        arrived = json.loads(await asyncio.to_thread(_ask, there, "stop"))
    finally:
        for outlet in outlets.values():
            outlet.close()
        await asyncio.wait(running, timeout=5)
    report = _report(sinks, arrived, count, wall)
    return {**report, "cpu_share": round(cpu / wall, 4), "stolen_percent": round(100 * stolen / max(1, total), 1)}


def _outlet(sink: Sink, form: StreamFormat, clock: SessionClock) -> Outlet:
    return Outlet(sink, lambda: sink.open(form), clock, BUDGET)


def _ask(there: subprocess.Popen[str], line: str) -> str:
    assert there.stdin is not None
    assert there.stdout is not None
    there.stdin.write(line + "\n")
    there.stdin.flush()
    return there.stdout.readline()


async def _linked(sinks: dict[str, Sink], there: subprocess.Popen[str]) -> None:
    """Wait until the connections are made. Raises RunError."""
    states, studio = sinks["parameters"], sinks["vtube_studio"]
    assert isinstance(states, ParameterSink)
    assert isinstance(studio, LinkSink)
    assert there.stdin is not None
    try:
        async with asyncio.timeout(20):
            while not states.port:  # noqa: ASYNC110 - the outlets open their sinks when they like
                await asyncio.sleep(0.01)
            there.stdin.write(f"{states.port}\n")
            there.stdin.flush()
            while not (states.clients and studio.linked):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        raise RunError("the receivers did not connect within 20 s; is loopback blocked?") from error


async def _play(outlets: list[Outlet], clock: SessionClock, seconds: float, progress: Progress) -> int:
    """Hand states over as a session does: early to those who want them before their time, to the others at their
    present time. Returns how many."""
    states = track()
    count = round(seconds * FPS)
    pixels = freeze(np.zeros((2, 2, 3), np.uint8))
    zero = Ns(clock.now() + SECOND // 5)
    early = [outlet for outlet in outlets if outlet.sink.ahead]
    others = [outlet for outlet in outlets if not outlet.sink.ahead]
    lead = Ns(max((outlet.sink.ahead for outlet in early), default=0) + 20 * MILLISECOND)

    async def feed(chosen: list[Outlet], before: Ns) -> None:
        for i in range(count):
            pts = Ns(zero + i * SECOND // FPS)
            await clock.sleep_until(Ns(pts + BUDGET - before))
            frame = AvatarFrame(pts, pixels, replace(states[i % len(states)], pts=pts))
            for outlet in chosen:
                outlet.frames.put(frame)
            if not before and i % FPS == 0:
                progress(i // FPS, round(seconds))

    await asyncio.gather(feed(early, lead), feed(others, Ns(0)))
    await clock.sleep_until(Ns(clock.now() + BUDGET))
    return count


def _report(sinks: dict[str, Sink], arrived: dict[str, dict[str, Any]], count: int, wall: float) -> dict[str, Any]:
    state = track()[0]
    each = {name: len(s.encode(state)) if isinstance(s, DatagramSink) else 1 for name, s in sinks.items()}
    rows = {}
    for name, sink in sinks.items():
        states = arrived[name]["messages"] // each[name]
        rows[name] = {
            "arrived": states,
            "drops": count - states,
            "dropped_by_sender": getattr(sink, "dropped", 0),
            "gap_ms_max": arrived[name]["gap_ms_max"],
        }
    return {
        "seconds": round(wall, 1),
        "fps": FPS,
        "states": count,
        "drops": sum(row["drops"] for row in rows.values()),
        "rates": {name: round(row["arrived"] * FPS / count, 2) for name, row in rows.items()},
        "sinks": rows,
    }
