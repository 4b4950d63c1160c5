"""From visemes to the mouth: 52 ARKit coefficients with coarticulation.

Jaw, rounding, the rest of the lips and contact are four tracks, because they are four sets of muscles:

* The jaw and the rounding are curves. A network learns them with their coarticulation; where only visemes are known
  they are the dominance-weighted mean over a window of time (Cohen & Massaro 1993, "Modeling coarticulation in
  synthetic visual speech"), :func:`curves`. Tongue sounds hardly dominate, so "t" between two "oo" stays round, and
  rounding begins 120 ms early.
* The lips' opening and stretching follow the visemes, with dominances of their own and a shorter window.
* Contact is a decision, not a mean: lips that touch for p, b, m and lie on the teeth for f, v do so fully and long
  enough that pictures at 25 or 30 a second show it. ``mouthClose`` shuts the lips over a jaw that is slower than they.

Amounts are those of a speaker at a usual loudness, checked against 27 s of a real public address: its video, measured
with MediaPipe at 30 pictures a second, and (in brackets) its sound alone, heard and shaped here. Height between the
inner lips in widths of the mouth: .18 (.14) in the median, .30 (.29) at the 95th percentile, .39 (.41) at most; its
speed a second: 3.0 (3.6) at the 95th percentile, 5.5 (6.7) at the 99th. The mouth's width is .84 to 1.08 (in synthetic
speech drawn by the head engine .84 to 1.08) of its median, the real ``jawOpen`` moves 8.6 a second at most. In that
video the mouth leads the sound by about 80 ms more than ours, which follows the sound within 30 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from avatar.analysis.features import Ring
from avatar.core.facs import ARKIT, INDEX, VISEME_INDEX, VISEMES, arkit_vector
from avatar.core.types import F32

HOP_S = 0.01
LIVE_MS, CALM_MS = 60, 160
"""Look-ahead of recognition in two tiers: for conversation, and for streams and files that can wait."""


@dataclass(frozen=True, slots=True)
class LipEstimate:
    """What is known about the mouth in one hop of 10 ms: the contract between recognition and the shape of the lips."""

    visemes: F32
    """(15,) probabilities over :data:`avatar.core.facs.VISEMES`."""
    jaw: float
    """[0, 1]: 1 = the jaw of a usual open "aa". A learnt curve has its coarticulation in it already."""
    rounding: float
    """[0, 1]: 1 = the lips of a full "oo"."""
    press: float
    """Probability that the lips touch each other in this hop."""


_SHAPES = {
    "sil": {},
    "PP": {"mouthPress": 0.32, "mouthRollLower": 0.12, "mouthRollUpper": 0.10},
    "FF": {"jawOpen": 0.07, "mouthRollLower": 0.38, "mouthUpperUp": 0.34},
    "TH": {"jawOpen": 0.15, "mouthLowerDown": 0.03, "mouthUpperUp": 0.14, "tongueOut": 0.40},
    "DD": {"jawOpen": 0.12, "mouthLowerDown": 0.05, "mouthUpperUp": 0.13, "mouthStretch": 0.05},
    "kk": {"jawOpen": 0.18, "mouthLowerDown": 0.03, "mouthUpperUp": 0.12},
    "CH": {"jawOpen": 0.07, "mouthFunnel": 0.32, "mouthPucker": 0.32, "mouthUpperUp": 0.06},
    "SS": {"jawOpen": 0.05, "mouthStretch": 0.18, "mouthLowerDown": 0.28, "mouthUpperUp": 0.22, "mouthSmile": 0.05},
    "nn": {"jawOpen": 0.14, "mouthLowerDown": 0.05, "mouthUpperUp": 0.12},
    "RR": {"jawOpen": 0.14, "mouthPucker": 0.46, "mouthFunnel": 0.06, "mouthUpperUp": 0.04},
    "aa": {"jawOpen": 0.50, "mouthLowerDown": 0.06, "mouthUpperUp": 0.20, "mouthStretch": 0.05},
    "E": {"jawOpen": 0.30, "mouthLowerDown": 0.08, "mouthUpperUp": 0.17, "mouthStretch": 0.18, "mouthSmile": 0.04},
    "ih": {"jawOpen": 0.18, "mouthLowerDown": 0.07, "mouthUpperUp": 0.16, "mouthStretch": 0.32, "mouthSmile": 0.05},
    "oh": {"jawOpen": 0.37, "mouthPucker": 0.38, "mouthFunnel": 0.22},
    "ou": {"jawOpen": 0.14, "mouthPucker": 0.86, "mouthFunnel": 0.06},
}
SHAPES: F32 = np.stack([arkit_vector(_SHAPES[v]) for v in VISEMES])
"""(15, 52): each viseme alone, at a speaker's usual loudness, but for ``mouthClose``, which follows from the others."""

