"""Sinks without their devices: the jitter buffer, the sound outputs' faults, the null sink."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avatar.core.types import AudioChunk, AvatarFrame, FaceState, Ns
from avatar.errors import DeviceError
from avatar.streams import devices
from avatar.streams.base import StreamFormat
from avatar.streams.sinks import speaker, virtual_microphone
from avatar.streams.sinks.jitter import JitterBuffer
from avatar.streams.sinks.null import NullSink
from avatar.streams.sinks.speaker import SpeakerSink
from avatar.streams.sinks.virtual_microphone import VirtualMicrophoneSink

RATE = 48_000


def sine(n: np.ndarray, frequency: float = 1000.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * n / RATE)).astype(np.float32)


def play(buffer: JitterBuffer, seconds: float, ppm: float = 0.0, jitter: float = 0.0, seed: int = 1) -> np.ndarray:
    """Push 20 ms at a time (late by up to ``jitter`` seconds), pull 10 ms at a time by a device whose clock is ``ppm``
    fast; returns what the device plays."""
    random = np.random.default_rng(seed)
    late = np.maximum.accumulate([i * 0.02 + random.uniform(0, jitter) for i in range(round(seconds * 50))])
    pushes = [(t, 0, i) for i, t in enumerate(late)]
    pulls = [(i * 0.01 / (1 + ppm * 1e-6), 1, i) for i in range(round(seconds * 100))]
    heard = []
    for _, kind, i in sorted(pushes + pulls):
        if kind == 0:
            buffer.push(sine(np.arange(i * 960, (i + 1) * 960)))
        else:
            heard.append(buffer.pull(480))
    return np.concatenate(heard)


def phase(sound: np.ndarray, at: float, frequency: float = 1000.0) -> float:
    """Phase, in samples of delay, of the tone in the 100 ms from ``at`` seconds."""
    n = np.arange(round(at * RATE), round(at * RATE) + 4800)
    angle = np.angle(np.sum(sound[n] * np.exp(-2j * np.pi * frequency * n / RATE))) + math.pi / 2
    return -angle / (2 * math.pi) * RATE / frequency


# --- jitter buffer --------------------------------------------------------------------------------------------------


def test_sound_comes_out_unchanged_and_at_a_constant_delay() -> None:
    buffer = JitterBuffer(RATE, 0.04)
    heard = play(buffer, 5)
    first = int(np.flatnonzero(heard)[0])
    assert 0.03 < first / RATE < 0.08
    assert buffer.underruns == buffer.overruns == 0
    settled = heard[first + 480 :]  # after the fade
    best = min(
        range(first - 2, first + 3), key=lambda d: np.abs(settled - sine(np.arange(first + 480, len(heard)) - d)).max()
    )
    assert np.abs(settled - sine(np.arange(first + 480, len(heard)) - best)).max() < 0.01


@pytest.mark.parametrize("ppm", [-200, 200])
def test_another_clock_is_followed_without_a_jump(ppm: int) -> None:
    buffer = JitterBuffer(RATE, 0.04)
    heard = play(buffer, 60, ppm=ppm)
    assert buffer.underruns == buffer.overruns == 0
    sound = heard[np.flatnonzero(heard)[0] + 480 :]
    # A jump would be a step; the steepest slope of the tone bounds what is none.
    assert np.abs(np.diff(sound)).max() < 0.5 * 2 * np.pi * 1000 / RATE * 1.02
    assert buffer.waiting == pytest.approx(buffer.delay, abs=0.02)


def test_uneven_delivery_does_not_bend_the_tone() -> None:
    buffer = JitterBuffer(RATE, 0.04)
    heard = play(buffer, 20, jitter=0.015)
    assert buffer.underruns == buffer.overruns == 0
    delays = np.unwrap([phase(heard, t) for t in np.arange(3.0, 19.0, 0.5)], period=48)
    assert np.ptp(delays) < 0.005 * RATE


def test_underrun_fades_out_waits_and_grows_the_delay() -> None:
    buffer = JitterBuffer(RATE, 0.03)
    for i in range(75):
        buffer.push(sine(np.arange(i * 960, (i + 1) * 960)))
        heard = [buffer.pull(480), buffer.pull(480)]
    assert np.abs(heard[-1]).max() > 0.4
    heard = np.concatenate([*heard, *(buffer.pull(480) for _ in range(8))])  # no more sound comes
    assert buffer.underruns == 1
    assert np.abs(np.diff(heard)).max() < 0.1  # a cut would be a click of up to 0.5
    assert not heard[-960:].any()
    buffer.push(sine(np.arange(960)))
    assert not buffer.pull(480).any()  # it fills up before it plays again
    assert buffer.delay == pytest.approx(0.03), "10 ms more than at first, less half a piece, which is there on average"


def test_stalled_device_costs_old_sound_and_is_counted() -> None:
    buffer = JitterBuffer(RATE, 0.03)
    for i in range(100):
        buffer.push(np.full(960, i / 100, np.float32))
    assert buffer.overruns > 0
    assert buffer.waiting <= 0.03 + JitterBuffer.ROOM
    buffer.push(np.full(960, 1.0, np.float32))
    assert np.concatenate([buffer.pull(480) for _ in range(2)])[-1] > 0.9


def test_high_frequencies_survive_between_the_samples() -> None:
    """A device 500 ppm off reads at every phase between samples; 10 kHz must not be lost there."""
    buffer = JitterBuffer(RATE, 0.04)
    tone = sine(np.arange(10 * RATE), 10_000)
    heard = []
    for i in range(480):
        buffer.push(tone[i * 960 : (i + 1) * 960 - (i % 2)])
        heard += [buffer.pull(480), buffer.pull(480)]
    late = np.concatenate(heard)[-RATE * 2 : -RATE // 2]
    windows = late[: len(late) // 480 * 480].reshape(-1, 480)
    level = np.sqrt(2 * (windows**2).mean(axis=1))
    assert np.median(level) == pytest.approx(0.5, rel=0.03)


# --- speaker and virtual microphone on a made-up driver -------------------------------------------------------------


class Driver:
    """Stands for PortAudio: keeps the callbacks so that the test can be the device."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed = 0

    def open(self, kind: str, device: str, rate: int, block: int, callback: Any, finished: Any, latency: float) -> Any:
        self.opened.append(device)
        self.callback, self.finished, self.block = callback, finished, block
        return SimpleNamespace(latency=0.02)

    def close(self, stream: Any) -> None:
        self.closed += 1

    def ask(self, underflow: bool = False) -> np.ndarray:
        out = np.zeros((self.block, 1), np.float32)
        times = SimpleNamespace(currentTime=5.0, outputBufferDacTime=5.02)
        self.callback(out, self.block, times, SimpleNamespace(output_underflow=underflow))
        return out[:, 0]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setattr(devices, "open_sound", made.open)
    monkeypatch.setattr(devices, "close_sound", made.close)
    return made


