"""The CSV that the Live Link Face app records: Timecode, BlendShapeCount, and 61 columns by name.

The values are those of its packets (:mod:`avatar.streams.sinks.parameters.live_link`: angles in radians); only the
columns stand in another order, right before left for jaw and mouth. The timecode is HH:MM:SS:FF.mmm, frames of the rate
and thousandths of a frame, from the states' own time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatar.core.types import SECOND, FaceState
from avatar.streams.animation.base import StateWriter
from avatar.streams.sinks.parameters import live_link

_SWAPPED = {"JawLeft": "JawRight", "JawRight": "JawLeft", "MouthLeft": "MouthRight", "MouthRight": "MouthLeft"}
COLUMNS: tuple[str, ...] = tuple(_SWAPPED.get(name, name) for name in live_link.NAMES)
_PLACES = np.array([live_link.NAMES.index(name) for name in COLUMNS])


def timecode(seconds: float, fps: int) -> str:
    """Seconds as HH:MM:SS:FF.mmm."""
    thousandths = round(seconds * fps * 1000)
    frames, rest = divmod(thousandths, 1000)
    whole, frame = divmod(frames, fps)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{frame:02d}.{rest:03d}"


class CsvWriter(StateWriter):
    def __init__(self, path: Path, fps: int) -> None:
        super().__init__(path, fps)
        self.put(",".join(("Timecode", "BlendShapeCount", *COLUMNS)).encode() + b"\n")

    def write(self, state: FaceState) -> None:
        values = live_link.values(state)[_PLACES]
        cells = (timecode(state.pts / SECOND, self.fps), str(len(COLUMNS)), *(f"{v:.8f}" for v in values))
        self.put(",".join(cells).encode() + b"\n")
