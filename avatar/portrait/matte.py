"""Which pixels of a portrait are the person, and what is behind: once per avatar, before anything is drawn.

A small network says it coarsely at 256 x 256. In a narrow band along the outline each pixel is then taken for a mixture
of the person's colour and the background's, both continued from the sure sides (push-pull, Gortler et al. 1996, section
4), which finds single strands of hair on a background of another colour; where the two colours are alike, the network's
word stands. A guided filter (He et al. 2010) at last ties the result to the picture's edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from avatar.core.types import F32, U8
from avatar.network import one_thread_session
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import FACE_OVAL

FILE = "matte.onnx"
SIDE = 256
"""Pixels a side of the network's view."""
_BAND = 1 / 90
"""Half width of the band along the outline, in sides of the portrait."""
_BESIDE, _NEAR, _BEYOND, _STRAND = 1 / 100, 1 / 28, 1 / 9, 1 / 64
"""How far beyond the outline the background is not to be trusted, how near a strand of hair must come to it, how far
one may reach, and how wide one is at most, in sides of the portrait."""
_LUMP = 0.002
"""Part of the picture that a knot of hair may cover."""
_OTHER = (8.0, 14.0)
"""Differences (0 to 255) from the continued background from which on something stands out: faint strands show at the
lower one, and what a shadow joins to the background is alone at the higher one."""
_ALIKE = 40.0
"""Distance of two colours (RGB, 0 to 255) below which they say little about a mixture."""
_NOISE, _ROUGH = 0.06, 1e-5
"""Coverage that is taken for none; the guided filter's regulariser."""
_RELAXED, _FINE = 6, 256
"""Steps of relaxation where the person was, and the side in pixels of levels that get all of them."""
_ISLAND = 0.01
"""Part of the picture; what shows of the background must be larger to be continued behind the person."""
_LEAST_FACE, _MOST_DOUBT = 0.93, 0.06
"""Mean coverage of the face, and share of the picture that is neither person nor background, where a matte is used."""
_LEAST_BEHIND = 0.03
"""Share of the picture that must be background: where there is none, there is nothing to replace."""


@dataclass(frozen=True, slots=True)
class Matte:
    """What of a portrait is the person."""

    alpha: F32
    """(n, n) coverage in [0, 1]."""
    doubt: str = ""
    """Why it should not be used; empty = it may be."""


def matte_of(bundle: AvatarBundle, size: int, weights: Path) -> Matte:
    """The matte of an avatar's portrait at (size, size): the bundle's own, else found. Raises ModelFileError."""
    portrait, landmarks = bundle.at_size(size)
    if bundle.matte is None:
        return find_person(portrait, landmarks, weights)
    flags = cv2.INTER_AREA if size < len(bundle.matte) else cv2.INTER_LINEAR
    given = cv2.resize(np.asarray(bundle.matte, np.float32), (size, size), interpolation=flags)
    return Matte(given / np.float32(255))


def find_person(portrait: U8, landmarks: F32, weights: Path) -> Matte:
    """The matte of ``portrait`` (n, n, 3), whose face has ``landmarks`` (478, 3) in its pixels.

    :param weights: folder of the shipped weights. Raises ModelFileError where the network's file is missing.
    """
    seen = coarse_matte(portrait, landmarks, weights)
    return Matte(refined(portrait, seen.alpha), seen.doubt)


def coarse_matte(portrait: U8, landmarks: F32, weights: Path) -> Matte:
    """As :func:`find_person`, at 256 x 256: what the network says, and of it the part that the face belongs to."""
    return _main_part(_ask(portrait, weights), landmarks / np.float32(len(portrait) / SIDE))


