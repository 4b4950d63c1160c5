"""The virtual camera on pyvirtualcam itself, with a back-end of its own instead of a kernel module. A real /dev/videoN
is tested by `make test-vcam`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvirtualcam
import pyvirtualcam.camera

from avatar.core.types import AvatarFrame, FaceState, Ns, freeze
from avatar.errors import DeviceError
from avatar.streams.base import StreamFormat
from avatar.streams.sinks import virtual_camera
from avatar.streams.sinks.virtual_camera import VirtualCameraSink, advice

NAME = "for_tests"


class Recording:
    """A back-end that keeps what it is sent, and can break."""

    made: list["Recording"]
    refuse = ""
    broken = False

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **kw: Any) -> None:
        if Recording.refuse:
            raise RuntimeError(Recording.refuse)
        self.size, self.fps, self.fourcc = (width, height), fps, fourcc
        self._device = device or "made-up camera"
        self.frames: list[np.ndarray] = []
        self.closed = 0
        Recording.made.append(self)

    def close(self) -> None:
        self.closed += 1

    def send(self, frame: np.ndarray) -> None:
        if Recording.broken:
            raise RuntimeError("device was removed")
        self.frames.append(frame.copy())

    def device(self) -> str:
        return self._device

    def native_fourcc(self) -> int | None:
        return None


@pytest.fixture(autouse=True)
def backend() -> Iterator[type[Recording]]:
    Recording.made, Recording.refuse, Recording.broken = [], "", False
    pyvirtualcam.register_backend(NAME, Recording)
    yield Recording
    del pyvirtualcam.camera.BACKENDS[NAME]


def frame(i: int, size: int = 64) -> AvatarFrame:
    pixels = np.random.default_rng(i).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return AvatarFrame(Ns(i * 33_333_333), freeze(pixels), FaceState(Ns(0)))


async def test_pictures_arrive_as_they_are_and_in_order(backend: type[Recording]) -> None:
    sink = VirtualCameraSink(backend=NAME)
    await sink.open(StreamFormat(size=64, fps=25))
    assert sink.device == "made-up camera"
    for i in range(5):
        await sink.video(frame(i))
    await sink.close()
    await sink.close()
    (camera,) = backend.made
    assert (camera.size, camera.fps, camera.closed) == ((64, 64), 25, 1)
    assert camera.fourcc == pyvirtualcam.util.encode_fourcc(pyvirtualcam.PixelFormat.RGB.value)
    assert sink.frames == 5
    for i, sent in enumerate(camera.frames):
        assert np.array_equal(sent.reshape(64, 64, 3), frame(i).pixels)


async def test_the_asked_device_is_used(backend: type[Recording]) -> None:
    sink = VirtualCameraSink("/dev/video9", backend=NAME)
    await sink.open(StreamFormat(size=64))
    assert sink.device == "/dev/video9"
    await sink.close()


async def test_a_slice_of_a_larger_picture_is_sent_right(backend: type[Recording]) -> None:
    sink = VirtualCameraSink(backend=NAME)
    await sink.open(StreamFormat(size=64))
    large = frame(1, size=128).pixels
    await sink.video(AvatarFrame(Ns(0), large[::2, ::2], FaceState(Ns(0))))
    await sink.close()
    assert np.array_equal(backend.made[0].frames[0].reshape(64, 64, 3), large[::2, ::2])


async def test_no_device_says_what_to_do(backend: type[Recording]) -> None:
    backend.refuse = "no free loopback device\nsecond line"
    sink = VirtualCameraSink(backend=NAME)
    with pytest.raises(DeviceError, match="no free loopback device") as error:
        await sink.open(StreamFormat(size=64))
    await sink.close()
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(advice())


def test_the_advice_fits_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(virtual_camera, "MODULE", tmp_path / "nothing")
    assert "modprobe v4l2loopback" in advice()
    assert "Secure Boot" in advice()
    monkeypatch.setattr(virtual_camera, "MODULE", tmp_path)
    assert "close the programs that write to it" in advice()
    for platform in ("darwin", "win32"):
        monkeypatch.setattr("sys.platform", platform)
        assert "OBS" in advice()


async def test_unknown_backend_names_the_known_ones() -> None:
    with pytest.raises(DeviceError, match=f"no back-end 'nothing' here; there are: .*{NAME}"):
        await VirtualCameraSink(backend="nothing").open(StreamFormat(size=64))


async def test_camera_that_goes_away_can_be_opened_again(backend: type[Recording]) -> None:
    sink = VirtualCameraSink(backend=NAME)
    await sink.open(StreamFormat(size=64))
    backend.broken = True
    with pytest.raises(DeviceError, match="went away"):
        await sink.video(frame(0))
    await sink.close()
    with pytest.raises(DeviceError, match="not open"):
        await sink.video(frame(0))
    backend.broken = False
    await sink.open(StreamFormat(size=64))
    await sink.video(frame(0))
    await sink.close()
    assert len(backend.made) == 2
