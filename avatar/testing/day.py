"""A day of speech in virtual time, through the real parts, with devices whose clocks are off.

A microphone that counts too slowly or too fast -> its stamps -> the sound's timeline -> cues -> the mouth of each
picture, and on the other side -> the jitter buffer of a loudspeaker that plays too fast or too slowly. Now and then the
microphone hears a soft knock; where the sound of it leaves the loudspeaker and where the mouth that it opened leaves
with its pictures is compared.

``python -m avatar.testing.day --hours 24`` prints the figures as JSON; docs/adr/0005-clock.md quotes them.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from avatar.core import facs
from avatar.core.ring import AudioTimeline
from avatar.core.types import F32, SECOND, AudioChunk, LipCue, Ns, freeze
from avatar.streams.sinks.jitter import JitterBuffer
from avatar.streams.sinks.speaker import TARGET
from avatar.streams.sources.microphone import SampleClock
from avatar.sync.cadence import Cadence
from avatar.sync.synchronizer import Synchronizer

KNOCK = 0.2
"""Seconds that a knock lasts; it swells and fades as a cosine, so that its centre is known well."""
SETTLE = 120.0
"""Seconds in which clocks are learnt and buffers find their fill."""
JAW = facs.INDEX["jawOpen"]
REST = freeze(np.zeros(len(facs.VISEMES), np.float32))


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated. Seconds, but for the clocks."""

    microphone_ppm: float = 200.0
    """How much longer than a true second the microphone's is, parts per million."""
    loudspeaker_ppm: float | None = -200.0
    """None = sound leaves by the session's own times, as over WebRTC and into files."""
    rate: int = 4_000
    """Samples a second, low because only times are looked at."""
    block: float = 0.01
    """What the devices give and take at a time."""
    chunk: float = 0.02
    """What the session moves at a time."""
    jitter: float = 0.003
    """Mean lateness of a block of the microphone; exponential."""
    every: float = 60.0
    """Between two knocks, on the microphone's clock."""
    budget: float = 0.16
    intake: float = 0.045
    fps: int = 30


@dataclass(slots=True)
class Figures:
    """What was found. ``skew_ms`` > 0: the sound leaves before the mouth that belongs to it."""

    at_s: list[float] = field(default_factory=list)
    skew_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    """From the knock in the air to its sound at the loudspeaker."""
    stretch_ppm_max: float = 0.0
    """The most by which sound was played faster or slower than its own clock, on the way in or out."""
    stretch_step_ppm_max: float = 0.0
    """The largest change of that from one piece to the next, once settled: what could be heard as a wobble."""
    waiting_s_max: float = 0.0
    """The most sound that the loudspeaker's buffer held, once settled."""
    dropped: int = 0
    """Samples or blocks that were lost anywhere, once settled."""
    objects: list[int] = field(default_factory=list)
    """Python objects alive, ten times along the way."""

    def summary(self) -> dict[str, float]:
        """In numbers, once settled."""
        at = np.array(self.at_s)
        skew, late = (np.array(values)[at > SETTLE] for values in (self.skew_ms, self.late_ms))
        return {
            "hours": round(self.at_s[-1] / 3600, 2),
            "knocks": len(skew),
            "skew_ms_min": round(float(skew.min()), 2),
            "skew_ms_max": round(float(skew.max()), 2),
            "drift_ms_per_hour": round(float(np.polyfit(at[at > SETTLE] / 3600, skew, 1)[0]), 3),
            "late_ms_min": round(float(late.min()), 2),
            "late_ms_max": round(float(late.max()), 2),
            "stretch_ppm_max": round(self.stretch_ppm_max, 1),
            "stretch_step_ppm_max": round(self.stretch_step_ppm_max, 2),
            "waiting_s_max": round(self.waiting_s_max, 4),
            "dropped": self.dropped,
            "objects_grown": self.objects[-1] - self.objects[1],
        }


