"""Unity's axes: x to the right, y up, z forward, left-handed, and the avatar looks along +z.

Ours (:mod:`avatar.core.geometry`) are x to the subject's left, y up, z forward, right-handed. So the two are mirror
images in x: a point (x, y, z) becomes (-x, y, z), a rotation (w, x, y, z) becomes (w, x, -y, -z).
"""

from __future__ import annotations

from avatar.core.geometry import Quaternion, multiply, scale

NECK_SHARE = 0.4
"""The part of the head's rotation that the neck takes."""


def position(millimetres: tuple[float, float, float]) -> tuple[float, float, float]:
    """Metres in Unity."""
    x, y, z = millimetres
    return -x / 1000, y / 1000, z / 1000


def rotation(q: Quaternion) -> tuple[float, float, float, float]:
    """(x, y, z, w), the order in which Unity and VMC write a quaternion."""
    w, x, y, z = q
    return x, -y, -z, w


def neck_and_head(q: Quaternion) -> tuple[Quaternion, Quaternion]:
    """The head's rotation ``q`` as the neck's and, relative to it, the head's: first the head, then the neck."""
    neck = scale(q, NECK_SHARE)
    w, x, y, z = neck
    return neck, multiply((w, -x, -y, -z), q)
