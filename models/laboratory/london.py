"""Rows on real smiles that no engine's state can say: everybody's mean smile, one donor's, and the true landmarks.

``avatar eval expression`` gives each engine the person's own smile as a state. Here the protocol is the one that the
methods' papers have: what is known of the expression comes from others, or its geometry is known exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar.core.geometry import mapped
from avatar.core.types import F32, U8, Pose
from avatar.engines.classical.eri import EriEngine
from avatar.engines.classical.flat import FlatEngine
from avatar.engines.classical.geometry import GeometryEngine
from avatar.engines.classical.mapping import MapEngine
from avatar.engines.classical.plane import Plane
from avatar.engines.head import shape_weights
from avatar.models.disjoint import Unseen, fold_of
from avatar.models.expression.align import transform
from avatar.models.expression.evaluate import COPY, Drawn, figures
from avatar.models.expression.faces import RENDER_SIZE, Eyes, Pair
from avatar.models.folds.mean_face import skin_mask
from avatar.models.laboratory.eri import ratio_image
from avatar.models.laboratory.people import Shown
from avatar.portrait.fit import LANDMARKS

ROWS = ("map, mean smile", "eri, mean smile", "donor, warp alone", "donor, eri", "true landmarks, warp alone",
        "true landmarks, geometry")  # fmt: skip

DONOR = 0.3
"""Share of a single donor's log ratio that is laid on skin: most of one ratio image is that pair's own noise (Wiener's
filter in one number), and brows and lips of two people do not lie alike."""
LAMP = 20.0
"""Sigma, in pixels of the mean face's frame, of what a single pair's ratio is freed of: at that scale it is the head
that moved under the lamp, not folds. Chosen, with both sides sharing one ratio, on every second person; on the others
the row is as far above its own warp."""

Progress = Callable[[int, int], None]


def london(
    pairs: Sequence[Pair], unseen: Unseen, eyes: Eyes, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """``rows.NAME`` and what else :func:`avatar.models.expression.evaluate.figures` gives. Raises nothing of its
    own."""
    rows: dict[str, list[Drawn]] = {name: [] for name in (COPY, *ROWS)}
    for number, pair in enumerate(pairs):
        progress(number, len(pairs))
        rows[COPY].append(Drawn(pair.neutral, 0.0))
        for name, picture in drawings(pair, pairs, unseen.folder(pair.name)).items():
            face = eyes.drawn(picture)
            rows[name].append(Drawn(face or pair.neutral, 0.0, face is not None))
        for name, (picture, points) in exact(pair, unseen.folder(pair.name)).items():
            rows[name].append(Drawn(eyes.place(picture, points), 0.0))
    return figures(pairs, rows, [])


def drawings(pair: Pair, pairs: Sequence[Pair], folder: Path) -> dict[str, U8]:
    """What is drawn of the expressions of others. Nobody of the person's fold is one of them."""
    others = [other for other in pairs if fold_of(other.name) != fold_of(pair.name)] or [
        other for other in pairs if other is not pair
    ]
    mean = np.asarray(np.mean([shape_weights(other.state)[0] for other in others], 0), np.float32)
    # As good as drawn at random, and the same each time.
    donor = others[sum(pair.name.encode()) % len(others)]
    plain, shaded = (kind(pair.bundle, RENDER_SIZE, folder) for kind in (MapEngine, EriEngine))
    lifted, smile = plain.emphasised(mean), shaded.emphasised(mean)
    moved = donated(shaded.plane, donor)
    before, after = (Shown(face.pixels, face.points, face.points) for face in (donor.neutral, donor.smile))
    ratio = trusted(ratio_image(shaded.mean_face, before, after), skin_mask(shaded.mean_face))
    return {
        "map, mean smile": _drawn(plain, plain.geometry(lifted)),
        "eri, mean smile": _drawn(shaded, shaded.geometry(smile), shaded.ratio(smile, shaded.geometry(smile))),
        "donor, warp alone": _drawn(shaded, moved),
        "donor, eri": _drawn(shaded, moved, ratio),
    }


def trusted(ratio: F32, skin: F32) -> F32:
    """What is laid on another face of one donor's log ratio (h, w, 3): small shapes, the same on both sides, on skin.

    :param skin: (h, w), 0 to 1.
    """
    skin = skin[..., None]
    reach = cv2.GaussianBlur(skin, (0, 0), LAMP)[..., None]
    small = ratio - cv2.GaussianBlur(ratio * skin, (0, 0), LAMP) / np.maximum(reach, 1e-3)
    return np.asarray(DONOR / 2 * (small + small[:, ::-1]) * skin, np.float32)


def exact(pair: Pair, folder: Path) -> dict[str, tuple[U8, F32]]:
    """What is drawn with the smile's own landmarks (478, 3), which come with it."""
    engine = GeometryEngine(pair.bundle, RENDER_SIZE, folder)
    _, landmarks = pair.bundle.at_size(RENDER_SIZE)
    into = np.r_[transform(landmarks), [(0.0, 0.0, 1.0)]]
    target = mapped(np.linalg.inv(into)[:2], pair.smile.points)
    moves = np.c_[target - landmarks[:LANDMARKS, :2], np.zeros(LANDMARKS)].astype(np.float32)
    shown = landmarks.copy()
    shown[:LANDMARKS, :2] = target
    return {
        "true landmarks, warp alone": (_drawn(engine, moves), shown),
        "true landmarks, geometry": (_drawn(engine, moves, engine.ratio(np.zeros(52, np.float32), moves)), shown),
    }


def donated(plane: Plane, donor: Pair) -> F32:
    """(468, 3): the donor's displacements on this face, by the distance and the slope of the eyes."""
    into = transform(plane.landmarks)
    back = np.linalg.inv(into[:, :2])
    return np.c_[(donor.smile.points - donor.neutral.points) @ back.T, np.zeros(LANDMARKS)].astype(np.float32)


def _drawn(engine: FlatEngine, displacement: F32, ratio: F32 | None = None) -> U8:
    return engine.draw(displacement, Pose(), None, ratio)