_JAW, _LIPS, _ROUNDING = 0, 1, 2
#        jaw   lips rounding
_DOMINANCE = {
    "sil": (0.8, 0.9, 0.8),
    "PP": (0.9, 1.0, 0.30),
    "FF": (0.9, 1.0, 0.35),
    "TH": (0.6, 0.45, 0.20),
    "DD": (0.55, 0.40, 0.15),
    "kk": (0.40, 0.35, 0.12),
    "CH": (0.9, 0.8, 1.2),
    "SS": (0.9, 0.6, 0.30),
    "nn": (0.50, 0.40, 0.15),
    "RR": (0.6, 0.7, 0.8),
    "aa": (1.2, 1.0, 0.9),
    "E": (1.0, 1.0, 0.9),
    "ih": (0.9, 1.0, 0.9),
    "oh": (1.1, 1.0, 1.3),
    "ou": (1.0, 1.0, 1.5),
}
_WEIGHT: F32 = np.array([_DOMINANCE[v] for v in VISEMES], np.float32)  # (15, 3)

_SIL, _PP, _FF = (VISEME_INDEX[v] for v in ("sil", "PP", "FF"))
JAW_OPEN, _CLOSE, _PUCKER, _FUNNEL = (INDEX[n] for n in ("jawOpen", "mouthClose", "mouthPucker", "mouthFunnel"))

JAW_FULL = float(SHAPES[VISEME_INDEX["aa"], JAW_OPEN])
"""``jawOpen`` where the curve of the jaw is 1."""
_ROUND = SHAPES[:, _PUCKER] + SHAPES[:, _FUNNEL]
ROUND_FULL = float(_ROUND[VISEME_INDEX["ou"]])
"""Pucker and funnel together where the curve of the rounding is 1."""
_CURVE_WEIGHT: F32 = _WEIGHT[:, [_JAW, _ROUNDING]]
_CURVES: F32 = np.stack((SHAPES[:, JAW_OPEN] / JAW_FULL, _ROUND / ROUND_FULL), axis=1)  # (15, 2)
_USUAL_PUCKER = 0.6
"""Share of the pucker in a rounding of which nothing is known yet."""


def _mask(*names: str) -> F32:
    """(52,): 1 where a coefficient's name begins so."""
    return np.array([name.startswith(names) for name in ARKIT], np.float32)


_LOUD = _mask("mouthLowerDown", "mouthUpperUp", "mouthStretch")
"""What grows with the voice, as the jaw does. Rounding and contact do not depend on it."""
_WIDE = 0.8 * _mask("mouthStretch", "mouthSmile")
"""What round lips cannot do."""
_OPENERS = _mask("mouthLowerDown", "mouthUpperUp", "mouthFunnel", "tongue")
_LOWER = _mask("mouthLowerDown")
_PP_SHAPE = SHAPES[_PP]
_FF_SHAPE, _FF_JAW = SHAPES[_FF] * (1 - _mask("jaw")), float(SHAPES[_FF, JAW_OPEN])

