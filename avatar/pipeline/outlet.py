"""A sink with queues of its own, so that a slow one slows nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import ClassVar, Protocol

from avatar.core.clock import Clock
from avatar.core.types import MILLISECOND, SECOND, AudioChunk, AvatarFrame, Ns
from avatar.errors import StorageError
from avatar.pipeline.channel import Channel, Policy
from avatar.pipeline.runner import supervise

log = logging.getLogger(__name__)

AUDIO_BACKLOG = SECOND
"""A sink that is this much behind loses the oldest sound."""
EARLY = 64
"""Pictures that may wait for a sink that gets them before their time: a second at 60 of them."""
LATE, LATE_FOR = 5 * MILLISECOND, 3 * SECOND
"""Sound that comes to the sink this much too late, without a pause for so long, is no accident: somebody is told."""


class SinkLike(Protocol):
    """What the pipeline needs of a sink (:class:`avatar.streams.base.Sink`)."""

    name: ClassVar[str]

    @property
    def active(self) -> bool: ...

    @property
    def hears(self) -> bool: ...

    @property
    def latency(self) -> Ns: ...

    @property
    def ahead(self) -> Ns: ...

    async def video(self, frame: AvatarFrame, /) -> None: ...

    async def audio(self, chunk: AudioChunk, /) -> None: ...

    async def close(self) -> None: ...


class Outlet:
    """Feeds one sink from two bounded channels.

    Pictures are put in at their present time. Sound is put in as soon as it is there and waits here for its own: a sink
    that needs time before it is heard (``latency``) gets it that much earlier. So it is with pictures for a sink that
    wants them before their time (``ahead``).

    :param open_sink: opens (and after a device fault reopens) the sink.
    :param budget: what is between an item's ``pts`` and its present time.
    :param chunk: the length of the pieces of sound.
    """

    def __init__(
        self,
        sink: SinkLike,
        open_sink: Callable[[], Awaitable[None]],
        clock: Clock,
        budget: Ns,
        chunk: Ns = Ns(20 * MILLISECOND),  # noqa: B008 - an int
    ) -> None:
        self.sink = sink
        self.frames: Channel[AvatarFrame] = Channel(Policy.LOSSLESS, EARLY) if sink.ahead else Channel(Policy.LATEST)
        self.sound: Channel[AudioChunk] = Channel(Policy.LOSSLESS, (AUDIO_BACKLOG + budget) // chunk)
        self.fault: str = ""
        self._open = open_sink
        self._clock = clock
        self._budget = budget
        self._late_note = ""

    async def run(self) -> None:
        """Until cancelled or the channels are closed. A full disk ends this sink with a logged line, nothing else."""
        try:
            await supervise(self.sink.name, self._session, self._clock, on_fault=self._note)
        except StorageError as error:
            self._note(str(error))
            log.error("%s: %s", self.sink.name, error)
            self.frames.close()
            self.sound.close()
        finally:
            await self.sink.close()

    def _note(self, line: str) -> None:
        self.fault = line

    async def _session(self) -> None:
        await self._open()
        self.fault = ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward_frames())
                group.create_task(self._forward_sound())
        except BaseExceptionGroup as errors:
            await self.sink.close()
            raise errors.exceptions[0] from None

    async def _forward_frames(self) -> None:
        async for frame in self.frames:
            if self.sink.ahead:
                await self._clock.sleep_until(Ns(frame.pts + self._budget - self.sink.ahead))
            await self.sink.video(frame)

    async def _forward_sound(self) -> None:
        since, least = None, Ns(0)
        async for chunk in self.sound:
            due = Ns(chunk.pts + self._budget - self.sink.latency)
            late = Ns(self._clock.now() - due)
            if late <= LATE:
                since = None
            elif since is None:
                since, least = chunk.pts, late
            else:
                least = min(least, late)
            self._tell_late(least if since is not None and chunk.pts - since >= LATE_FOR else None)
            await self._clock.sleep_until(due)
            await self.sink.audio(chunk)

    def _tell_late(self, late: Ns | None) -> None:
        """Sound is ``late`` by that much all the time, because the sink's ``latency`` does not fit into the budget."""
        if late is None:
            if self._late_note and self.fault == self._late_note:
                self.fault = ""
            self._late_note = ""
        elif not self._late_note:
            least = (self._budget + late) // MILLISECOND + 1
            self._late_note = (
                f"{self.sink.name}: its sound is heard {late // MILLISECOND} ms after its picture, because the device "
                f"needs {self.sink.latency // MILLISECOND} ms; set sync.budget_ms to {least} or more"
            )
            self._note(self._late_note)
            log.warning("%s", self._late_note)

    def close(self) -> None:
        """Let the queues run dry and the sink end."""
        self.frames.close()
        self.sound.close()
