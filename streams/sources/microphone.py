"""The microphone, through PortAudio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import numpy as np

from avatar.core.clock import ArrivalClock, Clock
from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, Ns, freeze
from avatar.errors import DeviceError
from avatar.streams import devices
from avatar.streams.base import Source
from avatar.streams.handover import Handover

log = logging.getLogger(__name__)

RATE = 48_000
BLOCK = RATE // 100
"""10 ms a callback."""
QUEUE = 50
"""Blocks (half a second) that may wait for a busy session before the oldest go."""
SILENT_AFTER = 2.0
"""Seconds without a block after which the device counts as gone; drivers do not always say so."""


class SampleClock:
    """Times for blocks of a device that counts samples (:class:`avatar.core.clock.ArrivalClock`)."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._clock = ArrivalClock()
        self._counted = 0
        self._end: int | None = None
        self._last = -1

    @property
    def drift_ppm(self) -> float:
        """How much longer the session's second is than the device's, in parts per million."""
        return self._clock.drift_ppm

    def stamp(self, count: int, taken: Ns, lost: bool) -> tuple[Ns, bool]:
        """Time of the first of ``count`` samples, by its own account ``taken``, and whether sound is missing before it.

        ``lost``: the driver or a queue lost samples before these. Times never go back.
        """
        device = self._counted * SECOND // self._rate
        self._counted += count
        pts = self._clock.stamp(device, taken, lost)
        gap = lost or (self._end is not None and abs(pts - self._end) > self._clock.late)
        self._last = max(pts, self._last + MILLISECOND, 0)
        self._end = self._last + count * SECOND // self._rate
        return Ns(self._last), gap


class MicrophoneSource(Source[AudioChunk]):
    """48 kHz mono in chunks of 10 ms, stamped with the time at which the sound was in the air.

    :param device: None = the system's default, or a number, a part of a name or ``pulse:NAME`` of `avatar devices`.
    """

    name: ClassVar[str] = "microphone"

    def __init__(self, device: str | None = None) -> None:
        self._device = device or ""
        self._stream: Any = None
        self._latency = 0.02
        self._queue: Handover[tuple[F32, int, bool]] | None = None
        self.stamps = SampleClock(RATE)
        """How the device's clock runs against the session's."""
        self.overruns = 0
        """Times at which sound was lost, in the driver or because the session was busy."""

    async def open(self, clock: Clock) -> None:
        self._queue = queue = Handover[tuple[F32, int, bool]](QUEUE)
        self.stamps = SampleClock(RATE)

        def callback(data: Any, frames: int, time: Any, status: Any) -> None:
            now = clock.now()
            age = time.currentTime - time.inputBufferAdcTime
            # Not every driver knows these times: some leave them at 0, and PulseAudio's ALSA plug-in reports half a
            # second while sound arrives after 20 ms. A value that contradicts the stream's own latency is not used.
            usual = max(self._latency, frames / RATE)
            if not 0 < age < 2 * usual + frames / RATE:
                age = usual
            queue.put((data[:, 0].copy(), now - round(age * SECOND), bool(status.input_overflow)))

        def finished() -> None:
            queue.fail(DeviceError(f"microphone {self._device or '(default)'} went away; plug it in again"))

        self._stream = await asyncio.to_thread(
            devices.open_sound, "input", self._device, RATE, BLOCK, callback, finished
        )
        self._latency = min(0.1, float(self._stream.latency))

    async def items(self) -> AsyncIterator[AudioChunk]:
        if self._queue is None:
            raise RuntimeError("items before open")
        queue = self._queue
        while True:
            try:
                (samples, taken, overflow), lost = await queue.get(SILENT_AFTER)
            except TimeoutError:
                raise DeviceError(
                    f"microphone {self._device or '(default)'} delivers no sound any more; plug it in again"
                ) from None
            self.overruns += overflow or lost
            pts, gap = self.stamps.stamp(len(samples), Ns(taken), overflow or lost)
            yield AudioChunk(pts, freeze(_finite(samples)), RATE, discontinuity=gap)

    async def close(self) -> None:
        stream, self._stream, self._queue = self._stream, None, None
        if stream is not None:
            await asyncio.to_thread(devices.close_sound, stream)


def _finite(samples: F32) -> F32:
    """Broken drivers deliver values that are not numbers."""
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)
