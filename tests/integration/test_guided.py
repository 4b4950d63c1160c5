"""`avatar pipeline`: from somebody's video to a labelled clip, each step in the manifest."""

from __future__ import annotations

import json

import pytest


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_synthetic_persons_video_becomes_a_labelled_clip(avatar, tmp_path, detector):
    states, video, out = tmp_path / "s.jsonl", tmp_path / "person.mp4", tmp_path / "clip.mp4"
    rest = [{"t": i / 30, "arkit": {"jawOpen": 0.5 if i < 20 else 0.0}} for i in range(40)]
    states.write_text("".join(json.dumps(row) + "\n" for row in rest))
    assert avatar("render", "--states", states, "--avatar", "lin", "-o", video).returncode == 0
    command = ("pipeline", video, "--name", "twin", "--consent", "synthetic", "--text", "Hello.", "--size", 256)
    made = avatar(*command, "-o", out, "--json", timeout=200)
    assert made.returncode == 0, made.stderr
    said = json.loads(made.stdout)
    assert list(said["steps"]) == ["acquire", "learn", "generate", "embed"]
    moment = float(said["steps"]["acquire"].split(" at ")[1].split(" s")[0])
    assert moment > 0.6, "the mouth is shut in the picture that was taken"
    assert "holds no sound" in made.stderr, "why no head motion was learnt"
    checked = json.loads(avatar("verify", out, "--json").stdout)
    assert checked["manifest"]["valid"]
    steps = checked["manifest"]["facts"]["steps"]
    assert [step.partition(":")[0] for step in steps] == ["acquire", "learn", "generate", "embed"]
    assert checked["watermark"]["consent"] == "synthetic"
    assert json.loads(avatar("avatars", "show", "twin", "--json").stdout)["kind"] == "synthetic"


def test_who_agreed_is_asked_before_anything_is_done(avatar, tmp_path):
    run = avatar("pipeline", tmp_path / "no.mp4", "--name", "x", "-o", tmp_path / "x.mp4")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "--consent" in run.stderr
    run = avatar("pipeline", tmp_path / "no.mp4", "--name", "x", "--consent", "self", "-o", tmp_path / "x.mp4")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "no such file" in run.stderr
