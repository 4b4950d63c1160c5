"""The judge of silence: its noises, its clock, and that it sees an open mouth when there is one."""

import numpy as np
import pytest

from avatar.analysis.voice import VoiceAnalyzer
from avatar.core.facs import INDEX
from avatar.models import registry
from avatar.models.visemes.judge import backgrounds
from avatar.models.visemes.judge.quiet import OPEN, face, last_above
from avatar.streams.sources.text import EspeakVoice

RATE = backgrounds.RATE


@pytest.fixture(scope="module")
def analyzer():
    return VoiceAnalyzer(registry.weights_dir(), head="still")


@pytest.mark.parametrize("kind", backgrounds.KINDS)
def test_noises_sound_at_the_level_asked_for_and_the_same_each_time(kind):
    first, again = (backgrounds.KINDS[kind](RATE, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first, again)
    assert len(first) == RATE
    sound = backgrounds.at_level(first, -40)
    loud = np.abs(first) > 1e-6
    assert 10 * np.log10(np.mean(sound[loud] ** 2)) == pytest.approx(-40, abs=0.1)
    assert np.abs(backgrounds.at_level(first, -12)).max() <= 1


def test_colours_fall_as_they_should():
    for slope in (0, 1, 2):
        x = backgrounds.coloured(4 * RATE, np.random.default_rng(0), slope)
        power = np.abs(np.fft.rfft(x)) ** 2
        f = np.fft.rfftfreq(len(x), 1 / RATE)
        low, high = (power[(f > a) & (f < 2 * a)].mean() for a in (200, 3200))
        assert np.log2(low / high) / 4 == pytest.approx(slope, abs=0.15)


def test_the_last_opening_is_timed():
    track = np.zeros(200, np.float32)
    track[:57] = 0.2
    assert last_above(track, OPEN, 0.5) == pytest.approx(70)
    track[90] = 0.2  # it opens again
    assert last_above(track, OPEN, 0.5) == pytest.approx(410)
    assert last_above(np.zeros(200, np.float32), OPEN, 0.5) == 0
    assert last_above(track[:57] * 0 + 0.01, OPEN, 0.5) == 0


def test_the_face_opens_for_speech_and_not_for_white_noise(analyzer):
    speech = EspeakVoice().synthesize("Many people never stop talking.", "en-us+m5")
    talking = face(analyzer, speech.samples, speech.rate, fps=50)[:, INDEX["jawOpen"]]
    assert (talking > OPEN).mean() > 0.4
    noise = backgrounds.at_level(np.random.default_rng(0).standard_normal(2 * RATE), -30)
    assert (face(analyzer, noise, fps=50)[:, INDEX["jawOpen"]] > OPEN).mean() < 0.02
