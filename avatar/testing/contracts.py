"""What every engine, stage and sink must keep, as checks that raise AssertionError; plug-ins can run them on theirs.

from avatar.testing.contracts import check_engine
check_engine(lambda size: MyEngine(bundle, size, weights))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from avatar.core import facs
from avatar.core.types import FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.base import Engine
from avatar.pipeline.stage import Stage
from avatar.streams.base import Sink, StreamFormat
from avatar.testing.fakes import picture, silence

TALKING = freeze(facs.arkit_vector({"jawOpen": 0.5, "mouthSmile": 0.4, "browInnerUp": 0.6}))


def check_engine(make: Callable[[int], Engine], sizes: Sequence[int] = (256, 512)) -> None:
    """Shape and type of the picture at each size, determinism whatever was drawn before, an array of the caller's own,
    a face that changes with its state, and extreme states that do not break it."""
    rest, talk = FaceState(Ns(0)), FaceState(Ns(1), TALKING, Pose.degrees(yaw=5), Gaze(0.1, 0.0))
    for size in sizes:
        engine = make(size)
        first = engine.render(rest)
        assert first.shape == (size, size, 3), f"{engine.name}: {first.shape} at size {size}"
        assert first.dtype == np.uint8, f"{engine.name}: {first.dtype}"
        kept = first.copy()
        other = engine.render(talk)
        assert np.array_equal(first, kept), f"{engine.name}: writes into a picture it has given away"
        assert not np.array_equal(first, other), f"{engine.name}: does not move"
        assert np.array_equal(engine.render(rest), kept), f"{engine.name}: the same state gives another picture"
        assert first.flags.writeable, f"{engine.name}: the picture must be the caller's"
        for extreme in (np.zeros(52), np.ones(52)):
            wild = FaceState(Ns(2), freeze(extreme.astype(np.float32)), Pose.degrees(80, -80, 80), Gaze(2.0, -2.0))
            assert engine.render(wild).shape == first.shape


def check_stage(make: Callable[[], Stage[Any, Any]], items: Sequence[Any]) -> None:
    """The same input gives the same output, in a new object and after ``reset``."""

    def run(stage: Stage[Any, Any]) -> list[str]:
        return [_digest(stage.step(item)) for item in items]

    stage = make()
    first = run(stage)
    assert run(make()) == first, "two fresh stages differ"
    stage.reset()
    assert run(stage) == first, "reset leaves something behind"


def _digest(value: Any) -> str:
    """All of a value, arrays included, as text."""
    if isinstance(value, np.ndarray):
        return f"{value.shape}{value.dtype}{value.tobytes().hex()}"
    if isinstance(value, tuple | list):
        return "(" + ",".join(map(_digest, value)) + ")"
    slots = getattr(value, "__slots__", None) or getattr(value, "__dict__", None)
    if slots:
        return type(value).__name__ + "".join(f"{name}={_digest(getattr(value, name))}" for name in slots)
    return repr(value)


async def check_sink(make: Callable[[], Sink], form: StreamFormat) -> None:
    """Closing twice, or without opening, is harmless; what it gets in between is taken."""
    unopened = make()
    await unopened.close()
    sink = make()
    await sink.open(form)
    try:
        for index, chunk in enumerate(silence(0.5, form.audio_rate)):
            await sink.audio(chunk)
            if index % 2 == 0:
                await sink.video(picture(FaceState(chunk.pts), form.size))
    finally:
        await sink.close()
        await sink.close()
