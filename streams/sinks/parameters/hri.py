"""ROS4HRI's messages (https://github.com/ros4hri/hri_msgs) as plain data: what a robot's face shows.

``FacialActionUnits`` holds arrays of 99 floats by the unit's number. ``intensity`` is the state's; ``FAU``, which the
first version of the message has, is 1 where a unit is present. A unit that our states do not know has confidence 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avatar.core.facs import AU_NAMES
from avatar.core.types import SECOND, EmotionLabel, FaceState

UNITS = 99
PRESENT = 0.05
"""Intensity from which a unit counts as present: the trace of FACS' A."""
EXPRESSIONS: Mapping[EmotionLabel, str] = {
    "neutral": "neutral",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "scared",
    "disgust": "disgusted",
    "surprise": "surprised",
}
"""Our labels -> the strings of hri_msgs/Expression."""
_UPPER = {1, 2, 4, 5, 6, 7, 9, 43, 45}


def _track(unit: int) -> str:
    if unit in _UPPER:
        return "expression"
    return "head" if 51 <= unit <= 56 else "gaze" if 61 <= unit <= 64 else "lips"


_TRACKS = {unit: _track(unit) for unit in AU_NAMES}


def header(state: FaceState, frame_id: str) -> dict[str, Any]:
    """std_msgs/Header; the stamp is the state's time on the session's timeline."""
    second, rest = divmod(state.pts, SECOND)
    return {"stamp": {"sec": second, "nanosec": rest}, "frame_id": frame_id}


def action_units(state: FaceState, frame_id: str) -> dict[str, Any]:
    """hri_msgs/FacialActionUnits."""
    present, intensity, confidence = [0.0] * UNITS, [0.0] * UNITS, [0.0] * UNITS
    for unit, value in state.au.items():
        intensity[unit] = round(value, 4)
        present[unit] = float(value >= PRESENT)
        confidence[unit] = round(float(getattr(state.confidence, _TRACKS[unit])), 4)
    return {"header": header(state, frame_id), "FAU": present, "intensity": intensity, "confidence": confidence}


def expression(state: FaceState, frame_id: str) -> dict[str, Any]:
    """hri_msgs/Expression. How strongly it shows is the confidence."""
    emotion = state.emotion
    return {
        "header": header(state, frame_id),
        "expression": EXPRESSIONS[emotion.label],
        "valence": round(emotion.valence, 4),
        "arousal": round(emotion.arousal, 4),
        "confidence": round(1.0 if emotion.label == "neutral" else emotion.intensity, 4),
    }
