"""Default avatars: faces of people who do not exist, each made of several generated portraits by our own morphing.

A composite has the mean shape of its sources, their mean colours at coarse scales, and at fine scales the eyes of one,
the mouth of another and the skin of a third, so that nothing is doubled or washed out. Hair, ears, neck and clothes are
those of the first source, which is bent softly to the new face. The bands are joined by a Laplacian pyramid (Burt &
Adelson 1983); the bending is a radial basis interpolation of the landmarks' displacements.

The sources are the synthetic portraits of the SFHQ-T2I data set (MIT) in ``DATA/faces/t2i``. Recipes name files, so the
result is reproducible.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from avatar.core.types import F32, U8, freeze
from avatar.errors import UsageError
from avatar.models import registry
from avatar.portrait import bundle
from avatar.portrait.checks import EYE_LEFT, EYE_RIGHT, INNER_LIPS, LIPS
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import FACE_OVAL, DetectedFace, LandmarkDetector
from avatar.portrait.onboard import find_face, portrait_square
from avatar.portrait.photo import read_photo
from avatar.portrait.report import report, warnings_of

log = logging.getLogger(__name__)

SIZE = 640
"""Pixels a side. The sources have 60 to 130 pixels between the eyes; more would be empty enlargement."""
MARGIN = 96
"""Pixels around the portrait that are worked on too, so that the bending has no edge in view."""

_BROW_RIGHT = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_BROW_LEFT = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
_TRIM = 3
_LEVELS = 6
_MEAN_SHARE = (0.0, 0.12, 0.35, 0.7, 1.0, 1.0)
"""How far each pyramid level, finest first, is the mean of all sources rather than one source's part."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One composite. Files are names in ``faces/t2i``."""

    name: str
    title: str
    base: str
    """Hair, ears, neck, clothes and background."""
    others: tuple[str, ...]
    eyes: str
    mouth: str
    skin: str
    created: str = "2026-11-23T00:00:00+00:00"
    """Fixed, so that the same sources give the same bytes."""

    @property
    def files(self) -> tuple[str, ...]:
        return (self.base, *self.others)


def _recipe(name: str, base: str, others: str, eyes: str, mouth: str, skin: str) -> Recipe:
    files = tuple(f"{number}.jpg" for number in others.split())
    return Recipe(name, name.capitalize(), f"{base}.jpg", files, f"{eyes}.jpg", f"{mouth}.jpg", f"{skin}.jpg")


RECIPES: tuple[Recipe, ...] = (
    _recipe("iris", "0364", "0345 0337 0447", eyes="0337", mouth="0345", skin="0364"),
    _recipe("ada", "0243", "0004 0350 0431", eyes="0004", mouth="0431", skin="0004"),
    _recipe("lin", "0043", "0166 0137 0041", eyes="0137", mouth="0166", skin="0166"),
    _recipe("ruth", "0383", "0347 0463 0382", eyes="0347", mouth="0382", skin="0383"),
    _recipe("raf", "0081", "0229 0233 0310", eyes="0229", mouth="0081", skin="0233"),
    _recipe("raul", "0158", "0068 0313 0442", eyes="0068", mouth="0313", skin="0158"),
    _recipe("max", "0276", "0313 0314", eyes="0276", mouth="0314", skin="0276"),
    _recipe("noah", "0332", "0018 0407", eyes="0332", mouth="0407", skin="0332"),
    _recipe("sam", "0246", "0173 0407 0018", eyes="0173", mouth="0246", skin="0246"),
)


def build(data: Path, out: Path, names: Sequence[str] = ()) -> list[Path]:
    """Make the default avatars from the portraits in ``data``/faces/t2i and save them as bundles in ``out``.

    :param names: which ones; all where empty.

    Raises UsageError where a source is missing, ModelFileError without the landmarker.
    """
    folder = data / "faces" / "t2i"
    recipes = [r for r in RECIPES if not names or r.name in names]
    missing = sorted({f for r in recipes for f in r.files if not (folder / f).is_file()})
    if missing:
        raise UsageError(f"{folder} lacks {', '.join(missing)}; give the folder that holds faces/t2i with --data")
    made: list[Path] = []
    with LandmarkDetector(registry.path("face_landmarker_v2.task")) as detector:
        glasses = GlassesFinder(registry.weights_dir())
        for recipe in recipes:
            picture = compose(recipe, folder, detector)
            face = find_face(picture, detector)
            frame = glasses.mask(picture, face.landmarks)
            said = report(picture, face, face, {}, 1.0, frame is not None)
            avatar = bundle.AvatarBundle(
                name=recipe.name,
                title=recipe.title,
                portrait=freeze(picture),
                landmarks=face.landmarks,
                coefficients=face.coefficients,
                consent="synthetic",
                created=recipe.created,
                provenance=provenance(recipe),
                warnings=warnings_of(said),
                glasses=frame,
                report=said,
            )
            bundle.save(avatar, out / recipe.name)
            log.info("%s: %s", recipe.name, "; ".join(avatar.warnings) or "no warnings")
            made.append(out / recipe.name)
    return made


