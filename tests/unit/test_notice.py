"""The notice in the sound: at the start, once a minute, whatever the pieces, and soft."""

import numpy as np
import pytest

from avatar.core.types import SECOND, AudioChunk, Ns, freeze
from avatar.pipeline.notice import LOUDNESS, ToneNotice, melody

RATE = 48_000


def through(seconds: float, piece: int, every: int = 10 * SECOND) -> np.ndarray:
    notice, heard = ToneNotice(every), []
    for begin in range(0, round(seconds * RATE), piece):
        silence = freeze(np.zeros(piece, np.float32))
        heard.append(notice.step(AudioChunk(Ns(begin * SECOND // RATE), silence, RATE)).samples)
    return np.concatenate(heard)


@pytest.mark.parametrize("piece", [480, 960, 1600])
def test_it_sounds_at_the_start_and_again_after_its_time(piece):
    heard = through(21.0, piece)
    tune = melody(RATE)
    for start in (0, 10, 20):
        np.testing.assert_allclose(heard[start * RATE : start * RATE + len(tune)], tune, atol=1e-6)
    rest = np.concatenate([heard[len(tune) : 10 * RATE], heard[10 * RATE + len(tune) : 20 * RATE]])
    assert not rest.any()
    assert 0.05 < np.abs(heard).max() <= LOUDNESS


def test_speech_is_left_as_it_is_elsewhere_and_never_clips():
    loud = freeze(np.full(960, 0.98, np.float32))
    notice = ToneNotice(10 * SECOND)
    chunk = AudioChunk(Ns(5 * SECOND), loud, RATE)
    assert notice.step(chunk) is chunk
    assert np.abs(notice.step(AudioChunk(Ns(SECOND // 4), loud, RATE)).samples).max() <= 1
