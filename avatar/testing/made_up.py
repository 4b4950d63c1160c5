"""``avatar run`` with devices that are made up, as a process of its own: what no test machine has.

    python -m avatar.testing.made_up --ppm 200 --camera seen.npz --set input.audio=flash.jsonl ...

The virtual camera is a back-end of pyvirtualcam that notes when it is handed a picture and what the mouth does in it;
the source of sound counts its samples by a clock of its own that is off, and is stamped as a microphone is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from avatar.assembly import Pipeline
from avatar.config import load
from avatar.core.clock import Clock
from avatar.core.types import AudioChunk, Ns
from avatar.streams.base import Source
from avatar.streams.sources.microphone import SampleClock
from avatar.testing import flash
from avatar.testing.browser import MOUTH


class OffClock:
    """A device's clock: the session's, running fast by ``ppm`` parts per million."""

    def __init__(self, clock: Clock, ppm: float) -> None:
        self._clock, self._rate = clock, 1 + ppm * 1e-6

    def now(self) -> Ns:
        return Ns(round(self._clock.now() * self._rate))

    async def sleep_until(self, t: Ns) -> None:
        await self._clock.sleep_until(Ns(round(t / self._rate)))


class OffRateSource(Source[AudioChunk]):
    """Another source as a device with a clock of its own would deliver it.

    :param ppm: how much faster than nominal the device counts samples, in parts per million of session time.
    """

    name: ClassVar[str] = "off_rate"

    def __init__(self, source: Source[AudioChunk], ppm: float) -> None:
        self._source, self._ppm = source, ppm
        self._clock: Clock | None = None
        self.stamps: SampleClock | None = None

    async def open(self, clock: Clock) -> None:
        self._clock = clock
        await self._source.open(OffClock(clock, self._ppm))

    async def items(self) -> AsyncIterator[AudioChunk]:
        assert self._clock is not None
        async for chunk in self._source.items():
            if self.stamps is None:
                self.stamps = SampleClock(chunk.rate)
            # A real device hands a block over when its last sample is there; this one knows the block beforehand.
            pts, gap = self.stamps.stamp(len(chunk.samples), self._clock.now(), chunk.discontinuity)
            by = pts - chunk.pts
            lips = None if chunk.lips is None else tuple(replace(cue, pts=Ns(cue.pts + by)) for cue in chunk.lips)
            yield replace(chunk, pts=pts, lips=lips, discontinuity=gap)

    async def close(self) -> None:
        await self._source.close()


class NotingCamera:
    """A back-end of pyvirtualcam; what it saw is in :attr:`times` and :attr:`lights`, for all cameras together."""

    times: ClassVar[list[float]] = []
    """Seconds of the monotonic clock."""
    lights: ClassVar[list[np.ndarray]] = []

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **kw: Any) -> None:
        self._shape = (height, width, 3)

    def send(self, frame: np.ndarray) -> None:
        self.times.append(time.monotonic())
        # Only the part of the picture that is looked at, and the eye's weights of red, green and blue (BT.601).
        grey = frame.reshape(self._shape) @ np.array([0.299, 0.587, 0.114], np.float32)
        self.lights.append(flash.fields(grey, MOUTH).astype(np.float32))

    def close(self) -> None:
        pass

    def device(self) -> str:
        return "made-up camera"

    def native_fourcc(self) -> int | None:
        return None


class MadeUp(Pipeline):
    """The engine, its source of sound off-rate."""

    ppm = 0.0

    def audio_source(self, name: str) -> Source[Any] | None:
        source = super().audio_source(name)
        return OffRateSource(source, self.ppm) if source is not None and self.ppm else source


def _say(address: str) -> None:
    sys.stdout.write(f"live: {address}\n")
    sys.stdout.flush()


async def _live(settings: list[str], ppm: float) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    pipeline = MadeUp(load(None, settings).config)
    pipeline.ppm = ppm
    running = asyncio.create_task(pipeline.run(_say))
    waiter = asyncio.create_task(stop.wait())
    await asyncio.wait({running, waiter}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    waiter.cancel()
    await asyncio.wait({running})
    if not running.cancelled():
        running.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--ppm", type=float, default=0.0, help="how much too fast the source's clock is")
    parser.add_argument("--camera", type=Path, help="what the virtual camera saw")
    args = parser.parse_args()
    if args.camera is not None:
        import pyvirtualcam

        pyvirtualcam.register_backend("made_up", NotingCamera)
    asyncio.run(_live(args.set, args.ppm))
    if args.camera is not None:
        np.savez(args.camera, times=np.array(NotingCamera.times), lights=np.array(NotingCamera.lights))
    sys.stdout.flush()
    os._exit(0)  # as avatar run does: libraries take a second to take themselves apart


if __name__ == "__main__":
    main()
