"""A session in a process of its own: the live engine behind a door that only the front door knows.

``python -m avatar.scale.worker`` takes JSON lines on standard input and answers on standard output:

====================================  =================================================================================
``{"do": "measure", "config": …}``    -> ``{"is": "cost", "costs": […]}``: what a session takes in each way to draw
                                      (:mod:`avatar.scale.cost`)
``{"do": "begin", "config": …,        -> ``{"is": "live", "address", …}``, and from then on four times a second
"phase": …}``                         ``{"is": "beat", …}``; pictures are drawn in that part of every interval
``{"do": "draw", "quality": …}``      -> ``{"is": "drawn"}``: the pictures are of this quality from now on
``{"do": "end"}``                     the connections are closed in order, the process ends
====================================  =================================================================================

Wrong input or a fault is ``{"is": "fault", "line", "code"}``. When standard input ends, whoever started it has gone, in
whatever way, and so does the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from avatar.config import Config
from avatar.core.clock import SessionClock
from avatar.core.types import SECOND
from avatar.ending import on_signal
from avatar.engines import choice
from avatar.errors import AvatarError
from avatar.metrics import percentiles
from avatar.pipeline.executors import giving_way
from avatar.scale.shedding import LADDER, Shedder

Json = dict[str, Any]

BEAT_S = 0.25
END_S = 3.0
"""Seconds that closing the connections may take."""
_LOOKS = 5
"""At lateness, two a second, each at the last second: a late picture now and then, which nobody sees, is in some but
not in all of them."""


class SessionWorker:
    """The live engine of one session, and what it gives up when this machine cannot keep up.

    The same object serves in a process of this machine (:func:`main`) and in a Ray actor (:mod:`avatar.scale.cluster`).
    """

    def __init__(self, config: Config, phase: float = 0.0) -> None:
        """Takes some seconds. Raises AvatarError.

        :param phase: where between two ticks of the machine's clock, 0 to 1, its pictures are begun.
        """
        from avatar.assembly import Pipeline

        self._pipeline = Pipeline(config, SessionClock.in_step(SECOND // config.avatar.fps, phase))
        self._quality = self._pipeline.choice.tier.quality
        self._shedder = Shedder(1e3 / config.avatar.fps, self._top)
        self._level = 0
        self._counted = (0, 0)
        self._run: asyncio.Task[None] | None = None
        self._shedding: asyncio.Task[None] | None = None

    @property
    def _top(self) -> int:
        """The last level of what can be given up: drawn at the lowest quality already, there is one less."""
        return len(LADDER) - 1 - (self._quality == "low")

    async def begin(self) -> Json:
        """Serve; returns where. Raises AvatarError."""
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._run = asyncio.create_task(self._pipeline.run(ready.set_result))
        either: set[asyncio.Future[Any]] = {self._run, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await self._run
        self._shedding = asyncio.create_task(self._shed())
        return {"address": ready.result(), "pid": os.getpid(), "tier": str(self._pipeline.choice)}

    async def ended(self) -> None:
        """Returns or raises when the session has ended by itself."""
        assert self._run is not None
        await asyncio.wait({self._run})
        self.check()

    def check(self) -> None:
        """Raises the AvatarError that has ended the session, where one has."""
        assert self._run is not None
        if not self._run.done():
            return
        try:
            self._run.result()
        except BaseExceptionGroup as group:
            raise _first(group) from group

    def beat(self) -> Json:
        """What the front door wants to know, four times a second."""
        pipeline = self._pipeline
        hub, meters = pipeline.hub, pipeline.session.meters
        assert hub is not None
        return {
            "peers": hub.peers,
            "viewers": hub.viewers,
            "level": self._level,
            "quality": pipeline.choice.tier.quality,
            "late_ms": percentiles(self._recent("late_ms"), (95,))["p95"],
            "fps": round(meters.rate("frames"), 2),
            "shed": meters.counters["shed"],
            "cpu_cores": meters.cpu_cores(),
            "rss_mb": round(pipeline.control.meters()["rss_mb"], 1),
        }

    async def end(self) -> None:
        """Close every connection in order, then everything else. Safe to call twice."""
        tasks = [task for task in (self._shedding, self._run) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)

    def _recent(self, name: str) -> tuple[float, ...]:
        """Of the last second: what was before a change of the rate says nothing about what comes after it."""
        fps = self._pipeline.config.avatar.fps // self._every
        return self._pipeline.session.meters.series(name)[-max(1, fps) :]

    @property
    def _every(self) -> int:
        """One in so many pictures is drawn."""
        return 2 if self._level >= 1 else 1

    async def _shed(self) -> None:
        loop = asyncio.get_running_loop()
        there, looks = 0, deque([(0.0, 0.0)] * _LOOKS, _LOOKS)
        while True:
            await asyncio.sleep(0.5)
            meters = self._pipeline.session.meters
            before, there = there, self._peers
            if there > before:
                self._shedder.excuse(loop.time())
            drawn, skipped = meters.counters["drawn"], meters.counters["shed"]
            counted, self._counted = self._counted, (drawn, skipped)
            drawn, skipped = drawn - counted[0], skipped - counted[1]
            if not drawn + skipped:
                continue  # nobody watches
            found = percentiles(self._recent("late_ms"), (95,))["p95"], skipped / (drawn + skipped)
            # The best of some looks counts: a hiccup is over sooner than what is given up for it comes back.
            # What is excused now is not held against it later either.
            looks.append((0.0, 0.0) if self._shedder.excused(loop.time()) else found)
            late, share = min(late for late, _ in looks), min(share for _, share in list(looks)[-2:])
            await self.give_up(self._shedder.step(loop.time(), late, share))

    @property
    def _peers(self) -> int:
        hub = self._pipeline.hub
        return hub.peers if hub is not None else 0

    async def give_up(self, level: int) -> None:
        """Apply a level of :data:`avatar.scale.shedding.LADDER`."""
        pipeline, before = self._pipeline, self._level
        if level == before:
            return
        self._level = level
        pipeline.session.draw_every(self._every)
        self._shedder.every = self._every
        assert pipeline.hub is not None
        pipeline.hub.sink.shrink = 2 if level >= 2 else 1
        if (level >= 3) != (before >= 3):
            await pipeline.control.draw_at("low" if level >= 3 else self._quality)

    async def draw_at(self, quality: choice.Quality) -> None:
        """Draw at this quality from now on: there are more sessions, or fewer, on this machine."""
        self._quality = quality
        self._shedder.top = self._top
        self._shedder.excuse(asyncio.get_running_loop().time())
        if self._level < 3:
            await self._pipeline.control.draw_at(quality)


# --- as a process ----------------------------------------------------------------------------------------------------


class _Line:
    """JSON lines to whoever started this process; what else is printed goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def say(self, kind: str, **more: object) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more: standard input says so too
            self._out.write(json.dumps({"is": kind, **more}) + "\n")
            self._out.flush()


