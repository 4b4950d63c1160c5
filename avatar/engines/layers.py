"""The portrait in two layers: the person, who moves, and what is behind, which stays or is replaced.

With coverage a, the photo is I = P + (1 - a) B: P is the person's part ("premultiplied", Porter & Duff 1984), B what is
behind, continued where the person was. P and a are warped together; so the head uncovers B and drags nothing along, and
unmoved layers give the photo to the last bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numba import njit

from avatar.core.types import U8
from avatar.errors import UsageError
from avatar.portrait.matte import Matte, scene_behind

KEEP, BLUR, GREEN, ALPHA = "keep", "blur", "green", "alpha"
BACKGROUNDS = (KEEP, BLUR, GREEN, ALPHA)
"""What may be behind the person, besides a colour (#RRGGBB) or a picture (a file)."""
CHROMA_GREEN = (0, 255, 0)
"""The colour that a chroma key takes away when nothing else is said."""
_BLUR = 1 / 28
"""Sigma of the blurred background, in sides of the picture."""
_FRAME = 2
"""Pixels along the picture's border in which nothing but the person moves."""
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@njit(nogil=True, cache=True)
def _over(moved, behind, out):
    """``moved`` (h, w, 4), premultiplied, over ``behind`` (h, w, 3), into ``out`` (h, w, 3)."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            alpha = moved[y, x, 3]
            if alpha == 255:
                for c in range(3):
                    out[y, x, c] = moved[y, x, c]
            elif alpha == 0:
                for c in range(3):
                    out[y, x, c] = behind[y, x, c]
            else:
                rest = np.int32(255) - alpha
                for c in range(3):
                    # (v + 128 + v / 256) / 256 is v / 255, rounded.
                    v = rest * behind[y, x, c] + np.int32(128)
                    out[y, x, c] = min(np.int32(255), moved[y, x, c] + ((v + (v >> 8)) >> 8))


@njit(nogil=True, cache=True)
def _exchange(picture, alpha, old, new):
    """Put ``new`` (h, w, 3) in the place of ``old`` in a ``picture`` (h, w, 3) that was drawn over ``old``."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            rest = np.int32(255) - alpha[y, x]
            if rest == 0:
                continue
            for c in range(3):
                v = rest * (np.int32(new[y, x, c]) - np.int32(old[y, x, c]))
                value = picture[y, x, c] + np.int32(np.floor(v / 255.0 + 0.5))
                picture[y, x, c] = min(np.int32(255), max(np.int32(0), value))


def over(moved: U8, behind: U8) -> U8:
    """A new picture (h, w, 3): ``moved`` (h, w, 4), premultiplied by its coverage, over ``behind`` (h, w, 3)."""
    out = np.empty_like(behind)
    _over(moved, behind, out)
    return out


def exchange(picture: U8, alpha: U8, old: U8, new: U8) -> None:
    """Put ``new`` (h, w, 3) behind a picture that was drawn over ``old`` with coverage ``alpha`` (h, w), in place."""
    _exchange(picture, alpha, old, new)


@dataclass(frozen=True, slots=True)
class Layers:
    """A portrait (s, s, 3) taken apart."""

    behind: U8
    """(s, s, 3): the background without the person."""
    kept: U8
    """(s, s, 4): the person and all else that differs from :attr:`behind`, premultiplied: over it, it is the photo."""
    cut: U8
    """(s, s, 4): the person alone, for another background."""


def take_apart(portrait: U8, matte: Matte) -> Layers:
    """The layers of ``portrait`` (s, s, 3) by its matte (s, s)."""
    # What lies on the picture's border is continued beyond it when the layer moves inwards: of the person, who is cut
    # off there, that is right; a trace of something else would become a streak.
    border = np.ones(portrait.shape[:2], bool)
    border[_FRAME:-_FRAME, _FRAME:-_FRAME] = False
    border &= matte.alpha < 0.3
    alpha = np.round(np.where(border, 0, matte.alpha) * 255).astype(np.int32)
    behind = np.where(border[..., None], portrait, scene_behind(portrait, matte.alpha))
    picture, scene = portrait.astype(np.int32), behind.astype(np.int32)
    cut = _premultiplied(picture, scene, alpha)
    cut[..., :3] = np.minimum(cut[..., :3], cut[..., 3:])
    # What the matte has missed, a strand of hair, stands out from the background: it belongs to the layer that moves.
    darker = np.where(scene > picture, 255 * (scene - picture) / np.maximum(scene, 1), 0).max(-1)
    brighter = np.where(picture > scene, 255 * (picture - scene) / np.maximum(255 - scene, 1), 0).max(-1)
    missed = np.ceil(np.maximum(darker, brighter)).astype(np.int32)
    kept = _premultiplied(picture, scene, np.minimum(255, np.maximum(alpha, missed)))
    return Layers(behind, kept, cut)


def _premultiplied(picture: np.ndarray, scene: np.ndarray, alpha: np.ndarray) -> U8:
    """(s, s, 4): what must be added to the scene's share to give the picture; :func:`over` rounds in the same way."""
    value = (255 - alpha)[..., None] * scene + 128
    part = np.clip(picture - ((value + (value >> 8)) >> 8), 0, 255)
    return np.concatenate([part, alpha[..., None]], -1).astype(np.uint8)


def straight(picture: U8, alpha: U8) -> U8:
    """(h, w, 4) for a file, not premultiplied: ``picture`` (h, w, 3) was drawn over black with coverage ``alpha``."""
    colour = picture.astype(np.float32) * (255 / np.maximum(alpha, 1).astype(np.float32))[..., None]
    return np.concatenate([np.clip(colour + 0.5, 0, 255), alpha[..., None]], -1).astype(np.uint8)


def check_background(name: str) -> str:
    """``name`` where it is one of :data:`BACKGROUNDS`, a colour or a file. Raises UsageError."""
    if name in BACKGROUNDS or _COLOUR.fullmatch(name) or Path(name).is_file():
        return name
    raise UsageError(
        f"background {name!r}: one of {', '.join(BACKGROUNDS)}, a colour as #20304a, or a picture's file that exists"
    )


def background(name: str, behind: U8) -> U8:
    """The picture (s, s, 3) that ``name`` puts behind the person. ``behind`` (s, s, 3) is the photo's own.

    Raises UsageError where it is nothing known, or a file that is no picture.
    """
    size = len(behind)
    if check_background(name) == KEEP:
        return behind
    if name == BLUR:
        return np.asarray(cv2.GaussianBlur(behind, (0, 0), size * _BLUR), np.uint8)
    if name in (GREEN, ALPHA) or _COLOUR.fullmatch(name):
        colour = {GREEN: CHROMA_GREEN, ALPHA: (0, 0, 0)}.get(name) or tuple(bytes.fromhex(name[1:]))
        return np.full((size, size, 3), colour, np.uint8)
    pixels = cv2.imread(name, cv2.IMREAD_COLOR)
    if pixels is None:
        raise UsageError(f"background {name}: not a picture that can be read; use a JPEG or PNG file")
    return _covering(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), size)


def _covering(picture: U8, size: int) -> U8:
    """The largest square from the middle of ``picture`` (h, w, 3), at (size, size, 3)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    flags = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=flags), np.uint8)
