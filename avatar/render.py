"""Offline: recordings, texts and states files to video files, faster than real time and the same bytes every time."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from avatar.analysis.dialogue import Act
from avatar.analysis.mouth import CALM_MS
from avatar.config import Config
from avatar.core.types import EMOTIONS, SECOND, AudioChunk, Cue, EmotionLabel, FaceState, Ns, VideoFrame
from avatar.engines import layers
from avatar.engines.base import Engine
from avatar.errors import UsageError
from avatar.labels import labelled, labelled_transparent, origin_of, seal, tags
from avatar.parts import (
    IdleMotion,
    background_doubt,
    choose_engine,
    find_avatar,
    make_listener,
    make_watcher,
    named_calibration,
    style,
)
from avatar.pipeline import offline
from avatar.pipeline.notice import ToneNotice
from avatar.pipeline.resample import Resampler
from avatar.pipeline.stage import Stage
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.consent import Consent
from avatar.spoken import VOICE, spoken
from avatar.sync.synchronizer import Synchronizer
from avatar.trust.provenance import Provenance, session_of

RATE = 48_000


@dataclass(frozen=True, slots=True)
class Input:
    """What drives an offline face: sound, a camera recording, a text or ready states (exactly one is set)."""

    audio: Path | None = None
    video: Path | None = None
    text: str | None = None
    states: Path | None = None
    act: Act | None = None
    """What the text does; None = guessed sentence by sentence."""
    voice: str = VOICE
    """That speaks the text."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The states of a clip, one a frame, and its sound (n,) at :data:`RATE`."""

    states: Iterable[FaceState]
    count: int
    sound: np.ndarray


@dataclass(frozen=True, slots=True)
class Rendered:
    """A clip that was drawn."""

    frames: int
    origin: Provenance
    signed: bool
    """Whether it has a C2PA manifest."""


