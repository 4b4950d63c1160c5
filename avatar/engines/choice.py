"""Which engine a machine can afford: a second of trying at the start, for ``avatar.engine = "auto"``."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from avatar.core.facs import arkit_vector
from avatar.core.types import FaceState, Ns, Pose, freeze
from avatar.engines.base import Engine

log = logging.getLogger(__name__)

AUTO = "auto"
RANKED = ("generator", "head")
"""Best first; the last one is taken where none is fast enough."""
SHARE = 0.45
"""Part of the time between two pictures that drawing may take: sound, encoder and viewers want the rest."""
_SECONDS, _LEAST = 0.5, 8
"""How long an engine is tried, and how many pictures at least."""


def milliseconds(engine: Engine) -> float:
    """Of one picture of a lively face, lower quartile: what else the machine does at its start is no property of it."""
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < _LEAST or time.perf_counter() - begun < _SECONDS:
        wave = math.sin(len(taken))
        state = FaceState(
            Ns(0),
            freeze(arkit_vector({"jawOpen": 0.3 + 0.2 * wave, "mouthSmile": 0.4, "browInnerUp": 0.3})),
            Pose.degrees(5 * wave, 3, 2),
        )
        start = time.perf_counter()
        engine.render(state)
        taken.append((time.perf_counter() - start) * 1e3)
    return sorted(taken)[len(taken) // 4]


def affordable(make: Callable[[str], Engine], fps: int) -> Engine:
    """The best engine that draws ``fps`` pictures a second with time to spare. ``make`` gives one by its name."""
    for name in RANKED[:-1]:
        engine = make(name)
        took, most = milliseconds(engine), SHARE * 1e3 / fps
        if took <= most:
            log.info("engine %s: %.1f ms a picture", name, took)
            return engine
        log.warning(
            "engine %s takes %.1f ms a picture here, and %.1f would be time enough; taking %s",
            name, took, most, RANKED[-1],
        )  # fmt: skip
    return make(RANKED[-1])
