"""Real sound devices: a private PulseAudio, PortAudio, and our source and sinks between them."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avatar.core import facs
from avatar.core.clock import Clock, SessionClock
from avatar.core.types import MILLISECOND, SECOND, AudioChunk, AvatarFrame, Ns
from avatar.doctor import checks
from avatar.errors import DeviceError
from avatar.streams import devices
from avatar.streams.base import Sink, StreamFormat
from avatar.streams.sinks.speaker import TARGET, SpeakerSink
from avatar.streams.sinks.virtual_microphone import SOURCE, VirtualMicrophoneSink
from avatar.streams.sources.media_file import read_audio
from avatar.streams.sources.microphone import MicrophoneSource
from avatar.testing.pulse import MISSING, PulseDaemon, available
from avatar.testing.pulse_path import RATE, Report, measure, playing, words

pytestmark = [
    pytest.mark.devices,
    pytest.mark.skipif(not available(), reason=MISSING),
]


@pytest.fixture
def pulse() -> Iterator[PulseDaemon]:
    with PulseDaemon() as daemon:
        yield daemon


def test_devices_are_listed_and_the_doctor_finds_them(pulse: PulseDaemon) -> None:
    listed = devices.devices()
    assert "pulse:microphone  microphone  (PulseAudio)" in listed["microphones"]
    assert "pulse:heard  heard  (PulseAudio)" in listed["speakers"]
    states = {check.name: check.status for check in checks(models=lambda: [])}
    wanted = ("PortAudio", "microphone", "speaker", "virtual microphone")
    assert [states[name] for name in wanted] == ["ok"] * 4


@pytest.mark.slow
def test_words_come_out_at_a_constant_delay(pulse: PulseDaemon) -> None:
    """Microphone, timeline, a session's budget, virtual microphone. A machine that is busy with other things stalls now
    and then, which is not our fault: the best of three runs counts, and each must at least carry the words."""
    reports: list[Report] = []
    for _ in range(3):
        # Sound that comes later than the budget less the sink's own latency is lost. A busy test machine's sound server
        # can be a tenth of a second late, which is not what is tested here: hence the budget.
        reports.append(asyncio.run(measure(6, budget_ms=300)))
        assert reports[-1].similarity > 0.9
        assert reports[-1].input_overruns == 0
        if slips(reports[-1]) == 0 and spread(reports[-1]) < 10:
            break
    best = min(reports, key=lambda r: (slips(r), spread(r)))
    assert slips(best) <= 1, reports
    assert spread(best) < 20, reports
    added = best.delay_ms["p50"] - best.budget_ms
    # The sink gets its sound earlier by what it says it adds, so that it is heard when the picture is seen.
    # PulseAudio itself adds up to some 50 ms of which PortAudio does not know.
    assert -40 < added < 60, best


def slips(report: Report) -> int:
    return report.output_underruns + report.output_overruns


def spread(report: Report) -> float:
    return report.delay_ms["max"] - report.delay_ms["min"]


async def hear(device: str, seconds: float) -> list[AudioChunk]:
    clock, source, chunks = SessionClock(), MicrophoneSource(device), []
    await source.open(clock)
    try:
        async with asyncio.timeout(seconds + 5):
            async for chunk in source.items():
                chunks.append(chunk)
                if sum(len(c.samples) for c in chunks) >= seconds * RATE:
                    break
    finally:
        await source.close()
    return chunks


async def test_microphone_stamps_its_sound(pulse: PulseDaemon) -> None:
    with playing(words(6), PulseDaemon.SPEECH):
        chunks = await hear(PulseDaemon.MICROPHONE, 2)
    assert {(c.rate, len(c.samples)) for c in chunks} == {(RATE, 480)}
    assert max(np.abs(c.samples).max() for c in chunks) > 0.05
    steps = np.diff([c.pts for c in chunks])
    assert steps.min() > 0
    assert np.median(np.abs(steps - 10 * MILLISECOND)) < MILLISECOND


async def test_other_programs_find_the_virtual_microphone(pulse: PulseDaemon) -> None:
    sink = VirtualMicrophoneSink()
    await sink.open(StreamFormat())
    sound, stop = words(6), asyncio.Event()

    async def speak() -> None:
        clock = SessionClock()
        for i in range(len(sound) // 960):
            await clock.sleep_until(Ns(i * SECOND // 50))
            if stop.is_set():
                return
            await sink.audio(AudioChunk(clock.now(), sound[i * 960 : (i + 1) * 960], RATE))

    speaking = asyncio.create_task(speak())
    await asyncio.sleep(2)  # a null sink takes a while to start
    chunks = await hear(f"pulse:{SOURCE}", 1.5)
    stop.set()
    await speaking
    await sink.close()
    assert sink.microphone == ""
    assert np.concatenate([c.samples for c in chunks]).std() > 0.01
    left = await asyncio.to_thread(devices.pactl, "list", "short", "sinks")
    assert left is not None
    assert "avatar_sound" not in left


async def test_speaker_plays_by_default(pulse: PulseDaemon) -> None:
    sink = SpeakerSink()
    await sink.open(StreamFormat())
    await sink.audio(AudioChunk(Ns(0), np.zeros(960, np.float32), RATE))
    assert sink.latency > (TARGET + 0.01) * SECOND, "what is held, and at least a block in the driver"
    await sink.close()


@pytest.mark.parametrize(
    ("device", "says"),
    [("pulse:nothing", "has no microphone 'nothing'"), ("no such thing", "no microphone named 'no such thing'")],
)
async def test_unknown_device(pulse: PulseDaemon, device: str, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        await MicrophoneSource(device).open(SessionClock())


async def test_microphone_goes_away_with_its_server_and_comes_back(pulse: PulseDaemon) -> None:
    source = MicrophoneSource(PulseDaemon.MICROPHONE)
    await source.open(SessionClock())
    chunks = aiter(source.items())
    await asyncio.wait_for(anext(chunks), 5)
    pulse.stop()
    with pytest.raises(DeviceError, match=r"went away|no sound any more"):
        await drain(chunks)
    await source.close()
    with pytest.raises(DeviceError, match=r"sound server has no microphone|no microphone found"):
        await source.open(SessionClock())
    await source.close()
    pulse.start()
    assert await hear(PulseDaemon.MICROPHONE, 0.2)


async def drain(chunks) -> None:
    async with asyncio.timeout(10):
        async for _ in chunks:
            pass


TIMES = 2


class Watcher(Sink):
    """Notes when each picture leaves and how far its mouth is open."""

    name = "watcher"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seen: list[tuple[Ns, Ns, float]] = []

    async def open(self, form: StreamFormat) -> None:
        return

    async def video(self, frame: AvatarFrame) -> None:
        self.seen.append((frame.pts, self._clock.now(), float(frame.state.arkit[facs.INDEX["jawOpen"]])))

    async def close(self) -> None:
        return


def words_in(sound: np.ndarray) -> list[str]:
    """What a recogniser understands; sound (n,) of 48 kHz."""
    import soxr
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=16_000, loglevel="FATAL")
    decoder.start_utt()
    pcm = (np.clip(soxr.resample(sound, RATE, 16_000), -1, 1) * 32767).astype(np.int16)
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr.split() if hypothesis is not None else []


@pytest.mark.slow
async def test_a_voice_goes_through_the_whole_engine(pulse: PulseDaemon, recording: Path) -> None:
    """A real voice: microphone, engine, virtual microphone. The words come out, and the mouth moves with them."""
    import soxr

    from avatar.assembly import Pipeline
    from avatar.config import load

    voice = np.tile(soxr.resample(*read_audio(recording), RATE).astype(np.float32), TIMES)
    settings = [
        'input.audio="microphone"', f'input.device="{PulseDaemon.MICROPHONE}"', 'input.video="none"',
        'output.sinks=["virtual_microphone"]', f'output.microphone_device="{PulseDaemon.OUTPUT}"',
        "server.enabled=false", "avatar.size=256",
    ]  # fmt: skip
    pipeline = Pipeline(load(None, settings).config)
    watcher = Watcher(pipeline.clock)
    pipeline.attach(watcher)
    listener, heard = MicrophoneSource(PulseDaemon.MONITOR), []
    running = asyncio.create_task(pipeline.run())
    try:
        await listener.open(pipeline.clock)
        hearing = asyncio.create_task(collect(listener, heard))
        await asyncio.sleep(3)  # the devices start
        with playing(voice, PulseDaemon.SPEECH):
            await asyncio.sleep(len(voice) / RATE + 1.5)
        assert not running.done(), running
    finally:
        running.cancel()
        hearing.cancel()
        await asyncio.gather(running, hearing, return_exceptions=True)
        await listener.close()

    sound = np.concatenate([c.samples for c in heard])
    understood, direct = (Counter(words_in(s)) for s in (sound, voice))
    said = Counter(dict.fromkeys(["he", "was", "not", "an", "ill", "disposed", "young", "man"], TIMES))
    # The recogniser's own mistakes do not count, and a busy machine may lose one sentence of two.
    assert (understood & said).total() >= 0.5 * (direct & said).total() > 4, (understood, direct)

    late = [(left - pts) / MILLISECOND for pts, left, _ in watcher.seen]
    assert np.median(late) == pytest.approx(pipeline.config.sync.budget_ms, abs=15)
    jaw = [opening for _, _, opening in watcher.seen]
    assert max(jaw) > 0.15
    # Both as loudness and opening over time, by the moments at which they left.
    grid = np.arange(heard[0].pts, heard[-1].pts, 20 * MILLISECOND)
    level = np.interp(grid, [c.pts for c in heard], [float(np.sqrt(np.mean(c.samples**2))) for c in heard])
    opening = np.interp(grid, [left for _, left, _ in watcher.seen], jaw)
    lags = np.arange(-30, 31)
    alike = [np.corrcoef(np.roll(opening, lag), level)[0, 1] for lag in lags]
    assert max(alike) > 0.4
    # What the sound devices add; ITU-R BT.1359 has 125 ms as the limit at which late sound is noticed.
    assert abs(int(lags[int(np.argmax(alike))]) * 20) <= 125


async def collect(source: MicrophoneSource, into: list[AudioChunk]) -> None:
    async for chunk in source.items():
        into.append(chunk)
