"""A live session: sound and camera in, a face in step with the sound out. The diagram is in docs/architecture.md.

Two loops make the rhythm: :meth:`Session._hear` moves the sound along the timeline in even steps, :meth:`Session._draw`
makes a picture for every tick. Everything made for content time ``t`` leaves at ``t + budget``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Protocol, TypeVar

from avatar.core.clock import Clock
from avatar.core.ring import AudioTimeline
from avatar.core.types import (
    MILLISECOND,
    SECOND,
    U8,
    AudioChunk,
    AvatarFrame,
    BlinkCue,
    Cue,
    FaceState,
    GazeCue,
    Ns,
    VideoFrame,
)
from avatar.metrics import Meters
from avatar.pipeline.channel import Channel, Policy
from avatar.pipeline.executors import ThreadLane
from avatar.pipeline.outlet import Outlet, SinkLike
from avatar.pipeline.resample import Resampler
from avatar.pipeline.resync import Resyncs
from avatar.pipeline.runner import cancel_and_wait, supervise
from avatar.pipeline.stage import Stage
from avatar.sync.cadence import Cadence
from avatar.sync.synchronizer import Synchronizer

log = logging.getLogger(__name__)

T = TypeVar("T", covariant=True)


class SourceLike(Protocol, Generic[T]):
    """What the pipeline needs of a source (:class:`avatar.streams.base.Source`)."""

    name: ClassVar[str]

    async def open(self, clock: Clock, /) -> None: ...

    def items(self) -> AsyncIterator[T]: ...

    async def close(self) -> None: ...


class Idle(Protocol):
    """Lids and eyes: cues for a moment, whatever is heard."""

    def __call__(self, pts: Ns, speaking: bool, /) -> Iterable[BlinkCue | GazeCue]: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """The session's constants of time."""

    budget: Ns
    """Everything leaves this much after it happened."""
    intake: Ns
    """How late arriving sound may be."""
    lead: Ns
    """A picture is begun this long before it leaves."""
    fps: int
    rate: int = 48_000
    chunk: Ns = Ns(20 * MILLISECOND)  # noqa: RUF009 - an int
    """Sound moves along the timeline in steps of this."""

    def spare(self, analysis: Ns) -> Ns:
        """What the budget leaves after intake, one chunk, ``analysis`` and the picture's lead; negative = too short."""
        return Ns(self.budget - self.intake - self.chunk - analysis - self.lead)


