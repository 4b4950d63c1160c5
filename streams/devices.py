"""Which devices there are, and how to open the sound devices. Drivers are loaded on first use only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from avatar.errors import DeviceError

Kind = Literal["input", "output"]

_KINDS = {"input": "microphone", "output": "sound output"}
_lock = threading.RLock()
_open_streams = 0


@dataclass(frozen=True, slots=True)
class Device:
    """One device as ``avatar devices`` lists it."""

    id: str
    """What to write into the configuration."""
    name: str
    default: bool = False
    detail: str = ""

    def __str__(self) -> str:
        notes = ", ".join(note for note in (self.detail, "default" if self.default else "") if note)
        name = f"  {self.name}" if self.name != self.id else ""
        return f"{self.id}{name}" + (f"  ({notes})" if notes else "")


# --- sound ----------------------------------------------------------------------------------------------------------


def portaudio() -> Any:
    """The module ``sounddevice``. Raises DeviceError where PortAudio is missing."""
    try:
        import sounddevice
    except OSError as error:
        fix = "apt install libportaudio2" if sys.platform == "linux" else "pip install --force-reinstall sounddevice"
        raise DeviceError(f"PortAudio is missing, without it there is no sound device; install it: {fix}") from error
    _silence_alsa()
    return sounddevice


@cache
def _silence_alsa() -> None:
    """Keep ALSA from writing a line to standard error for every underrun, from its own thread, for ever.

    The handler must be native, or each line would wait for the interpreter's lock: getpid does nothing with arguments.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(ctypes.CDLL(None).getpid)


def microphones() -> list[Device]:
    """Sound inputs. Raises DeviceError where PortAudio is missing."""
    return _sound("input")


def speakers() -> list[Device]:
    """Sound outputs. Raises DeviceError where PortAudio is missing."""
    return _sound("output")


def _sound(kind: Kind) -> list[Device]:
    sd = portaudio()
    rescan()
    with _quiet():
        default = sd.default.device[0 if kind == "input" else 1]
        apis = sd.query_hostapis()
        found = [
            Device(str(d["index"]), d["name"], d["index"] == default, apis[d["hostapi"]]["name"])
            for d in sd.query_devices()
            if d[f"max_{kind}_channels"] > 0
        ]
    return found + [Device(f"pulse:{n}", n, detail="PulseAudio") for n in _pulse_names(kind)]


def rescan() -> None:
    """Let PortAudio look for devices again (it looks once, when it starts). Does nothing while a stream is open."""
    sd = portaudio()
    with _lock:
        if _open_streams == 0:
            with _quiet():
                sd._terminate()
                sd._initialize()


def open_sound(
    kind: Kind,
    device: str,
    rate: int,
    block: int,
    callback: Callable[..., None],
    finished: Callable[[], None],
    latency: str | float = "low",
) -> Any:
    """Open and start a mono float32 stream of ``sounddevice``; end it with :func:`close_sound`.

    :param device: empty = the system's default, a number of ``avatar devices``, a part of a name, or ``pulse:NAME`` for
        a sink or source of PulseAudio or PipeWire.
    :param block: samples per callback.
    :raises DeviceError: missing, busy, or it cannot do mono at this rate.
    """
    global _open_streams
    sd = portaudio()
    rescan()
    what = _KINDS[kind]
    with _lock, _quiet(), _pulse_choice(kind, device) as name:
        index = _find(sd, kind, name, device)
        extra = None
        if sys.platform == "win32" and "WASAPI" in sd.query_hostapis(sd.query_devices(index, kind)["hostapi"])["name"]:
            extra = sd.WasapiSettings(auto_convert=True)  # the shared mode takes only its own rate otherwise
        stream_class = sd.InputStream if kind == "input" else sd.OutputStream
        try:
            stream = stream_class(
                samplerate=rate,
                blocksize=block,
                device=index,
                channels=1,
                dtype="float32",
                latency=latency,
                extra_settings=extra,
                callback=callback,
                finished_callback=finished,
            )
            try:
                stream.start()
            except Exception:
                stream.close(ignore_errors=True)
                raise
        except sd.PortAudioError as error:
            reason = str(error.args[0] if error.args else error).splitlines()[0]
            raise DeviceError(
                f"{what} {device or '(default)'} cannot be opened at {rate} Hz ({reason}); close other programs that "
                "use it, or choose another of `avatar devices`"
            ) from error
        _open_streams += 1
    return stream


def close_sound(stream: Any) -> None:
    """Stop and close a stream of :func:`open_sound`."""
    global _open_streams
    with _lock, _quiet():
        try:
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)
        finally:
            _open_streams -= 1


def _find(sd: Any, kind: Kind, name: str, asked: str) -> int:
    channels, what = f"max_{kind}_channels", _KINDS[kind]
    found = [d for d in sd.query_devices() if d[channels] > 0]
    if not found:
        raise DeviceError(f"no {what} found; plug one in and check that its sound server runs (`avatar devices`)")
    if name == "":
        default = sd.default.device[0 if kind == "input" else 1]
        return int(default if default >= 0 else found[0]["index"])
    for d in found:
        if name == str(d["index"]) or name.lower() == d["name"].lower():
            return int(d["index"])
    partial = [d for d in found if name.lower() in d["name"].lower()]
    if not partial:
        raise DeviceError(f"no {what} named {asked!r}; see `avatar devices`")
    return int(partial[0]["index"])


