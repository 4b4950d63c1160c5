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
    uv: F32 | None = None
    """(V, 2) places in ``picture``, v downwards."""
    picture: bytes | None = None
    """A JPEG that is multiplied with ``colour``."""
    both: bool = True
    """Whether its back is seen too."""
    bends: bool = False
    """Whether the normals move with the targets too: folds then catch the light, for twice the size."""


@dataclass(frozen=True)
class MorphMesh:
    """The head's surfaces, two eyes that turn about their centres, and what only follows the head."""

    parts: Sequence[MorphPart]
    eyes: Sequence[tuple[MorphPart, tuple[float, float, float]]] = field(default=())
    """(surface about its own centre, that centre), left then right."""
    rigid: Sequence[MorphPart] = field(default=())
    """Without targets: hair, neck."""
