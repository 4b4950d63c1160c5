"""The arithmetic of the soak and of the voice path, on signals whose answers are known."""

import numpy as np
import pytest

from avatar.bench.soak import Handles, _beeps, _Log, _report, _slope
from avatar.testing import voice_path
from avatar.testing.voice_path import APART, RATE, delays, loudness, rises


def test_syllables_are_found_where_they_begin():
    sound = np.zeros(10 * RATE, np.float32)
    begins = [0.5 + i * APART for i in range(5)]
    for begin in begins:
        sound[round(begin * RATE) :][: RATE // 4] = 0.3 * np.sin(2 * np.pi * 200 * np.arange(RATE // 4) / RATE)
    found = rises(*loudness(sound, first=100.0))
    assert found - 100 == pytest.approx(begins, abs=0.003)


def test_the_delay_of_a_mouth_is_found():
    times = np.arange(0, 10, 1 / 30)
    said = np.array([0.5 + i * APART for i in range(5)])
    jaw = sum(np.clip((times - s - 0.11) / 0.05, 0, 1) * (times < s + 0.5) for s in said)
    found = delays(said, rises(times, jaw))
    assert len(found) == 5
    assert all(110 <= d <= 160 for d in found)
    assert delays(said, np.zeros(0)) == []
    assert delays(np.array([1.0]), np.array([3.0])) == [], "another syllable's mouth is not this one's"


def test_syllables_do_not_begin_in_step_with_the_pictures(monkeypatch):
    class Voice:
        def synthesize(self, text):
            from types import SimpleNamespace

            return SimpleNamespace(samples=np.full(8_000, 0.5, np.float32), rate=16_000)

    monkeypatch.setattr("avatar.streams.sources.text.EspeakVoice", Voice)
    sound = voice_path.syllables(60)
    begins = np.flatnonzero(np.diff((sound != 0).astype(int)) == 1) / RATE
    assert len(begins) == int(60 / APART)
    phases = begins * 30 % 1
    assert np.histogram(phases, 4, (0, 1))[0].min() >= 4


def test_beeps_are_timed_by_their_first_loud_sample():
    wave = np.zeros(960, np.int16)
    wave[480:] = 10_000
    pieces = [(1.00, np.zeros(960, np.int16)), (1.02, wave), (1.04, np.full(960, 9_000, np.int16)), (2.02, wave)]
    assert list(_beeps(iter(pieces))) == pytest.approx([1.03, 2.03])


def test_a_leak_and_a_drift_are_seen():
    hours = np.linspace(0, 0.5, 31)
    assert _slope(hours, 400 + 12 * hours) == pytest.approx(12)
    log = _Log(
        at=list(hours * 3600),
        rss_mb=[400 + 12 * h for h in hours],
        handles=[Handles(10, 8, 12, 20)] * 30 + [Handles(11, 8, 10, 26)],
        fps=[30.0] * 29 + [24.5],
        freeze_ms=[40.0] * 30,
        skews=[(t, 2.0 + 8.0 * t / 3600) for t in range(1800)],
    )
    found = _report(log, 1800.0)
    assert found["rss_slope_mb_per_h"] == pytest.approx(12)
    assert found["drift_ms_per_hour"] == pytest.approx(8)
    grown = log.handles[-1].more_than(log.handles[0])
    assert grown == {"tasks": 1, "threads": 0, "sockets": 0, "files": 6}, "fewer sockets hide no files"
    assert found["fps_min"] == 24.5
    assert found["skew_ms"]["p50"] == pytest.approx(4, abs=0.01)
