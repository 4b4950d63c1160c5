"""`avatar run` with ``server.workers``: the front door, the sessions and their workers, put together."""

from __future__ import annotations

import logging
from typing import Any

import cv2

from avatar.config import Config
from avatar.errors import ConfigError
from avatar.parts import library
from avatar.scale.sessions import VOICES, Sessions
from avatar.scale.workers import LocalWorkers, Workers
from avatar.streams.access import Access, check
from avatar.streams.front import Front

log = logging.getLogger(__name__)


class Shelf:
    """The avatars that a session may begin with."""

    def __init__(self) -> None:
        self._library = library()

    def choices(self) -> dict[str, Any]:
        usable = [entry for entry in self._library.entries() if not entry.error]
        return {
            "avatars": [{"name": entry.name, "title": entry.title, "builtin": entry.builtin} for entry in usable],
            "sources": list(VOICES),
        }

    def thumb(self, name: str) -> bytes:
        """A small JPEG. Raises UsageError."""
        pixels = self._library.thumb(name)
        return bytes(cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])


def check_config(config: Config) -> None:
    """Raises ConfigError for what several sessions cannot share."""
    if tuple(config.output.sinks) != ("webrtc",):
        raise ConfigError("output.sinks: with server.workers each session has webrtc alone; devices have no two users")
    if not config.server.enabled:
        raise ConfigError("server.enabled = false: with server.workers sessions begin through the server")
    if config.input.video not in ("page", "none") or config.input.audio not in VOICES:
        raise ConfigError(f"input: with server.workers video is page or none, and audio one of {', '.join(VOICES)}")
    if config.input.program_port or config.input.osc_port:
        raise ConfigError("input.program_port, input.osc_port: one port cannot serve several sessions; set them to 0")
    check(config.server.host, config.server.token)


def workers(config: Config) -> Workers:
    """Where sessions run. Raises ConfigError where Ray is asked for and not installed."""
    if not config.server.cluster:
        return LocalWorkers()
    from avatar.scale.cluster import RayWorkers

    return RayWorkers(config.server.cluster)


class Service:
    """Everything that is served. Raises ConfigError."""

    def __init__(self, config: Config) -> None:
        check_config(config)
        server = config.server
        self.config = config
        self.sessions = Sessions(config, workers(config))
        self.front = Front(self.sessions, Shelf(), Access(server.token, server.origins))

    async def start(self) -> str:
        """Measure and listen; returns the address. Raises AvatarError."""
        await self.sessions.start()
        host = self.config.server.host
        port = await self.front.start(host, self.config.server.port)
        return f"http://{host}:{port}"

    async def stop(self, patience: float) -> None:
        """Take nobody any more, let whoever is connected go on for up to ``patience`` seconds, end in order."""
        await self.sessions.close(patience)
        await self.front.stop()

    def __str__(self) -> str:
        admission = self.sessions.admission
        tiers = "; ".join(f"{each['tier']}, {each['cores']:.2f} cores a session" for each in self.sessions.costs)
        return f"{tiers}; {admission.cores:g} cores: up to {admission.limit} sessions"