def _ask(portrait: U8, weights: Path) -> F32:
    """(256, 256): the network's answer for the picture and for its mirror image, mean."""
    small = cv2.resize(portrait, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    given = np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
    session = one_thread_session(weights / FILE)
    (one,), (other,) = (session.run(None, {"picture": x}) for x in (given, np.ascontiguousarray(given[..., ::-1])))
    return np.asarray((one[0, 0] + other[0, 0, :, ::-1]) / 2, np.float32)


def _main_part(coarse: F32, landmarks: F32) -> Matte:
    """The part that the face belongs to, without other people, pictures on the wall and guesses; and whether to trust
    it. ``landmarks`` (478, 3) in pixels of ``coarse``."""
    face = np.zeros(coarse.shape, np.uint8)
    cv2.fillConvexPoly(face, np.round(landmarks[list(FACE_OVAL), :2]).astype(np.int32), 1)
    covered = float(coarse[face > 0].mean()) if face.any() else 0.0
    # Thin bridges lead to things behind the shoulders; hair is thicker than them.
    sure = cv2.morphologyEx((coarse > 0.6).astype(np.uint8), cv2.MORPH_OPEN, _disc(5)) | face
    _, labels = cv2.connectedComponents(sure)
    numbers = np.bincount(labels[face > 0], minlength=2)
    numbers[0] = 0
    near = cv2.dilate((labels == int(numbers.argmax())).astype(np.uint8), _disc(9))
    alpha = coarse * near
    alpha[face > 0] = 1
    unclear = (alpha > 0.2) & (alpha < 0.8)
    doubt = ""
    if covered < _LEAST_FACE:
        doubt = "the face does not stand out from what is around it"
    elif float(unclear.mean()) > _MOST_DOUBT:
        doubt = "the outline of hair and shoulders is not clear"
    elif float((alpha < 0.5).mean()) < _LEAST_BEHIND:
        doubt = "there is hardly any background in the portrait"
    return Matte(alpha, doubt)


def refined(portrait: U8, coarse: F32) -> F32:
    """Coverage (n, n) at the portrait's size (n, n, 3) from a ``coarse`` one of any size, true to hair and edges."""
    n = len(portrait)
    picture = portrait.astype(np.float32)
    alpha = np.clip(cv2.resize(coarse, (n, n), interpolation=cv2.INTER_CUBIC), 0, 1)
    width = max(1, round(n * _BAND))
    inside = cv2.erode((alpha > 0.9).astype(np.uint8), _disc(2 * width + 1))
    around = cv2.dilate((alpha > 0.1).astype(np.uint8), _disc(2 * width + 1))
    band = around > inside
    if not inside.any() or around.all():
        return np.asarray(alpha, np.float32)
    behind = push_pull(picture, 1 - around.astype(np.float32))
    between = push_pull(picture, inside.astype(np.float32)) - behind
    apart = (between * between).sum(-1)
    mixed = np.clip(((picture - behind) * between).sum(-1) / np.maximum(apart, 1), 0, 1)
    trust = apart / (apart + np.float32(_ALIKE**2))
    found = np.where(band, trust * mixed + (1 - trust) * alpha, alpha).astype(np.float32)
    found = cv2.ximgproc.guidedFilter(picture / np.float32(255), found, max(2, n // 200), _ROUGH)
    found = np.clip((found - _NOISE) / (1 - 2 * _NOISE), 0, 1)
    return np.where(band, found, alpha > 0.5).astype(np.float32)


def scene_behind(portrait: U8, alpha: F32) -> U8:
    """(n, n, 3): the picture without the person, continued smoothly where the person was.

    :param portrait: (n, n, 3). :param alpha: (n, n) coverage by the person.
    """
    n, picture = len(portrait), portrait.astype(np.float32)
    covered = (alpha > 0.02).astype(np.uint8)
    hidden, near, around = (cv2.dilate(covered, _disc(2 * round(n * reach) + 1)) for reach in (_BESIDE, _NEAR, _BEYOND))
    hidden |= _loose_hair(picture, hidden, near, around)
    # A gap between neck and hair shows hair's shadow more than what is far behind.
    _, labels, found, _ = cv2.connectedComponentsWithStats(1 - hidden)
    hidden[found[:, cv2.CC_STAT_AREA][labels] < _ISLAND * hidden.size] = 1
    filled = push_pull(picture, 1 - hidden.astype(np.float32), _RELAXED)
    return np.where(hidden[..., None] > 0, np.clip(filled + 0.5, 0, 255), portrait).astype(np.uint8)


def _loose_hair(picture: F32, hidden: U8, near: U8, around: U8) -> U8:
    """(n, n) mask of what is around the person, was missed, and is not of the background.

    ``hidden``, ``near`` and ``around`` (n, n) are ever wider masks of the person. What stands out from the continued
    background is hair where it begins near the person and is thin, or at most a small lump; what goes on beyond, or is
    larger, is a thing in the background.
    """
    n = len(picture)
    apart = np.abs(picture - push_pull(picture, 1 - around.astype(np.float32), _RELAXED)).max(-1)
    rim = around > cv2.erode(around, _disc(5))
    found = np.zeros((n, n), np.uint8)
    for least in _OTHER:
        other = ((apart > least) & (around > hidden)).astype(np.uint8)
        thick = cv2.morphologyEx(other, cv2.MORPH_OPEN, _disc(max(3, round(n * _STRAND))))
        count, labels = cv2.connectedComponents(cv2.dilate(other, _disc(3)))
        lump, begins, goes_on = (np.bincount(labels[mask > 0], minlength=count) for mask in (thick, near, rim))
        hair = (begins > 0) & (lump < _LUMP * n * n) & ((goes_on == 0) | (lump == 0))
        hair[0] = False
        found |= hair[labels].astype(np.uint8)
    return found


def push_pull(picture: F32, known: F32, relaxed: int = 0) -> F32:
    """``picture`` (h, w, 3) where ``known`` (h, w) is 1, and a smooth continuation of it where it is 0.

    :param relaxed: steps at each coarser level towards what meets the known side without a step (Laplace's equation).
    """
    levels = [(picture * known[..., None], known)]
    while max(levels[-1][1].shape) > 1:
        height, width = levels[-1][1].shape
        half = ((width + 1) // 2, (height + 1) // 2)
        colours, weights = (cv2.resize(part, half, interpolation=cv2.INTER_AREA) for part in levels[-1])
        levels.append((colours.reshape(*half[::-1], 3), weights.reshape(half[::-1])))
    colours, weights = levels[-1]
    made = colours / np.maximum(weights, 1e-6)[..., None]
    for colours, weights in reversed(levels[:-1]):
        made = cv2.resize(made, weights.shape[::-1], interpolation=cv2.INTER_LINEAR)
        # A little knowledge counts in full: the mean of what is known is a better guess than a coarser level's.
        share = np.minimum(1, 4 * weights)[..., None]
        fixed = colours / np.maximum(weights, 1e-6)[..., None] * share
        made = fixed + (1 - share) * made
        for _ in range(relaxed if len(weights) <= _FINE else min(relaxed, 1)):
            made = fixed + (1 - share) * cv2.blur(made, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.float32)


def _disc(width: int) -> U8:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)), np.uint8)
