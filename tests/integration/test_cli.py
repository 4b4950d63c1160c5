"""The command as users run it, from photo and sound to files."""

import json
from hashlib import sha256

import av
import cv2
import numpy as np
import pytest


def streams(found):
    return {s["codec_type"]: s for s in found["streams"]}


def test_a_real_recording_becomes_a_clip_of_the_right_length(avatar, recording, tmp_path, probe):
    out, states = tmp_path / "clip.mp4", tmp_path / "states.jsonl"
    run = avatar("render", "--audio", recording, "-o", out, "--states-out", states, "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    kinds = streams(probe(out))
    sound = float(streams(probe(recording))["audio"]["duration"])
    assert int(kinds["video"]["nb_read_frames"]) == said["frames"]
    assert abs(said["frames"] / 30 - sound) <= 1 / 30
    assert abs(float(kinds["audio"]["duration"]) - sound) < 0.05
    rows = [json.loads(line) for line in states.read_text().splitlines()]
    assert len(rows) == said["frames"]
    jaws = np.array([row["arkit"]["jawOpen"] for row in rows])
    assert jaws.max() > 0.15, "it speaks"
    assert (jaws < 0.03).mean() > 0.1, "and closes its mouth between words"


def test_the_same_input_gives_the_same_pictures(avatar, tmp_path):
    hashes = []
    for name in ("a.mp4", "b.mp4"):
        run = avatar("render", "--text", "Maybe Bob bought a map.", "-o", tmp_path / name, "--size", 256, "--fps", 15)
        assert run.returncode == 0, run.stderr
        with av.open(str(tmp_path / name)) as clip:
            pictures = b"".join(bytes(packet) for packet in clip.demux(video=0))
        assert len(pictures) > 10_000
        hashes.append(sha256(pictures).hexdigest())
    assert hashes[0] == hashes[1]


def test_a_transparent_clip_shows_the_person_alone(avatar, tmp_path):
    out = tmp_path / "cut.mov"
    options = ("--text", "Hello.", "--avatar", "lin", "--background", "alpha", "--size", 256, "--fps", 15)
    run = avatar("render", *options, "-o", out)
    assert run.returncode == 0, run.stderr
    with av.open(str(out)) as clip:
        picture = next(clip.decode(video=0)).to_ndarray(format="rgba")
    assert (picture[:40, :40, 3] < 3).all(), "background"
    assert (picture[100:160, 100:150, 3] > 252).all(), "face"
    for options in (("-o", tmp_path / "a.mp4", "--background", "alpha"), ("-o", tmp_path / "a.mov")):
        run = avatar("render", "--text", "Hello.", *options)
        assert run.returncode == 2
        assert "both or neither" in run.stderr


def test_states_go_out_and_in_again(avatar, tmp_path, probe):
    states, out = tmp_path / "s.jsonl", tmp_path / "again.mp4"
    first = avatar("render", "--text", "Hello.", "-o", tmp_path / "a.mp4", "--states-out", states, "--size", 256)
    assert first.returncode == 0, first.stderr
    again = avatar("render", "--states", states, "-o", out, "--size", 256, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["frames"] == len(states.read_text().splitlines())
    assert "audio" not in streams(probe(out))


def test_analyze_writes_states_without_drawing(avatar, recording, tmp_path):
    run = avatar("analyze", "--audio", recording, "--states-out", tmp_path / "s.jsonl", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["states"] == len((tmp_path / "s.jsonl").read_text().splitlines())


@pytest.mark.parametrize("option", [("--au", "12=1,6=.6"), ("--arkit", "jawOpen=.5,eyeBlink=1")])
def test_one_picture(avatar, tmp_path, option):
    out = tmp_path / "smile.png"
    run = avatar("image", *option, "--yaw", 5, "--size", 256, "-o", out)
    assert run.returncode == 0, run.stderr
    assert cv2.imread(str(out)).shape == (256, 256, 3)


def test_a_photo_becomes_an_avatar_and_is_deleted(avatar, tmp_path):
    data = pytest.importorskip("skimage.data", reason="scikit-image has the portrait (extra: test)")
    photo = tmp_path / "me.png"
    cv2.imwrite(str(photo), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    made = avatar("create", photo, "--name", "eileen", "--consent", "licensed", "--json")
    assert made.returncode == 0, made.stderr
    twice = avatar("create", photo, "--name", "eileen", "--consent", "licensed")
    assert (twice.returncode, twice.stderr.count("\n")) == (2, 1)
    shown = avatar("image", "--avatar", "eileen", "--au", "26=1", "-o", tmp_path / "e.png")
    assert shown.returncode == 0, shown.stderr
    listed = json.loads(avatar("avatars", "--json").stdout)["avatars"]
    assert next(a for a in listed if a["name"] == "eileen")["consent"] == "licensed"
    assert avatar("avatars", "--delete", "eileen").returncode == 0
    assert avatar("image", "--avatar", "eileen", "-o", tmp_path / "e.png").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("render", "-o", "x.mp4"), 2, "give one of --audio, --video, --text, --states"),
        (("render", "--text", "a", "--audio", "b.wav", "-o", "x.mp4"), 2, "give one of"),
        (("render", "--audio", "nowhere.wav", "-o", "x.mp4"), 2, "nowhere.wav"),
        (("render", "--text", "a", "-o", "x.avi"), 2, ".mp4"),
        (("render", "--text", " ", "-o", "x.mp4"), 2, "text"),
        (("render", "--text", "a", "--avatar", "nobody", "-o", "x.mp4"), 2, "nobody"),
        (("render", "--text", "a", "--engine", "magic", "-o", "x.mp4"), 2, "no engine named 'magic'"),
        (("render", "--text", "a", "--emotion", "bored", "-o", "x.mp4"), 2, "face.emotion"),
        (("render", "--text", "a", "--size", "100", "-o", "x.mp4"), 2, "avatar.size"),
        (("image", "--au", "99=1", "-o", "x.png"), 2, "99"),
        (("image", "--arkit", "smirk=1", "-o", "x.png"), 2, "smirk"),
        (("image", "--arkit", "jawOpen", "-o", "x.png"), 2, "name=value"),
        (("create", "nowhere.jpg", "--name", "x", "--consent", "self"), 2, "nowhere.jpg"),
        (("create", "x.jpg", "--name", "x"), 2, "--consent"),
        (("config", "show", "--set", "a.b=1"), 2, "unknown key a"),
        (("run", "--config", "nowhere.toml"), 2, "nowhere.toml"),
        (("train", "head_basis"), 2, "--data"),
        (("fly",), 2, "fly"),
    ],
)
def test_wrong_usage_is_one_clear_line(avatar, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    run = avatar(*arguments)
    assert run.returncode == code, run.stderr
    assert says in run.stderr
    assert run.stderr.count("\n") == 1, run.stderr
    assert not list(tmp_path.glob("x.*")), "nothing is left behind"


def test_json_is_one_object_and_nothing_else(avatar):
    for command in (("devices",), ("doctor",), ("avatars",), ("models", "list"), ("config", "show")):
        run = avatar(*command, "--json")
        assert isinstance(json.loads(run.stdout), dict), command
        assert run.returncode in (0, 1), command


def test_config_show_says_where_a_value_comes_from(avatar):
    run = avatar("config", "show", "--config", "webcam.toml", "--set", "avatar.fps=25")
    assert "avatar.fps = 25    # --set" in run.stdout
    assert "webcam.toml" in run.stdout
