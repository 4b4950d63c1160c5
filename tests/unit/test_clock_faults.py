"""Clocks that run apart for a day, and everything that can go wrong with one: in step again within a second, and said.

All in virtual time. docs/adr/0005-clock.md is the design.
"""

import asyncio
import datetime
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import aiortc.clock
import numpy as np
import pytest

import avatar
from avatar.control import Control
from avatar.core import facs
from avatar.core.clock import ArrivalClock, SessionClock, suspended
from avatar.core.interpolate import Interpolator, Varispeed
from avatar.core.ring import AudioTimeline
from avatar.core.types import MILLISECOND, SECOND, AudioChunk, BlinkCue, LipCue, Ns
from avatar.pipeline import session as session_module
from avatar.pipeline.resample import Resampler
from avatar.pipeline.session import Session, Timing
from avatar.streams.base import Source
from avatar.streams.rtc_patches import NtpLine
from avatar.streams.sources.microphone import SampleClock
from avatar.sync.synchronizer import Synchronizer
from avatar.testing.day import Day, Setup
from avatar.testing.fakes import MemorySink
from avatar.testing.virtual_loop import InlineLane, VirtualClock, run_virtual

RATE = 48_000
TEN = 10 * MILLISECOND
BUDGET, INTAKE, LEAD = Ns(160 * MILLISECOND), Ns(45 * MILLISECOND), Ns(20 * MILLISECOND)


# --- clocks that run apart ------------------------------------------------------------------------------------------


def test_a_day_with_a_microphone_whose_clock_is_off():
    """24 hours. Pieces of a second, which changes nothing but how often the parts are called."""
    day = Day(Setup(200.0, None, rate=200, block=1.0, chunk=1.0, intake=1.25, every=900.0))
    figures = day.run(24)
    found = figures.summary()
    assert found["knocks"] == 96
    assert max(abs(s) for s in figures.skew_ms) < 2
    assert found["late_ms_max"] - found["late_ms_min"] < 10, "17 seconds of difference between the clocks: none is left"
    assert found["dropped"] == 0
    assert found["objects_grown"] < 100


@pytest.mark.parametrize(("microphone", "loudspeaker"), [(200.0, -200.0), (-200.0, 200.0)])
def test_devices_at_both_ends(microphone, loudspeaker):
    """The mouth and the sound at the loudspeaker; the figures of hours are in the ADR."""
    day = Day(Setup(microphone, loudspeaker, rate=2000, every=8.0, jitter=0.002))
    figures = day.run(0.055)
    found = figures.summary()
    assert found["knocks"] >= 10
    assert -10 < found["skew_ms_min"] < found["skew_ms_max"] < 10
    assert found["late_ms_max"] - found["late_ms_min"] < 10
    assert found["stretch_step_ppm_max"] < 50, "no piece of 20 ms is a cent off the one before (578 ppm)"
    assert found["waiting_s_max"] < 0.1
    assert found["objects_grown"] < 100


@pytest.mark.parametrize("frequency", [100, 1_000, 10_000, 19_000])
@pytest.mark.parametrize("ppm", [-200, 200])
def test_resampling_for_drift_cannot_be_heard(frequency, ppm):
    """Distortion and noise under -80 dB, no loss of level, a third of a millisecond of delay."""
    between, n = Interpolator(), 960
    speed, step = Varispeed(between), 1 + ppm * 1e-6
    tone = (0.5 * np.sin(2 * np.pi * frequency * np.arange(100 * n) / RATE)).astype(np.float32)
    heard = np.concatenate([speed.process(tone[i * n : (i + 1) * n], step) for i in range(100)])[n:].astype(float)
    angle = 2 * np.pi * frequency * step / RATE * np.arange(len(heard))
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    fitted, *_ = np.linalg.lstsq(basis, heard, rcond=None)
    assert 20 * np.log10(np.std(heard - basis @ fitted) / np.std(heard)) < -80
    assert 20 * np.log10(np.hypot(*fitted) / 0.5) == pytest.approx(0, abs=0.02)
    assert speed.ahead <= between.half


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_other_rates_are_resampled_at_once_and_follow_the_clock(rate):
    """200 ppm for a minute are 12 ms: a stream that only counts its samples would be that far off."""
    resampler, n, stretch = Resampler(RATE), rate // 10, 1 + 200e-6
    for i in range(600):
        pts = Ns(round(i * 100 * MILLISECOND * stretch))
        made = resampler.step(AudioChunk(pts, np.zeros(n, np.float32), rate))
        assert abs(made.pts - pts) <= 24 * SECOND / min(rate, RATE)
        assert abs(made.end - pts - 100 * MILLISECOND) <= 25 * SECOND / min(rate, RATE)