def chunk(i: int) -> AudioChunk:
    return AudioChunk(Ns(i * 20_000_000), sine(np.arange(i * 960, (i + 1) * 960)), RATE)


async def test_speaker_plays_and_knows_its_latency(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(speaker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    sink = SpeakerSink("headphones")
    await sink.open(StreamFormat())
    assert sink.latency == pytest.approx(50_000_000), (
        "its buffer and what the driver wishes, as long as nothing is known"
    )
    for i in range(20):
        await sink.audio(chunk(i))
        for _ in range(2):
            heard = driver.ask(underflow=i == 5)
            now[0] += 0.01
    assert np.abs(heard).max() == pytest.approx(0.5, rel=0.01)
    assert sink.latency == pytest.approx(60_000_000), "30 ms wait, 10 are asked for at a time, 20 are in the driver"
    # The block that was asked for last, at 390 ms, is heard at 410; its sound was pushed 60 ms before that.
    np.testing.assert_allclose(heard, sine(np.arange(17 * 960 + 480, 18 * 960)), atol=0.01)
    assert sink.device_underruns == 2
    await sink.close()
    await sink.close()
    assert (driver.opened, driver.closed) == (["headphones"], 1)


async def test_output_that_goes_away_is_reported(driver: Driver) -> None:
    sink = SpeakerSink()
    await sink.open(StreamFormat())
    await sink.audio(chunk(0))
    driver.finished()
    with pytest.raises(DeviceError, match=r"speaker \(default\) went away"):
        await sink.audio(chunk(1))
    await sink.close()
    await sink.open(StreamFormat())  # plugged in again
    await sink.audio(chunk(2))
    await sink.close()


async def test_output_whose_driver_hangs_is_reported(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = SpeakerSink()
    await sink.open(StreamFormat())
    sink._asked -= 6.0
    with pytest.raises(DeviceError, match="went away"):
        await sink.audio(chunk(0))
    await sink.close()


async def test_other_rates_are_a_mistake_of_the_program(driver: Driver) -> None:
    sink = SpeakerSink()
    await sink.open(StreamFormat())
    with pytest.raises(ValueError, match="16000 Hz"):
        await sink.audio(AudioChunk(Ns(0), np.zeros(320, np.float32), 16_000))
    await sink.close()
    with pytest.raises(DeviceError, match="not open"):
        await sink.audio(chunk(0))


class Server:
    """Stands for pactl and its sound server."""

    def __init__(self, refuse: str = "") -> None:
        self.modules: dict[str, str] = {}
        self.refuse = refuse

    def __call__(self, *words: str) -> str | None:
        match words:
            case ("list", "short", "sinks"):
                return "".join(f"1\t{virtual_microphone.SINK}\tx\n" for m in self.modules.values() if "null" in m)
            case ("load-module", name, *_):
                if name == self.refuse:
                    return None
                self.modules[str(len(self.modules) + 10)] = name
                return f"{len(self.modules) + 9}\n"
            case ("unload-module", number):
                del self.modules[number]
                return ""
        raise AssertionError(words)


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")


@pytest.mark.usefixtures("linux")
async def test_virtual_microphone_is_made_and_removed(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(devices, "pactl", server)
    sink = VirtualMicrophoneSink()
    await sink.open(StreamFormat())
    assert list(server.modules.values()) == ["module-null-sink", "module-remap-source"]
    assert driver.opened == ["pulse:avatar_sound"]
    assert sink.microphone == "avatar_microphone"
    await sink.close()
    assert server.modules == {}


@pytest.mark.usefixtures("linux")
async def test_virtual_microphone_leaves_nothing_behind_when_it_fails(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(refuse="module-remap-source")
    monkeypatch.setattr(devices, "pactl", server)
    with pytest.raises(DeviceError, match="refused module-remap-source; try: pactl load-module"):
        await VirtualMicrophoneSink().open(StreamFormat())
    assert server.modules == {}

    def busy(*_: Any) -> Any:
        raise DeviceError("busy")

    server.refuse = ""
    monkeypatch.setattr(devices, "open_sound", busy)
    with pytest.raises(DeviceError, match="busy"):
        await VirtualMicrophoneSink().open(StreamFormat())
    assert server.modules == {}


@pytest.mark.parametrize(
    ("platform", "says"), [("linux", "needs PulseAudio or PipeWire"), ("darwin", "BlackHole"), ("win32", "VB-Cable")]
)
async def test_virtual_microphone_says_what_is_missing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, platform: str, says: str
) -> None:
    monkeypatch.setattr(virtual_microphone.sys, "platform", platform)
    monkeypatch.setattr(devices, "pactl", lambda *_: None)
    monkeypatch.setattr(devices, "speakers", lambda: [devices.Device("0", "Built-in Output")])
    with pytest.raises(DeviceError, match=says):
        await VirtualMicrophoneSink().open(StreamFormat())


async def test_a_cable_is_found_by_its_name(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_microphone.sys, "platform", "darwin")
    found = [devices.Device("0", "Built-in Output"), devices.Device("3", "BlackHole 2ch")]
    monkeypatch.setattr(devices, "speakers", lambda: found)
    sink = VirtualMicrophoneSink()
    await sink.open(StreamFormat())
    assert driver.opened == ["3"]
    await sink.close()


async def test_null_sink_counts() -> None:
    sink = NullSink()
    await sink.open(StreamFormat())
    await sink.video(AvatarFrame(Ns(0), np.zeros((2, 2, 3), np.uint8), FaceState(Ns(0))))
    await sink.audio(AudioChunk(Ns(0), np.zeros(960, np.float32), RATE, discontinuity=True))
    await sink.audio(AudioChunk(Ns(20_000_000), np.zeros(960, np.float32), RATE))
    await sink.close()
    assert (sink.frames, sink.samples, sink.discontinuities) == (1, 1920, 1)
