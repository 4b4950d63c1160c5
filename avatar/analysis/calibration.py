"""From a few minutes of one person reading aloud before a camera to what their own head model is learnt from.

:class:`Observer` listens and looks without keeping a picture: of the camera only the angles of the head and the
coefficients of the face remain. :meth:`Observer.finish` judges whether that is enough to learn from, and says in one
line what was missing where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avatar.analysis.features import RATE, FrameStream, Resampler, clean
from avatar.analysis.prosody import F0_MAX, F0_MIN, VOICED, yin
from avatar.analysis.speaker import Speaker
from avatar.analysis.tracking import narrow, resting
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate
from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, Ns, VideoFrame
from avatar.errors import CalibrationError
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector

F64 = NDArray[np.float64]

LEAST_SECONDS = 30.0
"""Of recording. Sargin et al. (2008) learnt from minutes; in less than this a head shows few of its habits twice."""
LEAST_SPEECH = 12.0
"""Seconds of speech within it."""
LEAST_FACE = 0.6
"""Share of the pictures in which a face is seen."""
LEAST_FPS = 8.0
"""Nods last about a third of a second: fewer pictures than this miss them."""
MOST_COMPANY = 0.1
"""Share of the glances in which a second person may sit there."""
STILL_DEGREES = 0.05
"""A living head moves by more, in standard deviation, even at rest; a photo or a frozen picture does not."""

_GAP = 80_000_000
"""A chunk this far from where the last one ended (ns) leaves a hole, which is filled with silence."""
_HOLE = 0.25
"""Seconds without a face that end a piece: across more, the pose in between would be invented."""
_SHORTEST = 3.0
"""Seconds of a piece worth learning from."""
_RECENT = 3.0
"""Seconds over which a hint is given."""
_NEIGHBOUR = 0.4
"""A second face with less than this share of the first one's eye distance is a poster or somebody far behind."""

Axis = Literal["pitch", "yaw", "roll"]
AXES: tuple[Axis, ...] = ("pitch", "yaw", "roll")
TYPICAL_DEGREES: dict[Axis, float] = {"pitch": 3.3, "yaw": 0.9, "roll": 0.8}
"""Published standard deviations of neutral speech (Busso et al. 2007), to compare a user's with."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What has been noticed so far, for a progress display."""

    seconds: float
    """Since the recording began."""
    speech: float
    """Seconds of speech so far."""
    face: bool
    """A face is in the picture now."""
    voice: bool
    """A voice is heard now."""
    company: bool
    """More than one face is in the picture now."""
    hint: str
    """What to do better, one line; empty where all is well."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Sound and head angles of a stretch in which the face was always seen."""

    audio: F32
    """(n,) at 16 kHz."""
    times: F64
    """(m,) seconds of the pictures from the first sample on."""
    degrees: F64
    """(m, 3) pitch, yaw, roll, about the resting head."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How this person moves and speaks, in figures."""

    seconds: float
    speech_seconds: float
    face_share: float
    fps: float
    deviation: dict[Axis, float]
    """Standard deviation in degrees while speaking."""
    extent: dict[Axis, float]
    """Degrees between the 5th and the 95th of a hundred values while speaking."""
    speed: dict[Axis, float]
    """Mean of the absolute speed while speaking, degrees a second."""

    def words(self) -> str:
        """The same in a sentence."""
        # The three axes against what is usual for each, so that a large turn counts as much as a large nod.
        ratio = math.exp(float(np.mean([math.log(max(self.deviation[a], 0.05) / TYPICAL_DEGREES[a]) for a in AXES])))
        size = "little" if ratio < 0.6 else "a lot" if ratio > 1.8 else "about as much as most people"
        quick = math.sqrt(sum(v * v for v in self.speed.values()))
        pace = "slowly" if quick < SLOW else "briskly" if quick > BRISK else "at an even pace"
        reach = self.extent
        return (
            f"You move your head {size}, {pace}: nods over {reach['pitch']:.0f} degrees, turns over "
            f"{reach['yaw']:.0f}, tilts over {reach['roll']:.0f}."
        )


SLOW, BRISK = 6.0, 16.0
"""Degrees a second over all axes: bounds of the words."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a head model is learnt from, and what goes with it."""

    pieces: tuple[Piece, ...]
    speaker: Speaker
    habits: Habits


