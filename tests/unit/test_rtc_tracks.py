"""What leaves for the peers, what arrives from them, and the changes to aiortc that need no network."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from aiortc import RTCRtpReceiver, RTCRtpSender

from avatar.core.types import MILLISECOND, SECOND, AudioChunk, AvatarFrame, FaceState, Ns
from avatar.errors import RunError, UsageError
from avatar.streams import rtc_patches
from avatar.streams.base import StreamFormat
from avatar.streams.pixels import to_i420
from avatar.streams.rtc_patches import NtpLine, check_aiortc
from avatar.streams.rtc_shared import Pictures
from avatar.streams.signaling import without_names
from avatar.streams.sinks.webrtc import Framer, WebRtcSink
from avatar.streams.sources.webrtc import PeerAudioSource, PeerInput, PeerVideoSource, to_rgb

LOOK_AHEAD = 312
"""Samples by which Opus's packets are stamped earlier than what was put in (6.5 ms)."""


def chunk(start_ms: float, samples: int = 960, *, value: float = 0.25, discontinuity: bool = False) -> AudioChunk:
    data = np.full(samples, value, np.float32)
    return AudioChunk(Ns(round(start_ms * MILLISECOND)), data, 48_000, discontinuity)


def picture(ms: float, size: int = 64) -> AvatarFrame:
    pts = Ns(round(ms * MILLISECOND))
    return AvatarFrame(pts, np.full((size, size, 3), 90, np.uint8), FaceState(pts))


# --- changes to aiortc ---------------------------------------------------------------------------------------------


def test_the_installed_aiortc_is_one_we_know():
    check_aiortc()


@pytest.mark.parametrize("found", ["1.15.0", "1.17.0", "2.0.0"])
def test_another_aiortc_is_refused(monkeypatch, found):
    monkeypatch.setattr(rtc_patches, "version", lambda name: found)
    with pytest.raises(RunError, match=rf"aiortc {found} is not supported; .*pip install"):
        check_aiortc.__wrapped__()


def test_changed_insides_are_named(monkeypatch):
    monkeypatch.delattr(RTCRtpSender, "_next_encoded_frame")
    monkeypatch.setattr(rtc_patches, "_RECEIVER_USES", ("jitter_buffer", "reassembler"))
    with pytest.raises(RunError, match=r"\(no reassembler, _next_encoded_frame\)"):
        check_aiortc.__wrapped__()


def test_nothing_is_changed_for_other_users_of_aiortc():
    assert RTCRtpSender.__module__ == "aiortc.rtcrtpsender"
    assert RTCRtpReceiver._handle_rtp_packet.__module__ == "aiortc.rtcrtpreceiver"


def test_both_clocks_meet_on_the_ntp_line():
    line = NtpLine()
    assert line.at(48_000, 48_000) == 0, "nothing is known before the first item"
    line.anchor(Ns(3 * SECOND))
    zero = line.at(0, 90_000)
    line.anchor(Ns(9 * SECOND))
    assert line.at(0, 90_000) == zero, "one line for the whole session"
    for t in (Fraction(1, 3), Fraction(7), Fraction(86_400)):
        video, audio = line.at(int(t * 90_000), 90_000), line.at(int(t * 48_000), 48_000)
        assert abs(video - audio) < 2**32 // 48_000 + 1
        assert (video - zero) / 2**32 == pytest.approx(float(t))


# --- sound out -----------------------------------------------------------------------------------------------------


def test_sound_is_cut_into_20_ms():
    framer = Framer()
    out = [f for n in range(10) for f in framer.push(chunk(n * 10, 480))]
    assert [at for at, _ in out] == [0, 960, 1920, 2880, 3840]
    assert all(pcm.dtype == np.int16 and pcm.shape == (960,) and pcm[0] == 8192 for _, pcm in out)


def test_a_small_unevenness_leaves_the_count_whole():
    framer = Framer()
    starts = [0, 20.4, 39.7, 61, 80]
    assert [at for s in starts for at, _ in framer.push(chunk(s))] == [0, 960, 1920, 2880, 3840]


def test_a_gap_shows_in_the_time_stamps():
    framer = Framer()
    out = [at for c in (chunk(0), chunk(20), chunk(100), chunk(120)) for at, _ in framer.push(c)]
    assert out == [0, 960, 4800, 5760]
    assert [at for at, _ in framer.push(chunk(145, discontinuity=True))] == [6960]


