"""A face state as JSON: one object a frame, the format of states files and of the parameter socket.

    {"t": seconds, "arkit": {name: 0..1}, "au": {"12": 0..1},
     "head": {"yaw": deg, "pitch": deg, "roll": deg, "x": mm, "y": mm, "z": mm}, "gaze": {"yaw": deg, "pitch": deg},
     "viseme": {name: p}, "emotion": {"label": name, "intensity": 0..1, "valence": -1..1, "arousal": -1..1},
     "gesture": null | {"name": name, "start": s, "stroke": s, "end": s}, "voiced": bool,
     "confidence": {"lips": 0..1, "expression": 0..1, "head": 0..1, "gaze": 0..1}}

Every key is written; all but ``t`` may be missing when read. ``arkit`` is the state and ``au`` a view of it: where both
are given ``arkit`` wins, where only ``au`` is given it makes the coefficients, the gaze and the head.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from avatar.core import facs
from avatar.core.types import (
    EMOTIONS,
    SECOND,
    Confidence,
    Emotion,
    FaceState,
    Gaze,
    GestureCue,
    Pose,
    freeze,
    seconds,
    zeros,
)
from avatar.errors import UsageError

KEYS = ("t", "arkit", "au", "head", "gaze", "viseme", "emotion", "gesture", "voiced", "confidence")
_HEAD = ("yaw", "pitch", "roll", "x", "y", "z")
_ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_CONFIDENCE = ("lips", "expression", "head", "gaze")


def state_to_json(state: FaceState) -> dict[str, Any]:
    """``state`` as a JSON object; every number is finite, with five decimals (time with nine)."""

    def number(value: float) -> float:
        value = float(value)
        return round(value, 5) if math.isfinite(value) else 0.0

    yaw, pitch, roll = state.head.euler
    x, y, z = state.head.translation
    emotion = state.emotion
    return {
        "t": round(state.pts / SECOND, 9),
        "arkit": dict(zip(facs.ARKIT, _rounded(state.arkit), strict=True)),
        "au": {str(unit): number(v) for unit, v in state.au.items()},
        "head": {k: number(v) for k, v in zip(_HEAD, (yaw, pitch, roll, x, y, z), strict=True)},
        "gaze": {"yaw": number(math.degrees(state.gaze.yaw)), "pitch": number(math.degrees(state.gaze.pitch))},
        "viseme": dict(zip(facs.VISEMES, _rounded(state.visemes), strict=True)),
        "emotion": {
            "label": emotion.label,
            "intensity": number(emotion.intensity),
            "valence": number(emotion.valence),
            "arousal": number(emotion.arousal),
        },
        "gesture": _gesture_to_json(state.gesture),
        "voiced": bool(state.voiced),
        "confidence": {k: number(getattr(state.confidence, k)) for k in _CONFIDENCE},
    }


def finite(values: np.ndarray) -> np.ndarray:
    """The same numbers, with 0 for those that are none."""
    if math.isfinite(values.sum()):  # nearly always, and ten times cheaper than to look at each
        return values
    return np.nan_to_num(values, posinf=0.0, neginf=0.0)


def _rounded(values: np.ndarray) -> list[float]:
    """All of a vector as finite numbers with five decimals; this is done sixty times a second."""
    return list(np.round(finite(values.astype(np.float64)), 5).tolist())


def state_to_line(state: FaceState) -> str:
    """``state`` as one line of JSON, without the line's end."""
    return _ENCODE(state_to_json(state))


def state_from_json(data: object) -> FaceState:
    """The state of a JSON object. Coefficients and probabilities are clipped to [0, 1].

    Raises UsageError that names the key: unknown, missing, or not a finite number.
    """
    top = _table(data, "the state", KEYS)
    if "t" not in top:
        raise UsageError("t is missing; give the time of the state in seconds")
    units = _units(top["au"]) if "au" in top else {}
    arkit = _arkit(top["arkit"]) if "arkit" in top else facs.from_action_units(units)
    if "gaze" in top:
        table = _numbers(top["gaze"], "gaze", ("yaw", "pitch"))
        gaze = Gaze(math.radians(table.get("yaw", 0.0)), math.radians(table.get("pitch", 0.0)))
        facs.set_eye_look(arkit, gaze.yaw, gaze.pitch)
    else:
        gaze = Gaze(*facs.eye_look(arkit))
    return FaceState(
        pts=seconds(_number(top["t"], "t")),
        arkit=freeze(arkit),
        head=_head(top["head"]) if "head" in top else _head_of_units(units),
        gaze=gaze,
        visemes=_visemes(top["viseme"]) if "viseme" in top else zeros(len(facs.VISEMES)),
        emotion=_emotion(top["emotion"]) if "emotion" in top else Emotion(),
        voiced=_flag(top.get("voiced", False), "voiced"),
        confidence=_confidence(top.get("confidence")),
        gesture=_gesture(top.get("gesture")),
    )


