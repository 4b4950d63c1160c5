"""Engine ``morph``: field morphing between key expressions (Beier & Neely, "Feature-based image metamorphosis", 1992).

Pairs of directed lines PQ (in the picture that is made) and P'Q' (in the source) say where things are. A pixel X has
coordinates along and across each line, and goes where they lead in the source::

    u = (X - P).(Q - P) / |Q - P|^2             v = (X - P).perp(Q - P) / |Q - P|
    X_i' = P' + u (Q' - P') + v perp(Q' - P') / |Q' - P'|

    X' = X + sum_i w_i (X_i' - X) / sum_i w_i   w_i = (length_i^p / (a + distance_i))^b

A morph at t draws the lines at (1 - t) A + t B, warps both pictures onto them and dissolves::

    M(t) = (1 - t) warp(A, t) + t warp(B, t)

Live, A is the photo and the B are key expressions of it (:mod:`.keys`): the lines move as the state's shapes move the
landmarks, and photo and keys are dissolved by their shares.

Limits: every line pulls at every pixel (ghosts where lines run close together, as between lips); a straight way
between two pictures is not how a jaw turns; both sides of the face share most keys' shading; the head turns as a
relief, after the morph.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numba import njit

from avatar.core.types import F32, U8, FaceState, Gaze, Ns, Pose
from avatar.engines.base import Engine
from avatar.engines.classical.keys import BLINKS, draw_keys, shares
from avatar.engines.head import shape_weights
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import (
    FACE_OVAL,
    LEFT_BROW,
    LEFT_LOWER_LID,
    LEFT_UPPER_LID,
    LOWER_INNER_LIP,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_LOWER_LID,
    RIGHT_UPPER_LID,
    UPPER_INNER_LIP,
)

A, B, P = 1.0, 2.0, 0.5
"""The paper's constants: how exactly lines are kept, how soon they lose influence, how much long ones count."""
GRID = 8
"""Pixels from one point of the field to the next: it is smooth."""
_CHAINS: tuple[tuple[int, ...], ...] = (
    (*FACE_OVAL[::3], FACE_OVAL[0]), RIGHT_BROW[:5:2], LEFT_BROW[:5:2], (6, 195, 4), (98, 2, 327), (205, 187),
    (425, 411), *(lids[::2] for lids in (RIGHT_UPPER_LID, RIGHT_LOWER_LID, LEFT_UPPER_LID, LEFT_LOWER_LID)),
    (*OUTER_LIPS[::2], OUTER_LIPS[0]), UPPER_INNER_LIP[::2], LOWER_INNER_LIP[::2],
)  # fmt: skip
LINES = np.array([pair for chain in _CHAINS for pair in pairwise(chain)])
"""(n, 2): landmarks between which lines run."""


