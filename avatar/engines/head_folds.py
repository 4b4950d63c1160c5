"""Folds of the skin: what a face that moves makes darker and lighter.

Expression ratio images (Liu, Shan & Zhang 2001): the picture times exp(sum of weighted maps). The maps lie in the frame
of a mean face; when the engine starts they are laid into the portrait by its landmarks, and faded where the portrait
shows hair, glasses or beard instead of skin. Each frame adds them up on a coarse grid and multiplies the drawn skin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numba import njit

from avatar.core.facs import INDEX
from avatar.core.types import F32, U8
from avatar.engines import raster
from avatar.engines.head_warp import smoothstep
from avatar.engines.raster import SKIN
from avatar.errors import ModelFileError
from avatar.portrait.fit import LANDMARKS

FILE = "folds.npz"
FRAME = (152, 128)
"""Height and width of the mean face's frame."""
GRID = 128
"""Cells of the portrait's box a side."""
_THRESHOLD = 0.004
"""Sum of weights below which nothing is drawn: no map reaches a grey level there."""
_MOST = 0.7
"""Largest |log ratio|, so that folds of shapes that meet never blacken."""

FOLDS: Mapping[str, tuple[tuple[str, float], ...]] = {
    "smile": (("mouthSmile", 1.0),),
    "squint": (("eyeSquint", 0.7), ("cheekSquint", 0.7)),
    "crows_feet": (("mouthSmile", 0.5), ("eyeSquint", 0.3), ("cheekSquint", 0.7)),
    "upper_lip": (("mouthUpperUp", 1.0),),
    "sneer": (("noseSneer", 1.0), ("mouthUpperUp", 0.15)),
    "brow_inner_up": (("browInnerUp", 1.0),),
    "brow_outer_up": (("browOuterUp", 1.0),),
    "brow_down": (("browDown", 1.0),),
    "chin": (("mouthShrugLower", 1.0),),
}
"""Map -> the ARKit shapes (without side) that bring it, and by how much; their sum counts up to 1."""


def fold_weights(arkit: F32, names: Sequence[str] = tuple(FOLDS)) -> F32:
    """(n, 2): how much of each map shows on the subject's right and left, in [0, 1], for ``arkit`` (52,)."""
    return np.minimum(_mixer(names) @ arkit, 1).reshape(-1, 2).astype(np.float32)


def _mixer(names: Sequence[str]) -> F32:
    """(2 n, 52): what :func:`fold_weights` multiplies with."""
    made = np.zeros((2 * len(names), len(INDEX)), np.float32)
    for i, name in enumerate(names):
        for shape, share in FOLDS[name]:
            for side, word in enumerate(("Right", "Left")):
                made[2 * i + side, INDEX[shape if shape in INDEX else shape + word]] = share
    return made


@dataclass(frozen=True)
class MeanFace:
    """The frame that maps of all faces share."""

    points: F32
    """(468, 2) the landmarks in pixels of the frame (:data:`FRAME`), mirror-symmetric about its middle column."""
    triangles: np.ndarray
    """(t, 3) int32, clockwise in the picture."""

    def lay(self, at: F32, values: F32, shape: tuple[int, int]) -> tuple[F32, np.ndarray]:
        """``values`` (468, 2) interpolated (h, w, 2) in a picture whose landmarks are ``at`` (468, 2), and where (h, w)
        there is a face."""
        points, attributes = np.zeros((2, LANDMARKS, 3), np.float32)
        points[:, :2], attributes[:, :2] = at, values
        depth, made = np.empty(shape, np.float32), np.zeros((*shape, 3), np.float32)
        shown = np.empty(shape, np.uint8)
        kinds = np.full(len(self.triangles), SKIN, np.uint8)
        raster.rasterize(points, attributes, self.triangles, kinds, len(kinds), depth, made, shown)
        return np.ascontiguousarray(made[..., :2]), shown == SKIN

    def bring(self, picture: F32, landmarks: F32) -> F32:
        """A picture (h, w) or (h, w, 3) in the frame."""
        source, _ = self.lay(self.points, landmarks[:LANDMARKS, :2], FRAME)
        return np.asarray(cv2.remap(picture, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    @property
    def inside(self) -> np.ndarray:
        """(h, w): the face."""
        return self.lay(self.points, self.points, FRAME)[1]


def log_luminance(face: MeanFace, rgb: U8, landmarks: F32) -> F32:
    """(h, w) of the frame: logarithm of the picture's luminance; black is not infinitely dark."""
    width = float(np.ptp(landmarks[:LANDMARKS, 0])) / FRAME[1]
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), max(0.5, 0.5 * width))
    return face.bring(np.log(smooth + 10), landmarks)


