"""Blinks and gaze, in virtual time."""

import math

import numpy as np
import pytest

from avatar.analysis.blink import BlinkModel, lid
from avatar.analysis.gaze import MAX_PITCH, MAX_YAW, GazeModel, saccade_seconds
from avatar.core.types import SECOND, Ns


def blinks(minutes: float, speaking: bool, fps: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds of (onsets, ends) of the blinks."""
    model = BlinkModel(seed)
    closure = np.array([model.step(Ns(i * SECOND // fps), speaking).left for i in range(round(minutes * 60 * fps))])
    edges = np.diff(np.concatenate(([0], (closure > 0).astype(int), [0])))
    return np.flatnonzero(edges == 1) / fps, np.flatnonzero(edges == -1) / fps


@pytest.mark.parametrize(("speaking", "rate"), [(False, 17), (True, 26)])
def test_blinks_have_the_published_statistics(speaking, rate):
    onsets, ends = blinks(30, speaking)
    assert len(onsets) / 30 == pytest.approx(rate, rel=0.12)
    lengths = ends - onsets
    assert lengths.min() >= 0.08
    assert lengths.max() <= 0.41
    assert 0.15 < np.median(lengths) < 0.25
    logs = np.log(np.diff(onsets))
    assert 0.45 < logs.std() < 0.85
    skew = float(np.mean(((logs - logs.mean()) / logs.std()) ** 3))
    assert abs(skew) < 0.6, "the logarithm of the intervals is symmetric"


def test_a_lid_closes_fast_and_opens_slowly():
    phases = np.linspace(0, 1, 1001)
    closure = np.array([lid(p) for p in phases])
    assert closure.max() == 1
    assert closure[0] == closure[-1] == 0
    half = phases[closure >= 0.5]
    assert half[0] < 1 - half[-1]
    assert np.abs(np.diff(closure)).max() < 0.01


def test_blinks_do_not_depend_on_the_frame_rate():
    slow, fast = BlinkModel(4), BlinkModel(4)
    for i in range(60 * 25):
        pts = Ns(i * SECOND // 25)
        for k in range(3, 0, -1):
            if i:
                fast.step(Ns(pts - k * SECOND // 100), True)
        assert slow.step(pts, True).left == pytest.approx(fast.step(pts, True).left, abs=1e-6)


def test_blinks_after_a_long_gap_are_not_made_up_for():
    model = BlinkModel(0)
    model.step(Ns(0), False)
    model.step(Ns(3600 * SECOND), False)
    shut = [model.step(Ns(3600 * SECOND + i * SECOND // 100), False).left for i in range(300)]
    assert np.mean(np.array(shut) > 0.5) < 0.3


def test_blinks_begin_anywhere_on_the_timeline():
    model = BlinkModel(0)
    start = 5_000 * SECOND
    closure = [model.step(Ns(start + i * SECOND // 30), False).left for i in range(30 * 60)]
    assert 8 < np.sum((np.array(closure[1:]) > 0) & (np.array(closure[:-1]) == 0)) < 28


def gaze(seconds: float, speaking: bool, fps: int = 100, seed: int = 0) -> np.ndarray:
    """(n, 2) yaw and pitch in degrees."""
    model = GazeModel(seed)
    cues = [model.step(Ns(i * SECOND // fps), speaking).gaze for i in range(round(seconds * fps))]
    return np.degrees([(g.yaw, g.pitch) for g in cues])


@pytest.mark.parametrize("speaking", [True, False])
def test_gaze_is_mostly_at_the_camera_and_never_far(speaking):
    track = gaze(600, speaking)
    assert np.abs(track[:, 0]).max() <= MAX_YAW
    assert np.abs(track[:, 1]).max() <= MAX_PITCH
    at_camera = (np.hypot(*track.T) < 2).mean()
    assert at_camera > (0.75 if speaking else 0.85)
    assert at_camera < 0.99
    assert abs(track[:, 0].mean()) < 0.6


def test_saccades_follow_the_main_sequence():
    track = gaze(200, True, fps=1000)
    speed = np.hypot(*np.diff(track, axis=0).T) * 1000
    moving = np.concatenate(([0], (speed > 1e-6).astype(int), [0]))
    edges = np.diff(moving)
    for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        amplitude = math.dist(track[a], track[b])
        if amplitude > 0.3:
            assert (b - a) / 1000 == pytest.approx(saccade_seconds(amplitude), abs=0.004)
    assert speed.max() < 700, "degrees a second"


def test_fixations_last_as_long_as_fixations_do():
    track = gaze(600, False, fps=200)
    jumps = np.flatnonzero(np.hypot(*np.diff(track, axis=0).T) > 0)
    gaps = np.diff(jumps)
    fixations = gaps[gaps > 10] / 200
    assert 0.5 < np.median(fixations) < 1.5
    assert fixations.max() < 6


def test_some_who_begin_to_speak_look_aside():
    aside = 0
    for seed in range(200):
        model = GazeModel(seed)
        for i in range(20):
            model.step(Ns(i * SECOND // 50), False)
        yaw = [abs(model.step(Ns(SECOND + i * SECOND // 50), True).gaze.yaw) for i in range(12)]
        aside += max(yaw) > math.radians(2.4)
    assert 0.2 < aside / 200 < 0.55


def test_gaze_is_the_same_for_the_same_seed():
    np.testing.assert_array_equal(gaze(20, True, seed=3), gaze(20, True, seed=3))
    assert np.abs(gaze(20, True, seed=3) - gaze(20, True, seed=4)).max() > 1
