"""The same workers and the same batch jobs on a Ray cluster: where they run, with what, and that they are started again
when a machine dies, is Ray's affair (`pip install 'vultus[cluster]'`).

A session is an actor that holds a :class:`avatar.scale.worker.SessionWorker`; its door listens on its node's address
with a token of its own. A clip of a batch is a task; its paths are to lead to the same files on every node.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, cast

from avatar.config import Config
from avatar.errors import AvatarError, RunError
from avatar.scale import cost
from avatar.scale.batch import TRIES, Answer
from avatar.scale.draw import answered
from avatar.scale.jobs import Job
from avatar.scale.worker import BEAT_S, SessionWorker
from avatar.scale.workers import BEGIN_S, SILENT_S, Json, Worker

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

log = logging.getLogger(__name__)

AHEAD = 4
"""Tasks for each core that are known to Ray at the same time."""
CONNECT_S = 5.0
LOOK_S = 5.0
"""Between two looks at how many cores there are."""


class _Output:
    """Standard output for everybody but Ray's own threads, which print a whole log there when a node dies: what a
    command prints is for programs to read."""

    def __init__(self, real: TextIO) -> None:
        self._real = real

    def write(self, text: str) -> int:
        if not threading.current_thread().name.startswith("ray_"):
            return self._real.write(text)
        if text.strip():
            log.debug("Ray: %s", _words(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def connect(address: str) -> None:
    """To a cluster that is there: ``auto`` finds the one of this machine. Raises RunError."""
    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of what is meant to be so
    if not isinstance(sys.stdout, _Output):
        sys.stdout = cast(TextIO, _Output(sys.stdout))
    try:
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, configure_logging=False)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise RunError(f"no Ray cluster at {address} ({_words(error)}); start one: ray start --head") from error


def _leave() -> None:
    """Ray's last words, which it repeats when it is shut down, are not for standard output either."""
    with contextlib.redirect_stdout(io.StringIO()):
        ray.shutdown()


def _cores() -> float:
    return float(ray.cluster_resources().get("CPU", 0.0))


# --- batches ---------------------------------------------------------------------------------------------------------


class RayCrew:
    """Draws on all cores of a cluster, or on ``workers`` of them."""

    def __init__(self, address: str, workers: int | None = None) -> None:
        self._mine = not ray.is_initialized()
        connect(address)
        self._workers = workers
        # Ray runs a task again whose process or machine has died.
        self._draw = ray.remote(num_cpus=1, max_retries=TRIES - 1)(answered)
        self._running: dict[Any, Job] = {}

    def draw(self, work: Sequence[Job]) -> Iterator[Answer]:
        waiting = iter(work)
        while True:
            most = self._workers or max(1, int(_cores())) * AHEAD
            while len(self._running) < most and (job := next(waiting, None)) is not None:
                self._running[self._draw.remote(job.as_json())] = job
            if not self._running:
                return
            done, _ = ray.wait(list(self._running), num_returns=1, timeout=1.0)
            for ref in done:
                yield self._answer(ref, self._running.pop(ref))

    def _answer(self, ref: Any, job: Job) -> Answer:
        try:
            return dict(ray.get(ref))
        except RayError as error:
            why = f"it could not be drawn on the cluster ({_line(error)})"
            return {"fault": why, "line": job.line, "key": job.key}

    def close(self) -> None:
        for ref in self._running:
            ray.cancel(ref, force=True)
        if self._mine:
            _leave()


# --- sessions --------------------------------------------------------------------------------------------------------


class SessionActor:
    """A session on some node."""

    def __init__(self) -> None:
        self._worker: SessionWorker | None = None

    async def begin(self, config: Json, phase: float) -> Json:
        """As :meth:`avatar.scale.workers.Worker.begin`; a user's mistake is ``{"fault", "code"}``."""
        config["server"]["host"] = ray.util.get_node_ip_address()
        try:
            self._worker = SessionWorker(Config.model_validate(config), phase)
            return {**await self._worker.begin(), "node": ray.get_runtime_context().get_node_id()}
        except AvatarError as error:
            return {"fault": str(error), "code": error.exit_code}

    async def beat(self) -> Json:
        """Raises what has ended the session."""
        if self._worker is None:
            raise RunError("was started again, without its session")
        self._worker.check()
        return self._worker.beat()

    async def end(self) -> None:
        if self._worker is not None:
            await self._worker.end()


