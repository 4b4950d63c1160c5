"""What a session gives up when its machine cannot keep up, seen by somebody who watches it over a real connection. What
comes when, to the picture, is in tests/unit/test_giving_up.py: here others may use the machine."""

from __future__ import annotations

import asyncio

import aiohttp
import av
import numpy as np
import pytest
from rtc_client import Client
from test_workers import SDP

from avatar.config import load
from avatar.scale.worker import SessionWorker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FPS = 20


@pytest.fixture
async def worker():
    settings = ("server.port=0", "avatar.quality=high", f"avatar.fps={FPS}", "avatar.size=512", "input.audio=silence")
    made = SessionWorker(load(None, settings).config)
    yield made
    await made.end()


def steps(pictures: list[av.VideoFrame]) -> np.ndarray:
    """Between two pictures, by their RTP time, in twentieths of a second: however late any of them has come."""
    return np.rint(np.diff([picture.pts for picture in pictures]) / (90_000 / FPS)).astype(int)


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

            async def next_pictures(count: int = 18) -> list[av.VideoFrame]:
                """That many pictures, after those that were on their way."""
                del seen[:]
                await viewer.until(lambda: len(seen) >= 8 + count, 60)
                return seen[8 : 8 + count]

            async def all_of_it() -> None:
                """A busy machine, or a network taken for a weak one, leaves out more for a time: each is seen once."""
                sides, odd = set[int](), False
                async with asyncio.timeout(90):
                    while not odd or 512 not in sides:
                        pictures = await next_pictures()
                        odd |= any(steps(pictures) % 2)
                        sides |= {picture.width for picture in pictures}
                assert pipeline.choice.tier.quality == "high"

            await all_of_it()
            for level, most, quality in ((1, 512, "high"), (2, 256, "high"), (3, 256, "low")):
                await worker.give_up(level)
                pictures = await next_pictures()
                assert not any(steps(pictures) % 2), "every other picture, or fewer"
                assert max(picture.width for picture in pictures) <= most
                assert pipeline.choice.tier.quality == quality
            assert worker.beat()["level"] == 3
            await worker.give_up(0)
            await all_of_it()
