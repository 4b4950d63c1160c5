"""The camera, through OpenCV; or a video file that plays one."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import ClassVar, Protocol

import numpy as np

from avatar.core.clock import Clock
from avatar.core.types import SECOND, U8, Ns, VideoFrame, freeze
from avatar.errors import DeviceError
from avatar.streams.base import Source
from avatar.streams.handover import Handover
from avatar.streams.sources.media_file import read_video

log = logging.getLogger(__name__)

FILE = "file:"
SILENT_AFTER = 3.0
"""Seconds without a picture after which the camera counts as gone; drivers may block for ever."""


class Capture(Protocol):
    """Something that pictures come out of."""

    def read(self) -> U8 | None:
        """The next picture (height, width, 3), RGB; blocks until there is one; None = gone."""
        ...

    def close(self) -> None: ...


class CameraSource(Source[VideoFrame]):
    """Pictures as they come, RGB, not mirrored; a busy session gets the latest one only.

    :param device: None = the first camera, a number, a path such as /dev/video2, or ``file:PATH`` for a video that is
        played in a loop at its own pace.
    :param size: width and height to ask for; the camera may give others.
    :param fps: the rate to ask for.
    :param connect: opens the device; for other libraries and for tests.
    """

    name: ClassVar[str] = "camera"

    def __init__(
        self,
        device: str | None = None,
        size: tuple[int, int] = (640, 480),
        fps: int = 30,
        connect: Callable[[str, tuple[int, int], int], Capture] | None = None,
    ) -> None:
        self._device = device or ""
        self._size, self._fps = size, fps
        self._connect = connect or (_FileCapture.open if self._device.startswith(FILE) else _OpenCvCapture)
        self._stop: threading.Event | None = None
        self._queue: Handover[VideoFrame] | None = None
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Pictures that a newer one has overtaken."""
        return self._queue.dropped if self._queue is not None else 0

    async def open(self, clock: Clock) -> None:
        capture = await asyncio.to_thread(self._connect, self._device, self._size, self._fps)
        self._queue = Handover[VideoFrame](1)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(capture, clock, self._queue, self._stop), name="camera", daemon=True
        )
        self._thread.start()

    def _run(self, capture: Capture, clock: Clock, queue: Handover[VideoFrame], stop: threading.Event) -> None:
        last = -1
        try:
            while not stop.is_set():
                pixels = capture.read()
                if pixels is None:
                    queue.fail(self._gone())
                    return
                # OpenCV gives no reliable time of exposure; the moment of arrival is late by the same time always.
                last = max(clock.now(), last + 1)
                queue.put(VideoFrame(Ns(last), freeze(pixels)))
        except Exception as error:  # whatever the driver throws must reach the session
            queue.fail(error if isinstance(error, DeviceError) else self._gone(error))
        finally:
            capture.close()

    def _gone(self, error: Exception | None = None) -> DeviceError:
        reason = f" ({error})" if error is not None else ""
        return DeviceError(f"camera {self._device or '(default)'} went away{reason}; plug it in again")

    async def items(self) -> AsyncIterator[VideoFrame]:
        if self._queue is None:
            raise RuntimeError("items before open")
        queue = self._queue
        while True:
            try:
                frame, _ = await queue.get(SILENT_AFTER)
            except TimeoutError:
                raise self._gone() from None
            yield frame

    async def close(self) -> None:
        stop, thread, self._stop, self._thread, self._queue = self._stop, self._thread, None, None, None
        if stop is not None and thread is not None:
            stop.set()
            await asyncio.to_thread(thread.join, 1.0)  # a driver that hangs keeps its daemon thread


class _OpenCvCapture:
    def __init__(self, device: str, size: tuple[int, int], fps: int) -> None:
        import cv2

        self._cv2 = cv2
        target: int | str = int(device) if device.isdecimal() else device or 0
        api = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        before = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(0)  # it warns on standard error; the DeviceError says it better
        try:
            self._capture = cv2.VideoCapture(target, api)
        finally:
            cv2.utils.logging.setLogLevel(before)
        if not self._capture.isOpened():
            self._capture.release()
            raise DeviceError(
                f"camera {device or '(default)'} cannot be opened; plug it in, close other programs that use it, "
                "and see `avatar devices`"
            )
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        self._capture.set(cv2.CAP_PROP_FPS, fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # an older picture is of no use

    def read(self) -> U8 | None:
        ok, picture = self._capture.read()
        return np.asarray(self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB)) if ok else None

    def close(self) -> None:
        self._capture.release()


class _FileCapture:
    """A video file, again and again, at its own pace."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._frames: Iterator[VideoFrame] = read_video(path)
        self._first: VideoFrame | None = next(self._frames)
        self._start = time.monotonic_ns()

    @classmethod
    def open(cls, device: str, size: tuple[int, int], fps: int) -> _FileCapture:
        return cls(device.removeprefix(FILE))

    def read(self) -> U8 | None:
        frame = self._first if self._first is not None else next(self._frames, None)
        self._first = None
        if frame is None:
            self._frames = read_video(self._path)
            frame = next(self._frames)
            self._start = time.monotonic_ns()
        time.sleep(max(0, self._start + frame.pts - time.monotonic_ns()) / SECOND)
        return frame.pixels

    def close(self) -> None:
        return
