"""The viseme network: targets, training, export, thresholds. Who judges it is in ``judge``."""

from avatar.models.visemes.build import build

__all__ = ["build"]
