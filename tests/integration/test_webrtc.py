"""Peers over real sockets on this computer."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time

import numpy as np
import pytest
from aiortc import RTCPeerConnection
from rtc_client import Camera, Client, Show, Tone, onsets, until

from avatar.core.clock import SessionClock
from avatar.errors import RunError, UsageError
from avatar.streams.rtc_jitter import PictureBuffer
from avatar.streams.signaling import PeerHub


@pytest.fixture
async def clock():
    return SessionClock()


@pytest.fixture
async def hub(clock):
    before = asyncio.all_tasks()
    made = PeerHub(clock)
    yield made
    await made.close()
    await until(lambda: not (asyncio.all_tasks() - before - {asyncio.current_task()}), 3)


def client(hub: PeerHub, **more) -> Client:
    async def signal(sdp: str, kind: str) -> tuple[str, str, str]:
        answer = await hub.offer(sdp, kind)
        return answer.sdp, answer.type, answer.peer

    return Client(signal, **more)


async def test_picture_and_sound_arrive(hub, clock):
    async with Show(hub.sink, clock), client(hub) as page:
        await page.until(lambda: len(page.frames["video"]) >= 30 and len(page.frames["audio"]) >= 50)
        assert hub.viewers == 1
        video, audio = page.frames["video"][5], page.frames["audio"][5]
        assert (video.width, video.height) == (128, 128)
        assert audio.sample_rate == 48_000
        assert "VP8/90000" in page.answer
        streams = {line.split()[0] for line in page.answer.splitlines() if line.startswith("a=msid:")}
        assert len(streams) == 1, "one MediaStream, or a browser does not synchronize the two"
        assert "127.0.0.1" in page.answer, "reachable without a network"


@pytest.mark.parametrize("late_ms", [0, 80])
async def test_the_reports_keep_sound_and_picture_together(hub, clock, late_ms):
    """However late the pictures are sent, the reports say which sound belongs to them."""
    async with Show(hub.sink, clock, late=late_ms * 1_000_000), client(hub) as page:
        await page.until(lambda: min(len(page.reports["video"]), len(page.reports["audio"])) >= 3)
        await page.until(lambda: len(page.frames["audio"]) >= 150)
        flashes, beeps = onsets(page.received("video"), 120), onsets(page.received("audio"), 6000)
        skews = [
            min((beep - flash for beep in beeps), key=abs)
            for flash in flashes
            if beeps[0] - 0.1 < flash < beeps[-1] + 0.1
        ]
        assert len(skews) >= 2
        assert max(map(abs, skews)) < 0.020, skews
        assert abs(np.median(skews)) < 0.005, skews
        for kind in ("video", "audio"):
            rate = 90_000 if kind == "video" else 48_000
            (ntp0, rtp0), (ntp1, rtp1) = page.reports[kind][0], page.reports[kind][-1]
            drift = (ntp1 - ntp0) / 2**32 - ((rtp1 - rtp0) % 2**32) / rate
            assert abs(drift) < 0.001, "the reports of one track lie on a line"


async def test_the_first_reports_come_early(hub, clock):
    async with Show(hub.sink, clock), client(hub) as page:
        await page.until(lambda: len(page.frames["video"]) >= 14)
        assert len(page.reports["video"]) >= 2
        assert len(page.reports["audio"]) >= 2


async def test_microphone_and_camera_reach_the_session(hub, clock):
    microphone, camera = hub.audio_source(), hub.video_source()
    await microphone.open(clock)
    await camera.open(clock)
    chunks, pictures = [], []

    async def read(source, into):
        async for item in source.items():
            into.append((clock.now(), item))

    readers = [asyncio.create_task(read(microphone, chunks)), asyncio.create_task(read(camera, pictures))]
    async with client(hub, audio=Tone(), video=Camera(fps=30)) as page:
        await until(lambda: hub.viewers == 1)
        await asyncio.sleep(0.3)
        assert chunks == pictures == [], "this page was not chosen"
        hub.choose(page.peer, audio=True, video=True)
        await until(lambda: len(chunks) > 50 and len(pictures) > 30)
    steady = [chunk for _, chunk in chunks[10:]]
    sound = np.concatenate([chunk.samples for chunk in steady])
    assert steady[0].rate == 48_000
    assert np.abs(np.fft.rfft(sound)).argmax() * 48_000 / len(sound) == pytest.approx(440, abs=2)
    assert np.abs(sound).max() == pytest.approx(16_000 / 32_768 / 2**0.5, rel=0.1)
    delays = [(now - item.pts) / 1e6 for now, item in chunks[10:]]
    assert np.median(np.abs(delays)) < 150, "stamped with the time it came in, on a busy computer too"
    assert pictures[5][1].pixels.shape == (240, 320, 3)
    times = [item.pts for _, item in pictures]
    assert times == sorted(times)
    # The page has gone: the sources wait for another one.
    await until(lambda: hub.viewers == 0)
    assert not any(reader.done() for reader in readers)
    async with client(hub, audio=Tone(), kinds=("audio",)):
        count = len(chunks)
        await until(lambda: hub.viewers == 1)
        hub.choose(None, audio=True)
        await until(lambda: len(chunks) > count + 10)
        assert chunks[count][1].discontinuity
    await microphone.close()
    await camera.close()
    await asyncio.gather(*readers)


async def test_an_incoming_picture_does_not_wait_for_the_next_one(hub, clock):
    """Five pictures a second: without the change each one came 200 ms late."""
    source, seen = hub.video_source(), []
    await source.open(clock)
    camera = Camera(fps=5)

    async def read():
        async for frame in source.items():
            seen.append((time.monotonic(), frame.pixels))

    reader = asyncio.create_task(read())
    async with client(hub, video=camera, kinds=("video",)) as page:
        hub.choose(page.peer, video=True)
        await until(lambda: len(seen) >= 9)
    delays = []
    for at, pixels in seen[2:]:
        number = round((pixels.mean() - 16) / 18)
        taken = max(t for n, t in camera.taken.items() if n % 12 == number and t < at)
        delays.append(at - taken)
    assert np.median(delays) < 0.1, delays
    await source.close()
    await reader


async def test_pictures_get_through_a_bad_network(hub, clock):
    source, seen = hub.video_source(), []
    await source.open(clock)
    rng = random.Random(3)

    async def read():
        async for frame in source.items():
            seen.append(frame.pixels)

    reader = asyncio.create_task(read())
    async with client(hub, video=Camera(fps=30), kinds=("video",)) as page:
        hub.choose(page.peer, video=True)
        await until(lambda: len(seen) >= 5)
        ice = page.pc.getSenders()[0].transport.transport
        send = ice._send

        async def lossy(data: bytes) -> None:
            if not (127 < data[0] < 192 and rng.random() < 0.1):
                await send(data)

        ice._send = lossy
        before = len(seen)
        await asyncio.sleep(4)
        assert len(seen) - before > 75, "of 120, with a tenth of the packets lost"
        flat = [pixels for pixels in seen if pixels.std() > 6]
        assert not flat, "a smeared picture"
    await source.close()
    await reader


async def test_tracks_that_nobody_reads_pile_up_nowhere(hub):
    async with client(hub, audio=Tone(), video=Camera()):
        await until(lambda: hub.viewers == 1)
        await asyncio.sleep(1.5)
        (peer,) = hub._peers.values()
        for receiver in peer.pc.getReceivers():
            assert receiver.track._queue.qsize() <= 2
            assert isinstance(receiver._RTCRtpReceiver__jitter_buffer._packets, dict)
            assert len(receiver._RTCRtpReceiver__jitter_buffer._packets) < PictureBuffer.REORDER


async def test_a_peer_that_leaves_leaves_nothing(hub, clock):
    async with Show(hub.sink, clock):
        before, threads = asyncio.all_tasks(), threading.active_count()
        async with client(hub, audio=Tone(), video=Camera()) as page:
            await page.until(lambda: page.frames["video"])
            assert len(hub.sink._outlets) == 1
        await until(lambda: page.peer not in hub and not hub.sink._outlets)
        await until(lambda: not (asyncio.all_tasks() - before), 3)
        await until(lambda: not [t for t in threading.enumerate() if t.name.endswith("-decoder")])
        assert threading.active_count() <= threads + 8, "only the pool that encodes"


async def test_ten_pages_come_and_go(hub, clock):
    async with Show(hub.sink, clock):
        before = asyncio.all_tasks()
        for _ in range(10):
            async with client(hub, audio=Tone()) as page:
                await page.until(lambda page=page: page.frames["video"] and page.frames["audio"])
            await hub.drop(page.peer)
            assert page.peer not in hub
        await until(lambda: not (asyncio.all_tasks() - before), 3)
    assert not hub.sink._outlets
    assert not hub.input._readers
    del page
    await asyncio.sleep(0.1)
    gc.collect()
    alive = [o for o in gc.get_objects() if type(o) is RTCPeerConnection]
    assert len(alive) <= 1


async def test_closing_that_takes_long_is_waited_for_only_a_while_and_still_ends(hub, clock):
    """On a busy machine it takes seconds; broken off, it would keep its sockets and tasks for ever."""
    async with client(hub) as page:
        (peer,) = hub._peers.values()
        await page.until(peer.connected.is_set)
        transports = [
            protocol.transport
            for transceiver in peer.pc.getTransceivers()
            for protocol in transceiver.receiver.transport.transport._connection._protocols
        ]
        close = peer.pc.close

        async def slowly() -> None:
            await asyncio.sleep(1.5)
            await close()

        peer.pc.close = slowly
        begun = asyncio.get_running_loop().time()
        assert await hub.drop(peer.id)
        assert asyncio.get_running_loop().time() - begun < 1.4
        assert transports
        assert not any(transport.is_closing() for transport in transports)
        await asyncio.wait_for(asyncio.gather(*hub._ending), 10)
        assert all(transport.is_closing() for transport in transports)


async def test_three_pages_at_once(hub, clock):
    async with Show(hub.sink, clock), client(hub) as a, client(hub) as b, client(hub, kinds=("video",)) as c:
        for page in (a, b, c):
            await page.until(lambda page=page: len(page.frames["video"]) > 20)
        assert hub.viewers == 3
        assert not c.frames["audio"]
        await hub.drop(b.peer)
        count = len(a.frames["video"])
        await a.until(lambda: len(a.frames["video"]) > count + 20)


async def test_h264_where_the_page_has_nothing_else(hub, clock):
    page = client(hub)
    signal = page._signal

    def only_h264(sdp: str) -> str:
        return "\r\n".join(line for line in sdp.splitlines() if "VP8" not in line).replace(
            "SAVPF 97 98 99 100 101 102", "SAVPF 99 100 101 102"
        )

    page._signal = lambda sdp, kind: signal(only_h264(sdp) + "\r\n", kind)
    async with Show(hub.sink, clock), page:
        await page.until(lambda: len(page.frames["video"]) > 20)
        assert "VP8" not in page.answer
        levels = {round(frame.to_ndarray(format="gray").mean(), -1) for frame in page.frames["video"]}
        assert levels & {30, 220, 230, 240, 20, 40}


async def test_a_page_that_never_connects_is_forgotten(clock):
    hub = PeerHub(clock, handshake_s=0.3)
    before = asyncio.all_tasks()
    page = RTCPeerConnection()
    page.addTransceiver("audio", direction="recvonly")
    await page.setLocalDescription(await page.createOffer())
    answer = await hub.offer(page.localDescription.sdp)
    await page.close()
    assert answer.peer in hub
    assert hub.viewers == 0
    await until(lambda: answer.peer not in hub, 2)
    await until(lambda: not (asyncio.all_tasks() - before), 3)
    assert not hub.sink._outlets
    assert await hub.drop(answer.peer) is False


async def test_a_page_that_vanishes_is_forgotten(clock):
    """A browser that is killed says nothing."""
    hub = PeerHub(clock, silence_s=2.5)
    async with Show(hub.sink, clock), client(hub) as page, client(hub) as other:
        await page.until(lambda: page.frames["video"] and other.frames["video"])
        await asyncio.sleep(3)
        assert hub.viewers == 2, "reports keep a connection alive"

        async def nothing(data: bytes) -> None:
            pass

        page.pc.getReceivers()[0].transport.transport._send = nothing
        await until(lambda: page.peer not in hub, 5)
        assert other.peer in hub
    await hub.close()


OFFERS = {
    "empty": "",
    "no description": "hello",
    "no media": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
    "no ice": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\n",
    "cut": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio\r\n",
}


@pytest.mark.parametrize("sdp", OFFERS.values(), ids=OFFERS.keys())
async def test_offers_that_cannot_be_used(hub, sdp):
    with pytest.raises(UsageError, match=r"^the offer cannot be used \(.+\); reload the page$"):
        await hub.offer(sdp)
    assert not hub._peers
    assert not hub.sink._outlets


async def test_an_offer_without_our_codecs(hub):
    page = RTCPeerConnection()
    page.addTransceiver("audio", direction="recvonly")
    await page.setLocalDescription(await page.createOffer())
    with pytest.raises(UsageError, match="cannot be used"):
        await hub.offer(page.localDescription.sdp.replace("opus/48000/2", "speex/8000"))
    with pytest.raises(UsageError, match="expected an offer"):
        await hub.offer(page.localDescription.sdp, "answer")
    await page.close()


async def test_there_is_a_limit(clock):
    hub = PeerHub(clock, max_peers=1)
    async with client(hub), client_refused(hub) as line:
        assert line == "1 pages are connected already, which is the limit; close one of them"
    await hub.close()


class client_refused:
    def __init__(self, hub: PeerHub) -> None:
        self._client = client(hub)

    async def __aenter__(self) -> str:
        with pytest.raises(RunError) as refused:
            await self._client.__aenter__()
        return str(refused.value)

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


async def test_nobody_comes_in_at_the_end(clock):
    hub = PeerHub(clock)
    await hub.close()
    with pytest.raises(RunError, match="the program is ending"):
        await hub.offer("v=0")
    await hub.close()


async def test_only_a_page_that_is_there_can_be_chosen(hub):
    with pytest.raises(UsageError, match="no page with the id 'nobody'"):
        hub.choose("nobody", audio=True)
    hub.choose(None, audio=True)
    assert hub.input.chosen("audio") is None
