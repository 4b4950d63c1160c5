"""Colours for encoders."""

from __future__ import annotations

import cv2
import numpy as np

from avatar.core.types import U8, freeze


def to_i420(rgb: U8) -> U8:
    """RGB (height, width, 3) to planar YUV 4:2:0, BT.601 limited range: (height * 3 / 2, width). Odd edges are cut."""
    height, width = rgb.shape[0] & ~1, rgb.shape[1] & ~1
    return freeze(cv2.cvtColor(np.ascontiguousarray(rgb[:height, :width]), cv2.COLOR_RGB2YUV_I420))
