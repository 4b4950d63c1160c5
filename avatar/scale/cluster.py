"""The same workers and the same batch jobs on a Ray cluster: where they run, with what, and that they are started again
when a machine dies, is Ray's affair (`pip install 'vultus[cluster]'`).

A session is an actor that holds a :class:`avatar.scale.worker.SessionWorker`; its door listens on its node's address
with a token of its own. A clip of a batch is a task; its paths are to lead to the same files on every node.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

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
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

log = logging.getLogger(__name__)

AHEAD = 4
"""Tasks for each core that are known to Ray at the same time."""
CONNECT_S = 5.0
LOOK_S = 5.0
"""Between two looks at how many cores there are."""


def connect(address: str) -> None:
    """To a cluster that is there: ``auto`` finds the one of this machine. Raises RunError."""
    if ray.is_initialized():
        return
    try:
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, configure_logging=False)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())[:160]
        raise RunError(f"no Ray cluster at {address} ({line}); start one: ray start --head") from error


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
        except RayTaskError:
            raise
        except RayError as error:
            why = " ".join(str(error).split())[:160]
            return {"fault": f"it could not be drawn on the cluster ({why})", "line": job.line, "key": job.key}

    def close(self) -> None:
        for ref in self._running:
            ray.cancel(ref, force=True)
        if self._mine:
            ray.shutdown()


# --- sessions --------------------------------------------------------------------------------------------------------


class SessionActor:
    """A session on some node."""

    def __init__(self) -> None:
        self._worker: SessionWorker | None = None

    async def begin(self, config: Json) -> Json:
        """As :meth:`avatar.scale.workers.Worker.begin`; a user's mistake is ``{"fault", "code"}``."""
        config["server"]["host"] = ray.util.get_node_ip_address()
        try:
            self._worker = SessionWorker(Config.model_validate(config))
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

    async def begin(self, config: Json) -> Json:
        loop = asyncio.get_running_loop()
        end = loop.time() + BEGIN_S
        while True:
            try:
                said = await _result(self.actor.begin.remote(config), max(1.0, end - loop.time()))
                break
            except ActorUnavailableError:  # Ray is starting it again
                if loop.time() > end:
                    raise RunError(f"no session begins on the cluster within {BEGIN_S:.0f} s") from None
                await asyncio.sleep(0.25)
            except TimeoutError:
                raise RunError(f"no session begins on the cluster within {BEGIN_S:.0f} s") from None
            except RayActorError as error:
                raise RunError(f"the cluster runs no session ({_line(error)})") from error
        if "fault" in said:
            raise _fault(said)
        self.pid, self.node = said["pid"], said["node"]
        return dict(said)

    async def gone(self) -> str:
        while True:
            try:
                self._on_beat(await _result(self.actor.beat.remote(), SILENT_S))
            except TimeoutError:
                ray.kill(self.actor, no_restart=False)
                return f"said nothing for {SILENT_S:.0f} s and was ended"
            except RayActorError as error:
                return f"has died ({_line(error)})"
            except RayTaskError as error:
                return _line(error.cause if isinstance(error.cause, AvatarError) else error)
            await asyncio.sleep(BEAT_S)

    async def end(self, patience: float) -> None:
        try:
            if patience > 0:
                await _result(self.actor.end.remote(), patience)
        except (TimeoutError, RayError):
            pass
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

    async def measure(self, config: Json) -> Json:
        said = await _result(ray.remote(num_cpus=1)(_measured).remote(config), BEGIN_S)
        if "fault" in said:
            raise _fault(said)
        self._cost = said["cores"]
        return dict(said)

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
        await asyncio.to_thread(ray.shutdown)


def _measured(config: Json) -> Json:
    try:
        return cost.as_json(cost.measure(Config.model_validate(config)))
    except AvatarError as error:
        return {"fault": str(error), "code": error.exit_code}


def _fault(said: Json) -> AvatarError:
    from avatar.scale.workers import fault

    return fault(said["fault"], said["code"])


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