async def _result(ref: Any, patience: float) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(ref.future()), patience)


class RayWorker:
    """An actor, from here."""

    def __init__(self, actor: Any, on_beat: Callable[[Json], None]) -> None:
        self.actor, self._on_beat = actor, on_beat
        self.pid, self.node = 0, ""

    @property
    def name(self) -> str:
        return f"process {self.pid} on node {self.node[:8]}"

    async def begin(self, config: Json, phase: float) -> Json:
        loop = asyncio.get_running_loop()
        end = loop.time() + BEGIN_S
        while True:
            try:
                said = await _result(self.actor.begin.remote(config, phase), max(1.0, end - loop.time()))
                break
            except ActorUnavailableError:  # Ray is starting it again
                if loop.time() > end:
                    raise _too_late() from None
                await asyncio.sleep(0.25)
            except RayError as error:  # before TimeoutError: what a task raised is of that class as well
                raise RunError(f"the cluster runs no session ({_line(error)})") from error
            except TimeoutError:
                raise _too_late() from None
        if "fault" in said:
            raise _fault(said)
        self.pid, self.node = said["pid"], said["node"]
        return dict(said)

    async def draw_at(self, quality: str) -> None:
        raise RunError("a session on a cluster keeps the quality that its cores were reserved for")

    async def gone(self) -> str:
        while True:
            try:
                self._on_beat(await _result(self.actor.beat.remote(), SILENT_S))
            except RayTaskError as error:
                return _line(error)
            except RayError as error:
                return f"has died ({_line(error)})"
            except TimeoutError:
                ray.kill(self.actor, no_restart=False)
                return f"said nothing for {SILENT_S:.0f} s and was ended"
            await asyncio.sleep(BEAT_S)

    async def end(self, patience: float) -> None:
        try:
            if patience > 0:
                await _result(self.actor.end.remote(), patience)
        except (TimeoutError, RayError):
            pass  # it does not answer, or has died: it is ended from outside
        finally:
            ray.kill(self.actor)


class RayWorkers:
    """Actors of a cluster. Ray places them (spread, with the cores that a session costs) and starts them again."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._cost = 1.0
        self._known = 1.0
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await asyncio.to_thread(connect, self._address)
        self._known = await asyncio.to_thread(_cores)
        self._looking = asyncio.create_task(self._look())

    async def measure(self, config: Json) -> list[Json]:
        """The best way to draw alone: Ray reserves its cores for a session, and takes none of them back."""
        try:
            said = await _result(ray.remote(num_cpus=1)(_measured).remote(config), BEGIN_S)
        except RayError as error:
            raise RunError(f"the cluster cannot say what a session costs ({_line(error)})") from error
        except TimeoutError:
            raise RunError(f"the cluster had no core for {BEGIN_S:.0f} s to measure a session on") from None
        if "fault" in said:
            raise _fault(said)
        best = dict(said["costs"][0])
        self._cost = best["cores"]
        return [best]

    async def take(self, on_beat: Callable[[Json], None], before: Worker | None = None) -> Worker:
        if isinstance(before, RayWorker):
            return RayWorker(before.actor, on_beat)  # Ray starts it again, where there is room
        actor = ray.remote(SessionActor).options(
            num_cpus=self._cost, max_restarts=-1, scheduling_strategy="SPREAD", max_concurrency=8
        )
        return RayWorker(actor.remote(), on_beat)

    def cores(self) -> float:
        return self._known

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._known = max(0.1, await asyncio.to_thread(_cores))

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.to_thread(_leave)


def _measured(config: Json) -> Json:
    try:
        return {"costs": cost.as_json(cost.measure(Config.model_validate(config)))}
    except AvatarError as error:
        return {"fault": str(error), "code": error.exit_code}


def _fault(said: Json) -> AvatarError:
    from avatar.scale.workers import fault

    return fault(said["fault"], said["code"])


def _too_late() -> RunError:
    return RunError(f"no session begins on the cluster within {BEGIN_S:.0f} s")


def _line(error: BaseException) -> str:
    """In one line: an error of ours as it is, others with their class. Ray's own text is a whole traceback."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    kind = "" if isinstance(error, AvatarError | RayError) else f"{type(error).__name__}: "
    return kind + _words(error)


def _words(text: object) -> str:
    return " ".join(str(text).split())[:160]