class Day:
    """One run: ``Day(setup).run(24)``."""

    def __init__(self, setup: Setup | None = None, seed: int = 1) -> None:
        self.setup = s = setup or Setup()
        self.figures = Figures()
        self._random = np.random.default_rng(seed)
        self._stamps = SampleClock(s.rate)
        self._line = AudioTimeline(s.rate)
        self._sync = Synchronizer()
        self._cadence = Cadence(s.fps)
        self._buffer = JitterBuffer(s.rate, TARGET)
        self._queue: deque[tuple[Ns, F32]] = deque()
        self._said: deque[float] = deque()
        """When knocks were in the air."""
        self._mouth = _Centre(KNOCK)
        self._sound = _Centre(KNOCK)
        self._stretches = (0.0, 0.0)
        self._now = 0.0

    def run(self, hours: float) -> Figures:
        """Let so much time pass."""
        s, end = self.setup, hours * 3600
        parts: list[tuple[float, int, Iterator[float]]] = []
        ends = () if s.loudspeaker_ppm is None else (self._loudspeaker,)
        for index, part in enumerate((self._microphone, self._session, *ends)):
            moments = part()
            parts.append((next(moments), index, moments))
        heapq.heapify(parts)
        counted, settled = 0, False
        while (now := parts[0][0]) < end:
            self._now, _, moments = parts[0]
            heapq.heapreplace(parts, (next(moments), parts[0][1], moments))
            if not settled and now > SETTLE:
                settled, self.figures.dropped = True, self._lost()  # what was lost at the start does not count
            if now >= counted * end / 10:
                gc.collect()
                self.figures.objects.append(len(gc.get_objects()))
                counted += 1
        gc.collect()
        self.figures.objects.append(len(gc.get_objects()))
        self.figures.dropped = self._lost() - self.figures.dropped
        return self.figures

    def _lost(self) -> int:
        line, buffer = self._line, self._buffer
        return line.late + line.overruns + buffer.underruns + buffer.overruns

    # Each part yields the moment at which it is next to be called, and then does its work of that moment.

    def _microphone(self) -> Iterator[float]:
        s, taken, last = self.setup, 0, 0.0
        n, true = round(s.block * s.rate), 1 + s.microphone_ppm * 1e-6
        while True:
            begun = taken / s.rate * true  # in the air
            over = (taken + n) / s.rate * true
            last = max(last, over + self._random.exponential(s.jitter))
            yield last
            samples = self._knock(taken + np.arange(n))
            if samples.any() and (not self._said or begun - self._said[-1] > s.every / 2):
                self._said.append((taken / s.rate // s.every + 0.5) * s.every * true)
            # A driver knows how old a block is only as far as it came in time; here it thinks that it always did.
            pts, gap = self._stamps.stamp(n, Ns(round((last - s.block) * SECOND)), False)
            self._line.write(AudioChunk(pts, samples, s.rate, discontinuity=gap))
            self._note_stretch()
            taken += n

    def _knock(self, places: np.ndarray) -> F32:
        s = self.setup
        phase = (places / s.rate) % s.every - s.every / 2
        return np.where(np.abs(phase) < KNOCK / 2, 0.5 + 0.5 * np.cos(2 * np.pi * phase / KNOCK), 0).astype(np.float32)

    def _session(self) -> Iterator[float]:
        s, n = self.setup, round(self.setup.chunk * self.setup.rate)
        tick, quiet = self._cadence.next(Ns(0)), 0
        while True:
            yield self._line.position / SECOND + s.chunk + s.intake
            chunk = self._line.read(n)
            knocking = bool(chunk.samples.any()) or chunk.pts < quiet
            if chunk.samples.any():
                quiet = chunk.end + SECOND
            if s.loudspeaker_ppm is not None:
                self._queue.append((chunk.pts, chunk.samples))
            elif knocking:
                self._sound.add(chunk.pts / SECOND + s.budget + np.arange(n) / s.rate, chunk.samples)
            if knocking:
                for cue in _cues(chunk):
                    self._sync.push(cue, "voice")
            while knocking and tick < chunk.pts - SECOND // 10:  # the lips of that moment are known
                jaw = float(self._sync.sample(tick).arkit[JAW])
                self._mouth.add(np.array([tick / SECOND + s.budget]), np.array([jaw]))
                tick = self._cadence.next(Ns(0))
            if not knocking and tick < chunk.pts:  # nothing to be seen: these pictures need not be looked at
                tick = self._cadence.next(chunk.pts)
            self._compare()

    def _loudspeaker(self) -> Iterator[float]:
        s, played = self.setup, 0
        n, true = round(s.block * s.rate), 1 + (s.loudspeaker_ppm or 0.0) * 1e-6
        steps = np.arange(n) / s.rate * true
        buffer, worst = self._buffer, self.figures
        while True:
            moment = 0.5 + played / s.rate * true
            yield moment
            early = s.budget - (buffer.delay if buffer.heard_after is None else buffer.heard_after)
            while self._queue and (due := self._queue[0][0] / SECOND + early) <= moment:
                buffer.push(self._queue.popleft()[1], due)
            if moment > SETTLE:
                worst.waiting_s_max = max(worst.waiting_s_max, buffer.waiting)
            heard = buffer.pull(n, moment)
            self._note_stretch()
            if self._sound.open or heard.any():
                self._sound.add(moment + steps, heard)
            played += n

    def _note_stretch(self) -> None:
        now, before, figures = (self._line.stretch, self._buffer.stretch), self._stretches, self.figures
        if now == before:
            return
        self._stretches = now
        figures.stretch_ppm_max = max(figures.stretch_ppm_max, 1e6 * max(map(abs, now)))
        if self._now > SETTLE:
            step = 1e6 * max(abs(a - b) for a, b in zip(now, before, strict=True))
            figures.stretch_step_ppm_max = max(figures.stretch_step_ppm_max, step)

    def _compare(self) -> None:
        if self._mouth.found and self._sound.found and self._said:
            mouth, sound, said = self._mouth.found.popleft(), self._sound.found.popleft(), self._said.popleft()
            self.figures.at_s.append(said)
            self.figures.skew_ms.append(1e3 * (mouth - sound))
            self.figures.late_ms.append(1e3 * (sound - said))


def _cues(chunk: AudioChunk) -> Iterator[LipCue]:
    """The mouth opens with the level: what is compared is when, not how."""
    n = max(1, chunk.rate // 100)
    for start in range(0, len(chunk.samples), n):
        part = chunk.samples[start : start + n]
        middle = chunk.pts + (start + (len(part) - 1) / 2) * SECOND / chunk.rate
        mouth = np.zeros(len(facs.ARKIT), np.float32)
        mouth[JAW] = part.mean()
        yield LipCue(Ns(round(middle)), REST, freeze(mouth), True)


class _Centre:
    """The centres of humps in a series."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._weight = self._sum = self._origin = 0.0
        self.found: deque[float] = deque(maxlen=4)

    @property
    def open(self) -> bool:
        return self._origin > 0

    def add(self, times: np.ndarray, values: np.ndarray) -> None:
        if not self.open:
            if not values.any():
                return
            self._origin = float(times[np.flatnonzero(values)[0]])
        self._weight += float(values.sum())
        self._sum += float(np.dot(times - self._origin, values))
        if times[-1] - self._origin > 2 * self._length:
            if self._weight > 0:
                self.found.append(self._origin + self._sum / self._weight)
            self._weight = self._sum = self._origin = 0.0


def main(argv: list[str] | None = None, write: Callable[[str], object] = sys.stdout.write) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--microphone", type=float, default=200.0, metavar="PPM")
    parser.add_argument("--loudspeaker", type=float, default=-200.0, metavar="PPM")
    parser.add_argument("--rate", type=int, default=4_000)
    args = parser.parse_args(argv)
    day = Day(Setup(args.microphone, args.loudspeaker, args.rate))
    write(json.dumps(day.run(args.hours).summary()) + "\n")


if __name__ == "__main__":
    main()