def test_pieces_that_do_not_belong_together_do_not_click():
    line = AudioTimeline(RATE)
    loud = np.ones(960, np.float32)
    line.write(AudioChunk(Ns(0), loud, RATE))
    line.write(AudioChunk(Ns(500 * MILLISECOND), -loud, RATE))
    heard = np.concatenate([line.read(960).samples for _ in range(30)])
    assert heard[800] == 1
    assert not heard[960:24_000].any()
    assert heard[24_500] == -1
    assert np.abs(np.diff(heard[:24_900])).max() < 0.02


# --- times of a device ----------------------------------------------------------------------------------------------


def test_a_device_that_stood_still_and_goes_on_live_is_believed_within_half_a_second():
    """It took nothing for ten seconds and did not say so: its count lacks them."""
    stamps = SampleClock(RATE)
    pts = [stamps.stamp(480, Ns(i * TEN + (10 * SECOND if i >= 300 else 0)), False)[0] for i in range(500)]
    true = [i * TEN + (10 * SECOND if i >= 300 else 0) for i in range(500)]
    assert all(abs(a - b) < MILLISECOND for a, b in zip(pts[:300], true, strict=False))
    assert all(abs(a - b) < MILLISECOND for a, b in zip(pts[350:], true[350:], strict=True))


def test_a_backlog_keeps_its_times():
    """Ten seconds of packets come within half a second: they were made one after the other all the same."""
    stamps = ArrivalClock()
    for i in range(1800):
        late = max(0, 1300 - i) * TEN * 19 // 20 if i >= 300 else 0
        pts = stamps.stamp(i * TEN, Ns(i * TEN + late))
        assert abs(pts - i * TEN) < 5 * MILLISECOND
    assert stamps.restarts == 0


def test_a_device_whose_count_jumps_is_another_device():
    stamps = ArrivalClock()
    for i in range(200):
        stamps.stamp(i * TEN, Ns(i * TEN))
    assert stamps.stamp(5 * SECOND, Ns(2 * SECOND)) == 2 * SECOND, "from the future: believed at once"
    assert stamps.restarts == 1


# --- a session ------------------------------------------------------------------------------------------------------


class LoudnessLips:
    def step(self, chunk):
        level = float(np.abs(chunk.samples).max())
        return (LipCue(chunk.pts, np.zeros(15, np.float32), facs.arkit_vector({"jawOpen": level}), level > 0),)

    def reset(self):
        pass


