"""A batch: jobs to workers, what is done to the journal. Who draws is a :class:`Crew`: processes, or a Ray cluster."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from avatar.config import Config
from avatar.errors import RunError
from avatar.scale import jobs
from avatar.scale.draw import UNFINISHED
from avatar.scale.jobs import Bad, Job, Journal

log = logging.getLogger(__name__)

TRIES = 3
"""A job whose worker dies is tried so often."""
Answer = dict[str, Any]
Progress = Callable[[int, int], None]


class Crew(Protocol):
    """Who draws."""

    def draw(self, work: Sequence[Job]) -> Iterator[Answer]:
        """Every job's answer (:func:`avatar.scale.draw.answered`), in any order. A job whose worker dies is tried
        again; where that is in vain, its answer is a fault."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Outcome:
    """Of a batch."""

    total: int
    already: int = 0
    """Done by an earlier run."""
    drawn: list[Answer] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "jobs": self.total,
            "already": self.already,
            "drawn": len(self.drawn),
            "failed": len(self.bad),
            "frames": sum(answer["frames"] for answer in self.drawn),
            "seconds": round(self.seconds, 2),
            "cpu_s": round(sum(answer["cpu_s"] for answer in self.drawn), 2),
            "workers": len({answer["worker"] for answer in self.drawn}),
            "faults": [{"line": each.line, "why": each.why} for each in self.bad],
        }


def run(
    table: Path,
    config: Config,
    crew: Callable[[int], Crew],
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda done, of: None,
) -> Outcome:
    """Draw what is not drawn yet.

    :param crew: makes who draws, for so many jobs. :param say: takes one line for each bad row.

    Raises UsageError for a table or journal that cannot be read, StorageError.
    """
    begun = time.monotonic()
    work, bad = jobs.read(table, config)
    outcome = Outcome(len(work) + len(bad))

    def fault(each: Bad) -> None:
        outcome.bad.append(each)
        say(f"{table}, line {each.line}: {each.why}")

    for each in bad:
        fault(each)
    journal = Journal(table)
    try:
        waiting = list(jobs.missing(work, journal))
        outcome.already = len(work) - len(waiting)
        _sweep(waiting)
        progress(outcome.already, len(work))
        if waiting:
            drawers = crew(len(waiting))
            try:
                for count, answer in enumerate(drawers.draw(waiting), 1):
                    if "fault" in answer:
                        fault(Bad(answer["line"], answer["fault"]))
                    else:
                        journal.add(answer)
                        outcome.drawn.append(answer)
                    progress(outcome.already + count, len(work))
            finally:
                drawers.close()
    finally:
        journal.close()
    outcome.seconds = time.monotonic() - begun
    return outcome


def _sweep(work: Sequence[Job]) -> None:
    """Remove what killed processes have left of these clips."""
    names = {job.output.name for job in work}
    for folder in {job.output.parent for job in work}:
        for left in folder.glob(f"{UNFINISHED}*"):
            if {file.name for file in left.iterdir()} <= names:
                shutil.rmtree(left, ignore_errors=True)


def cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


class LocalCrew:
    """Processes of this machine; each draws on one core."""

    def __init__(self, count: int) -> None:
        self._count = max(1, count)
        self._processes: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def draw(self, work: Sequence[Job]) -> Iterator[Answer]:
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in work:
            waiting.put(job)
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._hand_out, args=(waiting, answers), daemon=True)
            for _ in range(min(self._count, len(work)))
        ]
        for thread in threads:
            thread.start()
        for _ in work:
            yield answers.get()

    def _hand_out(self, waiting: queue.SimpleQueue[Job], answers: queue.SimpleQueue[Answer]) -> None:
        process: subprocess.Popen[str] | None = None
        while not self._closed:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                break
            for left in reversed(range(TRIES)):
                if process is None or process.poll() is not None:
                    process = self._start()
                answer = _asked(process, job)
                if answer is not None or self._closed:
                    break
                process.wait()
                log.warning("line %d: the process that drew it has died; %s", job.line,
                            "tried again" if left else "given up")  # fmt: skip
            answers.put(answer or _died(job))
        if process is not None:
            self._end(process)

    def _start(self) -> subprocess.Popen[str]:
        one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
        command = [sys.executable, "-m", "avatar.scale.draw"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **one}
        )
        with self._lock:
            self._processes.add(process)
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it has died and cannot take what was still to be written
            process.stdin.close()
        process.wait()

    def close(self) -> None:
        self._closed = True
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _asked(process: subprocess.Popen[str], job: Job) -> Answer | None:
    """None where the process dies over it."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(job.as_json()) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        return dict(json.loads(line)) if line.endswith("\n") else None
    except (OSError, ValueError):
        return None


def _died(job: Job) -> Answer:
    return {"fault": f"the process that drew it died {TRIES} times", "line": job.line, "key": job.key}


def crew(cluster: str, workers: int | None) -> Callable[[int], Crew]:
    """Who draws: a Ray cluster (``auto`` or an address), or processes here. Raises RunError where Ray is missing."""
    if not cluster:
        return lambda count: LocalCrew(min(workers or cores(), count))
    try:
        from avatar.scale.cluster import RayCrew
    except ImportError:
        raise RunError("--cluster needs Ray: pip install 'vultus[cluster]'") from None
    return lambda count: RayCrew(cluster, workers)
