"""The database of one computer: SQLite, write-ahead log, every commit on the disk before it counts."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from avatar.errors import StorageError
from avatar.storage import stored_in
from avatar.store.database import Row

FILE = "vultus.sqlite"
_CURE = "move it away or bring back a copy: a new one is begun without it"
PATIENCE_S = 5.0
"""How long another program's transaction is waited for."""


class SqliteDatabase:
    """Made where it is missing, for its owner's eyes only (mode 0600)."""

    bytes_type = "BLOB"
    keeps_content = False

    def __init__(self, path: Path, patience: float = PATIENCE_S) -> None:
        self.path = path
        self.where = str(path)
        self._patience = patience
        with stored_in(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite gives its log the modes of the database.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with self._in_words():
            self._connection = sqlite3.connect(path, patience, isolation_level=None, check_same_thread=False)
        try:
            self._log_ahead()
            for setting in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
                self.rows(f"PRAGMA {setting}")
        except BaseException:
            self._connection.close()
            raise

    def _log_ahead(self) -> None:
        """Two programs that open a new database at once both change its mode, and there SQLite does not wait for the
        lock of the other, whatever its time-out is."""
        until = time.monotonic() + self._patience
        while True:
            try:
                self.rows("PRAGMA journal_mode = WAL")
                return
            except StorageError as error:
                busy = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > until:
                    raise
            time.sleep(0.01)

    def rows(self, sql: str, *values: object) -> list[Row]:
        with self._in_words():
            return self._connection.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        with self._transaction("BEGIN"):
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self.rows(begin)
        try:
            yield
            self.rows("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error, UnicodeError):  # a full disk has rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(self._line(error)) from error
        except (UnicodeError, OverflowError) as error:  # of a damaged file: its texts, and SQLite's words about them
            raise StorageError(f"{self.where} is damaged ({error.args[0]}); {_CURE}") from error

    def _line(self, error: sqlite3.Error) -> str:
        said, code = str(error), getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{self.where} was kept locked by another program for {self._patience:g} s; end that, or try again"
        if code == sqlite3.SQLITE_FULL:
            return f"{self.where} cannot be written (no space left); free some space"
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return f"{self.where} is damaged ({said}); {_CURE}"
        return f"{self.where} cannot be used ({said}); check the rights and the space of its folder"

    def close(self) -> None:
        self._connection.close()
