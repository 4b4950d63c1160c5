"""The session's picture as a camera for other programs, through pyvirtualcam."""

from __future__ import annotations

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from avatar.core.types import U8, AvatarFrame
from avatar.errors import DeviceError
from avatar.streams.base import Sink, StreamFormat

MODULE = Path("/sys/module/v4l2loopback")

log = logging.getLogger(__name__)


def advice() -> str:
    """What makes a virtual camera possible on this system."""
    if sys.platform == "linux":
        if MODULE.exists():
            return "close the programs that write to it, or name another /dev/videoN of `avatar devices`"
        load = "sudo apt install v4l2loopback-dkms && sudo modprobe v4l2loopback exclusive_caps=1 card_label=Avatar"
        return f"{load} (with Secure Boot the module must be signed: `avatar doctor`)"
    if sys.platform == "darwin":
        return "install OBS 30 or later, start its virtual camera once, stop it, and close OBS"
    return "install OBS, or Unity Capture, and close programs that use its virtual camera"


class VirtualCameraSink(Sink):
    """Shows every picture at once: pictures arrive at their present time, and a camera has no time stamps.

    :param device: None = the first free one; on Linux a path such as /dev/video2, on Windows a camera's name.
    :param backend: None = any back-end of pyvirtualcam.
    """

    name: ClassVar[str] = "virtual_camera"

    def __init__(self, device: str | None = None, backend: str | None = None) -> None:
        self._device, self._backend = device or "", backend or ""
        self._camera: Any = None
        self._lane: ThreadPoolExecutor | None = None
        self.frames = 0

    @property
    def device(self) -> str:
        """What other programs call it; empty while closed."""
        return str(self._camera.device) if self._camera is not None else ""

    async def open(self, form: StreamFormat) -> None:
        self._lane = ThreadPoolExecutor(1, thread_name_prefix="virtual-camera")
        self._camera = await asyncio.get_running_loop().run_in_executor(self._lane, self._connect, form)
        log.info("virtual camera: choose %s in the other program", self.device)

    def _connect(self, form: StreamFormat) -> Any:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise DeviceError(f"pyvirtualcam cannot be loaded ({error}); pip install pyvirtualcam") from error
        if self._backend and self._backend not in pyvirtualcam.camera.BACKENDS:
            known = ", ".join(pyvirtualcam.camera.BACKENDS) or "none"
            raise DeviceError(f"pyvirtualcam has no back-end {self._backend!r} here; there are: {known}")
        try:
            return pyvirtualcam.Camera(
                form.size,
                form.size,
                form.fps,
                fmt=pyvirtualcam.PixelFormat.RGB,
                device=self._device or None,
                backend=self._backend or None,
            )
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DeviceError(f"no virtual camera ({reason}); {advice()}") from error

    async def video(self, frame: AvatarFrame) -> None:
        if self._camera is None:
            raise DeviceError("the virtual camera is not open; open it first")
        await asyncio.get_running_loop().run_in_executor(self._lane, self._send, frame.pixels)

    def _send(self, pixels: U8) -> None:
        try:
            # A writable copy only where it must be: the native part takes read-only arrays, but in C order.
            self._camera.send(np.ascontiguousarray(pixels))
        except RuntimeError as error:
            raise DeviceError(f"the virtual camera went away ({error}); {advice()}") from error
        self.frames += 1

    async def close(self) -> None:
        lane, camera, self._lane, self._camera = self._lane, self._camera, None, None
        if lane is None:
            return
        if camera is not None:
            await asyncio.get_running_loop().run_in_executor(lane, camera.close)
        lane.shutdown(wait=False)
