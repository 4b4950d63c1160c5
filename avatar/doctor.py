"""``avatar doctor``: what works on this machine, what does not, and the fix. Checks are data; nothing is changed."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from avatar.errors import AvatarError, ModelFileError

if TYPE_CHECKING:
    from avatar.config import Config

Status = Literal["ok", "warn", "fail"]
Models = Callable[[], Iterable[tuple[str, str]]]

PYTHONS = ((3, 11), (3, 14))
SPACE = 2 * 2**30
"""Bytes for recordings below which a warning is due: about an hour and a half at 512x512."""


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one look."""

    name: str
    status: Status
    """``fail`` = the engine cannot run; ``warn`` = a part of it cannot."""
    detail: str
    fix: str = ""
    """What to do; empty where there is nothing to do."""


def checks(
    models: Models | None = None, port: int = 8080, recordings: Path | None = None, config: Config | None = None
) -> list[Check]:
    """Look at everything.

    :param models: gives ``(file, state)`` of every model file, state "ok" being the good one; default: the registry's.
    :param port: where the page will be served.
    :param recordings: the folder of recordings; default: the user's videos. :param config: says which store.
    """
    looks: list[tuple[str, Callable[[], Check | Iterable[Check]]]] = [
        ("Python", python),
        ("CPU", cpu),
        ("ONNX Runtime", onnx_runtime),
        ("H.264", h264),
        ("model files", lambda: model_files(models)),
        ("engine", engine),
        ("store", lambda: store(config)),
        ("own head", lambda: own_head(config)),
        ("espeak-ng", espeak),
        ("PortAudio", sound_devices),
        ("camera", camera),
        ("virtual camera", virtual_camera),
        ("virtual microphone", virtual_microphone),
        ("port", lambda: free_port(port)),
        ("UDP", udp),
        ("disk", lambda: disk(recordings)),
    ]
    found: list[Check] = []
    for name, look in looks:
        try:
            outcome = look()
        except AvatarError as error:
            outcome = Check(name, "warn", str(error))
        except Exception as error:  # one broken driver must not hide what the other checks say
            outcome = Check(name, "fail", f"the check itself failed: {type(error).__name__}: {error}", "report this")
        found.extend([outcome] if isinstance(outcome, Check) else outcome)
    return found


# --- the machine ----------------------------------------------------------------------------------------------------


def python() -> Check:
    version = platform.python_version()
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        return Check("Python", "ok", f"{version}, {platform.system()} {platform.machine()}")
    return Check("Python", "fail", f"{version} is not supported", "install Python 3.11, 3.12 or 3.13")


def cpu() -> Check:
    cores = usable_cores()
    if cores >= 2:
        return Check("CPU", "ok", f"{cores:g} cores")
    return Check("CPU", "warn", f"{cores:g} core; live use wants two", "lower avatar.size or avatar.fps")


