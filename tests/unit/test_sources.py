"""Sources without their devices: pace, loops, losses, cameras that go away."""

import asyncio
import json
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avatar.core import facs
from avatar.core.types import MILLISECOND, SECOND, AudioChunk, Ns, VideoFrame
from avatar.errors import DeviceError, MediaError
from avatar.streams.handover import Handover
from avatar.streams.sinks.recorder import Mux
from avatar.streams.sources.camera import CameraSource
from avatar.streams.sources.media_file import MediaFileSource
from avatar.streams.sources.microphone import SampleClock
from avatar.streams.sources.speech import SpeechSource
from avatar.streams.sources.states_file import read_states
from avatar.streams.sources.synthetic import FlashBeepSource, NoiseSource, SilenceSource, ToneSource
from avatar.streams.sources.text import Speech

RATE = 48_000


class JumpClock:
    """Sleeping takes no time: the clock is set to the moment slept for."""

    def __init__(self, start: int = 7 * SECOND) -> None:
        self.t = start

    def now(self) -> Ns:
        return Ns(self.t)

    async def sleep_until(self, t: Ns) -> None:
        self.t = max(self.t, t)
        await asyncio.sleep(0)


async def collect(source, clock, count: int = 10**9) -> list[AudioChunk]:
    await source.open(clock)
    chunks: list[AudioChunk] = []
    async for chunk in source.items():
        chunks.append(chunk)
        if len(chunks) == count:
            break
    await source.close()
    return chunks


def sound(chunks: list[AudioChunk]) -> np.ndarray:
    return np.concatenate([c.samples for c in chunks])


# --- paced sources --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
async def test_file_plays_at_real_time_pace_at_48_khz(tmp_path: Path, rate: int) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", tone, rate, subtype="FLOAT")
    clock = JumpClock()
    chunks = await collect(MediaFileSource(tmp_path / "a.wav"), clock)
    assert [c.pts for c in chunks] == [7 * SECOND + i * 20 * MILLISECOND for i in range(50)]
    assert clock.now() == chunks[-1].pts
    assert {(c.rate, len(c.samples)) for c in chunks} == {(RATE, 960)}
    wanted = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    middle = slice(RATE // 10, -RATE // 10)  # the resampler rings where the tone begins and ends
    assert np.abs(sound(chunks) - wanted)[middle].max() < 2e-3


async def test_looping_file_has_no_gap(tmp_path: Path) -> None:
    ramp = np.linspace(-0.9, 0.9, 5 * 960 + 400, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", ramp, RATE, subtype="FLOAT")
    chunks = await collect(MediaFileSource(tmp_path / "a.wav", loop=True), JumpClock(), 20)
    assert np.allclose(sound(chunks), np.resize(ramp, 20 * 960), atol=1e-6)
    assert not any(c.discontinuity for c in chunks)


async def test_the_demo_voice_pauses_in_silence_and_never_stalls() -> None:
    spoken = Speech(np.full(9_600, 0.5, np.float32), 48_000, ())
    chunks = await collect(SpeechSource(spoken, loop=True, pause=0.3), JumpClock(), 40)
    assert all(b.pts == a.end for a, b in pairwise(chunks))
    loud = [bool(np.any(c.samples)) for c in chunks]
    assert loud == [True] * 10 + [False] * 15 + [True] * 10 + [False] * 5
    assert all(c.lips == () for c, heard in zip(chunks, loud, strict=True) if not heard)


async def test_missing_file_fails_when_opened(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"nothing\.wav does not exist"):
        await MediaFileSource(tmp_path / "nothing.wav").open(JumpClock())


async def test_source_that_was_stopped_goes_on_later_and_says_so() -> None:
    clock, source = JumpClock(), ToneSource(duration=1)
    await source.open(clock)
    chunks = []
    async for chunk in source.items():
        chunks.append(chunk)
        if len(chunks) == 10:
            clock.t += 3 * SECOND  # the machine slept
    assert [i for i, c in enumerate(chunks) if c.discontinuity] == [10]
    assert chunks[10].pts - chunks[9].pts == 3 * SECOND
    assert chunks[11].pts - chunks[10].pts == 20 * MILLISECOND
    assert source.lags == 1
    assert len(chunks) == 50


async def test_synthetic_signals() -> None:
    tone = sound(await collect(ToneSource(1000, 0.5, duration=1), JumpClock()))
    assert np.argmax(np.abs(np.fft.rfft(tone))) == 1000
    assert np.abs(np.diff(tone)).max() < 0.5 * 2 * np.pi * 1000 / RATE * 1.01  # no click at the chunks' borders
    noise = [sound(await collect(NoiseSource(0.05, seed, duration=1), JumpClock())) for seed in (1, 1, 2)]
    assert np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], noise[2])
    assert noise[0].std() == pytest.approx(0.05, rel=0.02)
    assert not sound(await collect(SilenceSource(0.1), JumpClock())).any()


