"""``avatar pipeline``: a consented video of a person to a labelled clip of their avatar, in four steps that each leave
a line in the clip's manifest: acquire, learn, generate, embed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from avatar import parts
from avatar.calibrations import DEFAULT, Calibrations
from avatar.config import Config
from avatar.core.types import SECOND, U8
from avatar.errors import CalibrationError, ModelFileError, PhotoError, RunError
from avatar.portrait.checks import mouth_gap
from avatar.portrait.consent import ConsentRecord
from avatar.portrait.landmarks import DetectedFace
from avatar.render import Input, Rendered, render

log = logging.getLogger(__name__)

LOOKED = 60
"""Pictures of a video that are looked at, evenly spread."""
_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Photos:
    """What was acquired."""

    neutral: bytes
    smile: bytes | None
    line: str
    """For the manifest."""


def unrest(face: DetectedFace) -> float:
    """How far a face is from a good portrait: 0 = looks into the camera with eyes open and mouth shut."""

    def both(name: str) -> float:
        return (face.coefficient(name + "Left") + face.coefficient(name + "Right")) / 2

    turned = (abs(face.yaw) + abs(face.pitch) + abs(face.roll)) / 10
    return turned + 10 * mouth_gap(face.landmarks) + 2 * both("eyeBlink") + 2 * both("mouthSmile")


def acquire(source: Path) -> Photos:
    """The calmest picture of a video, and its broadest smile if there is one; a photo is taken as it is.

    Raises MediaError, PhotoError (no face), ModelFileError.
    """
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    if source.suffix.lower() in _STILLS:
        return Photos(source.read_bytes(), None, f"acquire: a photo, sha256 {digest}")
    from avatar.streams.sources.media_file import describe, read_video

    every = max(SECOND // 30, round(describe(source).duration * SECOND) // LOOKED)
    calm: tuple[float, int, U8] | None = None
    broad: tuple[float, int, U8] | None = None
    due = 0
    with parts.detector() as finder:
        for frame in read_video(source):
            if frame.pts < due:
                continue
            due = frame.pts + every
            faces = finder.detect(frame.pixels)
            if len(faces) != 1:
                continue
            found = faces[0]
            unlike = unrest(found)
            if calm is None or unlike < calm[0]:
                calm = unlike, frame.pts, frame.pixels
            smile = found.coefficient("mouthSmileLeft") + found.coefficient("mouthSmileRight")
            if smile > 1.2 and abs(found.yaw) < 12 and (broad is None or smile > broad[0]):
                broad = smile, frame.pts, frame.pixels
    if calm is None:
        raise PhotoError(f"{source.name}: no picture with exactly one face in it; use another recording", "no-face")
    at = f"acquire: video sha256 {digest}, the calmest of its pictures at {calm[1] / SECOND:.2f} s"
    if broad is not None:
        at += f", a smile at {broad[1] / SECOND:.2f} s"
    return Photos(_png(calm[2]), _png(broad[2]) if broad is not None else None, at)


def _png(pixels: U8) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()


def learn(
    config: Config, source: Path, photos: Photos, name: str, record: ConsentRecord, overwrite: bool
) -> tuple[str, bool]:
    """Make the avatar, and learn the head's motion where the video is long enough; the manifest's line, and whether a
    head was learnt."""

    def create(smile: bytes | None) -> None:
        shelf = parts.library(config)
        parts.create_avatar(shelf, photos.neutral, name, name, record.kind, smile, overwrite, record)

    line = "learn: shape and texture from the photo"
    try:
        create(photos.smile)
        line += ", teeth and folds from the smile" if photos.smile is not None else ""
    except PhotoError as error:
        if photos.smile is None:
            raise
        log.warning("the smile is left out: %s", error)
        create(None)
    if source.suffix.lower() in _STILLS:
        return line, False
    from avatar import calibrate

    store = Calibrations(parts.store_of(config))
    before = store.chosen
    try:
        calibrate.check_ready()
        material = calibrate.observe_files(source, source)
        asyncio.run(calibrate.learn_and_keep(store, name, material))
        store.choose(before or DEFAULT)  # this clip's head is no decision about the next live session's
    except (CalibrationError, RunError, ModelFileError) as error:
        log.warning("the head moves in the usual way: %s", error)
        return f"{line}; head motion as usual", False
    return f"{line}; head motion from {material.habits.speech_seconds:.0f} s of speech", True


def guided(
    config: Config, source: Path, name: str, record: ConsentRecord, drive: Input, out: Path, overwrite: bool, say: Say
) -> Rendered:
    """All four steps. ``say`` is told each one's name and what it did. Raises AvatarError with one line."""
    photos = acquire(source)
    say("acquire", photos.line)
    learnt, own_head = learn(config, source, photos, name, record, overwrite)
    say("learn", learnt)
    avatar = config.avatar.model_copy(update={"name": name})
    face = config.face.model_copy(update={"calibration": name}) if own_head else config.face
    config = config.model_copy(update={"avatar": avatar, "face": face})
    if drive == Input():
        drive = Input(audio=source)
    driven = "a text" if drive.text is not None else (drive.audio or drive.video or drive.states or source).name
    generated = f"generate: engine {config.avatar.engine} at {config.avatar.size}, driven by {driven}"
    say("generate", generated)
    steps = (photos.line, f"{learnt} (consent {record.id})", generated, "embed: badge, watermark, AIGC metadata, C2PA")
    made = render(config, drive, out, steps=steps)
    say("embed", f"embed: session {made.origin.name}, {'signed' if made.signed else 'not signed'}")
    return made
