"""Recorded speech of voiced games in Debian's main: many actors, whole sentences.

* Flight of the Amazon Queen (John Passfield and Steven Stamatiadis): English, no texts. Use, copies and modification
  are allowed, selling the game is not.
* Beneath a Steel Sky (Revolution Software): English, no texts, some dozen actors, 8 bit at 11 kHz. The same terms.
* Fish Fillets NG (ALTAR interactive and others), GPL-2: Czech and Dutch, with their texts.

Nothing of them is distributed with the engine; the network learns from the voices.

The layout of ``queen.1c``, as ScummVM documents it: "QTBL", seven bytes of version, a byte, a byte for the kind of
compression (1 = MP3), the number of entries in 16 bits; an entry is a name of 12 bytes, a byte, offset and size of 32
bits, big-endian. Speech is ``*.SB``; the letter before the last digit of its name is J for the hero, P for the others.

The layout of ``sky.dnr``, the table of ``sky.dsk``, after the same source: a count in 32 bits; an entry is a number of
16 bits, an offset of 24 bits (with its highest set it counts 16 bytes), a size of 22. Speech are the numbers from 50000
on: 22 bytes of head, then unsigned bytes at 11,025 Hz packed by RNC.
"""

from __future__ import annotations

import io
import logging
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soxr

from avatar.core.types import F32, freeze
from avatar.errors import AvatarError, MediaError
from avatar.models.data import rnc
from avatar.models.data.corpus import RATE, Plan, read_sound
from avatar.models.data.fetch import debian_package
from avatar.models.data.labels import Labeller
from avatar.models.data.prompts import Recording, label_all

log = logging.getLogger(__name__)

MINUTES, MINUTES_OF_FEW = 90.0, 25.0
"""Of sound of each game, at most; the second of one in which few actors say most."""


def make_games(plan: Plan) -> None:
    """The games of this file, each up to the minutes of the plan."""
    labeller = Labeller()
    sources: list[tuple[str, float, Callable[[], Iterable[Recording]]]] = [
        ("amazon-queen", MINUTES, lambda: queen_recordings(_found(plan, "flight-of-the-amazon-queen", "queen.1c"))),
        ("steel-sky", MINUTES, lambda: sky_recordings(_found(plan, "beneath-a-steel-sky", "sky.dnr"))),
        ("fillets-cs", MINUTES_OF_FEW, lambda: fillets_recordings(plan, "cs", "cs")),
        ("fillets-nl", MINUTES_OF_FEW, lambda: fillets_recordings(plan, "nl", "nl")),
    ]
    for source, minutes, list_them in sources:
        try:
            label_all(plan, source, list_them(), labeller, plan.minutes or minutes)
        except AvatarError as error:
            log.warning("%s is left out: %s", source, error)


def _found(plan: Plan, package: str, name: str) -> Path:
    """A file of a package. Raises MediaError where it is not in there."""
    for path in debian_package(plan.cache, package).rglob(name):
        return path
    raise MediaError(f"there is no {name} in the package {package}")


# --- Flight of the Amazon Queen ----------------------------------------------------------------------------------


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


# --- Beneath a Steel Sky -----------------------------------------------------------------------------------------

SKY_FIRST, SKY_HEAD, SKY_RATE = 50_000, 22, 11_025


def sky_entries(table: bytes) -> list[tuple[int, int, int]]:
    """(number, offset, size) of ``sky.dnr``. Raises MediaError for another file."""
    count = struct.unpack_from("<I", table)[0] if len(table) >= 4 else 0
    if not count or len(table) < 4 + 8 * count:
        raise MediaError("sky.dnr is not the table that is expected: leave this part out")
    out = []
    for number, low, high in struct.iter_unpack("<HHI", table[4 : 4 + 8 * count]):
        offset = low | (high & 0xFF) << 16
        if offset & 0x800000:
            offset = (offset & 0x7FFFFF) << 4
        out.append((number, offset, high >> 8 & 0x3FFFFF))
    return out


def sky_recordings(table: Path) -> Iterator[Recording]:
    """The spoken lines of Beneath a Steel Sky. Who says a line is not told; numbers in a row are of one place."""
    for number, offset, size in sky_entries(table.read_bytes()):
        if number >= SKY_FIRST:
            load = partial(_sky, table.with_suffix(".dsk"), offset, size)
            yield Recording(str(number), load, None, "en-gb-x-rp", f"sky-{number // 100}", "train")


def _sky(archive: Path, offset: int, size: int) -> F32:
    with archive.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(size)[SKY_HEAD:]
    samples = np.frombuffer(rnc.unpack(data), np.uint8).astype(np.float32) / 128 - 1
    return freeze(soxr.resample(samples, SKY_RATE, RATE).astype(np.float32))


# --- Fish Fillets NG ---------------------------------------------------------------------------------------------

_DIALOG = re.compile(r'dialogId\("([^"]+)",\s*"([^"]*)",\s*"[^"]*"\)\s*dialogStr\("([^"]*)"\)')


def dialogs(script: str) -> dict[str, tuple[str, str]]:
    """Name of a line -> (who says it, its text in the language of the script)."""
    return {name: (font.removeprefix("font_"), text) for name, font, text in _DIALOG.findall(script)}


def fillets_recordings(plan: Plan, code: str, language: str) -> Iterator[Recording]:
    """The spoken lines of Fish Fillets in one language. Two speakers say most of them; the rest are known by their
    role."""
    scripts = debian_package(plan.cache, "fillets-ng-data")
    sounds = debian_package(plan.cache, f"fillets-ng-data-{code}")
    texts: dict[tuple[str, str], tuple[str, str]] = {}
    for path in scripts.rglob(f"dialogs_{code}.lua"):
        for name, said in dialogs(path.read_text(encoding="utf-8", errors="replace")).items():
            texts[path.parent.name, name] = said
    for path in sounds.rglob("*.ogg"):
        room = path.parent.parent.name
        if (room, path.stem) in texts:
            who, text = texts[room, path.stem]
            yield Recording(
                f"{room}-{path.stem}", partial(read_sound, path), text, language, f"fillets-{code}-{who}", "train"
            )
