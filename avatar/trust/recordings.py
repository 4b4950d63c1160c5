"""Recordings of one person's avatar, found by their labels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from avatar.trust import manifest, metadata

_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".png", ".jpg", ".jpeg")


def of_record(folder: Path, record: str) -> Iterator[Path]:
    """Files in ``folder`` whose label names the consent record ``record`` (its number), and the manifests beside
    them."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        with contextlib.suppress(OSError):
            if _names(path, record):
                beside = manifest.sidecar(path)
                yield path
                if path.suffix.lower() in manifest.BESIDE and beside.is_file():
                    yield beside


def _names(path: Path, record: str) -> bool:
    """A recording that goes on after the avatar was changed names the first in its metadata, all in its manifest."""
    label = metadata.find(path)
    if label is not None and str(label.get("ProduceID", "")).endswith(f"-{record}"):
        return True
    return record in manifest.read(path).records
