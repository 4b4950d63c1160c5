"""Training of the viseme prototypes."""

from avatar.models.visemes.train import build

__all__ = ["build"]
