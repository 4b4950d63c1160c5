"""`avatar bench soak`: the live engine for a long time. Does it keep its pace, its step and its memory?

The engine runs as a process of its own and speaks a clapperboard (a beep and an opened mouth at every full second) to a
WebRTC viewer and, where PulseAudio is there, to a loudspeaker with a clock of its own. The viewer is aiortc in this
process: it takes what a page would take, and a tenth of a core.

With ``joins`` others come and go all the time, as people do: some say good-bye, some close the connection, some vanish.
When they have all left, the engine must have as many tasks, threads, sockets and open files as before they came.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from avatar.bench.process import get, running, usage
from avatar.config import Config
from avatar.metrics import percentiles
from avatar.testing.browser import change, onsets, pair
from avatar.testing.crowd import Comers
from avatar.testing.pulse import PulseDaemon, available
from avatar.testing.viewer import Viewer

WINDOW = 60.0
"""Seconds that are looked at together."""
WARM_UP = 0.2
"""The part of the time in which caches and pools find their size; memory is judged after it."""
WARM_UP_COMERS = 4
"""Viewers that come before what the engine holds is counted first."""
GONE_S = 30.0
"""Seconds after which even whoever vanished without a word is forgotten by the engine."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Handles:
    """What the engine holds."""

    tasks: int
    threads: int
    sockets: int
    files: int
    """Open ones that are no sockets."""

    def more_than(self, before: Handles) -> dict[str, int]:
        """What has grown, by how much."""
        grown = {name: getattr(self, name) - getattr(before, name) for name in self.__slots__}
        return {name: max(0, by) for name, by in grown.items()}


def handles(address: str, pid: int, looks: int = 1) -> Handles:
    """Of the engine at ``address``, whose process is ``pid`` (Linux): the least of so many looks, since a request that
    is being answered holds something too."""
    found = []
    for look in range(looks):
        time.sleep(0.5 * bool(look))
        found.append(_look(address, pid))
    return Handles(*(min(column) for column in zip(*(astuple(each) for each in found), strict=True)))


def _look(address: str, pid: int) -> Handles:
    meters = get(address, "/api/meters")
    targets = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # closed since
            targets.append(os.readlink(f"/proc/{pid}/fd/{entry}"))
    sockets = sum(target.startswith("socket:") for target in targets)
    return Handles(meters["tasks"], len(os.listdir(f"/proc/{pid}/task")), sockets, len(targets) - sockets)


