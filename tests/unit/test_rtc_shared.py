"""One encode for all viewers."""

from __future__ import annotations

import asyncio
import contextlib

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from avatar.core.types import MILLISECOND, AvatarFrame, FaceState, Ns
from avatar.streams.pixels import to_i420
from avatar.streams.rtc_rate import SendRate
from avatar.streams.rtc_shared import STEPS, Coded, Packer, Pictures, Viewer, shrunk
from avatar.streams.sinks.webrtc import Outlet, WebRtcSink


def picture(ms: float, size: int = 64) -> AvatarFrame:
    pts = Ns(round(ms * MILLISECOND))
    return AvatarFrame(pts, np.full((size, size, 3), 90, np.uint8), FaceState(pts))


async def read(outlet, into: list) -> None:
    with contextlib.suppress(MediaStreamError):
        while True:
            into.append(await outlet.video.recv())


async def test_one_encode_for_all_and_a_key_frame_for_who_comes_late():
    sink, now = WebRtcSink(), [0.0]
    sink.pictures = Pictures(lambda: now[0])
    got: dict[int, list] = {}
    tasks = []

    def join(k: int) -> None:
        outlet = sink.attach()
        outlet.expect({"video"})
        tasks.append(asyncio.create_task(read(outlet, got.setdefault(k, []))))

    join(0)
    for n in range(60):
        now[0] = n / 30
        if n == 20:
            for k in range(1, 50):
                join(k)
        await asyncio.sleep(0)
        await sink.video(picture(n * 100 / 3))
        await asyncio.sleep(0)
        assert sink.pictures.encodes == 1
    assert len(got[0]) == 60
    assert [n for n, packet in enumerate(got[0]) if packet.is_keyframe] == [0, 20], "a crowd costs one key frame"
    assert all(got[k] == got[0][20:] for k in range(1, 50)), "the same packets, from a key frame on"
    await sink.close()
    await asyncio.gather(*tasks)


async def test_key_frames_that_are_asked_for_are_gathered():
    sink, now = WebRtcSink(), [0.0]
    sink.pictures = Pictures(lambda: now[0])
    outlet = sink.attach()
    outlet.expect({"video"})
    got: list = []
    task = asyncio.create_task(read(outlet, got))
    for n in range(40):
        now[0] = n / 30
        outlet.viewer.wants_key = outlet.viewer.wants_key or 3 < n < 8
        await asyncio.sleep(0)
        await sink.video(picture(n * 100 / 3))
    await asyncio.sleep(0)
    assert len(got) == 40, "what comes between is sent all the same"
    assert [n for n, packet in enumerate(got) if packet.is_keyframe] == [0, 9]
    await sink.close()
    await task


def test_the_weakest_viewer_sets_the_rate_and_one_far_behind_gets_its_own():
    pictures = Pictures()
    crowd = [Viewer("video/VP8", rate) for rate in (3_000_000, 2_600_000, 2_000_000, None)]
    (rung,) = pictures.plan(crowd)
    assert rung.encoder.target_bitrate == 2_000_000
    bad = Viewer("video/VP8", 600_000, lost=False)
    rates = sorted((r.encoder.target_bitrate, len(r.viewers)) for r in pictures.plan([*crowd, bad]))
    assert rates == [(600_000, 1), (2_000_000, 4)]
    assert bad.lost, "another encode begins with a key frame"
    bad.estimate = 1_400_000
    assert len(pictures.plan([*crowd, bad])) == 2, "not back and forth"
    bad.estimate = 2_200_000
    assert len(pictures.plan([*crowd, bad])) == 1
    pictures.plan([])
    assert pictures.encodes == 0
    other = Viewer("video/H264")
    assert [type(r.encoder).__name__ for r in pictures.plan([crowd[0], other])] == ["LiveVp8Encoder", "LiveH264Encoder"]


