"""The contract of an expression engine: a face state in, a picture out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from avatar.core.types import U8, FaceState
from avatar.portrait.bundle import AvatarBundle


class Engine(ABC):
    """Draws one avatar. Made once per avatar and size; not shared between threads.

    ``__init__`` does everything that is slow (fitting, caching, compiling), so that :meth:`render` never has a slow
    first call. The same state gives the same bytes, whatever was drawn before.
    """

    name: ClassVar[str]
    """As in ``--engine NAME``."""
    precision: ClassVar[str] = "float32"
    """What the picture is calculated in, for the speed tables: an engine with a quantised network says "int8"."""

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        """``weights`` is the folder of the shipped weights. Raises EngineError where this engine cannot draw it."""
        self.bundle = bundle
        self.size = size

    @abstractmethod
    def render(self, state: FaceState) -> U8:
        """The picture (size, size, 3), RGB, of ``state``. The array is the caller's."""
