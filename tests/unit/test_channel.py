"""Bounded channels: nothing is lost silently, closing ends the reader."""

import asyncio

import numpy as np
import pytest

from avatar.core.types import AudioChunk, Ns
from avatar.pipeline.channel import Channel, ChannelClosedError, Policy
from avatar.testing.virtual_loop import run_virtual


def chunk(pts: int) -> AudioChunk:
    return AudioChunk(Ns(pts), np.zeros(4, np.float32), 48_000)


def test_latest_keeps_only_the_newest_and_counts_the_rest():
    async def main():
        channel = Channel(Policy.LATEST)
        for value in range(5):
            channel.put(value)
        return await channel.get(), channel.dropped, len(channel)

    assert run_virtual(main()) == (4, 4, 0)


def test_an_overrun_is_counted_and_marks_the_next_chunk():
    async def main():
        channel = Channel(Policy.LOSSLESS, 2)
        for pts in range(4):
            channel.put(chunk(pts))
        return [await channel.get(), await channel.get()], channel.overruns

    (first, second), overruns = run_virtual(main())
    assert overruns == 2
    assert (first.pts, first.discontinuity) == (2, True)
    assert (second.pts, second.discontinuity) == (3, False)


def test_closing_ends_the_loop_after_what_is_queued():
    async def main():
        channel = Channel(Policy.LOSSLESS, 5)
        channel.put(1)
        channel.put(2)
        channel.close()
        channel.put(3)
        taken = [item async for item in channel]
        with pytest.raises(ChannelClosedError):
            await channel.get()
        return taken

    assert run_virtual(main()) == [1, 2]


def test_a_waiting_reader_wakes():
    async def main():
        channel = Channel(Policy.LATEST)
        reader = asyncio.create_task(channel.get())
        await asyncio.sleep(10)
        channel.put("now")
        return await reader

    assert run_virtual(main()) == "now"


def test_capacity_must_be_positive():
    with pytest.raises(ValueError, match="at least 1"):
        Channel(Policy.LOSSLESS, 0)
