"""The network that tells a person from what is behind: MediaPipe's, written anew for ONNX Runtime."""

from avatar.models.matte.build import build

__all__ = ["build"]
