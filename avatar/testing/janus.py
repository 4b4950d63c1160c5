"""A real Janus on loopback, with a video room of its own, for tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOM, PIN = 4711, "open sesame"


def installed() -> bool:
    return shutil.which("janus") is not None


class Janus:
    """Starts Debian's ``janus`` with a configuration folder of its own. ``with Janus() as janus: ... janus.url``."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="janus-")
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> Janus:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Returns when the WebSocket answers. Raises TimeoutError where it does not."""
        folder = Path(self._folder.name)
        libraries = next(Path("/usr/lib").glob("*/janus"))
        (folder / "janus.jcfg").write_text(
            f"""general: {{
  configs_folder = "{folder}"
  plugins_folder = "{libraries}/plugins"
  transports_folder = "{libraries}/transports"
  events_folder = "{folder}"
  loggers_folder = "{folder}"
  debug_level = 3
}}
plugins: {{ disable = "{",".join(self._others(libraries / "plugins", "libjanus_videoroom.so"))}" }}
transports: {{ disable = "{",".join(self._others(libraries / "transports", "libjanus_websockets.so"))}" }}
nat: {{ ice_enforce_list = "127.0.0.1,lo"
  ice_ignore_list = "" }}
media: {{ ipv6 = false }}
"""
        )
        (folder / "janus.transport.websockets.jcfg").write_text(
            f'general: {{ ws = true\n ws_port = {self.port}\n ws_ip = "127.0.0.1"\n wss = false }}\n'
        )
        (folder / "janus.plugin.videoroom.jcfg").write_text(
            f'room-{ROOM}: {{ description = "test"\n pin = "{PIN}"\n publishers = 2\n bitrate = 2000000\n'
            ' videocodec = "vp8" }\n'
        )
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(["janus", "-F", str(folder)], stdout=log, stderr=log)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError((folder / "log").read_text(errors="replace")[-2000:])

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @staticmethod
    def _others(folder: Path, but: str) -> list[str]:
        return sorted(file.name for file in folder.glob("*.so") if file.name != but)
