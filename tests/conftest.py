"""What all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
