"""The viseme network: targets, training, export, thresholds; its yardstick; how well both do."""

from avatar.models.visemes.build import build

__all__ = ["build"]
