"""Sound and pictures out of files, whatever FFmpeg can read."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import av.error
import numpy as np

from avatar.core.types import F32, SECOND, AudioChunk, Ns, VideoFrame, freeze
from avatar.errors import MediaError
from avatar.streams.sources.paced import PacedAudioSource, resampled

log = logging.getLogger(__name__)

RATES = (4_000, 768_000)
"""Sample rates that can carry speech and that a resampler takes."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a file says about itself."""

    duration: float
    """Seconds, of pictures and sound together."""
    has_audio: bool
    has_video: bool


def describe(path: str | Path) -> MediaInfo:
    """Look at a file without reading it through. Raises MediaError with one line."""
    path = Path(path)
    with _container(path) as container:
        sound, pictures = list(container.streams.audio), [s for s in container.streams.video if not _cover(s)]
        duration = (container.duration or 0) / av.time_base
        if duration <= 0 and (sound or pictures):  # a stream that was cut off has no length in its head: count
            for packet in container.demux((sound + pictures)[0]):
                if packet.pts is not None:
                    duration = max(duration, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return MediaInfo(float(duration), bool(sound), bool(pictures))


def read_audio(path: str | Path) -> tuple[F32, int]:
    """All the sound of a file as ``(samples (n,) in [-1, 1], rate)``, all channels averaged into one.

    The first sample is the moment at which the file's first picture or sound starts. Values that are not numbers become
    0, with a warning. Raises MediaError with one line for a file that has no readable sound.
    """
    with closing(audio_blocks(path)) as blocks:
        parts = list(blocks)
    rate = parts[0][1]
    return np.concatenate([samples for samples, _ in parts]), rate


def audio_blocks(path: str | Path) -> Generator[tuple[F32, int]]:
    """The sound of :func:`read_audio` piece by piece, all of one rate. A file without sound raises."""
    path = Path(path)
    with _container(path) as container:
        stream = _stream(container, "audio", path)
        rate, total, bad = 0, 0, 0
        for frame in _decode(container, stream, path):
            if not rate:
                rate = frame.sample_rate
                if not RATES[0] <= rate <= RATES[1]:
                    raise MediaError(
                        f"{path.name}: {rate} Hz is not a sample rate of sound; convert the file to 48 kHz"
                    )
                lead = _lead(container, frame.time)
                if lead > 1e-3:
                    yield np.zeros(round(lead * rate), np.float32), rate
            elif frame.sample_rate != rate:
                raise MediaError(f"{path.name}: the sample rate changes inside the file; convert it to one rate")
            samples = _mono(frame, path)
            if not np.isfinite(samples).all():
                bad += int(np.count_nonzero(~np.isfinite(samples)))
                samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
            total += len(samples)
            yield np.clip(samples, -1.0, 1.0), rate
        if not total:
            raise MediaError(f"{path.name}: holds no sound that can be decoded; is the file complete?")
        if bad:
            log.warning("%s: %d of %d samples are not numbers and were silenced", path.name, bad, total)


def read_video(path: str | Path) -> Iterator[VideoFrame]:
    """The pictures of a file, turned upright, ``pts`` from the file's start. Raises MediaError with one line."""
    path = Path(path)
    last = -1
    with _container(path) as container:
        stream = _stream(container, "video", path)
        stream.thread_type = "AUTO"
        rate = stream.average_rate or Fraction(30)
        for frame in _decode(container, stream, path):
            pts = (
                round(_lead(container, frame.time) * SECOND) if frame.time is not None else last + round(SECOND / rate)
            )
            if pts <= last:  # a damaged file may step back; time does not
                continue
            last = pts
            pixels = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), k=round(_rotation(frame) / 90)))
            yield VideoFrame(Ns(pts), freeze(pixels))
    if last < 0:
        raise MediaError(f"{path.name}: holds no picture that can be decoded; is the file complete?")


class MediaFileSource(PacedAudioSource):
    """The sound of a file at the pace of real time.

    :param path: any file that FFmpeg reads.
    :param loop: start again at the end, for ever.
    """

    name: ClassVar[str] = "media_file"

    def __init__(self, path: str | Path, loop: bool = False) -> None:
        super().__init__()
        self._path = Path(path)
        self._loop = loop

    def check(self) -> None:
        with closing(audio_blocks(self._path)) as blocks:
            next(blocks)

    def chunks(self) -> Iterator[AudioChunk]:
        def endless() -> Iterator[tuple[F32, int]]:
            while True:
                yield from audio_blocks(self._path)
                if not self._loop:
                    return

        return resampled(endless())


# --- PyAV, with its errors put into one line ------------------------------------------------------------------------


@contextmanager
def _container(path: Path) -> Iterator[Any]:
    if path.is_dir():
        raise MediaError(f"{path} is a folder; give a sound or video file")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except FileNotFoundError:
        raise MediaError(f"{path} does not exist; check the name") from None
    except PermissionError:
        raise MediaError(f"{path} may not be read; check its permissions") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        what = "is empty" if path.is_file() and path.stat().st_size == 0 else "is not a sound or video file"
        raise MediaError(f"{path.name} {what} ({_reason(error)}); give WAV, MP3, OGG, MP4, MKV or the like") from error
    with container:
        yield container


def _stream(container: Any, kind: str, path: Path) -> Any:
    streams = [s for s in getattr(container.streams, kind) if kind == "audio" or not _cover(s)]
    if not streams:
        raise MediaError(f"{path.name}: holds no {'sound' if kind == 'audio' else 'picture'}; give another file")
    stream = streams[0]
    if stream.codec_context is None:
        raise MediaError(f"{path.name}: its {kind} codec is unknown here; convert the file to WAV or MP4")
    return stream


def _decode(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Frames until the end. Damage after the first good frame ends the file early, with a warning."""
    good = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            frames = [] if packet is None else packet.decode()
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, av.error.InvalidDataError) and good:
                log.warning("%s: a damaged part was left out (%s)", path.name, _reason(error))
                continue
            if good:
                log.warning("%s: ends early (%s)", path.name, _reason(error))
                return
            raise MediaError(f"{path.name}: cannot be decoded ({_reason(error)}); is the file complete?") from error
        if packet is None:
            return
        good += len(frames)
        yield from frames


def _cover(stream: Any) -> bool:
    """A cover picture of a music file counts as a video stream of one picture; it is none."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def _lead(container: Any, time: float | None) -> float:
    """Seconds between the start of the file (its earliest stream) and ``time``."""
    if time is None:
        return 0.0
    return max(0.0, time - (container.start_time or 0) / av.time_base)


def _mono(frame: Any, path: Path) -> F32:
    """Channels averaged, float32 in [-1, 1] of whatever sample format the file has."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    if data.dtype == np.uint8:
        return ((data.astype(np.float32) - 128) / 128).mean(axis=0, dtype=np.float32)
    if data.dtype.kind == "i":
        return (data.astype(np.float32) / -float(np.iinfo(data.dtype).min)).mean(axis=0, dtype=np.float32)
    if data.dtype.kind == "f":
        return data.mean(axis=0, dtype=np.float64).astype(np.float32)
    raise MediaError(f"{path.name}: sample format {frame.format.name} is unknown here; convert the file to 16-bit WAV")


def _rotation(frame: Any) -> int:
    """Degrees anticlockwise that turn the picture upright (a phone's display matrix)."""
    return int(getattr(frame, "rotation", 0) or 0)
