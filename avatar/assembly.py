"""THE wiring: a configuration in, a running engine out. It reads from top to bottom as the diagram in the README.

This module, :mod:`avatar.control` and :mod:`avatar.commands` are the only ones that know streams and models.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2

from avatar import calibrations, network, outputs, plugins, programs
from avatar.analysis.blink import BlinkModel
from avatar.analysis.emotion import WEIGHTS_FILE as EMOTION_FILE
from avatar.analysis.gaze import GazeModel
from avatar.analysis.voice import VoiceAnalyzer
from avatar.calibrations import Calibration, Calibrations
from avatar.config import AvatarTable, Config, named
from avatar.core.clock import SessionClock, suspended
from avatar.core.types import F32, MILLISECOND, U8, BlinkCue, EmotionLabel, FaceState, GazeCue, Ns
from avatar.engines import choice, layers
from avatar.engines.base import Engine
from avatar.errors import ConfigError, ConsentError
from avatar.labels import labelled, origin_of, seal, tags, while_agreed
from avatar.models import registry
from avatar.pipeline.notice import ToneNotice
from avatar.pipeline.session import Session, Timing
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.consent import FILE as CONSENT_FILE
from avatar.portrait.consent import Consent, ConsentRecord
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.library import Library
from avatar.portrait.matte import matte_of
from avatar.recordings import new_recording
from avatar.streams.base import Sink, Source, StreamFormat
from avatar.sync.feeling import EmotionChoice, degrees_of
from avatar.sync.synchronizer import Style, Synchronizer
from avatar.trust import signed_label
from avatar.trust.keys import label_key
from avatar.trust.provenance import new_session

if TYPE_CHECKING:
    from avatar.analysis.tracking import FaceTracker

log = logging.getLogger(__name__)

LANDMARKER = "face_landmarker_v2.task"
CONSENT_EVERY = 0.25
"""Seconds between two looks at the consent of who is drawn live."""
_WORDS = {"self": "you", "licensed": "somebody who has agreed", "synthetic": "nobody real"}


# --- parts that the live engine and the offline commands share -----------------------------------------------------


def library() -> Library:
    """The shipped avatars and the user's own."""
    return Library(registry.avatars_dir())


def detector() -> LandmarkDetector:
    """The face finder for photos. Raises ModelFileError where its file was not fetched."""
    return LandmarkDetector(registry.path(LANDMARKER))


def glasses_finder() -> GlassesFinder:
    """Raises ModelFileError where its file is missing or broken."""
    return GlassesFinder(registry.weights_dir())


def create_avatar(
    shelf: Library,
    photo: Path | bytes,
    name: str,
    title: str,
    consent: Consent,
    smile: Path | bytes | None = None,
    overwrite: bool = False,
    record: ConsentRecord | None = None,
) -> AvatarBundle:
    """Make an avatar of a photo, and of a second one in which the same person smiles, and keep it on the shelf.

    Raises PhotoError, ConsentError, UsageError (the name is unusable or taken), StorageError, ModelFileError.
    """
    from avatar.engines.neutral import rested

    with detector() as finder:
        return shelf.create(
            photo, name, title or name, consent, finder, overwrite, smile, glasses_finder(),
            lambda made: rested(made, registry.weights_dir(), finder), record,
        )  # fmt: skip


def find_avatar(name: str, consent: Consent = "self") -> AvatarBundle:
    """An avatar of the library by name, or a photo by path: it is kept nowhere, and whoever runs the command vouches
    with ``consent``, which goes into the labels of what is drawn. Raises ConsentError without a valid record."""
    path = Path(name)
    if path.suffix and path.is_file():
        from avatar.engines.neutral import rested
        from avatar.portrait.onboard import onboard
        from avatar.portrait.photo import read_photo

        with detector() as finder:
            bundle = onboard(read_photo(path), "photo", path.stem, consent, finder, glasses=glasses_finder())
            bundle = rested(bundle, registry.weights_dir(), finder)
        record = ConsentRecord.given(consent, by=f"whoever ran this command, by naming {path.name}")
        bundle = replace(bundle, record=record)
        log.warning("%s: drawn on your word that this is %s; the labels say so (--consent)", path.name, _WORDS[consent])
        for line in bundle.warnings:
            log.warning("%s: %s", path.name, line)
        return bundle
    return library().load(name)


