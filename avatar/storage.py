"""Folders of the user's own data: each appears complete or not at all, and goes as a whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avatar.errors import StorageError


@contextmanager
def stored_in(folder: Path) -> Iterator[None]:
    """What fails in ``folder`` becomes a StorageError with one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{folder} cannot be written ({reason}); free some space or check its rights") from error


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path, not there yet, to make a folder at; when the block ends that folder takes the place of ``target``, and
    where it fails ``target`` stays as it was. Raises StorageError."""
    with stored_in(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        # The dot keeps a half-written folder out of every list.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-", ignore_cleanup_errors=True) as scratch:
            fresh, old = Path(scratch) / "new", Path(scratch) / "old"
            yield fresh
            if target.exists():
                os.rename(target, old)  # a folder with content cannot be renamed over
            try:
                os.rename(fresh, target)
            except OSError:
                if old.exists() and not target.exists():
                    os.rename(old, target)
                raise


def remove(target: Path) -> None:
    """Delete a folder. Raises StorageError."""
    with stored_in(target.parent):
        # Renamed first, so that an interrupt leaves no half of it behind.
        gone = Path(tempfile.mkdtemp(dir=target.parent, prefix=".old-"))
        os.rename(target, gone / target.name)
        shutil.rmtree(gone, ignore_errors=True)
