"""`avatar bench parameters`: eight outputs at once. How fast is for the bench; here it is whether they all arrive."""

import json
import subprocess
import sys


def test_eight_outputs_at_once():
    run = subprocess.run(
        [sys.executable, "-m", "avatar", "bench", "parameters", "--seconds", "2", "--json"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["states"] == 120
    assert len(found["rates"]) == len(found["sinks"]) == 8
    assert found["drops"] == sum(row["drops"] for row in found["sinks"].values())
    assert found["cpu_share"] > 0
    for name, row in found["sinks"].items():
        # A machine that stands still for a third of a second may lose some; the bench says how many.
        assert 60 <= row["arrived"] <= 120, name
        assert row["arrived"] + row["drops"] == 120
