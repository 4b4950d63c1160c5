"""What is set right after the carry-over, as far as it is linear in the coefficients.

Each function takes and returns a :class:`Head`; :func:`correct` applies them all. Lengths are centimetres.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.core.facs import ARKIT, INDEX
from avatar.models.head_basis.eye_correctives import frown, raise_brows, wide_and_squint
from avatar.models.head_basis.heads import Head, Slit
from avatar.models.head_basis.landmarks import SurfacePoints
from avatar.models.head_basis.mesh import averaging, mirror_pairs
from avatar.models.head_basis.mouth import scaled_deltas
from avatar.models.head_basis.mouth_correctives import (
    funnel_goal,
    level_corners,
    lower_funnel,
    protrude_funnel,
    spare_lids,
    steady_corners,
)
from avatar.models.head_basis.transfer import symmetric

F64 = NDArray[np.float64]

TONGUE_JAW = 0.3
"""How far tongueOut alone opens the jaw, in units of jawOpen: a tongue cannot leave a closed mouth."""
LIP_STAYS, JAW_NARROWS = 0.1, 0.2
"""How much of mouthUpperUp a full jawOpen gives back of :func:`round_jaw`'s, and the share of its width that the mouth
loses."""
EYE_RADIUS = 1.6
"""Of the eyeballs that are drawn; a little less than Anny's, so that the lids' edges lie outside."""
LID_THICKNESS = 0.04


def correct(head: Head, marks: SurfacePoints) -> Head:
    """All correctives, in the order in which they build on each other. ``marks``: the 468 landmarks on the head."""
    for step in (
        spare_lids,
        round_jaw,
        calm_sneer,
        lower_funnel,
        partial(steady_corners, marks=marks),
        partial(level_corners, marks=marks),
        partial(protrude_funnel, marks=marks),
        round_funnel,
        keep_shut,
        soft_eye_look,
        frown,
        raise_brows,
        wide_and_squint,
        full_blink,
        clear_eyeballs,
        mouth_for_tongue,
    ):
        head = step(head)
    return replace(head, expressions=symmetric(head.expressions, mirror_pairs(head.vertices)))


def close_lips(head: Head) -> Head:
    """The mouth shut at rest, in every identity: the lips' edges meet in their middle line, the rest follows softly."""
    upper, lower = head.mouth.upper, head.mouth.lower
    edge = np.r_[upper, lower]
    around = averaging(len(head.vertices), head.triangles[np.isin(head.part, ("skin", "lining"))])

    def to_middle(height: F64) -> F64:
        """What brings per-vertex heights (V,) of both edges to their mean at the same x."""
        x = head.vertices[edge, 0]
        mean = sum(np.interp(x, head.vertices[c, 0], height[c]) for c in (upper, lower)) / 2
        return mean - height[edge]

    # Both go 0.1 mm too far, or rounding would leave slits of light between the two different polylines.
    overlap = np.r_[np.full(len(upper), -0.01), np.full(len(lower), 0.01)]
    overlap[[0, len(upper) - 1, len(upper), -1]] = 0
    vertices, identities = head.vertices.copy(), head.identities.copy()
    vertices[:, 1] += _spread(around, edge, to_middle(vertices[:, 1]) + overlap, 8)
    for one in identities:
        one[:, 1] += _spread(around, edge, to_middle(one[:, 1]), 8)
    return replace(head, vertices=vertices, identities=identities)


