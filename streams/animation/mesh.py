"""A head that is moved by morph targets, as far as a file of it needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32


@dataclass(frozen=True)
class MorphPart:
    """One surface of one material. Metres; x to the subject's left, y up, z forward (glTF's axes)."""

    name: str
    colour: tuple[float, float, float]
    """Linear RGB in [0, 1]."""
    roughness: float
    vertices: F32
    """(V, 3)."""
    triangles: NDArray[np.integer]
    """(T, 3), anticlockwise seen from outside."""
    targets: F32 | None = None
    """(52, V, 3) by which each coefficient moves the vertices, order :data:`avatar.core.facs.ARKIT`; None = never."""
    colours: F32 | None = None
    """(V, 3) multiplied with ``colour``; None = white."""


@dataclass(frozen=True)
class MorphMesh:
    """The head's surfaces, and two eyes that turn about their centres."""

    parts: Sequence[MorphPart]
    eyes: Sequence[tuple[MorphPart, tuple[float, float, float]]] = field(default=())
    """(surface about its own centre, that centre), left then right."""
