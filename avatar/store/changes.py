"""One transaction's changes: all of them, or none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from avatar.store.blobs import Blobs
from avatar.store.database import Database
from avatar.store.index import Bundle, Kind, plain

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Change:
    """What may be changed; made by :meth:`avatar.store.Store.change`. Every method raises StorageError."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._rows, self._blobs = database.rows, blobs
        self.removed = False
        """Whether something may have lost its last reference."""

    def put(self, kind: Kind, name: str, files: Mapping[str, bytes], consent: str | None = None) -> None:
        """Keep a bundle, in place of one of that name.

        :param files: content by path. :param consent: the consent record's JSON; None = there is none.
        """
        self.remove(kind, plain(name))
        self._rows("INSERT INTO bundles (kind, name) VALUES (?, ?)", kind, name)
        for path, data in files.items():
            plain(path)
            digest = self._blobs.put(data)
            self._rows("INSERT INTO files (kind, name, path, sha256) VALUES (?, ?, ?, ?)", kind, name, path, digest)
        if consent is not None:
            self.grant(name, consent)

    def has(self, kind: Kind, name: str) -> bool:
        """Whether there is one of that name now, while nobody else can change it."""
        return bool(self._rows("SELECT 1 FROM bundles WHERE kind = ? AND name = ?", kind, name))

    def is_still(self, bundle: Bundle) -> bool:
        """Whether there is this very bundle now, while nobody else can change it."""
        named = (bundle.kind, bundle.name)
        files = self._rows("SELECT path, sha256 FROM files WHERE kind = ? AND name = ?", *named)
        consent = self._rows("SELECT consent FROM bundles WHERE kind = ? AND name = ?", *named)
        number = bundle.consent.id if bundle.consent is not None else ""
        return tuple(sorted(files)) == bundle.files and consent == [(number,)]

    def remove(self, kind: Kind, name: str) -> None:
        """Take a bundle away, with its consent record, unless that was revoked. Nothing happens where there is none."""
        self._rows("DELETE FROM files WHERE kind = ? AND name = ?", kind, name)
        self._rows("DELETE FROM bundles WHERE kind = ? AND name = ?", kind, name)
        if kind == "avatar":
            self._rows("DELETE FROM consents WHERE avatar = ? AND revoked = ''", name)
        self.removed = True

    def grant(self, avatar: str, record: str) -> None:
        """Make this the record of an avatar, in place of the one it has. One that was revoked stays revoked."""
        number, revoked = described(record)
        self._rows("DELETE FROM consents WHERE avatar = ? AND revoked = ''", avatar)
        self._rows(_CONSENT, avatar, number, record, revoked)
        self._rows("UPDATE bundles SET consent = ? WHERE kind = 'avatar' AND name = ?", number, avatar)
        self.removed = True  # of the copies on disk

    def revoke(self, avatar: str, record: str) -> None:
        """Keep the record of a revocation, and take the avatar away."""
        self.keep(avatar, record)
        self.remove("avatar", avatar)

    def keep(self, avatar: str, record: str) -> None:
        """Keep the record of a revocation alone: an avatar of that name may have begun anew since."""
        number, revoked = described(record)
        self._rows("DELETE FROM consents WHERE avatar = ? AND id = ?", avatar, number)
        self._rows(_CONSENT, avatar, number, record, revoked)

    def forget(self, avatar: str) -> None:
        """Take the records of revocations under a name away."""
        self._rows("DELETE FROM consents WHERE avatar = ? AND revoked <> ''", avatar)

    def set(self, key: str, value: str) -> None:
        """Keep a setting."""
        self._rows(_SETTING, key, value)

    def unset(self, key: str) -> None:
        """Keep that setting no more."""
        self._rows("DELETE FROM settings WHERE key = ?", key)

    def finish(self) -> None:
        """The last statements of the transaction."""
        if self.removed:
            self._rows("DELETE FROM blobs WHERE sha256 NOT IN (SELECT sha256 FROM files)")
        self._rows("UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE key = 'revision'")


_CONSENT = "INSERT INTO consents (avatar, id, body, revoked) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SETTING = "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def described(record: str) -> tuple[str, str]:
    """Number and day of revocation of a record. One that cannot be read is kept under its own hash, and is not valid
    to whoever reads it."""
    try:
        fields = json.loads(record)
        number, revoked = fields["id"], fields["revoked"]
        if _ID.fullmatch(number) and isinstance(revoked, str):
            return number, revoked
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return f"unreadable-{hashlib.sha256(record.encode()).hexdigest()[:16]}", ""
