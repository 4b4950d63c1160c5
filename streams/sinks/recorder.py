"""Sound and pictures into one MP4 or MKV file.

:class:`Mux` is synchronous and used offline as it is; :class:`RecorderSink` runs it on a thread for a live session.

The MP4 is *hybrid fragmented*: while it grows it is a fragmented MP4, playable up to its last second however the
recording ends (a full disk, a power cut); when it is closed properly the index is added and it becomes a plain MP4 that
every player and editor opens. Matroska is playable at any length by nature.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import av.error
import numpy as np

from avatar.core.types import F32, MILLISECOND, SECOND, U8, AudioChunk, AvatarFrame, Ns
from avatar.errors import DeviceError, StorageError, UsageError
from avatar.streams.base import Sink, StreamFormat
from avatar.streams.pixels import to_i420

log = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".mkv")
"""Of recordings."""
CLEAR_SUFFIXES = (".webm", ".mov")
"""Of clips with transparency: VP9 for browsers and OBS, ProRes 4444 for editors."""
LABEL = "AI-generated"
VIDEO_TIME = Fraction(1, 90_000)
"""Time base of the pictures: every usual frame rate is a whole number of ticks."""
FREE_MINIMUM = 50 * 2**20
"""Bytes that must be free before a recording starts."""

GAP = 50 * MILLISECOND
"""Sound further off its place than this is moved there; nearer, the difference is drift and is followed smoothly."""
SLIP = 2 * MILLISECOND


class _File(io.RawIOBase):
    """An unbuffered file that stops at its first error instead of raising it into FFmpeg's writer.

    From then on nothing reaches the disk any more, not even the index: what is there stays as playable as it was.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while self.error is None and done < len(view):
            try:
                done += self._file.write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            try:
                self._file.close()
            except OSError as error:  # a network disk reports its quota here
                self.error = self.error or error
        super().close()


@dataclass(frozen=True, slots=True)
class Form:
    """How a kind of file is written."""

    container: str
    video: str
    pixels: str
    audio: str
    options: dict[str, str]
    """Of the video's encoder."""

    @property
    def clear(self) -> bool:
        """Whether its pictures have transparency."""
        return self.pixels.startswith("yuva")


def _form(suffix: str, crf: int) -> Form:
    # One thread and no scenecut look-ahead races: the bytes depend on the pictures alone. No B-frames: every fragment
    # stands alone and starts where it says.
    h264 = {"preset": "veryfast", "crf": str(crf), "bf": "0", "x264-params": "log-level=error"}
    match suffix:
        case ".mp4":
            return Form("mp4", "libx264", "yuv420p", "aac", h264)
        case ".mkv":
            return Form("matroska", "libx264", "yuv420p", "libopus", h264)
        case ".webm":
            vp9 = {"crf": str(crf), "deadline": "realtime", "cpu-used": "6", "auto-alt-ref": "0", "lag-in-frames": "0"}
            return Form("webm", "libvpx-vp9", "yuva420p", "libopus", vp9)
        case _:
            return Form("mov", "prores_ks", "yuva444p10le", "pcm_s16le", {"profile": "4444", "vendor": "apl0"})


