"""How clearly a voice is articulated: two sliders, from mumbling to enunciating, over a mouth that is already shaped.

The axes are those of JALI (Edwards, Landreth, Fiume & Singh, "JALI: an animator-centric viseme model for expressive lip
synchronization", SIGGRAPH 2016): the jaw, and the lips with the tongue. They scale shapes, never contact: who mumbles
moves jaw and lips little and still closes them for p, b, m, and who enunciates opens wide and closes for them as well.
"""

from __future__ import annotations

import numpy as np

from avatar.core import facs
from avatar.core.types import F32

JAW_GAINS = (0.25, 1.0, 1.7)
"""Of the jaw at 0, 1 and 2."""
LIP_GAINS = (0.4, 1.0, 1.6)
PRESSED, ON_TEETH = 0.3, 0.35
"""``mouthPress`` of lips that touch, ``mouthRollLower`` of a lower lip on the teeth."""

_JAW, _CLOSE = facs.INDEX["jawOpen"], facs.INDEX["mouthClose"]
_PRESS = [facs.INDEX["mouthPressLeft"], facs.INDEX["mouthPressRight"]]
_ROLL = facs.INDEX["mouthRollLower"]
_HELD = ("jaw", "mouthClose", "mouthPress", "mouthRoll", "cheekPuff")
_LIPS = np.array([i for i in facs.MOUTH_INDICES if not facs.ARKIT[i].startswith(_HELD)])
_UPPER = np.array([i for i in _LIPS if facs.ARKIT[i].startswith("mouthUpperUp")])


def contacts(mouth: F32) -> tuple[float, float]:
    """How far (0 to 1) lip lies on lip, and lip on teeth, in coefficients (52,)."""
    pressed = min(1.0, float(mouth[_PRESS].min()) / PRESSED)
    over_jaw = float(mouth[_CLOSE]) / max(0.02, float(mouth[_JAW]))
    lips = max(pressed, min(1.0, over_jaw) if pressed > 0 else 0.0)
    return lips, min(1.0, float(mouth[_ROLL]) / ON_TEETH) * (1 - lips)


def articulate(mouth: F32, jaw: float, lips: float) -> F32:
    """A mouth (52,) spoken with other settings of the sliders, each in [0, 2], 1 = as it is.

    Gains above 1 saturate: small movements grow by the gain, wide ones less, so transitions are crisper and nothing
    leaves its range.
    """
    out = mouth.copy()
    touch, teeth = contacts(mouth)
    out[_JAW] = _scaled(mouth[_JAW], _gain(jaw, JAW_GAINS), max(touch, teeth))
    if mouth[_JAW] > 0:
        out[_CLOSE] = mouth[_CLOSE] * out[_JAW] / mouth[_JAW]
    gain = _gain(lips, LIP_GAINS)
    out[_LIPS] = _scaled(mouth[_LIPS], gain, 0.0)
    out[_UPPER] = np.maximum(out[_UPPER], mouth[_UPPER] * teeth)
    return out


def _gain(slider: float, gains: tuple[float, float, float]) -> float:
    return float(np.interp(slider, (0.0, 1.0, 2.0), gains))


def _scaled(x: F32, gain: float, held: float) -> F32:
    """``x`` in [0, 1] times ``gain``; one above 1 acts only as far as no contact holds the lips."""
    if gain <= 1:
        return np.asarray(x * np.float32(gain), np.float32)
    return np.asarray(1 - (1 - x) ** np.float32(1 + (gain - 1) * (1 - held)), np.float32)
