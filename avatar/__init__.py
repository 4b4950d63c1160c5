"""Vultus: a real-time multimodal avatar engine.

Voice, camera, text or a program drives one :class:`FaceState`; an engine turns a single portrait into that face; a
synchronizer keeps lips, head and expression together with the sound.
"""

from avatar.core.clock import SessionClock as Clock
from avatar.core.types import FaceState
from avatar.errors import AvatarError

__all__ = ["AvatarError", "Clock", "FaceState", "Pipeline"]


def __getattr__(name: str) -> object:
    if name == "Pipeline":  # brings in every device library, so only on demand
        from avatar.assembly import Pipeline

        return Pipeline
    raise AttributeError(f"module 'avatar' has no attribute {name!r}")
