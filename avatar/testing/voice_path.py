"""Measures the whole path of a voice: from its sound's entering a real (PulseAudio) microphone to the picture with the
open mouth being handed to a sink. The network and the viewer's screen are not part of it.

``python -m avatar.testing.voice_path --config low_latency.toml`` prints the figures as JSON.

When the sound enters the microphone is told by a second recorder of the same device, PulseAudio's own ``parec``, which
knows nothing of our stamps: a sample cannot arrive there before it has entered, so the earliest arrivals of a whole
run date all of them, a few milliseconds late at most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from avatar.config import Config, load
from avatar.core import facs
from avatar.core.types import F32, MILLISECOND, SECOND, AvatarFrame, FaceState, Ns
from avatar.metrics import percentiles
from avatar.streams.base import Sink, StreamFormat
from avatar.testing.pulse import PulseDaemon
from avatar.testing.pulse_path import playing

RATE = 48_000
PIECE = RATE // 200
JAW = facs.INDEX["jawOpen"]
MOUTH = (0.35, 0.55, 0.3, 0.3)
"""Lips and chin of a portrait: left, top, width, height in parts of the picture."""
OPEN = 0.3
"""The part of its usual height at which a sound has begun or a mouth is open."""
APART = 1.6
"""Seconds between two syllables."""


class Witness:
    """``parec`` on the microphone's own signal: all samples, and when each came at the latest."""

    def __init__(self, device: str, now: Any) -> None:
        self._now = now
        self._parts: list[bytes] = []
        self._earliest: float = float("inf")
        command = ["parec", "--raw", "--format=float32le", f"--rate={RATE}", "--channels=1", "--latency-msec=5"]
        self._recorder = subprocess.Popen([*command, "-d", device.removeprefix("pulse:")], stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._recorder.stdout is not None
        count = 0
        while data := self._recorder.stdout.read(PIECE * 4):
            count += len(data) // 4
            # The time of sample 0 that this piece allows at the latest.
            self._earliest = min(self._earliest, self._now() / SECOND - count / RATE)
            self._parts.append(data)

    def stop(self) -> tuple[F32, float]:
        """``(samples (n,), session seconds of the first)``."""
        self._recorder.terminate()
        self._recorder.wait()
        self._thread.join(2.0)
        return np.frombuffer(b"".join(self._parts), "<f4"), self._earliest


class Camera(Sink):
    """Keeps of each picture when it was handed over, its time, its jaw and its mouth's pixels."""

    name: ClassVar[str] = "voice path"

    def __init__(self, now: Any) -> None:
        self._now = now
        self.rows: list[tuple[float, float, float, np.ndarray]] = []

    async def open(self, form: StreamFormat) -> None:
        self.rows.clear()

    async def video(self, frame: AvatarFrame) -> None:
        now = self._now() / SECOND
        height, width = frame.pixels.shape[:2]
        left, top, wide, high = MOUTH
        rows = slice(int(top * height), int((top + high) * height), 4)
        part = frame.pixels[rows, int(left * width) : int((left + wide) * width) : 4, 1].astype(np.int16)
        self.rows.append((now, frame.pts / SECOND, float(frame.state.arkit[JAW]), part))

    async def close(self) -> None:
        return


def syllables(seconds: float) -> F32:
    """A vowel out of silence and a vowel after closed lips, in turns, each once in :data:`APART`."""
    from avatar.streams.sources.text import EspeakVoice

    voice = EspeakVoice()
    parts = []
    for text in ("ah!", "papa!", "ma!"):
        speech = voice.synthesize(text)
        heard = np.flatnonzero(np.abs(speech.samples) > 0.02)
        part = speech.samples[heard[0] : heard[-1] + 1][: round(0.7 * speech.rate)]
        places = np.arange(0, len(part) - 1, speech.rate / RATE)
        parts.append(np.interp(places, np.arange(len(part)), part) * 0.7)
    sound = np.zeros(round(seconds * RATE), np.float32)
    for i in range(int(seconds / APART)):
        # Not in step with the pictures: each syllable begins elsewhere between two of them.
        begin, part = round((i * APART + 0.3 + 0.0071 * (i % 14)) * RATE), parts[i % len(parts)]
        end = min(len(sound), begin + len(part))
        sound[begin:end] = part[: end - begin]
    return sound


def rises(times: np.ndarray, values: np.ndarray, rest: float = 0.4) -> np.ndarray:
    """When a series rises above :data:`OPEN` of its usual maximum (the median over syllables) after ``rest`` below."""
    top = np.median([values[i : i + 1].max(initial=0) for i in _peaks(times, values)])
    above = times[values > OPEN * top]
    return above[np.concatenate([[True], np.diff(above) > rest])] if len(above) else above


def _peaks(times: np.ndarray, values: np.ndarray) -> Iterator[int]:
    for start in np.arange(times[0], times[-1] - APART, APART):
        inside = np.flatnonzero((times >= start) & (times < start + APART))
        if len(inside):
            yield int(inside[np.argmax(values[inside])])


def loudness(samples: F32, first: float) -> tuple[np.ndarray, np.ndarray]:
    """(times, levels) of each millisecond, the level of the 5 ms up to it."""
    n = RATE // 1000
    energy = np.cumsum(np.concatenate([np.zeros(5 * n), samples.astype(np.float64) ** 2]))
    places = np.arange(n, len(samples), n)
    return first + places / RATE, np.sqrt((energy[places + 5 * n - 1] - energy[places - 1]) / (5 * n))


def delays(causes: np.ndarray, effects: np.ndarray) -> list[float]:
    """Milliseconds from each cause to the effect that is nearest to a tenth of a second later, within 0.4 s."""
    found = [effects[np.argmin(np.abs(effects - c - 0.1))] - c for c in causes] if len(effects) else []
    return [1e3 * float(d) for d in found if abs(d - 0.1) < 0.4]


async def measure(config: Config, seconds: float = 40.0) -> dict[str, Any]:
    """Run the live engine on a voice for ``seconds``. Needs a :class:`PulseDaemon`."""
    from avatar.assembly import Pipeline

    settings: dict[str, dict[str, Any]] = {
        "input": {"audio": "microphone", "device": PulseDaemon.MICROPHONE, "video": "none"},
        "output": {"sinks": ()},
        "server": {"enabled": False},
        "face": {"head_strength": 0.0},  # a head that moves changes the mouth's pixels too
    }
    changed = {table: getattr(config, table).model_copy(update=values) for table, values in settings.items()}
    pipeline = Pipeline(config.model_copy(update=changed))
    session = pipeline.session
    for t in range(3):  # compiled before anything is timed
        session.draw(FaceState(Ns(t)))
    camera = Camera(pipeline.clock.now)
    pipeline.attach(camera)
    running = asyncio.create_task(pipeline.run())
    witness: Witness | None = None
    try:
        with playing(syllables(seconds + 4), PulseDaemon.SPEECH):
            await asyncio.sleep(3)
            witness = Witness("speech.monitor", pipeline.clock.now)
            session.meters.clear()
            late = session.sound.late
            done, _ = await asyncio.wait({running}, timeout=seconds)
            for task in done:
                task.result()
            samples, first = witness.stop()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return _report(pipeline, camera, samples, first, session.sound.late - late, seconds)


def _report(pipeline: Any, camera: Camera, samples: F32, first: float, late: int, seconds: float) -> dict[str, Any]:
    session, timing = pipeline.session, pipeline.session.timing
    rows = [row for row in camera.rows if row[0] > first + 0.5]
    times, pts, jaw = (np.array([row[i] for row in rows]) for i in range(3))
    pixels = np.stack([row[3] for row in rows])
    change = np.abs(pixels - np.median(pixels, axis=0)).mean(axis=(1, 2))
    said = rises(*loudness(samples, first))
    said = said[(said > times[0] + 0.3) & (said < times[-1] - 0.8)]
    opened, shown = delays(said, rises(times, change)), delays(said, rises(times, jaw))
    moved = delays(said, rises(pts, jaw))
    look_ahead = pipeline.look_ahead / MILLISECOND
    return {
        "seconds": seconds,
        "syllables": len(said),
        "mouth_ms": percentiles(opened),
        "state_ms": percentiles(shown),
        "path_ms": percentiles(1e3 * (times - pts)),
        "mouth_after_sound_ms": percentiles(moved),
        "parts_ms": {
            "intake": timing.intake / MILLISECOND,
            "chunk": timing.chunk / MILLISECOND,
            "look_ahead": round(look_ahead, 1),
            "lead": timing.lead / MILLISECOND,
            "spare": round(timing.spare(pipeline.look_ahead) / MILLISECOND, 1),
            "budget": timing.budget / MILLISECOND,
            "frame": round(1000 / timing.fps, 1),
        },
        "sound_late_ms": percentiles(session.meters.series("sound_late_ms"), (50, 95, 99, 100)),
        "engine_ms": percentiles(session.meters.series("engine_ms")),
        "sound_lost_ms": round(1000 * late / timing.rate, 1),
        "shed": session.meters.counters["shed"],
        "pictures": len(rows),
    }


@contextmanager
def _sound_server() -> Iterator[None]:
    with PulseDaemon():
        yield


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--config", metavar="FILE")
    parser.add_argument("--set", metavar="a.b=c", action="append", default=[])
    parser.add_argument("--json", action="store_true", help="the only form there is")
    args = parser.parse_args(argv)
    with _sound_server():
        report = asyncio.run(measure(load(args.config, args.set).config, args.seconds))
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
