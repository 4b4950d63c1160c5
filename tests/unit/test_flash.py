"""Flashes and beeps: the script, its files, and the arithmetic that finds the events again."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.core import facs
from avatar.streams.sources.media_file import read_audio
from avatar.streams.sources.states_file import read_states
from avatar.testing import flash
from avatar.testing.flash import Mouth, Script, Seen

SCRIPT = Script.make(30, seed=4)


def test_events_are_irregular_and_the_same_for_the_same_seed() -> None:
    gaps = np.diff(SCRIPT.times)
    assert flash.GAPS[0] - 1e-4 < gaps.min() < gaps.max() < flash.GAPS[1] + 1e-4
    assert gaps.std() > 0.1
    assert np.array_equal(SCRIPT.times, Script.make(30, seed=4).times)
    assert not np.array_equal(SCRIPT.times[:20], Script.make(30, seed=5).times[:20])


def test_the_mouth_is_half_open_at_the_event() -> None:
    assert SCRIPT.jaw(SCRIPT.times) == pytest.approx(np.full(len(SCRIPT.times), 0.5))
    assert SCRIPT.jaw(SCRIPT.times + 0.1).tolist() == [1.0] * len(SCRIPT.times)
    assert SCRIPT.jaw(SCRIPT.times - 0.06).tolist() == [0.0] * len(SCRIPT.times)
    assert SCRIPT.jaw(SCRIPT.times + 0.5).tolist() == [0.0] * len(SCRIPT.times)


def test_files_are_what_the_product_reads(tmp_path) -> None:
    path = SCRIPT.write(tmp_path, fps=30)
    states = list(read_states(path))
    assert len(states) == 900
    times = np.array([state.pts / 1e9 for state in states])
    jaw = np.array([state.arkit[facs.INDEX["jawOpen"]] for state in states])
    assert jaw == pytest.approx(SCRIPT.jaw(times), abs=1e-4)
    samples, rate = read_audio(path.with_suffix(".wav"))
    assert (rate, len(samples)) == (flash.RATE, 30 * flash.RATE)
    assert flash.clicks_in([(samples, rate, 0.0)]) == pytest.approx(SCRIPT.times, abs=0.0003)


def drawn(jaw: np.ndarray, curved: float = 1.0) -> np.ndarray:
    """Pictures of 144 fields whose lower third darkens with the jaw, by a curve, under noise."""
    pictures = 120 + np.random.default_rng(1).normal(0, 1, (len(jaw), 144))
    pictures[:, 96:] -= 70 * jaw[:, None] ** curved
    return pictures


@pytest.mark.parametrize("curved", [0.6, 1.0, 1.7])
def test_an_opening_is_found_between_the_pictures(curved) -> None:
    mouth = Mouth(drawn(np.linspace(0, 1, 11), curved))
    times = 0.013 + np.arange(900) / 30
    found, lost = flash.openings(times, mouth.jaw(drawn(SCRIPT.jaw(times), curved)))
    assert lost == 0
    assert found == pytest.approx(SCRIPT.times, abs=0.003)


def test_an_opening_during_a_freeze_is_not_timed() -> None:
    times = np.arange(900) / 30
    seen = np.abs(times - SCRIPT.times[5]) > 0.08
    found, lost = flash.openings(times[seen], SCRIPT.jaw(times[seen]))
    assert lost == 1
    assert found == pytest.approx(np.delete(SCRIPT.times, 5), abs=0.003)


def test_a_click_is_found_in_noise_and_only_once() -> None:
    sound = SCRIPT.sound() / 32768 * 0.4 + np.random.default_rng(2).normal(0, 0.01, 30 * flash.RATE)
    found = flash.clicks(*flash.peaks_of(sound, flash.RATE, 100.0))
    assert found == pytest.approx(SCRIPT.times + 100, abs=0.0005)


def test_silence_has_no_clicks() -> None:
    assert len(flash.clicks_in([])) == 0
    assert len(flash.clicks(np.arange(100.0), np.full(100, 0.001))) == 0


@pytest.mark.parametrize("apart", [-7.3, -0.6, -0.02, 0.0, 0.035, 0.9, 12.0])
def test_pairs_are_of_one_event_however_far_apart(apart) -> None:
    """Other pairings have a smaller difference for the first event, but not for all."""
    pairs = np.array(flash.pair(SCRIPT.times + 50 + apart, SCRIPT.times + 50))
    assert len(pairs) == len(SCRIPT.times)
    assert pairs[:, 0] - pairs[:, 1] == pytest.approx(np.full(len(pairs), apart))


def test_halves_that_are_missing_or_made_up() -> None:
    pictures = np.delete(SCRIPT.times, [3, 10]) + 0.02
    sounds = np.sort(np.append(np.delete(SCRIPT.times, [7]), SCRIPT.times[12] + 0.45))
    found = flash.figures(Seen(pictures, sounds, {"fps": 30}))
    assert found["events"] == len(SCRIPT.times) - 3
    assert (found["lost_pictures"], found["lost_sounds"]) == (3, 1)  # two lost, and one click too many
    assert found["skew_ms"] == {"p50": 20, "p95": 20, "p99": 20}
    assert found["range_ms"] == [20, 20]
    assert found["fps"] == 30


def test_figures_rank_by_magnitude_and_keep_the_sign() -> None:
    late = np.zeros(len(SCRIPT.times))
    late[[4, 9]] = -0.05, 0.03
    found = flash.figures(Seen(SCRIPT.times + late, SCRIPT.times, {}))
    assert found["skew_ms"] == {"p50": 0, "p95": 30, "p99": -50}
    assert found["range_ms"] == [-50, 30]


def test_nothing_seen_says_so() -> None:
    found = flash.figures(Seen(np.zeros(0), SCRIPT.times, {}))
    assert found["skew_ms"] is None
    assert (found["events"], found["drift_ms_per_hour"]) == (0, None)


def test_drift_is_found_in_noise_and_outliers() -> None:
    script = Script.make(600)
    random = np.random.default_rng(7)
    late = 40e-6 * script.times + random.normal(0, 0.004, len(script.times))  # 144 ms an hour
    late[::25] += 0.1
    found = flash.figures(Seen(script.times + late, script.times, {}))
    low, high = found["drift_ci_ms_per_hour"]
    assert low < 144 < high
    assert high - low < 30
    assert found["drift_ms_per_hour"] == pytest.approx(144, abs=15)


def test_a_large_drift_does_not_lose_its_pairs() -> None:
    script = Script.make(900)
    found = flash.figures(Seen(script.times * (1 + 1e-3), script.times, {}))
    assert found["lost"] == 0
    assert found["drift_ms_per_hour"] == pytest.approx(3600, rel=0.01)
