"""What a session costs on this machine, in each way to draw: half a second of drawing, as at every start, then some
hearing and encoding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from avatar.config import AvatarTable, Config
from avatar.core.types import SECOND, AudioChunk, Ns, freeze
from avatar.engines import choice
from avatar.labels import labelled, origin_of
from avatar.parts import choose_engine, find_avatar, make_listener
from avatar.portrait.bundle import AvatarBundle
from avatar.streams.pixels import to_i420
from avatar.streams.rtc_codecs import LiveVp8Encoder
from avatar.trust.provenance import new_session

BETWEEN = 1.5
"""What a live session takes over what its parts take alone: the event loop, encryption, packets, one viewer, and caches
that others have used meanwhile. Measured on a busy machine, four sessions at their full rate: 1.49 (docs/scale.md;
``live_over_parts`` of `avatar bench serve`). What sessions that are watched really take corrects it within seconds
(:meth:`avatar.scale.admission.Admission.learn`)."""
_PICTURES = 24


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one session with one viewer, in one way to draw."""

    cores: float
    quality: choice.Quality
    tier: str
    """The same in words."""
    engine_ms: float
    """Of a picture."""
    picture_ms: float
    """Of a picture in all: drawn, labelled and encoded."""
    hearing_ms: float
    """Of 20 ms of sound."""

    def parts(self, fps: float) -> float:
        """Cores that drawing so many pictures a second and hearing take alone."""
        return (self.picture_ms * fps + self.hearing_ms * 50) / 1e3


def measure(config: Config) -> list[Cost]:
    """Of every way to draw that may be used, best first, each cheaper than the one before it: those that are drawn in
    time here where the quality is ``auto``, else the one that is asked for. Takes a few seconds. Raises AvatarError
    where the avatar or the engine cannot be had."""
    cv2.setNumThreads(1)
    bundle = find_avatar(config.avatar.name)
    hearing_ms = _hearing(config)
    if config.avatar.quality != choice.AUTO:
        return [_of(config.avatar, bundle, hearing_ms)]
    names = [tier.quality for tier in choice.distinct(config.avatar.engine, config.avatar.size)]
    found = [_of(config.avatar.model_copy(update={"quality": name}), bundle, hearing_ms) for name in names]
    fast = [each for each in found[:-1] if each.engine_ms <= choice.enough(config.avatar.fps)] + found[-1:]
    return [each for k, each in enumerate(fast) if all(each.cores < better.cores for better in fast[:k])]


def _of(asked: AvatarTable, bundle: AvatarBundle, hearing_ms: float) -> Cost:
    chosen = choose_engine(asked, bundle)
    engine_ms = choice.milliseconds(chosen.engine)
    origin = origin_of(bundle, chosen.engine.name, asked, new_session())
    draw, encode = labelled(chosen.engine, asked, origin), _encoder(asked.fps)
    states = choice.speaking(_PICTURES)
    picture_ms = _processor_ms(lambda k: encode(draw(states[k]), k), _PICTURES)
    parts = picture_ms * asked.fps / 1e3 + hearing_ms * 50 / 1e3
    return Cost(
        round(BETWEEN * parts, 4),
        chosen.tier.quality,
        f"{chosen.tier}, {engine_ms:.1f} ms a picture",
        round(engine_ms, 2),
        round(picture_ms, 2),
        round(hearing_ms, 3),
    )


def as_json(costs: Iterable[Cost]) -> list[dict[str, Any]]:
    return [asdict(each) for each in costs]


def _processor_ms(work: Callable[[int], object], count: int) -> float:
    """Median of the processor's milliseconds of this process: what others take meanwhile is no property of the work."""
    taken = []
    for index in range(count):
        begun = time.process_time()
        work(index)
        taken.append((time.process_time() - begun) * 1e3)
    return float(np.median(taken))


def _encoder(fps: int) -> Callable[[np.ndarray, int], object]:
    encoder = LiveVp8Encoder()

    def encode(picture: np.ndarray, index: int) -> object:
        frame = av.VideoFrame.from_ndarray(to_i420(picture), format="yuv420p")
        frame.pts, frame.time_base = index * 90_000 // fps, Fraction(1, 90_000)
        return encoder.encode(frame)

    return encode


def _hearing(config: Config) -> float:
    listener = make_listener(config, live=True)
    noise = np.random.default_rng(0).normal(0, 0.05, (60, 960)).astype(np.float32)
    chunks = [AudioChunk(Ns(k * SECOND // 50), freeze(wave), 48_000) for k, wave in enumerate(noise)]
    return _processor_ms(lambda k: listener.step(chunks[k]), len(chunks))
