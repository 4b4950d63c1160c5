"""From one store into another, as from one computer's SQLite to a server: everything, or nothing.

First all of it is written there, in one transaction, and read back; then it is taken away here, so that nobody's face
is in two places of which a revocation reaches one. Killed between the two it is in both, and the same command goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from avatar.errors import StorageError, UsageError
from avatar.store.blobs import digest_of
from avatar.store.index import Bundle, Consent, Index
from avatar.store.store import Store


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved."""

    avatars: int
    calibrations: int
    revocations: int
    settings: int
    withheld: int
    """Avatars that are revoked there: they were only taken away here."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def move(here: Store, there: Store) -> Moved:
    """Move all that ``here`` keeps to ``there``.

    What is there already, byte for byte, counts as moved; a setting that is there stays. Raises UsageError where both
    have different bundles of one name, or the two are one store, StorageError where either fails; nothing is lost then.
    """
    if (here.root, here.url) == (there.root, there.url):
        raise UsageError(f"{there.where} is the store that is in use already; name another one")
    before, known = here.fresh(), there.fresh()
    bundles = [bundle for bundle in before.bundles.values() if not _withheld(bundle, known)]
    _check(bundles, known, there)
    revoked = [consent for consent in before.consents if consent.revoked]
    content = {digest: here.content(digest) for bundle in bundles for _, digest in bundle.files}
    with there.change() as change:
        for bundle in bundles:
            if not _same(bundle, known.find(bundle.kind, bundle.name)):
                files = {path: content[digest] for path, digest in bundle.files}
                consent = None if bundle.consent is None else bundle.consent.body
                change.put(bundle.kind, bundle.name, files, consent)
        for record in revoked:
            change.keep(record.avatar, record.body)
        for key, value in before.settings.items():
            if key not in known.settings:
                change.set(key, value)
    _compare(bundles, revoked, there)
    _empty(here, before)
    kinds = [bundle.kind for bundle in bundles]
    return Moved(
        kinds.count("avatar"),
        kinds.count("calibration"),
        len(revoked),
        len(before.settings),
        len(before.bundles) - len(bundles),
    )


def _withheld(bundle: Bundle, known: Index) -> bool:
    """Whether its consent is revoked in the other store."""
    number = bundle.consent.id if bundle.consent is not None else None
    return any(consent.id == number and consent.revoked for consent in known.consents if consent.avatar == bundle.name)


def _same(bundle: Bundle, other: Bundle | None) -> bool:
    return other is not None and other.digest == bundle.digest


def _check(bundles: list[Bundle], known: Index, there: Store) -> None:
    for bundle in bundles:
        other = known.find(bundle.kind, bundle.name)
        if other is not None and not _same(bundle, other):
            raise UsageError(
                f"{there.where} has another {bundle.kind} called {bundle.name}; delete one of the two, "
                "nothing was moved"
            )


def _compare(bundles: list[Bundle], revoked: list[Consent], there: Store) -> None:
    """Raises StorageError where what was written is not what is read back."""
    now = there.fresh()
    for bundle in bundles:
        copied = now.find(bundle.kind, bundle.name)
        right = _same(bundle, copied) and all(digest_of(there.content(d)) == d for _, d in bundle.files)
        if not right:
            raise StorageError(f"{bundle.kind} {bundle.name} was changed there meanwhile; run the command again")
    missing = {(each.avatar, each.id) for each in revoked} - {(c.avatar, c.id) for c in now.consents if c.revoked}
    if missing:
        raise StorageError("a revocation was not kept there; run the command again")


def _empty(here: Store, before: Index) -> None:
    """Take away what was moved; what has changed since stays, and is an error."""
    with here.change() as change:
        for (kind, name), bundle in before.bundles.items():
            if not change.is_still(bundle):
                raise StorageError(f"{kind} {name} was changed here meanwhile; run the command again")
            change.remove(kind, name)
        for avatar in {consent.avatar for consent in before.consents if consent.revoked}:
            change.forget(avatar)
        for key in before.settings:
            change.unset(key)
