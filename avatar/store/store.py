"""The store: one interface for avatars, calibrations, settings and consents.

``sqlite`` is a file in the user's own data folder, ``postgresql://…`` a server for several hosts. Below ``root`` lie

    vultus.sqlite     the database (SQLite only)
    blobs/            the files' content (SQLite only)
    files/            copies of bundles for whoever needs files; may be deleted at any time
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from avatar.errors import ConfigError, StorageError, UsageError
from avatar.store import index as indices
from avatar.store import takeover
from avatar.store.blobs import Blobs, FileBlobs, RowBlobs
from avatar.store.changes import Change
from avatar.store.database import Database, migrate, version
from avatar.store.folders import Folders
from avatar.store.index import EMPTY, Bundle, Index, Kind
from avatar.store.sqlite import FILE, PATIENCE_S, SqliteDatabase

log = logging.getLogger(__name__)

SQLITE = "sqlite"


def user_data_dir() -> Path:
    """Where the user's own data is kept on this system."""
    return Path(platformdirs.user_data_dir("vultus", appauthor=False))


@functools.lru_cache(maxsize=8)
def _shared(root: Path, url: str) -> Store:
    return Store(root, url)


def shared(url: str = SQLITE) -> Store:
    """This process' store at ``url``. Raises ConfigError for an address that is none."""
    return _shared(user_data_dir(), url)


class Store:
    """Opened when it is first needed; looking at one that is not there makes nothing. Threads may share it.

    :param root: the local folder. :param url: ``sqlite`` or ``postgresql://…``.
    :param patience: seconds that another program's lock on SQLite is waited for.

    All methods raise StorageError with one line where the database or the disk fails; nothing is half changed then.
    """

    def __init__(self, root: Path, url: str = SQLITE, patience: float = PATIENCE_S) -> None:
        check(url)
        self.root, self.url = root, url
        self.watched = False
        """A live engine reads anew in a thread (:meth:`refresh`): :meth:`index` is what was read last, and never waits
        for a disk or a server."""
        self.trouble = ""
        """What failed at the last :meth:`refresh`, one line."""
        self._patience = patience
        self._lock = threading.RLock()
        self._database: Database | None = None
        self._blobs: Blobs
        self._index = EMPTY
        self._folders = Folders(root / "files")

    # --- looking -----------------------------------------------------------------------------------------------

    def index(self) -> Index:
        """What there is."""
        return self._index if self.watched else self.fresh()

    @property
    def known(self) -> Index:
        """What was read last, without asking."""
        return self._index

    def fresh(self) -> Index:
        """The same, read anew in any case."""
        with self._lock:
            if self._absent():
                return EMPTY
            before = self._index
            self._index = indices.read(self._opened(), before)
            if before is not self._index and before is not EMPTY:
                self._tidy()  # another process or host may have taken something away
            return self._index

    def refresh(self) -> None:
        """:meth:`fresh` for who goes on without it: what fails is in :attr:`trouble`, and in the log when it begins."""
        try:
            self.fresh()
        except StorageError as error:
            if not self.trouble:
                log.warning("%s; what was read before is used", error)
            self.trouble = str(error)
        else:
            self.trouble = ""

    def folder(self, kind: Kind, name: str) -> Path:
        """A copy of a bundle's files, made again where it is not what the store has. Raises UsageError where there is
        no such bundle."""
        bundle = self.index().find(kind, name)
        if bundle is None:
            raise UsageError(f"no {kind} is called {name}")
        with self._lock:
            return self._folders.of(bundle, self.content)

    def place(self, bundle: Bundle) -> Path:
        """Where :meth:`folder` puts the copy."""
        return self._folders.path(bundle)

    def holds(self, folder: Path) -> bool:
        """Whether a folder is one of our copies."""
        return self.root / "files" in folder.parents

    def content(self, digest: str) -> bytes:
        """A file's content by its SHA-256."""
        with self._lock:
            self._opened()
            return self._blobs.get(digest)

    def about(self) -> str:
        """What it is and what is in it, in one line; asks the database. Raises StorageError."""
        if self._absent():
            return f"{self.root / FILE}, begun with the first avatar of your own"
        with self._lock:
            database, index = self._opened(), self.fresh()
            tables = version(database)
        counts = [f"{len(index.names(kind))} {kind}s" for kind in ("avatar", "calibration")]
        return f"{database.where} (tables {tables}): {', '.join(counts)}"

    @property
    def where(self) -> str:
        """For users: the folder or the server that keeps it."""
        if self.url == SQLITE:
            return str(self.root)
        from avatar.store.postgres import shown

        return shown(self.url)

    # --- changing ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """One transaction: when the block ends without an error, all of its changes are on the disk; else none is."""
        with self._lock:
            with self._writing() as made:
                yield made
            before, self._index = self._index, indices.read(self._opened(), self._index)
            if made.removed and before is not self._index:
                self._tidy()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder for files that are made, which is gone after the block. Raises StorageError for what fails
        in it."""
        with self._folders.scratch() as folder:
            yield folder

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Change]:
        database = self._opened()
        with database.writing():
            made = Change(database, self._blobs)
            yield made
            made.finish()

    def _tidy(self) -> None:
        """Take away content and copies that nothing names any more; what fails is tried again at the next opening."""
        database = self._opened()
        try:
            if self._blobs.strays():
                with database.writing():
                    self._blobs.sweep()
            self._folders.tidy(lambda: indices.read(database, self._index))
        except StorageError as error:
            log.warning("the store is not tidied up: %s", error)

    # --- opening -----------------------------------------------------------------------------------------------

    def _absent(self) -> bool:
        """Whether there is nothing yet, and nothing to take over: then looking makes nothing."""
        if self._database is not None or self.url != SQLITE:
            return False
        return not (self.root / FILE).exists() and not takeover.due(self.root)

    def _opened(self) -> Database:
        if self._database is not None:
            return self._database
        database: Database
        if self.url == SQLITE:
            database = SqliteDatabase(self.root / FILE, self._patience)
            self._blobs = FileBlobs(self.root / "blobs", database)
        else:
            from avatar.store.postgres import PostgresDatabase

            database = PostgresDatabase(self.url)
            self._blobs = RowBlobs(database)
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        self._database = database
        if self.url == SQLITE and takeover.due(self.root):
            takeover.take_over(self.root, lambda: indices.read(database, EMPTY), self._writing)
        self._tidy()
        return database

    def close(self) -> None:
        """It opens again when it is asked for something."""
        with self._lock:
            database, self._database = self._database, None
            if database is not None:
                database.close()


def check(url: str) -> None:
    """Raises ConfigError for an address that no store has."""
    if url != SQLITE and not url.startswith(("postgresql://", "postgres://")):
        raise ConfigError(f"store.url: write {SQLITE}, or postgresql://HOST/DATABASE")