class Eyes:
    """Finds the face in every picture, and once a second looks for other people too.

    Following one face is quick; looking for several in each picture would cost several times as much.

    :param model: the file ``face_landmarker_v2.task``. Raises ModelFileError where it cannot be used.
    """

    GLANCE = SECOND

    def __init__(self, model: Path) -> None:
        self._one = LandmarkDetector(model, mode="video", faces=1)
        self._several = LandmarkDetector(model, mode="image", faces=2)
        self._next: int | None = None
        self._first: int | None = None

    def step(self, frame: VideoFrame, observer: Observer) -> None:
        """Look at a picture and tell ``observer``. Times must rise."""
        pixels = narrow(frame.pixels)
        if self._first is None:
            self._first = frame.pts
        found = self._one.detect(pixels, (frame.pts - self._first) // MILLISECOND)
        observer.see(frame.pts, found[0] if found else None)
        if self._next is None or frame.pts >= self._next:
            self._next = frame.pts + self.GLANCE
            observer.glance(frame.pts, self._several.detect(pixels))

    def close(self) -> None:
        """Release the networks. Safe to call twice."""
        self._one.close()
        self._several.close()


class Observer:
    """Takes sound and faces of one recording, on one timeline, in the order of their times.

    :param weights: folder of the shipped weights. Raises ModelFileError where they are missing.
    """

    def __init__(self, weights: Path) -> None:
        self._vad = SileroVad(weights / VAD_FILE)
        self._gate = SpeechGate()
        self._frames = FrameStream()
        self._resampler = Resampler(RATE)
        self._start: int | None = None
        self._sound: list[F32] = []
        self._length = 0
        self._speaking: list[bool] = []
        self._octaves: list[float] = []
        self._pictures = 0
        self._times: list[float] = []
        self._degrees: list[tuple[float, float, float]] = []
        self._shapes: list[F32] = []
        self._glances: list[tuple[float, bool]] = []
        self._latest = 0.0
        self._seen_last = False

    # --- while recording ---------------------------------------------------------------------------------------

    def begin(self, pts: Ns) -> None:
        """The moment from which everything counts; what is older is left out."""
        self._start = pts

    def hear(self, chunk: AudioChunk) -> None:
        """Sound, of any rate."""
        if self._start is None:
            self.begin(chunk.pts)
        at = self._seconds(chunk.pts)
        if at < 0:
            return
        if chunk.rate != self._resampler.rate:
            self._resampler = Resampler(chunk.rate)
        hole = round(at * RATE) - self._length
        if hole > _GAP * RATE // SECOND:
            self._listen(np.zeros(hole, np.float32))
        self._listen(self._resampler.process(clean(chunk.samples)))
        self._latest = max(self._latest, at + chunk.duration / SECOND)

    def see(self, pts: Ns, face: DetectedFace | None) -> None:
        """A picture was looked at; ``face`` is the largest one, None where there is none."""
        if self._start is None:
            self.begin(pts)
        at = self._seconds(pts)
        if at < 0 or (self._times and at <= self._times[-1]):
            return
        self._pictures += 1
        self._latest = max(self._latest, at)
        self._seen_last = face is not None
        if face is not None:
            self._times.append(at)
            self._degrees.append((face.pitch, face.yaw, face.roll))
            self._shapes.append(face.coefficients)

    def glance(self, pts: Ns, faces: Sequence[DetectedFace]) -> None:
        """How many people sit there, looked at once in a while: ``faces``, the largest first."""
        company = len(faces) > 1 and faces[1].eye_distance > _NEIGHBOUR * faces[0].eye_distance
        self._glances.append((self._seconds(pts), company))

    @property
    def sight(self) -> Sight:
        """What has been noticed so far."""
        company = bool(self._glances) and self._glances[-1][1]
        voice = bool(self._speaking) and any(self._speaking[-30:])
        return Sight(self._latest, self._speech, self._seen_last, voice, company, self._hint(company))

    def _hint(self, company: bool) -> str:
        if company:
            return "Somebody else is in the picture. You should be alone in it."
        begin = self._latest - _RECENT
        if begin < 0:
            return ""
        if not self._pictures:
            return "No picture comes from the camera."
        if not self._times or self._times[-1] < begin:
            return "No face is seen. Look at the camera, with light on your face."
        if self._latest > 3 * _RECENT and not any(self._speaking[-round(2 * _RECENT * 100) :]):
            return "No voice is heard. Read aloud, and check the microphone."
        return ""

    # --- afterwards --------------------------------------------------------------------------------------------

    def finish(self) -> Material:
        """Judge the recording. Raises CalibrationError with one line that says what was missing."""
        self.check_heard()
        self._check_seen()
        times, degrees = np.array(self._times), np.array(self._degrees)
        speaking = self._speaking_at(times)
        shapes = np.array(self._shapes)
        silent = shapes[~speaking]
        # Who never pauses has no face at rest but the least expressive moments between the words.
        neutral = resting(silent) if len(silent) >= 15 else resting(shapes)
        octaves = np.array(self._octaves)
        octaves = octaves[np.abs(octaves - np.median(octaves)) < 0.6]  # YIN's usual fault is an octave
        speaker = Speaker(float(octaves.mean()), max(0.08, float(octaves.std())), neutral.astype(np.float32))
        about = degrees - np.median(degrees, axis=0)
        return Material(tuple(self._pieces(times, about)), speaker, self._habits(times, about, speaking))

    def check_heard(self) -> None:
        """Judge length and sound alone; of a file they are known before its pictures are looked at. Raises
        CalibrationError."""
        seconds = self._latest
        if seconds < LEAST_SECONDS:
            raise CalibrationError(
                f"{seconds:.0f} seconds are too short to learn from; record at least {LEAST_SECONDS:.0f}, better two "
                "minutes",
                "short",
            )
        if not any(part.any() for part in self._sound):
            raise CalibrationError("no sound came from the microphone; check that it is not muted", "no-sound")
        if self._speech < 1.0:
            raise CalibrationError(
                "no speech was heard; check that the right microphone is chosen, and read aloud", "no-speech"
            )
        if self._speech < LEAST_SPEECH or len(self._octaves) < 200:
            raise CalibrationError(
                f"only {self._speech:.0f} seconds of speech were heard; read aloud all the time, at least "
                f"{LEAST_SPEECH:.0f} seconds of it are needed",
                "little-speech",
            )

    def _check_seen(self) -> None:
        seen = len(self._times)
        if not self._pictures:
            raise CalibrationError("no picture came from the camera; check that it is the right one", "no-picture")
        if seen < 0.05 * self._pictures:
            raise CalibrationError(
                "no face was seen; sit before the camera with light on your face, and check that its lid is open",
                "no-face",
            )
        if self._glances and np.mean([company for _, company in self._glances]) > MOST_COMPANY:
            raise CalibrationError("more than one person was in the picture; record again alone", "company")
        if seen < LEAST_FACE * self._pictures:
            raise CalibrationError(
                f"the face was seen only {100 * seen / self._pictures:.0f} % of the time; keep it in the picture, "
                "turned towards the camera",
                "face-lost",
            )
        if self._fps < LEAST_FPS:
            raise CalibrationError(
                f"only {self._fps:.0f} pictures a second came; give the camera more light, or close other programs",
                "slow",
            )
        if np.std(self._degrees, axis=0).max() < STILL_DEGREES:
            raise CalibrationError(
                "the picture stands still; a photo or a frozen camera cannot show how you move", "still"
            )

    @property
    def _speech(self) -> float:
        return float(sum(self._speaking)) / 100

    @property
    def _fps(self) -> float:
        if len(self._times) < 2:
            return 0.0
        steps = np.diff(self._times)
        return 1.0 / float(np.mean(steps[steps < _HOLE])) if (steps < _HOLE).any() else 0.0

    def _pieces(self, times: F64, degrees: F64) -> list[Piece]:
        sound = np.concatenate(self._sound)
        end = len(sound) / RATE
        cuts = [0, *(np.flatnonzero(np.diff(times) > _HOLE) + 1).tolist(), len(times)]
        pieces = []
        for a, b in pairwise(cuts):
            first, last = float(times[a]), min(float(times[b - 1]), end)
            if last - first < _SHORTEST:
                continue
            within = slice(a, a + int(np.searchsorted(times[a:b], last, side="right")))
            audio = sound[round(first * RATE) : round(last * RATE)]
            pieces.append(Piece(audio, times[within] - first, degrees[within]))
        if not pieces:
            raise CalibrationError(
                "the face was lost again and again; keep it in the picture for some seconds at a time", "face-lost"
            )
        return pieces

    def _habits(self, times: F64, degrees: F64, speaking: NDArray[np.bool_]) -> Habits:
        steps = np.diff(times)
        # Tracking jitters by a tenth of a degree from picture to picture, which would count as speed.
        smooth = _smooth(degrees)
        moving = speaking[1:] & (steps < _HOLE)
        speed = np.abs(np.diff(smooth, axis=0) / steps[:, None])[moving]
        spoken = degrees[speaking] if speaking.sum() > 30 else degrees
        low, high = np.quantile(spoken, (0.05, 0.95), axis=0)
        return Habits(
            seconds=round(self._latest, 1),
            speech_seconds=round(self._speech, 1),
            face_share=round(len(times) / max(1, self._pictures), 3),
            fps=round(self._fps, 1),
            deviation=_by_axis(spoken.std(axis=0)),
            extent=_by_axis(high - low),
            speed=_by_axis(speed.mean(axis=0) if len(speed) else np.zeros(3)),
        )

    def _speaking_at(self, times: F64) -> NDArray[np.bool_]:
        hops = np.array(self._speaking)
        return hops[np.clip((100 * times).astype(int), 0, len(hops) - 1)]

    def _listen(self, samples: F32) -> None:
        self._sound.append(samples)
        self._length += len(samples)
        hops = self._frames.push(samples)
        if not hops:
            return
        pitches = yin(np.stack([hop.past for hop in hops]))
        for hop, (f0, confidence) in zip(hops, pitches, strict=True):
            speaking = self._gate.step(hop.level, self._vad.push(hop.new))
            self._speaking.append(speaking)
            if speaking and confidence > VOICED and F0_MIN <= f0 <= F0_MAX:
                self._octaves.append(math.log2(f0))

    def _seconds(self, pts: int) -> float:
        return (pts - (self._start or 0)) / SECOND


def _smooth(degrees: F64) -> F64:
    """(m, 3) through a short binomial window, ends kept."""
    window = np.array((1, 4, 6, 4, 1)) / 16
    padded = np.pad(degrees, ((2, 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, axis], window, mode="valid") for axis in range(3)], axis=1)


def _by_axis(values: F64) -> dict[Axis, float]:
    return {axis: round(float(value), 2) for axis, value in zip(AXES, values, strict=True)}
