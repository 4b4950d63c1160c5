"""Face states from a JSON Lines file (:mod:`avatar.streams.wire`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from avatar.core.types import FaceState
from avatar.errors import MediaError, UsageError
from avatar.streams.wire import state_from_json


def read_states(path: str | Path) -> Iterator[FaceState]:
    """The states of a file in order of time. Empty lines are skipped.

    Raises MediaError that names file and line: not JSON, an unknown key, a time that goes back, no state at all.
    """
    path = Path(path)
    last: FaceState | None = None
    try:
        # utf-8-sig: some editors put a byte order mark in front
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                state = _state(line, f"{path.name}, line {number}")
                if last is not None and state.pts < last.pts:
                    raise MediaError(f"{path.name}, line {number}: t goes back; sort the lines by time")
                last = state
                yield state
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}); check the name") from error
    except UnicodeDecodeError:
        raise MediaError(f"{path.name} is not text; give a JSON Lines file of states") from None
    if last is None:
        raise MediaError(f"{path.name} holds no state; give one JSON object a line")


def _state(line: str, where: str) -> FaceState:
    try:
        return state_from_json(json.loads(line))
    except (json.JSONDecodeError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise MediaError(f"{where}: not JSON ({what}); write one object a line") from None
    except UsageError as error:
        raise MediaError(f"{where}: {error}") from None