def test_time_never_goes_back():
    framer = Framer()
    assert [at for at, _ in framer.push(chunk(100))] == [4800]
    assert framer.push(chunk(50, discontinuity=True)) == []
    assert framer.push(chunk(110, discontinuity=True)) == [], "half of it was sent already"
    assert [at for at, _ in framer.push(chunk(120, discontinuity=True))] == [5760]


def test_bad_samples_do_no_harm():
    loud = AudioChunk(Ns(0), np.array([2.0, -2.0, np.nan, np.inf] * 240, np.float32), 48_000)
    ((_, pcm),) = Framer().push(loud)
    assert pcm[:4].tolist() == [32767, -32768, 0, 32767]


# --- the sink ------------------------------------------------------------------------------------------------------


async def pull(*tracks) -> list[asyncio.Task]:
    """Start reading, as the senders of a connection do."""
    tasks = [asyncio.create_task(track.recv()) for track in tracks]
    await asyncio.sleep(0)
    return tasks


async def done(task: asyncio.Task) -> bool:
    await asyncio.sleep(0)
    return task.done()


async def test_nothing_leaves_before_both_tracks_are_ready():
    sink = WebRtcSink()
    await sink.open(StreamFormat())
    outlet = sink.attach()
    await sink.video(picture(0))
    await sink.audio(chunk(0))
    (video,) = await pull(outlet.video)
    await sink.video(picture(33))
    await sink.audio(chunk(20))
    assert not await done(video), "nobody sends the sound yet"
    (audio,) = await pull(outlet.audio)
    await sink.video(picture(66))
    assert not await done(video), "no sound yet that could be sent"
    await sink.audio(chunk(60))
    assert await done(audio)
    await sink.video(picture(100))
    assert await done(video)
    assert (await audio).pts == 2880 - LOOK_AHEAD
    assert (await video).pts == 9000
    await sink.close()


async def test_a_session_of_pictures_alone_opens_after_a_second():
    sink = WebRtcSink()
    outlet = sink.attach()
    video, _ = await pull(outlet.video, outlet.audio)
    for n in range(31):
        await sink.video(picture(n * 100 / 3))
    assert not await done(video)
    await sink.video(picture(1050))
    assert await done(video)
    await sink.close()


async def test_a_peer_that_wants_pictures_only_need_not_wait_for_sound():
    sink = WebRtcSink()
    outlet = sink.attach()
    outlet.expect({"video"})
    (video,) = await pull(outlet.video)
    await sink.video(picture(10))
    assert await done(video)
    await sink.close()


async def test_a_slow_peer_goes_on_from_a_key_frame_and_loses_sound_in_the_end():
    sink, now = WebRtcSink(), [0.0]
    sink.pictures = Pictures(lambda: now[0])
    outlet = sink.attach()
    tasks = await pull(outlet.video, outlet.audio)
    for n in range(60):
        now[0] = n / 50
        await sink.audio(chunk(20 * n))
        await sink.video(picture(20 * n))
    assert sink.dropped_of["video"] > 50
    assert sink.dropped_of["audio"] >= 30, "half a second may wait"
    assert not outlet.viewer.wants_key, "who sends nothing costs the others no key frames"
    sent = [await tasks[0]] + [await outlet.video.recv() for _ in range(4)]
    assert [packet.is_keyframe for packet in sent] == [True, False, False, False, False]
    assert [round(packet.pts / 1800) for packet in sent] == [0, 1, 2, 3, 4], "in one piece, up to where it stuck"
    (task,) = await pull(outlet.video)
    now[0] = 2.0
    await sink.video(picture(2000))
    assert (await task).is_keyframe, "and on from here"
    before = sink.dropped_of
    sink.detach(outlet)
    sink.detach(outlet)
    assert sink.dropped_of == before, "the count outlives the peer"
    await sink.close()


