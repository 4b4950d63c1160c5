"""A reader of C2PA manifests written from the published texts alone, as a second opinion: C2PA specification 2.2
(stores, claims, hard bindings), ISO 19566-5 (JUMBF boxes), RFC 8949 (CBOR), RFC 9052 (COSE_Sign1, ES256).

It checks three things itself: the signature over the claim, the hash of every assertion that the claim names, and the
hash of the file. Whoever signed is not asked about. It knows PNG, JPEG, BMFF (MP4, MOV) and manifests beside a file.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

BMFF_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
JUMBF_UUID = bytes.fromhex("00110010800000aa00389b71")
TYPES = {
    "c2pa": b"c2pa",
    "c2pa.assertions": b"c2as",
    "c2pa.claim": b"c2cl",
    "c2pa.claim.v2": b"c2cl",
    "c2pa.signature": b"c2cs",
}
ES256, X5CHAIN = -7, 33
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"


class Broken(Exception):
    """What is not as the texts have it, or does not fit."""


def require(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


# --- CBOR (RFC 8949), what C2PA uses of it ----------------------------------------------------------------------------


def cbor(data: bytes) -> Any:
    value, end = _item(data, 0)
    require(end == len(data), "CBOR: bytes are left over")
    return value


def _item(data: bytes, at: int) -> tuple[Any, int]:
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return {20: False, 21: True, 22: None, 23: None}[low], at
    require(low < 28, "CBOR: indefinite lengths are not for C2PA")
    size = 0 if low < 24 else 1 << (low - 24)
    count = low if size == 0 else int.from_bytes(data[at : at + size], "big")
    at += size
    if major in (0, 1):
        return (count if major == 0 else -1 - count), at
    if major in (2, 3):
        piece = data[at : at + count]
        require(len(piece) == count, "CBOR: cut off")
        return (piece if major == 2 else piece.decode()), at + count
    if major == 6:
        return _item(data, at)
    values = []
    for _ in range(count * (major - 3)):
        value, at = _item(data, at)
        values.append(value)
    return (values if major == 4 else dict(zip(values[::2], values[1::2], strict=True))), at


def _head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes([major << 5 | count])
    size = next(s for s in (1, 2, 4, 8) if count < 1 << (8 * s))
    return bytes([major << 5 | 24 + size.bit_length() - 1]) + count.to_bytes(size, "big")


# --- JUMBF (ISO 19566-5) ----------------------------------------------------------------------------------------------


@dataclass
class Super:
    """A superbox: what its description says, its content boxes, and the bytes that are hashed."""

    label: str
    inner: bytes
    boxes: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def children(self) -> list[Super]:
        return [superbox(body) for kind, body in self.boxes if kind == b"jumb"]

    def child(self, label: str) -> Super:
        found = [child for child in self.children if child.label == label]
        require(len(found) == 1, f"JUMBF: {len(found)} boxes {label} in {self.label}")
        return found[0]

    @property
    def content(self) -> bytes:
        require(len(self.boxes) == 1, f"JUMBF: {self.label} has {len(self.boxes)} contents")
        return self.boxes[0][1]


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
    """(type, body, begin, end) of successive ISO boxes."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        size = len(data) - at if size == 0 else size
        require(head <= size <= len(data) - at, f"box {kind!r} does not fit")
        yield kind, data[at + head : at + size], at, at + size
        at += size


def superbox(inner: bytes) -> Super:
    (kind, described, _, _), *rest = boxes(inner)
    require(kind == b"jumd", "JUMBF: no description")
    toggles = described[16]
    require(toggles & 3 == 3, "JUMBF: a box without a name")
    label = described[17 : described.index(b"\0", 17)].decode()
    if (code := TYPES.get(label)) is not None:
        require(described[:16] == code + JUMBF_UUID, f"JUMBF: {label} is of another type")
    return Super(label, inner, [(kind, body) for kind, body, _, _ in rest])


# --- files --------------------------------------------------------------------------------------------------------


def store_of(data: bytes) -> bytes:
    """The manifest store that is embedded in a PNG or BMFF file."""
    if data.startswith(PNG):
        at = len(PNG)
        while at < len(data):
            size, kind = struct.unpack_from(">I4s", data, at)
            if kind == b"caBX":
                return data[at + 8 : at + 8 + size]
            at += size + 12
        raise Broken("PNG: no chunk caBX")
    if data.startswith(JPEG):
        return _app11(data)
    for kind, body, _, _ in boxes(data):
        if kind == b"uuid" and body[:16] == BMFF_UUID:
            purpose = body[20 : body.index(b"\0", 20)]
            if purpose == b"manifest":
                return body[20 + len(purpose) + 1 + 8 :]
    raise Broken("BMFF: no box with a manifest")


