"""Plain folders of earlier versions become part of the store, once: ``avatars/NAME`` and ``heads/NAME``.

Each folder is a transaction of its own, and is removed only after that is on the disk: an interrupt at any moment loses
nothing and begins again where it was. What is no avatar or calibration, or has a name that the store already knows with
other content, is left where it is, and the log says so.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from avatar.errors import StorageError
from avatar.storage import stored_in
from avatar.store.blobs import digest_of
from avatar.store.changes import Change, described
from avatar.store.index import CONSENT_FILE, Index, Kind, plain

log = logging.getLogger(__name__)

AVATARS, HEADS, REVOKED, CHOSEN = "avatars", "heads", ".revoked", ".chosen"
CHOSEN_KEY = "calibration"
"""The setting that names the calibration in use."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_KINDS: tuple[tuple[str, Kind, str], ...] = (
    (AVATARS, "avatar", "avatar.json"),
    (HEADS, "calibration", "calibration.json"),
)

Writing = Callable[[], AbstractContextManager[Change]]


def due(root: Path) -> bool:
    """Whether there is something to take over. Cheap."""
    return any((root / folder).is_dir() for folder in (AVATARS, HEADS))


def take_over(root: Path, index: Callable[[], Index], change: Writing) -> None:
    """Take over what earlier versions left in ``root``. What fails is tried again the next time, with a line in the
    log: what the store has already is not held up by it."""
    for folder, kind, mark in _KINDS:
        for path in _folders(root / folder, mark):
            _try(path, functools.partial(_bundle, path, kind, index, change))
    _try(root / AVATARS, lambda: _revocations(root / AVATARS / REVOKED, change))
    _try(root / HEADS, lambda: _chosen(root / HEADS / CHOSEN, change))
    for left in (root / AVATARS / REVOKED, root / AVATARS, root / HEADS):
        with contextlib.suppress(OSError):  # not empty, or never there
            left.rmdir()


def _try(path: Path, work: Callable[[], None]) -> None:
    try:
        with stored_in(path):
            work()
    except (StorageError, UnicodeDecodeError) as error:
        log.warning("%s is not taken over into the store yet: %s", path, error)


def _folders(root: Path, mark: str) -> Iterator[Path]:
    try:
        children = sorted(root.iterdir())
    except OSError:
        return
    for child in children:
        if _NAME.fullmatch(child.name) and (child / mark).is_file():
            yield child


def _bundle(folder: Path, kind: Kind, index: Callable[[], Index], change: Writing) -> None:
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if _ours(path)}
    consent = files.pop(CONSENT_FILE, None) if kind == "avatar" else None
    known = index().find(kind, folder.name)
    if known is None:
        with change() as making:
            making.put(kind, folder.name, files, None if consent is None else consent.decode("utf-8", "replace"))
        log.info("%s %s is part of the store now", kind, folder.name)
    elif dict(known.files) != {path: digest_of(data) for path, data in files.items()}:
        log.warning("%s is not taken over: the store has another %s of that name; rename the folder", folder, kind)
        return
    for path in (*files, *([CONSENT_FILE] if consent is not None else [])):
        (folder / path).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something is in it that was none of ours
        folder.rmdir()


def _ours(path: Path) -> bool:
    with contextlib.suppress(ValueError):  # no name that we give
        return plain(path.name) == path.name and path.is_file() and not path.is_symlink()
    return False


def _revocations(folder: Path, change: Writing) -> None:
    for path in sorted(folder.glob("*.json")):
        body, name = path.read_text(encoding="utf-8"), path.name.partition(".")[0]
        if not described(body)[1] or not _NAME.fullmatch(name):
            continue  # no record of a revocation
        with change() as making:
            making.keep(name, body)
        path.unlink()


def _chosen(path: Path, change: Writing) -> None:
    try:
        name = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return
    with change() as making:
        making.set(CHOSEN_KEY, name)
    path.unlink()
