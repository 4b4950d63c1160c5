"""The head's motion with the voice: what people do, learnt by hidden Markov models.

Sargin, Yemez, Erzin & Tekalp, "Analysis of Head Gesture and Prosody Patterns for Prosody-Driven Head-Gesture
Animation", TPAMI 2008. ``clips`` reads recordings, ``learn`` makes a model of them, ``judge`` says how good it is. The
part that runs live is :mod:`avatar.analysis.head_hmm`.
"""

from avatar.models.headpose.build import build

__all__ = ["build"]
