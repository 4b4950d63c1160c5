"""`avatar bench stages`: every stage of the live path, one after the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from avatar.analysis.features import RATE, FrameStream
from avatar.config import Config
from avatar.core.types import F32, SECOND, AudioChunk, Ns, VideoFrame, freeze
from avatar.errors import RunError
from avatar.metrics import percentiles

BUDGET_MS = {
    "analysis_per_20ms": 1.0,
    "emotion_per_100ms": 5.0,
    "idle_and_sample": 0.5,
    "engine": 12.4,
    "badge": 0.1,
    "watermark": 0.5,
    "to_i420": 0.3,
    "vp8_encode": 2.3,
    "tracker_per_frame": 5.0,
}
"""Milliseconds on one core that docs/architecture.md allots to each stage (medians)."""


def _times(work: Callable[[int], object], count: int, warm: int = 5) -> dict[str, float]:
    taken = []
    for index in range(count + warm):
        begun = time.perf_counter()
        work(index)
        taken.append((time.perf_counter() - begun) * 1e3)
    return percentiles(taken[warm:], (50, 95))


def stages(config: Config, frames: int = 300) -> dict[str, Any]:
    """p50 and p95 in milliseconds of every stage of the live path, on the demo speech, one after the other."""
    import cv2

    from avatar.engines.badge import Badge
    from avatar.engines.watermark import Message, Watermark
    from avatar.parts import IdleMotion, find_avatar, make_engine, make_listener, make_watcher, registry, style
    from avatar.streams.pixels import to_i420
    from avatar.streams.sources.text import load_speech
    from avatar.sync.synchronizer import Synchronizer

    cv2.setNumThreads(1)
    fps = config.avatar.fps
    listener, idle, synchronizer = make_listener(config), IdleMotion(0), Synchronizer(style(config), config.face.seed)
    engine = make_engine(config.avatar.engine, find_avatar(config.avatar.name, config=config), config.avatar.size)
    badge = Badge(engine.size)
    speech = load_speech(registry.samples_dir() / "demo.ogg")
    sound = [AudioChunk(c.pts, c.samples, c.rate) for c in speech.chunks(Ns(0))]  # without its script: as if heard

    def hear(index: int) -> None:
        for cue in listener.step(sound[index]) or ():
            synchronizer.push(cue, "voice")

    result = {"analysis_per_20ms": _times(hear, min(len(sound) - 5, 600))}
    result["emotion_per_100ms"] = _emotion(speech.resampled(RATE).samples)
    states = []

    def sample(index: int) -> None:
        t = Ns(index * SECOND // fps)
        for cue in idle(t, synchronizer.speaking(t)):
            synchronizer.push(cue, "idle")
        states.append(synchronizer.sample(t))

    result["idle_and_sample"] = _times(sample, frames)
    result["engine"] = _times(lambda i: engine.render(states[i % len(states)]), frames)
    picture = engine.render(states[0])
    mark = Watermark(engine.size, Message(0), engine.bundle.portrait)
    result["badge"] = _times(lambda i: badge.apply(picture), frames)
    result["watermark"] = _times(lambda i: mark.apply(picture), frames)
    result["to_i420"] = _times(lambda i: to_i420(picture), frames)
    pictures = [engine.render(state) for state in states[: 2 * fps]]
    result["vp8_encode"] = _times(_vp8(pictures), frames)
    with contextlib.suppress(RunError):  # without the model file there is nothing to measure
        tracker = make_watcher(config)
        result["tracker_per_frame"] = _times(
            lambda i: tracker.step(VideoFrame(Ns(i * SECOND // fps), freeze(pictures[i % len(pictures)]))), 60
        )
    rows = {name: {**row, "budget": BUDGET_MS[name]} for name, row in result.items()}
    frame_ms = sum(rows[n]["p50"] for n in ("idle_and_sample", "engine", "badge", "watermark", "to_i420", "vp8_encode"))
    core = frame_ms * fps / 1000 + rows["analysis_per_20ms"]["p50"] * 50 / 1000
    return {"size": engine.size, "fps": fps, "stages_ms": rows, "one_core_share": round(core, 3)}


def _emotion(samples: F32) -> dict[str, float]:
    """An update of what a voice feels, every 100 ms of it; also the processor's time alone, which a busy machine does
    not lengthen."""
    from avatar.analysis.emotion import EVERY, WEIGHTS_FILE, EmotionEstimator
    from avatar.analysis.prosody import yin
    from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate
    from avatar.parts import registry

    folder = registry.weights_dir()
    estimator, vad, gate = EmotionEstimator(folder / WEIGHTS_FILE), SileroVad(folder / VAD_FILE), SpeechGate()
    hops = FrameStream().push(samples)
    pitches = yin(np.stack([hop.past for hop in hops]))
    wall, processor = [], []
    for first in range(0, len(hops) - EVERY, EVERY):
        taken = [0.0, 0.0]
        for hop, pitch in zip(hops[first : first + EVERY], pitches[first : first + EVERY], strict=True):
            gate.step(hop.level, vad.push(hop.new))
            begun = time.perf_counter(), time.thread_time()
            estimator.step(hop, *pitch, gate)
            taken[0] += time.perf_counter() - begun[0]
            taken[1] += time.thread_time() - begun[1]
        wall.append(taken[0] * 1e3)
        processor.append(taken[1] * 1e3)
    warm = 20
    alone = percentiles(processor[warm:], (50, 95))
    return percentiles(wall[warm:], (50, 95)) | {f"processor_{name}": ms for name, ms in alone.items()}


def _vp8(pictures: list[np.ndarray]) -> Callable[[int], object]:
    import av

    from avatar.streams.rtc_codecs import LiveVp8Encoder

    encoder = LiveVp8Encoder()
    frames = [av.VideoFrame.from_ndarray(p, format="rgb24").reformat(format="yuv420p") for p in pictures]

    def encode(index: int) -> object:
        frame = frames[index % len(frames)]
        frame.pts, frame.time_base = index * 3000, Fraction(1, 90_000)
        return encoder.encode(frame)

    return encode