class Session:
    """Runs until cancelled. Inputs, outputs and the drawing can be changed while it runs."""

    FORGIVE = SECOND // 2
    """A loop that is later than this (the machine slept) starts again from now."""

    def __init__(
        self,
        clock: Clock,
        timing: Timing,
        listen: Stage[AudioChunk, tuple[Cue, ...]],
        idle: Idle,
        synchronizer: Synchronizer,
        draw: Callable[[FaceState], U8],
        make_watch: Callable[[], Stage[VideoFrame, tuple[Cue, ...]]] | None = None,
        suspended: Callable[[], int] = lambda: 0,
        notice: Stage[AudioChunk, AudioChunk] | None = None,
    ) -> None:
        """``make_watch`` makes what tracks a camera, when one is first used; None = cameras are not used. ``suspended``
        tells how long the machine has slept so far while ``clock`` stood still (ns). ``notice`` is mixed into the sound
        that leaves."""
        self.clock = clock
        self.timing = timing
        self.synchronizer = synchronizer
        self.meters = Meters(window=timing.fps * 60)
        self.draw = draw
        """Replaceable at any time; it is called on one thread."""
        self._listen = listen
        self._make_watch = make_watch
        self._watch: Stage[VideoFrame, tuple[Cue, ...]] | None = None
        self._idle = idle
        self._cadence = Cadence(timing.fps)
        self.sound = AudioTimeline(timing.rate)
        self.resyncs = Resyncs(self.meters)
        self._notice = notice
        self._suspended = suspended
        self._slept = suspended()
        self._ticked = clock.now()
        self._broken = True
        waiting = timing.lead * timing.fps // SECOND  # pictures between being drawn and leaving
        self._leaving_frames: Channel[tuple[AvatarFrame, Ns]] = Channel(Policy.LOSSLESS, waiting + 8)
        self._outlets: dict[SinkLike, tuple[Outlet, asyncio.Task[None]]] = {}
        self._audio_task: asyncio.Task[None] | None = None
        self._video_task: asyncio.Task[None] | None = None
        self._engine_lane = ThreadLane("engine")
        self._watch_lane = ThreadLane("tracker")
        self.audio_name = self.video_name = "none"
        self.audio_fault = self.video_fault = ""

    # --- inputs and outputs ------------------------------------------------------------------------------------

    async def use_audio(
        self, source: SourceLike[AudioChunk] | None, then: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Listen to ``source`` from now on. None = silence. When it ends by itself ``then`` is called, which may choose
        the next one."""
        current = asyncio.current_task()
        if self._audio_task is not current:
            await cancel_and_wait(self._audio_task)
        self.sound.cut()
        if self._audio_task is not None and source is not None:
            self.resyncs.expect("switch", self.clock.now())
        self.audio_name, self.audio_fault = (source.name if source else "silence"), ""
        self._audio_task = asyncio.create_task(self._pump_audio(source, then)) if source else None

    async def use_video(self, source: SourceLike[VideoFrame] | None) -> None:
        """Track the face in ``source`` from now on. None = no camera."""
        await cancel_and_wait(self._video_task)
        self.synchronizer.forget("camera")
        if self._watch is not None:
            self._watch.reset()
        self.video_name, self.video_fault = (source.name if source else "none"), ""
        self._video_task = asyncio.create_task(self._pump_video(source)) if source and self._make_watch else None

    def attach(self, sink: SinkLike, open_sink: Callable[[], Awaitable[None]]) -> None:
        """Send everything from now on to ``sink`` as well; ``open_sink`` is awaited before the first item."""
        outlet = Outlet(sink, open_sink, self.clock, self.timing.budget, self.timing.chunk)
        self._outlets[sink] = outlet, asyncio.create_task(outlet.run(), name=f"sink {sink.name}")

    async def detach(self, sink: SinkLike) -> None:
        """Stop sending to ``sink``; what is queued is written and the sink closed before this returns."""
        outlet, task = self._outlets.pop(sink)
        outlet.close()
        await asyncio.wait({task}, timeout=3.0)  # a device that hangs does not keep the session
        await cancel_and_wait(task)

    def outlets(self) -> tuple[Outlet, ...]:
        return tuple(outlet for outlet, _ in self._outlets.values())

    # --- running -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until cancelled or until a part fails for good; then everything is closed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear(), name="hear")
                group.create_task(self._draw(), name="draw")
                group.create_task(self._release_frames(), name="release frames")
                group.create_task(self._guard(), name="guard")
        finally:
            await cancel_and_wait(self._audio_task, self._video_task)
            for sink in tuple(self._outlets):
                await self.detach(sink)
            self._engine_lane.close()
            self._watch_lane.close()

    def draw_every(self, n: int) -> None:
        """Draw one in ``n`` pictures from now on: a machine that cannot keep up with all of them does not stutter."""
        self._cadence = self._cadence.slower(n, self.timing.fps)

    async def on_engine_lane(self, work: Callable[..., object], *args: object) -> None:
        """Do ``work(*args)`` between two pictures, on the thread that draws. Raises what it raises."""
        await self._engine_lane.run(work, *args)

    async def _guard(self) -> None:
        """Raise what ended an input or a sink for good."""
        while True:
            await self.clock.sleep_until(Ns(self.clock.now() + SECOND // 4))
            tasks = [self._audio_task, self._video_task, *(task for _, task in self._outlets.values())]
            for task in tasks:
                if task is not None and task.done() and not task.cancelled() and (error := task.exception()):
                    raise error

    async def _pump_audio(self, source: SourceLike[AudioChunk], then: Callable[[], Awaitable[None]] | None) -> None:
        async def pump() -> None:
            resampler = Resampler(self.timing.rate)
            await source.open(self.clock)
            self.audio_fault = ""
            try:
                async for chunk in source.items():
                    self._take(resampler.step(chunk))
            finally:
                await source.close()

        def fault(line: str) -> None:
            self.audio_fault = line
            self.resyncs.expect("device", self.clock.now())

        await supervise(source.name, pump, self.clock, on_fault=fault)
        if then is not None:
            await then()

    def _take(self, chunk: AudioChunk) -> None:
        """Sound has come."""
        now = self.clock.now()
        self._check_clock(now)
        late = self.sound.late
        self.sound.write(chunk)
        self.resyncs.arrived(now, chunk, self.sound.late - late)
        self.meters.add("sound_late_ms", (now - chunk.end) / MILLISECOND)

    def _check_clock(self, now: Ns) -> None:
        """Start the timeline again from now where the session stood still, its clock leapt, or the machine slept."""
        stood, slept = now - self._ticked, self._suspended()
        asleep, self._slept = slept - self._slept, slept
        if max(stood, asleep) <= self.FORGIVE:
            return
        self._ticked = now
        self.sound.skip(Ns(max(0, now - self.timing.intake)))
        self._broken = True
        self.meters.count("timeline_restarts")
        self.resyncs.begin("suspend" if asleep > self.FORGIVE else "clock", now, Ns(max(stood, asleep)))
        if self._audio_task is None:
            self.resyncs.settle(now)

    async def _pump_video(self, source: SourceLike[VideoFrame]) -> None:
        assert self._make_watch is not None
        if self._watch is None:
            self._watch = await self._watch_lane.run(self._make_watch)
        watch = self._watch
        latest: Channel[VideoFrame] = Channel(Policy.LATEST)

        async def grab() -> None:
            await source.open(self.clock)
            self.video_fault = ""
            try:
                async for frame in source.items():
                    latest.put(frame)
            finally:
                await source.close()

        async def track() -> None:
            async for frame in latest:
                for cue in await self._watch_lane.run(watch.step, frame) or ():
                    self.synchronizer.push(cue, "camera")

        tracking = asyncio.create_task(track())
        try:
            await supervise(source.name, grab, self.clock, on_fault=lambda line: setattr(self, "video_fault", line))
            self.video_name = "none"  # it has ended by itself, as a page's camera does when the page leaves
        finally:
            self.synchronizer.forget("camera")
            latest.close()
            await cancel_and_wait(tracking)

    async def _hear(self) -> None:
        timing, n = self.timing, self.timing.rate * self.timing.chunk // SECOND
        self._ticked = self.clock.now()
        self.sound.skip(Ns(max(0, self._ticked - timing.intake)))
        self._broken = True
        while True:
            await self.clock.sleep_until(Ns(self.sound.position + timing.chunk + timing.intake))
            now = self.clock.now()
            self._check_clock(now)
            self._ticked = now
            if now < self.sound.position + timing.chunk + timing.intake:
                continue  # it was started again
            chunk = self.sound.read(n)
            if self._broken:
                chunk, self._broken = replace(chunk, discontinuity=True), False
            for cue in self._listen.step(chunk) or ():
                self.synchronizer.push(cue, "voice")
            for move in chunk.moves:
                self.synchronizer.push(move, "script")
            leaving = (self._notice.step(chunk) if self._notice is not None else None) or chunk
            for outlet in self.outlets():
                if outlet.sink.hears:
                    outlet.sound.put(leaving)

    async def _draw(self) -> None:
        timing = self.timing
        ahead = timing.budget - timing.lead
        while True:
            if not any(outlet.sink.active for outlet in self.outlets()):
                self._cadence.pause()
                await self.clock.sleep_until(Ns(self.clock.now() + 20 * MILLISECOND))
                continue
            skipped = self._cadence.skipped
            # A tick that is late by less than the lead can still leave in time, or nearly: only later ones are skipped.
            pts = self._cadence.next(Ns(max(0, self.clock.now() - timing.budget)))
            self.meters.count("shed", self._cadence.skipped - skipped)
            await self.clock.sleep_until(Ns(pts + ahead))
            begun = self.clock.now()
            for cue in self._idle(pts, self.synchronizer.speaking(pts)):
                self.synchronizer.push(cue, "idle")
            state = self.synchronizer.sample(pts)
            pixels = await self._engine_lane.run(self.draw, state)
            self.meters.add("engine_ms", (self.clock.now() - begun) / MILLISECOND)
            frame = AvatarFrame(pts, pixels, state)
            self.meters.count("drawn")
            self._leaving_frames.put((frame, begun))
            for outlet in self.outlets():
                if outlet.sink.ahead and outlet.sink.active:
                    outlet.frames.put(frame)

    async def _release_frames(self) -> None:
        async for frame, begun in self._leaving_frames:
            await self.clock.sleep_until(Ns(frame.pts + self.timing.budget))
            now = self.clock.now()
            self.meters.add("latency_ms", (now - begun) / MILLISECOND)
            self.meters.add("late_ms", (now - frame.pts - self.timing.budget) / MILLISECOND)
            self.meters.add("frames", now / SECOND)
            self.meters.count("frames")
            for outlet in self.outlets():
                if outlet.sink.active and not outlet.sink.ahead:
                    outlet.frames.put(frame)
