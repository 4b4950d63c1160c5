"""Closed lids: skin that slides over the eyeball from beneath the fold, and the lashes on its edge.

Everything is laid out in an eye's own frame: ``s`` runs from its left to its right corner (0 to 1), ``r`` across, down,
in the same unit, the width of the eye.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from scipy.interpolate import CubicSpline

from avatar.core.types import F32, U8
from avatar.engines.head_warp import smoothstep
from avatar.engines.raster import EYE, SKIN
from avatar.portrait.fit import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE

S_RANGE, R_RANGE = (-0.4, 1.4), (-0.85, 0.75)
"""What the skin's texture covers."""
_DENSITY = 96
"""Texels per width of the eye."""
_CURVE = 73
"""Points of a curve over :data:`S_RANGE`."""
_LASH_ROWS, _LASH_FROM, _LASH_TO = 40, -0.05, 0.20
"""Rows of the lashes' texture, and what they cover across the line of lashes."""
_FOLD, _FOLD_FROM = 0.26, 0.40
"""Height of the band in which the new skin begins, and how far over the open eye's upper lid that band starts."""
_LOW = 0.18
"""So far under the open eye's lower lid the line of lashes comes to lie when shut."""
_BELOW = 0.15
"""So far below the line of lashes the open eye's lower rim is painted over."""
_CREASE_AT, _CREASE = 0.12, 0.07
"""The fold of a shut lid: how far over the open eye's upper lid, and how much darker."""
_TO_CHEEK, _RING_COLOUR = 0.8, 0.9
"""Share of the way to the cheek's brightness, and to the typical colour of the skin right around the eye."""
_LOCAL = 0.85
"""How much of what a smooth tone misses of the skin next to the eye is continued over it."""
_MOST_LIFT = 0.3
"""Largest change of the logarithm of brightness on the way to the cheek: a lid in deep shade stays in it."""
_UNDER, _LINES, _MOST_LINED, _MOST_SHINING = 0.14, 0.10, 0.25, 0.05
"""Lines under the eye: where they begin below its lower lid (lashes end), how broad, dark and bright they may be."""
_DONORS = {"Right": 50, "Left": 280}
"""Landmarks of the cheek, from whose skin the grain comes."""
_PATCHES = (50, 280, 205, 425, 101, 330, 151)
"""Landmarks on cheeks and forehead, where skin is bare on most faces."""
_S = np.linspace(*S_RANGE, _CURVE).astype(np.float32)
_SPLINE = CubicSpline(np.linspace(0, 1, 9), np.eye(9))(np.linspace(0, 1, 33)).astype(np.float32)
"""From the nine points of a lid's edge to a fine curve."""


@njit(nogil=True, cache=True, fastmath=True)
def _bilinear(texture, x, y, channel):
    x = min(max(x, np.float32(0)), np.float32(texture.shape[1] - 1.001))
    y = min(max(y, np.float32(0)), np.float32(texture.shape[0] - 1.001))
    i, j = int(x), int(y)
    tx, ty = x - i, y - j
    upper = texture[j, i, channel] + tx * (texture[j, i + 1, channel] - texture[j, i, channel])
    lower = texture[j + 1, i, channel] + tx * (texture[j + 1, i + 1, channel] - texture[j + 1, i, channel])
    return upper + ty * (lower - upper)


@njit(nogil=True, cache=True, fastmath=True)
def _ramp(low, high, x):
    t = min(np.float32(1), max(np.float32(0), (x - low) / (high - low)))
    return t * t * (np.float32(3) - np.float32(2) * t)


