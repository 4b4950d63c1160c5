"""`avatar bench network`: a live session over bad networks.

==============  ======================================================================================================
``bottleneck``  two network namespaces of the kernel, a pair of virtual interfaces and a token bucket between them (it
                needs root; without, a relay of this process stands for them): free, then 300 kbit/s, then free again
``outage``      five seconds in which nothing comes through: how long after them until the next picture
``networks``    losses, bursts of them, long ways, jitter, reordering: skew of sound and picture by the sender's
                reports, freezes, and what was sent
==============  ======================================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avatar.bench.process import get, running
from avatar.bench.sync import Job, drawn_alike, mouth_of, through
from avatar.config import Config
from avatar.errors import DeviceError, UsageError
from avatar.testing import flash
from avatar.testing.browser import Browser
from avatar.testing.namespaces import Namespace
from avatar.testing.relay import Impaired, Relay
from avatar.testing.viewer import Viewer

if TYPE_CHECKING:
    from playwright.sync_api import Page

log = logging.getLogger(__name__)

NARROW = 300_000
"""Bits a second of the bottleneck."""
FREE_S, NARROW_S, WIDE_S, GONE_S, AFTER_S = 8.0, 16.0, 10.0, 5.0, 8.0
NETWORK_S = 12.0
SAMPLE_S = 0.25
NETWORKS = {
    "free": Impaired(),
    "loss5": Impaired(0.05),
    "loss10": Impaired(0.10),
    "bursts5": Impaired(0.05, burst=5),
    "delay30": Impaired(delay=0.03),
    "delay150": Impaired(delay=0.15),
    "jitter30": Impaired(jitter=0.03),
    "jitter80": Impaired(jitter=0.08),
    "reordered5": Impaired(reordered=0.05),
    "mobile": Impaired(0.02, jitter=0.03, delay=0.06, burst=3, reordered=0.01, rate=1_500_000),
}


PARTS = ("bottleneck", "outage", "networks", *NETWORKS)


def network(config: Config, parts: Sequence[str] = ()) -> dict[str, Any]:
    """Run ``parts`` of :data:`PARTS` (a network's name is that row of the table alone), or all in about five minutes,
    and report. Linux only. Raises UsageError for a part that there is not."""
    if unknown := set(parts) - set(PARTS):
        raise UsageError(f"--parts {sorted(unknown)[0]}: choose from {', '.join(PARTS)}")
    wanted = set(parts) or {"bottleneck", "outage", "networks"}
    rows = [name for name in NETWORKS if name in wanted or "networks" in wanted]
    result: dict[str, Any] = {}
    if "bottleneck" in wanted:
        result["bottleneck"] = _bottleneck(config)
    if "outage" in wanted:
        result["outage"] = _outage(config)
    if rows:
        result["networks"] = _networks(config, rows)
    return result


# --- a bottleneck ----------------------------------------------------------------------------------------------------


def _bottleneck(config: Config) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        browser = stack.enter_context(Browser())
        try:
            space = stack.enter_context(Namespace())
        except DeviceError as error:
            log.warning("the bottleneck is a relay: %s", error)
            relay = stack.enter_context(Relay())
            address, _ = stack.enter_context(running(config, "input.audio=demo"))
            page = browser.open(address, prepare=lambda page: through(page, relay))
            return {
                "by": "relay",
                **_followed(
                    *_phases(
                        page, lambda bits: relay.impair(Impaired(rate=bits or 0.0)), lambda: relay.counts["down_bytes"]
                    )
                ),
            }
        token = secrets.token_urlsafe(18)
        where = (f"server.host={space.INSIDE}", f"server.token={token}")
        address, _ = stack.enter_context(running(config, "input.audio=demo", *where, prefix=space.prefix))
        page = browser.open(f"{address}/?token={token}")
        space.bottleneck(None)
        return {"by": "namespaces", **_followed(*_phases(page, space.bottleneck, lambda: space.passed()[0]))}


NOTE_PICTURES = """() => {
  const video = document.getElementById("avatar"), shown = [];
  const note = (now, { presentedFrames }) => {
    shown.push([now / 1e3, presentedFrames]);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  window.shownPictures = () => [performance.now() / 1e3, shown];
}"""
"""Keeps when each picture was shown: [seconds, pictures so far]."""


def _phases(
    page: Page, narrow: Callable[[int | None], None], passed: Callable[[], int]
) -> tuple[np.ndarray, dict[str, tuple[float, float]], np.ndarray]:
    """(time, kbit/s passed) (n, 2); when each phase was; (time, pictures so far) (n, 2) of each picture shown."""
    phases: dict[str, tuple[float, float]] = {}
    sent: list[tuple[float, float]] = []
    page.evaluate(NOTE_PICTURES)
    for name, bits, seconds in (("free", None, FREE_S), ("narrow", NARROW, NARROW_S), ("wide", None, WIDE_S)):
        narrow(bits)
        start = page.evaluate("performance.now() / 1e3")
        at, last, count = start, time.monotonic(), passed()
        while at < start + seconds:
            page.wait_for_timeout(1000 * SAMPLE_S)
            at, now, was, count = page.evaluate("performance.now() / 1e3"), time.monotonic(), count, passed()
            sent.append((at, (count - was) * 8 / (now - last) / 1e3))
            last = now
        phases[name] = start, at
    return np.array(sent), phases, np.array(page.evaluate("shownPictures()")[1], float)


def _followed(sent: np.ndarray, phases: dict[str, tuple[float, float]], shown: np.ndarray) -> dict[str, Any]:
    """How soon the pictures keep to what goes through: from then on none is late by more than a quarter of a second.
    ``late`` are those that are: when, in seconds of the bottleneck, and how long nothing new was shown."""
    start, end = phases["narrow"]
    inside = shown[(shown[:, 0] >= start) & (shown[:, 0] < end), 0]
    gaps = np.diff(np.concatenate([inside, [end]]))
    late = np.flatnonzero(gaps > 0.25)
    after = sent[(sent[:, 0] > start + 3) & (sent[:, 0] <= end)]
    free = sent[(sent[:, 0] > phases["free"][0]) & (sent[:, 0] <= phases["free"][1])]
    return {
        "kbps": NARROW / 1e3,
        "follows_after_s": round(float(inside[late[-1]] + gaps[late[-1]] - start), 2) if len(late) else 0.0,
        "late": [[round(float(inside[k] - start), 2), round(float(gaps[k]), 2)] for k in late],
        "sent_kbps_before": round(float(np.median(free[:, 1])), 1),
        "sent_kbps_after_3_s": round(float(np.median(after[:, 1])), 1),
        **{f"{name}_{key}": value for name in phases for key, value in _seen(shown, phases[name]).items()},
    }


def _seen(shown: np.ndarray, phase: tuple[float, float]) -> dict[str, float]:
    inside = shown[(shown[:, 0] >= phase[0]) & (shown[:, 0] < phase[1])]
    if len(inside) < 2:
        return {"fps": 0.0, "freeze_ms_max": round(1e3 * (phase[1] - phase[0]), 1)}
    gaps = np.diff(np.concatenate([[phase[0]], inside[:, 0], [phase[1]]]))
    return {
        "fps": round(float(np.ptp(inside[:, 1])) / (phase[1] - phase[0]), 2),
        "freeze_ms_max": round(1e3 * float(gaps.max()), 1),
    }


# --- an outage -------------------------------------------------------------------------------------------------------


def _outage(config: Config) -> dict[str, Any]:
    with Browser() as browser, running(config, "input.audio=demo") as (address, _), Relay() as relay:
        page = browser.open(address, prepare=lambda page: through(page, relay))
        page.evaluate(NOTE_PICTURES)
        page.wait_for_timeout(1000 * FREE_S)
        relay.impair(Impaired(loss=1.0))
        page.wait_for_timeout(1000 * GONE_S)
        relay.impair(Impaired())
        back = page.evaluate("performance.now() / 1e3")
        page.wait_for_timeout(1000 * AFTER_S)
        shown = np.array(page.evaluate("shownPictures()")[1], float)
        dropped = get(address, "/api/meters")["dropped"]
    after = shown[shown[:, 0] >= back]
    return {
        "seconds": GONE_S,
        "recovery_ms": round(1e3 * float(after[0, 0] - back), 1) if len(after) else None,
        "fps_after": _seen(shown, (back + 1, back + AFTER_S))["fps"],
        "freeze_ms_max_after": _seen(shown, (back + 1, back + AFTER_S))["freeze_ms_max"],
        "dropped": dropped,
    }


# --- a table of networks ---------------------------------------------------------------------------------------------


def _networks(config: Config, rows: Collection[str]) -> dict[str, Any]:
    config = drawn_alike(config)
    mouth = mouth_of(config)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="network-") as folder:
        script = flash.Script.make(NETWORK_S + 60)
        job = Job(config, script.write(Path(folder), config.avatar.fps), script, mouth, NETWORK_S, 0.0)
        for name in rows:
            impaired = NETWORKS[name]
            with job.engine() as address, Relay() as relay:
                result[name] = asyncio.run(_watched(address, relay, impaired, mouth))
    return result


async def _watched(address: str, relay: Relay, impaired: Impaired, mouth: flash.Mouth) -> dict[str, Any]:
    async with Viewer(address, relay) as viewer:
        relay.impair(impaired)
        await asyncio.sleep(2.0)
        viewer.forget()
        relay.counts.clear()
        await asyncio.sleep(NETWORK_S)
        by_report, _ = viewer.seen(mouth)
        kbps = relay.counts["down_bytes"] * 8 / NETWORK_S / 1e3
    found = flash.figures(by_report)
    keys = ("skew_ms", "events", "lost", "fps", "freezes", "freeze_ms_max")
    return {**{key: found[key] for key in keys if key in found}, "sent_kbps": round(kbps, 1)}