def provenance(recipe: Recipe) -> str:
    """Where a composite comes from, for its papers."""
    return (
        "Nobody is pictured. Composite of generated portraits (Stable Diffusion XL, FLUX.1-schnell) of the SFHQ-T2I "
        f"data set (MIT), made by models/data/composites.py from {', '.join(recipe.files)}."
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source, brought into the composite's frame."""

    pixels: F32
    """(SIZE + 2 MARGIN, the same, 3)."""
    points: F32
    """(478, 2) in those pixels."""


def compose(recipe: Recipe, folder: Path, detector: LandmarkDetector) -> U8:
    """The composite of a recipe: (640, 640, 3), RGB, framed like every portrait."""
    layers = [_aligned(folder / file, detector) for file in recipe.files]
    target = _fitted(np.mean([layer.points for layer in layers], axis=0, dtype=np.float32), layers[0].points)
    bent = [_bend(layer, target, keep_outside=i == 0) for i, layer in enumerate(layers)]
    inside = _face_mask(target, bent[0].shape[:2])
    bent = [bent[0], *(_matched(picture, bent[0], inside) for picture in bent[1:])]
    chosen = {part: recipe.files.index(getattr(recipe, part)) for part in ("eyes", "mouth", "skin")}
    picture = _blend(bent, chosen, target, inside)
    return np.ascontiguousarray(picture[MARGIN : MARGIN + SIZE, MARGIN : MARGIN + SIZE])


# --- geometry ----------------------------------------------------------------------------------------------------


def _aligned(file: Path, detector: LandmarkDetector) -> _Layer:
    """A source, turned upright and scaled so that its face has the size and place that it has in a portrait."""
    # The outermost pixels are the border of the sheet that the picture was cut from.
    rgb = np.ascontiguousarray(read_photo(file)[_TRIM:-_TRIM, _TRIM:-_TRIM])
    face = find_face(rgb, detector)
    upright = _rotated(face)
    left, top, side = portrait_square(upright)
    scale = SIZE / side
    angle = np.radians(_tilt(face))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    # The middle of the upright square, turned back into the source, comes to the middle of the portrait.
    middle = np.array((left + side / 2, top + side / 2))
    pivot = face.landmarks[1, :2]
    source_middle = np.linalg.inv(rotation / scale) @ (middle - pivot) + pivot
    shift = np.full(2, MARGIN + SIZE / 2) - rotation @ source_middle
    matrix = np.column_stack([rotation, shift])
    full = SIZE + 2 * MARGIN
    pixels = cv2.warpAffine(rgb, matrix, (full, full), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    # Landmarks of the enlarged picture are finer than the source's, scaled.
    again = detector.detect(pixels)
    points = again[0].landmarks[:, :2] if again else face.landmarks[:, :2] @ rotation.T + shift
    return _Layer(pixels.astype(np.float32), points.astype(np.float32))


def _tilt(face: DetectedFace) -> float:
    """Degrees by which the line between the eyes descends to the right in the picture."""
    dx, dy = face.landmarks[473, :2] - face.landmarks[468, :2]
    return float(np.degrees(np.arctan2(dy, dx)))


def _rotated(face: DetectedFace) -> DetectedFace:
    angle = np.radians(_tilt(face))
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = face.landmarks.copy()
    points[:, :2] = (points[:, :2] - face.landmarks[1, :2]) @ rotation.T + face.landmarks[1, :2]
    return DetectedFace(points, face.coefficients, face.yaw, face.pitch, 0.0, face.translation)


def _fitted(points: F32, reference: F32) -> F32:
    """``points`` moved, turned and scaled onto ``reference`` as a whole, so that the base has to bend little."""
    outline = list(FACE_OVAL)
    matrix, _ = cv2.estimateAffinePartial2D(points[outline], reference[outline], method=cv2.LMEDS)
    return points @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)


def _bend(layer: _Layer, target: F32, keep_outside: bool) -> F32:
    """Warp a layer so that its landmarks come to ``target``.

    With ``keep_outside`` the displacement falls to nothing around the head, so that shoulders and background stay.
    """
    full = layer.pixels.shape[0]
    step = 8
    axis = np.arange(0, full + step, step, dtype=np.float32)
    nodes = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    known, offsets = target, layer.points - target
    outline = target[list(FACE_OVAL)]
    center = outline.mean(0)
    if keep_outside:
        rings = [center + factor * (outline - center) for factor in (1.7, 2.1, 2.6)]
        known = np.vstack([known, *rings])
        offsets = np.vstack([offsets, np.zeros((len(known) - len(target), 2), np.float32)])
    flow = RBFInterpolator(known, offsets, kernel="linear", smoothing=1.0, degree=0)(nodes)
    if keep_outside:
        radii = np.linalg.norm(nodes - center, axis=1) / np.linalg.norm(outline - center, axis=1).mean()
        flow *= np.clip((2.4 - radii) / 0.9, 0, 1)[:, None] ** 2
    flow = flow.reshape(len(axis), len(axis), 2).astype(np.float32)
    grid = np.arange(full, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    flow = cv2.remap(flow, x / step, y / step, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return cv2.remap(layer.pixels, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


# --- colour and blending -----------------------------------------------------------------------------------------


def _face_mask(points: F32, shape: tuple[int, int]) -> F32:
    """1 inside the face, 0 at its outline and beyond, rising smoothly inwards."""
    mask = np.zeros(shape, np.uint8)
    outline = points[list(FACE_OVAL)]
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    width = 0.10 * float(np.ptp(outline[:, 0]))
    t = np.clip((depth - 0.08 * width) / width, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def _matched(picture: F32, reference: F32, inside: F32) -> F32:
    """``picture`` with the mean and spread of the reference's colours in the face, in CIELAB."""
    a, b = _lab(picture), _lab(reference)
    where = inside > 0.6
    spread = np.clip(b[where].std(0) / (a[where].std(0) + 1e-3), 0.75, 1.25)
    a = (a - a[where].mean(0)) * spread + b[where].mean(0)
    return np.clip(cv2.cvtColor(a.astype(np.float32), cv2.COLOR_LAB2RGB) * 255, 0, 255)


def _lab(picture: F32) -> F32:
    return cv2.cvtColor(np.clip(picture, 0, 255) / np.float32(255), cv2.COLOR_RGB2LAB)


def _part(points: F32, outlines: Sequence[Sequence[int]], shape: tuple[int, int], grow: float) -> F32:
    """1 inside the hull of each outline grown by ``grow`` pixels, falling off softly."""
    mask = np.zeros(shape, np.uint8)
    for outline in outlines:
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points[list(outline)]).astype(np.int32)), 255)
    side = 2 * round(grow) + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), grow / 2)


