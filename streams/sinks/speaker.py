"""Sound outputs: the loudspeaker, and the base of the virtual microphone."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

from avatar.core.types import SECOND, AudioChunk, Ns
from avatar.errors import DeviceError
from avatar.streams import devices
from avatar.streams.base import Sink, StreamFormat
from avatar.streams.sinks.jitter import JitterBuffer

TARGET = 0.03
"""Seconds of sound held against uneven delivery; the least that survived a busy two-core machine without a gap."""
LATENCY = 0.06
"""Seconds of sound in the driver; with less, PulseAudio under load runs dry several times a second."""
LONGEST = 1.0
"""Seconds; a driver that claims to hold more does not know."""
STALLED_AFTER = 5.0
"""Seconds without the device asking for sound after which it counts as gone. A null sink takes two to start."""


class SpeakerSink(Sink):
    """Plays the session's sound.

    :param device: None = the system's default, or a number, a part of a name or ``pulse:NAME`` of `avatar devices`.
    """

    name: ClassVar[str] = "speaker"

    def __init__(self, device: str | None = None) -> None:
        self._device = device or ""
        self._stream: Any = None
        self._asked = 0.0
        self._gone = False
        self.buffer: JitterBuffer | None = None
        self.device_underruns = 0
        """Times at which the driver ran dry although it was served: the machine was too busy."""

    @property
    def latency(self) -> Ns:
        """From taking a chunk to hearing it, about: what an otherwise delay-free sink (a virtual camera) is ahead."""
        if self._stream is None or self.buffer is None:
            return Ns(0)
        known = self.buffer.heard_after
        return Ns(round((self.buffer.delay + float(self._stream.latency) if known is None else known) * SECOND))

    async def open(self, form: StreamFormat) -> None:
        await self._open_device(self._device, form.audio_rate)

    async def _open_device(self, device: str, rate: int) -> None:
        self.buffer = buffer = JitterBuffer(rate, TARGET)
        self._gone, self._asked = False, time.monotonic()

        def callback(out: Any, frames: int, when: Any, status: Any) -> None:
            self._asked = time.monotonic()
            self.device_underruns += bool(status.output_underflow)
            # The stream's own latency is a wish; what waits in the driver and the sound server now is known here.
            ahead = when.outputBufferDacTime - when.currentTime
            out[:, 0] = buffer.pull(frames, self._asked if 0 < ahead < LONGEST else None, ahead)

        def finished() -> None:
            self._gone = True

        self._stream = await asyncio.to_thread(
            devices.open_sound, "output", device, rate, rate // 100, callback, finished, LATENCY
        )
        buffer.device = float(self._stream.latency)

    async def audio(self, chunk: AudioChunk) -> None:
        if self._stream is None or self.buffer is None:
            raise DeviceError(f"{self.name}: not open; open it first")
        if chunk.rate != self.buffer.rate:
            raise ValueError(f"{chunk.rate} Hz for an output of {self.buffer.rate} Hz")
        if self._gone or time.monotonic() - self._asked > STALLED_AFTER:
            raise DeviceError(f"{self.name} {self._device or '(default)'} went away; plug it in again")
        self.buffer.push(chunk.samples, time.monotonic())

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await asyncio.to_thread(devices.close_sound, stream)
