"""A bundle's files on disk, for engines and libraries that read files.

``FOLDER/DIGEST/NAME/…`` is a copy of what the store has, under a name that changes when the content does: it is made
when it is asked for, and made again where somebody has changed it. It appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from avatar.storage import stored_in
from avatar.store.blobs import digest_of, remove_tree
from avatar.store.index import CONSENT_FILE, Bundle, Index

_SCRATCH, _WRITING_S = ".new-", 60.0


class Folders:
    """Copies below one folder, mode 0700."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, bundle: Bundle) -> Path:
        """Where the copy is, or would be."""
        return self._folder / bundle.digest[:24] / bundle.name

    def of(self, bundle: Bundle, content: Callable[[str], bytes]) -> Path:
        """The copy, made where it is missing or has been changed. Raises StorageError.

        :param content: gives the content of a SHA-256.
        """
        target = self.path(bundle)
        if _whole(target, bundle):
            return target
        files = {path: content(digest) for path, digest in bundle.files}
        if bundle.consent is not None:
            files[CONSENT_FILE] = bundle.consent.body.encode()
        self._make(target, files)
        return target

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, gone after the block. Raises StorageError for what fails in it."""
        with stored_in(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=_SCRATCH, ignore_cleanup_errors=True) as scratch:
                yield Path(scratch)

    def _make(self, target: Path, files: Mapping[str, bytes]) -> None:
        with self.scratch() as scratch:
            fresh = scratch / "made" / target.name
            for folder in (fresh.parent, fresh):
                folder.mkdir(mode=0o700)
            for path, data in files.items():
                handle = os.open(fresh / path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
            try:
                os.rename(fresh.parent, target.parent)
            except OSError:
                # Another process has made the same just now, or this one was changed: out of the way with it.
                with contextlib.suppress(FileNotFoundError):  # the other process has moved it first
                    os.rename(target.parent, scratch / "old")
                os.rename(fresh.parent, target.parent)

    def tidy(self, index: Callable[[], Index]) -> None:
        """Remove copies of what the store no longer has. What cannot be removed now is the next one's.

        :param index: read after the folder was listed, or a copy made meanwhile would be taken for an old one.
        """
        try:
            found = list(self._folder.iterdir())
        except OSError:  # nothing was copied yet
            return
        kept = {bundle.digest[:24] for bundle in index().bundles.values()}
        for folder in found:
            if folder.name not in kept and not (folder.name.startswith(_SCRATCH) and _young(folder)):
                remove_tree(folder)


def _young(folder: Path) -> bool:
    """Whether somebody may still be writing there; a process that was killed has left it behind."""
    try:
        return time.time() - folder.stat().st_mtime < _WRITING_S
    except OSError:
        return False


def _whole(target: Path, bundle: Bundle) -> bool:
    """Whether the copy is what the store has, byte by byte."""
    try:
        there = {path.name: digest_of(path.read_bytes()) for path in target.iterdir()}
    except OSError:
        return False
    wanted = dict(bundle.files)
    if bundle.consent is not None:
        wanted[CONSENT_FILE] = digest_of(bundle.consent.body.encode())
    return there == wanted
