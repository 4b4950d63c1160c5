"""Who starts the processes of sessions: this machine here, a Ray cluster in :mod:`avatar.scale.cluster`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Protocol

from avatar.errors import AvatarError, RunError, UsageError

log = logging.getLogger(__name__)

Json = dict[str, Any]

BEGIN_S = 120.0
"""Seconds that a session may take to begin; the first one on a machine compiles the engine."""
DRAW_S = 30.0
"""Seconds that a change of what draws may take."""
SILENT_S = 10.0
"""A worker that says nothing for so long hangs."""
_LINE = 1 << 20


def fault(line: str, code: int) -> AvatarError:
    """What a worker says has gone wrong, with the exit code that `avatar` has for it, as the error that it was."""
    return UsageError(line) if code == UsageError.exit_code else RunError(line)


class Worker(Protocol):
    """The process of one session."""

    @property
    def name(self) -> str:
        """What to call it in a log: its process and perhaps its machine."""
        ...

    async def begin(self, config: Json, phase: float) -> Json:
        """Serve a session of this configuration; returns at least its ``address``. Raises RunError.

        :param phase: its turn among the sessions of its machine, 0 to 1 of the time from one picture to the next.
        """
        ...

    async def draw_at(self, quality: str) -> None:
        """Draw at this quality (high, medium, low) from now on. Raises RunError where it is not there to do it."""
        ...

    async def gone(self) -> str:
        """Returns when it has ended, whatever the reason, which is what it returns: empty for an end in order."""
        ...

    async def end(self, patience: float) -> None:
        """End it in order, or after ``patience`` seconds in any way. Safe to call twice."""
        ...


class Workers(Protocol):
    """Where workers come from."""

    async def start(self) -> None:
        """Raises RunError."""
        ...

    async def measure(self, config: Json) -> list[Json]:
        """What a session takes there in each way to draw (:func:`avatar.scale.cost.measure`). Raises RunError."""
        ...

    async def take(self, on_beat: Callable[[Json], None], before: Worker | None = None) -> Worker:
        """A worker that has no session yet; ``before`` is the one that it replaces. Raises RunError."""
        ...

    def cores(self) -> float:
        """There are so many for sessions."""
        ...

    async def close(self) -> None:
        """End what is left."""
        ...


class LocalWorker:
    """A process of this machine (:mod:`avatar.scale.worker`)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.on_beat: Callable[[Json], None] = lambda beat: None
        self._answers: asyncio.Queue[Json] = asyncio.Queue()
        self._fault, self._code = "", 1
        self._beaten = asyncio.get_running_loop().time()
        self._hung = False
        self.serving = False
        """Whether its session has begun; it says so four times a second from then on."""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def spawn(cls) -> LocalWorker:
        command = (sys.executable, "-m", "avatar.scale.worker")
        verbose = {logging.INFO: "1", logging.DEBUG: "2"}.get(logging.getLogger("avatar").level, "0")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE,
            env={**os.environ, "VULTUS_VERBOSE": verbose},
        )
        return cls(process)

    @property
    def name(self) -> str:
        return f"process {self._process.pid}"

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, order: Json, answer: str, patience: float) -> Json:
        """Give an order and wait for this answer. Raises RunError."""
        self._tell(order)
        end = asyncio.create_task(self.gone())
        try:
            async with asyncio.timeout(patience):
                while True:
                    said = asyncio.create_task(self._answers.get())
                    await asyncio.wait({said, end}, return_when=asyncio.FIRST_COMPLETED)
                    if not said.done():
                        said.cancel()
                        if self._fault:
                            raise fault(self._fault, self._code)
                        raise RunError(f"a session's process ended at its start: it {end.result()}")
                    if said.result()["is"] == answer:
                        return said.result()
        except TimeoutError:
            raise RunError(f"a session's process did not answer in {patience:.0f} s") from None
        finally:
            end.cancel()

    async def begin(self, config: Json, phase: float) -> Json:
        said = await self.ask({"do": "begin", "config": config, "phase": phase}, "live", BEGIN_S)
        self.serving = True
        return said

    async def draw_at(self, quality: str) -> None:
        await self.ask({"do": "draw", "quality": quality}, "drawn", DRAW_S)

    async def gone(self) -> str:
        code = await self._process.wait()
        await asyncio.wait({self._reading}, timeout=0.2)  # its last line says why
        if self._hung:
            return f"said nothing for {SILENT_S:.0f} s and was ended"
        if self._fault:
            return self._fault
        if code == 0:
            return ""
        if code < 0:
            with contextlib.suppress(ValueError):  # a signal without a name: its number says it
                return f"was ended by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    async def end(self, patience: float) -> None:
        self._tell({"do": "end"})
        if patience > 0:
            with contextlib.suppress(TimeoutError):  # then it is killed
                await asyncio.wait_for(self._process.wait(), patience)
        self.kill()
        await self._process.wait()
        await asyncio.wait({self._reading})

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self._process.kill()

    def check(self) -> None:
        """End it where it hangs; to be called now and then while it has a session."""
        if self.alive and asyncio.get_running_loop().time() - self._beaten > SILENT_S:
            self._hung = True
            self.kill()

    def _tell(self, order: Json) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, RuntimeError):  # it has died: whoever waits for its end hears of that
            self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            self._beaten = asyncio.get_running_loop().time()
            if said["is"] == "beat":
                self.on_beat(said)
            elif said["is"] == "fault":
                self._fault, self._code = said["line"], said["code"]
            else:
                self._answers.put_nowait(said)


class LocalWorkers:
    """Processes of this machine. One spare is always ready: what every session needs is loaded in it already."""

    def __init__(self) -> None:
        self._spare: asyncio.Task[LocalWorker] | None = None
        self._all: set[LocalWorker] = set()
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        self._watch = asyncio.create_task(self._check())
        self._prepare()

    def _prepare(self) -> None:
        if not self._closed:
            self._spare = asyncio.create_task(self._spawn())

    async def _spawn(self) -> LocalWorker:
        try:
            worker = await LocalWorker.spawn()
        except OSError as error:
            raise RunError(f"no process can be started for a session: {error.strerror or error}") from error
        self._all.add(worker)
        return worker

    async def measure(self, config: Json) -> list[Json]:
        assert self._spare is not None
        worker = await self._spare
        said = await worker.ask({"do": "measure", "config": config}, "cost", BEGIN_S)
        return list(said["costs"])

    async def take(self, on_beat: Callable[[Json], None], before: Worker | None = None) -> Worker:
        # The spare changes hands before anything is awaited: two sessions never get the same process.
        spare, self._spare = self._spare, None
        self._prepare()
        worker = await spare if spare is not None and not _failed(spare) else await self._spawn()
        if not worker.alive:
            worker = await self._spawn()
        self._all = {each for each in self._all if each.alive}
        worker.on_beat = on_beat
        return worker

    def cores(self) -> float:
        try:
            return float(len(os.sched_getaffinity(0)))
        except AttributeError:  # not on macOS and Windows
            return float(os.cpu_count() or 1)

    async def close(self) -> None:
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        if self._spare is not None:
            await asyncio.wait({self._spare})
        await asyncio.gather(*(worker.end(2.0) for worker in self._all))

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for worker in self._all:
                if worker.serving:
                    worker.check()


def _failed(task: asyncio.Task[LocalWorker]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