def usable_cores() -> float:
    """Cores that this process may use: its affinity, and the quota of its control group (a container)."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, float(quota) / float(period))  # "max" is no number: no quota
    return cores


def onnx_runtime() -> Check:
    """Which provider a session really gets: a GPU that is listed may still fail to load, silently."""
    name = "ONNX Runtime"
    try:
        import onnxruntime
    except ImportError as error:
        return Check(name, "fail", f"cannot be loaded: {error}", "pip install --force-reinstall onnxruntime")
    listed = [p for p in onnxruntime.get_available_providers() if p not in ("AzureExecutionProvider",)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    loaded = onnxruntime.InferenceSession(_identity_model(), options, providers=listed).get_providers()
    return provider_check(onnxruntime.__version__, listed, loaded)


def provider_check(version: str, listed: list[str], loaded: list[str]) -> Check:
    """Compare what ONNX Runtime lists with what a session loaded."""
    short = {p: p.removesuffix("ExecutionProvider") for p in (*listed, *loaded)}
    lost = [short[p] for p in listed if p not in loaded]
    if lost:
        return Check(
            "ONNX Runtime",
            "warn",
            f"{version}: {', '.join(lost)} IS LISTED BUT DID NOT LOAD; running on {short[loaded[0]]}",
            "install the driver and the CUDA and cuDNN versions that this onnxruntime-gpu asks for"
            if "CUDA" in lost
            else f"install what {lost[0]} needs, or use plain onnxruntime",
        )
    return Check("ONNX Runtime", "ok", f"{version} on {short[loaded[0]]}")


def engine() -> Check:
    """Which quality and engine ``auto`` are here, and how long a picture takes."""
    from avatar.config import Config
    from avatar.parts import choose_engine, find_avatar

    asked = Config().avatar.model_copy(update={"engine": "auto"})
    try:
        made = choose_engine(asked, find_avatar(asked.name), live=True)
    except ModelFileError as error:
        return Check("engine", "fail", str(error), "install the package again")
    detail = f"auto is {made} of {asked.size}x{asked.size} at {asked.fps} a second"
    return Check("engine", "ok" if made.enough else "warn", detail, "" if made.enough else "lower avatar.size")


def _identity_model() -> bytes:
    """The smallest ONNX model, y = x, put together by the rules of protocol buffers (onnx.proto names the fields)."""

    def field(number: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return bytes([number << 3, value])
        return bytes([number << 3 | 2, len(value)]) + value

    def tensor(name: bytes) -> bytes:  # ValueInfoProto: float32 of shape (1,)
        shape = field(1, field(1, 1))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))

    node = field(1, b"x") + field(2, b"y") + field(4, b"Identity")
    graph = field(1, node) + field(2, b"g") + field(11, tensor(b"x")) + field(12, tensor(b"y"))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def h264() -> Check:
    import av
    import av.error

    try:
        av.CodecContext.create("libx264", "w")
    except (av.error.FFmpegError, ValueError) as error:
        return Check("H.264", "warn", f"no encoder ({error}): no recordings", "pip install --force-reinstall av")
    return Check("H.264", "ok", f"PyAV {av.__version__}")


def espeak() -> Check:
    try:
        import ctypes

        import espeakng_loader

        ctypes.CDLL(espeakng_loader.get_library_path())
        voices = Path(espeakng_loader.get_data_path())
    except (ImportError, OSError) as error:
        fix = "pip install --force-reinstall espeakng-loader"
        return Check("espeak-ng", "warn", f"cannot be loaded ({error}): no speech from text", fix)
    if not voices.is_dir():
        return Check(
            "espeak-ng", "warn", f"its voices are missing in {voices}", "pip install --force-reinstall espeakng-loader"
        )
    return Check("espeak-ng", "ok", "speech from text")


def model_files(models: Models | None = None) -> Iterator[Check]:
    if models is None:
        from avatar.models import registry

        models = registry.verify
    states = list(models())
    bad = [(name, state) for name, state in states if state != "ok"]
    if not bad:
        yield Check("model files", "ok", f"{len(states)} files")
    for name, state in bad:
        yield Check("model files", "fail", f"{name}: {state}", "avatar models fetch")


def store(config: Config | None = None) -> Check:
    """Which store it is, and whether it answers."""
    from avatar.parts import store_of

    try:
        return Check("store", "ok", store_of(config).about())
    except AvatarError as error:
        line, _, fix = str(error).partition("; ")
        return Check("store", "warn", f"{line}: only the shipped avatars are there", fix)


def own_head(config: Config | None = None) -> Check:
    from avatar.calibrate import check_ready
    from avatar.calibrations import Calibrations, find
    from avatar.parts import store_of

    used, fault = find(Calibrations(store_of(config)), "auto")
    if fault:
        return Check("own head", "warn", fault.partition(";")[0], "avatar calibrate, or: avatar calibrate --delete")
    if used is not None:
        return Check("own head", "ok", f"{used.name} is used, learnt {used.made}")
    try:
        check_ready()
    except AvatarError as error:
        line, _, fix = str(error).partition("; run: ")
        return Check("own head", "warn", line, fix)
    return Check("own head", "ok", "can be learnt: avatar calibrate")


# --- devices --------------------------------------------------------------------------------------------------------


def sound_devices() -> Iterator[Check]:
    from avatar.errors import DeviceError
    from avatar.streams import devices

    try:
        sd = devices.portaudio()
    except DeviceError as error:
        problem, _, fix = str(error).partition("; install it: ")
        yield Check("PortAudio", "warn", problem, fix)
        return
    yield Check("PortAudio", "ok", sd.get_portaudio_version()[1].split(",")[0])
    for name, found in (("microphone", devices.microphones()), ("speaker", devices.speakers())):
        if found:
            chosen = next((d for d in found if d.default), found[0])
            yield Check(name, "ok", f"{len(found)} found, default: {chosen.name}")
        else:
            fix = "plug one in; on Linux check that PulseAudio or PipeWire runs: pactl info"
            yield Check(name, "warn", f"no {name} found", fix)


def camera() -> Check:
    from avatar.streams import devices

    found = devices.cameras()
    if found:
        return Check("camera", "ok", ", ".join(f"{d.name} ({d.id})" for d in found))
    hidden = [p for p in Path("/dev").glob("video*") if not os.access(p, os.R_OK | os.W_OK)]
    if hidden:
        fix = "sudo usermod -aG video $USER, then log in again"
        return Check("camera", "warn", f"{hidden[0]} may not be opened by this user", fix)
    return Check("camera", "warn", "no camera found", "plug one in, or use the page: the browser brings its own")


def virtual_camera() -> Check:
    from avatar.streams import devices

    name = "virtual camera"
    found = devices.virtual_cameras()
    if found:
        return Check(name, "ok", ", ".join(f"{d.name} ({d.id})" for d in found))
    if sys.platform != "linux":
        from avatar.streams.sinks.virtual_camera import advice

        return Check(name, "warn", "none found", advice())
    if module_loaded():
        fix = "sudo modprobe -r v4l2loopback; sudo modprobe v4l2loopback exclusive_caps=1 card_label=Avatar"
        return Check(name, "warn", "v4l2loopback is loaded but has no device that this user may open", fix)
    secure = secure_boot()
    fix = "sudo apt install v4l2loopback-dkms && sudo modprobe v4l2loopback exclusive_caps=1 card_label=Avatar"
    if secure:
        fix += "; Secure Boot is on: sign the module (enrol the key that dkms made: sudo mokutil --import"
        fix += " /var/lib/dkms/mok.pub, reboot), or switch Secure Boot off"
    state = {True: "on", False: "off", None: "unknown"}[secure]
    return Check(name, "warn", f"the kernel module v4l2loopback is not loaded (Secure Boot: {state})", fix)


def module_loaded(modules: Path = Path("/proc/modules")) -> bool:
    """Whether the kernel has v4l2loopback."""
    try:
        return any(line.startswith("v4l2loopback ") for line in modules.read_text().splitlines())
    except OSError:
        return False


def secure_boot(variables: Path = Path("/sys/firmware/efi/efivars")) -> bool | None:
    """Whether Secure Boot is on, by the firmware's variable (UEFI specification 3.3); None = cannot be known."""
    if not variables.is_dir():
        return False if sys.platform == "linux" and not variables.parent.is_dir() else None  # started without UEFI
    for variable in variables.glob("SecureBoot-*"):
        with contextlib.suppress(OSError):
            return variable.read_bytes()[-1:] == b"\1"  # four bytes of attributes, then the value
    return None


