"""Draws one clip of a batch: the same code in a process of this machine and in a Ray task.

As a process, ``python -m avatar.scale.draw`` takes jobs as JSON lines and answers each with one line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from avatar.config import Config
from avatar.errors import AvatarError
from avatar.storage import stored_in

UNFINISHED = ".unfinished-"
"""Begin of the folder in which a clip lies while it is drawn: a killed process leaves that, never half a clip under the
real name."""


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write a file of the same name at, which then takes the place of ``path``. Raises StorageError."""
    with stored_in(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=UNFINISHED, ignore_cleanup_errors=True) as scratch:
            fresh = Path(scratch) / path.name
            yield fresh
            with fresh.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(fresh, path)


def draw(job: dict[str, Any]) -> dict[str, Any]:
    """Draw a clip (:meth:`avatar.scale.jobs.Job.as_json`); its file appears whole or not at all.

    Returns what the journal keeps: ``key``, ``line``, ``output``, ``frames``, ``bytes``, ``seconds``, ``cpu_s``,
    ``worker``.
    Raises AvatarError.
    """
    from avatar.render import Input, render

    cv2.setNumThreads(1)
    begun, cpu = time.monotonic(), time.process_time()
    paths = ("audio", "states", "video")
    given: dict[str, Any] = {key: Path(v) if key in paths else v for key, v in job["source"].items()}
    output, config = Path(job["output"]), Config.model_validate(job["config"])
    with contextlib.ExitStack() as stack:
        fresh = stack.enter_context(whole(output))
        states = stack.enter_context(whole(Path(job["states_out"]))) if job["states_out"] else None
        made = render(config, Input(**given), fresh, states, consent=job["consent"])
        size = fresh.stat().st_size
    return {
        "key": job["key"],
        "line": job["line"],
        "output": job["output"],
        "frames": made.frames,
        "bytes": size,
        "seconds": round(time.monotonic() - begun, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
        "worker": f"{os.uname().nodename}:{os.getpid()}" if hasattr(os, "uname") else str(os.getpid()),
    }


def answered(job: dict[str, Any]) -> dict[str, Any]:
    """The same; a user's mistake is an answer ``{"fault", "line", "key"}``."""
    try:
        return draw(job)
    except AvatarError as error:
        return {"fault": str(error), "line": job["line"], "key": job["key"]}


def _listen(put: Any) -> None:
    for line in sys.stdin:
        put(line)
    os._exit(0)  # whoever gives the jobs has gone: what is half drawn is of no use to anybody


def main() -> None:
    import queue

    from avatar.log import set_up
    from avatar.memory import few_arenas

    few_arenas()
    set_up()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs.put,), daemon=True).start()
    while True:
        out.write(json.dumps(answered(json.loads(jobs.get()))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
