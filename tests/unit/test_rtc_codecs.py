"""The live encoders: fast, on the session's timeline, at the receiver's rate."""

from __future__ import annotations

import time

import av
import numpy as np
import pytest
from aiortc.codecs import depayload
from aiortc.codecs.h264 import H264Decoder
from aiortc.codecs.opus import OpusDecoder
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from avatar.streams.pixels import to_i420
from avatar.streams.rtc_codecs import (
    LiveH264Encoder,
    LiveOpusEncoder,
    LiveVp8Encoder,
    live_encoder,
)
from avatar.streams.rtc_jitter import starts_key_frame

VIDEO = {"VP8": (LiveVp8Encoder, Vp8Decoder), "H264": (LiveH264Encoder, H264Decoder)}


def codec(name: str) -> RTCRtpCodecParameters:
    kind = "audio" if name == "opus" else "video"
    return RTCRtpCodecParameters(mimeType=f"{kind}/{name}", clockRate=90_000, payloadType=97)


def scene(n: int, size: int = 256) -> np.ndarray:
    """A smooth picture with something moving."""
    y, x = np.mgrid[:size, :size]
    picture = np.stack([x * 255 // size, y * 255 // size, (x + y) * 127 // size], -1).astype(np.uint8)
    left = n * 5 % (size - 64)
    picture[40:104, left : left + 64] = (230, 40, 60)
    return picture


def frame(n: int, size: int = 256) -> av.VideoFrame:
    made = av.VideoFrame.from_ndarray(to_i420(scene(n, size)), format="yuv420p")
    made.pts, made.time_base = n * 3000, VIDEO_TIME_BASE
    return made


@pytest.mark.parametrize("name", VIDEO)
def test_pictures_come_back(name):
    encoder, decoder = VIDEO[name][0](), VIDEO[name][1]()
    for n in range(12):
        payloads, ticks = encoder.encode(frame(n))
        assert ticks == n * 3000
        assert all(len(payload) <= 1300 for payload in payloads)
        decoded = decoder.decode(JitterFrame(b"".join(depayload(codec(name), p) for p in payloads), ticks))
        assert len(decoded) == 1, "a frame in, a frame out: nothing is held back"
    error = np.abs(decoded[0].to_ndarray(format="rgb24").astype(int) - scene(11)).mean()
    assert error < 6


@pytest.mark.parametrize("name", VIDEO)
def test_a_key_frame_on_demand_only(name):
    encoder = VIDEO[name][0]()
    keys = [n for n in range(300) if starts_key_frame(name, encoder.encode(frame(n, 128), n in (50, 51))[0][0])]
    assert keys == [0, 50, 51]


@pytest.mark.parametrize("name", VIDEO)
def test_the_rate_follows_the_receiver_without_a_key_frame_each_time(name, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    encoder = VIDEO[name][0]()
    default, low, high = encoder.LIMITS

    def key_after(rate: int, seconds: float) -> bool:
        encoder.target_bitrate = rate
        now[0] += seconds
        return starts_key_frame(name, encoder.encode(frame(int(now[0] * 30), 512))[0][0])

    assert encoder.target_bitrate == default
    assert key_after(default, 0)
    assert not key_after(round(default * 0.9), 0.1), "a small change"
    assert key_after(round(default * 0.5), 0.1), "the network is slower: at once"
    assert not key_after(default, 1.0), "it is faster: not in a hurry"
    assert key_after(default, 3.0)
    encoder.target_bitrate = 1
    assert encoder.target_bitrate == low
    encoder.target_bitrate = 1 << 30
    assert encoder.target_bitrate == high


def test_a_small_picture_gets_a_smaller_rate():
    encoder = LiveVp8Encoder()
    encoder.encode(frame(0, 512))
    assert encoder.target_bitrate == encoder.LIMITS[0]
    encoder.encode(frame(1, 256))
    assert encoder.target_bitrate == pytest.approx(encoder.LIMITS[0] * 0.4, rel=0.01)


def test_another_size_begins_anew():
    encoder = LiveVp8Encoder()
    encoder.encode(frame(0, 256))
    payloads, _ = encoder.encode(frame(1, 128))
    assert starts_key_frame("VP8", payloads[0])


@pytest.mark.parametrize(("name", "limit"), [("VP8", 2.6e6), ("H264", 3.2e6)])
def test_the_rate_is_kept(name, limit):
    """Two seconds of a picture that is hard to code stay near the target."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (64, 64, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    encoder = VIDEO[name][0]()
    size = 0
    for n in range(60):
        made = av.VideoFrame.from_ndarray(to_i420(np.roll(noise, 3 * n, 1)), format="yuv420p")
        made.pts, made.time_base = n * 3000, VIDEO_TIME_BASE
        size += sum(map(len, encoder.encode(made)[0]))
    assert 0.2 * limit < size * 8 / 2 < limit


def tone(n: int) -> np.ndarray:
    t = np.arange(n * 960, (n + 1) * 960) / 48_000
    return (np.sin(2 * np.pi * 440 * t) * 12_000).astype(np.int16)


def test_opus_keeps_the_timeline():
    """The sample that a packet's time stamp names is the one that was put in at that time."""
    encoder, decoder = LiveOpusEncoder(), OpusDecoder()
    times, out = [], []
    for n in range(30):
        payloads, ticks = encoder.pack(encoder.packet(tone(n), 5_000_000 + n * 960))
        assert len(payloads) == 1
        times.append(ticks)
        out.append(decoder.decode(JitterFrame(payloads[0], ticks))[0].to_ndarray().reshape(-1, 2)[:, 0])
    assert set(np.diff(times)) == {960}
    begin = times[0] - 5_000_000
    assert begin == -312, "Opus looks 6.5 ms ahead"
    heard = np.concatenate(out).astype(float)[9600:19_200]
    where = np.arange(9600, 19_200) + begin  # input samples, by the time stamps
    reference = np.sin(2 * np.pi * 440 * where / 48_000)
    quadrature = np.cos(2 * np.pi * 440 * where / 48_000)
    shift = np.arctan2(heard @ quadrature, heard @ reference) / (2 * np.pi * 440) * 1000
    assert abs(shift) < 0.1, f"{shift:.2f} ms"


def test_a_pause_stays_a_pause():
    """Nobody listened for an hour: the time stamps say so."""
    encoder = LiveOpusEncoder()
    times = [encoder.packet(tone(n), at).pts for n, at in enumerate((0, 960, 48_000 * 3600, 48_000 * 3600 + 960))]
    assert np.diff(times).tolist() == [960, 48_000 * 3600 - 960, 960]


def test_only_what_we_offer():
    assert isinstance(live_encoder(codec("VP8")), LiveVp8Encoder)
    assert isinstance(live_encoder(codec("H264")), LiveH264Encoder)
    assert isinstance(live_encoder(codec("opus")), LiveOpusEncoder)
    with pytest.raises(ValueError, match="no encoder"):
        live_encoder(codec("AV1"))
