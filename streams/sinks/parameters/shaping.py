"""A sink's own rate, smoothing and mirror: the same states for all, thinned and calmed for one. No I/O, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from avatar.core import facs
from avatar.core.geometry import slerp
from avatar.core.types import MILLISECOND, SECOND, FaceState, Gaze, Ns, Pose, freeze

FORGET = SECOND // 2
"""After a gap of this length the smoothing begins anew: the old face says nothing about the new one."""

_SIDES = {"Left": "Right", "Right": "Left"}
_MIRRORED = np.array(
    [
        facs.INDEX[next((name.removesuffix(a) + b for a, b in _SIDES.items() if name.endswith(a)), name)]
        for name in facs.ARKIT
    ]
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What one sink does with the states before it sends them."""

    rate: float = 0.0
    """States a second at most; 0 = every state."""
    smooth_ms: float = 0.0
    """Time constant of a one-pole low-pass in milliseconds; 0 = none. It lags by as much."""
    mirror: bool = False
    """Swap left and right."""


class Shaper:
    """Applies a :class:`Shape`.

    :param fps: the session's pictures a second; a lower rate is held on average by taking the nearest picture.
    """

    def __init__(self, shape: Shape, fps: float) -> None:
        self._period = round(SECOND / shape.rate) if shape.rate else 0
        self._slack = round(SECOND / fps / 2)
        self._tau = shape.smooth_ms * MILLISECOND
        self._mirror = shape.mirror
        self._last: FaceState | None = None
        self._due: int | None = None

    def step(self, state: FaceState) -> FaceState | None:
        """The state to send; None = not this one."""
        if self._mirror:
            state = mirrored(state)
        if self._tau:
            state = self._smoothed(state)
        self._last = state
        return state if self._is_due(state.pts) else None

    def _smoothed(self, state: FaceState) -> FaceState:
        last = self._last
        gap = state.pts - last.pts if last is not None else -1
        if last is None or not 0 < gap < FORGET:
            return state
        k = 1 - math.exp(-gap / self._tau)
        arkit = last.arkit + np.float32(k) * (state.arkit - last.arkit)
        gaze = Gaze(_mix(last.gaze.yaw, state.gaze.yaw, k), _mix(last.gaze.pitch, state.gaze.pitch, k))
        facs.set_eye_look(arkit, gaze.yaw, gaze.pitch)
        x, y, z = (_mix(a, b, k) for a, b in zip(last.head.translation, state.head.translation, strict=True))
        head = Pose(slerp(last.head.rotation, state.head.rotation, k), (x, y, z))
        return replace(state, arkit=freeze(arkit), head=head, gaze=gaze)

    def _is_due(self, pts: Ns) -> bool:
        if not self._period:
            return True
        due = self._due
        if due is not None and due - 2 * self._period < pts < due - self._slack:
            return False
        late = due is None or not abs(pts - due) < self._period
        self._due = (pts if late or due is None else due) + self._period
        return True


def _mix(a: float, b: float, k: float) -> float:
    return a + k * (b - a)


def mirrored(state: FaceState) -> FaceState:
    """The state as a mirror shows it: left and right coefficients swapped, x turned round."""
    w, x, y, z = state.head.rotation
    right, up, near = state.head.translation
    return replace(
        state,
        arkit=freeze(state.arkit[_MIRRORED]),
        head=Pose((w, x, -y, -z), (-right, up, near)),
        gaze=Gaze(-state.gaze.yaw, state.gaze.pitch),
    )
