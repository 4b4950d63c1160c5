"""Unpacking of RNC ("Rob Northen Compression"), method 1, in which old games keep their recordings.

As its format is publicly described: 18 bytes of head ("RNC", the method, the size unpacked and packed in 32 bits,
two check sums of 16, the leeway, the number of chunks); then a stream of little-endian words of 16 bits, read from the
lowest bit, with literal bytes between them. A chunk has three tables of canonical Huffman codes (how many literals, how
far back, how long) and a count of steps, each of them literals and a copy.
"""

from __future__ import annotations

import struct

import numba
import numpy as np

from avatar.errors import MediaError

_compiled = numba.njit(cache=True)
_HEAD = struct.Struct(">3sBIIHHBB")
_LONGEST = 16


def unpack(data: bytes) -> bytes:
    """The bytes that were packed. Raises MediaError where ``data`` is not RNC of method 1, or is damaged."""
    if len(data) < _HEAD.size:
        raise MediaError("RNC data are cut off in their head")
    name, method, size, packed, *_, chunks = _HEAD.unpack_from(data)
    if name != b"RNC" or method != 1:
        raise MediaError("these data are not RNC of method 1")
    if len(data) < _HEAD.size + packed:
        raise MediaError("RNC data are cut off")
    # A few zeros behind the end: the reader looks one word ahead.
    source = np.frombuffer(data[_HEAD.size : _HEAD.size + packed] + bytes(4), np.uint8)
    out = np.zeros(size, np.uint8)
    if _unpack(source, out, chunks) != size:
        raise MediaError("RNC data are damaged")
    return out.tobytes()


@_compiled
def _take(source: np.ndarray, state: np.ndarray, count: int) -> int:
    """The next ``count`` <= 16 bits. ``state``: place of the word that was read last, bits at hand, their number."""
    value = state[1] & ((1 << count) - 1)
    state[1] >>= count
    state[2] -= count
    if state[2] < _LONGEST:
        state[0] += 2
        _refill(source, state)
    return int(value)


@_compiled
def _refill(source: np.ndarray, state: np.ndarray) -> None:
    at = state[0]
    word = 0
    if at + 1 < len(source):
        word = source[at] | (np.int64(source[at + 1]) << 8)
    state[1] |= word << state[2]
    state[2] += 16


@_compiled
def _table(source: np.ndarray, state: np.ndarray) -> np.ndarray:
    """(n, 3): code with its first bit lowest, its length, the symbol."""
    count = _take(source, state, 5)
    lengths = np.zeros(count, np.int64)
    for i in range(count):
        lengths[i] = _take(source, state, 4)
    out = np.zeros((count, 3), np.int64)
    code, used = 0, 0
    for length in range(1, _LONGEST):
        for i in range(count):
            if lengths[i] == length:
                mirrored = 0
                for bit in range(length):
                    mirrored |= ((code >> bit) & 1) << (length - 1 - bit)
                out[used, 0], out[used, 1], out[used, 2] = mirrored, length, i
                code, used = code + 1, used + 1
        code <<= 1
    return out[:used]


@_compiled
def _symbol(source: np.ndarray, state: np.ndarray, table: np.ndarray) -> int:
    """A number: symbol k above 1 stands for 2 ** (k - 1) and k - 1 bits that follow. -1 where no code fits."""
    for i in range(len(table)):
        if state[1] & ((1 << table[i, 1]) - 1) == table[i, 0]:
            _take(source, state, table[i, 1])
            k = table[i, 2]
            return int(k if k < 2 else (1 << (k - 1)) | _take(source, state, k - 1))
    return -1


@_compiled
def _unpack(source: np.ndarray, out: np.ndarray, chunks: int) -> int:
    """Fill ``out``; returns how many bytes were written, -1 for damaged data."""
    state = np.zeros(3, np.int64)
    _refill(source, state)
    _take(source, state, 2)  # locked, and with a key: of no use here
    at = 0
    for _ in range(chunks):
        literals, distances, lengths = _table(source, state), _table(source, state), _table(source, state)
        for left in range(_take(source, state, 16), 0, -1):
            count = _symbol(source, state, literals)
            if count < 0 or at + count > len(out) or state[0] + count > len(source):
                return -1
            if count:
                out[at : at + count] = source[state[0] : state[0] + count]
                at += count
                # The word that was looked at ahead begins behind the literals.
                state[0] += count
                state[2] -= 16
                state[1] &= (1 << state[2]) - 1
                _refill(source, state)
            if left == 1:
                break
            back, count = _symbol(source, state, distances) + 1, _symbol(source, state, lengths) + 2
            if back < 1 or back > at or count < 2 or at + count > len(out):
                return -1
            for _ in range(count):
                out[at] = out[at - back]
                at += 1
    return at
