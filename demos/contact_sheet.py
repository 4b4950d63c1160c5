"""Render a recording with several avatars and lay frames of each clip side by side.

python demos/contact_sheet.py speech.wav sheet.jpg lin sam ruth raf
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np

COLUMNS, SIDE = 8, 196


def frames(clip: Path) -> list[np.ndarray]:
    with av.open(str(clip)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def row(recording: str, avatar: str, folder: Path) -> np.ndarray:
    clip = folder / "clip.mp4"
    command = [sys.executable, "-m", "avatar.cli", "render", "--avatar", avatar, "--audio", recording, "-o", str(clip)]
    subprocess.run(command, check=True)
    pictures = frames(clip)
    picked = np.linspace(8, len(pictures) - 8, COLUMNS).astype(int)
    return np.hstack([cv2.resize(pictures[i], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for i in picked])


def main(recording: str, out: str, *avatars: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sheet = np.vstack([row(recording, avatar, Path(folder)) for avatar in avatars])
    cv2.imwrite(out, sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])


main(*sys.argv[1:])
