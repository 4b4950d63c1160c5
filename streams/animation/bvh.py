"""Head and eyes as a BVH motion capture file (Biovision Hierarchy).

Axes are ours: x to the subject's left, y up, z forward, as BVH files commonly have them; centimetres and degrees. A
joint's channels are applied in their order, R = Ry Rx Rz, which is what :mod:`avatar.core.geometry` calls yaw, -pitch
and roll.
"""

from __future__ import annotations

import math
from pathlib import Path

from avatar.core.types import FaceState
from avatar.streams.animation.base import StateWriter

_EYE = (
    "  JOINT {name}\n  {{\n    OFFSET {x:.2f} 8.00 9.00\n    CHANNELS 3 Yrotation Xrotation Zrotation\n"
    "    End Site\n    {{\n      OFFSET 0.00 0.00 1.20\n    }}\n  }}\n"
)
HIERARCHY = (
    "HIERARCHY\nROOT Head\n{\n  OFFSET 0.00 0.00 0.00\n"
    "  CHANNELS 6 Xposition Yposition Zposition Yrotation Xrotation Zrotation\n"
    + _EYE.format(name="LeftEye", x=3.1)
    + _EYE.format(name="RightEye", x=-3.1)
    + "}\n"
)
"""The head turns about the top of the neck; the eyes are where an adult's are."""


class BvhWriter(StateWriter):
    """The number of frames stands before them, so they are kept until the end (a hundred bytes each)."""

    def __init__(self, path: Path, fps: int) -> None:
        super().__init__(path, fps)
        self._lines: list[str] = []

    def write(self, state: FaceState) -> None:
        yaw, pitch, roll = state.head.euler
        place = (v / 10 for v in state.head.translation)
        eye = (math.degrees(state.gaze.yaw), -math.degrees(state.gaze.pitch), 0.0)
        numbers = (*place, yaw, -pitch, roll, *eye, *eye)
        self._lines.append(" ".join(f"{v:.5f}" for v in numbers))

    def finish(self) -> None:
        head = f"{HIERARCHY}MOTION\nFrames: {len(self._lines)}\nFrame Time: {1 / self.fps:.8f}\n"
        self.put((head + "\n".join(self._lines) + "\n").encode("ascii"))
