"""Open Sound Control 1.0 bundles whose addresses never change: made once, then only the numbers are filled in.

Everything in OSC is big-endian and four bytes wide, so a bundle is an array of float32 with fixed places. Filling one
in takes microseconds where building it takes milliseconds (docs/adr/0011-parameter-outputs.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avatar.core.types import F32
from avatar.streams.wire import finite

LIMIT, LOCAL_LIMIT = 1400, 4000
"""Bytes of a bundle at most: it fits into one Ethernet frame; to programs on this machine more, but less than the 4096
that VRChat's OSC library reads at once."""


def limit(addresses: Iterable[tuple[str, int]]) -> int:
    """The largest bundle for receivers at these addresses."""
    local = all(host in ("localhost", "::1") or host.startswith("127.") for host, _ in addresses)
    return LOCAL_LIMIT if local else LIMIT


FLOAT = float
"""Stands in a message for a number that is filled in."""
Argument = str | int | bool | type[float]
Message = tuple[str, Sequence[Argument]]

_HEADER = b"#bundle\0" + struct.pack(">Q", 1)  # time tag 1: at once


def _text(text: str) -> bytes:
    raw = text.encode("ascii") + b"\0"
    return raw + b"\0" * (-len(raw) % 4)


def _message(address: str, arguments: Sequence[Argument]) -> tuple[bytes, list[int]]:
    """The message and the places (bytes) of its numbers."""
    tags, body = ",", b""
    places = []
    for value in arguments:
        if value is FLOAT:
            places.append(len(body))
            tags, body = tags + "f", body + bytes(4)
        elif isinstance(value, bool):
            tags += "T" if value else "F"
        elif isinstance(value, int):
            tags, body = tags + "i", body + struct.pack(">i", value)
        else:
            tags, body = tags + "s", body + _text(str(value))
    head = _text(address) + _text(tags)
    return head + body, [len(head) + place for place in places]


class _Bundle:
    """One datagram."""

    def __init__(self) -> None:
        self.raw = bytearray(_HEADER)
        self.places: list[int] = []

    def add(self, raw: bytes, places: Iterable[int]) -> None:
        start = len(self.raw) + 4
        self.raw += struct.pack(">i", len(raw)) + raw
        self.places += [(start + place) // 4 for place in places]


class OscPackets:
    """Messages, packed into as few bundles as fit; their order is kept.

    :param messages: addresses and arguments; :data:`FLOAT` where a number is filled in.
    """

    def __init__(self, messages: Sequence[Message], limit: int = LIMIT) -> None:
        bundles = [_Bundle()]
        for address, arguments in messages:
            raw, places = _message(address, arguments)
            if len(bundles[-1].raw) + 4 + len(raw) > limit and len(bundles[-1].raw) > len(_HEADER):
                bundles.append(_Bundle())
            bundles[-1].add(raw, places)
        self.count = sum(len(bundle.places) for bundle in bundles)
        """How many numbers are filled in."""
        self._parts: list[tuple[NDArray[np.floating], NDArray[np.intp], slice]] = []
        begin = 0
        for bundle in bundles:
            end = begin + len(bundle.places)
            words = np.frombuffer(bundle.raw, ">f4")
            self._parts.append((words, np.array(bundle.places, np.intp), slice(begin, end)))
            begin = end

    def encode(self, numbers: ArrayLike) -> list[bytes]:
        """The datagrams with ``numbers`` (count,) in the order of the messages; what is not finite becomes 0."""
        values: F32 = finite(np.asarray(numbers, np.float32))
        if values.shape != (self.count,):
            raise ValueError(f"{values.shape} numbers for {self.count} places")
        out = []
        for words, places, which in self._parts:
            words[places] = values[which]
            out.append(words.tobytes())
        return out
