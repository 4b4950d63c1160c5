"""A sink that only counts: for measuring, and for a session whose output goes nowhere."""

from __future__ import annotations

from typing import ClassVar

from avatar.core.types import AudioChunk, AvatarFrame
from avatar.streams.base import Sink, StreamFormat


class NullSink(Sink):
    name: ClassVar[str] = "null"

    def __init__(self) -> None:
        self.frames = 0
        self.samples = 0
        self.discontinuities = 0

    async def open(self, form: StreamFormat) -> None:
        self.frames = self.samples = self.discontinuities = 0

    async def video(self, frame: AvatarFrame) -> None:
        self.frames += 1

    async def audio(self, chunk: AudioChunk) -> None:
        self.samples += len(chunk.samples)
        self.discontinuities += chunk.discontinuity

    async def close(self) -> None:
        return
