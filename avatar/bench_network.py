"""`avatar bench network`: a live session over a network that gets narrow, wide again, and goes away for five seconds.

The viewer is aiortc behind a relay of this process (:mod:`avatar.testing.relay`), so nothing needs rights of an
administrator. What is reported: how soon the engine keeps to the bottleneck, what the viewer sees meanwhile, and how
long after an outage the next picture comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from avatar.bench import get, running
from avatar.config import Config
from avatar.testing.relay import Relay
from avatar.testing.viewer import Viewer

NARROW = 300_000
"""Bits a second of the bottleneck."""
FREE_S, NARROW_S, WIDE_S, GONE_S, AFTER_S = 8.0, 16.0, 10.0, 5.0, 8.0
SAMPLE_S = 0.25


def network(config: Config) -> dict[str, Any]:
    """Run the phases, 47 seconds in all, and report. Linux only."""
    with running(config, "input.audio=demo") as (address, _), Relay() as relay:
        sent, phases, shown = asyncio.run(_phases(address, relay))
        meters = get(address, "/api/meters")
    narrow, gone = phases["narrow"], phases["gone"]
    after = sent[(sent[:, 0] > narrow[0] + 3) & (sent[:, 0] <= narrow[1])]
    back = shown[shown >= gone[1]]
    return {
        "bottleneck_kbps": NARROW / 1e3,
        "follows_after_s": _settled(sent, narrow),
        "sent_kbps_after_3_s": round(float(np.median(after[:, 1])), 1),
        **{f"{name}_{key}": value for name in phases for key, value in _seen(shown, phases[name]).items()},
        "outage_s": GONE_S,
        "recovery_ms": round(1e3 * float(back[0] - gone[1]), 1) if len(back) else None,
        "dropped": meters["dropped"],
    }


async def _phases(address: str, relay: Relay) -> tuple[np.ndarray, dict[str, tuple[float, float]], np.ndarray]:
    """(time, kbit/s sent) (n, 2); when each phase was; when each picture was decoded."""
    phases: dict[str, tuple[float, float]] = {}
    sent: list[tuple[float, float]] = []
    async with Viewer(address, relay) as viewer:
        begun = time.monotonic()

        @contextmanager
        def phase(name: str, *impairment: float) -> Iterator[None]:
            relay.impair(*impairment)
            start = time.monotonic() - begun
            yield
            phases[name] = start, time.monotonic() - begun

        sampler = asyncio.create_task(_sample(relay, begun, sent))
        with phase("free", 0.0, 0.0):
            await asyncio.sleep(FREE_S)
        with phase("narrow", 0.0, 0.0, NARROW):
            await asyncio.sleep(NARROW_S)
        with phase("wide", 0.0, 0.0):
            await asyncio.sleep(WIDE_S)
        with phase("gone", 1.0, 0.0):
            await asyncio.sleep(GONE_S)
        with phase("after", 0.0, 0.0):
            await asyncio.sleep(AFTER_S)
        sampler.cancel()
        shown = np.array([at for _, at, _ in viewer.media["video"].frames]) - begun
    return np.array(sent), phases, shown


async def _sample(relay: Relay, begun: float, sent: list[tuple[float, float]]) -> None:
    last, at = relay.counts["down_bytes"], time.monotonic()
    while True:
        await asyncio.sleep(SAMPLE_S)
        now, count = time.monotonic(), relay.counts["down_bytes"]
        if count >= last:  # the counters begin anew with each phase
            sent.append((now - begun, (count - last) * 8 / (now - at) / 1e3))
        last, at = count, now


def _settled(sent: np.ndarray, phase: tuple[float, float]) -> float | None:
    """Seconds into the phase after which a second's mean stays within the bottleneck."""
    inside = sent[(sent[:, 0] > phase[0]) & (sent[:, 0] <= phase[1])]
    width = round(1 / SAMPLE_S)
    mean = np.convolve(inside[:, 1], np.full(width, 1 / width), "same")
    over = np.flatnonzero(mean[:-width] > NARROW / 1e3)
    return round(float(inside[over[-1], 0] - phase[0]), 2) if len(over) else 0.0


def _seen(shown: np.ndarray, phase: tuple[float, float]) -> dict[str, float]:
    inside = shown[(shown >= phase[0]) & (shown < phase[1])]
    gaps = np.diff(np.concatenate([[phase[0]], inside, [phase[1]]]))
    return {
        "fps": round(len(inside) / (phase[1] - phase[0]), 2),
        "freeze_ms_max": round(1e3 * float(gaps.max()), 1),
    }