@njit(nogil=True, cache=True, fastmath=True)
def _draw_lid(picture, shown, box, frame, curves, skin, lash, look, colour):
    """Lay lid and lashes over the pixels of ``box`` (x0, y0, x1, y1).

    ``frame`` (2, 3) maps pixels to s, r. ``curves`` (n, 4) over S_RANGE: the fold's upper edge, its height, the line of
    lashes, and that line when shut. ``skin`` (h, w, 3) over S_RANGE x R_RANGE and ``lash`` (rows, w, 1) are float32.
    ``look``: strength of the lid, cover of slivers of the eyeball, opacity of the lashes, and of the skin below.
    """
    s0, s_step = np.float32(S_RANGE[0]), np.float32((_CURVE - 1) / (S_RANGE[1] - S_RANGE[0]))
    r0, dense = np.float32(R_RANGE[0]), np.float32(_DENSITY)
    lash_dense = np.float32((_LASH_ROWS - 1) / (_LASH_TO - _LASH_FROM))
    one = np.float32(1)
    for y in range(box[1], box[3]):
        for x in range(box[0], box[2]):
            kind = shown[y, x]
            if kind != SKIN and kind != EYE:
                continue
            s = frame[0, 0] * x + frame[0, 1] * y + frame[0, 2]
            r = frame[1, 0] * x + frame[1, 1] * y + frame[1, 2]
            k = (s - s0) * s_step
            if k < 0 or k >= len(curves) - 1:
                continue
            i = int(k)
            t = k - i
            top = curves[i, 0] + t * (curves[i + 1, 0] - curves[i, 0])
            fold = curves[i, 1] + t * (curves[i + 1, 1] - curves[i, 1])
            edge = curves[i, 2] + t * (curves[i + 1, 2] - curves[i, 2])
            shut = curves[i, 3] + t * (curves[i + 1, 3] - curves[i, 3])
            below = r - edge
            sides = _ramp(np.float32(-0.22), np.float32(0.0), s) * _ramp(np.float32(-1.22), np.float32(-1.0), -s)
            alpha = look[0] * sides * _ramp(top, top + fold, r)
            if below > 0:
                alpha *= look[3] * (one - _ramp(np.float32(0.02), np.float32(_BELOW), below))
            if kind == EYE:
                alpha = max(alpha, look[1])
            if alpha > 0:
                u, v = (s - s0) * dense, (r + shut - edge - r0) * dense
                for c in range(3):
                    value = picture[y, x, c] * (one - alpha) + _bilinear(skin, u, v, c) * alpha
                    picture[y, x, c] = np.uint8(min(np.float32(255), value + np.float32(0.5)))
            if look[2] > 0 and below > np.float32(_LASH_FROM) and below < np.float32(_LASH_TO):
                cover = look[2] * _bilinear(lash, (s - s0) * dense, (below - np.float32(_LASH_FROM)) * lash_dense, 0)
                for c in range(3):
                    picture[y, x, c] = np.uint8(picture[y, x, c] * (one - cover) + colour[c] * cover + np.float32(0.5))


class Lid:
    """The closed lid of one eye. ``landmarks`` (478, 3) in pixels of ``portrait``; ``side`` is the subject's."""

    def __init__(self, portrait: U8, landmarks: F32, side: str, lash_colour: F32, lash_opacity: float) -> None:
        contour = landmarks[list(LEFT_EYE if side == "Left" else RIGHT_EYE), :2]
        to_local = eye_frame(contour)
        local = contour @ to_local[:, :2].T + to_local[:, 2]
        brow = landmarks[list(LEFT_BROW if side == "Left" else RIGHT_BROW), :2] @ to_local[:, :2].T + to_local[:, 2]
        self._upper = _curve(local[:9])
        self._lower = _curve(local[[0, *range(15, 7, -1)]])
        self._top, self._fold = _fold_band(self._upper, brow)
        self._middle = np.sqrt(np.clip(4 * _S * (1 - _S), 0, 1))
        self._skin = _skin(portrait, landmarks, side, to_local, brow, self._upper, self._lower)
        self._lash = _lashes(side)
        self._colour = np.asarray(lash_colour, np.float32)
        self._opacity = float(lash_opacity)
        knots = np.linspace(0, 1, 9)
        cubic = np.vander(knots, 4)
        self._smooth = (cubic @ np.linalg.pinv(cubic)).astype(np.float32)

    def draw(self, picture: U8, shown: np.ndarray, contour: F32, closed: float, lowered: float) -> None:
        """Change ``picture`` in place. ``contour`` (16, 2) is where the eye is now; ``closed``: 1 is shut; ``lowered``:
        the upper lid's share of it. Only that lid brings new skin out of its fold."""
        strength = float(smoothstep(0.08, 0.45, lowered))
        if strength <= 0:
            return
        frame = eye_frame(contour)
        upper = contour[:9]
        # Shut lids meet in one smooth curve, whatever the corners of the open eye look like.
        upper = upper + strength * (self._smooth @ upper - upper)
        edge = _curve(upper @ frame[:, :2].T + frame[:, 2])
        shut = float(smoothstep(0.7, 0.97, closed))
        edge += np.float32(shut * _LOW) * self._middle
        curves = np.stack([self._top, self._fold, edge, self._lower], axis=1)
        width = float(np.hypot(*(contour[8] - contour[0])))
        size = picture.shape[0]
        low = np.clip(np.floor(contour.min(0) - np.array((0.25, 0.6)) * width).astype(int), 1, size - 2)
        high = np.clip(np.ceil(contour.max(0) + np.array((0.25, 0.25)) * width).astype(int), 1, size - 2)
        look = np.array((strength, shut, self._opacity * strength, shut), np.float32)
        box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        _draw_lid(picture, shown, box, frame, curves, self._skin, self._lash, look, self._colour)


