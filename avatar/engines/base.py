"""The contract of an expression engine: a face state in, a picture out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from avatar.core.types import U8, FaceState
from avatar.errors import EngineError
from avatar.portrait.bundle import AvatarBundle


class Engine(ABC):
    """Draws one avatar. Made once per avatar and size; not shared between threads.

    ``__init__`` does everything that is slow (fitting, caching, compiling), so that :meth:`render` never has a slow
    first call. The same state gives the same bytes, whatever was drawn before.
    """

    name: str
    """As in ``--engine NAME``."""
    precision: str = "float32"
    """What the picture is calculated in, for the speed tables: an engine with a quantised network says "int8"."""

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        """``weights`` is the folder of the shipped weights. Raises EngineError where this engine cannot draw it."""
        self.bundle = bundle
        self.size = size

    @abstractmethod
    def render(self, state: FaceState) -> U8:
        """The picture (size, size, 3), RGB, of ``state``. The array is the caller's."""

    def set_background(self, name: str) -> None:
        """What is behind the person from the next picture on: keep, blur, green, alpha, a colour or a picture's file
        (:func:`avatar.engines.layers.background`).

        Raises UsageError for a name that is none of them, EngineError where this engine can only keep it.
        """
        if name != "keep":
            raise EngineError(f"engine {self.name} cannot change what is behind the person; leave avatar.background")

    @property
    def background(self) -> str:
        """What is behind the person now; "keep" although something else was asked for where the person could not be
        told from it."""
        return "keep"

    @property
    def alpha(self) -> U8 | None:
        """(size, size): how much of each pixel of the last picture is the person; None where that is not known."""
        return None
