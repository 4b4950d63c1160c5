"""Where a picture comes from, in one object: marks, metadata and manifests say what it says."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from avatar.core.types import U8
from avatar.engines.watermark import Message
from avatar.portrait.consent import ConsentRecord

PROGRAM = "Vultus"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's name for what a model has drawn."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """One live session or one rendered clip."""

    session: int
    """[0, 2**32)."""
    record: ConsentRecord
    engine: str
    badge: str
    """Corner of the visible badge; "none: REASON" where it was taken off."""
    steps: tuple[str, ...] = ()
    """What was done before, one line each, for the manifest."""
    before: tuple[Provenance, ...] = ()
    """What else the same recording shows from before the avatar or the engine was changed."""

    @property
    def name(self) -> str:
        """The session as people write it: eight hexadecimal digits."""
        return self.message.name

    @property
    def message(self) -> Message:
        """What the watermark says."""
        return Message(self.session, self.record.kind)

    def facts(self) -> dict[str, Any]:
        """For the manifest and the live label. The consent is named by its number; whose it is stays here."""
        facts: dict[str, Any] = {
            "session": self.name,
            **self._drawn(),
            "generator": f"{PROGRAM} {version('vultus')}",
            "digitalSourceType": SOURCE_TYPE,
        }
        if self.steps:
            facts["steps"] = list(self.steps)
        if self.before:
            facts["before"] = [origin._drawn() for origin in self.before]
        return facts

    def _drawn(self) -> dict[str, Any]:
        """Who is drawn, by what."""
        consent = {"kind": self.record.kind, "record": self.record.id, "granted": self.record.granted}
        if self.record.until:
            consent["until"] = self.record.until
        return {"consent": consent, "engine": self.engine, "badge": self.badge}

    def aigc(self) -> str:
        """The implicit label of what is drawn."""
        return aigc(f"{self.name}-{self.record.id}", f"consent={self.record.kind}")


def aigc(number: str, more: str = "") -> str:
    """The implicit label of GB 45438-2025, annex E: a JSON object of seven texts; Label 1 = surely generated.

    :param number: of what was made. :param more: what else the producer wants to say of it.
    """
    producer = f"{PROGRAM} {version('vultus')}"
    return json.dumps(
        {
            "Label": "1",
            "ContentProducer": producer,
            "ProduceID": number,
            "ReservedCode1": more,
            "ContentPropagator": producer,
            "PropagateID": number,
            "ReservedCode2": "",
        }
    )


def new_session() -> int:
    """A number for a live session, by chance."""
    return secrets.randbits(32)


def session_of(portrait: U8, *inputs: str | bytes) -> int:
    """A number for a clip, the same for the same portrait and inputs: rendering is repeatable, its mark included."""
    digest = hashlib.sha256(portrait.tobytes())
    for part in inputs:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest()[:4], "big")
