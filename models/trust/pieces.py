"""Long judgements in pieces: what is measured is kept, and the next call goes on from there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def version(*paths: Path) -> str:
    """A digest of what a judgement depends on: files, and the Python files of folders."""
    digest = hashlib.sha256()
    files = [file for path in paths for file in (path.glob("*.py") if path.is_dir() else (path,))]
    for path in sorted(file for file in files if file.is_file()):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


class Pieces:
    """Results by name, as JSON in ``folder``. What other code or other weights have made is measured again.

    :param folder: None = nothing is kept.
    :param minutes: after which no new piece is begun; None = all of them.
    """

    def __init__(self, folder: Path | None, minutes: float | None, made_by: str) -> None:
        self._folder, self._made_by = folder, made_by
        self._until = None if minutes is None else time.monotonic() + 60 * minutes
        self.missing = 0
        """Pieces that there was no time for."""

    def of(self, name: str, measure: Callable[[], Any]) -> Any:
        """The piece ``name``, measured where it is not there yet; None where there is no time for it."""
        path = None if self._folder is None else self._folder / f"{name}.json"
        if path is not None and path.is_file():
            kept = json.loads(path.read_text())
            if kept["made_by"] == self._made_by:
                return kept["result"]
        if self._until is not None and time.monotonic() > self._until:
            self.missing += 1
            return None
        result = measure()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_text(json.dumps({"made_by": self._made_by, "result": result}))
            os.replace(fresh, path)
        return result