def log_ratio(face: MeanFace, drawn: tuple[U8, F32], real: tuple[U8, F32]) -> F32:
    """(h, w) of the frame: what must be added to the log luminance of a drawn face to make it the real one.

    Learning is made of these.

    :param drawn, real: picture (h, w, 3) and its landmarks (468 or more, 2 or 3).
    """
    return log_luminance(face, *real) - log_luminance(face, *drawn)


def band(ratios: F32, inside: np.ndarray, coarse: float, fine: float = 0.7) -> F32:
    """(n, h, w) without each picture's general tone, and without structures larger than ``coarse`` or smaller than
    ``fine`` (sigmas in pixels): no shading of the whole face, no pores."""
    mask = inside.astype(np.float32)
    cover = cv2.GaussianBlur(mask, (0, 0), coarse) + 1e-3
    made = np.empty_like(ratios, np.float32)
    for out, ratio in zip(made, ratios, strict=True):
        level = (ratio - np.median(ratio[inside])) * mask
        detail = level - cv2.GaussianBlur(level, (0, 0), coarse) / cover
        out[:] = cv2.GaussianBlur(detail * mask, (0, 0), fine)
    return made


@dataclass(frozen=True)
class FoldMaps:
    """The learnt maps."""

    face: MeanFace
    names: tuple[str, ...]
    """Keys of :data:`FOLDS`."""
    maps: F32
    """(n, h, w) log ratios at full weight."""
    lined: np.ndarray
    """(n,) True where the strength goes with how lined the skin is."""
    skin: F32
    """(h, w): where the maps reach, 1 on plain skin, 0 on eyes, lips and brows."""

    @classmethod
    def load(cls, path: Path) -> FoldMaps:
        """Raises ModelFileError."""
        try:
            with np.load(path, allow_pickle=False) as file:
                maps = file["maps"].astype(np.float32) * file["scale"].astype(np.float32)[:, None, None]
                names = tuple(str(name) for name in file["names"])
                face = MeanFace(file["points"].astype(np.float32), file["triangles"].astype(np.int32))
                lined = file["lined"].astype(bool)
                skin = file["skin"].astype(np.float32) / 255
        except (OSError, ValueError, KeyError) as error:
            raise ModelFileError(f"{path} is not readable: install the package again") from error
        if strange := sorted(set(names) - set(FOLDS)):
            raise ModelFileError(f"{path} has an unknown map {strange[0]!r}: install the package again")
        return cls(face, names, maps, lined, skin)


@njit(nogil=True, cache=True, fastmath=True)
def _add_up(maps, weights, most, grid):
    """exp of the weighted sum of ``maps`` (n, g, g) into ``grid`` (g, g)."""
    g = len(grid)
    one = np.float32(1)
    for j in range(g):
        line = grid[j]
        for i in range(g):
            line[i] = np.float32(0)
        for k in range(len(weights)):
            w = weights[k]
            if w == 0:
                continue
            source = maps[k, j]
            for i in range(g):
                line[i] += w * source[i]
        for i in range(g):
            # Within `most` this is exp to half a percent, and it is smooth.
            v = min(most, max(-most, line[i])) * np.float32(0.25)
            e = one + v * (one + v * np.float32(0.5))
            e *= e
            line[i] = e * e