def _blend(bent: list[F32], chosen: dict[str, int], target: F32, inside: F32) -> U8:
    shape = inside.shape[:2]
    iris_distance = float(np.linalg.norm(target[473] - target[468]))
    eyes = _part(target, [(*EYE_RIGHT, *_BROW_RIGHT), (*EYE_LEFT, *_BROW_LEFT)], shape, 0.13 * iris_distance)
    mouth = _part(target, [(*LIPS, *INNER_LIPS)], shape, 0.12 * iris_distance)
    share = [np.zeros(shape, np.float32) for _ in bent]
    share[chosen["eyes"]] += eyes
    share[chosen["mouth"]] += mouth * (1 - eyes)
    share[chosen["skin"]] += (1 - eyes) * (1 - mouth)
    pyramids = [_laplacian(picture) for picture in bent]
    levels: list[F32] = []
    for level, mean_share in enumerate(_MEAN_SHARE):
        size = pyramids[0][level].shape[1::-1]
        face = np.zeros_like(pyramids[0][level])
        for i, pyramid in enumerate(pyramids):
            weight = mean_share / len(bent) + (1 - mean_share) * _reduced(share[i], level, size)
            face += pyramid[level] * weight[..., None].astype(np.float32)
        mask = _reduced(inside, level, size)[..., None]
        levels.append(pyramids[0][level] * (1 - mask) + face * mask)
    return np.clip(_collapse(levels) + 0.5, 0, 255).astype(np.uint8)


def _reduced(mask: F32, level: int, size: Sequence[int]) -> F32:
    for _ in range(level):
        mask = cv2.pyrDown(mask)
    return mask if mask.shape[1::-1] == tuple(size) else cv2.resize(mask, tuple(size))


def _laplacian(picture: F32) -> list[F32]:
    levels: list[F32] = []
    for _ in range(_LEVELS - 1):
        smaller = cv2.pyrDown(picture)
        levels.append(picture - cv2.pyrUp(smaller, dstsize=picture.shape[1::-1]))
        picture = smaller
    return [*levels, picture]


def _collapse(levels: list[F32]) -> F32:
    picture = levels[-1]
    for level in reversed(levels[:-1]):
        picture = cv2.pyrUp(picture, dstsize=level.shape[1::-1]) + level
    return picture
