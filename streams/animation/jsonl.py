"""States as they are: one JSON object a line (:mod:`avatar.streams.wire`)."""

from __future__ import annotations

from avatar.core.types import FaceState
from avatar.streams.animation.base import StateWriter
from avatar.streams.wire import state_to_line


class JsonLinesWriter(StateWriter):
    def write(self, state: FaceState) -> None:
        self.put(state_to_line(state).encode() + b"\n")
