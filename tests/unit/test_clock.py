"""The drift fit and the sound's timeline."""

import random

import numpy as np
import pytest

from avatar.core.clock import DriftFit, SessionClock
from avatar.core.ring import AudioTimeline
from avatar.core.types import MILLISECOND, SECOND, AudioChunk, LipCue, Ns
from avatar.testing.virtual_loop import VirtualClock, run_virtual


@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_a_device_clock_is_followed_within_a_millisecond(ppm):
    rng, fit = random.Random(1), DriftFit()
    for i in range(6000):  # ten minutes at ten items a second
        device = i * SECOND // 10
        true = device * (1 + ppm * 1e-6) + 3 * SECOND
        fit.observe(device, Ns(round(true + rng.uniform(0, 10 * MILLISECOND))))
    # Items are late by 5 ms on average, and the fit follows that average.
    assert abs(fit.to_session(device) - true - 5 * MILLISECOND) < MILLISECOND
    assert abs(fit.drift_ppm - ppm) < 60


def test_a_jump_starts_the_fit_anew():
    fit = DriftFit()
    for i in range(100):
        fit.observe(i * SECOND // 10, Ns(i * SECOND // 10))
    assert fit.restarts == 0
    later = Ns(100 * SECOND)
    assert fit.observe(10 * SECOND, later) == later
    assert fit.restarts == 1


def test_mapping_needs_an_observation():
    with pytest.raises(ValueError, match="no observation"):
        DriftFit().to_session(0)


def test_the_session_clock_starts_at_zero_and_sleeps():
    readings = iter([500, 700])
    assert SessionClock(lambda: next(readings)).now() == 200

    async def main():
        clock = VirtualClock()
        await clock.sleep_until(Ns(3600 * SECOND))
        await clock.sleep_until(Ns(1))
        return clock.now()

    assert run_virtual(main()) == pytest.approx(3600 * SECOND, abs=1000)


def tone(start: int, n: int, rate: int = 48_000) -> np.ndarray:
    return np.sin(2 * np.pi * 440 * (start + np.arange(n)) / rate).astype(np.float32)


def test_the_timeline_gives_back_what_was_written_and_silence_elsewhere():
    line = AudioTimeline(48_000)
    line.write(AudioChunk(Ns(20 * MILLISECOND), tone(0, 960), 48_000))
    assert not line.read(960).samples.any()
    second = line.read(960)
    assert second.pts == 20 * MILLISECOND
    np.testing.assert_array_equal(second.samples, tone(0, 960))
    assert not line.read(960).samples.any()


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_drifting_source_never_makes_a_jump(ppm):
    line, written, heard = AudioTimeline(48_000), 0, []
    for i in range(3000):  # a minute
        pts = Ns(round(i * 20 * MILLISECOND * (1 + ppm * 1e-6)) + 50 * MILLISECOND)
        line.write(AudioChunk(pts, tone(written, 960), 48_000))
        written += 960
        heard.append(line.read(960).samples)
    signal = np.concatenate(heard)[48_000:]
    assert line.stretch == pytest.approx(ppm * 1e-6, abs=30e-6)
    assert line.late == 0
    # The steepest step of this tone is 2 pi 440 / 48000; a click would be far steeper.
    assert np.abs(np.diff(signal)).max() < 1.2 * 2 * np.pi * 440 / 48_000
    assert np.abs(signal[-4800:]).max() > 0.9


def test_lip_scripts_come_out_with_their_sound():
    line = AudioTimeline(48_000)
    cues = tuple(LipCue(Ns(i * 10 * MILLISECOND), np.zeros(15), np.zeros(52)) for i in range(4))
    line.write(AudioChunk(Ns(0), tone(0, 1920), 48_000, lips=cues))
    assert [c.pts for c in line.read(960).lips] == [0, 10 * MILLISECOND]
    assert [c.pts for c in line.read(960).lips] == [20 * MILLISECOND, 30 * MILLISECOND]
    assert line.read(960).lips is None


def test_late_samples_are_counted_and_other_rates_refused():
    line = AudioTimeline(48_000)
    line.read(4800)
    line.write(AudioChunk(Ns(0), tone(0, 960), 48_000))
    assert line.late == 960
    with pytest.raises(ValueError, match="16000 Hz"):
        line.write(AudioChunk(Ns(0), tone(0, 10), 16_000))


def test_sessions_of_one_machine_take_turns():
    """Their ticks lie between each other's, whenever they were begun."""
    interval, zeros = SECOND // 25, []
    for begun, phase in ((1_234_567_891, 0.0), (7_777_777_777, 0.5), (9_000_000_001, 0.25)):
        clock = SessionClock.in_step(interval, phase, lambda now=begun: now)
        assert 0 <= clock.now() < interval, "no time has passed but the way to its tick"
        zeros.append((begun - clock.now()) % interval / interval)
    assert zeros == pytest.approx([0.0, 0.5, 0.25])
