"""Real sound devices without hardware: a private PulseAudio with null sinks, for tests and measurements on Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from avatar.errors import DeviceError
from avatar.streams import devices

FAKETIME = sorted(str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
MISSING = "PulseAudio is not installed: apt install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"


def available() -> bool:
    """The programs are there, and PortAudio, through which the engine talks to them."""
    if sys.platform != "linux" or not (shutil.which("pulseaudio") and shutil.which("pactl")):
        return False
    try:
        devices.portaudio()
    except DeviceError:
        return False
    return True


class PulseDaemon:
    """A sound server of its own, for as long as the ``with`` block lasts; this process talks to it and to no other.

    It has two null sinks. What is played into ``pulse:speech`` is heard by the microphone ``pulse:microphone``; what is
    played into ``pulse:heard`` can be recorded from ``pulse:heard.monitor``.
    """

    MICROPHONE = "pulse:microphone"
    SPEECH = "pulse:speech"
    OUTPUT = "pulse:heard"
    MONITOR = "pulse:heard.monitor"

    _VARIABLES = ("PULSE_SERVER", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH", "PULSE_COOKIE")

    def __init__(self, ppm: float = 0.0) -> None:
        """
        :param ppm: how much too fast the server's clock runs, and with it what all its devices take and give in a
            second of everybody else's time: a quartz that is off. (A null sink of another rate is none: the server
            resamples to it.) Needs Debian's libfaketime; the server alone is put under it.
        :raises DeviceError: PulseAudio or that is missing; the text has the command that installs it.
        """
        self._ppm = ppm
        if not available():
            raise DeviceError(MISSING)
        if ppm and not FAKETIME:
            raise DeviceError("libfaketime is not installed: apt install libfaketime")
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> PulseDaemon:
        self._folder = tempfile.TemporaryDirectory(prefix="pulse-")
        folder = Path(self._folder.name)
        self._before = {name: os.environ.get(name) for name in self._VARIABLES}
        os.environ.update(
            {
                "PULSE_SERVER": f"unix:{folder / 'native'}",
                "PULSE_RUNTIME_PATH": str(folder),
                "PULSE_STATE_PATH": str(folder),
                "PULSE_COOKIE": str(folder / "cookie"),
            }
        )
        self.start()
        return self

    def start(self) -> None:
        """Start the server (again)."""
        folder = Path(self._folder.name)
        # The daemon itself must not take PULSE_SERVER for a server that runs already.
        environment = {**os.environ, "HOME": str(folder)}
        del environment["PULSE_SERVER"]
        if self._ppm:
            environment |= {"LD_PRELOAD": FAKETIME[0], "FAKETIME": f"+0 x{1 + self._ppm * 1e-6:.9f}"}
        form = "rate=48000 channels=1 format=float32le"
        modules = (
            f"module-native-protocol-unix socket={folder / 'native'} auth-anonymous=1",
            f"module-null-sink sink_name=speech {form}",
            f"module-null-sink sink_name=heard {form}",
            "module-remap-source master=speech.monitor source_name=microphone",
        )
        self._daemon = subprocess.Popen(
            [
                *(
                    "pulseaudio",
                    "-n",
                    "--daemonize=no",
                    "--use-pid-file=no",
                    "--exit-idle-time=-1",
                    "--log-level=error",
                ),
                *("--realtime=yes", "--high-priority=yes"),  # as far as it is allowed; a busy machine needs it
                *(word for module in modules for word in ("-L", module)),
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await_server()

    def _await_server(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            asked = subprocess.run(["pactl", "list", "short", "sources"], capture_output=True, text=True, check=False)
            if "microphone" in asked.stdout:
                return
            if self._daemon.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise RuntimeError("PulseAudio did not start")

    def stop(self) -> None:
        """End the server, as a crash would; leaving the ``with`` block does it too."""
        self._daemon.terminate()
        try:
            self._daemon.wait(5)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._folder.cleanup()
