"""``avatar eval`` as users run it."""

import json

import pytest

from avatar.models.data.corpus import write_flac
from avatar.streams.sources.text import EspeakVoice

ROW = {"frame_accuracy", "closure_recall", "false_closure", "lag_ms", "frames", "closures", "confusions"}


def test_own_recordings_are_judged_under_the_agreed_keys(avatar, tmp_path):
    pytest.importorskip("pocketsphinx", reason="alignment needs PocketSphinx (extra: test)")
    espeak = EspeakVoice()
    for name, voice, text in (
        ("one", "en-us+m5", "Maybe Bob bought a map."),
        ("two", "en-us+f3", "Place white by p nine again."),
    ):
        speech = espeak.synthesize(text, voice)
        write_flac(speech.samples, tmp_path / f"{name}.flac", speech.rate)
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "three.wav").write_bytes(b"")
    (tmp_path / "three.txt").write_text("This file is empty.")
    run = avatar("eval", "visemes", "--data", tmp_path, "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert set(said["rows"]["ours"]) >= ROW
    assert set(said["rows"]["mfcc"]) >= ROW
    assert said["rows"]["hama"].keys() >= ROW or said["rows"]["hama"]["missing"]
    assert said["rows"]["ours"] == said["sets"]["data"]["rows"]["ours"]
    assert said["rows"]["ours"]["closures"] == 8, 'the two of "Bob bought" are one; the b of "by" is unsure'
    assert said["rows"]["ours"]["closure_recall"] >= 0.5
    assert said["sets"]["data"]["recordings"] == 3
    assert [line.split()[0] for line in said["sets"]["data"]["skipped"]] == ["three.wav"]


@pytest.mark.parametrize(
    "options",
    [
        ("visemes", "--data", "."),
        ("visemes", "--corpus", "."),
        ("quiet", "--keep", "x"),
        ("quiet", "--minutes", "0"),
        ("lips",),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(avatar, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = avatar("eval", *options)
    assert run.returncode == 2
    assert run.stdout == ""
    assert len(run.stderr.strip().splitlines()) == 1
