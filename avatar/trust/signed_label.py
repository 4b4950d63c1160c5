"""The label that goes with a live picture: facts about its origin, signed, over the WebRTC data channel ``label``.

One JSON object a message: ``payload`` (a JSON text), ``signature`` (base64, Ed25519 over the payload's UTF-8), ``alg``.
The payload names the DTLS fingerprints of the connection that it was made for, so that it cannot be played back over
another one. The public key is at ``/api/label``; who has it over a safe way can check.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from avatar.trust.provenance import Provenance

ALGORITHM = "Ed25519"
CHANNEL = "label"


def public_key(key: Ed25519PrivateKey) -> str:
    """The 32 bytes that check signatures, base64."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def signed(origin: Provenance, fingerprints: tuple[str, ...], key: Ed25519PrivateKey) -> str:
    """The message for one connection. :param fingerprints: of our side's certificate, as its SDP has them."""
    issued = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"label": "AI-generated", **origin.facts(), "fingerprints": list(fingerprints), "issued": issued}
    payload = json.dumps(facts, sort_keys=True)
    signature = base64.b64encode(key.sign(payload.encode())).decode()
    return json.dumps({"payload": payload, "signature": signature, "alg": ALGORITHM})


def check(message: str, key: str) -> dict[str, object] | None:
    """The facts of a message whose signature is right, else None. :param key: base64, as :func:`public_key`."""
    try:
        parts = json.loads(message)
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
        public.verify(base64.b64decode(parts["signature"]), parts["payload"].encode())
        facts = json.loads(parts["payload"])
    except (InvalidSignature, ValueError, KeyError, TypeError, AttributeError):
        return None
    return facts if isinstance(facts, dict) else None