def make_engine(name: str, bundle: AvatarBundle, size: int) -> Engine:
    """An engine that is ready to draw ``bundle``; ``auto`` is the best one. Raises UsageError for an unknown name."""
    name = choice.RANKED[0] if name == choice.AUTO else name
    return plugins.load("engines", name)(bundle, size, registry.weights_dir())


def background_doubt(bundle: AvatarBundle) -> str:
    """Why the background will move with the head and cannot be replaced; empty where it can."""
    return matte_of(bundle, 512, registry.weights_dir()).doubt


def choose_engine(asked: AvatarTable, bundle: AvatarBundle, live: bool = False) -> choice.Choice:
    """The engine that is asked for, at the quality, on the device and before the background that are asked for.

    :param live: quality ``auto`` is the best that this machine draws in time; offline there is no hurry.

    Raises UsageError for an unknown engine or background.
    """
    network.use_device(asked.device)

    def make(name: str, size: int) -> Engine:
        return make_engine(name, bundle, size)

    if live and asked.quality == choice.AUTO:
        taken = choice.affordable(make, asked.engine, asked.size, asked.fps)
    else:
        quality: choice.Quality = "high" if asked.quality == choice.AUTO else asked.quality
        tier = choice.tier_of(quality, asked.engine, asked.size)
        taken = choice.Choice(choice.made(make, tier, asked.size), tier)
    taken.engine.set_background(asked.background)
    return taken


class IdleMotion:
    """Lids and eyes, which move whatever is heard."""

    def __init__(self, seed: int) -> None:
        self._blink = BlinkModel(seed)
        self._gaze = GazeModel(seed + 1)

    def __call__(self, pts: Ns, speaking: bool) -> Iterable[BlinkCue | GazeCue]:
        return self._blink.step(pts, speaking), self._gaze.step(pts, speaking)


def hears_emotion() -> bool:
    """Whether this installation has what it takes to hear an emotion."""
    return (registry.weights_dir() / EMOTION_FILE).is_file()


def emotion_choice(config: Config) -> EmotionChoice:
    """Where the face's emotion comes from. Raises ConfigError where it should be heard and cannot."""
    face = config.face
    if face.emotion == "auto" and not hears_emotion():
        raise ConfigError(
            "face.emotion = auto: the weights of the emotion encoder are missing; name an emotion, or off"
        )
    mood = degrees_of(*named(face.mood))
    if face.emotion in ("auto", "mirror", "off"):
        return EmotionChoice(face.emotion, strength=face.intensity, mood=mood)
    return EmotionChoice("fixed", degrees_of(cast(EmotionLabel, face.emotion), face.intensity), mood=mood)


def style(config: Config) -> Style:
    """What the configuration asks of the face."""
    face = config.face
    return Style(
        emotion=emotion_choice(config),
        head_strength=face.head_strength,
        gaze_strength=face.gaze_strength,
        jaw=face.jaw,
        lips=face.lips,
        mouth=face.mouth,
    )


def make_listener(config: Config, look_ahead_ms: int | None = None, live: bool = False) -> VoiceAnalyzer:
    """Sound to cues; ``look_ahead_ms`` in place of the configured one.

    :param live: emotions may be asked for later, so it can be switched to them; else only where they are asked for now.
    """
    asked = config.face.emotion == "auto"
    ahead = config.sync.look_ahead_ms if look_ahead_ms is None else look_ahead_ms
    emotion = asked or (live and hears_emotion())
    made = VoiceAnalyzer(registry.weights_dir(), config.face.head, config.face.seed, ahead, emotion)
    made.hears_emotion = asked
    known = emotion_choice(config).known
    made.feel(known.label, known.intensity)
    return made


