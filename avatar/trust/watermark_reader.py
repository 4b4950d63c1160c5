"""Finds the invisible watermark (:mod:`avatar.engines.watermark`) in pictures, cropped, scaled and compressed ones too.

The picture's slow changes are taken away and its lively places damped, the template is looked for at every place and at
scales from 1 to 1.2 (a crop that was enlarged again), and where it stands out the message is read (Viterbi, CRC).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from avatar.core.types import F32, U8
from avatar.engines.watermark import CELLS, CODED, MEMORY, Message, cells, encode, layout, parities, waveform

SIDE = 256
"""Pictures are looked at with their longer side at this many pixels."""
_ROOM = 320
"""Side of the plane in which the template is moved: the picture, and the largest shift."""
SCALES = tuple(np.round(np.arange(1.0, 1.201, 0.02), 3).tolist())
"""Sides of the whole picture in parts of what is left of it."""
_FINE = (0.01, 0.005, 0.0025)
"""Steps around a scale that is promising."""
PROMISING = 5.3
GATE = 6.0
"""Standard deviations by which the template must stand out. A clean picture's highest of two million places is
about 5.3; the CRC decides above."""
_OBLONG = 1.3
"""Beyond this ratio of sides the picture is taken for a square one between bars."""
_EDGE = 1.5
"""Sigma of the high-pass in pixels of the looked-at picture."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read."""

    message: Message
    strength: float
    """By how many standard deviations the template stands out."""
    scale: float
    """Side of the whole picture in parts of what is left of it."""


@dataclass(frozen=True, slots=True)
class _Place:
    strength: float
    scale: float
    x: int
    y: int


def read(pictures: Iterable[U8]) -> Reading | None:
    """The mark of pictures (h, w, 3) RGB or (h, w) grey that carry the same one, None where there is none.

    More pictures than one are averaged: two seconds of a clip are plenty.
    """
    return read_mean(mean_of(pictures))


def mean_of(pictures: Iterable[U8]) -> F32:
    """The mean of pictures of one size as :func:`read_mean` takes it. Raises ValueError where there are none."""
    looked = [_look(picture) for picture in pictures]
    if not looked:
        raise ValueError("no pictures")
    return np.asarray(np.mean(looked, axis=0), np.float32)


def _look(picture: U8) -> F32:
    """(h, w) grey with its longer side at :data:`SIDE`, float32."""
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    if max(height, width) > _OBLONG * min(height, width):
        side = min(height, width)
        y, x = (height - side) // 2, (width - side) // 2
        grey, height, width = grey[y : y + side, x : x + side], side, side
    scale = SIDE / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, shape, interpolation=flags), np.float32)


def read_mean(mean: F32) -> Reading | None:
    """As :func:`read`, of a mean grey picture whose longer side is :data:`SIDE`."""
    rest = _whitened(mean)
    power = float(np.sqrt((rest * rest).sum()))
    if power < 1e-3:  # one colour
        return None
    plane = np.zeros((_ROOM, _ROOM), np.float32)
    plane[: rest.shape[0], : rest.shape[1]] = rest
    spectrum = np.conj(fft.rfft2(plane))
    shape = rest.shape[0], rest.shape[1]
    found = sorted((_best(spectrum, power, shape, scale) for scale in SCALES), key=lambda place: -place.strength)[:2]
    for place in found:
        best = place
        for step in _FINE if place.strength >= PROMISING else ():
            nearby = [_best(spectrum, power, shape, round(best.scale + way * step, 4)) for way in (-1, 1)]
            best = max([best, *nearby], key=lambda one: one.strength)
        if best.strength < GATE:
            continue
        message = _decode(rest, best)
        if message is not None:
            return Reading(message, round(best.strength, 1), best.scale)
    return None


def _whitened(grey: F32) -> F32:
    """Fine structure, every neighbourhood at about the same power."""
    fine = grey - cv2.GaussianBlur(grey, (0, 0), _EDGE, borderType=cv2.BORDER_REFLECT)
    power = cv2.GaussianBlur(fine * fine, (0, 0), 2 * _EDGE, borderType=cv2.BORDER_REFLECT)
    return np.asarray(np.clip(fine / (np.sqrt(power) + 0.5), -1.5, 1.5), np.float32)


