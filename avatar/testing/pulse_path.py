"""Measures the way of sound through real devices: a virtual microphone of PulseAudio, PortAudio, our source, the delay
of a session, our sink, PortAudio and a virtual cable.

``python -m avatar.testing.pulse_path --seconds 60`` prints the figures as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from avatar.core.clock import SessionClock
from avatar.core.ring import AudioTimeline
from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, Ns
from avatar.streams.base import StreamFormat
from avatar.streams.sinks.virtual_microphone import VirtualMicrophoneSink
from avatar.streams.sources.microphone import MicrophoneSource
from avatar.testing.pulse import PulseDaemon

RATE = 48_000
SETTLE = 4.0
"""Seconds after which the buffers on the way have found their fill."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one measurement found."""

    seconds: float
    delay_ms: dict[str, float]
    """From the microphone to the cable: min, p50, max over windows of a quarter of a second."""
    budget_ms: float
    """The part of the delay that was asked for."""
    claimed_ms: float
    """``VirtualMicrophoneSink.latency``: what the sink says that it adds."""
    similarity: float
    """Correlation of what came out with what went in, the median window; 1 = the same."""
    input_overruns: int
    output_underruns: int
    output_overruns: int


def words(seconds: float, seed: int = 3) -> F32:
    """Noise in the rhythm of syllables, never the same twice: every window can be found again at one place only."""
    random = np.random.default_rng(seed)
    n = round(seconds * RATE)
    noise = np.convolve(random.standard_normal(n), np.hanning(80) / 15, mode="same")
    rhythm = np.interp(
        np.arange(n), np.arange(0, n + 4800, 4800), random.uniform(0.02, 0.3, n // 4800 + 2)[: n // 4800 + 1]
    )
    return np.clip(noise * rhythm, -1, 1).astype(np.float32)


@contextmanager
def playing(samples: F32, sink: str) -> Iterator[None]:
    """Plays sound into one of the server's sinks, by PulseAudio's own player, while the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "sound.raw"
        raw.write_bytes(samples.astype("<f4").tobytes())
        command = ["paplay", "--raw", "--format=float32le", f"--rate={RATE}", "--channels=1", "--latency-msec=500"]
        player = subprocess.Popen([*command, "-d", sink.removeprefix("pulse:"), str(raw)])
        try:
            yield
        finally:
            player.terminate()
            player.wait()


async def measure(seconds: float = 10.0, budget_ms: int = 160) -> Report:
    """Run the path for ``seconds``, with a session's delay of ``budget_ms`` in the middle.

    Needs a :class:`PulseDaemon`. Raises DeviceError, and RuntimeError where nothing was heard.
    """
    clock = SessionClock()
    source, sink = MicrophoneSource(PulseDaemon.MICROPHONE), VirtualMicrophoneSink(PulseDaemon.OUTPUT)
    listener = MicrophoneSource(PulseDaemon.MONITOR)  # stamps as the source does, so what both add cancels out
    heard: list[AudioChunk] = []
    said: list[AudioChunk] = []
    await sink.open(StreamFormat())
    await source.open(clock)
    await listener.open(clock)
    try:
        with playing(words(seconds + SETTLE + 3), PulseDaemon.SPEECH):
            tasks = [
                asyncio.create_task(_through(source, sink, clock, Ns(budget_ms * MILLISECOND), said)),
                asyncio.create_task(_collect(listener, heard)),
            ]
            done, _ = await asyncio.wait(tasks, timeout=SETTLE)
            before = _counters(source, sink)
            if not done:
                done, _ = await asyncio.wait(tasks, timeout=seconds)
            counted = tuple(b - a for a, b in zip(before, _counters(source, sink), strict=True))
            for task in done:
                task.result()  # neither ends by itself
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        delays, alike = _compare(said, heard)
        return Report(
            seconds,
            {
                k: round(float(v), 2)
                for k, v in zip(("min", "p50", "max"), np.percentile(delays, (0, 50, 100)), strict=True)
            },
            budget_ms,
            round(sink.latency / MILLISECOND, 2),
            round(float(np.median(alike)), 4),
            *counted,
        )
    finally:
        for part in (source, listener, sink):
            await part.close()


def _counters(source: MicrophoneSource, sink: VirtualMicrophoneSink) -> tuple[int, int, int]:
    """Input overruns, output underruns and overruns so far."""
    assert sink.buffer is not None
    return source.overruns, sink.buffer.underruns + sink.device_underruns, sink.buffer.overruns


async def _through(
    source: MicrophoneSource, sink: VirtualMicrophoneSink, clock: SessionClock, budget: Ns, said: list[AudioChunk]
) -> None:
    """Sound in, along the timeline, and out at its present time, as a session does it."""
    line = AudioTimeline(RATE)
    line.skip(clock.now())

    async def leave() -> None:
        while True:
            chunk = line.read(RATE // 50)
            await clock.sleep_until(Ns(chunk.pts + budget - sink.latency))
            await sink.audio(chunk)

    async with asyncio.TaskGroup() as group:
        # What is read must have been written: reading waits for the budget first.
        async def delayed() -> None:
            await clock.sleep_until(Ns(clock.now() + budget - 20 * MILLISECOND - sink.latency))
            await leave()

        group.create_task(delayed())
        async for chunk in source.items():
            said.append(chunk)
            line.write(chunk)


async def _collect(source: MicrophoneSource, into: list[AudioChunk]) -> None:
    async for chunk in source.items():
        into.append(chunk)


def _compare(said: list[AudioChunk], heard: list[AudioChunk]) -> tuple[np.ndarray, np.ndarray]:
    """For the first half of each half second that was said: the delay in ms at which it was heard, and how alike both
    are."""
    one, two = _lay(said), _lay(heard)
    start, end = said[0].pts / SECOND + SETTLE, said[-1].pts / SECOND - 1.5
    size, room = RATE // 4, RATE
    delays, alike = [], []
    for begin in (np.arange(start, end, 0.5) * RATE).astype(int):
        piece = one[begin : begin + size]
        if piece.std() < 1e-3 or begin + size + room > len(two):
            continue
        search = two[begin : begin + size + room]
        n = 1 << int(np.ceil(np.log2(len(search) + size)))
        likeness = np.fft.irfft(np.fft.rfft(search, n) * np.conj(np.fft.rfft(piece, n)), n)[:room]
        best = int(np.argmax(likeness))
        found = search[best : best + size]
        delays.append(best * 1000 / RATE)
        alike.append(float(np.dot(found, piece) / (np.linalg.norm(found) * np.linalg.norm(piece) + 1e-12)))
    if not delays:
        raise RuntimeError("nothing was heard: the sound server plays nothing into its microphone")
    return np.array(delays), np.array(alike)


def _lay(chunks: list[AudioChunk]) -> F32:
    """Chunks at their places on the session's timeline."""
    line = np.zeros(round(chunks[-1].end * RATE / SECOND) + RATE, np.float32)
    next_place: int | None = None
    for chunk in chunks:
        place = round(chunk.pts * RATE / SECOND)
        if next_place is not None and abs(place - next_place) < RATE // 50:
            place = next_place  # stamps wander by fractions of a millisecond, samples do not
        line[place : place + len(chunk.samples)] = chunk.samples
        next_place = place + len(chunk.samples)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--budget", type=int, default=160, help="milliseconds")
    args = parser.parse_args()
    with PulseDaemon():
        report = asyncio.run(measure(args.seconds, args.budget))
    sys.stdout.write(json.dumps(asdict(report)) + "\n")


if __name__ == "__main__":
    main()