def _app11(data: bytes) -> bytes:
    """A JPEG's marker segments APP11: a box in pieces, each with the box's header again (ISO 19566-5, annex D)."""
    at, store = 2, b""
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        if data[at + 1] == 0xEB and body[:2] == b"JP":
            store += body[16:] if store else body[8:]
        at += 2 + size
    require(store, "JPEG: no segment with a manifest")
    return store


def _check_data(data: bytes, binding: dict[str, Any]) -> None:
    """``c2pa.hash.data``: the file without its exclusions."""
    digest, at = hashlib.sha256(), 0
    for part in binding.get("exclusions") or []:
        require(part["start"] >= at, "exclusions overlap")
        digest.update(data[at : part["start"]])
        at = part["start"] + part["length"]
    digest.update(data[at:])
    require(digest.digest() == binding["hash"], "the file is not the one that was signed")


def _check_bmff(data: bytes, binding: dict[str, Any]) -> None:
    """``c2pa.hash.bmff.v2`` and ``.v3``: every top-level box that is not excluded, its offset before it."""
    excluded = []
    for rule in binding["exclusions"]:
        require(rule["xpath"].count("/") == 1, f"an exclusion inside a box: {rule['xpath']}")
        excluded.append((rule["xpath"][1:].encode(), rule.get("data") or []))
    digest = hashlib.sha256()
    for kind, _, begin, end in boxes(data):
        box = data[begin:end]
        if any(
            kind == name and all(box[m["offset"] : m["offset"] + len(m["value"])] == m["value"] for m in matches)
            for name, matches in excluded
        ):
            continue
        digest.update(begin.to_bytes(8, "big") + box)
    require(digest.digest() == binding["hash"], "the file is not the one that was signed")


# --- the whole -----------------------------------------------------------------------------------------------------


def check(path: Path, beside: Path | None = None) -> dict[str, Any]:
    """Our assertion (or {}) of a file whose manifest is right. Raises Broken, or whatever a torn manifest leads to."""
    data = path.read_bytes()
    [(kind, inner, _, _)] = boxes(store_of(data) if beside is None else beside.read_bytes())
    require(kind == b"jumb", "no JUMBF")
    store = superbox(inner)
    require(store.label == "c2pa", "no C2PA store")
    active = store.children[-1]
    claim_bytes = next(c for c in active.children if c.label in ("c2pa.claim.v2", "c2pa.claim")).content
    _check_signature(claim_bytes, active.child("c2pa.signature").content)
    claim = cbor(claim_bytes)
    assertions = active.child("c2pa.assertions")
    named = (claim.get("created_assertions") or []) + (
        claim.get("gathered_assertions") or claim.get("assertions") or []
    )
    bound, facts = 0, {}
    for reference in named:
        require(reference.get("alg", claim.get("alg")) == "sha256", "another hash than SHA-256")
        label = reference["url"].rpartition("/")[2]
        box = assertions.child(label)
        require(hashlib.sha256(box.inner).digest() == reference["hash"], f"assertion {label} was changed")
        if label.startswith("c2pa.hash.data"):
            _check_data(data, cbor(box.content))
            bound += 1
        elif label.startswith(("c2pa.hash.bmff.v2", "c2pa.hash.bmff.v3")):
            _check_bmff(data, cbor(box.content))
            bound += 1
        elif label == "org.vultus.session":
            facts = cbor(box.content) if box.boxes[0][0] == b"cbor" else __import__("json").loads(box.content)
    require(bound == 1, f"{bound} bindings to the file")
    return facts


def _check_signature(claim: bytes, cose: bytes) -> None:
    protected, unprotected, payload, signature = cbor(cose)
    require(payload is None, "COSE: a payload of its own")
    require(not any(unprotected.get("pad", b"")), "bytes in the room behind the signature")
    header = cbor(protected)
    require(header[1] == ES256, "another algorithm than ES256")
    chain = header.get(X5CHAIN) or unprotected.get(X5CHAIN) or header.get("x5chain") or unprotected.get("x5chain")
    signer = x509.load_der_x509_certificate(chain if isinstance(chain, bytes) else chain[0])
    key = signer.public_key()
    require(isinstance(key, ec.EllipticCurvePublicKey), "another key than an elliptic one")
    signed = _head(4, 4) + _head(3, 10) + b"Signature1"
    signed += b"".join(_head(2, len(part)) + part for part in (protected, b"", claim))
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