def test_what_a_receiver_says_reaches_its_viewer():
    viewer = Viewer("video/VP8", lost=False, wants_key=False)
    packer = Packer(RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000), viewer)
    packer.target_bitrate = 700_000
    assert viewer.estimate == 700_000
    with pytest.raises(TypeError):
        packer.encode(av.VideoFrame(64, 64))


def test_a_narrow_network_costs_size_first_and_pictures_last_and_gets_them_back_slowly():
    now = [0.0]
    pictures, viewer = Pictures(lambda: now[0]), Viewer("video/VP8", 1_500_000)
    i420 = to_i420(np.full((512, 512, 3), 90, np.uint8))
    steps = []

    def second(estimate: int) -> tuple[int, int]:
        """(pictures sent, their width) of a second at 30 a second."""
        viewer.estimate, sent = estimate, []
        for _ in range(30):
            now[0] += 1 / 30
            (rung,) = pictures.plan([viewer])
            coded = pictures.encode(rung, i420, round(now[0] * 90_000))
            if coded is not None:
                sent.append(coded)
        steps.append(rung.step)
        codec = rung.encoder.codec
        assert codec is not None
        return len(sent), codec.width

    assert second(1_500_000) == (30, 512)
    assert second(300_000) == (30, 256), "at once"
    assert second(120_000)[1] == 256
    assert 14 <= second(120_000)[0] <= 16
    assert second(400_000) == second(400_000), "not in a hurry"
    for _ in range(4):
        second(400_000)
    assert steps[-1] == 1, "and not into what is just enough"
    for _ in range(5):
        second(900_000)
    assert second(900_000) == (30, 512)
    assert max(steps) == len(STEPS) - 1


def test_pictures_that_would_wait_are_not_made_and_the_encoder_does_not_make_up_for_them():
    """libvpx would give a picture after a stop of half a second what fifteen get."""
    now = [0.0]
    pictures, viewer = Pictures(lambda: now[0]), Viewer("video/VP8", 300_000, lost=False)
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    waits = False
    viewer.rate.__class__ = type("Held", (SendRate,), {"holds": property(lambda self: waits)})

    def second() -> list[tuple[int, int]]:
        """(time, bytes) of each picture of a second: noise that moves a little."""
        sizes = []
        for _ in range(30):
            now[0] += 1 / 30
            (rung,) = pictures.plan([viewer])
            moved = to_i420(np.roll(noise, round(now[0] * 30), 1))
            ticks = round(now[0] * 90_000)
            if (coded := pictures.encode(rung, moved, ticks)) is not None:
                assert coded.packet.pts == ticks
                sizes.append((ticks, coded.packet.size))
        return sizes

    second()
    usual = max(size for _, size in second())
    waits = True
    assert second() == []
    waits = False
    assert max(size for _, size in second()) < 1.3 * usual


def test_a_key_frame_after_a_loss_stands_for_all_that_waits():
    outlet = Outlet()
    outlet.viewer.lost = False
    packets = [av.Packet(bytes(100 + n)) for n in range(4)]
    for packet in packets[:3]:
        outlet.video.relay(Coded(packet, False))
    outlet.viewer.lose()
    assert not outlet.viewer.allows_repeats
    outlet.video.relay(Coded(packets[3], True))
    assert list(outlet.video._items) == [packets[3]]
    assert outlet.video.dropped == 3
    assert outlet.viewer.anew, "and for what is asked for again"


def test_a_shrunk_picture_is_the_same_smaller():
    rgb = np.zeros((66, 98, 3), np.uint8)
    rgb[:, :49], rgb[:, 49:] = (200, 30, 30), (20, 60, 210)
    small = shrunk(to_i420(rgb), 2)
    assert small.shape == (48, 48)
    back = av.VideoFrame.from_ndarray(small, format="yuv420p").to_ndarray(format="rgb24")
    assert back.shape == (32, 48, 3)
    assert np.abs(back[:, 8].astype(int) - (200, 30, 30)).max() <= 5
    assert np.abs(back[:, 40].astype(int) - (20, 60, 210)).max() <= 5