@njit(nogil=True, cache=True, fastmath=True)
def _multiply(picture, sources, shown, box, scale_x, scale_y, x0, y0, grid):
    """Skin inside ``box`` (x0, y0, x1, y1) of ``picture`` (s, s, 3) times ``grid`` at its texel in ``sources``."""
    last = np.float32(len(grid) - 1)
    zero, unit, least = np.float32(0), np.float32(4096), np.float32(2)
    for y in range(box[1], box[3]):
        kinds, texels, pixels = shown[y], sources[y], picture[y]
        for x in range(box[0], box[2]):
            if kinds[x] != SKIN:
                continue
            u = (texels[x, 0] - x0) * scale_x
            v = (texels[x, 1] - y0) * scale_y
            if u < zero or v < zero or u >= last or v >= last:
                continue
            # Unsigned: the compiler need not think of indices that count from the end.
            i, j = np.uint32(u), np.uint32(v)
            u -= np.float32(i)
            v -= np.float32(j)
            upper, lower = grid[j], grid[j + np.uint32(1)]
            a, b = upper[i], lower[i]
            a += u * (upper[i + np.uint32(1)] - a)
            b += u * (lower[i + np.uint32(1)] - b)
            f = (a + v * (b - a)) * unit
            if abs(f - unit) < least:
                continue
            # In whole numbers, which is faster: twelve bits of fraction are finer than the picture's eight.
            m = np.int32(f)
            for c in range(3):
                pixels[x, c] = min(np.int32(255), (np.int32(pixels[x, c]) * m + np.int32(2048)) >> np.int32(12))


OwnMaps = Callable[[FoldMaps, F32, F32], tuple[F32, F32]]


class Folds:
    """Draws the folds of one portrait.

    :param portrait: (s, s, 3), and :param landmarks: (478, 3) in its pixels.
    :param texels: pixels of the map's sources in one of the portrait.
    :param own: makes, of the maps, of where there is bare skin and of the maps' strengths, more maps (k, h, w) and what
        the shapes' weights are multiplied with for their right and left sides (2 k, 52).
    """

    def __init__(self, maps: FoldMaps, portrait: U8, landmarks: F32, texels: float, own: OwnMaps | None = None) -> None:
        self._mixer = _mixer(maps.names)
        face, points = maps.face, landmarks[:LANDMARKS, :2].astype(np.float32)
        skin = bare_skin(maps, portrait, landmarks)
        strength = np.where(maps.lined, lines(maps, portrait, landmarks, skin), 1.0).astype(np.float32)
        shaped = maps.maps * skin[None] * strength[:, None, None]
        if own is not None:
            more, mixer = own(maps, skin, strength)
            shaped, self._mixer = np.concatenate([shaped, more]), np.concatenate([self._mixer, mixer])

        low, high = points.min(0), points.max(0)
        step = (GRID - 1) / (high - low)
        source, inside = face.lay((points - low) * step, face.points, (GRID, GRID))
        source[~inside] = -1e4
        middle = (FRAME[1] - 1) / 2
        # The two halves of the face meet in a soft middle, or a one-sided smile would end at a line.
        left = np.clip(0.5 + (source[..., 0] - middle) / 12, 0, 1)
        laid = [cv2.remap(m, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) for m in shaped]
        self._maps = np.stack([half for m in laid for half in (m * (1 - left), m * left)]).astype(np.float32)
        self._grid = np.empty((GRID, GRID), np.float32)
        self._origin = (np.float32(low[0] * texels), np.float32(low[1] * texels))
        self._step = (np.float32(step[0] / texels), np.float32(step[1] / texels))

    def draw(self, picture: U8, sources: F32, shown: np.ndarray, box: tuple[int, int, int, int], weights: F32) -> None:
        """Into ``picture`` (s, s, 3), in place.

        :param sources: (s, s, 2) each pixel's texel; :param shown: (s, s) what it shows; :param box: x0, y0, x1, y1 of
            the face; :param weights: (52,) of the shapes.
        """
        folds = np.clip(self._mixer @ weights, np.float32(-1), np.float32(1))
        if np.abs(folds).sum() < _THRESHOLD:
            return
        _add_up(self._maps, folds, np.float32(_MOST), self._grid)
        _multiply(picture, sources, shown, box, *self._step, *self._origin, self._grid)


