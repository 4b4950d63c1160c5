"""The relay that stands for a bad network."""

from __future__ import annotations

import asyncio
import itertools
import socket

import numpy as np
import pytest

from avatar.testing.relay import OVERTAKEN_S, QUEUE_S, Impaired, Impairment, Relay

OFFER = (
    "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host\r\na=mid:0\r\n"
)


def through(impairment: Impairment, times: np.ndarray) -> list[float | None]:
    return [impairment.departure(float(t)) for t in times]


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.05, 0.1])
def test_the_share_that_is_lost(loss) -> None:
    lost = sum(at is None for at in through(Impairment(Impaired(loss), 3), np.arange(20_000) / 1000))
    assert lost / 20_000 == pytest.approx(loss, abs=0.006)
    assert (lost == 0) == (loss == 0)


def test_datagrams_are_late_by_up_to_the_jitter_and_keep_their_order() -> None:
    times = np.sort(np.random.default_rng(0).uniform(0, 60, 6000))
    left = np.array(through(Impairment(Impaired(jitter=0.08), 5), times), float)
    late = left - times
    assert (np.diff(left) >= 0).all()
    assert late.min() >= 0
    assert late.max() <= 0.08
    assert late.std() > 0.01
    assert late.max() > 0.07


def test_without_jitter_nothing_is_late() -> None:
    times = np.arange(100) / 7
    assert through(Impairment(Impaired(), 1), times) == times.tolist()


def test_the_same_seed_is_the_same_network() -> None:
    times = np.arange(3000) / 300
    one, two, other = (through(Impairment(Impaired(0.05, 0.03), seed), times) for seed in (9, 9, 10))
    assert one == two != other


def test_the_offer_has_no_way_round_the_relay() -> None:
    assert "candidate" not in Relay().offer(OFFER + "a=end-of-candidates\r\n")
    assert "a=mid:0" in Relay().offer(OFFER)


async def test_datagrams_go_both_ways_and_are_counted() -> None:
    loop = asyncio.get_running_loop()
    with Relay(seed=2) as relay, socket.socket(type=socket.SOCK_DGRAM) as engine:
        engine.bind(("127.0.0.1", 0))
        engine.setblocking(False)
        port = engine.getsockname()[1]
        line = f"a=candidate:1 1 udp 2113937151 127.0.0.1 {port} typ host"
        answer = await asyncio.to_thread(relay.answer, f"v=0\r\n{line}\r\n{line}\r\na=mid:0\r\n")
        (number,) = {int(text.split()[5]) for text in answer.splitlines() if text.startswith("a=candidate")}
        assert number != port
        with socket.socket(type=socket.SOCK_DGRAM) as viewer:
            viewer.setblocking(False)
            await loop.sock_sendto(viewer, b"hello", ("127.0.0.1", number))
            data, back = await asyncio.wait_for(loop.sock_recvfrom(engine, 100), 2)
            assert data == b"hello"
            relay.impair(Impaired(loss=0.2, jitter=0.01))
            got = []

            async def read() -> None:
                while True:
                    got.append(int(await loop.sock_recv(viewer, 100)))

            reading = asyncio.create_task(read())
            for number in range(300):
                await loop.sock_sendto(engine, str(number).encode(), back)
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.1)
            reading.cancel()
        assert got == sorted(got)
        assert relay.counts["down_sent"] == len(got)
        assert relay.counts["down_sent"] + relay.counts["down_lost"] == 300
        assert 30 < relay.counts["down_lost"] < 90
        assert relay.counts["up_sent"] == 0


def test_a_bottleneck_passes_its_rate_with_a_short_queue():
    way = Impairment(Impaired(rate=300_000), seed=1)
    gone = [way.departure(n / 100, 1250) for n in range(500)]  # a megabit a second for five seconds
    passed = [at for at in gone if at is not None]
    assert 8 * 1250 * len(passed) / passed[-1] == pytest.approx(300_000, rel=0.05)
    waits = [at - n / 100 for n, at in enumerate(gone) if at is not None]
    assert max(waits) <= QUEUE_S + 0.04
    assert way.departure(20.0, 1250) == pytest.approx(20.0 + 1 / 30, abs=0.001), "empty again"


def test_losses_in_bursts_have_their_share_and_their_length():
    lost = [at is None for at in through(Impairment(Impaired(0.05, burst=5), 7), np.arange(60_000) / 1000)]
    assert np.mean(lost) == pytest.approx(0.05, abs=0.008)
    starts = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
    assert sum(lost) / starts == pytest.approx(5, rel=0.12)


def test_a_long_way_takes_its_time():
    left = through(Impairment(Impaired(delay=0.15), 1), np.arange(100) / 50)
    assert left == pytest.approx(np.arange(100) / 50 + 0.15)


def test_some_are_overtaken():
    times = np.arange(20_000) / 1000
    late = np.array(through(Impairment(Impaired(reordered=0.05), 4), times), float) - times
    assert set(np.round(late, 6)) == {0.0, OVERTAKEN_S}
    assert (late > 0).mean() == pytest.approx(0.05, abs=0.006)


async def test_the_overtaken_come_after_those_behind_them():
    loop = asyncio.get_running_loop()
    with Relay(seed=2) as relay, socket.socket(type=socket.SOCK_DGRAM) as engine:
        engine.bind(("127.0.0.1", 0))
        engine.setblocking(False)
        number = await asyncio.to_thread(relay.open, "127.0.0.1", engine.getsockname()[1])
        relay.impair(Impaired(reordered=0.2))
        with socket.socket(type=socket.SOCK_DGRAM) as viewer:
            viewer.setblocking(False)
            for n in range(200):
                await loop.sock_sendto(viewer, str(n).encode(), ("127.0.0.1", number))
                await asyncio.sleep(0.001)
            got = [int(await asyncio.wait_for(loop.sock_recv(engine, 100), 2)) for _ in range(200)]
    assert sorted(got) == list(range(200))
    assert 10 < sum(b < a for a, b in itertools.pairwise(got)) < 90
