"""Who agreed that a face becomes an avatar: a record of plain fields, kept beside it (``consent.json``).

{"format": 1, "id": "9f2c…", "kind": "self", "by": "the pictured person", "for": "an avatar of myself",
 "granted": "2026-11-26T09:00:00+00:00", "scope": "…", "until": "2027-11-26", "revoked": "", "reason": ""}

Without a valid record nothing draws the avatar. A record that was revoked stays (:mod:`avatar.portrait.library`).
"""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from avatar.errors import ConsentError

Consent = Literal["self", "licensed", "synthetic"]
CONSENTS: tuple[Consent, ...] = ("self", "licensed", "synthetic")
FILE = "consent.json"
FORMAT = 1
SCOPE = "drawn live and in files, always labelled as generated"
_BY = {
    "self": "the pictured person",
    "licensed": "the pictured person, by a licence",
    "synthetic": "nobody: no real person is pictured",
}
_FOR = {"self": "an avatar of myself", "licensed": "what the licence allows", "synthetic": "any use"}
_LIMIT = 400


def check_consent(value: str) -> Consent:
    """Return ``value`` if it is a consent statement. Raises ConsentError."""
    for known in CONSENTS:
        if value == known:
            return known
    raise ConsentError(f"consent {value!r}: say who agreed: {', '.join(CONSENTS)}")


def now() -> str:
    """The time as records carry it: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One person's agreement, or why none is needed."""

    id: str
    """16 hexadecimal digits: names the record in manifests, and nobody."""
    kind: Consent
    by: str
    """Who agreed."""
    purpose: str
    """What for; ``for`` in the file."""
    granted: str
    """ISO 8601, UTC."""
    scope: str = SCOPE
    until: str = ""
    """The last day, as YYYY-MM-DD; empty = until it is revoked."""
    revoked: str = ""
    """ISO 8601, UTC; empty = not."""
    reason: str = ""
    """Why it was revoked."""

    @classmethod
    def given(cls, kind: Consent, by: str = "", purpose: str = "", until: str = "", granted: str = "") -> ConsentRecord:
        """A new record; what is not said is filled in plainly. Raises ConsentError for a field that cannot be used."""
        check_consent(kind)
        by, purpose, until = (" ".join(text.split()) for text in (by, purpose, until))
        if max(len(by), len(purpose)) > _LIMIT:
            raise ConsentError(f"consent: say who agreed and what for in at most {_LIMIT} characters each")
        if until and not _day(until):
            raise ConsentError(f"consent until {until!r}: write the last day as YYYY-MM-DD")
        record = cls(secrets.token_hex(8), kind, by or _BY[kind], purpose or _FOR[kind], granted or now(), until=until)
        if fault := record.fault():
            raise ConsentError(f"consent: {fault}")
        return record

    def fault(self, today: date | None = None) -> str:
        """Why it is not valid now, in a few words; empty where it is."""
        if self.revoked:
            return f"it was revoked on {self.revoked[:10]}" + (f" ({self.reason})" if self.reason else "")
        last = _day(self.until) if self.until else None
        if last is not None and (today or datetime.now(UTC).date()) > last:
            return f"it ended on {self.until}"
        return ""

    def withdrawn(self, reason: str) -> ConsentRecord:
        """The same, revoked now."""
        return replace(self, revoked=now(), reason=" ".join(reason.split())[:_LIMIT])

    def to_json(self) -> str:
        fields = asdict(self)
        fields["for"] = fields.pop("purpose")
        order = ("id", "kind", "by", "for", "granted", "scope", "until", "revoked", "reason")
        return json.dumps({"format": FORMAT, **{name: fields[name] for name in order}}, indent=2, ensure_ascii=False)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
    except ValueError:
        return None


def write(record: ConsentRecord, path: Path) -> None:
    """Write a record, complete or not at all. Raises OSError."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(record.to_json() + "\n", encoding="utf-8")
    os.replace(scratch, path)


def read(path: Path) -> ConsentRecord:
    """Read a record, valid or not. Raises ConsentError where there is none or it cannot be read."""
    try:
        body = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        body = ""
    except (OSError, ValueError):
        raise ConsentError("the consent record cannot be read") from None
    return parse(body)


def parse(body: str) -> ConsentRecord:
    """The same of a record's text; empty = there is none."""
    if not body:
        raise ConsentError("there is no consent record")
    try:
        fields = json.loads(body)
        names = ("id", "by", "for", "granted", "scope", "until", "revoked", "reason")
        texts = {name: fields[name] for name in names}
        if fields["format"] != FORMAT or not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("unknown fields")
        if not texts["granted"] or (texts["until"] and not _day(texts["until"])):
            raise ValueError("dates")
        return ConsentRecord(kind=check_consent(fields["kind"]), purpose=texts.pop("for"), **texts)
    except (ValueError, KeyError, TypeError, RecursionError, ConsentError):
        raise ConsentError("the consent record cannot be read") from None


def required(folder: Path) -> ConsentRecord:
    """The valid record of an avatar's folder. Raises ConsentError, one line with what to do."""
    try:
        body = (folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        body = ""
    except (OSError, ValueError):
        body = "{"
    return valid(folder.name, body)


def valid(name: str, body: str) -> ConsentRecord:
    """The valid record of the avatar ``name`` of its text. Raises ConsentError, one line with what to do."""
    try:
        record = parse(body)
    except ConsentError as error:
        raise ConsentError(
            f"avatar {name} is not drawn: {error}; say who agrees: avatar avatars grant {name} --consent self"
        ) from None
    if fault := record.fault():
        raise ConsentError(
            f"avatar {name} is not drawn: its consent is not valid, {fault}; a new one: avatar avatars grant {name}"
        )
    return record
