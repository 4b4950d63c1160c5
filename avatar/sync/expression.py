"""Emotions as faces: seven prototypes, and what lies between two of them.

The prototypes are those of EMFACS (Friesen & Ekman 1983) as Du, Tao & Martinez (PNAS 2014, table 1) tabulate the
units that most of their posers used; the compounds are that table's second half: somebody who is happily surprised
smiles with raised brows, and who is angrily surprised does not raise them. The degrees are ours: a conversation shows
a fraction of a posed maximum, and of a unit that only some posers used we show less.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.types import EMOTIONS, F32, EmotionLabel, freeze

FELT: tuple[EmotionLabel, ...] = EMOTIONS[1:]
"""The order of every vector of degrees: the six emotions that have a face of their own."""

PROTOTYPES: Mapping[EmotionLabel, Mapping[int, float]] = {
    "neutral": {},
    "happiness": {6: 0.7, 12: 0.85, 25: 0.5},
    "sadness": {1: 0.9, 4: 0.5, 15: 0.8, 17: 0.3},
    "anger": {4: 0.95, 7: 0.6, 9: 0.15, 23: 0.4, 24: 0.35},
    "fear": {1: 0.85, 2: 0.35, 4: 0.5, 5: 0.75, 20: 0.5, 25: 0.5},
    "disgust": {4: 0.25, 7: 0.3, 9: 0.85, 10: 0.45, 17: 0.4},
    "surprise": {1: 0.85, 2: 0.85, 5: 0.7, 25: 0.5, 26: 0.45},
}

COMPOUNDS: Mapping[tuple[EmotionLabel, EmotionLabel], Mapping[int, float]] = {
    ("happiness", "surprise"): {1: 0.8, 2: 0.8, 5: 0.45, 6: 0.3, 12: 0.8, 25: 0.5, 26: 0.3},
    ("happiness", "disgust"): {4: 0.15, 6: 0.45, 9: 0.4, 10: 0.35, 12: 0.6, 25: 0.4},
    ("sadness", "fear"): {1: 0.85, 2: 0.25, 4: 0.5, 5: 0.2, 15: 0.3, 20: 0.4, 25: 0.4},
    ("sadness", "anger"): {4: 0.8, 7: 0.3, 15: 0.7, 17: 0.35, 23: 0.2},
    ("sadness", "surprise"): {1: 0.85, 2: 0.3, 4: 0.4, 15: 0.2, 25: 0.4, 26: 0.3},
    ("sadness", "disgust"): {1: 0.45, 4: 0.55, 6: 0.3, 9: 0.3, 10: 0.4, 15: 0.5, 17: 0.35},
    ("fear", "anger"): {4: 0.8, 5: 0.4, 7: 0.3, 10: 0.15, 20: 0.45, 25: 0.45},
    ("fear", "surprise"): {1: 0.85, 2: 0.8, 4: 0.2, 5: 0.75, 20: 0.4, 25: 0.5, 26: 0.3},
    ("fear", "disgust"): {1: 0.7, 2: 0.35, 4: 0.45, 5: 0.4, 9: 0.3, 10: 0.4, 20: 0.35, 25: 0.4},
    ("anger", "surprise"): {4: 0.75, 5: 0.4, 7: 0.2, 25: 0.5, 26: 0.4},
    ("anger", "disgust"): {4: 0.8, 7: 0.5, 9: 0.6, 10: 0.4, 17: 0.4, 24: 0.2},
    ("disgust", "surprise"): {1: 0.65, 2: 0.65, 4: 0.15, 5: 0.5, 9: 0.35, 10: 0.45, 17: 0.35},
}
"""Action units of the twelve pairs that people recognise. The other three (happiness with sadness, anger or fear) pull
against each other: between them lies a face at rest and not a grin with a frown."""

AFFECT: Mapping[EmotionLabel, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "happiness": (0.81, 0.51),
    "sadness": (-0.63, -0.27),
    "anger": (-0.51, 0.59),
    "fear": (-0.64, 0.60),
    "disgust": (-0.60, 0.35),
    "surprise": (0.40, 0.67),
}
"""Valence and arousal that an emotion usually has (Russell & Mehrabian 1977, table 4, pleasure and arousal)."""

LIVELY, ANY = 0.35, 0.15
"""How much the degree of eyes and opened mouth, and that of everything else, grows for one unit of arousal above what
the emotion usually has: shouting opens mouth and eyes more than it lowers brows."""

_N = len(facs.ARKIT)
_FACES: Mapping[str, F32] = {label: freeze(facs.from_action_units(units)) for label, units in PROTOTYPES.items()}
_OPENING = ("eyeWide", "jawOpen", "mouthStretch", "mouthUpperUp", "mouthLowerDown")
_GROWTH: F32 = np.array([LIVELY if name.startswith(_OPENING) else ANY for name in facs.ARKIT], np.float32)
_MOVED = np.array([i for i, n in enumerate(facs.ARKIT) if not n.startswith(("eyeLook", "eyeBlink", "tongue"))])


def compound(a: EmotionLabel, b: EmotionLabel) -> Mapping[int, float] | None:
    """The action units of two emotions at once in either order, None where no such face is known."""
    return COMPOUNDS.get((a, b), COMPOUNDS.get((b, a)))


def _pairs() -> F32:
    """(6, 6, 52): on the diagonal the prototypes, beside it what two emotions make together, if anything."""
    out = np.zeros((len(FELT), len(FELT), _N), np.float32)
    for i, a in enumerate(FELT):
        for j, b in enumerate(FELT):
            units = compound(a, b)
            if i == j:
                out[i, j] = _FACES[a]
            elif units is not None:
                out[i, j] = facs.from_action_units(units)
    return freeze(out)


_PAIRS = _pairs()
COMPATIBLE: NDArray[np.bool_] = freeze(np.array([[a == b or compound(a, b) is not None for b in FELT] for a in FELT]))
"""(6, 6): whether two emotions of :data:`FELT` have a face together."""


def emotion_face(label: EmotionLabel, intensity: float) -> F32:
    """ARKit coefficients (52,) of an emotion at ``intensity`` in [0, 1]."""
    return np.float32(intensity) * _FACES[label]


def mixed_face(degrees: NDArray[np.floating], arousal: float = 0.0) -> F32:
    """ARKit coefficients (52,) of several emotions at once.

    The face runs smoothly from each prototype over the compound to the other prototype: of two equal parts one half is
    the compound. Its degree is the sum of ``degrees``, so it can be turned up and down without changing its kind.

    :param degrees: (6,) each in [0, 1], order :data:`FELT`; a sum above 1 counts as 1.
    :param arousal: above (> 0) or below what such an emotion usually has, [-1, 1].
    """
    total = float(degrees.sum())
    if total <= 1e-6:
        return np.zeros(_N, np.float32)
    share = np.asarray(degrees / total, np.float32)
    both = np.outer(share, share)
    # Of two that have no face together equal parts leave none.
    torn = max(0.0, 1.0 - 2.0 * float(both[~COMPATIBLE].sum()))
    face = np.float32(min(1.0, total) * torn) * np.tensordot(both, _PAIRS, 2)
    if arousal:
        face = np.clip(face * (1 + np.float32(min(1.0, max(-1.0, arousal))) * _GROWTH), 0, 1)
    return np.asarray(face, np.float32)


def affect(degrees: NDArray[np.floating]) -> tuple[float, float]:
    """Valence and arousal in [-1, 1] that emotions of these ``degrees`` (6,) usually have."""
    table = np.array([AFFECT[label] for label in FELT])
    valence, arousal = np.asarray(degrees, np.float64) @ table
    return float(valence), float(arousal)


def shown_emotion(arkit: F32) -> F32:
    """The emotion that a face (52,) shows: degrees (6,), at most one of them above 0.

    A face counts as an emotion as far as it resembles its prototype (cosine .6 not at all, .8 fully): a mouth that
    speaks or an accent's brows are none.
    """
    out = np.zeros(len(FELT), np.float32)
    face = arkit[_MOVED]
    size = float(np.linalg.norm(face))
    if size < 0.15:
        return out
    protos = np.stack([_FACES[label][_MOVED] for label in FELT])
    norms = np.linalg.norm(protos, axis=1)
    alike = protos @ face / (norms * size)
    best = int(alike.argmax())
    degree = min(1.0, float(protos[best] @ face) / float(norms[best] ** 2))
    out[best] = degree * min(1.0, max(0.0, (float(alike[best]) - 0.6) / 0.2))
    return out
