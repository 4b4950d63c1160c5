"""The store where something goes wrong: a process that is killed, a full disk, a lock, damage, an earlier version."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from avatar.calibrations import Calibrations, find
from avatar.errors import StorageError, UsageError
from avatar.models import registry
from avatar.portrait import bundle
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.consent import ConsentRecord
from avatar.portrait.library import Library
from avatar.store import Store
from avatar.store.blobs import digest_of
from avatar.store.sqlite import FILE, SqliteDatabase

WRITER = """
import random, sys
from pathlib import Path
from avatar.store import Store
store, chance = Store(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
for n in range(100_000):
    name = f"a{chance.randrange(6)}"
    with store.change() as change:
        if chance.random() < 0.25:
            change.remove("avatar", name)
            said = f"{n} {name} -"
        else:
            size = chance.choice((10, 5_000, 300_000))
            files = {f"{k}.bin": chance.randbytes(size) for k in range(3)}
            files["same.bin"] = b"the same in all of them"
            record = '{"id": "%016x", "revoked": ""}' % n
            change.put("avatar", name, files, record)
            said = f"{n} {name} {record[8:24]}"
        change.set("last", str(n))
    print(said, flush=True)
    if n % 5 == 0 and name in store.index().names("avatar"):
        store.folder("avatar", name)
"""


def whole(store: Store) -> None:
    """Everything that is named is there, and nothing else."""
    index = store.fresh()
    named = {digest for one in index.bundles.values() for _, digest in one.files}
    for one in index.bundles.values():
        assert len(one.files) == 4
        assert one.consent is not None
        assert {path.name for path in store.folder("avatar", one.name).iterdir()} == {
            *(path for path, _ in one.files),
            "consent.json",
        }
    on_disk = [path for path in (store.root / "blobs").rglob("*") if path.is_file()]
    assert {path.name for path in on_disk} == named, "neither too little nor too much"
    for path in on_disk:
        assert digest_of(path.read_bytes()) == path.name


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_kill_at_any_instant_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(4)
    held: dict[str, str] = {}
    acknowledged = 0
    for turn in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(turn)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(chance.randrange(1, 12))]
        time.sleep(chance.uniform(0.0, 0.05))  # into the middle of whatever comes next
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.wait()
        last = -1
        for line in lines:
            n, name, number = line.split()
            last, acknowledged = int(n), acknowledged + 1
            held[name] = number
        store = Store(tmp_path)
        whole(store)
        index = store.fresh()
        done = int(index.settings["last"])
        assert done in (last, last + 1), "one more may be committed and not yet said"
        for name, number in held.items():
            one = index.find("avatar", name)
            is_there = "-" if one is None or one.consent is None else one.consent.id
            if is_there != number:
                assert done == last + 1, f"{name} was acknowledged in turn {turn} and is lost"
            held[name] = is_there
        for name in index.names("avatar"):
            consent = index.bundles["avatar", name].consent
            assert consent is not None
            held.setdefault(name, consent.id)
        store.close()
    assert acknowledged > 40


def test_programs_that_open_a_new_store_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite does not, where the mode of a new database is changed."""
    failed: list[BaseException] = []

    def opens(path: Path, start: threading.Barrier) -> None:
        start.wait()
        try:
            SqliteDatabase(path, patience=30).close()
        except BaseException as error:
            failed.append(error)

    for turn in range(100):
        start = threading.Barrier(6)
        threads = [threading.Thread(target=opens, args=(tmp_path / str(turn) / FILE, start)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


# --- the disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two megabytes of a real file system."""
    place = tmp_path / "small"
    place.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True
        ).returncode
    ):
        pytest.skip("no file system can be mounted here (root on Linux only)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_line_and_leaves_what_was_there(small_disk: Path) -> None:
    store = Store(small_disk / "data")
    with store.change() as change:
        change.put("avatar", "first", {"a.bin": b"a" * 1000}, None)

    def more(k: int) -> None:
        with store.change() as change:
            change.put("avatar", f"more{k}", {"a.bin": random.Random(k).randbytes(150_000)}, None)

    def fill() -> None:
        for k in range(40):
            more(k)

    with pytest.raises(StorageError, match=r"[nN]o space left.*free some space") as caught:
        fill()
    assert "\n" not in str(caught.value)
    k = len(store.index().names("avatar")) - 1
    assert k > 3
    with pytest.raises(StorageError):
        store.folder("avatar", f"more{k - 1}")  # there is no room for the copy either
    names = ["first", *sorted(f"more{j}" for j in range(k))]
    store.close()
    again = Store(small_disk / "data")
    assert again.index().names("avatar") == names
    with again.change() as change:  # a full disk can be made less full
        for name in names[1:]:
            change.remove("avatar", name)
    with again.change() as change:
        change.put("avatar", "again", {"a.bin": b"b" * 150_000}, None)
    assert again.folder("avatar", "again").is_dir()


def test_no_room_for_the_database_itself(small_disk: Path) -> None:
    store = Store(small_disk / "data")
    with store.change() as change:
        change.set("first", "1")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass

    def fill() -> None:
        for k in range(200):
            with store.change() as change:
                change.set(f"key{k}", "x" * 50_000)

    with pytest.raises(StorageError, match="space") as caught:
        fill()
    assert "\n" not in str(caught.value)
    filler.unlink()
    assert store.fresh().settings["first"] == "1"
    with store.change() as change:
        change.set("second", "2")


# --- another program, damage ---------------------------------------------------------------------------------------


def test_a_lock_is_one_line_and_reading_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path, patience=0.2)
    with store.change() as change:
        change.set("a", "1")
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    line = r"kept locked by another program for 0\.2 s; end that, or try again"
    with pytest.raises(StorageError, match=line), store.change():
        pass
    assert store.fresh().settings == {"a": "1"}
    other.execute("ROLLBACK")
    with store.change() as change:
        change.set("a", "2")
    other.close()


@pytest.fixture
def broken(tmp_path: Path) -> Store:
    (tmp_path / FILE).write_bytes(b"this is no database " * 500)
    return Store(tmp_path)


def test_a_broken_database_is_one_line_and_the_shipped_avatars_go_on(broken: Store) -> None:
    shelf = Library(registry.avatars_dir(), broken)
    assert all(entry.builtin for entry in shelf.entries())
    assert "is damaged" in shelf.trouble
    assert shelf.load("sam").name == "sam"
    for attempt in (lambda: shelf.load("mine"), lambda: shelf.delete("mine"), broken.about):
        with pytest.raises(StorageError, match="is damaged") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    used, fault = find(Calibrations(broken), "auto")
    assert used is None
    assert "The default head is used." in fault


def test_a_page_of_the_database_that_was_overwritten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for k in range(200):
        with store.change() as change:
            change.set(f"key{k}", "x" * 200)
    store.close()
    data = bytearray((tmp_path / FILE).read_bytes())
    data[4096 : len(data)] = os.urandom(len(data) - 4096)
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(StorageError, match=r"vultus\.sqlite (is damaged|cannot be used)"):
        Store(tmp_path).index()


def test_damaged_content_is_one_line_and_the_others_go_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("one", "two"):
        with store.change() as change:
            change.put("avatar", name, {"a.bin": name.encode()}, None)
    (tmp_path / "blobs" / digest_of(b"one")[:2] / digest_of(b"one")).write_bytes(b"eno")
    with pytest.raises(StorageError, match="is damaged: it is not what was written"):
        store.folder("avatar", "one")
    assert (store.folder("avatar", "two") / "a.bin").read_bytes() == b"two"
    with store.change() as change:
        change.put("avatar", "one", {"a.bin": b"one"}, None)
    assert (store.folder("avatar", "one") / "a.bin").read_bytes() == b"one", "written anew it is whole"


# --- earlier versions ----------------------------------------------------------------------------------------------


@pytest.fixture
def earlier(tmp_path: Path, sam: AvatarBundle) -> Path:
    """A data folder as versions before the store left it."""
    for name in ("mine", "older"):
        bundle.save(replace(sam, name=name, title=name.title(), consent="self"), tmp_path / "avatars" / name)
    (tmp_path / "avatars" / "older" / "consent.json").unlink()
    (tmp_path / "avatars" / "notes").mkdir()
    (tmp_path / "avatars" / "notes" / "read.me").write_text("of the user's own")
    gone = ConsentRecord.given("self").withdrawn("she asked")
    (tmp_path / "avatars" / ".revoked").mkdir()
    (tmp_path / "avatars" / ".revoked" / f"her.{gone.id}.json").write_text(gone.to_json())
    head = tmp_path / "heads" / "me"
    head.mkdir(parents=True)
    (head / "calibration.json").write_text("{}")
    (head / "head.npz").write_bytes(b"head")
    (tmp_path / "heads" / ".chosen").write_text("me\n")
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check_taken_over(root: Path, before: dict[str, dict[str, bytes]]) -> None:
    store = Store(root)
    shelf, heads = Library(registry.avatars_dir(), store), Calibrations(store)
    assert [entry.name for entry in shelf.entries() if not entry.builtin] == ["mine", "older"]
    assert shelf.load("mine").title == "Mine"
    for name in ("mine", "older"):
        assert files_of(shelf.folder(name)) == before[name], "byte by byte"
    assert shelf.papers("her").reason == "she asked"
    assert heads.chosen == "me"
    assert files_of(store.folder("calibration", "me")) == before["me"]
    assert not (root / "heads").exists()
    assert [path.name for path in (root / "avatars").iterdir()] == ["notes"], "what is not ours stays"
    store.close()


def content_before(root: Path) -> dict[str, dict[str, bytes]]:
    folders = (root / "avatars" / "mine", root / "avatars" / "older", root / "heads" / "me")
    return {folder.name: files_of(folder) for folder in folders}


def test_folders_of_earlier_versions_are_taken_over_once(earlier: Path) -> None:
    before = content_before(earlier)
    for _ in range(3):
        check_taken_over(earlier, before)


TAKE = "import sys; from pathlib import Path; from avatar.store import Store; print('begun', flush=True);"
TAKE += "Store(Path(sys.argv[1])).index(); print('done', flush=True)"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_an_interrupted_take_over_goes_on_where_it_was(earlier: Path, tmp_path: Path) -> None:
    before, chance, interrupted = content_before(earlier), random.Random(1), 0
    for _ in range(12):
        child = subprocess.Popen([sys.executable, "-c", TAKE, str(earlier)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.06))
        child.kill()
        interrupted += "done" not in child.stdout.read()
        child.wait()
    assert interrupted
    check_taken_over(earlier, before)


def test_a_name_that_the_store_has_already_is_left_where_it_is(earlier: Path, sam: AvatarBundle, caplog) -> None:
    check_taken_over(earlier, content_before(earlier))
    bundle.save(replace(sam, name="mine", title="Another"), earlier / "avatars" / "mine")
    store = Store(earlier)
    assert Library(registry.avatars_dir(), store).load("mine").title == "Mine"
    assert "is not taken over: the store has another avatar of that name" in caplog.text
    assert json.loads((earlier / "avatars" / "mine" / "avatar.json").read_text())["title"] == "Another"
    with pytest.raises(UsageError):
        Library(registry.avatars_dir(), store).load("notes")
