"""The label of GB 45438-2025 in a file's metadata: ``AIGC`` in MP4 (``udta/meta/keys``) and Matroska tags, and
``TC260:AIGC`` in the XMP packet of PNG and JPEG, as TC260's practice guide on file metadata has it."""

from __future__ import annotations

import html
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import av
import av.error

KEY = "AIGC"
FIELDS = (
    "Label",
    "ContentProducer",
    "ProduceID",
    "ReservedCode1",
    "ContentPropagator",
    "PropagateID",
    "ReservedCode2",
)
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_IN_XMP = re.compile(rb"TC260:AIGC(?:\s*=\s*\"([^\"]*)\"|[^>]*>([^<]*)<)")


def xmp(aigc: str) -> bytes:
    """The XMP packet that carries ``aigc``."""
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:TC260="{_NAMESPACE}">'
        f"<TC260:AIGC>{html.escape(aigc, quote=False)}</TC260:AIGC>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )
    return text.encode()


def put(picture: bytes, aigc: str) -> bytes:
    """``picture``, a PNG or JPEG file, with the label in it; another format comes back as it is."""
    packet = xmp(aigc)
    if picture.startswith(_PNG):
        at = 33  # after the signature and IHDR
        body = b"iTXt" + _XMP_KEYWORD + b"\0\0\0\0\0" + packet
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return picture[:at] + chunk + picture[at:]
    if picture.startswith(_JPEG):
        segment = _XMP_HEADER + packet
        at = 2 + (2 + struct.unpack(">H", picture[4:6])[0] if picture[2:4] == b"\xff\xe0" else 0)  # after JFIF's header
        return picture[:at] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + picture[at:]
    return picture


def find(path: Path) -> dict[str, Any] | None:
    """The label of a file, None where there is none or it is not right. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(12)
        if head.startswith((_PNG, _JPEG)):
            found = _IN_XMP.search(head + file.read())
            return _parsed(html.unescape((found[1] or found[2]).decode("utf-8", "replace"))) if found else None
    try:
        with av.open(str(path)) as container:
            tags = {key.upper(): value for key, value in container.metadata.items()}
    except (av.error.FFmpegError, ValueError):
        return None
    return _parsed(tags[KEY]) if KEY in tags else None


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        label = json.loads(text)
    except ValueError:
        return None
    label = label.get(KEY, label) if isinstance(label, dict) else {}
    return label if isinstance(label, dict) and label.get("Label") in ("1", "2", "3") else None
