"""The corrector of engine ``generator``: its network, its samples, its training (``avatar train generator``)."""

from avatar.models.generator.build import build

__all__ = ["build"]
