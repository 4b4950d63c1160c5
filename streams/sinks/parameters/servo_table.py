"""The table that maps a face state to servos. TOML, one [[servo]] each:

    [[servo]]
    name = "jaw"
    channel = 22
    drive = { "26" = 0.6, "27" = 0.4 }   # action units by number, or ARKit coefficients by name, times a gain
    min = 1300.0                         # microseconds at -1, at 0 and at +1
    rest = 1500.0
    max = 2000.0
    speed = 6000.0                       # microseconds of pulse a second that the servo can do
    easing = "linear"                    # linear, in, out, in_out: the way from rest to the end
    dead_ms = 30.0                       # from command to movement

``min`` may be larger than ``max``: that servo is mounted the other way round.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from avatar.core import facs
from avatar.core.types import F32, MILLISECOND, FaceState, Ns
from avatar.errors import ConfigError
from avatar.streams.wire import finite

EASINGS: Mapping[str, Callable[[F32], F32]] = {
    "linear": lambda v: v,
    "in": lambda v: v * v,
    "out": lambda v: v * (2 - v),
    "in_out": lambda v: v * v * (3 - 2 * v),
}
"""On the distance from rest, [0, 1] -> [0, 1]."""
LONGEST_DEAD_MS = 1000.0
LEAST_US, MOST_US = 100.0, 5000.0
"""Pulses outside are no hobby servo's; a slip of the pen must not reach a motor."""


@dataclass(frozen=True, slots=True)
class Servo:
    """One row of the table."""

    name: str
    channel: int
    drive: Mapping[str, float]
    min: float
    """Microseconds at -1."""
    max: float
    """Microseconds at +1."""
    rest: float
    """Microseconds at 0."""
    speed: float
    """Microseconds of pulse a second."""
    easing: str = "linear"
    dead_ms: float = 0.0


class ServoTable:
    """All rows, as arrays in their order."""

    def __init__(self, servos: tuple[Servo, ...]) -> None:
        self.servos = servos
        self.channels = tuple(servo.channel for servo in servos)
        self.low, self.high, self.rest, self.speed = (
            np.array([getattr(servo, key) for servo in servos], np.float64) for key in ("min", "max", "rest", "speed")
        )
        self.dead = np.array([round(servo.dead_ms * MILLISECOND) for servo in servos], np.int64)
        """(n,) nanoseconds from command to movement."""
        self._arkit = np.zeros((len(servos), len(facs.ARKIT)))
        self._numbers = sorted({int(key) for servo in servos for key in servo.drive if key not in facs.INDEX})
        self._units = np.zeros((len(servos), len(self._numbers)))
        for row, servo in enumerate(servos):
            for key, gain in servo.drive.items():
                if key in facs.INDEX:
                    self._arkit[row, facs.INDEX[key]] = gain
                else:
                    self._units[row, self._numbers.index(int(key))] = gain
        self._eased = {
            kind: np.array([servo.easing == kind for servo in servos])
            for kind in {servo.easing for servo in servos} - {"linear"}
        }

    @property
    def longest_dead(self) -> Ns:
        return Ns(int(self.dead.max(initial=0)))

    def positions(self, state: FaceState) -> np.ndarray:
        """Where the servos should be, (n,) microseconds."""
        au = state.au
        units = self._units @ np.array([au[number] for number in self._numbers])
        value = np.minimum(np.maximum(finite(self._arkit @ state.arkit + units), -1.0), 1.0)
        size = np.abs(value)
        for kind, which in self._eased.items():
            size[which] = EASINGS[kind](size[which])
        end = np.where(value < 0, self.low, self.high)
        return np.asarray(self.rest + size * (end - self.rest))


def load(path: Path) -> ServoTable:
    """Read a table. Raises ConfigError that names file, servo and key."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: no servo table ({error})") from error
    rows = content.pop("servo", None)
    if content or not isinstance(rows, list) or not rows:
        raise ConfigError(f"{path}: write one [[servo]] for each servo and nothing else")
    servos = tuple(_servo(row, f"{path}: servo {number}") for number, row in enumerate(rows, 1))
    for key in ("channel", "name"):
        seen = [getattr(servo, key) for servo in servos]
        if twice := {value for value in seen if seen.count(value) > 1}:
            raise ConfigError(f"{path}: {key} {twice.pop()!r} is there twice; give every servo its own")
    return ServoTable(servos)


def _servo(row: Any, where: str) -> Servo:
    known = {field.name: field for field in fields(Servo)}
    if not isinstance(row, dict):
        raise ConfigError(f"{where} is no table; write [[servo]]")
    if unknown := set(row) - set(known):
        raise ConfigError(f"{where}: unknown key {sorted(unknown)[0]}; known are {', '.join(known)}")
    missing = [key for key in ("name", "channel", "drive", "min", "max", "rest", "speed") if key not in row]
    if missing:
        raise ConfigError(f"{where}: {missing[0]} is missing")
    numbers = {
        key: _number(row[key], f"{where}: {key}") for key in ("min", "max", "rest", "speed", "dead_ms") if key in row
    }
    servo = Servo(
        name=str(row["name"]),
        channel=_channel(row["channel"], where),
        drive=_drive(row["drive"], where),
        easing=row.get("easing", "linear"),
        **numbers,
    )
    if servo.easing not in EASINGS:
        raise ConfigError(f"{where}: easing {servo.easing!r}; there are {', '.join(EASINGS)}")
    if not min(servo.min, servo.max) <= servo.rest <= max(servo.min, servo.max):
        raise ConfigError(f"{where}: rest {servo.rest:g} is not between min {servo.min:g} and max {servo.max:g}")
    if not all(LEAST_US <= v <= MOST_US for v in (servo.min, servo.max)):
        raise ConfigError(f"{where}: min and max are microseconds from {LEAST_US:g} to {MOST_US:g}")
    if servo.speed <= 0 or not 0 <= servo.dead_ms <= LONGEST_DEAD_MS:
        raise ConfigError(f"{where}: speed must be above 0, dead_ms from 0 to {LONGEST_DEAD_MS:g}")
    return servo


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where} = {value!r} is not a number")
    return float(value)


def _channel(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{where}: channel = {value!r} is not a whole number from 0 up")
    return value


def _drive(value: Any, where: str) -> dict[str, float]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(f'{where}: drive is a table of units and gains, as {{ "12" = 1.0 }}')
    for key in value:
        if key not in facs.INDEX and not (key.isdecimal() and int(key) in facs.AU_NAMES):
            raise ConfigError(f"{where}: drive knows no {key!r}; use action unit numbers or ARKit names as jawOpen")
    return {key: _number(gain, f"{where}: drive.{key}") for key, gain in value.items()}