class Mux:
    """Writes H.264 with AAC (MP4) or Opus (MKV), or transparent VP9 (WebM) or ProRes 4444 (MOV). The same input gives
    the same video bytes.

    The first item's ``pts`` is the file's zero; what lies before it is cut off. A missing picture does not move the
    others; missing sound becomes silence. Sound is to come within a second of its pictures. Not thread-safe.

    :param path: ends in one of :data:`SUFFIXES`, or of :data:`CLEAR_SUFFIXES`; its folder is made.
    :param size: width and height in pixels, both even.
    :param fps: the nominal rate; the true times are the items' own.
    :param audio_rate: samples a second of the sound; None = a file without sound.
    :param crf: constant rate factor of H.264 and VP9, lower = better and larger.
    :param metadata: tags of the file besides title and comment.
    :raises StorageError: the file cannot be made, or the disk is full (from any method, once; after that the file is
        closed as it is and further items are ignored).
    :raises UsageError: another suffix, an odd size.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float,
        audio_rate: int | None = 48_000,
        crf: int = 20,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.frames = 0
        """Pictures written."""
        self.dropped = 0
        """Pictures whose time had passed already."""
        self.silence = 0
        """Samples filled in where sound was missing."""
        self._size = size
        self._rate = audio_rate
        self._zero: Ns | None = None
        self._last_video = -1
        self._written = 0  # samples handed to the encoder or waiting in _rest
        self._rest = np.zeros(0, np.float32)
        self._heard = False
        self._closed = False
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES + CLEAR_SUFFIXES:
            raise UsageError(
                f"{self.path.name}: clips are .mp4 or .mkv, transparent ones .webm or .mov; change the name's ending"
            )
        self.form = _form(suffix, crf)
        if min(size) < 16 or size[0] % 2 or size[1] % 2:
            raise UsageError(f"a video of {size[0]}x{size[1]} cannot be written; use even sizes from 16 up")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _File(self.path)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written ({error.strerror}); choose another place") from error
        self._open(fps, metadata or {})

    def _open(self, fps: float, metadata: Mapping[str, str]) -> None:
        form = self.form
        # bitexact: no library version, date or random number in the file. The delta bounds how long one stream waits in
        # memory for the other: a recording whose sound has not come yet must reach the disk all the same.
        options = {"fflags": "+bitexact", "max_interleave_delta": str(SECOND // 1000)}
        if form.container == "mp4":
            # delay_moov: the encoder's priming can only be cut off by an edit list, which is written late.
            # use_metadata_tags: tags by their own names, not only those that QuickTime knew.
            options["movflags"] = "hybrid_fragmented+frag_keyframe+delay_moov+use_metadata_tags"
        elif form.container == "mov":
            options["movflags"] = "use_metadata_tags"
        else:
            options["cluster_time_limit"] = "1000"
        self._container: Any = av.open(self._file, "w", format=form.container, container_options=options)
        self._container.metadata.update(
            {"title": LABEL, "comment": f"{LABEL}: this person's face and motion are computed", **metadata}
        )
        rate = Fraction(fps).limit_denominator(1001)
        # One key frame a second bounds what a cut can cost.
        self._video: Any = self._container.add_stream(form.video, rate=rate, options=form.options)
        context: Any = self._video.codec_context
        context.width, context.height = self._size
        context.pix_fmt = form.pixels
        context.time_base = VIDEO_TIME
        context.thread_count = 1
        context.gop_size = max(1, round(fps))
        context.flags |= av.codec.context.Flags.bitexact
        # BT.601 (SMPTE 170M), studio range, said in the stream: without it players guess by the picture's size.
        context.color_primaries = context.color_trc = context.colorspace = 6
        context.color_range = 1
        self._audio: Any = None
        if self._rate is not None:
            self._audio = self._container.add_stream(form.audio, rate=self._rate, layout="mono")
            self._audio.codec_context.bit_rate = 128_000
            self._audio.codec_context.thread_count = 1
            self._audio.codec_context.flags |= av.codec.context.Flags.bitexact

    def video(self, pixels: U8, pts: Ns) -> None:
        """Add a picture (height, width, 3), RGB, shown from ``pts`` until the next one's; (height, width, 4), alpha not
        premultiplied, where the file is transparent."""
        if self._closed:
            return
        if pixels.shape != (self._size[1], self._size[0], 4 if self.form.clear else 3):
            raise ValueError(f"picture {pixels.shape} for a file of {self._size[0]}x{self._size[1]}")
        ticks = round((pts - self._start(pts)) * VIDEO_TIME.denominator / SECOND)
        if ticks <= self._last_video:
            self.dropped += 1
            return
        self._last_video = ticks
        if self._rate is not None and self._written == 0 and ticks > VIDEO_TIME.denominator:
            # An MP4 is written from the moment that every stream has begun: no sound yet is silence.
            self._append(np.zeros(self._rate // 20, np.float32))
        if self.form.clear:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgba")
            frame = frame.reformat(format=self.form.pixels)
        else:
            frame = av.VideoFrame.from_ndarray(to_i420(pixels), format="yuv420p")  # swscale takes ten times as long
        frame.pts, frame.time_base = ticks, VIDEO_TIME
        self._encode(self._video, frame)
        self.frames += 1

    def audio(self, samples: F32, pts: Ns) -> None:
        """Add sound (n,) that starts at ``pts``."""
        if self._closed or self._rate is None or not len(samples):
            return
        place = round((pts - self._start(pts)) * self._rate / SECOND)
        self._append(self._aligned(samples, place))

    def close(self) -> None:
        """Finish the file. Safe to call twice."""
        if self._closed:
            return
        try:
            if self._audio is not None:
                self._feed(flush=True)
                self._encode(self._audio, None)
            self._encode(self._video, None)
        finally:
            self._end()
        self._check()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _start(self, pts: Ns) -> Ns:
        if self._zero is None:
            self._zero = pts
        return self._zero

    def _aligned(self, samples: F32, place: int) -> F32:
        """``samples`` fitted so that they start where the sound so far ends."""
        assert self._rate is not None
        behind = place - self._written
        first, self._heard = not self._heard, True
        if abs(behind) * SECOND > GAP * self._rate or first:
            if behind > 0:
                self.silence += behind
                return np.concatenate([np.zeros(behind, np.float32), samples])
            return samples[-behind:] if behind < 0 else samples
        if abs(behind) * SECOND > SLIP * self._rate and len(samples) > 100:
            # A sample more or less in a chunk of 10 or 20 ms is a pitch change of 0.1-0.2 %, which nobody hears.
            n = len(samples) + (1 if behind > 0 else -1)
            return np.interp(np.linspace(0, len(samples) - 1, n), np.arange(len(samples)), samples).astype(np.float32)
        return samples

    def _append(self, samples: F32) -> None:
        self._written += len(samples)
        self._rest = np.concatenate([self._rest, samples])
        self._feed()

    def _feed(self, flush: bool = False) -> None:
        """Hand the waiting sound to the encoder in its own frame size."""
        assert self._rate is not None
        step = self._audio.codec_context.frame_size or 960
        while len(self._rest) >= step or (flush and len(self._rest)):
            part, self._rest = self._rest[:step], self._rest[step:]
            fmt: str = self._audio.codec_context.format.name
            data = np.clip(part, -1, 1)
            if fmt.startswith("s16"):
                data = (data * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(data[None, :], format=fmt, layout="mono")
            frame.sample_rate = self._rate
            frame.pts = self._written - len(self._rest) - len(part)
            frame.time_base = Fraction(1, self._rate)
            self._encode(self._audio, frame)

    def _encode(self, stream: Any, frame: Any) -> None:
        for packet in stream.encode(frame):
            self._container.mux(packet)
        self._check()

    def _check(self) -> None:
        error = self._file.error
        if error is None or self._told:
            return
        self._told = True
        self._end()
        what = (
            "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"writing failed ({error.strerror})"
        )
        raise StorageError(f"{what}: recording stopped; what was recorded until now is in {self.path}") from error

    _told = False

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        # After a failed write FFmpeg may complain about its own half-written index; the file's error says it better.
        with contextlib.suppress(av.error.FFmpegError, OSError) if self._file.error else contextlib.nullcontext():
            self._container.close()
        self._file.close()


class RecorderSink(Sink):
    """Records a session. Encoding runs on a thread of its own.

    A full disk raises StorageError once, from the item that met it; the session goes on without the recording.

    :param path: .mp4 or .mkv; overwritten if it exists.
    :param min_free: bytes that must be free before it starts.
    :param metadata: tags of the file.
    :param finish: called with the complete file, on the recorder's thread, when all is written.
    """

    name: ClassVar[str] = "recorder"

    def __init__(
        self,
        path: str | Path,
        crf: int = 20,
        min_free: int = FREE_MINIMUM,
        metadata: Mapping[str, str] | None = None,
        finish: Callable[[Path], object] | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() in CLEAR_SUFFIXES:
            raise UsageError(f"{self.path.name}: live recordings are .mp4 or .mkv; change the name's ending")
        self._crf = crf
        self._min_free = min_free
        self._metadata = metadata
        self._finish = finish
        self.mux: Mux | None = None
        self._lane: ThreadPoolExecutor | None = None

    async def open(self, form: StreamFormat) -> None:
        self._lane = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self.mux = await self._run(self._make, form)

    def _make(self, form: StreamFormat) -> Mux:
        folder = next((p for p in self.path.absolute().parents if p.exists()), Path("/"))
        free = shutil.disk_usage(folder).free
        if free < self._min_free:
            raise StorageError(f"only {free // 2**20} MB are free in {folder}; make room or record elsewhere")
        return Mux(self.path, (form.size, form.size), form.fps, form.audio_rate, self._crf, self._metadata)

    async def _run(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._lane, work, *args)

    async def video(self, frame: AvatarFrame) -> None:
        if self.mux is None:
            raise DeviceError("the recorder is not open; open it first")
        await self._run(self.mux.video, frame.pixels, frame.pts)

    async def audio(self, chunk: AudioChunk) -> None:
        if self.mux is None:
            raise DeviceError("the recorder is not open; open it first")
        await self._run(self.mux.audio, chunk.samples, chunk.pts)

    async def close(self) -> None:
        lane, mux, self._lane, self.mux = self._lane, self.mux, None, None
        if lane is None:
            return
        try:
            if mux is not None:
                await asyncio.get_running_loop().run_in_executor(lane, self._close, mux)
                log.info("recorded %d pictures to %s", mux.frames, self.path)
        finally:
            lane.shutdown(wait=False)

    def _close(self, mux: Mux) -> None:
        mux.close()
        if self._finish is not None and mux.frames:
            self._finish(self.path)
