"""Which engine a machine can afford: half a second of trying each at the start, for ``avatar.engine = "auto"``."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable

from avatar.core.facs import arkit_vector
from avatar.core.types import SECOND, FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.base import Engine

log = logging.getLogger(__name__)

AUTO = "auto"
RANKED = ("generator", "head")
"""Best first; the last one is taken where none is fast enough."""
SHARE = 0.45
"""Part of the time between two pictures that drawing may take: sound, encoder and viewers want the rest."""
_SECONDS, _LEAST = 0.5, 8
"""How long an engine is tried, and how many pictures at least."""
_FPS = 30


def speaking(count: int) -> list[FaceState]:
    """A head that talks, blinks, smiles and looks about, at 30 states a second: every part of an engine has work."""
    states = []
    for index in range(count):
        t = index / _FPS
        wave = [math.sin(2 * math.pi * hertz * t) for hertz in (3.7, 0.3, 0.45, 0.2)]
        arkit = arkit_vector(
            {
                "jawOpen": 0.25 + 0.25 * wave[0],
                "mouthFunnel": max(0.0, 0.4 * math.sin(2 * math.pi * 1.9 * t)),
                "mouthSmile": 0.25 + 0.25 * wave[1],
                "browInnerUp": max(0.0, 0.5 * wave[2]),
                "eyeBlink": 1.0 if t % 3.0 > 2.85 else 0.0,
            }
        )
        pose = Pose.degrees(6 * wave[1], 4 * wave[2], 3 * wave[3])
        states.append(FaceState(Ns(index * SECOND // _FPS), freeze(arkit), pose, Gaze(0.1 * wave[3], 0.05 * wave[2])))
    return states


def milliseconds(engine: Engine) -> float:
    """Of one picture of a lively face, lower quartile: what else the machine does at its start is no property of it."""
    states = itertools.cycle(speaking(4 * _LEAST))
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < _LEAST or time.perf_counter() - begun < _SECONDS:
        state = next(states)
        start = time.perf_counter()
        engine.render(state)
        taken.append((time.perf_counter() - start) * 1e3)
    return sorted(taken)[len(taken) // 4]


def affordable(make: Callable[[str], Engine], fps: int) -> tuple[Engine, float]:
    """The best engine that draws ``fps`` pictures a second with time to spare, and its milliseconds for one.

    :param make: gives an engine by its name.
    """
    most = SHARE * 1e3 / fps
    for name in RANKED:
        engine = make(name)
        took = milliseconds(engine)
        if took <= most:
            log.info("engine %s: %.1f ms a picture", name, took)
            break
        log.warning("engine %s takes %.1f ms a picture here, and %.1f would be time enough", name, took, most)
    return engine, took
