"""Recordings: in step, deterministic, playable however they end."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from avatar.core.types import MILLISECOND, SECOND, AudioChunk, AvatarFrame, FaceState, Ns
from avatar.errors import StorageError, UsageError
from avatar.streams.base import StreamFormat
from avatar.streams.sinks import recorder
from avatar.streams.sinks.recorder import Mux, RecorderSink
from avatar.streams.sources.media_file import describe, read_audio, read_video

RATE = 48_000
SIZE = 64
FORMATS = pytest.mark.parametrize("suffix", ["mp4", "mkv"])


def picture(index: int, white_every: int = 30) -> np.ndarray:
    """Noise that x264 cannot compress away; white on each full second."""
    if index % white_every == 0:
        return np.full((SIZE, SIZE, 3), 255, np.uint8)
    return np.random.default_rng(index).integers(0, 120, (SIZE, SIZE, 3), dtype=np.uint8)


def beeps(begin: int, end: int) -> np.ndarray:
    """20 ms of 1 kHz at each full second; ``begin`` and ``end`` in samples."""
    n = np.arange(begin, end)
    return np.where(n % RATE < 960, 0.5 * np.sin(2 * np.pi * 1000 * n / RATE), 0).astype(np.float32)


def record(mux: Mux, frames: int, start: int = 0, skip: range = range(0), lose: range = range(0)) -> None:
    """30 pictures a second and their sound, picture by picture; ``skip`` names lost pictures, ``lose`` lost sound."""
    for i in range(frames):
        if i not in skip:
            mux.video(picture(i), Ns(start + i * SECOND // 30))
        if i not in lose:
            mux.audio(beeps(i * 1600, (i + 1) * 1600), Ns(start + i * SECOND // 30))


def flashes(path: Path) -> list[float]:
    return [f.pts / SECOND for f in read_video(path) if f.pixels.mean() > 220]


def onsets(path: Path) -> list[float]:
    samples, rate = read_audio(path)
    loud = np.flatnonzero(np.abs(samples) > 0.15)
    return [float(loud[0] / rate)] + [float(b / rate) for a, b in pairwise(loud) if b - a > rate / 10]


@FORMATS
def test_sound_and_picture_share_their_zero(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    mux = Mux(path, (SIZE, SIZE), 30)
    record(mux, 90, start=1234 * SECOND)  # a session's times do not start at 0
    mux.close()
    assert flashes(path) == pytest.approx([0, 1, 2], abs=0.002)
    assert onsets(path) == pytest.approx([0, 1, 2], abs=0.003)
    assert describe(path).duration == pytest.approx(3.0, abs=1 / 30)
    assert (mux.frames, mux.dropped, mux.silence) == (90, 0, 0)


@FORMATS
def test_other_programs_read_it(tmp_path: Path, suffix: str, probe) -> None:
    path = tmp_path / f"a.{suffix}"
    mux = Mux(path, (SIZE, SIZE), 30)
    record(mux, 60)
    mux.close()
    seen = probe(path)
    video, audio = seen["streams"]
    assert (video["codec_name"], video["pix_fmt"], video["color_space"]) == ("h264", "yuv420p", "smpte170m")
    assert (video["nb_read_frames"], video["r_frame_rate"]) == ("60", "30/1")
    assert float(video["start_time"]) == 0
    assert audio["codec_name"] == {"mp4": "aac", "mkv": "opus"}[suffix]
    assert audio["channels"] == 1
    tags = {k.lower(): v for k, v in seen["format"]["tags"].items()}
    assert tags["title"] == "AI-generated"
    assert tags["comment"].startswith("AI-generated")


@FORMATS
def test_same_input_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        mux = Mux(tmp_path / f"{name}.{suffix}", (SIZE, SIZE), 30)
        record(mux, 40)
        mux.close()
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_colours_survive(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    mux = Mux(path, (SIZE, SIZE), 30, audio_rate=None, crf=10)
    colours = [(220, 40, 40), (40, 200, 60), (30, 60, 210), (250, 220, 190)]
    for i, colour in enumerate(colours):
        mux.video(np.full((SIZE, SIZE, 3), colour, np.uint8), Ns(i * SECOND // 30))
    mux.close()
    with av.open(str(path)) as container:
        # Decoded as the stream says it is to be decoded, BT.601.
        for frame, colour in zip(container.decode(video=0), colours, strict=True):
            rgb = frame.reformat(format="rgb24", src_colorspace="ITU601").to_ndarray()
            assert np.abs(rgb.mean(axis=(0, 1)) - colour).max() < 6


def shown(path: Path) -> Iterator[np.ndarray]:
    """Pictures (h, w, 4) of a transparent clip; FFmpeg's own VP9 decoder would leave the transparency out."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r") if path.suffix == ".webm" else video.codec_context
        for packet in container.demux(video):
            if packet.size:
                yield from (frame.to_ndarray(format="rgba") for frame in decoder.decode(packet))