async def test_time_stamps_are_the_sessions():
    sink = WebRtcSink()
    outlet = sink.attach()
    tasks = await pull(outlet.video, outlet.audio)
    hour = 3600 * 1000
    await sink.audio(chunk(hour))
    await sink.video(picture(hour + 10))
    await sink.audio(chunk(hour + 20))
    video, audio = await tasks[0], await tasks[1]
    assert (video.pts, audio.pts) == ((hour + 10) * 90, (hour + 20) * 48 - LOOK_AHEAD)
    assert (Fraction(video.time_base), Fraction(audio.time_base)) == (Fraction(1, 90_000), Fraction(1, 48_000))
    await sink.close()


async def test_pictures_of_the_past_and_other_rates_are_not_sent():
    sink = WebRtcSink()
    outlet = sink.attach()
    outlet.expect({"video"})
    (task,) = await pull(outlet.video)
    await sink.video(picture(50))
    await task
    (task,) = await pull(outlet.video)
    await sink.video(picture(50))
    await sink.video(picture(20))
    assert not await done(task)
    with pytest.raises(ValueError, match="44100 Hz"):
        await sink.audio(replace(chunk(0), rate=44_100))
    with pytest.raises(UsageError, match="48000 Hz, not 16000"):
        await sink.open(StreamFormat(audio_rate=16_000))
    await sink.close()
    await asyncio.gather(task, return_exceptions=True)


async def test_nobody_watching_means_nothing_to_draw():
    sink = WebRtcSink()
    assert not sink.active
    outlet = sink.attach()
    assert sink.active
    sink.detach(outlet)
    assert not sink.active


def test_colours_survive_the_conversion():
    rgb = np.zeros((64, 96, 3), np.uint8)
    rgb[:, :32], rgb[:, 32:64], rgb[:, 64:] = (200, 30, 30), (30, 180, 60), (20, 60, 210)
    i420 = to_i420(rgb)
    assert i420.shape == (96, 96)
    back = av.VideoFrame.from_ndarray(i420, format="yuv420p").to_ndarray(format="rgb24")
    assert np.abs(back[:, [8, 48, 88]].astype(int) - rgb[:, [8, 48, 88]]).max() <= 4
    assert to_i420(np.zeros((33, 41, 3), np.uint8)).shape == (48, 40)


# --- from the peers ------------------------------------------------------------------------------------------------


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = Ns(0)

    def now(self) -> Ns:
        return self.time

    async def sleep_until(self, t: Ns) -> None:
        self.time = Ns(max(self.time, t))


def heard(n: int, start: int = 0) -> av.AudioFrame:
    pcm = np.empty((960, 2), np.int16)
    pcm[:, 0], pcm[:, 1] = 1000, 3000
    made = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), "s16", "stereo")
    made.sample_rate, made.pts, made.time_base = 48_000, start + n * 960, Fraction(1, 48_000)
    return made


def seen(n: int, width: int = 320, height: int = 240) -> av.VideoFrame:
    made = av.VideoFrame.from_ndarray(to_i420(np.full((height, width, 3), 120, np.uint8)), format="yuv420p")
    made.pts, made.time_base = n * 3000, Fraction(1, 90_000)
    return made


async def take(source, count: int) -> list:
    out = []
    items = source.items()
    for _ in range(count):
        out.append(await asyncio.wait_for(anext(items), 2))
    await items.aclose()
    return out


async def test_a_microphone_becomes_chunks_on_the_session_clock():
    clock, rng = SetClock(), np.random.default_rng(1)
    inlet = PeerInput(clock)
    source = PeerAudioSource(inlet)
    await source.open(clock)
    inlet.choose("audio", "a")
    for n in range(40):
        clock.time = Ns(5 * SECOND + n * 20 * MILLISECOND + int(rng.integers(0, 8 * MILLISECOND)))
        await inlet.deliver("audio", "a", heard(n, start=77_777))
    chunks = await take(source, 40)
    assert chunks[0].discontinuity
    assert not any(c.discontinuity for c in chunks[1:])
    assert all(c.rate == 48_000 and len(c.samples) == 960 for c in chunks)
    assert chunks[0].samples[0] == pytest.approx(2000 / 32768), "the mean of both channels"
    for before, after in pairwise(chunks):
        assert abs(after.pts - before.end) <= MILLISECOND // 2, "one piece, whatever the network's jitter"
    expected = 5 * SECOND + 39 * 20 * MILLISECOND + 4 * MILLISECOND
    assert abs(chunks[-1].pts - expected) < 4 * MILLISECOND
    await source.close()