def _gesture_to_json(gesture: GestureCue | None) -> dict[str, Any] | None:
    if gesture is None:
        return None
    times = {"start": gesture.pts, "stroke": gesture.stroke, "end": gesture.end}
    return {"name": gesture.name, **{key: round(t / SECOND, 5) for key, t in times.items()}}


def _gesture(value: object) -> GestureCue | None:
    if value is None:
        return None
    table = dict(_table(value, "gesture", ("name", "start", "stroke", "end")))
    name = table.pop("name", None)
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        raise UsageError("gesture.name must be a text of 1 to 64 characters, as beat_right")
    times = _numbers(table, "gesture")
    if len(times) != 3 or not times["start"] <= times["stroke"] <= times["end"]:
        raise UsageError("gesture: give start, stroke and end in seconds, in that order")
    return GestureCue(seconds(times["start"]), name, seconds(times["stroke"]), seconds(times["end"]))


def _table(value: object, where: str, known: tuple[str, ...] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} must be an object, not {type(value).__name__}")
    for key in value:
        if known is not None and key not in known:
            raise UsageError(f"unknown key {key!r} in {where}; there are: {', '.join(known)}")
    return value


def _number(value: object, where: str) -> float:
    # bool is an int for Python, but true is not a measure of anything
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"{where} must be a finite number, not {value!r}")
    return float(value)


def _numbers(value: object, where: str, known: tuple[str, ...] | None = None) -> dict[str, float]:
    return {k: _number(v, f"{where}.{k}") for k, v in _table(value, where, known).items()}


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{where} must be true or false, not {value!r}")
    return value


def _arkit(value: object) -> np.ndarray:
    numbers = _numbers(value, "arkit")
    try:
        return facs.arkit_vector(numbers)
    except KeyError as error:
        raise UsageError(f"unknown coefficient {error.args[0]!r} in arkit; names are ARKit's, as jawOpen") from None


def _units(value: object) -> dict[int, float]:
    units: dict[int, float] = {}
    for key, intensity in _numbers(value, "au").items():
        # isdecimal also takes other scripts' digits; int() reads them alike
        if not str(key).isdecimal() or int(key) not in facs.AU_NAMES:
            raise UsageError(f"unknown action unit {key!r} in au; known are {', '.join(map(str, facs.AU_NAMES))}")
        units[int(key)] = min(1.0, max(0.0, intensity))
    return units


def _head(value: object) -> Pose:
    table = _numbers(value, "head", _HEAD)
    yaw, pitch, roll, x, y, z = (table.get(k, 0.0) for k in _HEAD)
    return Pose(Pose.degrees(yaw, pitch, roll).rotation, (x, y, z))


def _head_of_units(units: Mapping[int, float]) -> Pose:
    """Inverse of the head units (51-56) in :func:`avatar.core.facs.to_action_units`."""
    yaw, pitch, roll = (units.get(a, 0.0) - units.get(b, 0.0) for a, b in ((51, 52), (53, 54), (56, 55)))
    return Pose.degrees(yaw * facs.HEAD_RANGE, pitch * facs.HEAD_RANGE, roll * facs.HEAD_RANGE)


def _visemes(value: object) -> np.ndarray:
    table = _numbers(value, "viseme", facs.VISEMES)
    return freeze(np.array([min(1.0, max(0.0, table.get(n, 0.0))) for n in facs.VISEMES], np.float32))


def _emotion(value: object) -> Emotion:
    table = dict(_table(value, "emotion", ("label", "intensity", "valence", "arousal")))
    label = table.pop("label", "neutral")
    if label not in EMOTIONS:
        raise UsageError(f"unknown emotion {label!r} in emotion.label; there are: {', '.join(EMOTIONS)}")
    numbers = _numbers(table, "emotion")
    # A label alone means the emotion in full.
    intensity = numbers.get("intensity", 0.0 if label == "neutral" else 1.0)
    return Emotion(
        label,
        min(1.0, max(0.0, intensity)),
        min(1.0, max(-1.0, numbers.get("valence", 0.0))),
        min(1.0, max(-1.0, numbers.get("arousal", 0.0))),
    )


def _confidence(value: object) -> Confidence:
    if value is None:  # somebody wrote this state on purpose
        return Confidence(1.0, 1.0, 1.0, 1.0)
    table = _numbers(value, "confidence", _CONFIDENCE)
    return Confidence(**{k: min(1.0, max(0.0, table.get(k, 0.0))) for k in _CONFIDENCE})
