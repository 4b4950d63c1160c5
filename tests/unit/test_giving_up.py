"""What a session gives up on a slow machine and takes back on a free one, in virtual time: the real engine, encoder and
shedding, no connection, and drawing takes as long as the test says, whatever else this machine does."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

import av
import pytest

from avatar.config import load
from avatar.pipeline import session
from avatar.scale import worker
from avatar.scale.worker import SessionWorker
from avatar.streams.sinks import webrtc
from avatar.testing.virtual_loop import InlineLane, VirtualClock, run_virtual

pytestmark = pytest.mark.slow
FPS, SIDE = 10, 288
SETTINGS = (
    *("server.enabled=false", "input.audio=silence", "input.video=none", "avatar.engine=head"),
    *("avatar.quality=high", f"avatar.fps={FPS}", f"avatar.size={SIDE}"),
)
SLOW, QUICK = 0.09, 0.005
"""Seconds that drawing a picture takes. Of 0.1 s between two, the first leaves nothing: pictures leave late."""


@dataclass
class Machine:
    """How long drawing takes on it."""

    takes: dict[str, float]
    worker: SessionWorker | None = None

    def lane(self, name: str) -> InlineLane:
        machine = self

        class Lane(InlineLane):
            async def run(self, work, *args):
                assert machine.worker is not None
                await asyncio.sleep(machine.takes[machine.worker._pipeline.choice.tier.quality])
                return work(*args)

        return Lane(name)


async def at_once(work, *args):
    return work(*args)


@pytest.fixture
def machine(monkeypatch):
    made = Machine({"high": QUICK, "low": QUICK})
    monkeypatch.setattr(session, "ThreadLane", made.lane)
    monkeypatch.setattr(webrtc, "ThreadLane", InlineLane)
    monkeypatch.setattr(worker, "SessionClock", VirtualClock)
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    return made


@dataclass(frozen=True)
class Seen:
    """A picture that reached a viewer."""

    at: float
    pts: float
    side: int


class Viewer:
    """Decodes what a connection would be given."""

    def __init__(self, sink: webrtc.WebRtcSink) -> None:
        self.seen: list[Seen] = []
        self._outlet = sink.attach()
        self._outlet.expect({"video"})
        self.task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        decoder = av.CodecContext.create("vp8", "r")
        while True:
            packet = await self._outlet.video.recv()
            for frame in decoder.decode(av.Packet(bytes(packet))):
                now = asyncio.get_running_loop().time()
                self.seen.append(Seen(now, packet.pts / 90_000, frame.width))

    def since(self, start: float) -> tuple[set[float], set[int]]:
        """Seconds between two pictures, and sides, of what was drawn from then on."""
        seen = [each for each in self.seen if each.pts >= start]
        return {round(b.pts - a.pts, 3) for a, b in itertools.pairwise(seen)}, {each.side for each in seen}


async def watched(machine: Machine) -> tuple[SessionWorker, Viewer]:
    worker = machine.worker = SessionWorker(load(None, SETTINGS).config)
    assert (await worker.begin())["address"] == ""
    assert worker._pipeline.hub is not None
    return worker, Viewer(worker._pipeline.hub.sink)


async def until(worker: SessionWorker, level: int, patience: float) -> float:
    """Virtual seconds until it has given up so much; half a second more for what was on its way."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while worker.beat()["level"] != level:
        assert loop.time() - begun < patience, f"level {worker.beat()['level']}, not {level}"
        await asyncio.sleep(0.1)
    took = loop.time() - begun
    await asyncio.sleep(0.5)
    return took


def test_each_level_takes_from_the_viewer_what_it_says(machine):
    async def main() -> dict[int, tuple[set[float], set[int], str]]:
        worker, viewer = await watched(machine)
        worker._shedding.cancel()  # the levels are given here
        found = {}
        for level in (0, 1, 2, 3, 0):
            await worker.give_up(level)
            await asyncio.sleep(1.0)
            start = asyncio.get_running_loop().time()
            await asyncio.sleep(2.0)
            found[level, len(found)] = (*viewer.since(start), worker._pipeline.choice.tier.quality)
        await worker.end()
        return found

    found = run_virtual(main())
    assert found == {
        (0, 0): ({0.1}, {SIDE}, "high"),
        (1, 1): ({0.2}, {SIDE}, "high"),
        (2, 2): ({0.2}, {SIDE // 2}, "high"),
        (3, 3): ({0.2}, {SIDE // 2}, "low"),
        (0, 4): ({0.1}, {SIDE}, "high"),
    }


def test_a_slow_machine_gives_up_one_thing_after_the_other_and_a_free_one_takes_all_back(machine):
    async def main() -> None:
        worker, viewer = await watched(machine)
        await asyncio.sleep(5.0)
        assert worker.beat()["level"] == 0, "quick enough: nothing is given up"
        machine.takes = {"high": SLOW, "low": QUICK}
        took = [await until(worker, level, 10.0) for level in (1, 2, 3)]
        assert max(took) < 5.0, took
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(5.0)
        assert worker.beat()["level"] == 3, "the smaller engine is quick enough"
        assert viewer.since(start) == ({0.2}, {SIDE // 2})
        assert worker.beat()["late_ms"] < 15
        machine.takes = {"high": QUICK, "low": QUICK}
        took = [await until(worker, level, 60.0) for level in (2, 1, 0)]
        assert all(4.0 < each < 15.0 for each in took), took
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(2.0)
        assert viewer.since(start) == ({0.1}, {SIDE})
        assert worker._pipeline.choice.tier.quality == "high"
        await worker.end()

    run_virtual(main())


def test_nobody_watches_and_nothing_is_judged(machine):
    async def main() -> None:
        worker, viewer = await watched(machine)
        viewer.task.cancel()
        worker._pipeline.hub.sink.detach(viewer._outlet)
        machine.takes = {"high": 10 * SLOW, "low": 10 * SLOW}
        await asyncio.sleep(20.0)
        assert worker.beat()["level"] == 0
        await worker.end()

    run_virtual(main())


def test_what_was_excused_is_not_held_against_it_later(machine):
    async def main() -> list[int]:
        worker, viewer = await watched(machine)
        await asyncio.sleep(3.0)
        worker._shedder.excuse(asyncio.get_running_loop().time())  # as when somebody comes
        machine.takes = {"high": SLOW, "low": SLOW}
        await asyncio.sleep(worker._shedder.EXCUSED_S)
        machine.takes = {"high": QUICK, "low": QUICK}
        levels = []
        for _ in range(60):
            await asyncio.sleep(0.1)
            levels.append(worker.beat()["level"])
        viewer.task.cancel()
        await worker.end()
        return levels

    assert set(run_virtual(main())) == {0}
