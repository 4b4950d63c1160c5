"""Unpacking of RNC against a packer of its own, written from the format's description."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.errors import MediaError
from avatar.models.data import rnc


class Packer:
    """Bits in words of 16, the lowest first; bytes between them come where the word in use ends."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._at, self._used = 0, 16

    def bits(self, value: int, count: int) -> None:
        for k in range(count):
            if self._used == 16:
                self._at, self._used = len(self.out), 0
                self.out += bytes(2)
            if value >> k & 1:
                self.out[self._at + self._used // 8] |= 1 << self._used % 8
            self._used += 1

    def number(self, value: int) -> None:
        """By a table in which all 16 symbols have codes of 4 bits."""
        symbol = value.bit_length()
        self.bits(int(f"{symbol:04b}"[::-1], 2), 4)
        if symbol > 1:
            self.bits(value - (1 << symbol - 1), symbol - 1)

    def table(self) -> None:
        self.bits(16, 5)
        for _ in range(16):
            self.bits(4, 4)


Step = tuple[bytes, int, int]
"""Literals, then a copy from so far back of so many bytes."""


def packed(steps: list[Step], last: bytes, size: int | None = None) -> bytes:
    p = Packer()
    p.bits(0, 2)
    for _ in range(3):
        p.table()
    p.bits(len(steps) + 1, 16)
    for literals, back, count in steps:
        p.number(len(literals))
        p.out += literals
        p.number(back - 1)
        p.number(count - 2)
    p.number(len(last))
    p.out += last
    size = len(plain(steps, last)) if size is None else size
    return struct.pack(">3sBIIHHBB", b"RNC", 1, size, len(p.out), 0, 0, 0, 1) + bytes(p.out)


def plain(steps: list[Step], last: bytes) -> bytes:
    out = bytearray()
    for literals, back, count in steps:
        out += literals
        for _ in range(count):
            out.append(out[-back])
    return bytes(out + last)


LITERALS = st.binary(min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(LITERALS, st.integers(1, 40), st.integers(2, 60)), max_size=12), st.binary(max_size=30))
def test_literals_and_copies_come_back(steps: list[Step], last: bytes) -> None:
    possible: list[Step] = []
    for literals, back, count in steps:  # a copy cannot reach before the beginning
        possible.append((literals, min(back, len(plain(possible, b"")) + len(literals)), count))
    assert rnc.unpack(packed(possible, last)) == plain(possible, last)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"RN", "head"), (b"ZIP" + bytes(20), "not RNC"), (packed([(b"abc", 2, 9)], b"z")[:-3], "cut off")],
)
def test_what_is_not_rnc_is_said(data: bytes, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        rnc.unpack(data)


def test_a_copy_from_before_the_beginning_is_damage() -> None:
    with pytest.raises(MediaError, match="damaged"):
        rnc.unpack(packed([(b"abc", 30, 4)], b"", size=7))


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=0, max_size=200), st.integers(0, 500))
def test_noise_is_refused_or_unpacked_but_nothing_else(noise: bytes, size: int) -> None:
    data = struct.pack(">3sBIIHHBB", b"RNC", 1, size, len(noise), 0, 0, 0, 1) + noise
    try:
        assert len(rnc.unpack(data)) == size
    except MediaError:
        return
