"""Batches: a table of clips, drawn once each, whatever is killed meanwhile."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avatar.config import Config
from avatar.errors import UsageError
from avatar.scale import batch, jobs
from avatar.scale.draw import UNFINISHED

SMALL = ["--size", "256", "--fps", "10"]


def table(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "jobs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def states(folder: Path, name: str = "s.jsonl", count: int = 6) -> str:
    """A clip of some pictures."""
    lines = [json.dumps({"t": k / 10, "arkit": {"jawOpen": k / 10}}) for k in range(count)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return name


def read(path: Path):
    return jobs.read(path, Config())


def test_a_row_is_a_clip_with_its_own_settings(tmp_path):
    (tmp_path / "a.wav").touch()
    path = table(
        tmp_path,
        {"output": "one.mp4", "audio": "a.wav", "emotion": "happiness:.4", "size": "256", "avatar": "ada"},
        {"output": "sub/two.mp4", "text": "Hello, you.", "fps": "12", "voice": "de"},
    )
    work, bad = read(path)
    assert not bad
    one, two = work
    assert (one.line, two.line) == (2, 3)
    assert one.output == tmp_path / "one.mp4"
    assert one.source == {"audio": str(tmp_path / "a.wav")}
    assert (one.config["face"]["emotion"], one.config["face"]["intensity"]) == ("happiness", 0.4)
    assert (one.config["avatar"]["size"], one.config["avatar"]["name"]) == (256, "ada")
    assert (two.source, two.config["avatar"]["fps"]) == ({"text": "Hello, you.", "voice": "de"}, 12)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"output": "a.mp4"}, "give one of"),
        ({"output": "a.mp4", "audio": "a.wav", "text": "b"}, "not 2"),
        ({"output": "", "text": "b"}, "output is empty"),
        ({"output": "ok.mp4", "text": "b"}, "that of line 2 already"),
        ({"output": "a.mp4", "text": "b", "emotion": "bored"}, "face.emotion"),
        ({"output": "a.mp4", "text": "b", "size": "huge"}, "avatar.size"),
        ({"output": "a.mp4", "states": "s.jsonl", "voice": "de"}, "voice says how a text is spoken"),
        ({"output": "a.mp4", "text": "b", "consent": "no"}, "consent: one of"),
    ],
)
def test_a_bad_row_is_one_line_and_the_others_go_on(tmp_path, row, says):
    head = {name: "" for name in ("output", "text", "audio", "states", "emotion", "size", "voice", "consent")}
    work, bad = read(table(tmp_path, {**head, "output": "ok.mp4", "text": "Yes."}, {**head, **row}))
    assert [job.line for job in work] == [2]
    assert [each.line for each in bad] == [3]
    assert says in bad[0].why
    assert "\n" not in bad[0].why


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "names the columns"),
        ("avatar,text\nada,x\n", "output"),
        ("output,text,colour\na,b,c\n", "unknown column 'colour'"),
        ("output,text,text\na,b,c\n", "twice"),
        (b"output,text\n\xff\xfe,b\n", "UTF-8"),
        ('output,text\na.mp4,"open\n', "CSV"),
    ],
)
def test_a_table_that_is_none(tmp_path, content, says):
    path = tmp_path / "jobs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=says) as error:
        read(path)
    assert str(path) in str(error.value)


def test_the_journal_forgets_what_is_half_or_gone(tmp_path):
    path = table(tmp_path, {"output": "a.mp4", "states": states(tmp_path)}, {"output": "b.mp4", "text": "B."})
    (a, b), _ = read(path)
    journal = jobs.Journal(path)
    for job in (a, b):
        job.output.write_bytes(b"12345")
        journal.add({"key": job.key, "bytes": 5})
    journal.close()
    cut = journal.path.read_bytes()[:-9]
    journal.path.write_bytes(cut)
    journal = jobs.Journal(path)
    assert [job.output.name for job in jobs.missing((a, b), journal)] == ["b.mp4"], "its line was cut off"
    journal.add({"key": b.key, "bytes": 5})
    journal.close()
    journal = jobs.Journal(path)
    assert not list(jobs.missing((a, b), journal))
    a.output.write_bytes(b"123")
    b.output.unlink()
    assert len(list(jobs.missing((a, b), journal))) == 2, "cut short, and deleted"
    a.output.write_bytes(b"12345")
    states(tmp_path, count=7)
    assert a in list(jobs.missing((a,), journal)), "made of another file now"
    journal.close()
    journal.path.write_text("something else\n")
    with pytest.raises(UsageError, match="line 1: is no journal"):
        jobs.Journal(path)


def test_a_batch_is_drawn_by_several_processes_and_never_twice(avatar, tmp_path, probe):
    name = states(tmp_path)
    rows = [{"output": f"out/{k}.mp4", "states": name, "avatar": "ada" if k % 2 else "lin"} for k in range(4)]
    rows += [{"output": "out/bad.mp4", "states": "nowhere.jsonl", "avatar": "ada"}, {"output": "", "states": name}]
    path = table(tmp_path, *rows)
    run = avatar("render", "--batch", path, *SMALL, "--workers", "2", "--json")
    assert run.returncode == 1, run.stderr
    done = json.loads(run.stdout)
    assert (done["jobs"], done["drawn"], done["failed"], done["workers"]) == (6, 4, 2, 2)
    said = [line for line in run.stderr.splitlines() if line.startswith("avatar: ")]
    assert sorted(line.split(": ")[1] for line in said) == [f"{path}, line 6", f"{path}, line 7"]
    for k in range(4):
        (video,) = [s for s in probe(tmp_path / f"out/{k}.mp4")["streams"] if s["codec_type"] == "video"]
        assert video["nb_read_frames"] == "6"
    times = {k: (tmp_path / f"out/{k}.mp4").stat().st_mtime_ns for k in range(4)}
    (tmp_path / "out/2.mp4").unlink()
    again = json.loads(avatar("render", "--batch", path, *SMALL, "--workers", "2", "--json").stdout)
    assert (again["drawn"], again["already"], again["failed"]) == (1, 3, 2)
    assert all((tmp_path / f"out/{k}.mp4").stat().st_mtime_ns == times[k] for k in (0, 1, 3))
    assert not list((tmp_path / "out").glob(f"{UNFINISHED}*"))


def children(pid: int) -> list[int]:
    """Its drawing processes (Linux)."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if entry.name.isdecimal() and parent == pid and b"avatar.scale.draw" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc (Linux)")
