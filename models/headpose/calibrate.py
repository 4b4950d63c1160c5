"""``python -m avatar.models.headpose.calibrate OUT.npz < pieces.npz``: learn one person's head model.

A process of its own, since the learning takes both cores for half a minute and a live session runs beside it. It reads
the arrays ``count``, ``audioN`` (n,) at 16 kHz, ``timesN`` (m,) in seconds, ``degreesN`` (m, 3) pitch, yaw, roll from
standard input, writes a line ``done of`` to standard output now and then, and one line to standard error if it fails.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

import numpy as np

from avatar.errors import AvatarError
from avatar.models.headpose.clips import Clip, clip_of

SEED = 0


def read_clips(data: bytes) -> list[Clip]:
    """The pieces of one recording as clips."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return [
            clip_of(arrays[f"audio{i}"], arrays[f"times{i}"], arrays[f"degrees{i}"])
            for i in range(int(arrays["count"]))
        ]


def main() -> int:
    """Entry point of the process."""
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):  # where it is forbidden, learning takes its share as any program does
            os.nice(5)
    from avatar.models.headpose.learn import learn

    def progress(done: int, of: int) -> None:
        print(done, of, flush=True)  # noqa: T201 - this is how the parent hears of it

    try:
        learn(read_clips(sys.stdin.buffer.read()), seed=SEED, progress=progress).save(Path(sys.argv[1]))
    except (AvatarError, ImportError) as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
