"""A server with a session that flashes and beeps, as a process of its own: python serve_for_test.py."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from rtc_client import Show

from avatar.core.clock import SessionClock
from avatar.errors import PhotoError, UsageError
from avatar.streams.server import Server
from avatar.streams.signaling import PeerHub


class SmallHead:
    """Learns nothing; it remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def calibration(self) -> dict[str, Any]:
        return {"state": "idle", "asked": self.asked}

    async def start_calibration(self, peer: str, seconds: float) -> dict[str, Any]:
        self.asked.append([peer, seconds])
        return self.calibration()

    async def stop_calibration(self, keep: bool) -> dict[str, Any]:
        raise UsageError("no calibration is on")

    async def use_calibration(self, use: bool) -> dict[str, Any]:
        self.asked.append(use)
        return self.calibration()

    async def delete_calibration(self) -> dict[str, Any]:
        raise UsageError("no calibration is called me")


class SmallControl:
    """The least that a page needs; it remembers what it was asked."""

    def __init__(self, hub: PeerHub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.values: dict[str, Any] = {"avatar": "ada", "source": "demo", "camera": False, "head": 1.0, "gaze": 1.0}
        self.said: list[str] = []
        self.photos: list[tuple[bytes, str, str, str]] = []
        self.own_head = SmallHead()
        self.smiles: list[bytes | None] = []

    def state(self) -> dict[str, Any]:
        return {"avatars": [{"name": "ada", "title": "Ada", "builtin": True}], **self.values}

    async def update(self, changes: dict[str, Any]) -> dict[str, Any]:
        peer = changes.pop("peer", None)
        if not 0 <= changes.get("head", 1) <= 1.5:
            raise UsageError("head: a number from 0 to 1.5")
        if changes.get("source") == "page":
            self.hub.choose(peer, audio=True)
        if changes.get("camera") is True and peer is not None:
            self.hub.choose(peer, video=True)
        self.values |= changes
        return self.state()

    async def create_avatar(
        self, photo: bytes, name: str, title: str, consent: str, smile: bytes | None = None
    ) -> dict[str, Any]:
        if not photo.startswith(b"\xff\xd8"):
            raise PhotoError("this is not a picture; choose a JPEG or PNG", code="unreadable")
        self.photos.append((photo, name, title, consent))
        self.smiles.append(smile)
        return {"name": name, "title": title, "builtin": False}

    def thumb(self, name: str) -> bytes:
        if name != "ada":
            raise UsageError(f"there is no avatar {name!r}")
        return b"\xff\xd8thumb"

    async def say(self, text: str, act: object = None, voice: object = None, emotion: object = None) -> None:
        self.said.append(text)

    async def record(self, on: bool) -> dict[str, Any]:
        return {"recording": "a.mp4" if on else None}

    def recordings_dir(self) -> Path:
        return self.folder

    def meters(self) -> dict[str, Any]:
        return {"fps": 30.0, "viewers": self.hub.viewers}


async def main() -> None:
    clock = SessionClock()
    hub = PeerHub(clock)
    server = Server(SmallControl(hub, Path.cwd()), hub)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Show(hub.sink, clock):
        print(await server.start(port=0), flush=True)
        await stop.wait()
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