def virtual_microphone() -> Check:
    from avatar.streams import devices
    from avatar.streams.sinks.virtual_microphone import CABLES

    name = "virtual microphone"
    if sys.platform == "linux":
        if devices.pactl("info") is not None:
            return Check(name, "ok", "a null sink is made when it is needed")
        fix = "start PulseAudio or PipeWire, and: sudo apt install pulseaudio-utils"
        return Check(name, "warn", "no sound server answers pactl", fix)
    cables = [d.name for d in devices.speakers() if any(c.lower() in d.name.lower() for c in CABLES)]
    if cables:
        return Check(name, "ok", cables[0])
    fix = "brew install blackhole-2ch" if sys.platform == "darwin" else "install VB-Cable from vb-audio.com/Cable"
    return Check(name, "warn", "no virtual cable found", fix)


# --- network and disk -----------------------------------------------------------------------------------------------


def free_port(port: int) -> Check:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":  # where it would allow a second listener instead
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            fix = f"stop the program that uses it, or: avatar run --set server.port={port + 1}"
            return Check("port", "warn", f"{port} cannot be used ({error.strerror})", fix)
    return Check("port", "ok", f"{port} is free")


def udp() -> Check:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        here.settimeout(1.0)
        try:
            here.bind(("127.0.0.1", 0))
            there.sendto(b"avatar", here.getsockname())
            arrived = here.recvfrom(16)[0] == b"avatar"
        except OSError as error:
            reason = error.strerror or str(error)
            fix = "allow UDP for Python in the firewall: WebRTC needs it"
            return Check("UDP", "fail", f"a packet to this machine itself does not arrive ({reason})", fix)
    return Check("UDP", "ok" if arrived else "fail", "packets arrive on this machine")


def disk(recordings: Path | None = None) -> Check:
    if recordings is None:
        from platformdirs import user_videos_path

        recordings = user_videos_path() / "vultus"
    folder = next(p for p in (recordings.absolute(), *recordings.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return Check("disk", "warn", f"{folder} is not writable", "choose another place: --set output.record_to=FILE")
    detail = f"{free / 2**30:.1f} GB free for recordings in {recordings}"
    return Check("disk", "ok", detail) if free >= SPACE else Check("disk", "warn", detail, "make room")
