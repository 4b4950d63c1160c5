"""A head learnt from a video, used by the next run, and removed again: as a user does it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from avatar import reading

SPOKEN = " ".join(reading.TEXT[1:6])
"""About forty seconds."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a speaking face that belongs to nobody."""
    out = tmp_path_factory.mktemp("clip") / "me.mp4"
    command = [sys.executable, "-m", "avatar.cli", "render", "--text", SPOKEN, "-o", str(out)]
    subprocess.run([*command, "--size", "256", "--fps", "15"], check=True, timeout=200)
    return out


def cut(source: Path, out: Path, seconds: float = 1e9, sound: bool = True, faces: int = 1) -> Path:
    """A copy of a video, shortened, with no face, or with two side by side, with sound or with silence."""
    with av.open(str(source)) as media, av.open(str(out), "w") as made:
        shown, heard = media.streams.video[0], media.streams.audio[0]
        video = made.add_stream("libx264", rate=15, options={"preset": "ultrafast"})
        video.width, video.height = shown.width * max(1, faces), shown.height
        voice = made.add_stream("aac", rate=heard.rate)
        for frame in media.decode(shown, heard):
            if frame.time > seconds:
                break
            if isinstance(frame, av.VideoFrame):
                pixels = frame.to_ndarray(format="rgb24")
                pixels = np.hstack([pixels] * faces) if faces else np.full_like(pixels, 90)
                other = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                other.pts, other.time_base = frame.pts, frame.time_base
                made.mux(video.encode(other))
            else:
                if not sound:
                    samples = frame.to_ndarray()
                    quiet = av.AudioFrame.from_ndarray(np.zeros_like(samples), frame.format.name, frame.layout.name)
                    quiet.sample_rate, quiet.pts, quiet.time_base = frame.sample_rate, frame.pts, frame.time_base
                    frame = quiet
                made.mux(voice.encode(frame))
        made.mux(video.encode())
        made.mux(voice.encode())
    return out


@contextmanager
def live(avatar: Any) -> Iterator[dict[str, Any]]:
    """The state that the next `avatar run` says it has."""
    settings = [word for pair in ("server.port=0", "input.audio=silence") for word in ("--set", pair)]
    process = subprocess.Popen(
        [sys.executable, "-m", "avatar.cli", "run", *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**avatar.environment, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{address}/api/state", timeout=10) as answer:
            yield json.loads(answer.read())
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_head_is_learnt_used_by_the_next_run_and_removed(avatar, clip, tmp_path):
    pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")
    done = avatar("calibrate", "--video", clip, "--json", timeout=250)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["learn_s"] < 60, "30 s are the aim; the machine of a test may be shared"
    assert said["habits"]["speech_seconds"] > 20
    assert said["words"].startswith("You move your head")
    folder = Path(said["folder"])
    assert folder.is_relative_to(tmp_path), "kept among the user's data"
    assert {file.name for file in folder.iterdir()} == {"calibration.json", "head.npz"}
    if os.name == "posix":
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}

    with live(avatar) as state:
        assert state["own_head"]["used"]
        assert state["own_head"]["words"] == said["words"]
        assert state["faults"] == []

    heads = {}
    for name in ("auto", "none", "me"):
        states = tmp_path / f"{name}.jsonl"
        run = avatar("analyze", "--audio", clip, "--states-out", states, "--set", f"face.calibration={name}")
        assert run.returncode == 0, run.stderr
        heads[name] = [json.loads(line)["head"] for line in states.read_text().splitlines()]
    assert heads["auto"] == heads["none"] != heads["me"], "offline it is the same for everybody unless it is named"

    assert avatar("calibrate", "--use", "default").returncode == 0
    with live(avatar) as state:
        assert (state["own_head"]["kept"], state["own_head"]["used"]) == (True, False)
    assert avatar("calibrate", "--use", "me").returncode == 0

    head = (folder / "head.npz").read_bytes()
    (folder / "head.npz").write_bytes(b"of another program")
    assert "damaged" not in avatar("calibrate", "--show").stdout, "a copy is made again"
    assert (folder / "head.npz").read_bytes() == head
    for file in (folder / "head.npz", next(folder.parents[2].glob(f"blobs/*/{hashlib.sha256(head).hexdigest()}"))):
        file.write_bytes(b"of another program")
    shown = json.loads(avatar("calibrate", "--show", "--json").stdout)["calibrations"]
    assert "damaged" in shown[0]["error"]
    with live(avatar) as state:
        assert not state["own_head"]["used"], "the default head goes on"
        assert "damaged" in state["faults"][0]

    assert avatar("calibrate", "--delete").returncode == 0
    assert not folder.exists()
    with live(avatar) as state:
        assert (state["own_head"]["kept"], state["faults"]) == (False, [])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"seconds": 5.0}, "5 seconds are too short"),
        ({"faces": 0}, "no face was seen"),
        ({"faces": 2}, "more than one person"),
        ({"sound": False}, "no sound came"),
    ],
)
def test_a_video_that_nothing_can_be_learnt_from(avatar, clip, tmp_path, how, says):
    pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")
    bad = cut(clip, tmp_path / "bad.mp4", **how)
    run = avatar("calibrate", "--video", bad, timeout=200)
    assert run.returncode == 2, run.stderr
    assert says in run.stderr
    assert run.stderr.count("\n") == 1, run.stderr
    assert json.loads(avatar("calibrate", "--show", "--json").stdout)["calibrations"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--video", "nowhere.mp4"), "nowhere.mp4"),
        (("--audio", "voice.wav"), "both microphone and camera"),
        (("--name", "none", "--video", "x.mp4"), "cannot be the name"),
        (("--delete",), "no calibration is called me"),
        (("--use", "you"), "no calibration is called you"),
        (("--seconds", "0"), "not a number above 0"),
        (("--show", "--delete"), "not allowed with"),
    ],
)
def test_wrong_usage_is_one_clear_line(avatar, tmp_path, monkeypatch, arguments, says):
    if arguments[0] in ("--video",):
        pytest.importorskip("hmmlearn", reason="without it that is said first")
    monkeypatch.chdir(tmp_path)
    run = avatar("calibrate", *arguments)
    assert run.returncode == 2, run.stderr
    assert says in run.stderr
    assert run.stderr.count("\n") == 1, run.stderr