def round_jaw(head: Head) -> Head:
    """jawOpen opens in a U, not in a V, and lifts the upper lip a little."""
    expressions = head.expressions.copy()
    jaw = expressions[INDEX["jawOpen"]]
    skin, edge = head.vertices_of("skin"), np.r_[head.mouth.upper, head.mouth.lower]
    mean = averaging(len(head.vertices), head.triangles[head.part == "skin"])
    free = np.setdiff1d(skin, edge)
    for _ in range(6):  # the largest motion of all: unevenness of the carry-over would show as folds in the cheek
        jaw[free] = 0.4 * jaw[free] + 0.6 * (mean @ jaw)[free]
    lip = head.vertices[head.mouth.lower[len(head.mouth.lower) // 2]]
    beside = np.exp(-(((np.abs(head.vertices[:, 0]) - 1.25) / 0.6) ** 2))
    near = np.exp(-(((head.vertices[:, 1] - lip[1]) / 1.3) ** 2))
    jaw[:, 1] -= 0.42 * beside * near * np.clip((-jaw[:, 1] - 1.2) / 1.0, 0, 1)
    for side in ("Left", "Right"):
        jaw += 0.22 * expressions[INDEX["mouthUpperUp" + side]]
    return replace(head, expressions=expressions)


def open_wide(head: Head) -> Head:
    """jawOpen draws the corners inwards, as cheeks that are stretched do, and hardly lifts the upper lip: what bares
    the upper teeth is mouthUpperUp. For after :mod:`.learned`, whose smiles part the teeth a little and would learn it
    back."""
    expressions = head.expressions.copy()
    jaw = expressions[INDEX["jawOpen"]]
    for side in ("Left", "Right"):
        jaw -= LIP_STAYS * expressions[INDEX["mouthUpperUp" + side]]
    corner = head.vertices[head.mouth.upper[-1]]
    half = abs(float(corner[0]))
    x, y, z = (head.vertices + 0.5 * jaw).T
    near = np.clip(1 - (np.abs(x) - half) / 1.8, 0, 1) * np.exp(-(((y - corner[1]) / 1.3) ** 2))
    near *= np.clip((z - corner[2] + 3) / 2, 0, 1)
    soft = head.vertices_of("skin", "lining")
    jaw[soft, 0] -= JAW_NARROWS * (near * np.clip(x, -half, half))[soft]
    return replace(head, expressions=symmetric(expressions, mirror_pairs(head.vertices)))


def calm_sneer(head: Head) -> Head:
    """noseSneer bares all upper teeth in ICT's head; AU 9 wrinkles the nose and parts the lips at most a little."""
    distance, _ = cKDTree(head.vertices[head.mouth.upper]).query(head.vertices)
    keep = 1 - 0.75 * np.exp(-((distance / 1.2) ** 2))
    expressions = head.expressions.copy()
    for side in ("Left", "Right"):
        expressions[INDEX["noseSneer" + side]] *= keep[:, None]
    return replace(head, expressions=expressions)


def round_funnel(head: Head) -> Head:
    """mouthFunnel makes a round opening: towards the corners the lips stay together."""
    expressions = head.expressions.copy()
    upper, lower = head.mouth.upper, head.mouth.lower
    moved = head.vertices + expressions[INDEX["mouthFunnel"]]
    around = averaging(len(head.vertices), head.triangles[np.isin(head.part, ("skin", "lining"))])
    goal = funnel_goal(moved[upper], moved[lower])
    expressions[INDEX["mouthFunnel"], :, 1] += _spread(around, np.r_[upper, lower], np.concatenate(goal), 5)
    return replace(head, expressions=expressions)


SHUT = ("mouthRoll", "mouthPress", "mouthPucker", "mouthShrug", "mouthDimple", "mouthFrown", "mouthSmile", "cheekPuff")
"""Shapes that never part the lips by themselves."""


def keep_shut(head: Head) -> Head:
    """Shapes of a shut mouth leave no slit: where the lips' edges part, both go halfway back."""
    expressions = head.expressions.copy()
    upper, lower = head.mouth.upper, head.mouth.lower
    around = averaging(len(head.vertices), head.triangles[np.isin(head.part, ("skin", "lining"))])
    for i, name in enumerate(ARKIT):
        if not name.startswith(SHUT):
            continue
        # A smile pulls the edges along each other: a straight bit of one meets a bend of the other.
        slack = -0.03 if name.startswith("mouthSmile") else 0.015
        y = {}
        for chain, other in ((upper, lower), (lower, upper)):
            moved = head.vertices + expressions[i]
            y[id(chain)] = np.interp(moved[chain, 0], moved[other, 0], moved[other, 1]) - moved[chain, 1]
        goal = np.r_[np.minimum(0, y[id(upper)] + slack), np.maximum(0, y[id(lower)] - slack)] / 2
        goal[[0, len(upper) - 1, len(upper), -1]] = 0
        expressions[i, :, 1] += _spread(around, np.r_[upper, lower], goal, 4)
    return replace(head, expressions=expressions)


def _spread(mean: sp.csr_matrix, fixed: NDArray[np.integer], values: F64, rounds: int) -> F64:
    """Values (V,) that are ``values`` at the vertices ``fixed`` and fade smoothly around them."""
    out = np.zeros(mean.shape[0])
    for _ in range(rounds):
        out[fixed] = values
        out = 0.9 * (mean @ out)
    out[fixed] = values
    return out


def soft_eye_look(head: Head) -> Head:
    """Lids follow the gaze, smoothly and not all the way: the eyeballs themselves are turned by the engine."""
    expressions = head.expressions.copy()
    mean = averaging(len(head.vertices), head.triangles[head.part == "skin"])
    for i, name in enumerate(ARKIT):
        if name.startswith("eyeLook"):
            for _ in range(2):
                expressions[i] = 0.5 * expressions[i] + 0.5 * (mean @ expressions[i])
            expressions[i] *= 0.8
    return replace(head, expressions=expressions)


def _eyes(head: Head) -> tuple[tuple[str, Slit, F64], ...]:
    """Side, lids and centre of the eyeball of both eyes."""
    return tuple(
        (side, slit, head.vertices[head.vertices_of(part)].mean(0) * [1, 0, 0])
        for side, slit, part in (("Left", head.eye_left, "eye_left"), ("Right", head.eye_right, "eye_right"))
    )


def full_blink(head: Head) -> Head:
    """At eyeBlink 1 the upper lid's edge lies on the lower lid's edge, column by column; the lid's skin follows."""
    expressions = head.expressions.copy()
    mean = averaging(len(head.vertices), head.triangles[head.part == "skin"])
    for side, slit, centre in _eyes(head):
        delta = expressions[INDEX["eyeBlink" + side]]
        closed = head.vertices + delta
        low = closed[slit.lower]
        missing = np.interp(closed[slit.upper, 0], low[:, 0], low[:, 1]) - 0.03 - closed[slit.upper, 1]
        missing[[0, -1]] = 0
        x = head.vertices[slit.upper, 0]
        share = np.linspace(0, 1, 60)
        columns = x[0] + share * (x[-1] - x[0])
        lid = np.flatnonzero(np.linalg.norm(head.vertices - centre, axis=1) < 2.6)
        above = head.vertices[lid, 1] - np.interp(head.vertices[lid, 0], x, head.vertices[slit.upper, 1])
        # The push fades from the lid's edge to the fold above it (0.9 cm) and is none on the lower lid.
        fade = np.clip(1 - above / 0.9, 0, 1) * (above > -0.3)
        push = np.zeros(len(delta))
        push[lid] = fade * np.interp(head.vertices[lid, 0], columns, np.interp(columns, x, missing), left=0, right=0)
        push[slit.lower] = 0
        for _ in range(3):
            push[slit.upper] = missing
            push = np.where(push != 0, 0.5 * push + 0.5 * (mean @ push), 0)
            push[slit.lower] = 0
        push[slit.upper] = missing
        delta[:, 1] += push
    return replace(head, expressions=expressions)


def clear_eyeballs(head: Head) -> Head:
    """Lids slide over the eyeball instead of cutting through it, at half the motion as well as at its end."""
    vertices, expressions = head.vertices.copy(), head.expressions.copy()
    skin = np.zeros(len(vertices), bool)
    skin[head.vertices_of("skin")] = True
    for side, _, centre in _eyes(head):
        near = skin & (np.linalg.norm(vertices - centre, axis=1) < 2.4) & (vertices[:, 2] > 0.5)
        lids = np.flatnonzero(near)

        def surface(points: F64, centre: F64 = centre) -> F64:
            """z that a lid needs over the eyeball at (n, 3); -inf beside it."""
            flat = (EYE_RADIUS + LID_THICKNESS) ** 2 - ((points - centre)[:, :2] ** 2).sum(1)
            return np.where(flat > 0, centre[2] + np.sqrt(np.maximum(flat, 0)), -np.inf)

        vertices[lids, 2] = np.maximum(vertices[lids, 2], surface(vertices[lids]))
        for i, name in enumerate(ARKIT):
            if name.startswith("eye") and name.endswith(side):
                end = vertices[lids] + expressions[i, lids]
                half = vertices[lids] + 0.5 * expressions[i, lids]
                need = np.maximum(surface(end), 2 * surface(half) - vertices[lids, 2])
                expressions[i, lids, 2] += np.maximum(0, need - end[:, 2])
    return replace(head, vertices=vertices, expressions=expressions)


def lids_with_eyeballs(head: Head) -> Head:
    """In every identity the lids lie as deep as the eyeball does, or it would show through a closed lid."""
    identities = head.identities.copy()
    skin = head.vertices_of("skin")
    for side, _, centre in _eyes(head):
        ball = head.vertices_of("eye_" + side.lower())
        distance = np.linalg.norm(head.vertices[skin] - centre, axis=1)
        lids = skin[(distance < 2.5) & (head.vertices[skin, 2] > 0)]
        near = np.clip((2.5 - np.linalg.norm(head.vertices[lids] - centre, axis=1)) / 0.5, 0, 1)
        depth = scaled_deltas(head.vertices[ball], identities[:, ball], head.vertices[lids])[..., 2]
        identities[:, lids, 2] += near * (depth - identities[:, lids, 2])
    return replace(head, identities=identities)


def mouth_for_tongue(head: Head) -> Head:
    """tongueOut opens the mouth a little (skin and lining; the tongue itself has its own shape)."""
    expressions = head.expressions.copy()
    expressions[INDEX["tongueOut"]] = TONGUE_JAW * expressions[INDEX["jawOpen"]]
    return replace(head, expressions=expressions)
