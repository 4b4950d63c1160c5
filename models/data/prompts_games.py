"""Recorded speech of a voiced adventure game in Debian's main: many actors, whole sentences, no texts.

Flight of the Amazon Queen is by John Passfield and Steven Stamatiadis. Its licence allows use, copies and modification,
and forbids selling the game. Nothing of it is distributed with the engine; the network learns from the voices.

The layout of its archive ``queen.1c``, as ScummVM documents it: "QTBL", seven bytes of version, a byte, a byte for the
kind of compression (1 = MP3), the number of entries in 16 bits; an entry is a name of 12 bytes, a byte, offset and size
of 32 bits, big-endian. Speech is ``*.SB``; the letter before the last digit of its name is J for the hero, P for the
others.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from avatar.core.types import F32
from avatar.errors import MediaError
from avatar.models.data.corpus import Plan, read_sound
from avatar.models.data.fetch import debian_package
from avatar.models.data.labels import Labeller
from avatar.models.data.prompts import Recording, label_all

log = logging.getLogger(__name__)

MINUTES_EACH = 40.0


def make_games(plan: Plan) -> None:
    """Flight of the Amazon Queen."""
    archive = next(debian_package(plan.cache, "flight-of-the-amazon-queen").rglob("queen.1c"))
    label_all(plan, "amazon-queen", queen_recordings(archive), Labeller(), plan.minutes or MINUTES_EACH)


def queen_entries(archive: Path) -> list[tuple[str, int, int]]:
    """(name, offset, size) of the files in ``queen.1c``. Raises MediaError for another file."""
    with archive.open("rb") as stream:
        head = stream.read(15)
        if head[:4] != b"QTBL" or head[12] != 1:
            raise MediaError(f"{archive} is not the archive that is expected: leave this part out")
        count = struct.unpack(">H", head[13:])[0]
        table = stream.read(21 * count)
    rows = struct.iter_unpack(">12sBII", table)
    return [(name.rstrip(b"\0").decode("ascii", "replace"), offset, size) for name, _, offset, size in rows]


def queen_recordings(archive: Path) -> Iterator[Recording]:
    """The spoken lines of Flight of the Amazon Queen."""
    for name, offset, size in queen_entries(archive):
        stem, _, kind = name.rpartition(".")
        if kind != "SB" or len(stem) < 8 or size < 2000 or stem[-2] not in "JP":
            continue
        # Others than the hero are known only by the dialogue in which they speak.
        voice = "queen-joe" if stem[-2] == "J" else f"queen-{stem[:3]}"
        yield Recording(stem, partial(_mp3, archive, offset, size), None, "en-us", voice, "train")


def _mp3(archive: Path, offset: int, size: int) -> F32:
    with archive.open("rb") as stream:
        stream.seek(offset)
        return read_sound(io.BytesIO(stream.read(size)), "mp3")
