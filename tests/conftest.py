"""What all tests share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar.models import registry
from avatar.portrait import bundle
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.landmarks import LandmarkDetector

# Two cores are enough for everybody only while nobody starts a pool of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")


class Command:
    """``avatar`` as a user runs it."""

    def __init__(self, home: Path) -> None:
        self.environment = {**os.environ, "XDG_DATA_HOME": str(home / "data"), "XDG_VIDEOS_DIR": str(home / "videos")}

    def __call__(self, *arguments: object, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "avatar.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=self.environment)


@pytest.fixture
def avatar(tmp_path: Path) -> Command:
    """Runs the command with a data folder of its own."""
    return Command(tmp_path / "home")


@pytest.fixture(scope="session")
def recording() -> Path:
    """A real voice: one sentence of a LibriVox reading (Debian's pocketsphinx-testdata)."""
    path = LIBRIVOX / "sense_and_sensibility_01_austen_64kb-0880.wav"
    if not path.exists():
        pytest.skip("no LibriVox clip: pocketsphinx-testdata is a Debian package (tests/setup_system.sh installs it)")
    return path


@pytest.fixture(scope="session")
def detector() -> Iterator[LandmarkDetector]:
    """Finds faces in photos."""
    (model,) = registry.fetch("face_landmarker_v2.task")
    with LandmarkDetector(model) as found:
        yield found


@pytest.fixture(scope="session")
def sam() -> AvatarBundle:
    """A shipped avatar: neither smile nor glasses, mouth shut."""
    return bundle.load(registry.avatars_dir() / "sam")


@pytest.fixture(scope="session")
def probe() -> Callable[[Path], dict[str, Any]]:
    """What FFmpeg's own tool says of a file, as another program would see it."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not here (Debian's ffmpeg; tests/setup_system.sh installs it)")

    def ask(path: Path) -> dict[str, Any]:
        command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", str(path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        assert run.stderr == ""
        return json.loads(run.stdout)

    return ask
