"""The database of several hosts: PostgreSQL by its URL, through psycopg (extra ``postgres``).

Passwords are best left to libpq's own ways (``~/.pgpass``, ``PGPASSWORD``, ``PGSERVICE``): an URL on a command line can
be read by every user of the machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from avatar.errors import ConfigError, StorageError
from avatar.store.database import Row

CONNECT_S, PATIENCE_S = 5, 10
"""Seconds for a connection, and for one statement or lock."""
_WRITERS = 0x56756C747573
"""Key of the advisory lock that every writing transaction takes: one at a time, as SQLite has it."""


class PostgresDatabase:
    """Connects again by itself after the server was away; a transaction that it was in is lost, and says so."""

    bytes_type = "BYTEA"
    keeps_content = True

    def __init__(self, url: str) -> None:
        self._url = url
        self.where = shown(url)
        try:
            import psycopg
        except ImportError:
            raise ConfigError(
                "store.url names a PostgreSQL server, which needs psycopg; run: pip install 'vultus[postgres]'"
            ) from None
        self._psycopg = psycopg
        self._connection: Any = None
        self._inside = False
        self._connect()

    def _connect(self) -> None:
        limits = f"-c statement_timeout={PATIENCE_S}s -c lock_timeout={PATIENCE_S}s"
        with self._in_words():
            self._connection = self._psycopg.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_S, options=limits, application_name="vultus",
                keepalives_idle=10, keepalives_interval=5, keepalives_count=3, tcp_user_timeout=15_000,
            )  # fmt: skip

    def rows(self, sql: str, *values: object) -> list[Row]:
        if not self._inside and self._connection.closed:
            self._connect()
        with self._in_words():
            cursor = self._connection.execute(sql.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description is not None else []

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        with self._transaction("BEGIN", f"SELECT pg_advisory_xact_lock({_WRITERS})"):
            yield

    @contextlib.contextmanager
    def _transaction(self, *begin: str) -> Iterator[None]:
        try:
            self.rows(begin[0])
        except StorageError:  # the server was started again: what we had is dead, and nothing was begun on it
            self._connection.close()
            self.rows(begin[0])
        self._inside = True
        try:
            for statement in begin[1:]:
                self.rows(statement)
            yield
            self.rows("COMMIT")
        except BaseException:
            with contextlib.suppress(self._psycopg.Error):  # the connection is gone, and the transaction with it
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._inside = False

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        errors = self._psycopg.errors
        try:
            yield
        except (errors.LockNotAvailable, errors.QueryCanceled) as error:
            raise StorageError(f"{self.where} was kept locked for {PATIENCE_S} s; try again") from error
        except errors.DiskFull as error:
            raise StorageError(f"{self.where} cannot be written (no space left on the server)") from error
        except self._psycopg.Error as error:
            said = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise StorageError(
                f"{self.where} does not answer ({said}); check store.url and that the server runs"
            ) from error

    def close(self) -> None:
        self._connection.close()


def shown(url: str) -> str:
    """The address without user, password and options."""
    parts = urlsplit(url)
    try:
        place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        place = ""
    return f"postgresql://{place}{parts.path}"