@pytest.mark.parametrize("suffix", ["webm", "mov"])
def test_transparent_clips_keep_alpha_colour_and_sound(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    mux = Mux(path, (SIZE, SIZE), 30, crf=10)
    given = np.zeros((SIZE, SIZE, 4), np.uint8)
    given[:, 16:] = (200, 90, 60, 128)
    given[:, 32:, 3] = 255
    for i in range(40):
        mux.video(given, Ns(i * SECOND // 30))
        mux.audio(beeps(i * 1600, (i + 1) * 1600), Ns(i * SECOND // 30))
    mux.close()
    pictures = list(shown(path))
    assert len(pictures) == 40
    middle = pictures[20][SIZE // 2].astype(int)
    assert abs(middle[4, 3]) <= 3
    assert abs(middle[24, 3] - 128) <= 4
    assert middle[48, 3] >= 252
    assert np.abs(middle[48, :3] - (200, 90, 60)).max() <= 8
    assert onsets(path) == pytest.approx([0, 1], abs=0.01)


def test_a_transparent_clip_takes_no_opaque_pictures(tmp_path: Path) -> None:
    mux = Mux(tmp_path / "a.webm", (SIZE, SIZE), 30)
    with pytest.raises(ValueError, match="picture"):
        mux.video(picture(1), Ns(0))
    mux.close()
    with pytest.raises(UsageError, match="change the name"):
        RecorderSink(tmp_path / "live.webm")


def test_missing_pictures_and_sound_do_not_move_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    mux = Mux(path, (SIZE, SIZE), 30)
    record(mux, 90, skip=range(5, 25), lose=range(35, 55))
    mux.close()
    assert flashes(path) == pytest.approx([0, 1, 2], abs=0.002)
    assert onsets(path) == pytest.approx([0, 1, 2], abs=0.003)
    assert mux.silence == 20 * 1600


def test_pictures_at_uneven_times_keep_them(tmp_path: Path) -> None:
    times = [0, 40, 60, 140, 150, 233]
    mux = Mux(tmp_path / "a.mkv", (SIZE, SIZE), 30, audio_rate=None)
    for i, t in enumerate(times):
        mux.video(picture(i + 1), Ns(t * MILLISECOND))
    mux.video(picture(9), Ns(100 * MILLISECOND))  # too late: its time has passed
    mux.close()
    assert [f.pts / MILLISECOND for f in read_video(tmp_path / "a.mkv")] == pytest.approx(times, abs=1)
    assert mux.dropped == 1


@pytest.mark.parametrize("ppm", [-300, 300])
def test_a_drifting_clock_is_followed_without_a_gap(tmp_path: Path, ppm: int) -> None:
    """The device's second is too long or too short; its samples still end up at the time that their chunks say."""
    path = tmp_path / "a.mp4"
    mux = Mux(path, (SIZE, SIZE), 30)
    seconds = 60
    for i in range(seconds * 50):
        mux.audio(beeps(i * 960, (i + 1) * 960), Ns(round(i * 20 * MILLISECOND * (1 + ppm * 1e-6))))
    mux.close()
    expected = [i * (1 + ppm * 1e-6) for i in range(seconds)]
    assert onsets(path) == pytest.approx(expected, abs=0.0045)
    assert mux.silence == 0


def test_sound_before_the_first_picture_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    mux = Mux(path, (SIZE, SIZE), 30)
    mux.video(picture(0), Ns(SECOND))
    mux.audio(beeps(RATE // 2, RATE * 3 // 2), Ns(SECOND // 2))
    mux.close()
    assert onsets(path) == pytest.approx([0], abs=0.003)
    assert len(read_audio(path)[0]) < RATE * 0.6


def test_sound_that_comes_late_is_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    mux = Mux(path, (SIZE, SIZE), 30)
    for i in range(60):
        mux.video(picture(i), Ns(i * SECOND // 30))
    mux.audio(beeps(RATE // 2, 2 * RATE), Ns(SECOND // 2))
    mux.close()
    assert onsets(path) == pytest.approx([1], abs=0.003)


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("a.avi", (64, 64), "are .mp4 or .mkv"),
        ("a.mp4", (65, 64), "use even sizes"),
        ("a", (64, 64), "are .mp4 or .mkv"),
    ],
)
def test_wrong_request_is_refused(tmp_path: Path, name: str, size: tuple[int, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Mux(tmp_path / name, size, 30)
    assert not (tmp_path / name).exists()


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Mux(tmp_path / "file" / "a.mp4", (SIZE, SIZE), 30)


# --- a full disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a disk of 400 KB: a real one where this user may mount it, else a limit on the file's size."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        hasattr(os, "geteuid")
        and os.geteuid() == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
        == 0
    )
    if not mounted:
        import errno
        import io

        class Limited(io.FileIO):
            def write(self, data) -> int:
                room = 400 * 1024 - self.tell()
                if room <= 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(memoryview(data)[:room])

        monkeypatch.setattr(Path, "open", lambda self, mode="r", buffering=-1: Limited(self, "w"))
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=False)


@FORMATS
def test_full_disk_stops_with_one_line_and_the_recording_plays(small_disk: Path, suffix: str) -> None:
    path = small_disk / f"a.{suffix}"
    mux = Mux(path, (SIZE, SIZE), 30)
    with pytest.raises(StorageError, match="the disk is full: recording stopped") as error:
        record(mux, 3000)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    written = mux.frames
    mux.video(picture(1), Ns(1000 * SECOND))  # a session that does not stop at once
    mux.close()
    frames = [f.pts for f in read_video(path)]
    assert len(frames) >= written - 45  # a second and a half at most was not on the disk yet
    assert len(frames) > 30
    whole = frames[-1] // SECOND
    assert flashes(path)[: whole + 1] == pytest.approx(range(whole + 1), abs=0.002)
    assert onsets(path)[:whole] == pytest.approx(range(whole), abs=0.03)


@FORMATS
def test_recording_that_was_killed_plays(tmp_path: Path, suffix: str) -> None:
    """What is on the disk at any moment is a playable file."""
    path = tmp_path / f"a.{suffix}"
    mux = Mux(path, (SIZE, SIZE), 30)
    record(mux, 100)
    cut = tmp_path / f"cut.{suffix}"
    shutil.copy(path, cut)
    mux.close()
    assert len(list(read_video(cut))) >= 60
    assert onsets(cut)[:2] == pytest.approx([0, 1], abs=0.03)


# --- the sink -------------------------------------------------------------------------------------------------------


async def test_sink_records_a_live_session(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.mp4"
    sink = RecorderSink(path)
    await sink.open(StreamFormat(size=SIZE, fps=30))
    for i in range(60):
        pts = Ns(5 * SECOND + i * SECOND // 30)
        await sink.video(AvatarFrame(pts, picture(i), FaceState(pts)))
        await sink.audio(AudioChunk(pts, beeps(i * 1600, (i + 1) * 1600), RATE))
    await sink.close()
    await sink.close()
    assert flashes(path) == pytest.approx([0, 1], abs=0.002)
    assert onsets(path) == pytest.approx([0, 1], abs=0.003)


async def test_sink_says_once_that_the_disk_is_full(small_disk: Path) -> None:
    sink = RecorderSink(small_disk / "a.mp4", min_free=0)
    await sink.open(StreamFormat(size=SIZE, fps=30))
    told = []
    for i in range(400):  # no sound comes, which must not keep the pictures from the disk
        try:
            await sink.video(AvatarFrame(Ns(i * SECOND // 30), picture(i), FaceState(Ns(0))))
        except StorageError as error:
            told.append(str(error))
    await sink.close()
    assert len(told) == 1


async def test_sink_does_not_start_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(recorder.shutil, "disk_usage", lambda _: usage._replace(free=20 * 2**20))
    sink = RecorderSink(tmp_path / "a.mp4")
    with pytest.raises(StorageError, match="only 20 MB are free"):
        await sink.open(StreamFormat(size=SIZE))
    await sink.close()
    assert not (tmp_path / "a.mp4").exists()


async def test_close_without_open(tmp_path: Path) -> None:
    await RecorderSink(tmp_path / "a.mp4").close()
