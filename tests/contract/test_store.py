"""One contract for both back ends of the store: SQLite with files, and a real PostgreSQL server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avatar.errors import ConfigError, StorageError, UsageError
from avatar.store import Store
from avatar.store import store as module
from avatar.store.database import migrate
from avatar.store.schema import MIGRATIONS
from avatar.testing.postgres import Postgres

RECORD = '{"id": "0123456789abcdef", "revoked": ""}'
GONE = '{"id": "0123456789abcdef", "revoked": "2026-11-26T09:00:00+00:00"}'
Opened = Callable[[str], Store]
"""A store by the name of the host that opens it; all hosts share one."""


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    stores: list[Store] = []
    url = "sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")

    def open_as(host: str) -> Store:
        root = tmp_path if url == "sqlite" else tmp_path / host
        stores.append(Store(root, url, patience=0.5))
        return stores[-1]

    yield open_as
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opened) -> Store:
    return opened("a")


def put(store: Store, name: str = "me", record: str | None = RECORD, **files: bytes) -> None:
    with store.change() as change:
        change.put("avatar", name, {"a.png": b"picture", **files}, record)


def content(store: Store, name: str = "me") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.folder("avatar", name).iterdir()}


def kept(store: Store) -> int:
    """How much content the back end holds."""
    database = store._opened()
    if database.keeps_content:
        return len(database.rows("SELECT 1 FROM blobs WHERE data IS NOT NULL"))
    return len([path for path in (store.root / "blobs").rglob("*") if path.is_file()])


def test_what_is_put_comes_back_elsewhere_and_after_a_restart(opened: Opened) -> None:
    first, second = opened("a"), opened("b")
    put(first, **{"b.npy": b"\0" * 100_000})
    wanted = {"a.png": b"picture", "b.npy": b"\0" * 100_000, "consent.json": RECORD.encode()}
    assert content(first) == content(second) == wanted
    first.close()
    assert content(first) == content(opened("c")) == wanted
    assert second.index().names("avatar") == ["me"]
    with pytest.raises(UsageError, match="no avatar is called you"):
        first.folder("avatar", "you")


def test_all_of_a_transaction_or_nothing(store: Store) -> None:
    put(store)
    before = store.index()

    def fail() -> None:
        with store.change() as change:
            change.put("avatar", "me", {"a.png": b"another"}, None)
            change.put("avatar", "you", {"a.png": b"third"}, None)
            change.set("calibration", "me")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.fresh() == before
    assert content(store)["a.png"] == b"picture"
    put(store, "more")
    store.close()
    assert kept(store) == 1, "what was written and not committed is swept away"


def test_settings(opened: Opened) -> None:
    store = opened("a")
    for value in ("one", "two"):
        with store.change() as change:
            change.set("calibration", value)
        assert opened("b").index().settings == {"calibration": value}


def test_content_is_kept_once_and_goes_with_its_last_user(store: Store) -> None:
    put(store, "one")
    put(store, "two", more=b"own")
    assert kept(store) == 2
    copy = store.folder("avatar", "one")
    for name, left in (("one", 2), ("two", 0)):
        with store.change() as change:
            change.remove("avatar", name)
        assert kept(store) == left
    assert not copy.exists(), "the copy on disk goes too"


def test_a_revocation_takes_the_files_and_stays_itself(opened: Opened) -> None:
    here, there = opened("a"), opened("b")
    put(here)
    copies = [here.folder("avatar", "me"), there.folder("avatar", "me")]
    with here.change() as change:
        change.revoke("me", GONE)
    assert there.fresh().find("avatar", "me") is None
    assert not any(copy.exists() for copy in copies), "on no host"
    assert kept(here) == 0
    (gone,) = there.index().revoked("me")
    assert gone.body == GONE
    put(here, record=RECORD.replace("0123", "4567"))
    assert [one.id for one in there.fresh().consents] == ["0123456789abcdef", "4567456789abcdef"]
    put(here)  # the revoked number once more
    again = there.fresh().find("avatar", "me")
    assert again is not None
    assert again.consent is not None
    assert again.consent.revoked, "a revocation is not taken back by writing the old record again"
    with here.change() as change:
        change.forget("me")
    assert there.fresh().consents == ()


def test_a_new_consent_changes_the_copy(store: Store) -> None:
    put(store, record=None)
    before = store.folder("avatar", "me")
    with store.change() as change:
        change.grant("me", RECORD)
    assert content(store)["consent.json"] == RECORD.encode()
    assert not before.exists(), "whoever draws from it notices"


def test_hosts_write_at_the_same_time_and_nothing_is_lost(opened: Opened) -> None:
    stores = [opened(host) for host in "abcd"]
    stores[0]._patience = 5
    failed: list[BaseException] = []

    def work(host: int) -> None:
        store = Store(stores[host].root, stores[host].url)
        try:
            for k in range(6):
                put(store, f"{host}-{k}", None, own=f"{host} {k}".encode())
        except BaseException as error:
            failed.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=work, args=(host,)) for host in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    index = stores[0].fresh()
    assert len(index.names("avatar")) == 24
    assert index.revision == 25
    assert kept(stores[0]) == 25


def test_a_newer_versions_tables_are_left_alone(opened: Opened) -> None:
    store = opened("a")
    put(store)
    store._opened().rows("INSERT INTO migrations (number) VALUES (99)")
    with pytest.raises(StorageError, match=r"newer version \(tables 99, known here 2\); update") as caught:
        opened("b").index()
    assert "\n" not in str(caught.value)


def test_a_migration_is_whole_or_not_at_all(store: Store) -> None:
    put(store)
    database = store._opened()
    broken = (*MIGRATIONS, ("CREATE TABLE third (x TEXT)", "NONSENSE"))
    with pytest.raises(StorageError):
        migrate(database, broken)
    assert database.rows("SELECT MAX(number) FROM migrations") == [(2,)]
    migrate(database, (*MIGRATIONS, ("CREATE TABLE third (x TEXT)",)))
    assert database.rows("SELECT MAX(number) FROM migrations") == [(3,)]


def test_the_first_tables_become_the_present_ones_with_what_is_in_them(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as old:
        old.setattr(module, "migrate", lambda database: migrate(database, MIGRATIONS[:1]))
        put(opened("a"))
    assert content(opened("b"))["a.png"] == b"picture"


def test_looking_from_a_live_engine_never_waits(store: Store) -> None:
    put(store)
    store.index()
    store.watched = True
    database = store._opened()
    with store._lock, database.writing():
        waited = threading.Thread(target=lambda: seen.append(store.index().names("avatar")))
        seen: list[list[str]] = []
        waited.start()
        waited.join(2)
        assert seen == [["me"]]


def test_a_server_that_goes_away_is_one_line_and_comes_back(server: Postgres, tmp_path: Path) -> None:
    store = Store(tmp_path, server.url)
    with store.change() as change:
        change.set("where", "before")
    server.stop()
    try:
        with pytest.raises(StorageError, match=r"postgresql://127\.0\.0\.1:\d+/postgres does not answer") as caught:
            store.fresh()
        assert "\n" not in str(caught.value)
        assert "vultus@" not in str(caught.value)
        store.refresh()
        assert "does not answer" in store.trouble
        assert store.known.settings["where"] == "before", "what was read goes on"
    finally:
        server.start()
    store.refresh()
    assert store.trouble == ""
    with store.change() as change:
        change.set("where", "after")
    assert store.index().settings["where"] == "after"
    store.close()


def test_addresses_that_are_none() -> None:
    for url in ("", "mysql://x/y", "/tmp/x.db"):
        with pytest.raises(ConfigError, match=r"store\.url"):
            Store(Path(), url)
    with pytest.raises(StorageError, match=r"postgresql://127\.0\.0\.1:1/x does not answer") as caught:
        Store(Path(), "postgresql://me:secret@127.0.0.1:1/x").index()
    assert "secret" not in str(caught.value)
