"""What a session gives up when its machine cannot keep up, seen by somebody who watches it."""

from __future__ import annotations

import asyncio
import itertools

import aiohttp
import pytest
from rtc_client import Client
from test_workers import SDP

from avatar.config import load
from avatar.scale.worker import SessionWorker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture
async def worker():
    settings = ("server.port=0", "avatar.quality=high", "avatar.fps=20", "avatar.size=512", "input.audio=silence")
    made = SessionWorker(load(None, settings).config)
    yield made
    await made.end()


async def test_first_pictures_then_pixels_then_the_engine(worker):
    address = (await worker.begin())["address"]
    pipeline = worker._pipeline
    worker._shedding.cancel()  # how late pictures leave on a test machine is not what is tested

    async with aiohttp.ClientSession(address) as http:

        async def signal(sdp: str, kind: str) -> tuple[str, str, str]:
            async with http.post("/whep", data=sdp, headers={"Content-Type": SDP}) as response:
                return await response.text(), "answer", response.headers["Location"].rsplit("/", 1)[1]

        async with Client(signal, kinds=("video",)) as viewer:
            seen = viewer.frames["video"]
            await viewer.until(lambda: len(seen) >= 10)

            async def seen_now() -> tuple[float, int, str]:
                """Seconds between pictures by their RTP time, at least (a busy machine, or a network taken for a weak
                one, leaves more of them out), their side, and what draws them."""
                del seen[:]
                await viewer.until(lambda: len(seen) >= 18, 20)
                gaps = [b.pts - a.pts for a, b in itertools.pairwise(seen[8:])]
                return min(gaps) / 90_000, seen[-1].width, pipeline.choice.tier.quality

            async def all_of_it() -> None:
                async with asyncio.timeout(40):
                    while await seen_now() != (0.05, 512, "high"):
                        pass

            await all_of_it()
            await worker.give_up(1)
            gap, side, quality = await seen_now()
            assert (gap >= 0.1, quality) == (True, "high")
            await worker.give_up(2)
            gap, side, quality = await seen_now()
            assert (gap >= 0.1, side <= 256, quality) == (True, True, "high")
            await worker.give_up(3)
            gap, side, quality = await seen_now()
            assert (gap >= 0.1, side <= 256, quality) == (True, True, "low")
            assert worker.beat()["level"] == 3
            await worker.give_up(0)
            await all_of_it()