@njit(nogil=True, cache=True, fastmath=True)
def _field(starts, ends, starts_from, ends_from, corner, cell, a, power, out):
    """Displacement (h, w, 2) from each grid point of the made picture to the source; :data:`B` is 2."""
    count = len(starts)
    for j in range(out.shape[0]):
        y = np.float32(corner[1] + j * cell)
        for i in range(out.shape[1]):
            x = np.float32(corner[0] + i * cell)
            total = dx = dy = np.float32(0)
            for k in range(count):
                px, py = starts[k, 0], starts[k, 1]
                qx, qy = ends[k, 0] - px, ends[k, 1] - py
                length = qx * qx + qy * qy
                if length < np.float32(1e-6):
                    continue
                rx, ry = x - px, y - py
                u = (rx * qx + ry * qy) / length
                root = np.sqrt(length)
                v = (ry * qx - rx * qy) / root
                if u < 0:
                    distance = np.sqrt(rx * rx + ry * ry)
                elif u > 1:
                    distance = np.sqrt((x - ends[k, 0]) ** 2 + (y - ends[k, 1]) ** 2)
                else:
                    distance = abs(v)
                sx, sy = ends_from[k, 0] - starts_from[k, 0], ends_from[k, 1] - starts_from[k, 1]
                source = max(np.float32(1e-3), np.sqrt(sx * sx + sy * sy))
                weight = root**power / (a + distance)
                weight *= weight
                dx += weight * (starts_from[k, 0] + u * sx - v * sy / source - x)
                dy += weight * (starts_from[k, 1] + u * sy + v * sx / source - y)
                total += weight
            out[j, i, 0] = dx / total
            out[j, i, 1] = dy / total


Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels."""


def field(made: F32, source: F32, size: int, box: Box | None = None) -> F32:
    """(h, w, 2): where each pixel of a picture with landmarks ``made`` (468, 2) lies in one with ``source`` (468, 2).

    :param size: of both pictures; four more lines hold their borders. :param box: the part that is asked for.
    """
    x0, y0, x1, y1 = box or (0, 0, size, size)
    end = size - 1
    border = np.array([((0, 0), (end, 0)), ((end, 0), (end, end)), ((end, end), (0, end)), ((0, end), (0, 0))])
    now, then = (np.concatenate([p[:, :2][LINES], border]).astype(np.float32) for p in (made, source))
    coarse = np.empty((-(-(y1 - y0) // GRID) + 1, -(-(x1 - x0) // GRID) + 1, 2), np.float32)
    starts, ends, before, after = (np.ascontiguousarray(lines[:, k]) for lines in (now, then) for k in (0, 1))
    _field(starts, ends, before, after, (x0, y0), GRID, np.float32(A), np.float32(P), coarse)
    # Grid point i lies on pixel i * GRID of the box.
    matrix = np.array([[GRID, 0, 0], [0, GRID, 0]], np.float64)
    shape = x1 - x0, y1 - y0
    flow = cv2.warpAffine(coarse, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flow[..., 0] += np.arange(x0, x1, dtype=np.float32)[None, :]
    flow[..., 1] += np.arange(y0, y1, dtype=np.float32)[:, None]
    return np.asarray(flow, np.float32)


def warped(picture: U8, source: F32, at: F32, box: Box | None = None) -> U8:
    """``picture`` (s, s, 3) with landmarks ``source`` (468, 2) as it looks with them at ``at``; the part in ``box``."""
    flow = field(at, source, len(picture), box)
    return np.asarray(cv2.remap(picture, flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def between(first: U8, second: U8, points: F32, other: F32, t: float) -> U8:
    """The morph of two pictures (s, s, 3) with landmarks (468, 2) at ``t`` in [0, 1]."""
    at = np.asarray((1 - t) * points[:, :2] + t * other[:, :2], np.float32)
    a, b = warped(first, points, at), warped(second, other, at)
    return np.asarray(cv2.addWeighted(a, 1 - t, b, t, 0), np.uint8)


class MorphEngine(Engine):
    """A photo and its key expressions, morphed by lines. Sizes 256 to 1024."""

    name = "morph"

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        super().__init__(bundle, size, weights)
        engine, self._keys = draw_keys(bundle, size, weights)
        self._plane, self._interior = engine.plane, engine.interior
        self._moves = np.stack([key.displacement for key in self._keys])
        self._parts = [self._part(moves) for moves in self._moves]
        self.render(FaceState(Ns(0), np.full(52, 0.3, np.float32)))

    def render(self, state: FaceState) -> U8:
        weights, yaw, pitch = shape_weights(state)
        share = shares(weights)
        picture = self._morphed(share, self._plane.displaced(weights))
        open_eyes = 1 - float(weights[BLINKS].max())
        gaze = Gaze(yaw * open_eyes, pitch * open_eyes)
        if state.head == Pose() and not (gaze.yaw or gaze.pitch):
            return picture
        return self._plane.draw(np.zeros_like(self._plane.face), state.head, gaze, picture)

    def _part(self, moves: F32) -> tuple[Box, F32]:
        """Where a key is dissolved: the box of what it moves, and a mask (h, w, 1) in it that fades to its edge."""
        size, reach = self.size, 0.16 * self._plane.unit
        far = np.hypot(*moves[:, :2].T)
        points = np.concatenate([self._plane.face[far > 0.25 * far.max(), :2] + m for m in
                                 (0, moves[far > 0.25 * far.max(), :2])])  # fmt: skip
        low = np.clip(points.min(0) - reach, 0, size).astype(int)
        high = np.clip(points.max(0) + reach + 1, 0, size).astype(int)
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.float32)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points - low).astype(np.int32)), 1.0)
        mask = cv2.dilate(mask, np.ones((2 * int(0.45 * reach) + 1,) * 2, np.uint8))
        mask[[0, -1]] = mask[:, [0, -1]] = 0
        mask = cv2.GaussianBlur(mask, (0, 0), 0.2 * reach)[..., None]
        return (int(low[0]), int(low[1]), int(high[0]), int(high[1])), mask

    def _morphed(self, share: F32, moves: F32) -> U8:
        picture = self._plane.portrait
        if not moves.any():
            return picture.copy()
        rest = self._plane.face[:, :2]
        at = np.asarray(rest + moves[:, :2], np.float32)
        made = warped(picture, rest, at)
        for i in np.flatnonzero(share):
            box, mask = self._parts[i]
            key = warped(self._keys[i].picture, rest + self._moves[i][:, :2], at, box)
            part = made[box[1] : box[3], box[0] : box[2]]
            # Laid over each other, the small ones last: a sum would have to be dimmed where keys meet.
            part[:] = part + mask * share[i] * (key.astype(np.float32) - part) + 0.5
        # Half a pair of shut lips before half a row of teeth is a ghost.
        self._interior.lay(made, np.c_[at, self._plane.face[:, 2]].astype(np.float32))
        return made
