"""What programs have told the face, at any moment: who has what by priority, held, then given back.

Each coefficient, the head and the gaze have an owner of their own: a program that raises the brows leaves the mouth to
the voice. The last value is held for a while and then fades to whoever has the part otherwise, so a program that dies
leaves no frozen face.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.program import Command
from avatar.core.types import F32, MILLISECOND, SECOND, GestureCue, Ns

SMOOTH = 0.035
"""Seconds in which two thirds of the way to a new value are gone: commands come in steps, faces do not move in them."""
KEEP = 64
"""Commands that wait for their time, for each client."""
_N = len(facs.ARKIT)
_HEAD, _GAZE = _N, _N + 3
_SIZE = _N + 5
_BODY = (300 * MILLISECOND, 900 * MILLISECOND)
"""From the beginning of a body's gesture to its stroke, and to its end."""


@dataclass(frozen=True, slots=True)
class Key:
    """A moment of a gesture."""

    at: float
    """Seconds after its beginning."""
    units: Mapping[int, float]
    """Action units, as they are then."""
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Yaw, pitch and roll in degrees, added to where the head is."""


# fmt: off
GESTURES: Mapping[str, tuple[Key, ...]] = {
    "nod": (Key(0.0, {}), Key(0.2, {}, (0, -8, 0)), Key(0.42, {}, (0, 2, 0)), Key(0.6, {}, (0, -4, 0)), Key(0.85, {})),
    "shake": (Key(0.0, {}), Key(0.2, {}, (9, 0, 0)), Key(0.5, {}, (-9, 0, 0)), Key(0.8, {}, (6, 0, 0)), Key(1.1, {})),
    "tilt": (Key(0.0, {}), Key(0.3, {1: 0.2}, (0, 1, 8)), Key(1.0, {1: 0.2}, (0, 1, 8)), Key(1.4, {})),
    "bow": (Key(0.0, {}), Key(0.5, {}, (0, -12, 0)), Key(0.9, {}, (0, -12, 0)), Key(1.5, {})),
    "brow_flash": (Key(0.0, {}), Key(0.12, {1: 0.8, 2: 0.8, 5: 0.3}), Key(0.3, {1: 0.8, 2: 0.8}), Key(0.55, {})),
    "smile": (Key(0.0, {}), Key(0.4, {6: 0.5, 12: 0.7}), Key(1.6, {6: 0.5, 12: 0.7}), Key(2.4, {})),
    "frown": (Key(0.0, {}), Key(0.3, {4: 0.8, 15: 0.3}), Key(1.2, {4: 0.8, 15: 0.3}), Key(1.8, {})),
    "blink": (Key(0.0, {}), Key(0.07, {45: 1.0}), Key(0.11, {45: 1.0}), Key(0.25, {})),
    "surprise": (Key(0.0, {}), Key(0.2, {1: 0.9, 2: 0.9, 5: 0.6, 26: 0.4}, (0, 3, 0)),
                 Key(0.9, {1: 0.9, 2: 0.9, 5: 0.6, 26: 0.4}, (0, 3, 0)), Key(1.5, {})),
}
"""Gestures of the face by name; any other name is a gesture of the body, and goes out with the state."""
# fmt: on


@dataclass(slots=True)
class _Told:
    value: float
    pts: Ns
    priority: int
    hold: float
    fade: float

    def presence(self, t: Ns) -> float:
        """How far this still holds, in [0, 1]."""
        over = (t - self.pts) / SECOND - self.hold
        if over <= 0:
            return 1.0
        return max(0.0, 1 - over / self.fade) if self.fade > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Override:
    """What programs say about one moment; a presence of 0 leaves the part to its usual owner."""

    arkit: F32
    """(52,)."""
    arkit_presence: F32
    """(52,) in [0, 1]."""
    head: tuple[float, float, float]
    """Degrees, and how far it holds."""
    head_presence: float
    gaze: tuple[float, float]
    gaze_presence: float
    nudge: tuple[float, float, float]
    """Degrees that a gesture adds to the head."""
    gesture: GestureCue | None


class ProgramFace:
    """Commands in, overrides out. Asked with times that do not go back."""

    def __init__(self) -> None:
        self._waiting: list[Command] = []
        self.reset()

    def reset(self) -> None:
        """Nobody has told anything."""
        self._waiting.clear()
        self._told: dict[str, dict[int, _Told]] = {}
        self._playing: list[tuple[Ns, int, str]] = []
        self._body: GestureCue | None = None
        self._value: NDArray[np.float64] = np.zeros(_SIZE)
        self._presence: NDArray[np.float64] = np.zeros(_SIZE)
        self._last: Ns | None = None

    def put(self, command: Command) -> None:
        """Something told; it counts from its own time on."""
        mine = [c for c in self._waiting if c.client == command.client]
        if len(mine) >= KEEP:
            self._waiting.remove(mine[0])
        self._waiting.append(command)

    def sample(self, t: Ns) -> Override | None:
        """What holds at ``t``; None = nothing."""
        self._take_up(t)
        dt = 0.0 if self._last is None else max(0, t - self._last) / SECOND
        self._last = t
        target, presence = self._merged(t)
        if not presence.any() and not self._presence.any() and not self._playing and self._body is None:
            return None
        nudge = self._play(t, target, presence)
        share = 1 - math.exp(-dt / SMOOTH)
        # What was not held before begins at its value: it comes in by its presence alone.
        fresh = self._presence < 1e-3
        self._value = np.where(fresh, target, self._value + share * (target - self._value))
        self._presence += share * (presence - self._presence)
        self._presence[self._presence < 1e-3] = 0.0
        v, p = self._value, self._presence
        return Override(
            v[:_N].astype(np.float32), p[:_N].astype(np.float32),
            (float(v[_HEAD]), float(v[_HEAD + 1]), float(v[_HEAD + 2])), float(p[_HEAD]),
            (float(v[_GAZE]), float(v[_GAZE + 1])), float(p[_GAZE]), nudge, self._body,
        )  # fmt: skip

    def _take_up(self, t: Ns) -> None:
        due = [c for c in self._waiting if c.pts <= t]
        self._waiting = [c for c in self._waiting if c.pts > t]
        for command in due:
            if command.release:
                for told in self._told.get(command.client, {}).values():
                    told.hold = min(told.hold, max(0.0, (command.pts - told.pts) / SECOND))
            parts = dict(command.arkit)
            for first, angles in ((_HEAD, command.head), (_GAZE, command.gaze)):
                if angles is not None:
                    parts |= {first + i: angle for i, angle in enumerate(angles)}
            mine = self._told.setdefault(command.client, {})
            for part, value in parts.items():
                mine[part] = _Told(value, command.pts, command.priority, command.hold, command.fade)
            if command.gesture in GESTURES:
                self._playing.append((command.pts, command.priority, command.gesture))
            elif command.gesture:
                stroke, end = (Ns(command.pts + ns) for ns in _BODY)
                self._body = GestureCue(command.pts, command.gesture, stroke, end)
        if self._body is not None and self._body.end <= t:
            self._body = None

    def _merged(self, t: Ns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Value and presence (57,) of each part: the highest priority that still holds, the newest among equals. One
        that fades uncovers the next."""
        target, presence = self._value.copy(), np.zeros(_SIZE)
        parts: dict[int, list[_Told]] = {}
        for client, told in list(self._told.items()):
            for part, entry in list(told.items()):
                if entry.presence(t) > 0:
                    parts.setdefault(part, []).append(entry)
                else:
                    del told[part]
            if not told:
                del self._told[client]
        for part, entries in parts.items():
            value, left = 0.0, 1.0
            for entry in sorted(entries, key=lambda e: (-e.priority, -e.pts)):
                weight = left * entry.presence(t)
                value, left = value + weight * entry.value, left - weight
            presence[part] = 1 - left
            target[part] = value / (1 - left)
        return target, presence

    def _play(self, t: Ns, target: NDArray[np.float64], presence: NDArray[np.float64]) -> tuple[float, float, float]:
        """Put the gestures that are under way over what was told; returns what they add to the head."""
        nudge = np.zeros(3)
        self._playing = [p for p in self._playing if (t - p[0]) / SECOND < GESTURES[p[2]][-1].at]
        for begun, _, name in sorted(self._playing, key=lambda p: p[1]):
            keys, at = GESTURES[name], (t - begun) / SECOND
            units, head, strength = _between(keys, at)
            nudge += head
            for place, value in units.items():
                target[place] = max(value, target[place] if presence[place] else 0.0)
                presence[place] = max(presence[place], strength)
        return float(nudge[0]), float(nudge[1]), float(nudge[2])


def _between(keys: tuple[Key, ...], at: float) -> tuple[dict[int, float], NDArray[np.float64], float]:
    """Coefficients by place, degrees (3,), and how far the gesture has the coefficients, between two of its moments."""
    after = next((i for i, key in enumerate(keys) if key.at > at), len(keys) - 1)
    a, b = keys[max(0, after - 1)], keys[after]
    f = min(1.0, max(0.0, (at - a.at) / max(1e-6, b.at - a.at)))
    f = f * f * (3 - 2 * f)
    head = (1 - f) * np.array(a.head) + f * np.array(b.head)
    faces = [facs.from_action_units(key.units) for key in (a, b)]
    strengths = [float(bool(key.units)) for key in (a, b)]
    used = np.flatnonzero(np.maximum(*faces))
    mixed = {int(i): float(max(faces[0][i], faces[1][i])) if 0 in (faces[0][i], faces[1][i])
             else float((1 - f) * faces[0][i] + f * faces[1][i]) for i in used}  # fmt: skip
    return mixed, head, (1 - f) * strengths[0] + f * strengths[1]