@cache
def _template(scale: float) -> tuple[NDArray[np.complex64], float]:
    """Spectrum of the template for a whole picture of ``scale`` x SIDE pixels, and its root mean square."""
    side = round(SIDE * scale)
    # Drawn large and shrunk, so that a scale that is no whole number of pixels is met.
    drawn = waveform(cells(None), 4 * SIDE)
    zoom = SIDE * scale / (4 * SIDE)
    move = np.array([[zoom, 0, zoom / 2 - 0.5], [0, zoom, zoom / 2 - 0.5]])
    drawn = cv2.GaussianBlur(drawn, (0, 0), 0.4 / zoom)
    small = cv2.warpAffine(drawn, move, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    small = small - cv2.GaussianBlur(small, (0, 0), _EDGE, borderType=cv2.BORDER_REFLECT)
    plane = np.zeros((_ROOM, _ROOM), np.float32)
    plane[:side, :side] = small
    return fft.rfft2(plane), float(np.sqrt((small * small).mean()))


def _best(spectrum: NDArray[np.complex64], power: float, shape: tuple[int, int], scale: float) -> _Place:
    """Where the template of this scale fits best: ``x``, ``y`` = how much of the whole is missing at left and top."""
    template, rms = _template(scale)
    fits = fft.irfft2(spectrum * template, (_ROOM, _ROOM))
    # Shifts from -2 on: a picture may have gained a pixel, but it cannot have lost less than nothing.
    most = [max(2, round(scale * SIDE) - side + 2) for side in shape]
    window = np.roll(fits, (2, 2), (0, 1))[: most[0] + 3, : most[1] + 3]
    y, x = np.unravel_index(int(window.argmax()), window.shape)
    return _Place(float(window[y, x]) / (power * rms), scale, int(x) - 2, int(y) - 2)


def _decode(rest: F32, place: _Place) -> Message | None:
    """The message on the grid that lies at ``place``."""
    cell = SIDE * place.scale / CELLS
    smooth = cv2.GaussianBlur(rest, (0, 0), 0.3 * cell, borderType=cv2.BORDER_REFLECT)
    smooth -= cv2.GaussianBlur(smooth, (0, 0), _EDGE, borderType=cv2.BORDER_REFLECT)  # as the picture was: matched
    centres = ((np.arange(CELLS) + 0.5) * cell - 0.5).astype(np.float32)
    x, y = np.meshgrid(centres - np.float32(place.x), centres - np.float32(place.y))
    values = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0).ravel()
    known = layout()
    soft = np.bincount(known.bit, values[known.data] * known.signs[known.data], CODED).astype(np.float64)
    message = Message.from_bits(viterbi(soft))
    if message is None:
        return None
    # A message that is there agrees with most of its coded bits one by one, not only in the best path's sum.
    agree = float(((soft > 0) == (encode(message) > 0)).mean())
    return message if agree >= 0.75 else None


def viterbi(soft: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The bits (56,) whose code fits ``soft`` (186,) best: positive = probably 1."""
    table = 2.0 * parities() - 1
    states = 1 << MEMORY
    steps = soft.reshape(-1, 3)
    # A state is the register's lower six bits after a step; the newest bit is the state's top bit.
    new = np.arange(states)
    before = np.stack([(new << 1) & (states - 1), ((new << 1) & (states - 1)) | 1])  # (2, 64)
    register = before | ((new >> (MEMORY - 1)) << MEMORY)
    gain = table[register]  # (2, 64, 3)
    score = np.full(states, -np.inf)
    score[0] = 0.0
    chosen = np.empty((len(steps), states), np.intp)
    for index, step in enumerate(steps):
        both = score[before] + gain @ step
        pick = both.argmax(axis=0)
        chosen[index] = before[pick, new]
        score = both[pick, new]
    state, bits = 0, np.empty(len(steps), np.uint8)
    for index in range(len(steps) - 1, -1, -1):
        bits[index] = state >> (MEMORY - 1)
        state = chosen[index, state]
    return bits[: len(steps) - MEMORY]
