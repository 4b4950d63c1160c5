"""The picture around the face, and the map for one remap.

Inside the face every pixel's source is known from the z-buffer. Hair, ears and neck follow the head's rigid motion at a
depth that continues the face's edge and falls back to a plane behind it. Where the face moves of itself (a jaw that
opens), the difference is carried over the edge by push-pull (Gortler et al. 1996, section 4) on a coarse grid and soon
dies away. All fades towards the picture's borders and the shoulders, so nothing tears.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from avatar.core.types import F32, U8
from avatar.engines.layers import over
from avatar.engines.raster import EYE, SKIN
from avatar.portrait.fit import FACE_OVAL

GRID = 128
"""Cells a side, about."""
_FAR = 11.0
"""Texels between the sources of neighbours from which on they are different things, not two sides of a fold."""
_EVEN = 0.5
"""Second difference, in texels, below which the map needs no smoothing."""
_SPILL = 0.7
"""Distance from the face's edge, in face half-widths, over which the face's own motion dies away."""
TEXTURE_SCALE = 2
"""The portrait is enlarged this much once, so that a linear remap is as sharp as a cubic one."""


@njit(nogil=True, cache=True, fastmath=True)
def _block_flow(values, shown, cell, rigid, around, flow, cover):
    """How the skin's source differs from rigid motion, mean of each cell times its cover, into ``flow`` (g, g, 2); into
    ``cover`` (g, g, 2) the share of skin, and of anything of the head. One pixel in four is looked at.

    ``rigid`` (2, 4) maps (x, y, 1, depth) to the source; ``around`` (g, g) is the depth.
    """
    height, width = shown.shape
    g = len(flow)
    step = 2
    share = np.float32(step * step) / np.float32(cell * cell)
    for j in range(g):
        for i in range(g):
            a = b = np.float32(0)
            skin = anything = 0
            base_x = rigid[0, 2] + rigid[0, 3] * around[j, i]
            base_y = rigid[1, 2] + rigid[1, 3] * around[j, i]
            for y in range(j * cell, min(height, j * cell + cell), step):
                for x in range(i * cell, min(width, i * cell + cell), step):
                    kind = shown[y, x]
                    if kind == SKIN:
                        a += values[y, x, 0] - (rigid[0, 0] * x + rigid[0, 1] * y + base_x)
                        b += values[y, x, 1] - (rigid[1, 0] * x + rigid[1, 1] * y + base_y)
                        skin += 1
                    if kind != 0:
                        anything += 1
            flow[j, i, 0] = a * share
            flow[j, i, 1] = b * share
            cover[j, i, 0] = min(np.float32(1), skin * share)
            cover[j, i, 1] = min(np.float32(1), anything * share)


@njit(nogil=True, cache=True, fastmath=True)
def _block_depth(points_depth, shown, cell, flow, cover):
    """Mean depth of the skin of each cell, times its cover, into ``flow[..., 0]``."""
    height, width = shown.shape
    g = len(flow)
    for j in range(g):
        for i in range(g):
            total = np.float32(0)
            skin = 0
            for y in range(j * cell, min(height, j * cell + cell)):
                for x in range(i * cell, min(width, i * cell + cell)):
                    if shown[y, x] == SKIN:
                        total += points_depth[y, x]
                        skin += 1
            share = np.float32(1) / np.float32(cell * cell)
            flow[j, i, 0] = total * share
            flow[j, i, 1] = 0
            cover[j, i, 0] = cover[j, i, 1] = skin * share


@njit(nogil=True, cache=True, fastmath=True)
def _combine(filled, smooth, rigid, around, cell, follow, spill, cover, grid):
    """Write the cells of ``grid`` (g, g, 5) for :func:`_write_map` from rigid motion and the face's difference.

    ``follow`` and ``spill`` (g, g): how much of the rigid motion and of the difference is left at each cell.
    """
    g = len(grid)
    half = np.float32(0.5)
    for j in range(g):
        y = (j + half) * cell - half
        for i in range(g):
            x = (i + half) * cell - half
            z = around[j, i]
            flow_x = rigid[0, 0] * x + rigid[0, 1] * y + rigid[0, 2] + rigid[0, 3] * z - x
            flow_y = rigid[1, 0] * x + rigid[1, 1] * y + rigid[1, 2] + rigid[1, 3] * z - y
            grid[j, i, 0] = flow_x * follow[j, i] + smooth[j, i, 0] * spill[j, i]
            grid[j, i, 1] = flow_y * follow[j, i] + smooth[j, i, 1] * spill[j, i]
            grid[j, i, 2] = flow_x + filled[j, i, 0]
            grid[j, i, 3] = flow_y + filled[j, i, 1]
            grid[j, i, 4] = min(np.float32(1), max(np.float32(0), (cover[j, i] - np.float32(0.55)) * np.float32(2.5)))


@njit(nogil=True, cache=True, fastmath=True)
def _push_pull(flow, cover, pyramid, weights, filled):
    """Fill the cells without skin from coarser levels. ``flow`` is premultiplied by ``cover[..., 0]``.

    ``pyramid`` (levels, g, g, 2) and ``weights`` (levels, g, g) are work space; ``filled`` (g, g, 2) is the result.
    """
    g = len(flow)
    levels = len(pyramid)
    for j in range(g):
        for i in range(g):
            pyramid[0, j, i, 0] = flow[j, i, 0]
            pyramid[0, j, i, 1] = flow[j, i, 1]
            weights[0, j, i] = cover[j, i, 0]
    size = g
    quarter = np.float32(0.25)
    for level in range(1, levels):
        size = (size + 1) // 2
        below = (g + (1 << (level - 1)) - 1) >> (level - 1)
        for j in range(size):
            for i in range(size):
                a = b = w = np.float32(0)
                for dj in range(2):
                    for di in range(2):
                        y, x = min(2 * j + dj, below - 1), min(2 * i + di, below - 1)
                        a += pyramid[level - 1, y, x, 0]
                        b += pyramid[level - 1, y, x, 1]
                        w += weights[level - 1, y, x]
                pyramid[level, j, i, 0] = a * quarter
                pyramid[level, j, i, 1] = b * quarter
                weights[level, j, i] = w * quarter
    top = levels - 1
    scale = np.float32(1) / max(weights[top, 0, 0], np.float32(1e-6))
    filled[0, 0, 0] = pyramid[top, 0, 0, 0] * scale
    filled[0, 0, 1] = pyramid[top, 0, 0, 1] * scale
    for level in range(levels - 2, -1, -1):
        fine = (g + (1 << level) - 1) >> level
        coarse = (g + (1 << (level + 1)) - 1) >> (level + 1)
        # Each level is written into the (already used) pyramid, then copied, so that reading is never of the new level.
        for j in range(fine):
            fy = min(max((j - np.float32(0.5)) * np.float32(0.5), np.float32(0)), np.float32(coarse - 1))
            y0 = int(fy)
            y1 = min(y0 + 1, coarse - 1)
            ty = fy - y0
            for i in range(fine):
                fx = min(max((i - np.float32(0.5)) * np.float32(0.5), np.float32(0)), np.float32(coarse - 1))
                x0 = int(fx)
                x1 = min(x0 + 1, coarse - 1)
                tx = fx - x0
                rest = np.float32(1) - min(weights[level, j, i], np.float32(1))
                for c in range(2):
                    upper = filled[y0, x0, c] + tx * (filled[y0, x1, c] - filled[y0, x0, c])
                    lower = filled[y1, x0, c] + tx * (filled[y1, x1, c] - filled[y1, x0, c])
                    pyramid[level, j, i, c] += rest * (upper + ty * (lower - upper))
        for j in range(fine):
            for i in range(fine):
                filled[j, i, 0] = pyramid[level, j, i, 0]
                filled[j, i, 1] = pyramid[level, j, i, 1]


@njit(nogil=True, cache=True, fastmath=True)
def _write_map(values, shown, grid, index, starts, weight, row, scale, out):
    """Source position of every pixel, times ``scale``, into ``out`` (s, s, 2).

    ``grid`` (g, g, 5): outer flow x, y; inner flow x, y; how much of the inner one. ``index``, ``weight`` (s,): cell
    and weight of the next cell for linear interpolation; ``starts`` (g,): first pixel of each cell. ``row`` (g, 5) is
    work space.
    """
    size = len(out)
    g = len(grid)
    one, zero = np.float32(1), np.float32(0)
    for y in range(size):
        j, ty = index[y], weight[y]
        for i in range(g):
            for c in range(5):
                row[i, c] = grid[j, i, c] + ty * (grid[j + 1, i, c] - grid[j, i, c])
        at_y = np.float32(y)
        line = out[y]
        for i in range(g - 1):
            ax, ay, bx, by, a = row[i, 0], row[i, 1], row[i, 2], row[i, 3], row[i, 4]
            dax, day, da = row[i + 1, 0] - ax, row[i + 1, 1] - ay, row[i + 1, 4] - a
            if a <= zero and row[i + 1, 4] <= zero:
                for x in range(starts[i], starts[i + 1]):
                    tx = weight[x]
                    line[x, 0] = (np.float32(x) + ax + tx * dax) * scale
                    line[x, 1] = (at_y + ay + tx * day) * scale
                continue
            dbx, dby = row[i + 1, 2] - bx, row[i + 1, 3] - by
            for x in range(starts[i], starts[i + 1]):
                tx = weight[x]
                at_x = np.float32(x)
                sx = at_x + ax + tx * dax
                sy = at_y + ay + tx * day
                inside = a + tx * da
                kind = shown[y, x]
                if kind == SKIN or kind == EYE:  # noqa: SIM109 - a tuple is slower in a kernel
                    inside *= min(values[y, x, 2], one)
                    ix, iy = values[y, x, 0], values[y, x, 1]
                else:
                    ix, iy = at_x + bx + tx * dbx, at_y + by + tx * dby
                line[x, 0] = (sx + (ix - sx) * inside) * scale
                line[x, 1] = (sy + (iy - sy) * inside) * scale


@njit(nogil=True, cache=True, fastmath=True)
def _smooth_folds(sources, x0, y0, x1, y1, lines):
    """Mean of 3 x 3 over the map's box, in place, except where the sources lie far apart vertically: lids that have met
    would show the eye between them. ``lines`` (3, s, 2) is work space."""
    limit, even = np.float32(_FAR), np.float32(_EVEN)
    ninth = np.float32(1 / 9)
    for y in range(y0, y1):
        line = lines[y % 3]
        for x in range(x0, x1):
            line[x, 0] = sources[y, x, 0]
            line[x, 1] = sources[y, x, 1]
        if y < y0 + 2:
            continue
        a, b, c = lines[(y - 2) % 3], lines[(y - 1) % 3], line
        for x in range(x0 + 1, x1 - 1):
            twice_u, twice_v = b[x, 0] + b[x, 0], b[x, 1] + b[x, 1]
            if (
                abs(a[x, 1] + c[x, 1] - twice_v) < even
                and abs(b[x - 1, 1] + b[x + 1, 1] - twice_v) < even
                and abs(a[x, 0] + c[x, 0] - twice_u) < even
                and abs(b[x - 1, 0] + b[x + 1, 0] - twice_u) < even
            ):
                continue
            u = v = np.float32(0)
            low, high = b[x, 1], b[x, 1]
            for k in range(x - 1, x + 2):
                u += a[k, 0] + b[k, 0] + c[k, 0]
                v += a[k, 1] + b[k, 1] + c[k, 1]
                low = min(low, min(a[k, 1], min(b[k, 1], c[k, 1])))
                high = max(high, max(a[k, 1], max(b[k, 1], c[k, 1])))
            if high - low < limit:
                sources[y - 1, x, 0] = u * ninth
                sources[y - 1, x, 1] = v * ninth


class Warp:
    """Draws the portrait through the z-buffer's map. ``landmarks`` (478, 3) and ``portrait`` are in drawn pixels.

    :param person: (s, s) coverage by the person where that is a layer of its own, which :meth:`put_over` gives before
        anything is drawn: what surrounds the head may then move as it does.
    """

    def __init__(self, portrait: np.ndarray, landmarks: F32, person: U8 | None = None) -> None:
        size = len(portrait)
        self._cell = max(2, round(size / GRID))
        g = -(-size // self._cell)
        levels = max(2, int(np.ceil(np.log2(g))) + 1)
        self._shown: U8 | None = None
        if person is None:  # else :meth:`put_over` comes next, and a tenth of a second would be for nothing
            self._show(cv2.cvtColor(portrait, cv2.COLOR_RGB2RGBA))
        self._behind: U8 | None = None
        self.map = np.empty((size, size, 2), np.float32)
        self._flow = np.empty((g, g, 2), np.float32)
        self._cover = np.empty((g, g, 2), np.float32)
        self._filled = np.empty((g, g, 2), np.float32)
        self._pyramid = np.empty((levels, g, g, 2), np.float32)
        self._weights = np.empty((levels, g, g), np.float32)
        self._grid = np.empty((g, g, 5), np.float32)
        self._row = np.empty((g, 5), np.float32)
        at = np.clip((np.arange(size) + 0.5) / self._cell - 0.5, 0, g - 1)
        self._index = np.minimum(at.astype(np.int32), g - 2)
        self._weight = (at - self._index).astype(np.float32)
        self._starts = np.searchsorted(self._index, np.arange(g)).astype(np.int32)
        self._follow, self._spill = _fading(size, g, self._cell, landmarks, person)
        self._around = np.zeros((g, g), np.float32)
        self._lines = np.empty((3, size, 2), np.float32)
        self._rgba = np.empty((size, size, 4), np.uint8)

    def put_over(self, person: U8, behind: U8) -> None:
        """From now on draw ``person`` (s, s, 4), premultiplied by coverage, over ``behind`` (s, s, 3), which stays."""
        self._show(person)
        self._behind = behind

    def _show(self, rgba: U8) -> None:
        if rgba is not self._shown:
            self.texture, self._shown = _enlarged(rgba), rgba

    @property
    def alpha(self) -> U8:
        """(s, s): coverage of the last picture by what moved."""
        return self._rgba[..., 3].copy()

    def set_depth(self, depth: F32, shown: np.ndarray, behind: float) -> None:
        """Continue the resting face's ``depth`` (s, s; pixels, larger = nearer) outwards, back to ``behind``."""
        _block_depth(depth, shown, self._cell, self._flow, self._cover)
        _push_pull(self._flow, self._cover, self._pyramid, self._weights, self._filled)
        filled = cv2.GaussianBlur(np.ascontiguousarray(self._filled[..., 0]), (0, 0), 2.0)
        self._around[:] = behind + (filled - behind) * self._spill

    def draw(self, values: F32, shown: np.ndarray, rigid: F32, folds: tuple[int, int, int, int]) -> np.ndarray:
        """The moved portrait (size, size, 3), a new array; :attr:`map` holds each pixel's texel.

        :param rigid: (2, 4) maps (x, y, 1, depth) in the picture to x, y in the photo by the head's pose alone.
        :param folds: x0, y0, x1, y1 of the region where skin hides skin: lids, brows, lips. The map is smoothed there,
            or the edges of folds would be jagged.
        """
        _block_flow(values, shown, self._cell, rigid, self._around, self._flow, self._cover)
        _push_pull(self._flow, self._cover, self._pyramid, self._weights, self._filled)
        smooth = cv2.GaussianBlur(self._filled, (0, 0), 2.0)
        cover = cv2.GaussianBlur(self._cover[..., 1], (0, 0), 1.5)
        grid, scale = self._grid, np.float32(TEXTURE_SCALE)
        _combine(self._filled, smooth, rigid, self._around, self._cell, self._follow, self._spill, cover, grid)
        _write_map(values, shown, grid, self._index, self._starts, self._weight, self._row, scale, self.map)
        x0, y0, x1, y1 = folds
        if x1 - x0 > 4 and y1 - y0 > 4:
            _smooth_folds(self.map, x0, y0, x1, y1, self._lines)
        cv2.remap(self.texture, self.map, None, cv2.INTER_LINEAR, dst=self._rgba, borderMode=cv2.BORDER_REPLICATE)
        if self._behind is not None:
            return over(self._rgba, self._behind)
        return cv2.cvtColor(self._rgba, cv2.COLOR_RGBA2RGB)


