"""What a machine can afford: half a second of trying each way to draw at the start, best first.

A tier is an engine and the part of the picture's side that it draws; the rest is enlarged. ``high`` is the best engine
that may be used, ``medium`` the next one, ``low`` the last one at five eighths of the size; ``auto`` measures.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from avatar.core.facs import arkit_vector
from avatar.core.types import SECOND, FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.base import Engine
from avatar.engines.scaled import ScaledEngine

log = logging.getLogger(__name__)

AUTO = "auto"
RANKED = ("generator", "head")
"""Best first; the last one is taken where none is fast enough."""
Quality = Literal["low", "medium", "high", "auto"]
LESS = 0.625
"""Part of the side that tier ``low`` draws: 320 of 512 pixels, in two thirds of the time."""
LEAST = 256
"""Pixels a side that are always drawn."""
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


@dataclass(frozen=True, slots=True)
class Tier:
    """A way to draw."""

    quality: Quality
    engine: str
    drawn: int
    """Pixels a side that the engine draws."""

    def __str__(self) -> str:
        return f"{self.quality}: engine {self.engine}, {self.drawn} pixels a side drawn"


@dataclass(frozen=True, slots=True)
class Choice:
    """What was taken."""

    engine: Engine
    tier: Tier
    milliseconds: float | None = None
    """Of one picture; None = not measured."""
    enough: bool = True
    """Whether that is fast enough for the pictures a second that were asked for."""

    def __str__(self) -> str:
        if self.milliseconds is None:
            return str(self.tier)
        late = "" if self.enough else "; too slow for this rate: lower avatar.fps or avatar.size"
        return f"{self.tier}, {self.milliseconds:.1f} ms a picture{late}"


def tiers(engine: str, size: int) -> list[Tier]:
    """The ways to draw with ``engine`` at ``size``, best first: three where it is auto, two where it is named."""
    names = RANKED if engine == AUTO else (engine, engine)
    best, next_best = names[0], names[1]
    less = max(LEAST, round(size * LESS / 16) * 16)
    found = [Tier("high", best, size), Tier("medium", next_best, size), Tier("low", next_best, less)]
    return found if engine == AUTO else [found[0], found[2]]


def tier_of(quality: Quality, engine: str, size: int) -> Tier:
    """The tier that is asked for by name (not auto). A named engine's ``medium`` is its ``high``."""
    found = {tier.quality: tier for tier in tiers(engine, size)}
    return found.get(quality, found["high"])


def made(make: Callable[[str, int], Engine], tier: Tier, size: int) -> Engine:
    """The engine of a tier, which shows (size, size). ``make`` gives an engine by its name and size."""
    engine = make(tier.engine, tier.drawn)
    return engine if tier.drawn == size else ScaledEngine(engine, size)


def affordable(make: Callable[[str, int], Engine], engine: str, size: int, fps: int) -> Choice:
    """The best tier that draws ``fps`` pictures a second with time to spare.

    :param make: gives an engine by its name and size.
    """
    most = enough(fps)
    last: Choice | None = None
    for tier in distinct(engine, size):
        drawing = made(make, tier, size)
        took = milliseconds(drawing)
        last = Choice(drawing, tier, took, took <= most)
        if last.enough:
            log.info("%s", last)
            return last
        log.warning("%s takes %.1f ms a picture here, and %.1f would be time enough", tier, took, most)
    assert last is not None
    return last


def enough(fps: int) -> float:
    """Milliseconds that a picture may take for so many a second to be drawn in time."""
    return SHARE * 1e3 / fps


def distinct(engine: str, size: int) -> Iterator[Tier]:
    """The tiers without one that draws what the one before it draws."""
    before: Tier | None = None
    for tier in tiers(engine, size):
        if before is None or (tier.engine, tier.drawn) != (before.engine, before.drawn):
            yield tier
        before = tier
