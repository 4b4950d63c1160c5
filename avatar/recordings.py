"""Where recordings are kept."""

from __future__ import annotations

import time
from pathlib import Path


def recordings_folder() -> Path:
    """Where recordings go."""
    from platformdirs import user_videos_path

    return user_videos_path() / "vultus"


def new_recording() -> Path:
    """The name of a recording that does not exist yet."""
    return recordings_folder() / time.strftime("vultus-%Y%m%d-%H%M%S.mp4")