def named_calibration(config: Config) -> Calibration | None:
    """Whose head moves offline: only one that is asked for by name, or the same command would draw another clip on
    another machine. Raises UsageError, ModelFileError."""
    name = config.face.calibration
    return None if name == "auto" else calibrations.find(Calibrations(), name)[0]


def make_watcher(config: Config, neutral: F32 | None = None) -> FaceTracker:
    """Camera to cues; ``neutral``: the user's face at rest (52,) where it is known.

    Raises ModelFileError where its file was not fetched.
    """
    from avatar.analysis.face_nets import FaceNets
    from avatar.analysis.tracking import FaceTracker
    from avatar.models.landmarker import convert

    finder = FaceNets(convert.read(registry.path(LANDMARKER)), config.input.face)
    return FaceTracker(finder, neutral, config.input.mirror, config.face.micro_gain)


def timing(config: Config, analysis: Ns) -> Timing:
    """The session's times. Raises ConfigError where the budget is too short for the analysis."""
    sync = config.sync
    made = Timing(
        budget=Ns(sync.budget_ms * MILLISECOND),
        intake=Ns(sync.intake_ms * MILLISECOND),
        lead=Ns(sync.lead_ms * MILLISECOND),
        fps=config.avatar.fps,
        chunk=Ns(sync.chunk_ms * MILLISECOND),
    )
    short = -made.spare(analysis) / MILLISECOND
    if short > 0:
        least = sync.budget_ms + int(short) + 1
        raise ConfigError(f"sync.budget_ms = {sync.budget_ms}: too short for these settings; at least {least}")
    return made


# --- the live engine -----------------------------------------------------------------------------------------------


