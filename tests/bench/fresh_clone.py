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
SOUND = """async () => {
  const { peer } = await import("/app.js");
  const all = [...(await peer.connection.getStats()).values()];
  const sound = all.find((one) => one.type === "inbound-rtp" && one.kind === "audio");
  return [sound.totalAudioEnergy, sound.totalSamplesDuration];
}"""


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
                page = browser.open(address, timeout=240)
                seen = time.monotonic() - begun
                page.wait_for_timeout(5000)
                energy, duration = page.evaluate(SOUND)
                heard = browser.measure(address, 5.0)
        finally:
            os.killpg(run.pid, signal.SIGTERM)
            run.wait(20)
    result = {
        "engine_ready_s": round(ready, 1),
        "moving_pictures_s": round(seen, 1),
        "fps": heard["fps"],
        "sound_rms": round((energy / duration) ** 0.5, 4),
    }
    print(json.dumps(result))
    return int(not (seen < 300 and heard["fps"] > 20 and result["sound_rms"] > 0.001))


if __name__ == "__main__":
    sys.exit(main())
