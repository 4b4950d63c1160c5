"""What the tests of the page have in common: the engine as a process, and a page that is watched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page


class Engine:
    """``avatar run`` as a process of its own, with its files in a folder of its own.

    :param folder: recordings and avatars go there.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self._log = folder / "engine.log"
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "XDG_VIDEOS_DIR": str(folder / "videos"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "avatar.cli", "run", "--set", f"server.port={port}"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if "http://" not in line:
            self.process.kill()
            raise RuntimeError(f"avatar run did not start: {line}{self._log.read_text()}")
        self.url = line[line.index("http://") :].split()[0]
        self.first: str = self.state()["avatar"]

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def call(self, method: str, path: str, body: object = None) -> Any:
        """JSON of the engine's interface."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"} if data else {}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def state(self) -> dict[str, Any]:
        return self.call("GET", "/api/state")

    def terminate(self) -> float:
        """SIGTERM; the seconds until the process has ended."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)
        return time.monotonic() - begun

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Watched:
    """A page and what went wrong or abroad in it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    allowed: tuple[str, ...] = ()
    """Parts of console errors that the test expects."""

    def attach(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._visit(request.url))
        self.page.on("websocket", lambda socket: self._visit(socket.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _visit(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data"):
            self.hosts.add(parts.netloc)

    def unexpected(self) -> list[str]:
        return [text for text in self.errors if not any(part in text for part in self.allowed)]