def eye_frame(contour: F32) -> F32:
    """(2, 3) from pixels to the frame of an eye with this contour (16, 2)."""
    first, last = contour[0], contour[8]
    along = (last - first) / max(1e-6, float(((last - first) ** 2).sum()))
    matrix = np.array(((along[0], along[1]), (-along[1], along[0])))
    return np.c_[matrix, -matrix @ first].astype(np.float32)


def _curve(points: F32) -> F32:
    """A lid's edge (9, 2), left to right, as r at every point of the grid (n,); beyond the corners it runs on level."""
    fine = _SPLINE @ points
    return np.interp(_S, np.maximum.accumulate(fine[:, 0]), fine[:, 1]).astype(np.float32)


def _fold_band(upper: F32, brow: F32) -> tuple[F32, F32]:
    """Upper edge and height (n,) of the band in which the new skin begins. It stays below the ``brow`` (10, 2)."""
    edge = brow[5:][np.argsort(brow[5:, 0])]  # the five landmarks of its lower edge
    top = np.maximum(upper - _FOLD_FROM, np.interp(_S, edge[:, 0], edge[:, 1]))
    top = np.minimum(top, upper - 0.10)
    return top.astype(np.float32), np.clip(upper + 0.02 - top, 0.10, _FOLD).astype(np.float32)


# --- the lid's skin -------------------------------------------------------------------------------------------------


def _skin(portrait: U8, landmarks: F32, side: str, to_local: F32, brow: F32, upper: F32, lower: F32) -> F32:
    """Texture (h, w, 3) of the shut lid: the tone of the skin around the eye, the cheek's grain, the ball's shading."""
    width = round((S_RANGE[1] - S_RANGE[0]) * _DENSITY)
    height = round((R_RANGE[1] - R_RANGE[0]) * _DENSITY)
    along = (S_RANGE[0] + np.arange(width) / _DENSITY).astype(np.float32)
    across = (R_RANGE[0] + np.arange(height) / _DENSITY).astype(np.float32)
    s, r = np.meshgrid(along, across)
    back = np.linalg.inv(np.vstack([to_local, (0, 0, 1)]))[:2].astype(np.float32)

    def pixels(ds: float = 0.0, dr: float | F32 = 0.0) -> F32:
        """The portrait (h, w, 3) over the texture's frame, moved by ``ds``, ``dr``."""
        x = back[0, 0] * (s + ds) + back[0, 1] * (r + dr) + back[0, 2]
        y = back[1, 0] * (s + ds) + back[1, 1] * (r + dr) + back[1, 2]
        return cv2.remap(portrait, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)

    photo = pixels()
    upper_at, lower_at = (np.interp(s[0], _S, c)[None, :] for c in (upper, lower))
    tone = _tone(photo, s, r, upper_at, lower_at, brow, skin_colour(portrait, landmarks))
    tone *= np.exp(_wrinkles(pixels, r, lower_at) + _grain(pixels, landmarks, side, to_local))[..., None]
    shade = _shading(s, r, upper_at, lower_at)
    return np.clip(tone * shade[..., None], 0, 255).astype(np.float32)


def skin_colour(portrait: U8, landmarks: F32) -> F32:
    """Typical colour (3,) of the face's skin: logarithms of RGB less their mean; light and shade do not count."""
    reach = max(1, round(0.04 * float(np.hypot(*(landmarks[33, :2] - landmarks[263, :2])))))
    found = []
    for x, y in np.clip(np.round(landmarks[list(_PATCHES), :2]).astype(int), reach, len(portrait) - 1 - reach):
        patch = portrait[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3)
        logs = np.log(np.maximum(np.median(patch, axis=0), 2.0))
        found.append(logs - logs.mean())
    return np.median(found, axis=0).astype(np.float32)


