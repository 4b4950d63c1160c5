"""C2PA manifests: who drew a file, signed, and broken by any change of it (`C2PA specification 2.2
<https://c2pa.org/specifications/>`_)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatar.errors import StorageError
from avatar.trust.keys import signing_chain
from avatar.trust.provenance import PROGRAM, SOURCE_TYPE, Provenance

log = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".mov", ".m4v", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".wav")
"""What a manifest can be embedded in."""
BESIDE = (".mkv", ".webm")
"""What takes none: its manifest lies beside it (external manifests: C2PA specification 2.2, 11.4)."""
_MATROSKA = "video/x-matroska"
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
    """Give ``path`` a signed manifest: in it, or beside it where its format takes none (:func:`sidecar`). False, with
    one line in the log, where it fails: the other labels are in the file already. A file is replaced once the new one
    is complete."""
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, *BESIDE):
        log.warning("%s: this format takes no C2PA manifest; its other labels are there. Use .mp4 or .png", path.name)
        return False
    import c2pa  # 50 MB of shared library, which nothing else needs

    try:
        certificates, key = signing_chain()
        info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificates.encode(), key.encode(), None)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(definition(origin, path.name)) as builder:
            (_sign_beside if suffix in BESIDE else _sign_into)(path, signer, builder)
        return True
    except (c2pa.C2paError, OSError, StorageError) as error:
        log.warning("%s has no C2PA manifest (%s); its other labels are there", path.name, " ".join(str(error).split()))
        return False


def _sign_into(path: Path, signer: Any, builder: Any) -> None:
    with _scratch(path) as scratch:
        scratch.unlink()
        builder.sign_file(path, scratch, signer)
        os.replace(scratch, path)


def _sign_beside(path: Path, signer: Any, builder: Any) -> None:
    beside = _beside(path)
    beside.unlink(missing_ok=True)  # an earlier file's would call this one altered
    builder.set_no_embed()
    with path.open("rb") as source, tempfile.TemporaryFile(dir=path.parent) as copy:
        manifest = builder.sign(signer, _MATROSKA, source, copy)
    with _scratch(beside) as scratch:
        scratch.unlink()
        scratch.write_bytes(manifest)
        os.replace(scratch, beside)


@contextlib.contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=".signing-", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.c2pa")


def sidecar(path: Path) -> Path:
    """Where the manifest of a file lies that takes none: ``clip.mkv.c2pa``; ``clip.c2pa``, other programs' name for it,
    where only that is there."""
    own, short = _beside(path), path.with_suffix(".c2pa")
    return short if short.is_file() and not own.is_file() else own


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
    beside: str = ""
    """Name of the file that it lies in, where that is another one."""

    @property
    def records(self) -> set[str]:
        """Numbers of the consents under which the file was drawn."""
        drawn = [self.facts or {}, *(self.facts or {}).get("before", ())]
        return {str(entry.get("consent", {}).get("record")) for entry in drawn} if self.facts else set()


def read(path: Path) -> Manifest:
    """Read and check what is in ``path`` or beside it. Whatever cannot be read is a manifest that is not valid."""
    import c2pa

    beside = sidecar(path) if path.suffix.lower() in BESIDE else None
    if beside is not None and not beside.is_file():
        return Manifest(found=False)
    try:
        with contextlib.ExitStack() as opened:
            if beside is None:
                reader = c2pa.Reader(path)
            else:
                reader = c2pa.Reader(_MATROSKA, opened.enter_context(path.open("rb")), beside.read_bytes())
            with reader:
                found = json.loads(reader.json())
    except c2pa.C2paError as error:
        text = " ".join(str(error).split())
        absent = beside is None and any(word in text for word in ("ManifestNotFound", "NotSupported", "no JUMBF"))
        return Manifest(found=not absent, problems=() if absent else (text,), beside=beside.name if beside else "")
    active = found.get("manifests", {}).get(found.get("active_manifest"), {})
    failures = [
        f"{entry.get('code')}: {entry.get('explanation', '')}"
        for entry in found.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
        if entry.get("code") != _UNTRUSTED
    ]
    if not _padding_is_empty(beside or path):
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
        beside=beside.name if beside else "",
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
