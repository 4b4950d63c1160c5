"""What the store holds, as one immutable value: small enough to be read as a whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from avatar.errors import StorageError
from avatar.store.database import Database
from avatar.store.schema import REVISION

Kind = Literal["avatar", "calibration"]
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,99}")
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
    try:
        if _revision(database) == before.revision:
            return before
        with database.reading():
            return _read(database)
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"{database.where} is damaged ({' '.join(str(error).split())[:80]}); move it away or bring back a copy"
        ) from error


def _read(database: Database) -> Index:
    consents = tuple(
        Consent(*map(_text, row))
        for row in database.rows("SELECT avatar, id, body, revoked FROM consents ORDER BY 1, 2")
    )
    files: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for kind, name, path, digest in database.rows("SELECT kind, name, path, sha256 FROM files"):
        files.setdefault((kind, name), []).append((plain(path), plain(digest)))
    known = {(consent.avatar, consent.id): consent for consent in consents}
    bundles = {
        (kind, name): Bundle(kind, plain(name), tuple(sorted(files.get((kind, name), ()))), known.get((name, consent)))
        for kind, name, consent in database.rows("SELECT kind, name, consent FROM bundles")
    }
    settings = {_text(key): _text(value) for key, value in database.rows("SELECT key, value FROM settings")}
    return Index(_revision(database), MappingProxyType(bundles), consents, MappingProxyType(settings))


def plain(name: object) -> str:
    """A name that becomes a file's: whoever may write into the database may not write elsewhere by it. Raises
    ValueError."""
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise ValueError(f"{name!r:.40} is no file's name")
    return name


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _revision(database: Database) -> int:
    ((value,),) = database.rows(REVISION)
    return int(value)