def _tone(photo: F32, s: F32, r: F32, upper: F32, lower: F32, brow: F32, skin: F32) -> F32:
    """Smooth colour (h, w, 3) of the skin around the eye, continued over it. ``skin``: :func:`skin_colour`."""
    grey = photo.mean(2)
    in_eye = (s > -0.1) & (s < 1.1) & (r > upper - 0.07) & (r < lower + 0.07)
    hull = cv2.convexHull(((brow - (S_RANGE[0], R_RANGE[0])) * _DENSITY).astype(np.float32))
    in_brow = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(in_brow, np.round(hull).astype(np.int32), 1)
    in_brow = cv2.dilate(in_brow, np.ones((7, 7), np.uint8)) > 0
    near = ~in_eye & ~in_brow & (s > -0.2) & (s < 1.2) & (r > brow[:, 1].max() - 0.15) & (r < lower + 0.35)
    if near.sum() < 50:
        return np.full_like(photo, photo.mean((0, 1)))
    # Lashes, brows and rims of glasses are darker than the skin around the eye, highlights on glasses brighter.
    typical = float(np.median(grey[near]))
    good = near & (grey > 0.62 * typical) & (grey < 1.6 * typical)
    terms = np.stack([np.ones_like(s), s - 0.5, r, (s - 0.5) ** 2], axis=-1)
    logs = np.log(np.maximum(photo, 2.0))
    for _ in range(3):
        x, y = terms[good], logs[good]
        solved = np.linalg.solve(x.T @ x + np.diag((0.0, 1, 1, 1)) * 0.02 * len(x), x.T @ y)
        fit = terms @ solved
        off = np.abs(logs - fit).mean(2)
        good = near & (off < max(0.06, 2.0 * float(np.median(off[good]))))
    known = (good & ~in_eye).astype(np.float32)
    local, weight = np.zeros_like(photo), np.full(grey.shape, 1e-4, np.float32)
    for sigma, trust in ((0.05, 1.0), (0.12, 0.1), (0.3, 0.01)):
        blur = cv2.GaussianBlur(known, (0, 0), sigma * _DENSITY) * trust
        local += cv2.GaussianBlur((logs - fit).astype(np.float32) * known[..., None], (0, 0), sigma * _DENSITY) * trust
        weight += blur
    logs_seen, logs = logs, fit + _LOCAL * local / weight[..., None]
    # Deep-set and painted lids lie in shade while the eye is open; shut, they bulge into the light of the cheek.
    cheek = ~in_eye & (s > 0.0) & (s < 1.0) & (r > lower + 0.2)
    bright = np.log(np.maximum(np.median(photo[cheek], axis=0), 2.0))
    ring = good & (s > 0.0) & (s < 1.0) & (r < lower + 0.25)
    ringed = np.median(logs_seen[ring if ring.sum() > 20 else good], axis=0)
    # Shade and eyeshadow are greyer than skin, and so is a shining cheek: the more colourful one is skin.
    colour = max((ringed - ringed.mean(), bright - bright.mean()), key=lambda c: float(np.ptp(c)))
    colour = (colour + skin) / 2  # one side's coloured light or make-up would make two different lids
    height = logs.mean(2, keepdims=True)
    logs += _RING_COLOUR * (colour - (logs - height))
    covered = in_eye & (s > 0.1) & (s < 0.9)
    lift = min(_MOST_LIFT, _TO_CHEEK * max(0.0, float(bright.mean() - height[covered].mean())))
    round_s = np.clip(1 - np.abs((s - 0.5) / 0.72) ** 3, 0, 1)
    round_r = np.exp(-(((r - 0.4 * upper - 0.6 * lower) / np.maximum(0.30, lower - upper)) ** 2))
    return np.exp(logs + (lift * round_s * round_r)[..., None]).astype(np.float32)


def _grain(pixels, landmarks: F32, side: str, to_local: F32) -> F32:
    """Relative change of brightness (h, w) by the cheek's fine texture, without what is no skin."""
    at = landmarks[_DONORS[side], :2] @ to_local[:, :2].T + to_local[:, 2]
    donor = pixels(float(at[0]) - 0.5, float(at[1]) + 0.05).mean(2)
    smooth = cv2.GaussianBlur(donor, (0, 0), 0.06 * _DENSITY)
    detail = donor / np.maximum(smooth, 4.0) - 1
    typical = 1.48 * float(np.median(np.abs(detail))) + 1e-4
    limit = min(0.09, 2.5 * typical)
    detail = limit * np.tanh(detail / limit)
    return (0.45 * detail).astype(np.float32)