async def test_flash_and_beep_begin_together() -> None:
    start = 7 * SECOND
    chunks = await collect(FlashBeepSource(2), JumpClock(start))
    loud = [c.pts - start for c in chunks if np.abs(c.samples).max() > 0.4]
    cues = [cue for c in chunks for cue in c.lips or ()]
    jaw = [cue.mouth[facs.INDEX["jawOpen"]] for cue in cues]
    opens = [b.pts - start for a, b, x, y in zip(cues, cues[1:], jaw, jaw[1:], strict=False) if y > x]
    closes = [b.pts - start for a, b, x, y in zip(cues, cues[1:], jaw, jaw[1:], strict=False) if y < x]
    assert loud == [0, SECOND]
    assert jaw[0] == 1
    assert opens == [SECOND]
    assert closes == [100 * MILLISECOND, SECOND + 100 * MILLISECOND]
    assert max(b.pts - a.pts for a, b in pairwise(cues)) <= 20 * MILLISECOND


# --- from a device's thread to the loop -----------------------------------------------------------------------------


async def test_handover_keeps_order_and_counts_what_it_loses() -> None:
    queue = Handover[int](4)
    writer = threading.Thread(target=lambda: [queue.put(i) for i in range(10)])
    writer.start()
    writer.join()
    got = [await queue.get(1) for _ in range(4)]
    assert got == [(6, True), (7, False), (8, False), (9, False)]
    assert queue.dropped == 6


async def test_handover_wakes_its_reader_and_ends_with_the_error() -> None:
    queue = Handover[int](4)

    def write() -> None:
        queue.put(1)
        queue.fail(DeviceError("gone"))

    timer = threading.Timer(0.05, write)
    timer.start()
    assert await queue.get(5) == (1, False)
    with pytest.raises(DeviceError, match="gone"):
        await queue.get(5)
    timer.join()


async def test_handover_gives_up_after_a_while() -> None:
    with pytest.raises(TimeoutError):
        await Handover[int](1).get(0.01)


# --- camera ---------------------------------------------------------------------------------------------------------


class Scripted:
    """A camera that delivers a number of pictures and then goes away or breaks."""

    def __init__(self, pictures: int, end: Exception | None = None) -> None:
        self.left, self.end, self.closed = pictures, end, False
        self.go = threading.Semaphore(0)

    def read(self) -> np.ndarray | None:
        self.go.acquire(timeout=5)
        if self.left == 0:
            if self.end is not None:
                raise self.end
            return None
        self.left -= 1
        return np.full((4, 4, 3), self.left, np.uint8)

    def close(self) -> None:
        self.closed = True


async def watch(source: CameraSource, camera: Scripted, seen: list[VideoFrame]) -> None:
    async for frame in source.items():
        seen.append(frame)
        camera.go.release()


async def test_camera_vanishes_and_returns() -> None:
    plugged: list[Scripted] = [Scripted(2), Scripted(1, OSError("unplugged"))]
    made: list[Scripted] = []

    def connect(device: str, size: tuple[int, int], fps: int) -> Scripted:
        if not plugged:
            raise DeviceError("camera 0 cannot be opened")
        made.append(plugged.pop(0))
        return made[-1]

    source, clock, seen = CameraSource("0", connect=connect), JumpClock(), []
    for reason in ("went away; plug", r"went away \(unplugged\)"):
        await source.open(clock)
        made[-1].go.release()
        with pytest.raises(DeviceError, match=reason):
            await watch(source, made[-1], seen)
        await source.close()
        assert made[-1].closed
    with pytest.raises(DeviceError, match="cannot be opened"):
        await source.open(clock)
    assert [int(f.pixels[0, 0, 0]) for f in seen] == [1, 0, 0]
    assert seen[0].pts < seen[1].pts


async def test_busy_session_gets_the_latest_picture_only() -> None:
    camera = Scripted(5)
    source = CameraSource("0", connect=lambda *_: camera)
    await source.open(JumpClock())
    for _ in range(5):
        camera.go.release()
    for _ in range(500):
        if not camera.left:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # the last one is on its way from the camera to the queue
    frame = await anext(aiter(source.items()))
    assert frame.pixels[0, 0, 0] == 0
    assert source.dropped == 4
    camera.go.release()
    await source.close()


async def test_camera_that_is_not_there_says_what_to_do() -> None:
    with pytest.raises(DeviceError, match="camera 77 cannot be opened; plug it in") as error:
        await CameraSource("77").open(JumpClock())
    assert "\n" not in str(error.value)


