"""Content by its SHA-256: files beside SQLite, rows in PostgreSQL. What is written is on the disk before it counts.

All of it happens while the writing transaction is held, so that nobody takes away what another is about to refer to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Protocol

from avatar.errors import StorageError
from avatar.storage import stored_in
from avatar.store.database import Database


def digest_of(data: bytes) -> str:
    """The name of some content: SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Blobs(Protocol):
    def put(self, data: bytes) -> str:
        """Keep content; returns its digest. Inside a writing transaction. Raises StorageError."""
        ...

    def get(self, digest: str) -> bytes:
        """Raises StorageError where it is missing or is not what was written."""
        ...

    def sweep(self) -> None:
        """Remove what no row names. Inside a writing transaction of its own. Raises StorageError."""
        ...

    def strays(self) -> bool:
        """Whether there is something to sweep; may be wrong while others write."""
        ...


_INSERT = "INSERT INTO blobs (sha256, size, data) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class FileBlobs:
    """``FOLDER/ab/abcdef…``, mode 0600."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder, self._database = folder, database

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        path = self._path(digest)
        with stored_in(self._folder):
            if not self._is_there(path, digest):
                for folder in (self._folder, path.parent):  # parents=True would give them the usual mode
                    folder.mkdir(exist_ok=True, mode=0o700)
                scratch = path.with_name(f".new-{secrets.token_hex(8)}")
                try:
                    _write(scratch, data)
                    os.replace(scratch, path)
                finally:
                    scratch.unlink(missing_ok=True)
                for folder in (path.parent, self._folder, self._folder.parent):
                    _sync(folder)
        self._database.rows(_INSERT, digest, len(data), None)
        return digest

    @staticmethod
    def _is_there(path: Path, digest: str) -> bool:
        try:
            return digest_of(path.read_bytes()) == digest
        except FileNotFoundError:
            return False

    def get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path} cannot be read ({error.strerror}); bring back a copy of it") from error
        if digest_of(data) != digest:
            raise StorageError(f"{path} is damaged: it is not what was written; bring back a copy of it")
        return data

    def _strays(self, known: set[str]) -> list[Path]:
        return [path for path in self._folder.glob("*/*") if path.name not in known] if self._folder.is_dir() else []

    def _known(self) -> set[str]:
        return {str(digest) for (digest,) in self._database.rows("SELECT sha256 FROM blobs")}

    def strays(self) -> bool:
        return bool(self._strays(self._known()))

    def sweep(self) -> None:
        with stored_in(self._folder):
            for path in self._strays(self._known()):
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # others are in it
                    path.parent.rmdir()


class RowBlobs:
    """In the database itself, where several hosts find it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        self._database.rows(_INSERT, digest, len(data), data)
        return digest

    def get(self, digest: str) -> bytes:
        found = self._database.rows("SELECT data FROM blobs WHERE sha256 = ?", digest)
        data = bytes(found[0][0]) if found and found[0][0] is not None else b""
        if digest_of(data) != digest:
            raise StorageError(f"{self._database.where}: content {digest[:12]} is missing or damaged; restore a backup")
        return data

    def strays(self) -> bool:
        return False  # rows go with the transaction

    def sweep(self) -> None: ...


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """So that a new name in ``folder`` outlives a power cut; Windows does it by itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_tree(folder: Path) -> None:
    """Delete a folder of copies, as far as it can be."""
    shutil.rmtree(folder, ignore_errors=True)
