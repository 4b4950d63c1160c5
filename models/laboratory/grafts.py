"""Rows of engine ``transplant`` on drawn faces: a mouth from a picture of the same avatar that smiles and is turned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import U8
from avatar.engines.classical import transplant
from avatar.engines.classical.flat import MAP_FILE
from avatar.engines.classical.morph3d import face_triangles
from avatar.engines.classical.plane import arrays
from avatar.engines.classical.viewmorph import Mesh
from avatar.models.expression import metrics
from avatar.models.expression.sheet import contact_sheets
from avatar.models.laboratory.renders import EXPRESSIONS, SIZE, Row, avatars, small, state
from avatar.portrait.landmarks import LandmarkDetector

_TURNED = 6.0
"""Degrees that the reference's head is turned."""


def grafts(weights: Path, detector: LandmarkDetector, limit: int, keep: Path | None = None) -> list[Row]:
    """Of every avatar: the largest change outside the region in grey levels; the gradient along the region's border, in
    what it is in the untouched picture, of the transplant and of a plain paste; and dB inside the region of both,
    against the same smile drawn without a turn."""
    mesh = Mesh(face_triangles(arrays(weights / MAP_FILE)), SIZE)
    rows, lines, names = [], [], []
    for name, engine in avatars(weights, limit):
        target, reference, truth = (
            engine.render(state(shown, 1, yaw))
            for shown, yaw in (({}, 0.0), (EXPRESSIONS["smile"], _TURNED), (EXPRESSIONS["smile"], 0.0))
        )
        # A reference is another photo: a little brighter.
        reference = np.clip(reference * 1.08 + 4, 0, 255).astype(np.uint8)
        found = [detector.detect(picture) for picture in (target, reference)]
        if not all(found):
            continue
        points, other = (faces[0].landmarks for faces in found)
        made, mask = transplant.transplanted(target, reference, points, other, "mouth", mesh)
        at = transplant.expression_flow(points, other)
        warped, _ = mesh.warped(reference, other[: len(at)], at, -other[: len(at), 2])
        pasted = np.where(mask[..., None], warped, target)
        still = seam(target, mask)
        outside = np.abs(made.astype(int) - target)[~mask]
        rows.append(
            {
                "outside": float(outside.max()),
                "seam": seam(made, mask) / still,
                "seam_pasted": seam(pasted, mask) / still,
                "psnr": metrics.psnr(metrics.mse(made, truth, mask)),
                "psnr_pasted": metrics.psnr(metrics.mse(pasted, truth, mask)),
                "psnr_target": metrics.psnr(metrics.mse(target, truth, mask)),
            }
        )
        names.append(name)
        lines.append([target, reference, truth, pasted, made])
    if keep is not None:
        contact_sheets("grafts", ["", "reference", "truth", "pasted", "transplanted"], names, small(lines), keep)
    return rows


def seam(picture: U8, mask: NDArray[np.bool_]) -> float:
    """Mean step of grey levels across the border of ``mask`` (s, s)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    steps = np.abs(np.diff(grey, axis=1))[across[0]], np.abs(np.diff(grey, axis=0))[across[1]]
    return float(np.concatenate(steps).mean())