def _listen(put: Callable[[Json], object]) -> None:
    """Reads orders on a thread, so that a loop which hangs cannot outlive whoever started it."""
    for line in sys.stdin:
        # The door died in the middle of a line, or the loop has ended already: the end of the input follows.
        with contextlib.suppress(ValueError, RuntimeError):
            put(json.loads(line))
    with contextlib.suppress(RuntimeError):
        put({"do": "end"})
    time.sleep(END_S + 1.0)
    os._exit(1)


async def _serve(line: _Line) -> int:
    loop = asyncio.get_running_loop()
    orders: asyncio.Queue[Json] = asyncio.Queue()

    def put(order: Json) -> None:
        loop.call_soon_threadsafe(orders.put_nowait, order)

    threading.Thread(target=_listen, args=(put,), daemon=True).start()
    on_signal(lambda: put({"do": "end"}), signal.SIGTERM)
    on_signal(lambda: None, signal.SIGINT)  # the terminal's Ctrl-C reaches everybody; the front door says what to do
    await giving_way(_warm)
    line.say("idle", pid=os.getpid())
    while True:
        order = await orders.get()
        if order["do"] == "measure":
            from avatar.scale import cost

            try:
                line.say("cost", costs=cost.as_json(cost.measure(Config.model_validate(order["config"]))))
            except AvatarError as error:
                line.say("fault", line=str(error), code=error.exit_code)
                return error.exit_code
        elif order["do"] == "begin":
            return await _session(Config.model_validate(order["config"]), order["phase"], line, orders)
        else:
            return 0


async def _session(config: Config, phase: float, line: _Line, orders: asyncio.Queue[Json]) -> int:
    try:
        worker = await giving_way(partial(SessionWorker, config, phase))
        line.say("live", **await worker.begin())
    except AvatarError as error:
        line.say("fault", line=str(error), code=error.exit_code)
        return error.exit_code

    async def beat() -> None:
        while True:
            line.say("beat", **worker.beat())
            await asyncio.sleep(BEAT_S)

    async def obey() -> None:
        while (order := await orders.get())["do"] != "end":
            await worker.draw_at(order["quality"])
            line.say("drawn")

    tasks = [asyncio.create_task(work) for work in (beat(), worker.ended(), obey())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    except AvatarError as error:
        line.say("fault", line=str(error), code=error.exit_code)
        return 1
    finally:
        for task in tasks:
            task.cancel()
        await worker.end()
    return 0


def _first(group: BaseException) -> BaseException:
    return _first(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


def _warm() -> None:
    """Load what every session needs: most of the time that a session takes to begin."""
    import avatar.assembly
    import avatar.control
    import avatar.scale.cost
    import avatar.streams.server  # noqa: F401


def main() -> None:
    from avatar.log import set_up
    from avatar.memory import few_arenas

    few_arenas()
    set_up(int(os.environ.get("VULTUS_VERBOSE", "0")))
    code = asyncio.run(_serve(_Line()))
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
