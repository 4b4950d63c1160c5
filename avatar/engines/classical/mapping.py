"""Engine ``map``: expression mapping, the displacement vectors of other faces on this one (geometric warping).

An actor's face has feature points m_i at rest and m_i' with an expression. Expression mapping (Williams 1990;
Litwinowicz & Williams 1994; Liu, Shan & Zhang 2001, section 2) adds the difference to the points n_i of another face
and warps its picture::

    n_i' = n_i + s R (m_i' - m_i)

where the similarity (s, R) takes the actor's face to this one: vectors are normalised for scale and rotation. Here the
actor is a mean one with a vector for each of the 52 ARKit shapes, so that any state is mapped::

    n_i' = n_i + s R sum_k w_k d_ik

The d_k begin as the shapes of the head basis at MediaPipe's points; a ridge regression then corrects them by the real
smiles of the London set (``avatar train map``).

Limits: geometry alone. No fold, no light on a raised cheek, and skin that stretches keeps its pores: a warped smile
looks pasted on. That is what the ratio image (engine ``eri``) is for.
"""

from __future__ import annotations

from typing import ClassVar

from avatar.engines.classical.flat import FlatEngine


class MapEngine(FlatEngine):
    """Displacement vectors of a mean face, normalised for scale and rotation; the skin is the photo's."""

    name = "map"
    gain: ClassVar[float] = 1.2
    """Without folds a smile reads weaker than it is."""
