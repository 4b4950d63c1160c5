"""A running engine as a process of its own, and what it and the machine have used."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from json import dumps, loads
from typing import Any

from avatar.config import Config
from avatar.errors import RunError


@contextlib.contextmanager
def running(
    config: Config, *settings: str, command: Sequence[str] = ("avatar.cli", "run"), prefix: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``avatar run`` as a process of its own on a free port: ``(address, process)``; ended by SIGTERM.

    :param command: another module that takes the same settings, with its arguments.
    :param prefix: what starts the process, as ``ip netns exec NAME``.
    """
    keys = [f"avatar.{k}={dumps(v)}" for k, v in config.avatar]
    keys += [f"input.video={dumps(config.input.video)}"]
    words = [*prefix, sys.executable, "-m", *command]
    for setting in (*keys, "server.port=0", *settings):
        words += ["--set", setting]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as run:
        assert run.stdout is not None
        try:
            line = run.stdout.readline()
            if "http://" not in line:
                raise RunError(f"avatar run did not start ({line.strip() or 'no output'}); run it by hand to see why")
            yield line[line.index("http://") :].strip(), run
        finally:
            run.terminate()
            run.wait(10)


def get(address: str, path: str) -> Any:
    """JSON of the running engine."""
    with urllib.request.urlopen(address + path, timeout=5) as answer:
        return loads(answer.read())


def usage(pid: int) -> tuple[float, float]:
    """CPU seconds and resident MiB of a process (Linux)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def machine() -> tuple[int, int]:
    """Ticks that a host gave to other guests, and all ticks (Linux): a virtual machine that is robbed of a tenth of its
    time cannot show what the engine needs."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return ticks[7], sum(ticks)
