"""Finding glasses in a portrait: frames drawn onto faces that wear none, and a small network that learns to see them
(``avatar train glasses``)."""

from avatar.models.glasses.learning import build

__all__ = ["build"]
