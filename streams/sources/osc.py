"""Open Sound Control 1.0, as far as it is received: messages and bundles out of a datagram.

The specification: https://opensoundcontrol.stanford.edu/spec-1_0.html. A bundle's time tag is not waited for: what
comes is meant for now.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

Argument = int | float | str | bytes | bool | None
DEPTH = 4
"""Bundles within bundles, at most."""


class OscError(ValueError):
    """A datagram is not OSC."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    address: str
    arguments: tuple[Argument, ...]


def read(data: bytes, depth: int = 0) -> list[Message]:
    """The messages of a datagram in order. Raises OscError."""
    if not data.startswith(b"#bundle\0"):
        return [_message(data)]
    if depth >= DEPTH:
        raise OscError("bundles are nested too deeply")
    out: list[Message] = []
    at = 16  # the name and the time tag
    while at < len(data):
        size = int(_unpack(">i", data, at))
        at += 4
        if size < 0 or size % 4 or at + size > len(data):
            raise OscError("an element of a bundle is longer than the bundle")
        out += read(data[at : at + size], depth + 1)
        at += size
    return out


def _message(data: bytes) -> Message:
    address, at = _text(data, 0)
    if not address.startswith("/"):
        raise OscError("an address begins with /")
    if at >= len(data):
        return Message(address, ())
    tags, at = _text(data, at)
    if not tags.startswith(","):
        raise OscError("the types of the arguments are missing")
    arguments: list[Argument] = []
    for tag in tags[1:]:
        value, at = _argument(tag, data, at)
        arguments.append(value)
    return Message(address, tuple(arguments))


def _argument(tag: str, data: bytes, at: int) -> tuple[Argument, int]:
    match tag:
        case "i":
            return int(_unpack(">i", data, at)), at + 4
        case "f":
            return float(_unpack(">f", data, at)), at + 4
        case "h":
            return int(_unpack(">q", data, at)), at + 8
        case "d":
            return float(_unpack(">d", data, at)), at + 8
        case "s" | "S":
            return _text(data, at)
        case "b":
            size = int(_unpack(">i", data, at))
            if size < 0 or at + 4 + size > len(data):
                raise OscError("a blob is longer than the message")
            return data[at + 4 : at + 4 + size], at + 4 + -(-size // 4) * 4
        case "T" | "F":
            return tag == "T", at
        case "N" | "I":
            return None, at
    raise OscError(f"arguments of type {tag!r} are not known here")


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    if end < 0:
        raise OscError("a text has no end")
    try:
        return data[at:end].decode("utf-8"), (end // 4 + 1) * 4
    except UnicodeDecodeError:
        raise OscError("a text is not UTF-8") from None


def _unpack(form: str, data: bytes, at: int) -> float:
    try:
        value: float = struct.unpack_from(form, data, at)[0]
    except struct.error:
        raise OscError("the message ends within an argument") from None
    return value
