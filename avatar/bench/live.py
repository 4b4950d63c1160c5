"""`avatar bench live`: the whole live path, received in a real browser."""

from __future__ import annotations

import threading
import time
from typing import Any

from avatar.bench.process import get, machine, running, usage
from avatar.config import Config
from avatar.metrics import percentiles


def live(config: Config, seconds: float) -> dict[str, Any]:
    """The whole live path through headless Chromium: the demo speech for ``seconds``, then flashes and beeps that
    share their time stamps, paired at the receiver.

    ``engine_latency_ms`` is from the sampling of a state to its picture being handed to the encoder, the wait for its
    present time included; ``cpu_cores`` is the engine's process alone.
    """
    from avatar.testing.browser import Browser

    with Browser() as browser:
        with running(config, "input.audio=demo") as (address, process):
            result = _measure_speech(browser, address, process.pid, seconds)
            browser.open(address)
            begun = time.monotonic()
            process.terminate()
            process.wait(30)
            result["exit_s"] = round(time.monotonic() - begun, 2)
            result["exit_code"] = process.returncode
        probe_seconds = min(max(seconds, 20.0), 60.0)
        with running(config, "input.audio=probe") as (address, _):
            events = browser.measure_events(address, probe_seconds)
    skews = [video - audio for video, audio in events]
    # Positive = the sound leads, as in ITU-R BT.1359.
    result["skew_ms"] = percentiles(skews)
    result["skew_range_ms"] = [round(min(skews), 1), round(max(skews), 1)] if skews else [0.0, 0.0]
    result["skew_events"] = len(skews)
    return result


def _measure_speech(browser: Any, address: str, pid: int, seconds: float) -> dict[str, Any]:
    marks: list[tuple[float, float, float]] = []
    done = threading.Event()

    def mark() -> None:
        cpu, rss = usage(pid)
        marks.append((time.monotonic(), cpu, rss))

    def watch() -> None:
        mark()
        while not done.wait(5.0):
            mark()

    watcher = threading.Thread(target=watch, daemon=True)
    before = machine()
    seen = browser.measure(address, seconds, on_start=watcher.start)
    stolen, total = (after - was for was, after in zip(before, machine(), strict=True))
    done.set()
    watcher.join()
    mark()
    meters = get(address, "/api/meters")
    wall = marks[-1][0] - marks[0][0]
    minute = [rss for at, _, rss in marks if at - marks[0][0] >= 60.0] or [marks[0][2]]
    return {
        "seconds": round(wall, 1),
        "fps": seen["fps"],
        "freeze_ms_max": seen["freeze_ms_max"],
        "engine_latency_ms": meters["latency_ms"],
        "engine_ms": meters["engine_ms"],
        "cpu_cores": round((marks[-1][1] - marks[0][1]) / wall, 3),
        "rss_mb": {"start": round(marks[0][2], 1), "end": round(marks[-1][2], 1)},
        "rss_growth_after_first_minute_mb": round(marks[-1][2] - minute[0], 1),
        "skew_by_reports_ms": seen["skew_ms"],
        "shed": meters["shed"],
        "stolen_percent": round(100 * stolen / max(1, total), 1),
        "receiver": {k: v for k, v in seen.items() if k not in ("fps", "freeze_ms_max", "skew_ms")},
    }
