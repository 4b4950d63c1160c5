"""How commands say what they found, and how far they are."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any


def names(listed: str) -> list[str]:
    return list(filter(None, (name.strip() for name in listed.split(","))))


def report(args: argparse.Namespace, data: dict[str, Any], text: str) -> None:
    print(json.dumps(data, default=str) if args.json else text)


@contextlib.contextmanager
def progress_of(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar where standard error is a terminal; silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
