"""The invisible mark of a generated picture: 64 bits spread over the whole of it, a grey level or so deep.

Spread spectrum after Cox et al., "Secure spread spectrum watermarking for multimedia" (1997): the picture is a grid of
64 x 64 cells, each a little lighter or darker by a sign that everybody knows. A quarter of them says where the grid
lies (after a crop, at another size), the others carry the message: 40 bits and their CRC, convolutionally coded
(rate 1/3, constraint length 7), each coded bit in 16 or 17 cells. The pattern does not move, so that averaging over
pictures helps whoever reads it, it costs a codec nothing, and nothing flickers.
:mod:`avatar.trust.watermark_reader` reads it.
"""

from __future__ import annotations

import binascii
import hashlib
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32, U8

VERSION = 1
CELLS = 64
"""Cells a side, whatever the picture's size."""
SYNC = CELLS * CELLS // 4
"""Cells that say where the grid lies."""
MEMORY, GENERATORS = 6, (0o133, 0o171, 0o165)
"""The convolutional code of rate 1/3 with the largest free distance at this length."""
KINDS = ("self", "licensed", "synthetic", "unstated")
"""Consent, by number."""
FLAT, BUSY = 0.65, 2.6
"""Depth in grey levels where the portrait is smooth and where its texture hides more."""
LOUDEST = 1.75
"""Root mean square in grey levels of the mark over a whole picture: with rounding, 42.6 dB under the picture."""
_SOFT = 0.225
"""Blur of the cells' edges in parts of a cell."""
_INFORMATION = 40 + 16
CODED = (_INFORMATION + MEMORY) * len(GENERATORS)


