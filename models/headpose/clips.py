"""Recordings of talking heads as what the learning needs: prosody and pose, a hundred times a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from avatar.analysis.features import RATE, FrameStream, Resampler, clean
from avatar.analysis.head_features import FEATURES, ProsodyFeatures
from avatar.analysis.prosody import AccentDetector, Melody, PitchTracker, Prosody, yin
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate
from avatar.core.geometry import to_euler
from avatar.core.types import F32, PoseCue
from avatar.errors import MediaError, UsageError
from avatar.models import registry

HZ = 100
"""Rows a second of a clip."""
POSTURE_HZ = 0.25
"""Slower motion is posture; the gestures are what is faster."""
TRACKING_S = 0.025
"""Deviation of the Gaussian that takes the tracker's noise out of the angles."""
_VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_LEAST_S = 1.0

Audio = Path | tuple[NDArray[np.floating], int] | NDArray[np.floating]
"""A sound file; samples (n,) and their rate; or samples at 16 kHz."""


@dataclass(frozen=True, eq=False)
class Clip:
    """One stretch of speech with the head that went with it."""

    prosody: F32
    """(T, P) causal features, :data:`avatar.analysis.head_features.FEATURES`, at 100 Hz."""
    pose: F32
    """(T, 3) pitch, yaw, roll in degrees at 100 Hz."""
    name: str = ""

    def __post_init__(self) -> None:
        if self.prosody.shape != (len(self.pose), len(FEATURES)) or self.pose.shape[1:] != (3,):
            raise ValueError(f"prosody {self.prosody.shape} and pose {self.pose.shape} do not belong together")


@dataclass(frozen=True, eq=False)
class Heard:
    """What was heard in a sound, hop by hop."""

    features: F32
    """(T, P)."""
    hops: tuple[Prosody, ...]
    melody: tuple[Melody, ...]