def _wrinkles(pixels, r: F32, lower: F32) -> F32:
    """Logarithm of relative brightness (h, w): the lines under the eye, mirrored at its lower lid. What is hidden in
    the fold is as old as what lies under the eye, and is lined the same way."""
    grey = np.maximum(pixels(0.0, (2 * (lower - r) + _UNDER).astype(np.float32)).mean(2), 4.0)
    detail = np.log(grey) - np.log(cv2.GaussianBlur(grey, (0, 0), _LINES * _DENSITY))
    limit = min(_MOST_LINED, 2.5 * (1.48 * float(np.median(np.abs(detail))) + 1e-4))
    lines = limit * np.tanh(detail / limit)
    return np.minimum(lines, _MOST_SHINING * np.tanh(lines / _MOST_SHINING)).astype(np.float32)


def _shading(s: F32, r: F32, upper: F32, lower: F32) -> F32:
    """Light (h, w) on the lid: brightest over the ball, darker in the fold, towards the corners and at the lashes."""
    span = np.maximum(lower - upper, 0.05)
    t = (r - upper) / np.maximum(span, 0.6 * span.max())
    across = np.clip(1 - ((s - 0.5) / 0.62) ** 2, 0, 1)
    bulge = np.exp(-(((t - 0.42) / 0.42) ** 2)) * across
    fold = np.exp(-(((r - upper + _CREASE_AT) / 0.05) ** 2)) * np.sqrt(across)
    rim = np.exp(-np.clip((lower - r) / 0.09, 0, 9)) * (0.4 + 0.6 * across)
    lower_half = np.clip(t, 0, 1)  # turns away from the light
    return ((0.99 + 0.15 * bulge - _CREASE * fold - 0.14 * rim) * (1 - 0.14 * lower_half)).astype(np.float32)


# --- the lashes -----------------------------------------------------------------------------------------------------


def _lashes(side: str) -> F32:
    """Cover (rows, w, 1) in [0, 1] of the line of lashes and of what hangs from it; thicker towards the temple."""
    fine = 4
    width = round((S_RANGE[1] - S_RANGE[0]) * _DENSITY)
    rows = _LASH_ROWS * fine
    canvas = np.zeros((rows, width * fine), np.float32)
    per_r = (rows - fine) / (_LASH_TO - _LASH_FROM)

    def place(s: float, d: float) -> tuple[int, int]:
        return round((s - S_RANGE[0]) * _DENSITY * fine * 16), round((d - _LASH_FROM) * per_r * 16)

    rng = np.random.default_rng(3)
    outwards = 1.0 if side == "Left" else -1.0  # the left eye's outer corner is its right one in the picture
    for q in np.linspace(0.08, 1.02, 64):
        q = float(q + rng.normal(scale=0.008))
        length = 0.10 * (0.35 + 0.65 * min(1.0, max(0.0, q)) ** 0.8) * (1 + 0.2 * rng.normal())
        lean = outwards * length * (0.9 * q - 0.25 + 0.12 * rng.normal())
        start = q if side == "Left" else 1 - q
        points = np.array([place(start + lean * k * k, length * k) for k in np.linspace(0, 1, 7)], np.int32)
        hair = np.zeros_like(canvas)
        cv2.polylines(hair, [points[:, None]], False, 0.4, thickness=fine, lineType=cv2.LINE_AA, shift=4)
        canvas = 1 - (1 - canvas) * (1 - hair)
    d = (_LASH_FROM + np.arange(rows) / per_r)[:, None]
    s = S_RANGE[0] + np.arange(width * fine) / (_DENSITY * fine)
    q = s if side == "Left" else 1 - s
    body = np.sqrt(np.clip(np.sin(np.pi * np.clip(0.03 + 0.94 * q, 0, 1)), 0, 1)) * (0.45 + 0.55 * np.clip(q, 0, 1))
    half = 0.010 + 0.044 * body[None, :]
    stroke = np.clip(1.35 - np.abs(d - 0.008) / half, 0, 1) * np.clip(body * 2.2, 0, 1)[None, :]
    canvas = 1 - (1 - canvas) * (1 - stroke.astype(np.float32))
    small = cv2.resize(canvas, (width, _LASH_ROWS), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[..., None].astype(np.float32))
