"""The contracts of everything that touches a device or a socket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from avatar.core.clock import Clock
from avatar.core.types import AudioChunk, AvatarFrame, Ns

T = TypeVar("T")


class Source(ABC, Generic[T]):
    """Where sound or pictures come from.

    ``open`` fails fast with one clear line (DeviceError, MediaError). ``items`` yields in order of ``pts``, on the
    session's timeline, at the pace of real time; it ends when the source is exhausted and raises DeviceError when a
    device goes away (the runner opens it again). A consumer that is too slow loses the oldest items, counted, and the
    next one carries ``discontinuity``.
    """

    name: ClassVar[str]

    @abstractmethod
    async def open(self, clock: Clock) -> None: ...

    @abstractmethod
    def items(self) -> AsyncIterator[T]: ...

    @abstractmethod
    async def close(self) -> None:
        """Release the device. Safe to call twice, and without ``open``."""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What a session sends."""

    size: int = 512
    """Pictures are size x size."""
    fps: int = 30
    audio_rate: int = 48_000
    """Mono, float32."""


class Sink(ABC):
    """Where a session leaves. Each sink takes what it can use and ignores the rest.

    Items arrive at their present time (``pts`` + the session's budget), sound and picture alike, so a sink without
    time stamps (a virtual camera) only has to pass them on at once. Sound comes ``latency`` before that. A slow sink
    never slows the session: it has queues of its own, bounded and counted (:mod:`avatar.pipeline.outlet`).
    """

    name: ClassVar[str]

    @property
    def active(self) -> bool:
        """Whether anybody takes what is written; while no sink is active nothing is drawn."""
        return True

    @property
    def hears(self) -> bool:
        """Whether it has a use for sound; where not, none is handed over."""
        return True

    @property
    def latency(self) -> Ns:
        """Time from taking sound to its being heard; the session hands it over that much before its present time."""
        return Ns(0)

    @property
    def ahead(self) -> Ns:
        """How long before its present time a picture is handed over, for what takes time to move (servos). As far as
        it is drawn by then: ``sync.lead_ms`` must be longer than this and the drawing together."""
        return Ns(0)

    @abstractmethod
    async def open(self, form: StreamFormat) -> None:
        """Get ready. Raises DeviceError or StorageError with one clear line."""

    async def video(self, frame: AvatarFrame) -> None:  # noqa: B027 - a sink may have no use for pictures
        """Take a picture."""

    async def audio(self, chunk: AudioChunk) -> None:  # noqa: B027 - nor for sound
        """Take sound; chunks are contiguous unless marked."""

    @abstractmethod
    async def close(self) -> None:
        """Finish files, release devices. Safe to call twice, and without ``open``."""