# The lips' own share of a shape: all but jaw, rounding and the contact of p, b, m.
_LIP_SHAPES = SHAPES * (1 - _mask("jaw", "mouthPucker", "mouthFunnel"))
_LIP_SHAPES[_PP] = 0
_LIP_TARGET: F32 = (_LIP_SHAPES * _WEIGHT[:, _LIPS : _LIPS + 1]).astype(np.float32)
_ROUND_TARGET: F32 = _ROUND * _WEIGHT[:, _ROUNDING]
_PUCKER_TARGET: F32 = SHAPES[:, _PUCKER] * _WEIGHT[:, _ROUNDING]

_MURMUR, _SHOUT = 0.35, 1.25
_SONORITY: F32 = np.array([1.0 if v in ("aa", "E", "ih", "oh", "ou") else 0.3 if v in ("RR", "nn") else 0.03
                           for v in VISEMES], np.float32)  # fmt: skip
"""How much each viseme says about how loud the voice is: an "s" or a closure nothing, silence nothing."""
LOUD_S = 0.2
"""Seconds over which loudness is averaged, so that the mouth follows the voice but does not pump with it."""

JAW_SIGMA, LIP_SIGMA = 3.6, 2.0
"""Hops."""
PRESS_ON, PRESS_OFF = 0.5, 0.3
"""Probability from which, for 20 ms, a contact is begun, and below which it may end."""
TEETH_ON, TEETH_OFF = 0.3, 0.15
"""The same for lip on teeth. A weak "f" sounds like "s" or "th" and is seldom sure; mistaken for one, those lose
little, as they bare the teeth over a high jaw as well."""
CONTACT_HOPS = 5
"""A contact lasts 50 ms at least: one picture of 25 a second falls into it wherever it begins."""
JAW_STEP = 0.085
"""The jaw's way in one hop, as ``jawOpen``: as fast as the tracked one."""
_PUCKER_CLOSES = 0.3
"""Of the jaw's opening, at a full pucker."""
_CONTACT_JAW = 0.09
"""What the jaw keeps of its opening under closed lips."""
_LEAST = 1e-3
_RISE, _FALL = 1 / 3, 1 / 11
"""Steps a hop of the mouth's way into speech and into rest."""


def loudness_scale(loud: F32) -> F32:
    """Opening relative to the usual one, for loudness as in :func:`avatar.analysis.vad.loudness`."""
    return np.minimum(_SHOUT, np.maximum(_MURMUR, _MURMUR + (1 - _MURMUR) * loud))


_Number = TypeVar("_Number", float, F32)


def _silence(visemes: F32) -> float:
    """How surely nobody speaks, 0 to 1, from the probabilities (15,)."""
    return min(1.0, max(0.0, (float(visemes[_SIL]) - 0.3) / 0.4))


def _eased(x: _Number) -> _Number:
    """Smoothstep."""
    return x * x * (3 - 2 * x)


def _kernel(sigma: float, past: int, ahead: int) -> F32:
    """Gaussian over hops -past .. ahead, sum 1."""
    k = np.exp(-0.5 * (np.arange(-past, ahead + 1) / sigma) ** 2)
    return (k / k.sum()).astype(np.float32)


def _compose(lips: F32, jaw: F32, rounding: F32, pucker: F32, scale: F32, contact: F32, jaw_contact: F32) -> F32:
    """The tracks together, n hops, columns: ``lips`` (n, 52), ``contact`` (n, 2) of lip on lip and lip on teeth,
    ``jaw_contact`` the same for the jaw, ``pucker`` its share of the rounding; the others (n, 1). Returns (n, 52)."""
    out = lips * (1 + (scale - 1) * _LOUD)
    out *= 1 - np.minimum(1, rounding) * _WIDE
    amount, opening = ROUND_FULL * rounding[:, 0], JAW_FULL * (jaw * scale)[:, 0]
    out[:, _PUCKER] = amount * pucker[:, 0]
    out[:, _FUNNEL] = amount - out[:, _PUCKER]
    out[:, JAW_OPEN] = opening
    if not jaw_contact.any():
        return out
    b, jaw_b, jaw_f = contact[:, :1], jaw_contact[:, 0], jaw_contact[:, 1]
    f = contact[:, 1:] * (1 - b)
    opening -= jaw_f * np.maximum(0, opening - _FF_JAW)
    out[:, JAW_OPEN] = opening * (1 - (1 - _CONTACT_JAW) * jaw_b)
    out *= (1 - b * _OPENERS) * (1 - f * _LOWER)
    np.maximum(out, b * _PP_SHAPE, out=out)
    return np.maximum(out, f * _FF_SHAPE, out=out)