def _enlarged(rgba: U8) -> U8:
    """``rgba`` (s, s, 4), :data:`TEXTURE_SCALE` times as large. Its even texels are the given pixels, so an unmoved
    picture stays what it was."""
    size = TEXTURE_SCALE * len(rgba)
    matrix = np.diag([float(TEXTURE_SCALE)] * 2 + [1.0])[:2]
    flags, border = cv2.INTER_LANCZOS4, cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(rgba, matrix, (size, size), flags=flags, borderMode=border), np.uint8)


def _fading(size: int, g: int, cell: int, landmarks: F32, person: U8 | None) -> tuple[F32, F32]:
    """How much of the head's rigid motion, and how much of the face's own, each cell (g, g) keeps."""
    oval = landmarks[list(FACE_OVAL), :2]
    centre = oval.mean(0)
    half = np.ptp(oval, axis=0) / 2
    at = (np.arange(g) + 0.5) * cell - 0.5
    dx = (at[None, :] - centre[0]) / half[0]
    dy = (at[:, None] - centre[1]) / half[1]
    # Without a background to drag along, all hair above the ears moves with the head, however high it stands.
    reach = 1.0 if person is None else 1 + smoothstep(0.0, 0.7, -dy)
    above = 1 - smoothstep(1.35, 2.3, np.hypot(dx, dy) / reach)
    below = 1 - smoothstep(1.02, 1.75, np.hypot(dx * 0.75, dy))
    follow = np.where(dy < 0, above, np.minimum(above, below))
    yy, xx = np.meshgrid(at, at, indexing="ij")
    outside = np.array(
        [-cv2.pointPolygonTest(oval, (float(x), float(y)), True) for x, y in zip(xx.ravel(), yy.ravel(), strict=True)]
    ).reshape(g, g)
    spill = 1 - smoothstep(0.0, _SPILL, outside / half[0])
    edge = _border(size, at, cell) if person is None else _cut_off(person, at, cell)
    blurred = [cv2.GaussianBlur(a.astype(np.float32), (0, 0), 2.0) * edge for a in (follow, spill)]
    return blurred[0].astype(np.float32), blurred[1].astype(np.float32)


def _border(size: int, at: np.ndarray, cell: int) -> np.ndarray:
    """(g, g): 0 at the picture's border to 1 inside. ``at`` (g,): the cells' middles."""
    border = smoothstep(0, 1, (np.minimum(at, size - 1 - at) - cell) / (0.10 * size))
    return border[None, :] * border[:, None]


def _cut_off(person: U8, at: np.ndarray, cell: int) -> np.ndarray:
    """(g, g): 0 to 1 with the distance from where the picture's border cuts the person off."""
    size = len(person)
    away = np.ones((size, size), np.uint8)
    for line, covered in ((away[0], person[0]), (away[-1], person[-1]), (away[:, 0], person[:, 0]),
                          (away[:, -1], person[:, -1])):  # fmt: skip
        line[covered > 25] = 0
    distance = cv2.distanceTransform(away, cv2.DIST_L2, 5) if not away.all() else np.full_like(away, 255, np.float32)
    cells = np.clip(np.round(at), 0, size - 1).astype(int)
    return smoothstep(0, 1, (distance[np.ix_(cells, cells)] - cell) / (0.10 * size))


def smoothstep(low: float, high: float, x: np.ndarray | float) -> np.ndarray:
    """0 up to ``low``, 1 from ``high`` on, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