@contextlib.contextmanager
def _pulse_choice(kind: Kind, device: str) -> Iterator[str]:
    """For ``pulse:NAME`` yield PortAudio's name for the sound server and choose its sink or source while opening.

    PortAudio knows the sound server only as one device; the server's client library reads the choice from the
    environment when the stream is made.
    """
    if not device.startswith("pulse:"):
        yield device
        return
    variable, choice = ("PULSE_SOURCE" if kind == "input" else "PULSE_SINK"), device.removeprefix("pulse:")
    if choice not in _pulse_names(kind, monitors=True):
        raise DeviceError(f"the sound server has no {_KINDS[kind]} {choice!r}; see `avatar devices`")
    before = os.environ.get(variable)
    os.environ[variable] = choice
    try:
        yield "pulse"
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def pactl(*arguments: str) -> str | None:
    """The output of ``pactl``, or None where there is no PulseAudio or PipeWire to talk to."""
    program = shutil.which("pactl")
    if program is None or sys.platform != "linux":
        return None
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _pulse_names(kind: Kind, monitors: bool = False) -> list[str]:
    lines = (pactl("list", "short", "sources" if kind == "input" else "sinks") or "").splitlines()
    names = [line.split("\t")[1] for line in lines if line.count("\t") >= 1]
    return [n for n in names if monitors or not n.endswith(".monitor")]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the C libraries under PortAudio from writing to standard error; ALSA reports every device it lacks there."""
    with contextlib.ExitStack() as stack:
        try:
            sys.stderr.flush()
            saved = os.dup(2)
            stack.callback(os.close, saved)
            null = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, null)
            os.dup2(null, 2)
            stack.callback(os.dup2, saved, 2)
        except (OSError, AttributeError, ValueError):  # no standard error at all, as under pythonw
            pass
        yield


# --- cameras --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VideoNode:
    """A /dev/videoN of Linux."""

    path: str
    card: str
    driver: str
    captures: bool
    """Pictures can be read."""
    outputs: bool
    """Pictures can be written: a virtual camera."""


def video_nodes() -> list[VideoNode]:
    """The video devices of Linux, by number; empty elsewhere. Nodes that may not be opened are left out."""
    nodes = []
    for path in sorted(Path("/dev").glob("video*"), key=lambda p: int(re.sub(r"\D", "", p.name) or 0)):
        with contextlib.suppress(OSError):
            nodes.append(_query(path))
    return nodes


def _query(path: Path) -> VideoNode:
    import fcntl

    # struct v4l2_capability of linux/videodev2.h: driver[16] card[32] bus_info[32] version capabilities device_caps ...
    layout = "16s32s32sIII12x"
    size = struct.calcsize(layout)
    querycap = (2 << 30) | (size << 16) | (ord("V") << 8)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(descriptor, querycap, bytes(size))
    finally:
        os.close(descriptor)
    driver, card, _, _, capabilities, device = struct.unpack(layout, answer)
    flags = device if capabilities & 0x80000000 else capabilities
    text = [value.split(b"\0")[0].decode(errors="replace") for value in (card, driver)]
    return VideoNode(str(path), text[0], text[1], bool(flags & 0x1), bool(flags & 0x2))


def is_loopback(node: VideoNode) -> bool:
    """A virtual camera made by v4l2loopback, whichever direction it shows at the moment."""
    return "loopback" in node.driver.lower()


def cameras() -> list[Device]:
    """Cameras, virtual ones left out. Outside Linux the first four numbers are tried, which may light their lamps."""
    if sys.platform == "linux":
        nodes = [n for n in video_nodes() if n.captures and not is_loopback(n)]
        return [Device(n.path, n.card, i == 0, n.driver) for i, n in enumerate(nodes)]
    import cv2

    found = []
    for index in range(4):
        capture = cv2.VideoCapture(index)
        try:
            if capture.isOpened():
                found.append(Device(str(index), f"camera {index}", index == 0, capture.getBackendName()))
        finally:
            capture.release()
    return found


def virtual_cameras() -> list[Device]:
    """What a virtual camera could be written to: v4l2loopback's nodes on Linux, elsewhere the installed back-ends."""
    if sys.platform == "linux":
        nodes = [n for n in video_nodes() if is_loopback(n) or (n.outputs and not n.captures)]
        return [Device(n.path, n.card, i == 0, n.driver) for i, n in enumerate(nodes)]
    import pyvirtualcam.camera

    found: list[Device] = []
    for name in pyvirtualcam.camera.BACKENDS:
        with contextlib.suppress(RuntimeError), pyvirtualcam.Camera(640, 480, 30, backend=name) as probe:
            found.append(Device(probe.device, probe.device, not found, name))
    return found


def devices() -> dict[str, list[str]]:
    """``avatar devices``: for each kind one line a device, beginning with what to write into the configuration; or the
    line that says why they cannot be listed."""
    kinds: dict[str, Callable[[], list[Device]]] = {
        "microphones": microphones,
        "speakers": speakers,
        "cameras": cameras,
        "virtual cameras": virtual_cameras,
    }
    out: dict[str, list[str]] = {}
    for kind, look in kinds.items():
        try:
            out[kind] = [str(device) for device in look()]
        except DeviceError as error:
            out[kind] = [str(error)]
    return out