def _shut(mouth: F32, contact: F32) -> None:
    """What the lips close over the jaw, in place: ``mouth`` (n, 52), ``contact`` (n, 2). Lips that touch do so whatever
    the jaw does; puckered ones cover the teeth."""
    jaw, lips = mouth[:, JAW_OPEN], contact[:, 0]
    teeth = np.maximum(0, jaw - _FF_JAW) * contact[:, 1]
    covered = _PUCKER_CLOSES * mouth[:, _PUCKER] * jaw
    mouth[:, _CLOSE] = jaw * lips + np.maximum(teeth, covered) * (1 - lips)


# --- as it comes -------------------------------------------------------------------------------------------------


class _Presence:
    """Whether the mouth speaks, eased: into speech in 30 ms, to rest in 100 ms. A gap between two words or a stop's
    silence is shorter, so it relaxes the mouth but does not shut it."""

    def __init__(self) -> None:
        self.phase = 0.0

    def step(self, silence: float) -> float:
        self.phase = min(1.0, max(0.0, self.phase + _RISE - silence * (_RISE + _FALL)))
        return _eased(self.phase)


class _Contact:
    """One contact over time: begun by 20 ms of sureness, held for :data:`CONTACT_HOPS`, with ramps of one hop."""

    def __init__(self, ahead: int, begins: float, ends: float) -> None:
        self._begins, self._ends = begins, ends
        self._patience = ahead + 1
        """Unsure hops that end it: those of the look-ahead are not the present yet."""
        self._on = False
        self._full = self._unsure = 0
        self._before = self.level = 0.0

    def step(self, sure: float) -> float:
        """``sure``: probability in the newest hop. Returns the contact, 0 to 1."""
        twice, self._before = min(sure, self._before), sure
        self._unsure = self._unsure + 1 if sure < self._ends else 0
        if twice >= self._begins:
            self._on = True
        elif self._unsure >= self._patience and self._full >= CONTACT_HOPS:
            self._on = False
        self.level = min(1.0, max(0.0, self.level + (0.5 if self._on else -0.5)))
        self._full = self._full + 1 if self._on and self.level == 1.0 else 0
        return self.level


