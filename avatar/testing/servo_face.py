"""A simulated mechanical face, for tests of what commands servos: each hears its pulse, waits its dead time, and then
moves no faster than it can."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from avatar.core.types import SECOND, Ns
from avatar.streams.sinks.parameters.servo_table import ServoTable


class SimulatedFace:
    """The servos of a table.

    :param slack: how much faster than the table says the motors are; below 1 they are weaker.
    """

    def __init__(self, table: ServoTable, slack: float = 1.05) -> None:
        self._table, self._slack = table, slack
        self._numbers = {channel: row for row, channel in enumerate(table.channels)}
        self._told: list[tuple[list[int], list[float]]] = [([], []) for _ in table.servos]
        self._at = table.rest.copy()
        self._now = 0
        self.wrong: list[str] = []
        """Commands that would have broken something."""

    def command(self, now: Ns, pulses: dict[str, float]) -> None:
        """A message has come at ``now``."""
        for channel, pulse in pulses.items():
            row = self._numbers[int(channel)]
            low, high = sorted((self._table.low[row], self._table.high[row]))
            if not low - 0.06 <= pulse <= high + 0.06:  # pulses are sent with one decimal
                self.wrong.append(f"{self._table.servos[row].name}: {pulse}")
            times, values = self._told[row]
            times.append(now)
            values.append(pulse)

    def move(self, now: Ns) -> np.ndarray:
        """Let time pass until ``now``; where the servos then are, (n,) microseconds."""
        reach = self._table.speed * self._slack * (now - self._now) / SECOND
        self._now = now
        for row, (times, values) in enumerate(self._told):
            heard = bisect_right(times, now - int(self._table.dead[row])) - 1
            if heard >= 0:
                self._at[row] += np.clip(values[heard] - self._at[row], -reach[row], reach[row])
        return self._at.copy()
