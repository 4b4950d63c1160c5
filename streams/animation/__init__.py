"""Face states as files for other programs, by the file's ending: states (.jsonl), the CSV of Live Link Face (.csv),
head and eyes as motion capture (.bvh), and an animated head (.glb)."""

from __future__ import annotations

from pathlib import Path

from avatar.errors import UsageError
from avatar.streams.animation.base import StateWriter
from avatar.streams.animation.mesh import MorphMesh

SUFFIXES = (".jsonl", ".csv", ".bvh", ".glb")


def check(path: Path) -> None:
    """Raises UsageError for an ending that is not known."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path.name}: states are written as {', '.join(SUFFIXES)}; change the name's ending")


def writer(path: Path, fps: int, head: MorphMesh | None = None) -> StateWriter:
    """What writes states to ``path``; a ``with`` gives the function that takes them.

    :param fps: states a second.
    :param head: what is animated in a .glb.

    Raises UsageError for another ending, StorageError where the file cannot be made.
    """
    check(path)
    from avatar.streams.animation import bvh, csv, glb, jsonl

    match path.suffix.lower():
        case ".jsonl":
            return jsonl.JsonLinesWriter(path, fps)
        case ".csv":
            return csv.CsvWriter(path, fps)
        case ".bvh":
            return bvh.BvhWriter(path, fps)
    if head is None:
        raise ValueError("a .glb needs a head")
    return glb.GlbWriter(path, fps, head)
