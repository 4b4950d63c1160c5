"""Functionals of recordings, kept in the user's cache: made once for the same sounds by the same code."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import numpy as np

from avatar.analysis import features, prosody, voice_frames, voice_functionals
from avatar.models import registry
from avatar.models.data import noises
from avatar.models.emotion import augment, clips, trust
from avatar.models.emotion.clips import Clips, Progress, Views

log = logging.getLogger(__name__)

_CODE: tuple[ModuleType, ...] = (
    features, prosody, voice_frames, voice_functionals, noises, augment, clips, trust,
)  # fmt: skip
"""What the numbers depend on besides the sounds: a change of any of them makes them anew."""


def kept(name: str, parts: Iterable[bytes], make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that ``make`` gives, or those that it gave before for the same ``parts``.

    Where the cache cannot be written they are made each time.
    """
    key = hashlib.sha256()
    for part in (*(inspect.getsource(module).encode() for module in _CODE), np.__version__.encode(), *parts):
        key.update(hashlib.sha256(part).digest())
    file = registry.cache_dir() / "emotion" / f"{name}-{key.hexdigest()[:24]}.npz"
    if file.is_file():
        try:
            with np.load(file, allow_pickle=False) as found:
                return {k: found[k] for k in found.files}
        except (OSError, ValueError, EOFError) as error:
            log.warning("%s is made again: %s", file, error)
    made = make()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part_file = file.with_name(f"{file.stem}.{os.getpid()}.part.npz")
        np.savez(part_file, allow_pickle=False, **made)
        part_file.replace(file)
    except OSError as error:
        log.warning("%s cannot be kept: %s", file, error)
    return made


def content(found: Clips) -> Iterable[bytes]:
    """The recordings, who speaks in them and what they are said to be."""
    for clip in found.clips:
        yield f"{clip.speaker}\n{clip.label}".encode()
        yield Path(clip.file).read_bytes()


def views(found: Clips, copies: int, progress: Progress = lambda done, of: None) -> Views:
    """:func:`avatar.models.emotion.clips.views`, kept."""

    def make() -> dict[str, np.ndarray]:
        made = clips.views(found, copies, progress=progress)
        return {name: getattr(made, name) for name in Views.__slots__}

    return Views(**kept("views", (str(copies).encode(), *content(found)), make))