class MouthShaper:
    """What is known about the lips, and loudness, to mouth coefficients, one hop of 10 ms at a time.

    :param ahead: hops of look-ahead, 0 to 2; a result belongs to the hop ``ahead`` steps ago. With 0, contact comes
        20 ms late, with 1 10 ms, with 2 in time.
    """

    PAST = 6

    def __init__(self, ahead: int = 1) -> None:
        self.ahead = ahead
        self._matrix = np.concatenate(
            (_LIP_TARGET, _WEIGHT[:, _LIPS : _LIPS + 1], _ROUND_TARGET[:, None], _PUCKER_TARGET[:, None]), axis=1
        )
        self._silent = self._matrix[_SIL].copy()
        lips, curve = _kernel(1.6, self.PAST, ahead), _kernel(0.8, self.PAST, ahead)
        self._kernels = np.stack([lips] * self._matrix.shape[1] + [curve] * 2, axis=1)
        self.reset()

    def reset(self) -> None:
        """A mouth at rest."""
        self._rows = Ring(self.PAST + 1 + self.ahead, self._kernels.shape[1])
        self._presence = _Presence()
        self._contacts = (
            _Contact(self.ahead, PRESS_ON, PRESS_OFF),
            _Contact(self.ahead, TEETH_ON, TEETH_OFF),
        )
        self._loud, self._heard = 1.0, 1.0
        self._jaw = 0.0

    def step(self, estimate: LipEstimate, loud: float) -> F32:
        """``estimate`` and loudness (1 = usual) of a hop; returns (52,) of the hop ``ahead`` ago."""
        visemes = estimate.visemes
        presence = self._presence.step(_silence(visemes))
        row = np.empty(self._kernels.shape[1], np.float32)
        row[:-2] = visemes @ self._matrix - visemes[_SIL] * presence * self._silent
        row[-2:] = estimate.jaw, estimate.rounding
        sums = np.einsum("ij,ij->j", self._rows.push(row), self._kernels)
        weight, rounded, puckered, jaw, rounding = sums[-5:].tolist()
        press = self._contacts[0].step(estimate.press if presence > 0 else 0.0)
        teeth = self._contacts[1].step(float(visemes[_FF]))
        pucker = (puckered + _LEAST * _USUAL_PUCKER) / (rounded + _LEAST)
        values = jaw * presence, rounding * presence, pucker, self._smooth_loud(visemes, loud), press, teeth
        columns = np.array([values], np.float32)
        contact = columns[:, 4:]
        out = _compose(
            sums[None, : len(ARKIT)] * (presence / max(weight, _LEAST)),
            columns[:, 0:1],
            columns[:, 1:2],
            columns[:, 2:3],
            loudness_scale(columns[:, 3:4]),
            contact,
            contact,
        )
        self._jaw += min(JAW_STEP, max(-JAW_STEP, float(out[0, JAW_OPEN]) - self._jaw))
        out[0, JAW_OPEN] = self._jaw
        _shut(out, contact)
        return out[0]

    def _smooth_loud(self, visemes: F32, loud: float) -> float:
        """Mean over the last vowels, the latest counting most."""
        keep = 1 - HOP_S / LOUD_S
        weight = float(visemes @ _SONORITY)
        self._loud, self._heard = keep * self._loud + weight * loud, keep * self._heard + weight
        if self._heard < _LEAST:  # a long silence: what was heard last counts as one vowel's hop
            self._loud, self._heard = self._loud / self._heard, 1.0
        return self._loud / self._heard


# --- all at once -------------------------------------------------------------------------------------------------


def curves(visemes: F32) -> F32:
    """Jaw and rounding of a whole utterance: ``visemes`` (n, 15) at 100 hops a second to (n, 2), both as in
    :class:`LipEstimate`. Sees the future, so lips round 120 ms before a rounded sound and the mouth opens with the
    sound; a pause of less than 120 ms does not shut it."""
    presence = _presence_track(visemes)
    audible = visemes.copy()
    audible[:, _SIL] *= 1 - presence
    out = np.empty((len(visemes), 2), np.float32)
    for k, kernel in ((0, _kernel(JAW_SIGMA, 12, 12)), (1, _anticipation())):
        weights = _CURVE_WEIGHT[:, k]
        both = _correlate(np.stack((audible @ (_CURVES[:, k] * weights), audible @ weights), axis=1), kernel)
        out[:, k] = both[:, 0] / np.maximum(both[:, 1], _LEAST)
    out[:, 0] *= presence
    return out


