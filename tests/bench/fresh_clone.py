"""From a fresh clone to moving pictures with sound: clones into an empty folder, with an empty home, runs
``make run`` and watches the page in headless Chromium. Prints one JSON object.

    python tests/bench/fresh_clone.py
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from avatar.testing.browser import Browser

ROOT = Path(__file__).parents[2]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        clone, home = Path(folder) / "vultus", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "AVATAR_", "VIRTUAL_ENV", "PYTHON"))}
        environment = {**kept, "HOME": str(home), "NUMBA_CACHE_DIR": str(home / "numba")}
        begun = time.monotonic()
        run = subprocess.Popen(
            ["make", "run", "ARGS=--set server.port=0"],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert run.stdout is not None
            line = ""
            for line in run.stdout:
                print(line, end="", file=sys.stderr)
                if "http://" in line:
                    break
            address = line[line.index("http://") :].strip()
            ready = time.monotonic() - begun
            with Browser() as browser:
                page = browser.open(address)
                page.wait_for_function("document.querySelector('video')?.currentTime > 1")
                seen = time.monotonic() - begun
                heard = browser.measure(address, 5.0)
        finally:
            os.killpg(run.pid, signal.SIGTERM)
            run.wait(20)
    result = {
        "engine_ready_s": round(ready, 1),
        "moving_pictures_s": round(seen, 1),
        "fps": heard["fps"],
        "packets_received": heard["packets_received"],
        "audio_jitter_buffer_ms": heard["jitter_buffer_ms"]["audio"],
    }
    print(json.dumps(result))
    return int(not (seen < 300 and heard["fps"] > 20))


if __name__ == "__main__":
    sys.exit(main())
