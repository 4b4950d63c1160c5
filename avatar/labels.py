"""What every picture goes through between the engine and whoever sees it: badge, then watermark. No output has a way
round it: sinks, files and plug-ins get what :func:`labelled` returns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from avatar.config import AvatarTable
from avatar.core.types import U8, FaceState
from avatar.engines import layers
from avatar.engines.badge import Badge, Corner
from avatar.engines.base import Engine
from avatar.engines.watermark import Watermark
from avatar.errors import ConsentError, EngineError
from avatar.portrait.bundle import AvatarBundle
from avatar.trust import manifest, metadata
from avatar.trust.provenance import Provenance

log = logging.getLogger(__name__)


def origin_of(bundle: AvatarBundle, engine: str, asked: AvatarTable, session: int) -> Provenance:
    """Who is drawn, by what, under which number. Raises ConsentError where nobody agreed, or no longer."""
    record = bundle.record
    if record is None:
        raise ConsentError(f"avatar {bundle.name} is not drawn: there is no consent record; create it with --consent")
    if fault := record.fault():
        raise ConsentError(f"avatar {bundle.name} is not drawn: its consent is not valid, {fault}")
    badge: str = asked.badge
    if asked.badge == "none":
        badge = f"none: {asked.badge_reason}"
        log.warning("the visible badge is off (%s); watermark and metadata stay, and say so", asked.badge_reason)
    return Provenance(session, record, engine, badge)


class Labels:
    """Puts badge and watermark on pictures of one engine."""

    def __init__(self, engine: Engine, asked: AvatarTable, origin: Provenance, gain: float = 1.0) -> None:
        self.origin = origin
        self._engine = engine
        self._badge = None if asked.badge == "none" else make_badge(engine.size, asked)
        self._mark = Watermark(engine.size, origin.message, engine.bundle.portrait, gain)

    def draw(self, state: FaceState) -> U8:
        """The labelled picture (size, size, 3). Raises EngineError where the engine draws another shape."""
        pixels = self._own(self._engine.render(state))
        if self._badge is not None:
            self._badge.apply(pixels)
        self._mark.apply(pixels)
        return pixels

    def draw_transparent(self, state: FaceState) -> U8:
        """(size, size, 4) for a file; the engine's background is alpha."""
        pixels, alpha = self._own(self._engine.render(state)), self._engine.alpha
        alpha = np.full(pixels.shape[:2], 255, np.uint8) if alpha is None else alpha
        if self._badge is not None:
            self._badge.apply(pixels)
            self._badge.apply_alpha(alpha)
        straight = layers.straight(pixels, alpha)
        colours = np.ascontiguousarray(straight[..., :3])
        self._mark.apply(colours)
        return np.dstack([colours, straight[..., 3]])

    def _own(self, pixels: U8) -> U8:
        """``pixels`` where they can be written on, else a copy: a plug-in may hand out what it keeps."""
        size = self._engine.size
        if pixels.dtype != np.uint8 or pixels.shape != (size, size, 3):
            raise EngineError(
                f"engine {self._engine.name} draws {pixels.shape} {pixels.dtype}, which cannot be labelled; "
                f"it is to draw ({size}, {size}, 3) uint8"
            )
        return pixels if pixels.flags.writeable and pixels.flags.c_contiguous else pixels.copy()


def make_badge(size: int, asked: AvatarTable) -> Badge:
    """The badge that the configuration asks for. Raises ConfigError where it does not fit."""
    corner: Corner = "bottom-right" if asked.badge == "none" else asked.badge
    return Badge(size, corner=corner, share=asked.badge_size)


def labelled(engine: Engine, asked: AvatarTable, origin: Provenance) -> Callable[[FaceState], U8]:
    """Draw with badge and watermark on: no picture leaves without them."""
    return Labels(engine, asked, origin).draw


def labelled_transparent(engine: Engine, asked: AvatarTable, origin: Provenance) -> Callable[[FaceState], U8]:
    """Draw (size, size, 4) for a file, with badge and watermark on."""
    # Half of the picture is not there to carry the mark; measured on the whole, it stays as quiet.
    return Labels(engine, asked, origin, gain=1.6).draw_transparent


def while_agreed(
    draw: Callable[[FaceState], U8], record: Path | None, fault: Callable[[], str]
) -> Callable[[FaceState], U8]:
    """``draw`` that raises ConsentError from the first picture on after ``record`` was changed or taken away and
    ``fault`` names a reason. One look at the file's date a picture: microseconds."""
    if record is None:
        return draw
    known = _dated(record)

    def drawn(state: FaceState) -> U8:
        nonlocal known
        if (dated := _dated(record)) != known:
            if why := fault():
                raise ConsentError(f"avatar {record.parent.name} is not drawn any more: {why}; the session has ended")
            known = dated
        return draw(state)

    return drawn


def _dated(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def tags(origin: Provenance) -> dict[str, str]:
    """Metadata of a video file."""
    return {metadata.KEY: origin.aigc()}


def seal(path: Path, origin: Provenance) -> bool:
    """Sign a finished file; False, and a line in the log, where it has no C2PA manifest now."""
    return manifest.sign(path, origin)


def seal_picture(path: Path, encoded: bytes, origin: Provenance) -> None:
    """Write a picture's file with its metadata and manifest. Raises OSError."""
    path.write_bytes(metadata.put(encoded, origin.aigc()))
    seal(path, origin)