class Faulty(Source):
    """A microphone that hears a beep of 30 ms at every half second of true time, and stalls.

    :param stall: (from, to) in seconds: nothing comes.
    :param backlog: what was taken meanwhile comes in one burst afterwards; else it was never taken.
    :param late: nanoseconds from the air to the session, which the driver knows of.
    """

    name = "faulty"

    def __init__(self, stall=(-1, -1), backlog=False, rate=RATE, late=TEN, ppm=0.0):
        self._stall, self._backlog, self._rate, self._late = stall, backlog, rate, late
        self._stretch = 1 + ppm * 1e-6

    async def open(self, clock):
        self._clock, self._stamps = clock, SampleClock(self._rate)

    async def items(self):
        n, start, to = self._rate // 100, self._stall[0] * SECOND, self._stall[1] * SECOND
        begun = self._clock.now()
        for i in range(1 << 60):
            over = begun + round((i + 1) * TEN * self._stretch)
            await self._clock.sleep_until(Ns(over + self._late))
            now = self._clock.now()
            if start <= over < to and self._backlog:
                await self._clock.sleep_until(Ns(to))
                now = self._clock.now()
            elif start <= over < to or (now - over > SECOND and not self._backlog):
                begun += round(max(to if over < to else 0, now) - over)  # it stood still, as the machine did
                continue
            true = over - TEN + np.arange(n) * SECOND // self._rate
            samples = np.where(true % (SECOND // 2) < 30 * MILLISECOND, 0.9, 0.0).astype(np.float32)
            pts, gap = self._stamps.stamp(n, Ns(now - self._late - TEN), False)
            yield AudioChunk(pts, samples, self._rate, discontinuity=gap)

    async def close(self):
        pass


def make(clock=None, away=lambda: 0):
    timing = Timing(BUDGET, INTAKE, LEAD, fps=30)
    return Session(
        clock or VirtualClock(),
        timing,
        LoudnessLips(),
        lambda pts, speaking: (BlinkCue(pts, 0.0, 0.0),),
        Synchronizer(),
        lambda state: np.full((1, 1, 3), round(255 * state.arkit[facs.INDEX["jawOpen"]]), np.uint8),
        suspended=away,
    )


@pytest.fixture(autouse=True)
def _inline(monkeypatch):
    monkeypatch.setattr(session_module, "ThreadLane", InlineLane)


async def live(session, seconds):
    task = asyncio.create_task(session.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def rises(levels):
    """Where a beep begins: nanoseconds of the session, from (time, level) pairs."""
    times, on = np.array([t for t, _ in levels]), np.array([v for _, v in levels]) > 0.4
    return times[1:][on[1:] & ~on[:-1]]


def sound_rises(sink):
    """When the beginning of each beep leaves, to a millisecond."""
    return rises([(now + i * MILLISECOND, v) for now, c in sink.chunks for i, v in enumerate(c.samples[::48].tolist())])


def in_step(sink, after, until, period=SECOND // 2):
    """Assert that from ``after`` to ``until`` (ns) every beep leaves the budget after it was in the air, with its
    picture at most a frame later."""
    beeps = [t for t in sound_rises(sink) if after < t < until]
    mouths = rises([(now, f.pixels[0, 0, 0] / 255) for now, f in sink.frames])
    assert len(beeps) >= (until - after) // period - 1
    for beep in beeps:
        assert (beep - BUDGET + period // 2) % period - period // 2 == pytest.approx(0, abs=10 * MILLISECOND)
        lag = min(mouths - beep, key=abs)
        assert -21 * MILLISECOND <= lag <= 34 * MILLISECOND, "a frame, and the 20 ms that the lips of a chunk share"


def run(seconds, session, source, meanwhile=None):
    async def main():
        made = session()
        sink = MemorySink(made.clock)
        made.attach(sink, sink.open)
        await made.use_audio(source)
        task = asyncio.create_task(live(made, seconds))
        if meanwhile is not None:
            await meanwhile(made)
        await task
        return made, sink

    return run_virtual(main())


@pytest.mark.parametrize("backlog", [False, True], ids=["goes on live", "bursts its backlog"])
def test_a_source_stalls_for_ten_seconds(backlog, caplog):
    caplog.set_level(logging.INFO)
    session, sink = run(18, make, Faulty(stall=(3.2, 13.2), backlog=backlog))
    in_step(sink, 1 * SECOND, 3 * SECOND)
    in_step(sink, 14.2 * SECOND + BUDGET, 17.5 * SECOND)
    assert set(np.diff([c.pts for _, c in sink.chunks])) == {20 * MILLISECOND}, "silence in between, no hole"
    last = session.resyncs.last
    assert last.reason == "stall"
    assert last.missing == pytest.approx(10 * SECOND, abs=30 * MILLISECOND)
    assert last.after < SECOND
    assert session.meters.counters["resync"] == 1
    if backlog:
        assert last.dropped == pytest.approx(10 * SECOND, rel=0.05), "old sound is left out and counted"
    assert re.search(r"gave no sound for a while; in sync again after 0\.\d\d s, 10\.0 s without sound", caplog.text)


def test_another_device_with_another_rate_and_latency(caplog):
    caplog.set_level(logging.INFO)

    async def switch(session):
        await asyncio.sleep(4)
        await session.use_audio(Faulty(rate=16_000, late=30 * MILLISECOND, ppm=100))

    session, sink = run(9, make, Faulty(ppm=-100), switch)
    in_step(sink, 1 * SECOND, 3.9 * SECOND)
    in_step(sink, 4.9 * SECOND, 8.7 * SECOND)
    assert session.resyncs.last.reason == "switch"
    assert session.meters.counters["resync.switch"] == 1
    assert "another source was chosen; in sync again" in caplog.text


def test_a_device_that_fails_is_opened_again(caplog):
    from avatar.errors import DeviceError

    class Failing(Faulty):
        opened = 0

        async def items(self):
            self.opened += 1
            async for chunk in super().items():
                if self.opened == 1 and self._clock.now() > 3 * SECOND:
                    raise DeviceError("unplugged")
                yield chunk

    session, sink = run(7, make, Failing())
    in_step(sink, 4 * SECOND + BUDGET, 6.7 * SECOND)
    assert session.resyncs.last.reason == "device"
    assert "the device failed; in sync again" in caplog.text


class Leaping(VirtualClock):
    """The session's clock leaps, as it does where it counts sleep, or when the process was stopped."""

    ahead = 0

    def now(self):
        return Ns(super().now() + self.ahead)


def test_the_clock_leaps_for_hours(caplog):
    clock = Leaping()

    async def leap(session):
        await asyncio.sleep(3.2)
        clock.ahead = 5 * 3600 * SECOND

    session, sink = run(8, lambda: make(clock), Faulty(), leap)
    back = 5 * 3600 * SECOND + 3.2 * SECOND
    in_step(sink, back + SECOND, back + 4.5 * SECOND)
    assert session.resyncs.last.reason == "clock"
    assert session.resyncs.last.after < SECOND
    assert session.meters.counters["resync"] == 1
    assert session.meters.counters["timeline_restarts"] == 1
    assert "the session stood still; in sync again" in caplog.text
    assert len(session.sound._ring) == 4 * RATE, "nothing grew by hours"


def test_the_machine_sleeps_while_its_clock_stands_still(caplog):
    """Linux: CLOCK_MONOTONIC does not count the sleep, CLOCK_BOOTTIME does. The microphone needs 0.4 s to wake up."""
    slept = [0]

    async def sleep(session):
        await asyncio.sleep(3.2)
        slept[0] = 2 * 3600 * SECOND

    session, sink = run(8, lambda: make(away=lambda: slept[0]), Faulty(stall=(3.2, 3.6)), sleep)
    in_step(sink, 4.2 * SECOND + BUDGET, 7.7 * SECOND)
    last = session.resyncs.last
    assert last.reason == "suspend"
    assert last.missing == pytest.approx(2 * 3600 * SECOND, rel=0.001)
    assert last.after < SECOND
    assert session.meters.counters["resync.suspend"] == 1
    assert "the machine slept; in sync again" in caplog.text
    assert "7200.0 s without sound" in caplog.text


def test_sleep_is_noticed_without_a_source_too(caplog):
    slept = [0]

    async def sleep(session):
        await asyncio.sleep(2)
        slept[0] = 60 * SECOND

    session, _ = run(4, lambda: make(away=lambda: slept[0]), None, sleep)
    assert session.resyncs.last.reason == "suspend"


def test_the_system_says_how_long_it_slept():
    first = suspended()
    assert first >= 0
    assert suspended() - first < SECOND


def test_meters_tell_it():
    session, _ = run(18, make, Faulty(stall=(3.2, 13.2), backlog=True))
    told = Control.meters(SimpleNamespace(_pipeline=SimpleNamespace(session=session, hub=None)))
    assert told["resync"] == 1
    assert told["resyncs"] == {"stall": 1}
    assert told["last_resync"]["reason"] == "stall"
    assert told["last_resync"]["after_ms"] < 1000
    assert told["dropped"]["sound_in_s"] == pytest.approx(10, rel=0.05)
    assert "10.0 s without sound" in told["last_resync"]["text"]


# --- the time of day ------------------------------------------------------------------------------------------------


def test_setting_the_computers_clock_moves_nothing(monkeypatch):
    """An hour's step between two reports: the NTP times of both tracks stay on the line that the first item began."""
    line, clock = NtpLine(), SessionClock()
    line.anchor(Ns(5 * SECOND))
    before = line.at(5 * 90_000, 90_000)
    real = aiortc.clock.current_datetime
    monkeypatch.setattr(aiortc.clock, "current_datetime", lambda: real() + datetime.timedelta(hours=1))
    line.anchor(Ns(6 * SECOND))
    assert line.at(6 * 90_000, 90_000) - before == 1 << 32
    assert line.at(6 * 48_000, 48_000) == line.at(6 * 90_000, 90_000)
    assert clock.now() < 60 * SECOND


def test_nothing_but_names_and_records_asks_for_the_time_of_day():
    """What moves media asks the session's clock. Allowed: the day an avatar was made, agreed to or labelled, a
    certificate's first day, a TURN credential's last second, a recording's file name, a timecode's beginning, and where
    the NTP line begins."""
    allowed = {"portrait/onboard.py", "recordings.py", "outputs.py", "calibrate.py", "streams/rtc_patches.py"}
    allowed |= {"portrait/consent.py", "trust/keys.py", "trust/signed_label.py", "streams/ice.py"}
    asks = re.compile(
        r"\btime\.time\(|time\.time_ns\(|datetime\.now\(|strftime\(|current_ntp_time\(|current_datetime\("
    )
    root = Path(avatar.__file__).parent
    folders = ("core", "pipeline", "analysis", "sync", "engines", "portrait", "streams", "trust")
    files = [p for f in folders for p in (root / f).rglob("*.py")] + list(root.glob("*.py"))
    found = {p.relative_to(root).as_posix() for p in files if asks.search(p.read_text(encoding="utf-8"))}
    assert len(files) > 60
    assert found <= allowed
