"""The doctor's checks: on this machine, and on made-up ones."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from avatar import doctor
from avatar.doctor import Check, checks
from avatar.errors import DeviceError
from avatar.streams import devices


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_every_check_says_something_here_without_a_traceback(tmp_path: Path) -> None:
    found = checks(models=lambda: [("a.onnx", "ok")], recordings=tmp_path / "not" / "made")
    names = by_name(found)
    assert {"Python", "CPU", "ONNX Runtime", "model files", "port", "UDP", "disk", "camera", "virtual camera"} <= set(
        names
    )
    assert all(check.detail for check in found)
    assert all(check.fix for check in found if check.status != "ok")
    assert not [check for check in found if "check itself failed" in check.detail]
    assert names["Python"].status == names["UDP"].status == names["ONNX Runtime"].status == "ok"
    assert all("\n" not in check.detail + check.fix for check in found)


def test_device_lists_work_on_any_machine() -> None:
    found = devices.devices()
    assert set(found) == {"microphones", "speakers", "cameras", "virtual cameras"}
    assert all(isinstance(line, str) for lines in found.values() for line in lines)


def test_a_gpu_that_is_listed_but_not_loaded_is_said_loudly() -> None:
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    check = doctor.provider_check("1.20", listed, ["CPUExecutionProvider"])
    assert check.status == "warn"
    assert "CUDA IS LISTED BUT DID NOT LOAD; running on CPU" in check.detail
    assert "cuDNN" in check.fix
    assert doctor.provider_check("1.20", listed, listed).detail == "1.20 on CUDA"


def test_the_hand_made_model_computes() -> None:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(doctor._identity_model(), providers=["CPUExecutionProvider"])
    x = np.array([4.25], np.float32)
    assert session.run(None, {"x": x})[0] == x


def test_missing_and_wrong_model_files_are_named() -> None:
    states = [("good.onnx", "ok"), ("gone.task", "missing"), ("bad.task", "wrong")]
    found = list(doctor.model_files(lambda: states))
    assert [(c.status, c.detail) for c in found] == [("fail", "gone.task: missing"), ("fail", "bad.task: wrong")]
    assert all(c.fix == "avatar models fetch" for c in found)


def test_port_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = doctor.free_port(port)
    assert taken.status == "warn"
    assert f"server.port={port + 1}" in taken.fix
    assert doctor.free_port(port).status == "ok"


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=2**20))
    assert doctor.disk(tmp_path / "new").status == "warn"


def test_portaudio_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise DeviceError("PortAudio is missing, without it there is no sound device; install it: apt install it")

    monkeypatch.setattr(devices, "portaudio", missing)
    (check,) = doctor.sound_devices()
    assert (check.status, check.fix) == ("warn", "apt install it")
    assert devices.devices()["microphones"] == [
        "PortAudio is missing, without it there is no sound device; install it: apt install it"
    ]


def test_portaudio_that_cannot_be_loaded_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def refuse(name, *rest):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real(name, *rest)

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DeviceError, match="apt install libportaudio2"):
        devices.portaudio()


def test_a_broken_driver_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Check:
        raise RuntimeError("driver says no")

    monkeypatch.setattr(doctor, "camera", broken)
    names = by_name(checks(models=lambda: []))
    assert names["camera"].status == "fail"
    assert "driver says no" in names["camera"].detail
    assert names["UDP"].status == "ok"


# --- virtual camera on Linux ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "on"), [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False)])
def test_secure_boot_is_read_from_the_firmware(tmp_path: Path, value: bytes, on: bool) -> None:
    variables = tmp_path / "efivars"
    variables.mkdir()
    (variables / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c").write_bytes(value)
    assert doctor.secure_boot(variables) is on


def test_secure_boot_without_firmware_variables(tmp_path: Path) -> None:
    (tmp_path / "efivars").mkdir()
    assert doctor.secure_boot(tmp_path / "efivars") is None
    assert doctor.secure_boot(tmp_path / "no-efi" / "efivars") in (False, None)


def test_module_loaded(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.write_text("videodev 1 0 - Live\nv4l2loopback_x 1 0\n")
    assert not doctor.module_loaded(modules)
    modules.write_text("videodev 1 0 - Live\nv4l2loopback 49152 0 - Live 0x0 (OE)\n")
    assert doctor.module_loaded(modules)
    assert not doctor.module_loaded(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("secure", "loaded", "says"),
    [
        (True, False, "Secure Boot is on: sign the module"),
        (False, False, "modprobe v4l2loopback"),
        (None, True, "modprobe -r v4l2loopback"),
    ],
)
def test_virtual_camera_advice(monkeypatch: pytest.MonkeyPatch, secure: bool | None, loaded: bool, says: str) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(devices, "virtual_cameras", list)
    monkeypatch.setattr(doctor, "module_loaded", lambda: loaded)
    monkeypatch.setattr(doctor, "secure_boot", lambda: secure)
    check = doctor.virtual_camera()
    assert check.status == "warn"
    assert says in check.fix


def capability(driver: bytes, card: bytes, capabilities: int, device: int) -> bytes:
    return struct.pack("16s32s32sIII12x", driver, card, b"bus", 0x060100, capabilities, device)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (capability(b"uvcvideo", b"Webcam", 0x84A00001, 0x04200001), ("camera", "Webcam")),
        (capability(b"uvcvideo", b"Webcam", 0x84A00001, 0x04A00000), ("none", "")),  # its second node: metadata
        (capability(b"v4l2 loopback", b"Avatar", 0x85200003, 0x05200003), ("virtual", "Avatar")),
        (capability(b"v4l2 loopback", b"Avatar", 0x85200001, 0x05200001), ("virtual", "Avatar")),  # while it is written
    ],
)
def test_video_nodes_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes, expected: tuple[str, str]
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="Linux only")
    node = tmp_path / "video0"
    node.write_bytes(b"")
    asked: list[int] = []

    def ioctl(_: int, request: int, __: bytes) -> bytes:
        asked.append(request)
        return answer

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    look: Callable[[], list[devices.VideoNode]] = lambda: [devices._query(node)]  # noqa: E731
    monkeypatch.setattr(devices, "video_nodes", look)
    monkeypatch.setattr("sys.platform", "linux")
    kinds = {"camera": devices.cameras(), "virtual": devices.virtual_cameras()}
    assert asked[0] == 0x80685600  # VIDIOC_QUERYCAP of linux/videodev2.h
    for kind, found in kinds.items():
        assert [d.name for d in found] == ([expected[1]] if kind == expected[0] else [])
