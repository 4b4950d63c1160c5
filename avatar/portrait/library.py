"""The avatars of this installation: the shipped ones, each a folder, and the user's own, which the store keeps."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from avatar.core.types import U8
from avatar.errors import AvatarError, ConsentError, StorageError, UsageError
from avatar.portrait import bundle, consent
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.consent import Consent, ConsentRecord
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import onboard
from avatar.portrait.photo import read_photo
from avatar.portrait.smile import with_smile
from avatar.store import Bundle, Index, Store
from avatar.store.index import EMPTY

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One avatar in a list."""

    name: str
    title: str
    builtin: bool
    """Shipped with the program; it cannot be deleted or replaced."""
    error: str = ""
    """Why it cannot be loaded, one line; empty where it can."""


class Library:
    """Avatars by name.

    :param builtin: folder of the shipped avatars, never written to.
    :param store: keeps the user's own. Where it cannot be read the shipped ones are there all the same.
    """

    def __init__(self, builtin: Path, store: Store) -> None:
        self.builtin = builtin
        self.store = store
        self.trouble = ""
        """Why the user's own could not be looked through, one line."""
        self._shipped: dict[Path, tuple[tuple[int, ...], Entry]] = {}
        self._own: dict[str, tuple[str, Entry]] = {}

    def entries(self) -> list[Entry]:
        """All avatars: the shipped ones first, then the user's own, each by name."""
        shipped = [self._shipped_entry(folder) for folder in self._folders()]
        known = {entry.name for entry in shipped}
        index = self._index()
        own = [index.bundles["avatar", name] for name in index.names("avatar") if name not in known]
        return shipped + [self._own_entry(one) for one in own]  # the shipped one wins, as in folder()

    def _index(self) -> Index:
        """What the store has; nothing where it cannot be read."""
        try:
            index = self.store.index()
        except StorageError as error:
            if not self.trouble:
                log.warning("your own avatars are not there: %s", error)
            self.trouble = str(error)
            return EMPTY
        self.trouble = ""
        return index

    def _shipped_entry(self, folder: Path) -> Entry:
        stamp = tuple(file.stat().st_mtime_ns for file in sorted(folder.iterdir()))
        known = self._shipped.get(folder)
        if known is None or known[0] != stamp:
            self._shipped[folder] = known = stamp, _looked(folder.name, True, lambda: bundle.load(folder))
        return known[1]

    def _own_entry(self, one: Bundle) -> Entry:
        """Loads an avatar to see whether it can be, again only when it has changed: a live page asks for the list four
        times a second."""
        known = self._own.get(one.name)
        if known is None or known[0] != one.digest:
            entry = _looked(one.name, False, lambda: bundle.load(self.store.folder("avatar", one.name)))
            self._own[one.name] = known = one.digest, entry
        return known[1]

    def _folders(self) -> list[Path]:
        return sorted(_folders(self.builtin))

    def names(self) -> list[str]:
        """Names of all avatars, in the order of :meth:`entries`."""
        shipped = [folder.name for folder in self._folders()]
        return shipped + [name for name in self._index().names("avatar") if name not in shipped]

    def folder(self, name: str) -> Path:
        """Folder with the files of the avatar ``name``; of one of the user's own it is a copy of what the store has.

        Raises UsageError with the known names, ConsentError where it was revoked, StorageError.
        """
        bundle.check_name(name)
        if (self.builtin / name / "avatar.json").is_file():
            return self.builtin / name
        index = self.store.index()
        if index.find("avatar", name) is not None:
            return self.store.folder("avatar", name)
        if gone := _revoked(index, name):
            raise ConsentError(f"avatar {name} is gone: {gone[-1].fault()}; its files were deleted, its record is kept")
        known = ", ".join(self.names()) or "none yet; make one with: avatar create PHOTO --name NAME --consent self"
        raise UsageError(f"no avatar is called {name}; known: {known}")

    def load(self, name: str) -> AvatarBundle:
        """The avatar ``name``. Raises UsageError (unknown or damaged), ConsentError, StorageError."""
        return bundle.load(self.folder(name))

    def create(
        self,
        photo: Path | bytes,
        name: str,
        title: str,
        consent: Consent,
        detector: LandmarkDetector,
        overwrite: bool = False,
        smile: Path | bytes | None = None,
        glasses: GlassesFinder | None = None,
        finish: Callable[[AvatarBundle], AvatarBundle] = lambda made: made,
        record: ConsentRecord | None = None,
        read: Callable[[Path | bytes], U8] = read_photo,
    ) -> AvatarBundle:
        """Make an avatar of a photo and keep it. It appears complete or not at all.

        :param smile: a second photo of the same person. :param glasses: finds frames. :param finish: has the last word.
        :param record: the papers behind ``consent``; None = a plain record of it, from now on.
        :param read: decodes a photo.

        Raises PhotoError, ConsentError, UsageError (the name is unusable or taken), StorageError.
        """
        self._check_free(name, overwrite)
        made = onboard(read(photo), name, title, consent, detector, glasses=glasses)
        if smile is not None:
            made = with_smile(made, read(smile), detector, glasses)
        made = finish(made)
        if record is not None:
            made = replace(made, consent=record.kind, record=record)
        self.add(made, overwrite)
        return made

    def add(self, avatar: AvatarBundle, overwrite: bool = False) -> Path:
        """Keep an avatar under its name; returns a folder with its files. Raises UsageError (taken), StorageError."""
        self._check_free(avatar.name, overwrite)
        with self.store.scratch() as scratch:
            bundle.save(avatar, scratch / "made")
            files = {path.name: path.read_bytes() for path in (scratch / "made").iterdir()}
        record = files.pop(consent.FILE).decode()
        with self.store.change() as change:
            if not overwrite and change.has("avatar", avatar.name):
                raise UsageError(f"avatar {avatar.name} was made by somebody else just now; choose another name")
            change.put("avatar", avatar.name, files, record)
        return self.folder(avatar.name)

    def delete(self, name: str) -> None:
        """Remove one of the user's own avatars. Raises UsageError (unknown or shipped), StorageError."""
        self._check_own(name, "cannot be deleted")
        with self.store.change() as change:
            change.remove("avatar", name)

    # --- consent -----------------------------------------------------------------------------------------------

    def papers(self, name: str) -> ConsentRecord:
        """The record of ``name``, valid or not, of a revoked one too. Raises UsageError, ConsentError (no record)."""
        try:
            return consent.read(self.folder(name) / consent.FILE)
        except ConsentError:
            if gone := self.revoked(name):
                return gone[-1]
            raise

    def grant(self, name: str, record: ConsentRecord) -> None:
        """Give ``name`` a new record, in place of one that is missing or has ended. Raises UsageError, StorageError."""
        self._check_own(name, "needs no other record")
        with self.store.change() as change:
            change.grant(name, record.to_json() + "\n")

    def revoke(self, name: str, reason: str) -> ConsentRecord:
        """Delete the files of ``name`` and keep the record of its revocation, which is returned; what draws it notices
        (:meth:`fault`). Raises UsageError (unknown or shipped), StorageError."""
        self._check_own(name, "pictures nobody who could revoke")
        known = self.store.index().bundles["avatar", name].consent
        try:
            record = consent.parse(known.body if known is not None else "")
        except ConsentError:  # made before there were records, or damaged: the revocation counts all the same
            record = ConsentRecord.given("self")
        record = record.withdrawn(reason)
        with self.store.change() as change:
            change.revoke(name, record.to_json() + "\n")
        return record

    def revoked(self, name: str) -> list[ConsentRecord]:
        """Records of revocations under ``name``, the oldest first. Raises StorageError."""
        return _revoked(self.store.index(), name)

    def forget(self, name: str) -> int:
        """Remove the records of revocations under ``name``; says how many. Raises UsageError where there is none."""
        count = len(self.revoked(name))
        if not count:
            raise UsageError(f"no revocation is recorded under {name}")
        with self.store.change() as change:
            change.forget(name)
        return count

    def fault(self, avatar: AvatarBundle) -> str:
        """Why ``avatar``, which was loaded before, may not be drawn any more; empty where it may. Asks the store anew;
        while that does not answer, what it said last counts. An avatar that is kept nowhere answers for itself."""
        if avatar.folder is None:
            return avatar.record.fault() if avatar.record is not None else "nobody agreed to it"
        folder = avatar.folder
        if not self.store.holds(folder):
            return _asked(lambda: consent.required(folder))
        self.store.refresh()
        index = self.store.known
        number = avatar.record.id if avatar.record is not None else ""
        if gone := [one for one in _revoked(index, avatar.name) if one.id == number]:
            return f"its consent is not valid, {gone[-1].fault()}"
        kept = index.find("avatar", avatar.name)
        body = kept.consent.body if kept is not None and kept.consent is not None else ""
        return _asked(lambda: consent.valid(avatar.name, body))

    def _check_own(self, name: str, why_not: str) -> None:
        """Raises UsageError where ``name`` is shipped or unknown."""
        if self.folder(name).parent == self.builtin:
            raise UsageError(f"avatar {name} comes with the program and {why_not}")

    def thumb(self, name: str, size: int = 160) -> U8:
        """The portrait of ``name`` at (size, size, 3), RGB. Raises UsageError where there is no readable one."""
        file = self.folder(name) / "portrait.png"
        pixels = None
        with contextlib.suppress(OSError, cv2.error):
            pixels = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise UsageError(f"avatar {name}: its portrait cannot be read; create it again")
        return cv2.cvtColor(cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)

    def _check_free(self, name: str, overwrite: bool) -> None:
        bundle.check_name(name)
        if (self.builtin / name).exists():
            raise UsageError(
                f"avatar {name} comes with the program; choose another name than {', '.join(self.names())}"
            )
        if self.store.index().find("avatar", name) is not None and not overwrite:
            raise UsageError(
                f"avatar {name} exists already; choose another name than {', '.join(self.names())}, or replace it "
                "with --overwrite"
            )


def _looked(name: str, builtin: bool, load: Callable[[], AvatarBundle]) -> Entry:
    try:
        return Entry(name, load().title, builtin)
    except AvatarError as error:
        return Entry(name, name, builtin, str(error))


def _asked(required: Callable[[], object]) -> str:
    try:
        required()
    except ConsentError as error:
        return str(error)
    return ""


def _revoked(index: Index, name: str) -> list[ConsentRecord]:
    found = []
    for one in index.revoked(name):
        with contextlib.suppress(ConsentError):  # kept, but nobody can read it: it says nothing to show
            found.append(consent.parse(one.body))
    return found


def _folders(root: Path) -> Iterator[Path]:
    try:
        children = list(root.iterdir())
    except OSError:  # not made yet
        return
    for child in children:
        if bundle.NAME_PATTERN.fullmatch(child.name) and (child / "avatar.json").is_file():
            yield child
