"""What the store needs of a database, and its migrations."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from avatar.errors import StorageError
from avatar.store.schema import MIGRATIONS, Migration

Row = tuple[Any, ...]


class Database(Protocol):
    """One connection. Every method raises StorageError with one line."""

    where: str
    """What users are told it is: a file, or a server without its password."""
    bytes_type: str
    keeps_content: bool
    """Whether the files' content is in its rows."""

    def rows(self, sql: str, *values: object) -> list[Row]:
        """Run one statement with ``?`` for each of ``values``."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """A transaction that sees one state of everything and changes nothing."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """A transaction; one at a time, whoever else writes waits. Rolled back where the block fails."""
        ...

    def close(self) -> None: ...


def migrate(database: Database, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the tables to what this version knows, each migration whole or not at all. Raises StorageError where a
    newer version wrote them."""
    if version(database) == len(migrations):
        return
    with database.writing():
        # Somebody else may have done it while we waited.
        database.rows("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
        done = version(database)
        if done > len(migrations):
            raise StorageError(
                f"{database.where} was written by a newer version (tables {done}, known here {len(migrations)}); "
                "update this program"
            )
        for number, statements in enumerate(migrations[done:], done + 1):
            for statement in statements:
                database.rows(statement.format(bytes=database.bytes_type))
            database.rows("INSERT INTO migrations (number) VALUES (?)", number)
        if not done:
            for key, value in (("id", secrets.token_hex(8)), ("revision", "1")):
                database.rows("INSERT INTO meta (key, value) VALUES (?, ?)", key, value)


def version(database: Database) -> int:
    """Number of the last migration that was applied; 0 = none."""
    if not database.rows(*_TABLES[database.keeps_content]):
        return 0
    found = database.rows("SELECT COALESCE(MAX(number), 0) FROM migrations")
    if len(found) != 1 or not isinstance(found[0][0], int) or found[0][0] < 0:
        raise StorageError(f"{database.where} is damaged (its version is no number); move it away or bring back a copy")
    return found[0][0]


_TABLES = {
    False: ("SELECT 1 FROM sqlite_master WHERE name = 'migrations'",),
    True: ("SELECT 1 FROM pg_catalog.pg_tables WHERE tablename = 'migrations' AND schemaname = current_schema()",),
}
