"""Recordings with an emotion each, as ``DIR/index.csv`` lists them, and their functionals."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar.analysis import voice_frames
from avatar.analysis.emotion import CLASSES
from avatar.analysis.features import HALF, FrameStream, Resampler, clean
from avatar.analysis.prosody import yin
from avatar.analysis.voice_functionals import LEAST, functionals, speech_part
from avatar.core.types import F32
from avatar.errors import MediaError, UsageError
from avatar.models.emotion.augment import Session
from avatar.streams.sources.media_file import read_audio

Progress = Callable[[int, int], None]

ALIASES = {
    "joy": "happiness", "happy": "happiness", "sad": "sadness", "angry": "anger", "fearful": "fear", "anxiety": "fear",
    "disgusted": "disgust", "calm": "boredom", "bored": "boredom",
}  # fmt: skip
CROP_HOPS = (90, 160)
"""Shortest and longest piece of a clip that is learnt from as if it were all."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording."""

    file: Path
    speaker: str
    label: int
    """Number in CLASSES."""


@dataclass(frozen=True, slots=True)
class Clips:
    """What an index lists."""

    clips: tuple[Clip, ...]
    unknown: dict[str, int]
    """Labels that are none of CLASSES, and how many clips have them: left out."""
    bored: bool = True
    """Whether some are labelled bored, and not only calm. Calm voices are kept with the bored, as low arousal, but
    where there are no others they are judged as a reading calls them, neutral."""

    @property
    def labels(self) -> np.ndarray:
        return np.array([clip.label for clip in self.clips])

    @property
    def speakers(self) -> np.ndarray:
        return np.array([clip.speaker for clip in self.clips])


def read(folder: Path) -> Clips:
    """The recordings of ``folder/index.csv`` (columns ``file,speaker,emotion``, others are ignored).

    Raises UsageError with one line where there is no such index or a file of it is missing.
    """
    index = folder / "index.csv"
    if not index.is_file():
        raise UsageError(f"{index} is missing: it lists the recordings, with the columns file,speaker,emotion")
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{index} is no CSV in UTF-8: save it so, with the columns file,speaker,emotion") from error
    for column in ("file", "speaker", "emotion"):
        if not rows or rows[0].get(column) is None:
            raise UsageError(f"{index} has no column {column}, or no row: the columns are file,speaker,emotion")
    clips, unknown, bored = [], Counter[str](), False
    for row in rows:
        name = (row["emotion"] or "").strip().lower()
        bored |= name in ("bored", "boredom")
        name = ALIASES.get(name, name)
        path = folder / (row["file"] or "")
        if not path.is_file():
            raise UsageError(f"{index} lists {row['file']}, which is not there: correct the index or add the file")
        if name in CLASSES:
            clips.append(Clip(path, (row["speaker"] or "").strip(), CLASSES.index(name)))
        else:
            unknown[name or "(none)"] += 1
    if not clips:
        raise UsageError(f"{index} has no recording of {', '.join(CLASSES)}; it has: {', '.join(unknown)}")
    return Clips(tuple(clips), dict(unknown), bored)


def sound(path: Path) -> F32:
    """(n,) at 16 kHz. Raises MediaError where the file cannot be read or is too short."""
    samples, rate = read_audio(path)
    out = at_16k(samples, rate)
    if len(out) < 100 * LEAST * 16 // 10:
        raise MediaError(f"{path.name}: shorter than {LEAST / 100} s, too short for an emotion")
    return out


def at_16k(samples: F32, rate: int) -> F32:
    """(n,) at any rate to (m,) at 16 kHz."""
    resampler = Resampler(rate)
    padding = np.zeros(round(resampler.delay * rate) + 1, np.float32)
    return resampler.process(np.concatenate((clean(samples), padding)))


def frames_of(samples: F32) -> F32:
    """(n,) samples at 16 kHz to the descriptors of all their hops (T, WIDTH), as a stream makes them."""
    hops = FrameStream().push(np.concatenate((samples, np.zeros(HALF, np.float32))))
    past = np.stack([hop.past for hop in hops])
    pitch = np.array(yin(past), np.float32)
    level = np.array([hop.level for hop in hops], np.float32)
    return voice_frames.frames(past, np.stack([hop.logmel for hop in hops]), level, pitch[:, 0], pitch[:, 1])


def described(frames: F32, random: np.random.Generator | None = None) -> F32:
    """Functionals (d,) of a clip's speech, or of a random piece of it."""
    part = speech_part(frames)
    if len(part) < LEAST:
        part = frames
    if random is not None:
        length = int(random.integers(*CROP_HOPS))
        first = int(random.integers(0, max(1, len(part) - length + 1)))
        part = part[first : first + length]
    return functionals(part)


@dataclass(frozen=True, slots=True)
class Views:
    """The same n clips, once as they are and several times as something else."""

    plain: F32
    """(n, d)."""
    pieces: F32
    """(n, d) of a random piece of each."""
    sessions: F32
    """(copies, n, d) through a session of its own for each speaker and copy."""
    session_pieces: F32
    """(copies, n, d)."""


def views(clips: Clips, copies: int, seed: int = 0, progress: Progress = lambda done, of: None) -> Views:
    """All that is learnt from. Half the sessions are mild."""
    sounds = [sound(clip.file) for clip in clips.clips]
    random = np.random.default_rng(seed)
    done, of = 0, len(sounds) * (copies + 1)
    plain, pieces = [], []
    for samples in sounds:
        frames = frames_of(samples)
        plain.append(described(frames))
        pieces.append(described(frames, random))
        progress(done := done + 1, of)
    rest: list[list[list[F32]]] = [[], []]
    for copy in range(copies):
        whole: list[F32] = []
        part: list[F32] = []
        for clip, frames in zip(clips.clips, sessions_of(clips, sounds, copy, seed), strict=True):
            whole.append(described(frames))
            part.append(described(frames, np.random.default_rng((seed, copy, len(part), clip.label))))
            progress(done := done + 1, of)
        rest[0].append(whole)
        rest[1].append(part)
    return Views(np.array(plain), np.array(pieces), np.array(rest[0]), np.array(rest[1]))


def sessions_of(clips: Clips, sounds: list[F32], copy: int, seed: int = 0) -> Iterator[F32]:
    """Frames (T, WIDTH) of each clip through its speaker's made-up session of this number; half of them are mild."""
    random = np.random.default_rng((seed, 1, copy))
    strength = 0.6 if copy % 2 == 0 else 1.0
    sessions = {speaker: Session.draw(random, strength) for speaker in sorted(set(clips.speakers.tolist()))}
    for clip, samples in zip(clips.clips, sounds, strict=True):
        yield frames_of(sessions[clip.speaker].apply(samples, random))
