"""The avatars of this installation: the shipped ones and the user's own, each a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import platformdirs

from avatar.core.types import U8
from avatar.errors import AvatarError, ConsentError, UsageError
from avatar.portrait import bundle, consent
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.consent import Consent, ConsentRecord
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import onboard
from avatar.portrait.photo import read_photo
from avatar.portrait.smile import with_smile
from avatar.storage import remove, replacing, stored_in

_REVOKED = ".revoked"
"""Folder of the records of revoked consents, beside the avatars."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One avatar in a list."""

    name: str
    title: str
    builtin: bool
    """Shipped with the program; it cannot be deleted or replaced."""
    folder: Path
    error: str = ""
    """Why it cannot be loaded, one line; empty where it can."""


def user_avatars_dir() -> Path:
    """Where the user's own avatars are kept on this system."""
    return Path(platformdirs.user_data_dir("vultus", appauthor=False)) / "avatars"


class Library:
    """Avatars by name.

    :param builtin: folder of the shipped avatars, never written to.
    :param user: folder of the user's own; made when the first one is created.
    """

    def __init__(self, builtin: Path, user: Path | None = None) -> None:
        self.builtin = builtin
        self.user = user if user is not None else user_avatars_dir()
        self._looked: dict[Path, tuple[tuple[int, ...], Entry]] = {}

    def entries(self) -> list[Entry]:
        """All avatars: the shipped ones first, then the user's own, each by name."""
        entries: list[Entry] = []
        for root, builtin in ((self.builtin, True), (self.user, False)):
            known = {entry.name for entry in entries}
            for folder in sorted(_folders(root)):
                if folder.name in known:
                    continue  # the shipped one wins, as in folder()
                entries.append(self._entry(folder, builtin))
        return entries

    def _entry(self, folder: Path, builtin: bool) -> Entry:
        """Loads an avatar to see whether it can be, again only when its files have changed: a live page asks for the
        list four times a second."""
        stamp = tuple(file.stat().st_mtime_ns for file in sorted(folder.iterdir()))
        known = self._looked.get(folder)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            entry = Entry(folder.name, bundle.load(folder).title, builtin, folder)
        except AvatarError as error:
            entry = Entry(folder.name, folder.name, builtin, folder, str(error))
        self._looked[folder] = stamp, entry
        return entry

    def names(self) -> list[str]:
        """Names of all avatars, in the order of :meth:`entries`."""
        own = [folder.name for folder in sorted(_folders(self.user))]
        shipped = [folder.name for folder in sorted(_folders(self.builtin))]
        return shipped + [name for name in own if name not in shipped]

    def folder(self, name: str) -> Path:
        """Folder of the avatar ``name``. Raises UsageError with the known names, ConsentError where it was revoked."""
        bundle.check_name(name)
        for root in (self.builtin, self.user):
            if (root / name / "avatar.json").is_file():
                return root / name
        if gone := self.revoked(name):
            raise ConsentError(f"avatar {name} is gone: {gone[-1].fault()}; its files were deleted, its record is kept")
        known = ", ".join(self.names()) or "none yet; make one with: avatar create PHOTO --name NAME --consent self"
        raise UsageError(f"no avatar is called {name}; known: {known}")

    def load(self, name: str) -> AvatarBundle:
        """The avatar ``name``. Raises UsageError (unknown or damaged) or ConsentError."""
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
    ) -> AvatarBundle:
        """Make an avatar of a photo and keep it. It appears complete or not at all.

        :param smile: a second photo of the same person. :param glasses: finds frames. :param finish: has the last word.
        :param record: the papers behind ``consent``; None = a plain record of it, from now on.

        Raises PhotoError, ConsentError, UsageError (the name is unusable or taken), StorageError.
        """
        self._check_free(name, overwrite)
        made = onboard(read_photo(photo), name, title, consent, detector, glasses=glasses)
        if smile is not None:
            made = with_smile(made, read_photo(smile), detector, glasses)
        made = finish(made)
        if record is not None:
            made = replace(made, consent=record.kind, record=record)
        self.add(made, overwrite)
        return made

    def add(self, avatar: AvatarBundle, overwrite: bool = False) -> Path:
        """Keep an avatar under its name; returns its folder. Raises UsageError (taken), StorageError."""
        self._check_free(avatar.name, overwrite)
        target = self.user / avatar.name
        with replacing(target) as fresh:
            bundle.save(avatar, fresh)
        return target

    def delete(self, name: str) -> None:
        """Remove one of the user's own avatars. Raises UsageError (unknown or shipped), StorageError."""
        folder = self.folder(name)
        if folder.parent == self.builtin:
            raise UsageError(f"avatar {name} comes with the program and cannot be deleted")
        remove(folder)

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
        """Write a new record beside ``name``, in place of one that is missing or has ended. Raises UsageError,
        StorageError."""
        folder = self._own(name, "needs no other record")
        with stored_in(folder):
            consent.write(record, folder / consent.FILE)

    def revoke(self, name: str, reason: str) -> ConsentRecord:
        """Delete the files of ``name`` and keep the record of its revocation, which is returned; what draws it notices
        (:meth:`fault`). Raises UsageError (unknown or shipped), StorageError."""
        folder = self._own(name, "pictures nobody who could revoke")
        try:
            record = consent.read(folder / consent.FILE)
        except ConsentError:  # made before there were records, or damaged: the revocation counts all the same
            record = ConsentRecord.given("self")
        record = record.withdrawn(reason)
        kept = self.user / _REVOKED
        with stored_in(kept):
            kept.mkdir(exist_ok=True)
            # First the word, then the deed: an interrupt leaves an avatar that is not drawn.
            consent.write(record, folder / consent.FILE)
            consent.write(record, kept / f"{name}.{record.id}.json")
        remove(folder)
        return record

    def revoked(self, name: str) -> list[ConsentRecord]:
        """Records of revocations under ``name``, the oldest first."""
        found = []
        for path in (self.user / _REVOKED).glob(f"{name}.*.json"):
            with contextlib.suppress(ConsentError):
                found.append(consent.read(path))
        return sorted(found, key=lambda record: record.revoked)

    def fault(self, avatar: AvatarBundle) -> str:
        """Why ``avatar``, which was loaded before, may not be drawn any more; empty where it may. Cheap: one small
        file is read. An avatar that is kept nowhere answers for itself."""
        if avatar.folder is None:
            return avatar.record.fault() if avatar.record is not None else "nobody agreed to it"
        known = avatar.record.id if avatar.record is not None else ""
        if gone := [one for one in self.revoked(avatar.name) if one.id == known]:
            return f"its consent is not valid, {gone[-1].fault()}"
        try:
            consent.required(avatar.folder)
        except ConsentError as error:
            return str(error)
        return ""

    def _own(self, name: str, why_not: str) -> Path:
        """Folder of one of the user's own. Raises UsageError."""
        folder = self.folder(name)
        if folder.parent == self.builtin:
            raise UsageError(f"avatar {name} comes with the program and {why_not}")
        return folder

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
        if (self.user / name).exists() and not overwrite:
            raise UsageError(
                f"avatar {name} exists already; choose another name than {', '.join(self.names())}, or replace it "
                "with --overwrite"
            )


def _folders(root: Path) -> Iterator[Path]:
    try:
        children = list(root.iterdir())
    except OSError:  # not made yet
        return
    for child in children:
        if bundle.NAME_PATTERN.fullmatch(child.name) and (child / "avatar.json").is_file():
            yield child
