"""TensorBoard event files without TensorBoard: scalars and pictures, appended as they come.

An event file is a TFRecord file (a length, its checksum, the record, its checksum; CRC-32C, masked) of ``Event``
messages in Protocol Buffers' wire format: ``tensorflow/core/util/event.proto`` and ``framework/summary.proto``.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from time import time

_CASTAGNOLI = 0x82F63B78
_MASK = 0xA282EAD8


@cache
def _table() -> tuple[int, ...]:
    made = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_CASTAGNOLI if value & 1 else 0)
        made.append(value)
    return tuple(made)


def crc32c(content: bytes) -> int:
    """Castagnoli's checksum (RFC 3720, appendix B.4)."""
    table, value = _table(), 0xFFFFFFFF
    for byte in content:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def masked(content: bytes) -> int:
    """The checksum as TFRecord files have it."""
    value = crc32c(content)
    return ((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF


def record(content: bytes) -> bytes:
    """One record of a TFRecord file."""
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked(length)) + content + struct.pack("<I", masked(content))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


class EventWriter:
    """Appends to one event file of its own in ``folder``; TensorBoard joins the files of a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / name
        self._event(_bytes(3, b"brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One value of each curve."""
        lines = (_bytes(1, name.encode()) + struct.pack("<Bf", 2 << 3 | 5, value) for name, value in values.items())
        self._event(_number(2, step) + _bytes(5, b"".join(_bytes(1, line) for line in lines)))

    def picture(self, step: int, name: str, png: bytes, height: int, width: int) -> None:
        """An RGB picture, as PNG."""
        image = _number(1, height) + _number(2, width) + _number(3, 3) + _bytes(4, png)
        value = _bytes(1, name.encode()) + _bytes(4, image)
        self._event(_number(2, step) + _bytes(5, _bytes(1, value)))

    def _event(self, body: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(record(struct.pack("<Bd", 1 << 3 | 1, time()) + body))
