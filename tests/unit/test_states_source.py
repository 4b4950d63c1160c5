"""States files with their sound, live and offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar.config import load
from avatar.core import facs
from avatar.core.types import SECOND
from avatar.errors import MediaError
from avatar.render import Input, plan
from avatar.streams.sources.states_file import StatesSource, sound_beside
from avatar.testing.flash import Script

SCRIPT = Script.make(4)


@pytest.fixture
def states(tmp_path: Path) -> Path:
    return SCRIPT.write(tmp_path, fps=30)


def test_the_sound_carries_the_mouth(states: Path) -> None:
    chunks = list(StatesSource(states).chunks())
    sound = np.concatenate([chunk.samples for chunk in chunks])
    assert np.array_equal(np.round(sound * 32768), SCRIPT.sound())
    cues = [cue for chunk in chunks for cue in chunk.lips or ()]
    assert len(cues) == 120
    assert all(chunk.lips is not None for chunk in chunks), "nothing is left to be found by listening"
    for chunk in chunks:
        assert all(chunk.pts <= cue.pts < chunk.end for cue in chunk.lips or ())
    jaw = [float(cue.mouth[facs.INDEX["jawOpen"]]) for cue in cues]
    assert jaw == pytest.approx(SCRIPT.jaw(np.array([cue.pts / SECOND for cue in cues])), abs=1e-4)


def test_states_that_begin_later_still_begin_with_their_sound(states: Path) -> None:
    lines = states.read_text().splitlines()
    states.write_text("\n".join(line.replace('{"t": ', '{"t": 7') for line in lines[30:60]))  # 1.x to 71.x
    cue = next(iter(StatesSource(states).chunks())).lips
    assert cue is not None
    assert cue[0].pts == 0


def test_without_a_sound_it_is_silent(states: Path) -> None:
    states.with_suffix(".wav").unlink()
    assert sound_beside(states) is None
    chunks = list(StatesSource(states).chunks())
    assert not any(chunk.samples.any() for chunk in chunks)
    assert sum(len(chunk.lips or ()) for chunk in chunks) == 120


async def test_a_broken_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(MediaError, match=r"a\.jsonl, line 1: not JSON"):
        StatesSource(tmp_path / "a.jsonl").check()


def test_a_clip_of_states_has_their_sound(states: Path) -> None:
    config = load().config
    made = plan(config, Input(states=states))
    assert made.count == 120
    assert np.array_equal(np.round(made.sound * 32768), SCRIPT.sound())
    states.with_suffix(".wav").unlink()
    assert len(plan(config, Input(states=states)).sound) == 0
