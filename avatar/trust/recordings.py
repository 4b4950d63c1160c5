"""Recordings of one person's avatar, found by the label in their metadata."""

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
        with contextlib.suppress(OSError):
            label = metadata.find(path) if path.suffix.lower() in _SUFFIXES else None
            if label is not None and str(label.get("ProduceID", "")).endswith(f"-{record}"):
                yield path
                if path.suffix.lower() in manifest.BESIDE and manifest.sidecar(path).is_file():
                    yield manifest.sidecar(path)
