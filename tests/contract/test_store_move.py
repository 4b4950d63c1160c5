"""From one store into another: SQLite to a real PostgreSQL server, and back."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar.errors import UsageError
from avatar.store import Store
from avatar.store.moving import move

RECORD = '{"id": "%s", "revoked": ""}'
GONE = '{"id": "%s", "revoked": "2026-11-26T09:00:00+00:00"}'
MOVER = """
import sys
from pathlib import Path
from avatar.store import Store
from avatar.store.moving import move
here, there = Store(Path(sys.argv[1])), Store(Path(sys.argv[1]), sys.argv[2])
here.fresh(), there.fresh()
print("begins", flush=True)
move(here, there)
"""


@pytest.fixture
def both(postgres_url: str, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    stores = Store(tmp_path, patience=0.5), Store(tmp_path, postgres_url)
    yield stores
    for store in stores:
        store.close()


def fill(store: Store) -> None:
    with store.change() as change:
        change.put("avatar", "me", {"a.png": b"picture", "b.npy": b"\0" * 300_000}, RECORD % "me1")
        change.put("avatar", "plain", {"a.png": b"picture"})
        change.put("calibration", "mine", {"head.npz": b"head"})
        change.put("avatar", "gone", {"a.png": b"theirs"}, RECORD % "gone1")
        change.set("calibration", "mine")
    with store.change() as change:
        change.revoke("gone", GONE % "gone1")


def held(store: Store) -> dict[str, object]:
    """All that a user would miss."""
    index = store.fresh()
    return {
        "bundles": {
            key: ({path: store.content(digest) for path, digest in bundle.files}, bundle.consent)
            for key, bundle in index.bundles.items()
        },
        "consents": index.consents,
        "settings": dict(index.settings),
    }


NOTHING = {"bundles": {}, "consents": (), "settings": {}}


def test_everything_is_there_and_nothing_here(both: tuple[Store, Store]) -> None:
    here, there = both
    fill(here)
    wanted = held(here)
    copy = here.folder("avatar", "me")
    moved = move(here, there)
    assert moved.as_json() == {"avatars": 2, "calibrations": 1, "revocations": 1, "settings": 1, "withheld": 0}
    assert held(there) == wanted
    assert held(here) == NOTHING
    assert not [path for path in (here.root / "blobs").rglob("*") if path.is_file()], "no face is left behind"
    assert not copy.exists()
    assert (there.folder("avatar", "me") / "a.png").read_bytes() == b"picture"
    move(there, here)
    assert held(here) == wanted
    assert held(there) == NOTHING


def test_two_of_one_name_are_for_the_user_to_decide(both: tuple[Store, Store]) -> None:
    here, there = both
    fill(here)
    with there.change() as change:
        change.put("avatar", "plain", {"a.png": b"somebody else"})
        change.set("calibration", "theirs")
    before = held(here), held(there)
    with pytest.raises(UsageError, match=r"has another avatar called plain; delete one of the two, nothing was moved"):
        move(here, there)
    assert (held(here), held(there)) == before
    with there.change() as change:
        change.put("avatar", "plain", {"a.png": b"picture"})
    move(here, there)
    assert there.index().settings == {"calibration": "theirs"}
    assert held(here) == NOTHING


def test_a_face_whose_consent_is_revoked_there_does_not_get_there(both: tuple[Store, Store]) -> None:
    here, there = both
    fill(here)
    with there.change() as change:
        change.keep("me", GONE % "me1")
    assert move(here, there).withheld == 1
    assert there.index().names("avatar") == ["plain"]
    assert held(here) == NOTHING


def test_into_itself(both: tuple[Store, Store]) -> None:
    here, _ = both
    with pytest.raises(UsageError, match="in use already"):
        move(here, Store(here.root))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_killed_at_any_instant_it_is_in_one_of_them_and_the_next_one_goes_on(postgres_url: str, tmp_path: Path) -> None:
    chance, finished = random.Random(3), 0
    for turn in range(8):
        here, there = Store(tmp_path, patience=5), Store(tmp_path, postgres_url)
        fill(here)
        wanted = held(here)
        child = subprocess.Popen([sys.executable, "-c", MOVER, str(tmp_path), postgres_url], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.15))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        now = held(here), held(there)
        assert wanted in now, f"turn {turn}: it is whole in one of the two"
        assert now[0] in (wanted, NOTHING)
        assert now[1] in (wanted, NOTHING)
        finished += now[0] == NOTHING
        move(here, there)
        assert (held(here), held(there)) == (NOTHING, wanted)
        with there.change() as change:  # again from the beginning
            for kind, name in there.index().bundles:
                change.remove(kind, name)
            change.forget("gone")
            change.unset("calibration")
        here.close()
        there.close()
    assert finished < 8, "some were killed in the middle"


def test_the_command(postgres_url: str, tmp_path: Path) -> None:
    place = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}

    def avatar(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "avatar", *words], env=place, capture_output=True, text=True)

    store = Store(tmp_path / "vultus")
    fill(store)
    store.close()
    done = avatar("store", "move", postgres_url.replace("vultus@", "vultus:hidden@"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["avatars"] == 2
    assert "hidden" not in done.stdout + done.stderr
    assert "2 avatars" in avatar("store", "show", "--set", f"store.url={postgres_url}").stdout
    assert avatar("store", "move").returncode == 2
    wrong = avatar("store", "move", "mysql://x/y")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1), wrong.stderr
