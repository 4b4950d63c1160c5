"""The arithmetic of the measurements at the browser; the browser itself is in tests/e2e."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.errors import DeviceError
from avatar.testing import browser


def frames(*times: float, counts: list[int] | None = None) -> np.ndarray:
    return np.column_stack([times, counts or range(len(times))]).astype(float)


def test_pace_of_even_frames() -> None:
    fps, gap = browser.pace(frames(*np.arange(0, 2000, 40)))
    assert fps == pytest.approx(25)
    assert gap == pytest.approx(40)


def test_a_freeze_is_the_longest_gap() -> None:
    times = np.arange(0, 2000, 40.0)
    times[20:] += 200
    assert browser.pace(frames(*times))[1] == pytest.approx(240)


def test_a_missed_call_is_no_freeze() -> None:
    times = np.delete(np.arange(0, 2000, 40.0), 20)
    counts = np.delete(np.arange(50), 20).tolist()
    fps, gap = browser.pace(frames(*times, counts=counts))
    assert fps == pytest.approx(25)
    assert gap == pytest.approx(40)


def test_no_frames_at_all_is_an_endless_freeze() -> None:
    assert browser.pace(frames(10.0)) == (0.0, float("inf"))


def test_spread_ranks_by_magnitude_and_keeps_the_sign() -> None:
    found = browser.spread([1.0] * 97 + [-30.0, 20.0, -50.0])
    assert found["p50"] == 1
    assert found["p99"] == -30
    assert (found["min"], found["max"], found["n"]) == (-50, 20, 100)


def test_unfold_plays_blocks_evenly_that_were_fetched_unevenly() -> None:
    # Pairs of 10 ms blocks fetched together every 20 ms.
    blocks = [(1000.0 + 20 * (i // 2), [float(i)] * 10) for i in range(200)]
    times, peaks = browser.unfold(blocks)
    assert times == pytest.approx(995 + np.arange(2000.0), abs=0.5)
    assert peaks[[0, 10, 1999]].tolist() == [0, 1, 199]


def test_onsets_of_beeps_with_a_wave_in_them() -> None:
    times = np.arange(3000.0)
    peaks = np.full(3000, 0.001)
    for start in (700, 1700, 2700):
        peaks[start : start + 80 : 2] = 0.5  # every other millisecond of a tone is quiet
    assert browser.onsets(times, peaks).tolist() == [700, 1700, 2700]


def test_what_is_on_at_the_start_is_no_onset() -> None:
    times = np.arange(2000.0)
    values = np.where((times < 50) | (times > 1500), 200.0, 20.0)
    assert browser.onsets(times, values).tolist() == [1501]


def test_a_flat_series_has_no_onsets() -> None:
    assert len(browser.onsets(np.arange(100.0), np.full(100, 7.0))) == 0


def test_a_short_change_stands_out_of_a_slow_one() -> None:
    pictures = np.full((300, 144), 100.0) + np.linspace(0, 40, 300)[:, None]
    pictures[150:153, :30] -= 60
    found = browser.change(pictures)
    assert set(np.argsort(found)[-3:]) == {150, 151, 152}
    assert found[151] > 4 * np.median(found)


def test_one_outlier_hides_no_onset() -> None:
    times = np.arange(6000.0)
    values = np.zeros(6000)
    for start in range(700, 6000, 1000):
        values[start : start + 100] = 1.0
    values[4300] = 30.0
    assert browser.onsets(times, values).tolist() == [700, 1700, 2700, 3700, 4300, 4700, 5700]


def test_pairs_need_a_beep_near_by() -> None:
    found = browser.pair(np.array([1000.0, 2000.0, 5000.0]), np.array([1030.0, 1970.0]))
    assert found == [(1000.0, 1030.0), (2000.0, 1970.0)]
    assert browser.pair(np.array([1.0]), np.zeros(0)) == []


def test_a_missing_chromium_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DeviceError, match="apt-get install"), browser.Browser():
        pass
