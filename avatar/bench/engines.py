"""How long engines take for a picture, beside GANimation's published network on the same machine at the same moment.

Milliseconds belong to a machine and to what else it does; the ratio to a fixed amount of work carries over.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avatar import plugins
from avatar.config import Config
from avatar.engines.choice import speaking
from avatar.metrics import percentiles
from avatar.network import one_thread_session
from avatar.parts import find_avatar, make_engine

YARDSTICK = "ganimation_published"
ROUNDS = 40
_FRAMES = 6
"""Pictures of an engine in a round. The first is not counted: the yardstick has emptied the caches, which no neighbour
of an engine does in real use."""

Progress = Callable[[int, int], None]


def engines(
    config: Config, names: Sequence[str] = (), rounds: int = ROUNDS, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """``engines.NAME.{ms,cpu_ms,precision,ratio}`` of each engine on one thread, and of the yardstick.

    ``cpu_ms`` is the mean of the processor's time, and ``ratio`` is that over the yardstick's: on a busy machine a long
    run is interrupted more often than a short one, so that a ratio of wall times would flatter the engines.

    A round is one run of the yardstick and a few pictures of each engine, so that what else the machine does hits all
    of them alike.

    :param names: the engines; all that are installed where none is named. Raises UsageError for an unknown one.
    """
    import cv2

    cv2.setNumThreads(1)
    bundle, size = find_avatar(config.avatar.name, config=config), config.avatar.size
    made = {name: make_engine(name, bundle, size) for name in names or plugins.names("engines")}
    yardstick = _yardstick()
    states = speaking(rounds * _FRAMES)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in (*made, YARDSTICK)}
    for index in range(rounds):
        progress(index, rounds)
        taken[YARDSTICK].append(_time(yardstick))
        for name, engine in made.items():
            frames = states[index * _FRAMES : (index + 1) * _FRAMES]
            taken[name] += [_time(partial(engine.render, state)) for state in frames][1:]
    progress(rounds, rounds)
    precision = {**{name: engine.precision for name, engine in made.items()}, YARDSTICK: "float32"}
    spent = {name: float(np.mean([cpu for _, cpu in times])) for name, times in taken.items()}
    return {
        "size": size,
        "rounds": rounds,
        "engines": {
            name: {
                "ms": percentiles((wall for wall, _ in times), (50, 95)),
                "cpu_ms": round(spent[name], 3),
                "precision": precision[name],
                "ratio": round(spent[name] / spent[YARDSTICK], 4),
            }
            for name, times in taken.items()
        },
    }


def _time(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the wall, and of the processor."""
    begun, spent = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - begun) * 1e3, (time.process_time() - spent) * 1e3


def _yardstick() -> Callable[[], object]:
    from avatar.models.expression.yardstick import SIDE, UNITS, ganimation

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ganimation.onnx"
        file.write_bytes(ganimation())
        session = one_thread_session(file)
    rng = np.random.default_rng(0)
    feed = {
        "photo": rng.uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32),
        "units": rng.uniform(0, 1, (1, UNITS, 1, 1)).astype(np.float32),
    }
    session.run(None, feed)  # memory is laid out in the first run
    return lambda: session.run(None, feed)