@dataclass(slots=True)
class _Log:
    """A row for each window."""

    at: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    handles: list[Handles] = field(default_factory=list)
    fps: list[float] = field(default_factory=list)
    freeze_ms: list[float] = field(default_factory=list)
    skews: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, picture less sound in ms); > 0: the sound leads."""


def soak(
    config: Config, seconds: float = 1800.0, progress: Progress = lambda done, of: None, joins: float = 0.0
) -> dict[str, Any]:
    """Run for ``seconds`` and report. Linux only (it reads /proc).

    :param joins: every so many seconds a viewer comes and an earlier one leaves; 0 = nobody but the one who measures.
    """
    with contextlib.ExitStack() as stack:
        settings = ["input.audio=probe", 'output.sinks=["webrtc"]']
        if available():
            stack.enter_context(PulseDaemon())
            settings[1] = 'output.sinks=["webrtc", "speaker"]'
            settings.append(f"output.speaker_device={PulseDaemon.OUTPUT}")
        settings += [f"sync.{key}={value}" for key, value in config.sync]
        address, process = stack.enter_context(running(config, *settings))
        return asyncio.run(_soak(address, process.pid, seconds, progress, joins))


async def _soak(address: str, pid: int, seconds: float, progress: Progress, joins: float) -> dict[str, Any]:
    log = _Log()
    async with Viewer(address) as viewer:
        await asyncio.sleep(5.0)
        if joins:
            async with Comers(address, joins) as comers:  # pools and caches find their size
                await asyncio.sleep(WARM_UP_COMERS * joins)
            await asyncio.sleep(GONE_S)
        before = await asyncio.to_thread(handles, address, pid, 4)
        comers = Comers(address, joins)
        await comers.start()
        viewer.forget()
        begun, cpu, own = time.monotonic(), usage(pid)[0], time.process_time()
        await asyncio.to_thread(_note, log, address, pid, 0.0)
        window = min(WINDOW, max(10.0, seconds / 5))
        while (now := time.monotonic() - begun) < seconds:
            progress(round(now), round(seconds))
            await asyncio.sleep(min(window, seconds - now + 0.01))
            await asyncio.to_thread(_note, log, address, pid, time.monotonic() - begun)
            await asyncio.to_thread(_judge, viewer, log, begun)
        wall = time.monotonic() - begun
        cpu, own = usage(pid)[0] - cpu, time.process_time() - own
        await comers.stop()
        if joins:
            await asyncio.sleep(GONE_S)
            leaked = (await asyncio.to_thread(handles, address, pid, 4)).more_than(before)
        else:
            first = next(k for k, at in enumerate(log.at) if at >= WARM_UP * wall)
            leaked = log.handles[-1].more_than(log.handles[first])
        meters = await asyncio.to_thread(get, address, "/api/meters")
    counted = {"joined": comers.joined, "refused": comers.refused} if joins else {}
    leaks = {"leaks": sum(leaked.values()), "leaked": leaked, **counted}
    return {**_report(log, wall), **leaks, **_of_the_engine(meters), **_shares(cpu, own, wall)}


def _note(log: _Log, address: str, pid: int, at: float) -> None:
    log.at.append(at)
    log.rss_mb.append(usage(pid)[1])
    log.handles.append(handles(address, pid))


def _judge(viewer: Viewer, log: _Log, begun: float) -> None:
    """Take what the viewer got in this window: its pace, and how each flash sits to its beep on the sender's clock."""
    video, audio = viewer.media["video"], viewer.media["audio"]
    (pictures, video.frames), (sounds, audio.frames) = (video.frames, []), (audio.frames, [])
    for medium in (video, audio):
        medium.arrived.clear()
    if len(pictures) < 2 or not video.reports or not audio.reports:
        log.fps.append(0.0)
        return
    shown = np.array([at for _, at, _ in pictures])
    log.fps.append(float((len(shown) - 1) / (shown[-1] - shown[0])))
    log.freeze_ms.append(float(np.diff(shown).max() * 1e3))
    zero = video.reports[0][1]
    times = np.array([video.sender_time(rtp, at, zero) for rtp, at, _ in pictures])
    flashes = onsets(1e3 * times, change(np.array([light for _, _, light in pictures])))
    beeps = np.array(list(_beeps((audio.sender_time(rtp, at, zero), wave) for rtp, at, wave in sounds)))
    since = float(shown[0] - begun) - times[0]
    log.skews += [(since + flash / 1e3, flash - beep) for flash, beep in pair(flashes, 1e3 * beeps)]
    for medium in (video, audio):
        del medium.reports[1:-2]


def _beeps(pieces: Iterator[tuple[float, np.ndarray]]) -> Iterator[float]:
    """When each beep begins, in seconds; pieces of 16 bit sound at 48 kHz with their times."""
    last = -1.0
    for start, wave in pieces:
        loud = np.flatnonzero(np.abs(wave.astype(np.int32)) > 4_000)
        if len(loud):
            at = start + loud[0] / 48_000
            if at - last > 0.25:
                yield at
            last = at


def _slope(hours: np.ndarray, values: np.ndarray) -> float:
    return float(np.polyfit(hours, values, 1)[0]) if len(hours) > 2 and np.ptp(hours) > 0 else 0.0


def _report(log: _Log, wall: float) -> dict[str, Any]:
    at, rss = np.array(log.at), np.array(log.rss_mb)
    late = at >= WARM_UP * wall
    skews = np.array(log.skews or [(0.0, 0.0)])
    return {
        "seconds": round(wall, 1),
        "sessions": 1,
        "viewers": 1,
        "fps_min": round(min(log.fps), 2),
        "freeze_ms_max": round(max(log.freeze_ms, default=0.0), 1),
        "rss_mb": {"start": round(float(rss[late][0]), 1), "end": round(float(rss[-1]), 1), "max": round(rss.max(), 1)},
        "rss_slope_mb_per_h": round(_slope(at[late] / 3600, rss[late]), 2),
        "rss_mb_by_window": [round(float(mb), 1) for mb in rss],
        "skew_ms": percentiles(skews[:, 1]),
        "skew_events": len(log.skews),
        "skew_ms_by_tenth": [round(float(np.median(part)), 2) for part in np.array_split(skews[:, 1], 10) if len(part)],
        "drift_ms_per_hour": round(_slope(skews[:, 0] / 3600, skews[:, 1]), 2),
    }


def _of_the_engine(meters: dict[str, Any]) -> dict[str, Any]:
    return {key: meters[key] for key in ("shed", "dropped", "resync", "resyncs", "engine_ms")}


def _shares(engine: float, viewer: float, wall: float) -> dict[str, float]:
    return {"cpu_cores": round(engine / wall, 3), "viewer_cores": round(viewer / wall, 3)}
