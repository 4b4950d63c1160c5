"""C2PA manifests: who drew a file, signed, and broken by any change of it (`C2PA specification 2.2
<https://c2pa.org/specifications/>`_)."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatar.errors import StorageError
from avatar.trust.keys import signing_chain
from avatar.trust.provenance import PROGRAM, SOURCE_TYPE, Provenance

log = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".mov", ".m4v", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".wav")
"""What a manifest can be embedded in."""
FACTS = "org.vultus.session"
"""Our own assertion."""
WATERMARK = "org.vultus.watermark.1"
_PADDING = re.compile(rb"\x63pad(?:\x59(..)|\x58(.))", re.DOTALL)
"""CBOR's key ``pad`` and the length of its byte string: room that the signer left over."""
_HEAD = 4 * 2**20
"""Bytes at a file's beginning among which its manifest is."""
_UNTRUSTED = "signingCredential.untrusted"


def definition(origin: Provenance, title: str) -> dict[str, Any]:
    """The manifest of a file that Vultus has drawn, as ``c2pa.Builder`` takes it."""
    facts = origin.facts()
    agent = {"name": PROGRAM, "version": facts["generator"].partition(" ")[2]}
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent}
    binding = {"alg": WATERMARK, "blocks": [{"scope": {}, "value": origin.name}]}
    return {
        "claim_generator_info": [agent],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": "c2pa.soft-binding", "data": binding},
            {"label": FACTS, "data": facts},
        ],
    }


def sign(path: Path, origin: Provenance) -> bool:
    """Put a signed manifest into ``path``; False, with one line in the log, where its format takes none or it fails:
    the other labels are in the file already. The file is replaced when the signed one is complete."""
    if path.suffix.lower() not in SUFFIXES:
        log.warning("%s: this format takes no C2PA manifest; its other labels are there. Use .mp4 or .png", path.name)
        return False
    import c2pa  # 50 MB of shared library, which nothing else needs

    scratch = None
    try:
        certificates, key = signing_chain()
        handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=".signing-", dir=path.parent)
        os.close(handle)
        scratch = Path(name)
        info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificates.encode(), key.encode(), None)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(definition(origin, path.name)) as builder:
            scratch.unlink()
            builder.sign_file(path, scratch, signer)
        os.replace(scratch, path)
        return True
    except (c2pa.C2paError, OSError, StorageError) as error:
        log.warning("%s has no C2PA manifest (%s); its other labels are there", path.name, " ".join(str(error).split()))
        return False
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file's manifest says, and whether it still fits the file."""

    found: bool
    valid: bool = False
    """The signature and every hash are right."""
    trusted: bool = False
    """Somebody on a list of trusted ones vouches for the signer."""
    signer: str = ""
    generator: str = ""
    source_type: str = ""
    facts: dict[str, Any] | None = None
    """Our own assertion, of a file of ours."""
    problems: tuple[str, ...] = ()
    """What is wrong, in C2PA's words."""


def read(path: Path) -> Manifest:
    """Read and check. Whatever cannot be read is a manifest that is not valid."""
    import c2pa

    try:
        with c2pa.Reader(path) as reader:
            found = json.loads(reader.json())
    except c2pa.C2paError as error:
        text = " ".join(str(error).split())
        absent = "ManifestNotFound" in text or "NotSupported" in text or "no JUMBF" in text
        return Manifest(found=not absent, problems=() if absent else (text,))
    active = found.get("manifests", {}).get(found.get("active_manifest"), {})
    failures = [
        f"{entry.get('code')}: {entry.get('explanation', '')}"
        for entry in found.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
        if entry.get("code") != _UNTRUSTED
    ]
    if not _padding_is_empty(path):
        failures.append("vultus.padding: bytes that the signature leaves out have been changed")
    state = found.get("validation_state", "Invalid")
    assertions = {entry["label"]: entry.get("data") for entry in active.get("assertions", [])}
    actions = next((data for label, data in assertions.items() if label.startswith("c2pa.actions")), None) or {}
    kinds = [action.get("digitalSourceType", "") for action in actions.get("actions", [])]
    agents = [one.get("name", "") for one in active.get("claim_generator_info", [])]
    return Manifest(
        found=True,
        valid=state in ("Valid", "Trusted") and not failures,
        trusted=state == "Trusted",
        signer=str(active.get("signature_info", {}).get("common_name", "")),
        generator=", ".join(agents),
        source_type=next((kind for kind in kinds if kind), ""),
        facts=assertions.get(FACTS),
        problems=tuple(failures),
    )


def _padding_is_empty(path: Path) -> bool:
    """The signature cannot cover the room left behind it; the specification asks for zeros there."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for match in _PADDING.finditer(head, max(0, head.find(b"c2pa"))):
        length = int.from_bytes(match[1] or match[2], "big")
        if head[match.end() : match.end() + length].strip(b"\0"):
            return False
    return True
