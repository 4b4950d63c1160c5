"""Finding glasses in a portrait: frames drawn onto faces that wear none, and a small network that learns to see them
(``avatar train glasses``)."""
