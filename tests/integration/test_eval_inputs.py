"""The judges of what comes in, as a user runs them."""

import json

import pytest


@pytest.mark.slow
def test_a_recorded_face_comes_back_when_it_is_enacted(avatar):
    run = avatar("eval", "reenact", "--limit", 60, "--json", timeout=300)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["found_again"] == found["frames"] == 60
    assert found["groups"]["jaw"] > 0.8
    assert found["head_deg"]["yaw"]["mean"] < 3


def test_an_act_is_said_of_a_text_only(avatar, tmp_path):
    run = avatar("render", "--audio", tmp_path / "x.wav", "--act", "ask", "-o", tmp_path / "x.mp4")
    assert run.returncode == 2
    assert "give --text" in run.stderr
    run = avatar("render", "--text", "Hello", "--act", "shout", "-o", tmp_path / "x.mp4")
    assert run.returncode == 2
    assert "ask" in run.stderr


def test_acts_make_different_states_of_one_text(avatar, tmp_path):
    heads = []
    for act in ("ask", "answer"):
        out = tmp_path / f"{act}.jsonl"
        clip = ("--size", 256, "-o", tmp_path / "x.mp4", "--states-out", out)
        run = avatar("render", "--text", "It rains", "--act", act, *clip)
        assert run.returncode == 0, run.stderr
        states = [json.loads(line) for line in out.read_text().splitlines()]
        heads.append(max(abs(state["head"]["roll"]) for state in states))
        assert any(state["gesture"] for state in states)
    assert heads[0] > heads[1] + 3