def shape_track(visemes: F32, loud: F32) -> F32:
    """The mouth of a whole utterance whose visemes are known, by the same rules as :class:`MouthShaper`: ``visemes``
    (n, 15) and ``loud`` (n,) at 100 hops a second to (n, 52)."""
    n = len(visemes)
    if n == 0:
        return np.zeros((0, len(ARKIT)), np.float32)
    both = curves(visemes)
    presence = _presence_track(visemes)[:, None]
    audible = visemes.copy()
    audible[:, _SIL] *= 1 - presence[:, 0]
    kernel = _kernel(LIP_SIGMA, 12, 12)
    weight = _correlate(audible @ _WEIGHT[:, _LIPS : _LIPS + 1], kernel)
    lips = _correlate(audible @ _LIP_TARGET, kernel) * (presence / np.maximum(weight, _LEAST))
    rounds = _correlate(np.stack((visemes @ _ROUND_TARGET, visemes @ _PUCKER_TARGET), axis=1), _anticipation())
    pucker = (rounds[:, 1:] + _LEAST * _USUAL_PUCKER) / (rounds[:, :1] + _LEAST)
    sonority = visemes @ _SONORITY + 1e-6
    vowels = _correlate(np.stack((sonority * loud, sonority), axis=1), _kernel(100 * LOUD_S, 40, 40))
    # Known contacts are as long as they are; only those shorter than 50 ms are widened to it.
    sure = np.clip((visemes[:, [_PP, _FF]] - 0.3) / 0.3, 0, 1)
    wide = np.where(_runs(sure) < CONTACT_HOPS, _spread(sure, np.ones(CONTACT_HOPS, np.float32)), sure)
    contact, jaw_contact = _spread(wide, _LIP_RAMP), _spread(wide, _JAW_RAMP)
    scale = loudness_scale(vowels[:, :1] / vowels[:, 1:])
    out = _compose(lips.astype(np.float32), both[:, :1], both[:, 1:], pucker, scale, contact, jaw_contact)
    # The jaw is in time where it must be low; where that is too fast for it, it opens less or later.
    for order in (range(1, n), range(n - 2, -1, -1)):
        step = 1 if order.step < 0 else -1
        for i in order:
            out[i, JAW_OPEN] = min(out[i, JAW_OPEN], out[i + step, JAW_OPEN] + JAW_STEP)
    _shut(out, contact)
    return out


_LIP_RAMP = np.array([0.33, 0.67, 1, 0.67, 0.33], np.float32)
_JAW_RAMP = np.array([0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2], np.float32)


def _presence_track(visemes: F32) -> F32:
    """(n,): as :class:`_Presence`, and the same backwards: the mouth opens up to 110 ms before the first sound."""
    both = np.zeros((2, len(visemes)), np.float32)
    for line, order in zip(both, (range(len(visemes)), range(len(visemes) - 1, -1, -1)), strict=True):
        presence = _Presence()
        for i in order:
            presence.step(_silence(visemes[i]))
            line[i] = presence.phase
    return _eased(both.max(axis=0))


def _spread(x: F32, ramp: F32) -> F32:
    """(n, c): the largest of the neighbours' values times ``ramp``, centred."""
    half = len(ramp) // 2
    padded = np.pad(x, ((half, half), (0, 0)))
    return np.max([padded[k : k + len(x)] * r for k, r in enumerate(ramp)], axis=0).astype(np.float32)


def _anticipation() -> F32:
    """Window of the lips' rounding over hops -12 .. 12: from 120 ms ahead of a rounded sound, little after it."""
    k = np.arange(-12, 13)
    w = np.where(k >= 0, np.exp(-0.5 * (k / 5.5) ** 2), np.exp(-0.5 * (k / 2.0) ** 2))
    return (w / w.sum()).astype(np.float32)


def _correlate(x: F32, kernel: F32) -> F32:
    """(n, c) weighted by ``kernel`` centred on each row, edges repeated."""
    half = len(kernel) // 2
    padded = np.pad(x, ((half, half), (0, 0)), mode="edge")
    return np.einsum("nck,k->nc", np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0), kernel)


def _runs(contact: F32) -> F32:
    """(n, c): for each entry near a run of contact the length of that run, else 0."""
    out = np.zeros_like(contact)
    for c in range(contact.shape[1]):
        on = np.flatnonzero(np.diff(np.concatenate(([0], (contact[:, c] > 0.5).astype(np.int8), [0]))))
        for a, b in zip(on[::2], on[1::2], strict=True):
            out[max(0, a - 2) : b + 2, c] = b - a
    return out
