"""Training of the viseme prototypes."""

from avatar.models.visemes.train_prototypes import build

__all__ = ["build"]