def test_what_is_killed_goes_on_where_it_was(avatar, tmp_path):
    name = states(tmp_path, count=40)
    count = 8
    path = table(tmp_path, *({"output": f"{k}.mp4", "states": name} for k in range(count)))
    words = [sys.executable, "-m", "avatar.cli", "render", "--batch", path, *SMALL, "--workers", "2", "--json"]
    journal = path.with_name("jobs.csv.journal")
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=avatar.environment)

    def until(check) -> None:
        deadline = time.monotonic() + 60
        while not check():
            assert time.monotonic() < deadline
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.02)

    until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 1)
    victim, *_ = children(run.pid)
    os.kill(victim, signal.SIGKILL)  # a worker: its clip is drawn by another
    until(lambda: journal.read_bytes().count(b"\n") >= 3)
    drawing = children(run.pid)
    run.kill()  # and then everything
    run.wait(10)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in drawing):
        assert time.monotonic() < deadline, "nobody draws for nobody"
        time.sleep(0.05)
    before = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(before) < count
    done = json.loads(avatar("render", "--batch", path, *SMALL, "--workers", "2", "--json").stdout)
    assert done["already"] + done["drawn"] == count
    assert done["already"] >= len(before)
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert sorted(entry["line"] for entry in entries) == list(range(2, count + 2)), "all, and none twice"
    assert all((tmp_path / f"{k}.mp4").stat().st_size for k in range(count))
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))
    run.stdout.close()
    run.stderr.close()


def test_wrong_usage(avatar, tmp_path):
    path = table(tmp_path, {"output": "a.mp4", "text": "A."})
    for words, says in (
        (("--batch", path, "--text", "B."), "--text is a column"),
        (("--batch", tmp_path / "none.csv"), "none.csv"),
        (("--text", "a"), "-o OUT.mp4"),
        (("--text", "a", "-o", "x.mp4", "--workers", "2"), "belong to --batch"),
    ):
        run = avatar("render", *words)
        assert run.returncode == 2
        assert says in run.stderr
        assert run.stderr.count("\n") == 1


def test_a_job_that_kills_its_process_is_given_up(tmp_path, monkeypatch):
    """Every process dies before it answers; the batch ends all the same."""
    path = table(tmp_path, {"output": "a.mp4", "text": "A."}, {"output": "b.mp4", "text": "B."})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    lines: list[str] = []
    outcome = batch.run(path, Config(), batch.crew("", 2), lines.append)
    assert [each.line for each in sorted(outcome.bad, key=lambda each: each.line)] == [2, 3]
    assert "died 3 times" in lines[0]
