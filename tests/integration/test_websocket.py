"""Sound in and face states out over real sockets on this machine."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from avatar.core import facs
from avatar.core.clock import SessionClock
from avatar.core.types import MILLISECOND, SECOND, AudioChunk, AvatarFrame, FaceState, Ns
from avatar.errors import PortInUseError
from avatar.streams.base import StreamFormat
from avatar.streams.sinks.parameters.shaping import Shape
from avatar.streams.sinks.parameters.websocket import ParameterSink
from avatar.streams.sources import websocket as websocket_source
from avatar.streams.sources.websocket import WebSocketSource
from avatar.streams.wire import state_from_json

HELLO = {"rate": 16_000, "format": "s16le"}


# --- sound in -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def source() -> AsyncIterator[WebSocketSource]:
    made = WebSocketSource(port=0)
    await made.open(SessionClock())
    yield made
    await made.close()


def address(server: Any) -> str:
    return f"ws://127.0.0.1:{server.port}"


async def take(source: WebSocketSource, samples: int) -> list[AudioChunk]:
    chunks: list[AudioChunk] = []
    async with asyncio.timeout(10):
        async for chunk in source.items():
            chunks.append(chunk)
            if sum(len(c.samples) for c in chunks) >= samples:
                break
    return chunks


def tone(seconds: float, rate: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 1000 * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(("form", "rate"), [("s16le", 16_000), ("f32le", 44_100), ("s16le", 48_000)])
async def test_sound_arrives_at_48_khz(source: WebSocketSource, form: str, rate: int) -> None:
    sound = tone(1, rate)
    data = (sound * 32767).astype("<i2").tobytes() if form == "s16le" else sound.astype("<f4").tobytes()
    async with connect(address(source)) as client:
        await client.send(json.dumps({"rate": rate, "format": form}))
        for i in range(0, len(data), 1001):  # cuts through the middle of samples
            await client.send(data[i : i + 1001])
        chunks = await take(source, 45_000)
    heard = np.concatenate([c.samples for c in chunks])
    assert {c.rate for c in chunks} == {48_000}
    assert np.abs(heard - tone(1, 48_000)[: len(heard)])[4800:].max() < 0.01
    assert [c.discontinuity for c in chunks] == [True] + [False] * (len(chunks) - 1)


async def test_sound_that_is_sent_ahead_keeps_the_pace_of_real_time(source: WebSocketSource) -> None:
    clock = source._clock
    assert clock is not None
    async with connect(address(source)) as client:
        await client.send(json.dumps(HELLO))
        begun = clock.now()
        sending = asyncio.create_task(send_silence(client, 1.5))
        chunks = await take(source, 48_000)
        took = clock.now() - begun
        sending.cancel()
    steps = np.diff([c.pts for c in chunks])
    lengths = [len(c.samples) * SECOND / 48_000 for c in chunks[:-1]]
    assert took > 0.4 * SECOND  # half a second ahead at most
    assert np.abs(steps - lengths).max() < 5 * MILLISECOND


async def send_silence(client: ClientConnection, seconds: float) -> None:
    for _ in range(round(seconds * 50)):
        await client.send(bytes(640))


async def test_a_pause_is_a_discontinuity(source: WebSocketSource) -> None:
    async with connect(address(source)) as client:
        await client.send(json.dumps(HELLO))
        await client.send(bytes(3200))
        first = await take(source, 1000)
        await asyncio.sleep(0.5)
        await client.send(bytes(3200))
        second = await take(source, 1000)
    assert second[0].discontinuity
    assert second[0].pts - first[-1].end > 300 * MILLISECOND


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([b"\0\0"], "first message must be JSON"),
        (["rate 16000"], "first message must be JSON"),
        (["[1]"], "first message must be JSON"),
        (['{"rate": 0}'], "rate must be a whole number"),
        (['{"rate": true}'], "rate must be a whole number"),
        (['{"rate": 16000, "format": "mp3"}'], "format must be one of s16le, f32le"),
        (['{"rate": 16000, "channels": 2}'], "unknown key 'channels'"),
        ([json.dumps(HELLO), "more text"], "only binary sound"),
        ([json.dumps(HELLO), bytes(32_002)], "more than one second"),
    ],
)
async def test_what_is_not_understood_closes_with_the_reason(
    source: WebSocketSource, messages: list[str | bytes], reason: str
) -> None:
    async with connect(address(source)) as client:
        for message in messages:
            await client.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1002
    assert reason in closed.value.rcvd.reason


async def test_a_silent_client_is_sent_away(source: WebSocketSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_source, "HELLO_WITHIN", 0.1)
    async with connect(address(source)) as client:
        with pytest.raises(ConnectionClosed, match="no first message"):
            await asyncio.wait_for(client.recv(), 5)


async def test_one_client_at_a_time(source: WebSocketSource) -> None:
    async with connect(address(source)) as first:
        await first.send(json.dumps(HELLO))
        await first.send(bytes(6400))
        await take(source, 1)
        async with connect(address(source)) as second:
            with pytest.raises(ConnectionClosedError, match="another client"):
                await asyncio.wait_for(second.recv(), 5)
    await asyncio.sleep(0.1)  # the first one's farewell
    async with connect(address(source)) as third:
        await third.send(json.dumps(HELLO))
        await third.send(bytes(6400))
        assert (await take(source, 1))[0].discontinuity


async def test_values_that_are_not_numbers_are_silenced(source: WebSocketSource) -> None:
    async with connect(address(source)) as client:
        await client.send(json.dumps({"rate": 48_000, "format": "f32le"}))
        await client.send(np.array([np.nan, np.inf, 2.0, 0.5], "<f4").tobytes())
        (chunk,) = await take(source, 4)
    assert chunk.samples.tolist() == [0, 0, 1, 0.5]


async def test_closing_ends_the_connection() -> None:
    source = WebSocketSource(port=0)
    await source.close()
    await source.open(SessionClock())
    async with connect(address(source)) as client:
        await source.close()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), 5)
    await source.close()


async def test_port_in_use(source: WebSocketSource) -> None:
    with pytest.raises(PortInUseError, match=rf"port {source.port} is in use.*input\.websocket_port"):
        await WebSocketSource(port=source.port).open(SessionClock())
    with pytest.raises(PortInUseError, match=r"output\.parameters_port"):
        await ParameterSink(port=source.port).open(StreamFormat())


# --- states out -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def sink() -> AsyncIterator[ParameterSink]:
    made = ParameterSink(port=0)
    await made.open(StreamFormat())
    yield made
    await made.close()


def frame(i: int) -> AvatarFrame:
    state = FaceState(Ns(i * 40 * MILLISECOND), facs.arkit_vector({"jawOpen": i % 10 / 10}))
    return AvatarFrame(state.pts, np.zeros((2, 2, 3), np.uint8), state)


async def clients_of(sink: ParameterSink, count: int) -> None:
    async with asyncio.timeout(5):
        while sink.clients != count:  # noqa: ASYNC110 - the sink has no event for it
            await asyncio.sleep(0.01)


async def test_a_rate_of_its_own() -> None:
    sink = ParameterSink(port=0, shape=Shape(rate=5, mirror=True))
    await sink.open(StreamFormat(fps=25))
    async with connect(f"ws://127.0.0.1:{sink.port}") as client:
        await clients_of(sink, 1)
        times = []
        for i in range(26):
            await sink.video(frame(i))
            if i % 5 == 0:
                state = json.loads(await asyncio.wait_for(client.recv(), 5))
                times.append(state["t"])
        assert times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    await sink.close()


async def test_every_client_gets_every_state(sink: ParameterSink) -> None:
    async with connect(address(sink)) as one, connect(address(sink)) as two:
        await clients_of(sink, 2)
        for i in range(10):
            await sink.video(frame(i))
            for client in (one, two):
                state = state_from_json(json.loads(await asyncio.wait_for(client.recv(), 5)))
                assert state.pts == i * 40 * MILLISECOND
                assert state.arkit[facs.INDEX["jawOpen"]] == pytest.approx(i / 10)
    await clients_of(sink, 0)
    await sink.video(frame(1))  # nobody listens: no error
    assert sink.dropped == 0


async def test_a_slow_client_misses_states_and_slows_nobody(sink: ParameterSink) -> None:
    async with (
        connect(address(sink), max_queue=1) as slow,
        connect(address(sink)) as quick,
    ):
        await clients_of(sink, 2)
        got = 0
        for i in range(2000):
            await sink.video(frame(i))
            async with asyncio.timeout(5):
                await quick.recv()
            got += 1
        assert got == 2000
        assert sink.dropped > 500
        last = -1
        for _ in range(2000 - sink.dropped):  # what is under way is old, then comes the newest
            last = json.loads(await asyncio.wait_for(slow.recv(), 5))["t"]
            if last == pytest.approx(1999 * 0.04):
                break
        assert last == pytest.approx(1999 * 0.04)


async def test_closing_says_good_bye() -> None:
    sink = ParameterSink(port=0)
    await sink.close()
    await sink.open(StreamFormat())
    async with connect(address(sink)) as client:
        await clients_of(sink, 1)
        await sink.close()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), 5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    await sink.close()