def hear(audio: Audio, settle: bool = True, seconds: float | None = None) -> Heard:
    """The chain that runs live, over a whole sound.

    :param settle: hear the sound once before, so that pitch and level are already normalised to the speaker when it
        begins: in a session they are after some seconds, a clip is often shorter than that.
    :param seconds: no longer than this. Raises MediaError where the file cannot be read.
    """
    samples, rate = _sound(audio)
    resampler = Resampler(rate)
    padded = np.concatenate([samples, np.zeros(rate // 10, np.float32)])
    x = resampler.process(clean(padded))
    if seconds is not None:
        x = x[: int(seconds * RATE)]
    hops = FrameStream().push(x)
    pitches = yin(np.stack([hop.past for hop in hops])) if hops else []
    vad = SileroVad(registry.weights_dir() / VAD_FILE)
    probabilities = [vad.push(hop.new) for hop in hops]
    gate, tracker = SpeechGate(), PitchTracker()
    found: list[Prosody] = []
    for _ in range(2 if settle else 1):
        gate.reset()
        found = []
        for hop, (f0, confidence), probability in zip(hops, pitches, probabilities, strict=True):
            speaking = gate.step(hop.level, probability)
            found.append(tracker.step(f0, confidence, hop.level, gate.levels.speech, speaking))
    features, accents = ProsodyFeatures(), AccentDetector()
    rows = [features.step(hop) for hop in found]
    melody = tuple(accents.step(hop) for hop in found)
    count = min(len(found), -(-len(samples) * HZ // rate))
    return Heard(np.array(rows, np.float32).reshape(-1, len(FEATURES))[:count], tuple(found[:count]), melody[:count])


def _sound(audio: Audio) -> tuple[F32, int]:
    if isinstance(audio, Path):
        from avatar.streams.sources.media_file import read_audio

        samples, rate = read_audio(audio)
        return np.asarray(samples, np.float32), rate
    if isinstance(audio, tuple):
        return np.asarray(audio[0], np.float32), int(audio[1])
    return np.asarray(audio, np.float32), RATE


def clip_of(audio: Audio, pose_times: Sequence[float] | NDArray, pose_degrees: NDArray, name: str = "") -> Clip:
    """A clip of a sound and a tracked head.

    :param pose_times: (n,) seconds from the beginning of the sound, rising.
    :param pose_degrees: (n, 3) pitch, yaw, roll. Where no picture is near, within 0.2 s at the ends, the pose is held.

    Raises UsageError where the two do not share at least a second.
    """
    t, degrees = np.asarray(pose_times, np.float64), np.asarray(pose_degrees, np.float64)
    if t.ndim != 1 or degrees.shape != (len(t), 3):
        raise UsageError(f"{name or 'clip'}: {t.shape} times and {degrees.shape} angles do not belong together")
    rising = np.concatenate([[True], np.diff(t) > 1e-6]) if len(t) else np.zeros(0, bool)
    t, degrees = t[rising], degrees[rising]
    heard = hear(audio).features
    if len(t) < 2 or min(len(heard) / HZ, t[-1]) - max(0.0, t[0]) < _LEAST_S:
        raise UsageError(f"{name or 'clip'}: sound and head share less than {_LEAST_S:.0f} s; give a longer recording")
    first = max(0, int(np.ceil((t[0] - 0.2) * HZ)))
    last = min(len(heard), int((t[-1] + 0.2) * HZ) + 1)
    grid = np.clip(np.arange(first, last) / HZ, t[0], t[-1])
    pose = gaussian_filter1d(PchipInterpolator(t, degrees)(grid), TRACKING_S * HZ, axis=0, mode="nearest")
    return Clip(heard[first:last], pose.astype(np.float32), name)


def clips_of_videos(folder: Path, progress: Callable[[int, int], None] = lambda done, of: None) -> list[Clip]:
    """All clips of a folder and the folders in it: videos with sound, and tracks ready-made as in the data bundle
    (``NAME.npz`` with ``fps`` and ``yaw_pitch_roll`` beside ``NAME.flac`` or ``NAME.wav``).

    The angles of each are those away from its median: a camera hangs anywhere. Raises UsageError where there is
    nothing.
    """
    tracks = [p for p in sorted(folder.rglob("*.npz")) if _sound_of(p) is not None]
    known = {p.with_suffix("") for p in tracks}
    videos = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in _VIDEOS and p.with_suffix("") not in known]
    found: list[Clip] = []
    reasons: list[str] = []
    for done, path in enumerate([*tracks, *videos]):
        progress(done, len(tracks) + len(videos))
        try:
            found.extend(_of_track(path) if path in tracks else _of_video(path))
        except (MediaError, UsageError) as error:
            reasons.append(str(error))
    if not found:
        why = f" ({reasons[0]})" if reasons else ""
        raise UsageError(f"{folder}: no video in it with sound and a face to learn from{why}")
    return found


def _sound_of(track: Path) -> Path | None:
    """The sound beside a track file, where it is one."""
    beside = next((track.with_suffix(s) for s in (".flac", ".wav") if track.with_suffix(s).is_file()), None)
    if beside is None:
        return None
    with np.load(track, allow_pickle=False) as data:
        return beside if {"fps", "yaw_pitch_roll"} <= set(data.files) else None


def _of_track(path: Path) -> Iterator[Clip]:
    sound = _sound_of(path)
    assert sound is not None
    with np.load(path, allow_pickle=False) as data:
        degrees = np.asarray(data["yaw_pitch_roll"], np.float64)[:, [1, 0, 2]]
        times = np.arange(len(degrees)) / float(data["fps"])
    yield clip_of(sound, times, degrees - np.median(degrees, axis=0), path.stem)


def _of_video(path: Path) -> Iterator[Clip]:
    from avatar.analysis.tracking import FaceTracker
    from avatar.parts import LANDMARKER
    from avatar.streams.sources.media_file import describe, read_audio, read_video

    if not describe(path).has_audio:
        raise UsageError(f"{path.name}: no sound in it")
    tracker = FaceTracker(registry.path(LANDMARKER))
    times: list[float] = []
    angles: list[tuple[float, float, float]] = []
    try:
        for frame in read_video(path):
            for cue in tracker.step(frame) or ():
                if isinstance(cue, PoseCue):
                    yaw, pitch, roll = to_euler(cue.pose.rotation)
                    times.append(frame.pts / 1e9)
                    angles.append((pitch, yaw, roll))
    finally:
        tracker.close()
    if len(times) < 2:
        raise UsageError(f"{path.name}: no face in it")
    samples, rate = read_audio(path)
    t, degrees = np.array(times), np.array(angles)
    degrees -= np.median(degrees, axis=0)
    # Where the face was lost for longer, the clip ends and another begins.
    cuts = np.flatnonzero(np.diff(t) > 0.5) + 1
    for number, part in enumerate(np.split(np.arange(len(t)), cuts)):
        begin, end = t[part[0]], t[part[-1]]
        if end - begin < 1.5:
            continue
        piece = samples[int(begin * rate) : int((end + 0.1) * rate)]
        yield clip_of(
            (piece, rate), t[part] - begin, degrees[part], f"{path.stem}-{number}" if len(cuts) else path.stem
        )


# --- what the models are fed with ----------------------------------------------------------------------------------


def posture(pose: NDArray[np.floating]) -> NDArray[np.float64]:
    """The slow part (T, 3) of a pose (T, 3): what is left below :data:`POSTURE_HZ`."""
    sigma = HZ * np.sqrt(np.log(2)) / (2 * np.pi * POSTURE_HZ)
    return gaussian_filter1d(np.asarray(pose, np.float64), sigma, axis=0, mode="nearest")


def gestures(pose: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, 6): the fast part of a pose (T, 3) in degrees, and its change in a tenth of a second."""
    fast = np.asarray(pose, np.float64) - posture(pose)
    return np.hstack([fast, np.gradient(fast, axis=0) * (HZ / 10)]) if len(fast) > 1 else np.hstack([fast, 0 * fast])