def bare_skin(maps: FoldMaps, portrait: U8, landmarks: F32) -> F32:
    """(h, w) of the frame, 1 where the portrait shows bare skin, 0 on hair, glasses, beards and what else is darker, or
    finer in structure, than the skin around it. Eyes, lips and brows themselves count as skin: no map reaches them."""
    face = maps.face
    grey = log_luminance(face, portrait, landmarks)
    around = _wide_median(grey, face.inside)
    dark = smoothstep(0.35, 0.60, around - grey)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    thin = smoothstep(0.22, 0.40, cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, disc))
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    plain = maps.skin > 0.5
    rough = smoothstep(0.055, 0.11, np.sqrt(_mean_where(fine * fine, plain, 3.0)))
    covered = np.maximum(dark, np.maximum(thin, rough)) * maps.skin
    covered = cv2.dilate(covered, np.ones((3, 3), np.uint8))
    return np.asarray(1 - np.clip(cv2.GaussianBlur(covered, (0, 0), 2.0) * 1.3, 0, 1), np.float32)


def _mean_where(values: F32, where: np.ndarray, sigma: float) -> F32:
    """(h, w): weighted mean of what lies around and in ``where``."""
    share = where.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(values * share, (0, 0), sigma) / (cv2.GaussianBlur(share, (0, 0), sigma) + 0.05))


def lines(maps: FoldMaps, portrait: U8, landmarks: F32, skin: F32) -> float:
    """How strong lines are on this skin, 0.6 to 1.3: what is lined at rest is lined more in motion."""
    return float(np.interp(linedness(maps, portrait, landmarks, skin), _LINED, (0.6, 1.3)))


def linedness(maps: FoldMaps, portrait: U8, landmarks: F32, skin: F32) -> float:
    """Median size of what is as wide as lines, in log luminance, on forehead and cheeks; ``skin`` (h, w) says where."""
    grey, points = log_luminance(maps.face, portrait, landmarks), maps.face.points
    detail = cv2.GaussianBlur(grey, (0, 0), 0.8) - cv2.GaussianBlur(grey, (0, 0), 2.5)
    brows, eyes = points[[105, 334], 1].mean(), points[[33, 263], 1].mean()
    yy, xx = np.mgrid[: FRAME[0], : FRAME[1]]
    cheeks = (yy > eyes + 10) & (yy < eyes + 35) & (np.abs(xx - (FRAME[1] - 1) / 2) > 15)
    region = (skin > 0.9) & (maps.skin > 0.9) & ((yy < brows - 5) | cheeks)
    if region.sum() < _ENOUGH:
        return _LINED[0]
    return float(np.median(np.abs(detail[region])))


_ENOUGH = 200
"""Pixels of bare skin that say something of it."""
_LINED = (0.006, 0.020)
""":func:`linedness` of smooth and of deeply lined faces. Of 82 real people, most of them young, half lie between .0069
and .0105."""


def _wide_median(grey: F32, inside: np.ndarray) -> F32:
    """Of the face's tones in the wider neighbourhood of each pixel; outside of the face counts as its median."""
    filled = np.where(inside, grey, np.median(grey[inside]))
    small = cv2.resize(filled, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(small.max()) + 1e-3
    bytes_ = np.round((small - low) / (high - low) * 255).astype(np.uint8)
    middle = cv2.medianBlur(bytes_, 15).astype(np.float32) / 255 * (high - low) + low
    return np.asarray(cv2.resize(middle, (FRAME[1], FRAME[0]), interpolation=cv2.INTER_LINEAR), np.float32)
