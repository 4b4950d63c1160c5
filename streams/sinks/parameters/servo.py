"""A mechanical face: states to servo pulses, in step with sound and picture in spite of the servos' dead time.

A servo moves some tens of milliseconds after it is told to. So this sink gets every state :attr:`ServoSink.ahead` of
its present time (the longest dead time in the table) and each servo is told its place for the moment at which it will
move: now + its own dead time. What the states in between are is known by then; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from avatar.core.types import MILLISECOND, SECOND, FaceState, Ns
from avatar.streams.sinks.parameters.base import DatagramSink
from avatar.streams.sinks.parameters.robot import Format, packer
from avatar.streams.sinks.parameters.servo_table import ServoTable, load
from avatar.streams.sinks.parameters.shaping import Shape

PORT = 9871
EXAMPLE = Path(__file__).with_name("servo_face.toml")
"""A face of 26 servos."""
_GAP = SECOND // 2
"""After a gap of this length servos go on from where they are, and the past is forgotten."""


class ServoMotion:
    """States to commands; a stage without I/O or clock. It begins at rest, and after a gap where it was.

    :param ahead: how long before its present time a state comes here (ns).
    """

    def __init__(self, table: ServoTable, ahead: Ns) -> None:
        self._table = table
        # What each servo is to be told now lies this far behind the newest state.
        self._behind = ahead - np.minimum(table.dead, ahead)
        self._times: list[int] = []
        self._places: list[np.ndarray] = []
        self._at: np.ndarray = table.rest.copy()
        self._columns = np.arange(len(table.servos))
        self._longest = int(self._behind.max(initial=0))

    def step(self, state: FaceState) -> np.ndarray:
        """The command at this moment, (n,) microseconds: within min and max, never faster than a servo's speed."""
        times, places = self._times, self._places
        gap = state.pts - times[-1] if times else 0
        if not 0 < gap < _GAP:
            times.clear()
            places.clear()
            gap = 0
        times.append(state.pts)
        places.append(self._table.positions(state))
        while len(times) > 2 and times[1] < state.pts - self._longest:
            del times[0], places[0]
        wanted = self._past(state.pts - self._behind)
        reach = self._table.speed * (gap / SECOND)
        self._at = self._at + np.minimum(np.maximum(wanted - self._at, -reach), reach)
        return self._at

    def _past(self, when: np.ndarray) -> np.ndarray:
        """Each servo's place at its own time, between the states that are known."""
        if len(self._times) == 1:
            return self._places[0]
        times, places = np.array(self._times), np.array(self._places)
        right = np.minimum(np.maximum(np.searchsorted(times, when), 1), len(times) - 1)
        before, after = times[right - 1], times[right]
        part = np.maximum((when - before) / (after - before), 0.0)  # nothing is older than the oldest that is kept
        low, high = places[right - 1, self._columns], places[right, self._columns]
        return np.asarray(low + np.minimum(part, 1.0) * (high - low))


class ServoSink(DatagramSink):
    """Sends ``{"t": present time in seconds, "us": {channel: microseconds}}`` for each state, as JSON or MessagePack.

    :param table: the mapping table, or its file; None = :data:`EXAMPLE`.
    """

    name: ClassVar[str] = "servo"

    def __init__(
        self,
        to: Sequence[str] = (f"127.0.0.1:{PORT}",),
        shape: Shape = Shape(),  # noqa: B008 - immutable
        table: ServoTable | Path | None = None,
        form: Format = "json",
    ) -> None:
        super().__init__(to, shape, PORT, "servo.to")
        self.table = table if isinstance(table, ServoTable) else load(table or EXAMPLE)
        self._pack = packer(form)
        self._motion = ServoMotion(self.table, self.ahead)

    @property
    def ahead(self) -> Ns:
        return self.table.longest_dead

    def encode(self, state: FaceState) -> list[bytes]:
        pulses = np.round(self._motion.step(state), 1).tolist()
        told = {str(channel): pulse for channel, pulse in zip(self.table.channels, pulses, strict=True)}
        return [self._pack({"t": round(state.pts / SECOND, 6), "us": told})]

    def least_lead(self, fps: int) -> int:
        """The ``sync.lead_ms`` that this table needs: its dead time, and a picture's time to draw."""
        return -(-self.ahead // MILLISECOND) + -(-1000 // fps)