class Pipeline:
    """A live engine made from a configuration: ``await Pipeline(config).run()``.

    Raises AvatarError with one line where something asked for cannot be had.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        cv2.setNumThreads(1)  # a second thread per call costs more in hand-overs than it saves at this size
        self.clock = SessionClock()
        self.began = outputs.time_of_day()

        # sound -> cues, camera -> cues
        self.listener = listener = make_listener(config, live=True)
        self.look_ahead = listener.latency
        self.watcher: FaceTracker | None = None
        watcher = self._make_watcher if config.input.video != "none" else None
        self.calibrations = Calibrations()
        self.calibration: Calibration | None = None
        self.use_calibration(*calibrations.find(self.calibrations, config.face.calibration))
        if config.input.video not in ("none", "page"):
            registry.path(LANDMARKER)  # missing: say so now, not at the first picture

        # cues -> face state -> picture
        self.library = library()
        self.library.entries()  # looked through once, before anybody waits for it
        self.bundle = find_avatar(config.avatar.name)
        self.choice = choose_engine(config.avatar, self.bundle, live=True)
        self.background = config.avatar.background
        self.session_number = new_session()
        if self.engine.background == layers.ALPHA:
            log.warning("no live output carries transparency: alpha is black there; use green and a chroma key")
        self.session = Session(
            clock=self.clock,
            timing=timing(config, listener.latency),
            listen=listener,
            idle=IdleMotion(config.face.seed),
            synchronizer=Synchronizer(style(config), config.face.seed),
            draw=self._labelled(),
            make_watch=watcher,
            suspended=suspended,
            notice=ToneNotice() if config.output.notice == "tone" else None,
        )

        # state and picture -> sinks; the page is one of them
        self.format = StreamFormat(config.avatar.size, config.avatar.fps, self.session.timing.rate)
        self.hub = None
        self.server = None
        if config.server.enabled or "webrtc" in config.output.sinks:
            from avatar.control import Control
            from avatar.streams import access
            from avatar.streams.server import Server
            from avatar.streams.signaling import PeerHub

            asked = config.server
            self.hub = PeerHub(self.clock, max_peers=asked.viewers, loopback=access.is_loopback(asked.host))
            key = label_key()
            self.hub.label = lambda prints: signed_label.signed(self.origin, prints, key)
            self.hub.label_key = {"alg": signed_label.ALGORITHM, "key": signed_label.public_key(key)}
            self.control = Control(self)
            if config.server.enabled:
                access.check(asked.host, asked.token)
                guard = access.Access(asked.token, asked.origins)
                self.server = Server(self.control, self.hub, access=guard, ice=asked.ice)
        self.sinks = [self._sink(name) for name in config.output.sinks]

    @property
    def engine(self) -> Engine:
        """What draws now."""
        return self.choice.engine

    def _labelled(self) -> Callable[[FaceState], U8]:
        """What draws from now on; :attr:`origin` is what its pictures say of themselves."""
        self.origin = origin_of(self.bundle, self.engine.name, self.config.avatar, self.session_number)
        draw, bundle = labelled(self.engine, self.config.avatar, self.origin), self.bundle
        record = bundle.folder / CONSENT_FILE if bundle.folder is not None else None
        return while_agreed(draw, record, lambda: self.library.fault(bundle))

    def show(self, bundle: AvatarBundle, chosen: choice.Choice) -> None:
        """Draw this from the next picture on. Raises ConsentError."""
        self.bundle, self.choice = bundle, chosen
        self.session.draw = self._labelled()
        if self.hub is not None:
            self.hub.relabel()

    async def _guard_consent(self) -> None:
        """Ends the session where the consent has run out, or ended while nobody watched and nothing was drawn."""
        while True:
            await asyncio.sleep(CONSENT_EVERY)
            if fault := await asyncio.to_thread(self.library.fault, self.bundle):
                raise ConsentError(f"avatar {self.bundle.name} is not drawn any more: {fault}; the session has ended")

    def recorder(self, path: Path) -> Sink:
        """Records what the viewers get, with metadata and, when it is complete, a manifest."""
        from avatar.streams.sinks.recorder import RecorderSink

        return RecorderSink(path, metadata=tags(self.origin), finish=lambda done: seal(done, self.origin))

    def _make_watcher(self) -> FaceTracker:
        known = self.calibration
        self.watcher = make_watcher(self.config, known.speaker.neutral if known is not None else None)
        return self.watcher

    def use_calibration(self, calibration: Calibration | None, fault: str = "") -> None:
        """Begin from this person's head, voice and resting face; None = from everybody's. ``fault``: why it is None."""
        if fault:
            log.warning("%s", fault)
        self.calibration, self.calibration_fault = calibration, fault
        speaker = calibration.speaker if calibration is not None else None
        self.listener.know(speaker)
        self.listener.use_head(calibration.head if calibration is not None else None)
        if self.watcher is not None:
            self.watcher.neutral = speaker.neutral if speaker is not None else None

    async def run(self, ready: Callable[[str], None] = lambda address: None) -> None:
        """Until cancelled. ``ready`` gets the page's address once it answers (empty without a page)."""
        config = self.config
        session = asyncio.create_task(self._run_session(), name="session")
        guard = asyncio.create_task(self._guard_consent(), name="consent")
        try:
            address = ""
            if self.server is not None:
                port = await self.server.start(config.server.host, config.server.port)
                address = f"http://{config.server.host}:{port}"
            ready(address)
            await asyncio.wait({session, guard}, return_when=asyncio.FIRST_COMPLETED)
            if guard.done():
                session.cancel()  # the picture stops now, whatever closing the connections takes
                await guard
            await session
        finally:
            guard.cancel()
            if self.hub is not None:
                await self.control.own_head.close()
            if self.server is not None:
                await self.server.stop()
            session.cancel()
            await asyncio.gather(session, guard, return_exceptions=True)

    async def _run_session(self) -> None:
        session, config = self.session, self.config
        for sink in self.sinks:
            self.attach(sink)
        await session.use_audio(self.audio_source(config.input.audio))
        await session.use_video(self.video_source(config.input.video))
        await programs.beside(session.run(), config.input, self.clock, session.synchronizer.program.put)

    def attach(self, sink: Sink) -> None:
        """Send the session to one more sink."""
        self.session.attach(sink, lambda: sink.open(self.format))

    # --- names in the configuration to parts -------------------------------------------------------------------

    def audio_source(self, name: str) -> Source[Any] | None:
        """A source of sound by its name in ``input.audio``. Raises UsageError for an unknown one."""
        config = self.config.input
        match name:
            case "silence":
                return None
            case "demo":
                from avatar.streams.sources.speech import SpeechSource
                from avatar.streams.sources.text import load_speech

                return SpeechSource(load_speech(registry.samples_dir() / "demo.ogg"), loop=True)
            case "page":
                assert self.hub is not None
                return self.hub.audio_source()
            case "microphone":
                from avatar.streams.sources.microphone import MicrophoneSource

                return MicrophoneSource(config.device or None)
            case "websocket":
                from avatar.streams.sources.websocket import WebSocketSource

                return WebSocketSource(port=config.websocket_port)
            case "probe":
                from avatar.streams.sources.synthetic import FlashBeepSource

                return FlashBeepSource()
        if Path(name).suffix == ".jsonl":
            from avatar.streams.sources.states_file import StatesSource

            return StatesSource(name)
        if Path(name).suffix:
            from avatar.streams.sources.media_file import MediaFileSource

            return MediaFileSource(Path(name), loop=True)
        return plugins.load("sources", name)()

    def video_source(self, name: str) -> Source[Any] | None:
        """A source of pictures by its name in ``input.video``. Raises UsageError for an unknown one."""
        match name:
            case "none" | "page":  # the page's camera comes when the page switches it on
                return None
            case "camera":
                from avatar.streams.sources.camera import CameraSource

                return CameraSource(self.config.input.camera)
        if Path(name).suffix:
            from avatar.streams.sources.camera import CameraSource

            return CameraSource(f"file:{name}")
        return plugins.load("sources", name)()

    def _sink(self, name: str) -> Sink:
        config = self.config.output
        match name:
            case "webrtc":
                assert self.hub is not None
                return self.hub.sink
            case "whip" | "janus":
                from avatar.streams.sinks.publish import JanusSink, WhipSink

                ice, token = self.config.server.ice, config.publish_token
                if name == "whip":
                    return WhipSink(config.whip_url, token, ice)
                return JanusSink(config.janus_url, config.janus_room, token, ice=ice)
            case "recorder":
                return self.recorder(Path(config.record_to) if config.record_to else new_recording())
            case "virtual_camera":
                from avatar.streams.sinks.virtual_camera import VirtualCameraSink

                return VirtualCameraSink()
            case "virtual_microphone":
                from avatar.streams.sinks.virtual_microphone import VirtualMicrophoneSink

                return VirtualMicrophoneSink(config.microphone_device or None)
            case "speaker":
                from avatar.streams.sinks.speaker import SpeakerSink

                return SpeakerSink(config.speaker_device or None)
            case "parameters":
                from avatar.streams.sinks.parameters.websocket import ParameterSink

                return ParameterSink(port=config.parameters_port, shape=outputs.shape(self.config.parameters))
            case "null":
                from avatar.streams.sinks.null import NullSink

                return NullSink()
        if name in outputs.NAMES:
            return outputs.make(name, self.config, self.began)
        return plugins.load("sinks", name)()


def shipped_configs() -> list[str]:
    """Names of the configuration files that come with the package."""
    return sorted(p.name for p in Path(str(files("avatar.configs"))).glob("*.toml"))
