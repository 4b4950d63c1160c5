"""The same stages without a clock: a recording in, the states of its frames out. Deterministic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from avatar.core.types import SECOND, AudioChunk, BlinkCue, Cue, FaceState, GazeCue, Ns, VideoFrame, freeze
from avatar.pipeline.stage import Stage
from avatar.sync.synchronizer import Synchronizer

STEP = SECOND // 50


def chunks(samples: np.ndarray, rate: int) -> Iterator[AudioChunk]:
    """A recording (n,) in pieces of 20 ms from time 0."""
    n = rate // 50
    for start in range(0, len(samples), n):
        piece = np.ascontiguousarray(samples[start : start + n], np.float32)
        yield AudioChunk(Ns(start * SECOND // rate), freeze(piece), rate)


def frame_count(duration: float, fps: float) -> int:
    """Pictures that cover ``duration`` seconds."""
    return max(1, round(duration * fps))


def states(
    sound: Iterable[AudioChunk],
    count: int,
    fps: float,
    listen: Stage[AudioChunk, tuple[Cue, ...]],
    latency: Ns,
    idle: Callable[[Ns, bool], Iterable[BlinkCue | GazeCue]],
    synchronizer: Synchronizer,
    pictures: Iterable[VideoFrame] = (),
    watch: Stage[VideoFrame, tuple[Cue, ...]] | None = None,
) -> Iterator[FaceState]:
    """One state a frame, ``count`` frames. ``latency`` is how late ``listen``'s cues come; the sound is heard that far
    ahead of the picture and continued with silence at its end. A camera recording is watched alongside."""
    silence = np.zeros(0, np.float32)
    source, heard, rate = iter(sound), Ns(0), 48_000
    seen = iter(pictures)
    waiting = next(seen, None)
    for index in range(count):
        t = Ns(round(index * SECOND / fps))
        while heard < t + latency + STEP:
            chunk = next(source, None)
            if chunk is None:
                if len(silence) == 0:
                    silence = freeze(np.zeros(rate // 50, np.float32))
                chunk = AudioChunk(heard, silence, rate)
            rate, heard = chunk.rate, chunk.end
            for cue in listen.step(chunk) or ():
                synchronizer.push(cue, "voice")
            for move in chunk.moves:
                synchronizer.push(move, "script")
        while watch is not None and waiting is not None and waiting.pts <= t + SECOND // fps:
            for cue in watch.step(waiting) or ():
                synchronizer.push(cue, "camera")
            waiting = next(seen, None)
        for cue in idle(t, synchronizer.speaking(t)):
            synchronizer.push(cue, "idle")
        yield synchronizer.sample(t)
