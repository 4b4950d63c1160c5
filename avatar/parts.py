"""Parts that the live engine and the offline commands share: a configuration in, a part out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, cast

from avatar import calibrations, network, plugins
from avatar.analysis.blink import BlinkModel
from avatar.analysis.emotion import WEIGHTS_FILE as EMOTION_FILE
from avatar.analysis.gaze import GazeModel
from avatar.analysis.voice import VoiceAnalyzer
from avatar.calibrations import Calibration, Calibrations
from avatar.config import AvatarTable, Config, named
from avatar.core.types import F32, MILLISECOND, BlinkCue, EmotionLabel, GazeCue, Ns
from avatar.engines import choice
from avatar.engines.base import Engine
from avatar.errors import ConfigError
from avatar.models import registry
from avatar.pipeline.session import Timing
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.consent import Consent, ConsentRecord
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.library import Library
from avatar.portrait.matte import matte_of
from avatar.store import SQLITE, Store, shared
from avatar.sync.feeling import EmotionChoice, degrees_of
from avatar.sync.synchronizer import Style

if TYPE_CHECKING:
    from avatar.analysis.tracking import FaceTracker

log = logging.getLogger(__name__)

LANDMARKER = "face_landmarker_v2.task"
_WORDS = {"self": "you", "licensed": "somebody who has agreed", "synthetic": "nobody real"}


def store_of(config: Config | None = None) -> Store:
    """Where the user's own avatars, calibrations and settings are kept. Raises ConfigError for an unusable address."""
    return shared(SQLITE if config is None else config.store.url)


def library(config: Config | None = None) -> Library:
    """The shipped avatars and the user's own."""
    return Library(registry.avatars_dir(), store_of(config))


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
    apart: bool = False,
) -> AvatarBundle:
    """Make an avatar of a photo, and of a second one in which the same person smiles, and keep it on the shelf.

    :param apart: the photos are a stranger's: a child process with limits decodes them.

    Raises PhotoError, ConsentError, UsageError (the name is unusable or taken), StorageError, ModelFileError.
    """
    from avatar.engines.neutral import rested
    from avatar.portrait.decoding import read_apart
    from avatar.portrait.photo import read_photo

    with detector() as finder:
        return shelf.create(
            photo, name, title or name, consent, finder, overwrite, smile, glasses_finder(),
            lambda made: rested(made, registry.weights_dir(), finder), record,
            read_apart if apart else read_photo,
        )  # fmt: skip


def find_avatar(name: str, consent: Consent = "self", config: Config | None = None) -> AvatarBundle:
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
    return library(config).load(name)


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
    return None if name == "auto" else calibrations.find(Calibrations(store_of(config)), name)[0]


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


def shipped_configs() -> list[str]:
    """Names of the configuration files that come with the package."""
    return sorted(p.name for p in Path(str(files("avatar.configs"))).glob("*.toml"))
