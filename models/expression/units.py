"""Single action units for `avatar eval expression`: what :mod:`.generator` measures, for several engines and the no-op
on the same few portraits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatar import plugins
from avatar.core.types import U8, FaceState
from avatar.engines.base import Engine
from avatar.models.expression import generator
from avatar.models.expression.faces import RENDER_SIZE
from avatar.models.expression.identity import FaceNet
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.landmarks import LandmarkDetector

Progress = Callable[[int, int], None]


class CopyEngine(Engine):
    """The no-op: the portrait, whatever is asked."""

    name = "copy"

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        super().__init__(bundle, size, weights)
        self._picture = np.asarray(cv2.resize(bundle.portrait, (size, size), interpolation=cv2.INTER_AREA), np.uint8)

    def render(self, state: FaceState) -> U8:
        return self._picture.copy()


def measure(
    names: Sequence[str],
    portraits: Sequence[tuple[AvatarBundle, Path]],
    detector: LandmarkDetector,
    net: FaceNet,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """The figures of :func:`.generator.figures` for each of ``names``; ``copy`` is the no-op.

    :param portraits: bundles, each with the folder of weights that have not learnt from the person. Those that show an
        expression of their own must have been left out (:func:`.generator.resting`).
    """
    made: dict[str, dict[str, Any]] = {}
    steps = len(names) * len(portraits)
    for position, name in enumerate(names):
        engine: Callable[..., Engine] = CopyEngine if name == CopyEngine.name else plugins.load("engines", name)
        sweeps = []
        for done, (bundle, weights) in enumerate(portraits):
            progress(position * len(portraits) + done, steps)
            sweeps.append(generator.sweep(engine(bundle, RENDER_SIZE, weights), bundle, detector, net, keep=False))
        made[name] = generator.figures(sweeps)
    progress(steps, steps)
    return made


def means(figures: dict[str, Any]) -> dict[str, float]:
    """``icc``, ``leakage`` and ``spearman``, each the mean over the units."""
    rows = figures["au"].values()
    return {key: round(float(np.mean([row[key] for row in rows])), 4) for key in ("icc", "leakage", "spearman")}
