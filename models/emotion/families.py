"""Which functional is about what: the names of :func:`avatar.analysis.voice_functionals.functionals`' numbers.

Timbre (bands, MFCC, RASTA, spectral shape) is what a microphone and a room change most, and what tells actors of one
corpus apart best. Pitch, loudness, voice quality and rhythm carry over better to other voices and channels.
"""

from __future__ import annotations

import numpy as np

from avatar.analysis.voice_frames import BANDS, SOUND_NAMES, VOICE_NAMES

_STATIC = (*SOUND_NAMES, *(f"rasta{i}" for i in range(BANDS)), "flux")
_DISTRIBUTION = ("mean", "std", "skewness", "kurtosis", "p5", "p50", "p95", "p75-25", "p95-5", "p95-50", "slope")
_MOVEMENT = tuple(f"change {n}" for n in ("std", "skewness", "kurtosis", "p5", "p95", "p75-25", "size", "rise"))
_AMONG = ("voiced mean", "voiced std", "unvoiced mean", "unvoiced std")
_RHYTHM = 29
"""Numbers of the rhythm, at the end."""
_PROSODIC = frozenset((
        "f0", "hnr", "cepstral_peak", "h1_h2", "h1_a3", "b1", "b2", "b3", "a1", "a2", "a3",
        "level", "loudness", "peak", "flux", "rhythm",
))  # fmt: skip


def columns() -> list[tuple[str, str]]:
    """(descriptor, functional) of each number, in order."""
    out = [(d, f) for f in (*_DISTRIBUTION, *_MOVEMENT, *_AMONG) for d in _STATIC]
    out += [(d, f) for f in (*_DISTRIBUTION, *_MOVEMENT) for d in VOICE_NAMES]
    out += [("f0", "jitter mean"), ("f0", "jitter most"), ("peak", "shimmer mean"), ("peak", "shimmer std")]
    return out + [("rhythm", str(i)) for i in range(_RHYTHM)]


def prosody() -> np.ndarray:
    """(d,) bool: pitch, loudness, voice quality and rhythm."""
    return np.array([descriptor in _PROSODIC for descriptor, _ in columns()])
