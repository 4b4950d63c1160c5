"""What the store holds, as one immutable value: small enough to be read as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from avatar.store.database import Database
from avatar.store.schema import REVISION

Kind = Literal["avatar", "calibration"]
CONSENT_FILE = "consent.json"
"""A consent record as a file of its avatar; in the store it is a row."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent record."""

    avatar: str
    id: str
    body: str
    """The record's JSON as it was written (:mod:`avatar.portrait.consent`)."""
    revoked: str
    """ISO 8601; empty = not."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An avatar or a calibration: files under a name."""

    kind: Kind
    name: str
    files: tuple[tuple[str, str], ...]
    """(path, SHA-256), by path."""
    consent: Consent | None = None

    @property
    def digest(self) -> str:
        """Changes when any file or the consent does; hexadecimal."""
        text = "\n".join((self.kind, self.name, *(f"{path} {digest}" for path, digest in self.files)))
        body = "" if self.consent is None else self.consent.body
        return hashlib.sha256(f"{text}\n\n{body}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Index:
    """All of it at one moment."""

    revision: int = 0
    bundles: Mapping[tuple[Kind, str], Bundle] = field(default_factory=lambda: MappingProxyType({}))
    consents: tuple[Consent, ...] = ()
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def names(self, kind: Kind) -> list[str]:
        """Sorted."""
        return sorted(name for of, name in self.bundles if of == kind)

    def find(self, kind: Kind, name: str) -> Bundle | None:
        return self.bundles.get((kind, name))

    def revoked(self, avatar: str) -> list[Consent]:
        """Revoked records under a name, the oldest first."""
        return sorted((c for c in self.consents if c.avatar == avatar and c.revoked), key=lambda c: c.revoked)


EMPTY = Index()


def read(database: Database, before: Index) -> Index:
    """What there is now: ``before`` itself where nothing has changed. Raises StorageError."""
    if revision(database) == before.revision:
        return before
    with database.reading():
        at = revision(database)
        consents = tuple(
            Consent(*row) for row in database.rows("SELECT avatar, id, body, revoked FROM consents ORDER BY avatar, id")
        )
        files: dict[tuple[Kind, str], list[tuple[str, str]]] = {}
        for kind, name, path, digest in database.rows("SELECT kind, name, path, sha256 FROM files ORDER BY path"):
            files.setdefault((kind, name), []).append((path, digest))
        known = {(consent.avatar, consent.id): consent for consent in consents}
        bundles = {
            (kind, name): Bundle(kind, name, tuple(sorted(files.get((kind, name), ()))), known.get((name, consent)))
            for kind, name, consent in database.rows("SELECT kind, name, consent FROM bundles")
        }
        settings: dict[str, str] = dict(database.rows("SELECT key, value FROM settings"))
    return Index(at, MappingProxyType(bundles), consents, MappingProxyType(settings))


def revision(database: Database) -> int:
    ((value,),) = database.rows(REVISION)
    return int(value)