async def test_lost_sound_is_marked():
    clock = SetClock()
    inlet = PeerInput(clock)
    source = PeerAudioSource(inlet)
    await source.open(clock)
    inlet.choose("audio", "a")
    for n in (0, 1, 2, 5, 6):
        clock.time = Ns(n * 20 * MILLISECOND)
        await inlet.deliver("audio", "a", heard(n))
    chunks = await take(source, 5)
    assert [c.discontinuity for c in chunks] == [True, False, False, True, False]
    assert chunks[3].pts - chunks[2].end == pytest.approx(40 * MILLISECOND, abs=2 * MILLISECOND)
    await source.close()


async def test_a_slow_listener_loses_the_oldest_and_is_told():
    clock = SetClock()
    inlet = PeerInput(clock)
    source = PeerAudioSource(inlet)
    await source.open(clock)
    inlet.choose("audio", "a")
    for n in range(60):
        clock.time = Ns(n * 20 * MILLISECOND)
        await inlet.deliver("audio", "a", heard(n))
    assert source.dropped == 10
    chunks = await take(source, 50)
    assert [c.discontinuity for c in chunks] == [True] + [False] * 49
    assert chunks[0].pts == pytest.approx(200 * MILLISECOND, abs=MILLISECOND)
    await source.close()


async def test_a_camera_becomes_pictures_of_moderate_size():
    clock = SetClock()
    inlet = PeerInput(clock)
    source = PeerVideoSource(inlet)
    await source.open(clock)
    inlet.choose("video", "a")
    for n in range(5):
        clock.time = Ns(SECOND + n * SECOND // 30)
        await inlet.deliver("video", "a", seen(n, 1280, 720))
    assert source.dropped == 3, "only the newest wait"
    frames = await take(source, 2)
    assert frames[0].pixels.shape == (360, 640, 3)
    assert frames[0].pixels.dtype == np.uint8
    assert not frames[0].pixels.flags.writeable
    assert [f.pts for f in frames] == pytest.approx([SECOND + n * SECOND // 30 for n in (3, 4)], abs=MILLISECOND)
    assert to_rgb(seen(0, 322, 240)).shape == (240, 322, 3), "no wider: left as it is"
    await source.close()


async def test_the_sources_follow_the_choice():
    clock = SetClock()
    inlet = PeerInput(clock)
    source, only_b = PeerAudioSource(inlet), PeerAudioSource(inlet, peer="b")
    await source.open(clock)
    await only_b.open(clock)

    async def both(n: int) -> None:
        clock.time = Ns(n * 20 * MILLISECOND)
        await inlet.deliver("audio", "a", heard(n))
        await inlet.deliver("audio", "b", heard(n, start=1 << 30))

    await both(0)
    assert not source._items, "nobody is chosen"
    inlet.choose("audio", "a")
    await both(1)
    inlet.choose("audio", "b")
    await both(2)
    chunks = await take(source, 2)
    assert [c.discontinuity for c in chunks] == [True, True], "another microphone"
    assert chunks[1].pts > chunks[0].pts
    inlet.gone("b")
    assert inlet.chosen("audio") is None
    assert len([c async for c in only_b.items()]) == 3, "a source of one peer ends with it"
    waiting = asyncio.ensure_future(anext(source.items()))
    await both(3)
    assert not await done(waiting), "the other one waits"
    await source.close()
    await source.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


# --- offers --------------------------------------------------------------------------------------------------------


def test_names_are_taken_out_of_an_offer():
    offer = "\r\n".join(
        [
            "v=0",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "a=mid:x",
            "a=candidate:1 1 udp 2113937151 3f1a-b.local 51000 typ host generation 0",
            "a=candidate:2 1 udp 2113937151 192.0.2.7 51001 typ host",
            "a=end-of-candidates",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "a=mid:y",
            "a=candidate:3 1 udp 2113937151 77.local 51002 typ host",
            "",
        ]
    )
    kept, named = without_names(offer)
    assert ".local" not in kept
    assert "end-of-candidates" not in kept
    assert kept.count("a=candidate:") == 1
    assert [(c.ip, c.port, c.sdpMid, c.sdpMLineIndex) for c in named] == [
        ("3f1a-b.local", 51000, "x", 0),
        ("77.local", 51002, "y", 1),
    ]
