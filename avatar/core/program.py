"""What a program may tell the face: a language-model agent, an animator's tool, a robot's behaviour tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avatar.core import facs
from avatar.core.types import Ns

PRIORITY, HOLD, FADE = 50, 1.0, 0.5
"""Of a command that does not say: 0 to 100, seconds, seconds."""
KEYS = ("client", "priority", "hold", "fade", "arkit", "au", "head", "gaze", "gesture", "release")


@dataclass(frozen=True, slots=True)
class Command:
    """One message. What it does not name stays as it was told before, or with its usual owner."""

    pts: Ns
    """When it came."""
    client: str
    """Who told it."""
    priority: int = PRIORITY
    """0 to 100; of several programs the highest has what it names, the newer one among equals."""
    hold: float = HOLD
    """Seconds that the last value is held where nothing follows."""
    fade: float = FADE
    """Seconds in which it then gives way to its usual owner."""
    arkit: Mapping[int, float] = field(default_factory=dict)
    """Place in :data:`avatar.core.facs.ARKIT` -> [0, 1]."""
    head: tuple[float, float, float] | None = None
    """Yaw, pitch, roll in degrees."""
    gaze: tuple[float, float] | None = None
    """Yaw, pitch in degrees."""
    gesture: str = ""
    """One of :data:`avatar.sync.program.GESTURES`, or a name that a body knows."""
    release: bool = False
    """Let go of everything that this client has told: it fades from now on."""


class CommandError(ValueError):
    """What a message holds cannot be done; the text is one line for its sender."""


def parse(data: object, pts: Ns, client: str) -> Command:
    """A command of a JSON object with :data:`KEYS`. Raises CommandError with one line."""
    if not isinstance(data, Mapping):
        raise CommandError('a command is a JSON object, as {"arkit": {"jawOpen": 0.5}}')
    for key in data:
        if key not in KEYS:
            raise CommandError(f"unknown key {key!r}; there are: {', '.join(KEYS)}")
    arkit = {**_units(data.get("au", {})), **_coefficients(data.get("arkit", {}))}
    name, gesture, release = data.get("client", client), data.get("gesture", ""), data.get("release", False)
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        raise CommandError("client is a name of 1 to 64 characters")
    if not isinstance(gesture, str) or len(gesture) > 64:
        raise CommandError("gesture is a name of at most 64 characters, as nod")
    if not isinstance(release, bool):
        raise CommandError("release is true or false")
    return Command(
        pts,
        name,
        round(number(data.get("priority", PRIORITY), "priority", 0, 100)),
        number(data.get("hold", HOLD), "hold", 0, 3600),
        number(data.get("fade", FADE), "fade", 0, 60),
        arkit,
        _angles(data["head"], "head", ("yaw", "pitch", "roll"), 90) if "head" in data else None,
        _angles(data["gaze"], "gaze", ("yaw", "pitch"), 45) if "gaze" in data else None,
        gesture,
        release,
    )


def number(value: object, where: str, low: float, high: float) -> float:
    """``value`` as a number in a range. Raises CommandError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise CommandError(f"{where} is a number, not {value!r}"[:200])
    if not low <= value <= high:  # whole numbers may be too large for a float
        raise CommandError(f"{where} is from {low:g} to {high:g}")
    return float(value)


def _coefficients(value: object) -> dict[int, float]:
    out: dict[int, float] = {}
    for name, amount in _table(value, "arkit").items():
        both = [name] if name in facs.INDEX else [f"{name}Left", f"{name}Right"]
        if both[0] not in facs.INDEX:
            raise CommandError(f"unknown coefficient {name!r}; names are ARKit's, as jawOpen")
        share = min(1.0, max(0.0, number(amount, f"arkit.{name}", -1e6, 1e6)))
        out |= {facs.INDEX[n]: share for n in both}
    return out


def _units(value: object) -> dict[int, float]:
    out: dict[int, float] = {}
    for key, amount in _table(value, "au").items():
        if not str(key).isdecimal() or int(key) not in facs.AU_TO_ARKIT:
            raise CommandError(f"unknown action unit {key!r}; there are: {', '.join(map(str, facs.AU_TO_ARKIT))}")
        share = min(1.0, max(0.0, number(amount, f"au.{key}", -1e6, 1e6)))
        for name, gain in facs.AU_TO_ARKIT[int(key)].items():
            out[facs.INDEX[name]] = max(out.get(facs.INDEX[name], 0.0), gain * share)
    return out


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CommandError(f"{where} is an object of names and numbers")
    return value


def _angles(value: object, where: str, names: tuple[str, ...], most: float) -> Any:
    table = _table(value, where)
    for key in table:
        if key not in names:
            raise CommandError(f"unknown key {key!r} in {where}; there are: {', '.join(names)}")
    return tuple(number(table.get(name, 0.0), f"{where}.{name}", -most, most) for name in names)
