"""Reading sound and pictures from files, good ones and bad ones."""

import logging
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avatar.core.types import SECOND, Ns
from avatar.errors import MediaError
from avatar.streams.sinks.recorder import Mux
from avatar.streams.sources.media_file import describe, read_audio, read_video

RATE = 48_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


def write(path: Path, samples: np.ndarray = TONE, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-23), ("DOUBLE", 1e-7)],
)
def test_every_sample_format_keeps_the_values(tmp_path: Path, subtype: str, step: float) -> None:
    samples, rate = read_audio(write(tmp_path / "a.wav", subtype=subtype))
    assert rate == RATE
    assert samples.dtype == np.float32
    assert len(samples) == RATE
    assert np.abs(samples - TONE).max() <= step


def test_high_rate_is_kept(tmp_path: Path) -> None:
    samples, rate = read_audio(write(tmp_path / "a.wav", rate=96_000, subtype="PCM_24"))
    assert (len(samples), rate) == (RATE, 96_000)


def test_seven_channels_are_averaged(tmp_path: Path) -> None:
    many = np.stack([TONE * k / 7 for k in range(7)], axis=1)
    samples, _ = read_audio(write(tmp_path / "a.wav", many))
    assert np.abs(samples - many.mean(axis=1)).max() < 2**-14


def test_values_that_are_not_numbers_become_silence_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = TONE.copy()
    broken[100:200], broken[300] = np.nan, np.inf
    with caplog.at_level(logging.WARNING):
        samples, _ = read_audio(write(tmp_path / "a.wav", broken, subtype="FLOAT"))
    assert np.array_equal(samples[100:200], np.zeros(100))
    assert samples[300] == 0
    assert samples[400] == TONE[400]
    assert "101 of 48000 samples are not numbers" in caplog.text


def test_float_beyond_full_scale_is_clipped(tmp_path: Path) -> None:
    samples, _ = read_audio(write(tmp_path / "a.wav", TONE * 10, subtype="FLOAT"))
    assert samples.max() == 1.0
    assert samples.min() == -1.0


def test_truncated_file_gives_what_is_there(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    samples, _ = read_audio(tmp_path / "cut.wav")
    assert abs(len(samples) - RATE // 2) < 100
    assert np.abs(samples - TONE[: len(samples)]).max() < 2**-14


def test_silence_is_sound(tmp_path: Path) -> None:
    samples, _ = read_audio(write(tmp_path / "a.wav", np.zeros(1000, np.float32)))
    assert len(samples) == 1000
    assert not samples.any()


def empty_wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_text("hello " * 200), "is not a sound or video file"),
        (lambda p: p.write_bytes(b"RIFF\0\0\0\0WAVEfmt "), "is not a sound or video file"),
        (empty_wav, "holds no sound that can be decoded"),
        (lambda p: write(p, TONE[:100], rate=1000), "1000 Hz is not a sample rate of sound"),
    ],
)
def test_bad_file_is_refused_in_one_line(tmp_path: Path, make, says: str) -> None:
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(MediaError) as error:
        read_audio(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert "bad.wav" in str(error.value)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds; the picture is white at each full second, when a click sounds."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    mux = Mux(path, (64, 48), 30)
    sound = np.zeros(2 * RATE, np.float32)
    sound[[0, RATE]] = 0.9
    mux.audio(sound, Ns(0))
    for i in range(60):
        mux.video(np.full((48, 64, 3), 255 if i % 30 == 0 else 0, np.uint8), Ns(i * SECOND // 30))
    mux.close()
    return path


def test_pictures_and_sound_of_a_video_share_their_zero(clip: Path) -> None:
    frames = list(read_video(clip))
    samples, rate = read_audio(clip)
    white = [f.pts / SECOND for f in frames if f.pixels.mean() > 128]
    clicks = [np.argmax(np.abs(samples[i * rate : i * rate + rate // 2])) / rate + i for i in (0, 1)]
    assert len(frames) == 60
    assert frames[0].pixels.shape == (48, 64, 3)
    assert white == pytest.approx([0.0, 1.0], abs=1e-3)
    assert clicks == pytest.approx([0.0, 1.0], abs=2e-3)


def test_describe(clip: Path, tmp_path: Path) -> None:
    info = describe(clip)
    assert (info.has_audio, info.has_video) == (True, True)
    assert info.duration == pytest.approx(2.0, abs=1 / 30)
    assert describe(write(tmp_path / "a.wav")).has_video is False


def test_sound_is_not_a_picture_nor_the_reverse(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="holds no picture"):
        next(read_video(write(tmp_path / "a.wav")))
    mux = Mux(tmp_path / "mute.mp4", (32, 32), 30, audio_rate=None)
    mux.video(np.zeros((32, 32, 3), np.uint8), Ns(0))
    mux.close()
    with pytest.raises(MediaError, match="holds no sound"):
        read_audio(tmp_path / "mute.mp4")


def test_a_phone_video_is_turned_upright(tmp_path: Path) -> None:
    """The display matrix of a file that was filmed sideways."""
    import av

    upright = np.zeros((64, 32, 3), np.uint8)
    upright[:32] = 255  # the top half is white
    path = tmp_path / "phone.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        container.start_encoding()
        for _ in range(3):
            sideways = np.ascontiguousarray(np.rot90(upright, k=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(sideways, format="rgb24")))
        container.mux(stream.encode(None))
    # PyAV cannot write the matrix, so it is put into the track header here: rotate 90 degrees clockwise to display.
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    one = 0x10000
    values = (0, one, 0, -one, 0, 0, 32 * one, 0, 0x40000000)
    data[matrix : matrix + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in values)
    path.write_bytes(data)
    frame = next(read_video(path))
    assert frame.pixels.shape == (64, 32, 3)
    assert frame.pixels[:28].mean() > 200
    assert frame.pixels[36:].mean() < 50
