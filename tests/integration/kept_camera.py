"""A virtual camera for tests, in place of a kernel module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyvirtualcam
import pyvirtualcam.camera


class Camera:
    """A virtual camera that keeps what it is sent."""

    frames: list[np.ndarray] = []  # noqa: RUF012

    def __init__(self, *, width: int, height: int, **_: Any) -> None:
        self._shape = height, width, 3
        Camera.frames = []

    def close(self) -> None: ...

    def send(self, frame: np.ndarray) -> None:
        Camera.frames.append(frame.reshape(self._shape).copy())

    def device(self) -> str:
        return "camera"

    def native_fourcc(self) -> int | None:
        return None


@contextmanager
def kept_camera(backend: str) -> Iterator[type[Camera]]:
    """What is sent to pyvirtualcam's ``backend`` lies in ``Camera.frames``."""
    pyvirtualcam.register_backend(backend, Camera)
    try:
        yield Camera
    finally:
        del pyvirtualcam.camera.BACKENDS[backend]