@dataclass(frozen=True, slots=True)
class Message:
    """What the mark says: 4 bits of version, 2 of consent, 2 reserved (zero), 32 of session."""

    session: int
    """[0, 2**32): one live session or one rendered clip."""
    consent: str = "unstated"
    """One of :data:`KINDS`."""
    version: int = VERSION

    @property
    def name(self) -> str:
        """The session as people write it: eight hexadecimal digits."""
        return f"{self.session:08x}"

    def to_bits(self) -> NDArray[np.uint8]:
        """(56,) of 0 and 1, the CRC-16-CCITT last."""
        head = (self.version << 4) | (KINDS.index(self.consent) << 2)
        data = bytes([head]) + self.session.to_bytes(4, "big")
        return np.unpackbits(np.frombuffer(data + binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big"), np.uint8))

    @classmethod
    def from_bits(cls, bits: NDArray[np.uint8]) -> Message | None:
        """None where the CRC, the version or the reserved bits are not right."""
        data = np.packbits(bits).tobytes()
        if binascii.crc_hqx(data[:5], 0xFFFF).to_bytes(2, "big") != data[5:] or data[0] & 3 or data[0] >> 4 != VERSION:
            return None
        return cls(int.from_bytes(data[1:5], "big"), KINDS[data[0] >> 2 & 3], data[0] >> 4)


@dataclass(frozen=True, slots=True)
class Layout:
    """What everybody knows about the grid. Cells are numbered by rows."""

    signs: F32
    """(4096,): +1 or -1."""
    sync: NDArray[np.intp]
    """(1024,): cells of the template."""
    data: NDArray[np.intp]
    """(3072,): cells of the message."""
    bit: NDArray[np.intp]
    """(3072,): which coded bit each of ``data`` carries."""


@cache
def layout() -> Layout:
    """The same on every machine for ever: drawn from SHAKE-256, not from a random generator that may change."""
    count = CELLS * CELLS
    raw = hashlib.shake_256(b"vultus watermark 1").digest(count * 9)
    signs = np.where(np.frombuffer(raw[:count], np.uint8) & 1, 1, -1).astype(np.float32)
    order = np.argsort(np.frombuffer(raw[count:], "<u8"), kind="stable")
    data = order[SYNC:]
    return Layout(signs, order[:SYNC], data, np.arange(len(data)) % CODED)


def parities() -> NDArray[np.uint8]:
    """(128, 3): the code's three bits for each content of its register, the newest bit on top."""
    register = np.arange(1 << (MEMORY + 1))[:, None] & np.array(GENERATORS)
    return (np.bitwise_count(register) & 1).astype(np.uint8)


def encode(message: Message) -> NDArray[np.uint8]:
    """(186,): the coded bits."""
    table, register, coded = parities(), 0, []
    for bit in (*message.to_bits().tolist(), *[0] * MEMORY):
        register = (register >> 1) | (bit << MEMORY)
        coded.append(table[register])
    return np.concatenate(coded)


def cells(message: Message | None) -> F32:
    """(64, 64) of +1 and -1; without a message the template alone, and 0 elsewhere."""
    known = layout()
    values = np.zeros(CELLS * CELLS, np.float32)
    values[known.sync] = known.signs[known.sync]
    if message is not None:
        values[known.data] = known.signs[known.data] * (2.0 * encode(message)[known.bit] - 1)
    return values.reshape(CELLS, CELLS)


def waveform(grid: F32, size: int) -> F32:
    """``grid`` (64, 64) drawn at (size, size) with soft edges; a full grid has a root mean square near 1."""
    drawn = cv2.resize(grid, (size, size), interpolation=cv2.INTER_NEAREST)
    soft = cv2.GaussianBlur(drawn, (0, 0), _SOFT * size / CELLS, borderType=cv2.BORDER_REFLECT)
    return np.asarray(soft * np.float32(1.25), np.float32)


def depth(portrait: U8, size: int) -> F32:
    """How deep the mark may be at each place (size, size), in grey levels, from the texture of (n, n, 3) RGB."""
    grey = cv2.cvtColor(cv2.resize(portrait, (512, 512), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    fine = grey.astype(np.float32)
    fine -= cv2.GaussianBlur(fine, (0, 0), 6.0)
    activity = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 6.0))
    # The calmest of a neighbourhood decides: beside an outline a plain wall would show the mark.
    activity = cv2.GaussianBlur(cv2.erode(activity, np.ones((17, 17), np.uint8)), (0, 0), 6.0)
    deep = np.clip(FLAT + (BUSY - FLAT) * (activity - 1.0) / 7.0, FLAT, BUSY).astype(np.float32)
    return np.asarray(cv2.resize(deep, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


class Watermark:
    """Marks pictures of ``size`` pixels a side with ``message``. The same picture gives the same marked one.

    :param portrait: (n, n, 3), RGB, roughly what will be drawn: its texture says where a deeper mark hides.
    :param gain: so much deeper; for pictures of which only a part will be seen.
    """

    def __init__(self, size: int, message: Message, portrait: U8 | None = None, gain: float = 1.0) -> None:
        self.size = size
        self.message = message
        deep = depth(portrait, size) if portrait is not None else np.full((size, size), FLAT, np.float32)
        wave = waveform(cells(message), size) * deep
        wave *= gain * min(1.0, LOUDEST / float(np.sqrt((wave * wave).mean())))
        # Rounded up or down by chance, once: fractions of a grey level are kept in the mean, without edges.
        change = np.floor(wave + np.random.default_rng(message.session).random(wave.shape)).astype(np.int16)
        self._lighter = np.repeat(np.maximum(change, 0).astype(np.uint8)[..., None], 3, axis=2)
        self._darker = np.repeat(np.maximum(-change, 0).astype(np.uint8)[..., None], 3, axis=2)

    def apply(self, pixels: U8) -> None:
        """Mark ``pixels`` (size, size, 3) in place. Raises ValueError for another shape."""
        if pixels.shape != (self.size, self.size, 3):
            raise ValueError(f"watermark made for {self.size} x {self.size} pixels, picture has {pixels.shape}")
        cv2.add(pixels, self._lighter, dst=pixels)
        cv2.subtract(pixels, self._darker, dst=pixels)
