"""What `avatar bench sync` measures with, on its way through files and over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from serve_for_test import SmallControl

from avatar.bench.sync import recorded
from avatar.core.clock import SessionClock
from avatar.core.types import SECOND, AudioChunk, AvatarFrame, FaceState, Ns, freeze
from avatar.streams.base import StreamFormat
from avatar.streams.server import Server
from avatar.streams.signaling import PeerHub
from avatar.streams.sinks.recorder import Mux
from avatar.testing import flash
from avatar.testing.relay import Impaired, Relay
from avatar.testing.viewer import Viewer

SIZE, FPS, RATE = 128, 30, 48_000
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE] / SIZE
BACKGROUND = np.random.default_rng(0).integers(90, 180, (SIZE, SIZE, 3), dtype=np.uint8)


def face(jaw: float) -> np.ndarray:
    """(SIZE, SIZE, 3): a dark ellipse below the middle, as high as the mouth is open."""
    pixels = BACKGROUND.copy()
    pixels[((COLUMNS - 0.5) / 0.12) ** 2 + ((ROWS - 0.68) / (0.01 + 0.1 * jaw)) ** 2 < 1] = 30
    return freeze(pixels)


def mouth() -> flash.Mouth:
    from avatar.testing.browser import MOUTH

    return flash.Mouth(np.array([flash.fields(face(jaw).mean(axis=2), MOUTH) for jaw in np.linspace(0, 1, 11)]))


@pytest.mark.parametrize("late_ms", [0, 30])
def test_a_file_is_measured_to_the_millisecond(tmp_path: Path, late_ms: int) -> None:
    """Sound that is put in late is found late: the measurement would see a fault."""
    script = flash.Script.make(9)
    mux = Mux(tmp_path / "a.mp4", (SIZE, SIZE), FPS, RATE)
    sound = np.concatenate([np.zeros(late_ms * 48, np.float32), script.sound() / np.float32(32768)])
    for n in range(9 * FPS):
        mux.video(face(float(script.jaw(np.array([n / FPS]))[0])), Ns(n * SECOND // FPS))
        mux.audio(sound[n * RATE // FPS : (n + 1) * RATE // FPS], Ns(n * SECOND // FPS))
    mux.close()
    found = flash.figures(recorded(tmp_path / "a.mp4", mouth()))
    assert found["events"] == len(script.times)
    assert found["skew_ms"]["p50"] == pytest.approx(-late_ms, abs=1.5)
    assert found["skew_ms"]["p99"] == pytest.approx(-late_ms, abs=4)


async def play(hub: PeerHub, clock: SessionClock, script: flash.Script) -> None:
    """The script as a session would send it, from now on."""
    begin = clock.now()
    sound = script.sound() / np.float32(32768)

    async def pictures() -> None:
        for n in range(int(script.seconds * FPS)):
            await clock.sleep_until(Ns(begin + n * SECOND // FPS))
            pixels = face(float(script.jaw(np.array([n / FPS]))[0]))
            pts = Ns(begin + n * SECOND // FPS)
            await hub.sink.video(AvatarFrame(pts, pixels, FaceState(pts)))

    async def chunks() -> None:
        for n in range(int(script.seconds * 50)):
            pts = Ns(begin + n * SECOND // 50)
            await clock.sleep_until(pts)
            await hub.sink.audio(AudioChunk(pts, freeze(sound[n * 960 : (n + 1) * 960].copy()), RATE))

    await asyncio.gather(pictures(), chunks())


async def test_sound_and_picture_stay_together_in_a_bad_network(tmp_path: Path) -> None:
    clock = SessionClock()
    hub = PeerHub(clock)
    server = Server(SmallControl(hub, tmp_path), hub)
    await hub.sink.open(StreamFormat(SIZE))
    playing = asyncio.create_task(play(hub, clock, flash.Script.make(40)))
    with Relay(seed=1) as relay:
        port = await server.start(port=0)
        async with Viewer(f"http://127.0.0.1:{port}", relay) as viewer:
            relay.impair(Impaired(0.05, 0.03))
            viewer.forget()
            await asyncio.sleep(9)
            by_report, by_arrival = viewer.seen(mouth())
            (peer,) = hub._peers.values()
            repeated = [sender.repeated for sender in peer.pc.getSenders()]
        playing.cancel()
        await server.stop()
        await hub.close()
        counts = dict(relay.counts)
    assert 0.02 < counts["down_lost"] / (counts["down_lost"] + counts["down_sent"]) < 0.09
    assert all(repeated), "a lossy network gets everything twice"
    found, arrived = flash.figures(by_report), flash.figures(by_arrival)
    assert found["events"] >= 4, found
    assert abs(found["skew_ms"]["p99"]) < 15, found
    assert arrived["events"] >= 4, arrived
