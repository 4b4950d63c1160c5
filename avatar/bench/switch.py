"""`avatar bench switch`: every engine chosen as from the page's picker, while the avatar speaks.

How long until the new engine's first picture, and whether sound or picture noticed: the longest time without either, as
a sink sees it that takes everything at its present time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from avatar import plugins
from avatar.config import Config
from avatar.core.types import SECOND, AudioChunk, AvatarFrame
from avatar.streams.base import Sink, StreamFormat

if TYPE_CHECKING:
    from avatar.control import Control

SETTLED = 2.0
"""Seconds of speech before the first change, and from the end of each to the next."""

Progress = Callable[[int, int], None]


@dataclass(eq=False)
class Taken(Sink):
    """Notes when sound and pictures come."""

    name: ClassVar[str] = "taken"
    pictures: list[float] = field(default_factory=list)
    """Seconds of :func:`time.monotonic`."""
    sound: list[tuple[float, int, int]] = field(default_factory=list)
    """Seconds, and first and last nanosecond of the chunk on the session's timeline."""

    async def open(self, form: StreamFormat) -> None:
        """Nothing to open."""

    async def video(self, frame: AvatarFrame) -> None:
        self.pictures.append(time.monotonic())

    async def audio(self, chunk: AudioChunk) -> None:
        length = round(len(chunk.samples) * SECOND / chunk.rate)
        self.sound.append((time.monotonic(), chunk.pts, chunk.pts + length))

    async def close(self) -> None:
        """Nothing to close."""

    def between(self, begun: float, ended: float) -> dict[str, float]:
        """Of the time from ``begun`` to ``ended``: the longest wait for a picture; the longest that sound was late by,
        after what had been handed over was played; and sound that is missing from the timeline. All in ms."""
        shown = [t for t in self.pictures if begun <= t <= ended]
        heard = [s for s in self.sound if begun <= s[0] <= ended]
        late = [now - before - (last - first) / SECOND for (before, first, last), (now, _, _) in pairwise(heard)]
        missing = [max(0, first - last) / SECOND for (_, _, last), (_, first, _) in pairwise(heard)]
        return {
            "picture_gap_ms": round(1e3 * max((b - a for a, b in pairwise(shown)), default=ended - begun), 1),
            "sound_late_ms": round(1e3 * max(0.0, max(late, default=ended - begun)), 1),
            "sound_missing_ms": round(1e3 * sum(missing), 1),
        }


def switch(config: Config, names: Sequence[str] = (), progress: Progress = lambda done, of: None) -> dict[str, Any]:
    """``engines.NAME.{seconds,picture_gap_ms,sound_late_ms,sound_missing_ms}``, and ``rest``: the same gaps while
    nothing is changed. ``seconds`` is from the choice to the new engine's first picture.

    :param names: the engines; all that are installed where none is named. Raises UsageError for an unknown one.
    """
    return asyncio.run(_switch(config, list(names or plugins.names("engines")), progress))


async def _switch(config: Config, names: list[str], progress: Progress) -> dict[str, Any]:
    from avatar.assembly import Pipeline
    from avatar.control import Control

    changes = {"input": {"audio": "demo", "video": "none"}, "output": {"sinks": ["null"]}, "server": {"enabled": False}}
    parts = {name: getattr(config, name).model_copy(update=update) for name, update in changes.items()}
    pipeline = Pipeline(config.model_copy(update=parts))
    taken, control = Taken(), Control(pipeline)
    pipeline.attach(taken)
    running = asyncio.create_task(pipeline.run())
    try:
        await asyncio.sleep(SETTLED)
        begun = time.monotonic()
        await asyncio.sleep(SETTLED)
        rest = taken.between(begun, time.monotonic())
        made: dict[str, dict[str, float]] = {}
        # The one that draws already comes last, or nothing would be changed.
        for index, name in enumerate(sorted(names, key=lambda name: name == pipeline.engine.name)):
            progress(index, len(names))
            made[name] = await _to(name, control, taken)
            await asyncio.sleep(SETTLED)
        progress(len(names), len(names))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return {"size": config.avatar.size, "fps": config.avatar.fps, "rest": rest, "engines": made}


async def _to(name: str, control: Control, taken: Taken) -> dict[str, float]:
    begun = time.monotonic()
    await control.update({"engine": name})
    count = len(taken.pictures)
    # The first may have been drawn by the old one.
    while len(taken.pictures) < count + 2:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    seconds = taken.pictures[count + 1] - begun
    await asyncio.sleep(0.5)  # what was late because of it would be late by now
    return {"seconds": round(seconds, 3), **taken.between(begun - 0.5, time.monotonic())}