def _to_rate(samples: np.ndarray, rate: int) -> np.ndarray:
    """(n,) at another rate, in one go, the same length in seconds."""
    if rate == RATE:
        return samples
    resampler = Resampler(RATE)
    pieces = [resampler.step(chunk).samples for chunk in offline.chunks(samples, rate)]
    tail = AudioChunk(Ns(len(samples) * SECOND // rate), np.zeros(rate // 5, np.float32), rate)
    pieces.append(resampler.step(tail).samples)
    whole = np.concatenate(pieces)
    length = round(len(samples) * RATE / rate)
    return np.pad(whole, (0, max(0, length - len(whole))))[:length]


def plan(config: Config, source: Input) -> Plan:
    """What the face will do. Raises UsageError or MediaError with one line."""
    fps = config.avatar.fps
    if source.states is not None:
        return _plan_states(source.states, fps)
    listener = make_listener(config, CALM_MS)  # the whole sound is at hand
    own = named_calibration(config)
    if own is not None:
        listener.use_head(own.head)
        listener.know(own.speaker if source.text is None else None)
    pictures: Iterable[VideoFrame] = ()
    pieces: list[AudioChunk] | None = None
    watch: Stage[VideoFrame, tuple[Cue, ...]] | None = None
    sound = np.zeros(0, np.float32)
    if source.text is not None:
        felt = config.face.emotion
        heard = (cast(EmotionLabel, felt), config.face.intensity) if felt in EMOTIONS else ("neutral", 0.0)
        speech = spoken(source.text, source.act, source.voice, heard)
        pieces = list(speech.chunks(Ns(0), rate=RATE))
        sound = np.concatenate([piece.samples for piece in pieces])
    else:
        from avatar.streams.sources.media_file import describe, read_audio, read_video

        path = source.audio or source.video
        assert path is not None
        info = describe(path)
        if source.audio is not None or info.has_audio:
            sound = _to_rate(*read_audio(path))
        if source.video is not None:
            watch = make_watcher(config, own.speaker.neutral if own is not None else None)
            pictures = read_video(source.video)
    count = offline.frame_count(info.duration if source.video is not None else len(sound) / RATE, fps)
    states = offline.states(
        pieces if pieces is not None else offline.chunks(sound, RATE),
        count,
        fps,
        listener,
        listener.latency,
        IdleMotion(config.face.seed),
        Synchronizer(style(config), config.face.seed),
        pictures,
        watch,
    )
    return Plan(states, count, sound)


def _plan_states(path: Path, fps: int) -> Plan:
    from avatar.streams.sources.media_file import read_audio
    from avatar.streams.sources.states_file import read_states, sound_beside

    given = list(read_states(path))
    if not given:
        raise UsageError(f"{path}: no states in it")
    times = np.array([state.pts for state in given])
    count = max(1, round((given[-1].pts - given[0].pts) / SECOND * fps) + 1)
    wanted = given[0].pts + np.arange(count) * SECOND / fps
    nearest = np.clip(np.searchsorted(times, wanted - SECOND / fps / 2), 0, len(given) - 1)
    heard = sound_beside(path)
    sound = _to_rate(*read_audio(heard))[: count * RATE // fps] if heard is not None else np.zeros(0, np.float32)
    return Plan((given[i] for i in nearest), count, sound)


def states_file(path: Path | None, fps: int) -> contextlib.AbstractContextManager[Callable[[FaceState], None]]:
    """What takes each state of a clip; the file's ending says how it is written. Raises StorageError."""
    if path is None:
        return contextlib.nullcontext(lambda state: None)
    from avatar.streams import animation

    head = None
    if path.suffix.lower() == ".glb":
        from avatar.head_export import morph_head

        head = morph_head()
    return animation.writer(path, fps, head)


def _check_name(path: Path | None) -> None:
    """Say before the work that the file cannot be written."""
    from avatar.streams import animation

    if path is not None:
        animation.check(path)


def render(
    config: Config,
    source: Input,
    out: Path,
    states_out: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    consent: Consent = "self",
    steps: tuple[str, ...] = (),
) -> Rendered:
    """Draw a clip to ``out``, labelled and signed. Raises AvatarError.

    :param consent: who agreed, where the avatar is a photo by path. :param steps: what was done before, for the
        manifest.
    """
    from avatar.streams.sinks.recorder import CLEAR_SUFFIXES, Mux

    _check_name(states_out)
    clear = out.suffix.lower() in CLEAR_SUFFIXES
    if clear != (config.avatar.background == layers.ALPHA):
        kinds = " or ".join(CLEAR_SUFFIXES)
        raise UsageError(f"{out.name}: a transparent clip is --background alpha and a file {kinds}, both or neither")
    bundle = find_avatar(config.avatar.name, consent, config)
    engine = choose_engine(config.avatar, bundle).engine
    if clear and engine.background != layers.ALPHA:
        raise UsageError(f"{bundle.name}: cannot be cut out ({background_doubt(bundle)}); render an .mp4 as it is")
    origin = replace(clip_origin(config, bundle, engine, source), steps=steps)
    draw = (labelled_transparent if clear else labelled)(engine, config.avatar, origin)
    made = plan(config, source)
    if config.output.notice == "tone" and len(made.sound):
        sound = AudioChunk(Ns(0), made.sound.astype(np.float32), RATE)
        made = replace(made, sound=ToneNotice().step(sound).samples)
    fps, step = config.avatar.fps, RATE // config.avatar.fps
    size = (config.avatar.size, config.avatar.size)
    mux = Mux(out, size, fps, RATE if len(made.sound) else None, metadata=tags(origin))
    try:
        with states_file(states_out, fps) as keep:
            for index, state in enumerate(made.states):
                keep(state)
                mux.video(draw(state), Ns(round(index * SECOND / fps)))
                begin, end = index * RATE // fps, (index + 1) * RATE // fps
                if begin < len(made.sound):
                    end = len(made.sound) if index == made.count - 1 else end
                    mux.audio(made.sound[begin : min(end, begin + 2 * step)], Ns(begin * SECOND // RATE))
                progress(index + 1, made.count)
    finally:
        mux.close()
    return Rendered(made.count, origin, seal(out, origin))


def clip_origin(config: Config, bundle: AvatarBundle, engine: Engine, source: Input) -> Provenance:
    """What a clip says of itself; the same for the same command, so that rendering stays repeatable."""
    file = source.audio or source.video or source.states
    driven = source.text or ""
    if file is not None and file.is_file():
        with file.open("rb") as opened:
            driven = hashlib.file_digest(opened, "sha256").hexdigest()
    session = session_of(bundle.portrait, config.model_dump_json(), engine.name, driven)
    return origin_of(bundle, engine.name, config.avatar, session)


def analyze(config: Config, source: Input, states_out: Path) -> int:
    """The analysis half alone; returns the number of states."""
    _check_name(states_out)
    made = plan(config, source)  # read before the file is opened: it may be the same
    count = 0
    with states_file(states_out, config.avatar.fps) as keep:
        for state in itertools.islice(made.states, made.count):
            keep(state)
            count += 1
    return count