async def test_video_file_stands_for_a_camera(tmp_path: Path) -> None:
    mux = Mux(tmp_path / "clip.mp4", (32, 32), 30, audio_rate=None)
    for i, colour in enumerate(((250, 10, 10), (10, 250, 10), (10, 10, 250))):
        mux.video(np.full((32, 32, 3), colour, np.uint8), Ns(i * SECOND // 30))
    mux.close()
    source = CameraSource(f"file:{tmp_path / 'clip.mp4'}")
    await source.open(JumpClock())
    frames: list[VideoFrame] = []
    async for frame in source.items():
        frames.append(frame)
        if len(frames) == 7:
            break
    await source.close()
    strongest = [int(np.argmax(f.pixels.mean(axis=(0, 1)))) for f in frames]
    assert strongest[:3] == [0, 1, 2] or len(set(strongest)) == 3  # a busy machine may miss one, red stays red
    assert len({f.pts for f in frames}) == 7
    with pytest.raises(MediaError, match="does not exist"):
        await CameraSource("file:nothing.mp4").open(JumpClock())


# --- states ---------------------------------------------------------------------------------------------------------


def test_states_file(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    lines = [{"t": 0, "arkit": {"jawOpen": 0.5}}, {"t": 0.04, "au": {"12": 1}}]
    path.write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    first, second = read_states(path)
    assert first.arkit[facs.INDEX["jawOpen"]] == 0.5
    assert second.pts == 40 * MILLISECOND
    assert second.arkit[facs.INDEX["mouthSmileLeft"]] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"t": 0}\n{"t": 1, "smile": 1}', r"s\.jsonl, line 2: unknown key 'smile'"),
        ('{"t": 0}\n\n{"t": 1', r"s\.jsonl, line 3: not JSON"),
        ("[1]", r"line 1: the state must be an object"),
        ('{"t": 1}\n{"t": 0.5}', "line 2: t goes back"),
        ('{"t": NaN}', "line 1: t must be a finite number"),
        ("\n\n", "holds no state"),
        ("[" * 100_000, "line 1: not JSON"),
    ],
)
def test_bad_states_file_names_the_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MediaError, match=says) as error:
        list(read_states(path))
    assert "\n" not in str(error.value)


def test_states_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be read"):
        list(read_states(tmp_path / "nothing.jsonl"))
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(MediaError, match="is not text"):
        list(read_states(tmp_path / "b.jsonl"))


# --- the microphone's clock -----------------------------------------------------------------------------------------

BLOCK = 480
TEN = 10 * MILLISECOND


def stamped(arrivals: list[int], lost: frozenset[int] = frozenset()) -> list[tuple[Ns, bool]]:
    clock = SampleClock(RATE)
    return [clock.stamp(BLOCK, Ns(t), i in lost) for i, t in enumerate(arrivals)]


def test_jitter_is_smoothed() -> None:
    random = np.random.default_rng(0)
    stamps = stamped([i * TEN + int(random.exponential(3 * MILLISECOND)) for i in range(3000)])
    steps = np.diff([t for t, _ in stamps[200:]])
    assert np.abs(steps - TEN).max() < MILLISECOND
    assert not any(gap for _, gap in stamps)


def test_a_busy_machine_does_not_move_the_sound() -> None:
    """Thirty blocks come at once after the process stood still: they were taken one after the other all the same."""
    arrivals = [i * TEN for i in range(300)]
    arrivals[100:130] = [arrivals[130]] * 30
    stamps = stamped(arrivals)
    assert not any(gap for _, gap in stamps)
    assert max(abs(t - i * TEN) for i, (t, _) in enumerate(stamps)) < 8 * MILLISECOND


def test_a_start_in_a_burst_is_put_right() -> None:
    stamps = stamped([200 * MILLISECOND] * 20 + [200 * MILLISECOND + i * TEN for i in range(1, 300)])
    assert all(b > a for (a, _), (b, _) in pairwise(stamps))
    offset = [t - (200 * MILLISECOND + (i - 19) * TEN) for i, (t, _) in enumerate(stamps)]
    assert abs(offset[-1]) < 60 * MILLISECOND


def test_samples_lost_in_silence_are_noticed_within_half_a_second() -> None:
    """The driver drops 200 ms and says nothing: from then on everything comes 200 ms later than counted."""
    arrivals = [i * TEN + (200 * MILLISECOND if i >= 100 else 0) for i in range(400)]
    stamps = stamped(arrivals)
    gaps = [i for i, (_, gap) in enumerate(stamps) if gap]
    assert len(gaps) == 1
    assert 125 <= gaps[0] <= 150
    assert abs(stamps[-1][0] - arrivals[-1]) < 5 * MILLISECOND


def test_samples_lost_and_reported_are_a_gap_at_once() -> None:
    arrivals = [i * TEN + (30 * MILLISECOND if i >= 100 else 0) for i in range(200)]
    stamps = stamped(arrivals, lost=frozenset({100}))
    assert [i for i, (_, gap) in enumerate(stamps) if gap] == [100]
    assert stamps[100][0] == arrivals[100]
