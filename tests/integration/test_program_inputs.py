"""Programs over real sockets: the client class, a plain WebSocket, OSC as others send it."""

import asyncio
import contextlib
import json
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from avatar.client import FaceClient
from avatar.core import facs
from avatar.core.clock import SessionClock
from avatar.errors import PortInUseError, RunError, UsageError
from avatar.programs import pump
from avatar.streams.sources.program import OscSource, ProgramSource
from avatar.sync.synchronizer import Synchronizer


@contextlib.asynccontextmanager
async def listening(source):
    """A synchronizer that hears ``source``; gives it and a function that samples it until something is so."""
    clock, face = SessionClock(), Synchronizer()
    task = asyncio.create_task(pump(source, clock, face.program.put))
    while source.port == 0:  # noqa: ASYNC110 - it says nothing when it listens
        await asyncio.sleep(0.005)

    async def until(wanted):
        for _ in range(400):
            state = face.sample(clock.now())
            if wanted(state):
                return state
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come")

    try:
        yield until
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def smiles(state) -> bool:
    return state.arkit[facs.INDEX["mouthSmileLeft"]] > 0.75


async def test_the_client_drives_the_face_and_its_going_lets_go():
    source = ProgramSource(port=0)
    async with listening(source) as until:

        def drive() -> None:
            with FaceClient(f"ws://127.0.0.1:{source.port}", hold=60) as face:
                face.set(au={12: 0.8}, head={"yaw": 12})
                face.gesture("wave")
                asyncio.run_coroutine_threadsafe(until(smiles), loop).result(5)

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(drive)
        state = await until(lambda s: s.arkit.max() < 0.01)
        assert abs(state.head.euler[0]) < 0.5


async def test_what_cannot_be_done_is_told_and_the_connection_lives():
    source = ProgramSource(port=0)
    async with listening(source) as until, connect(f"ws://127.0.0.1:{source.port}") as line:
        for wrong in ("hello", "[]", json.dumps({"arkit": {"nose": 1}}), json.dumps({"au": {"12": "much"}})):
            await line.send(wrong)
            answer = json.loads(await line.recv())
            assert list(answer) == ["error"]
        await line.send(json.dumps({"au": {"12": 0.9}}))
        await until(smiles)


async def test_a_foreign_page_is_refused():
    source = ProgramSource(port=0)
    async with listening(source):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{source.port}", origin="https://example.org")
        assert refused.value.response.status_code == 403
        async with connect(f"ws://127.0.0.1:{source.port}", origin="http://localhost:8080"):
            pass


async def test_osc_of_another_program_drives_the_face():
    udp = pytest.importorskip("pythonosc.udp_client", reason="another program's OSC (extra: test)")
    source = OscSource(port=0)
    async with listening(source) as until:
        client = udp.SimpleUDPClient("127.0.0.1", source.port)
        client.send_message("/avatar/hold", 30.0)
        client.send_message("/avatar/au/12", 0.8)
        client.send_message("/avatar/head", [10.0, -5.0, 3.0])
        state = await until(lambda s: smiles(s) and s.head.euler[0] > 9)
        assert state.head.euler == pytest.approx((10, -5, 3), abs=1.5)
        client.send_message("/VMC/Ext/Blend/Val", ["JawOpen", 0.6])
        client.send_message("/VMC/Ext/Blend/Apply", [])
        client.send_message("/nonsense", ["x"])
        await until(lambda s: s.arkit[facs.INDEX["jawOpen"]] > 0.5)
        client.send_message("/avatar/gesture", "wave")
        await until(lambda s: s.gesture is not None and s.gesture.name == "wave")
        client.send_message("/avatar/release", [])
        await until(lambda s: s.arkit.max() < 0.01)


async def test_datagrams_of_anything_do_no_harm(caplog):
    source = OscSource(port=0)
    async with listening(source) as until:
        for data in (b"", b"\xff" * 20, b"/avatar/au/12\0\0\0,f\0\0", b"#bundle\0" + b"\xff" * 40):
            source.received(data, "here:1")
        source.received(b"/avatar/au/12\0\0\0,f\0\0\x3f\x4c\xcc\xcd", "here:1")
        await until(smiles)
    assert len([r for r in caplog.records if "OSC" in r.message]) == 1


async def test_a_port_in_use_and_nobody_there_are_one_clear_line():
    source = ProgramSource(port=0)
    async with listening(source):
        with pytest.raises(PortInUseError, match=r"input\.program_port"):
            await pump(ProgramSource(port=source.port), SessionClock(), lambda command: None)
        port = source.port
    with pytest.raises(RunError, match="program_port"):
        await asyncio.to_thread(FaceClient, f"ws://127.0.0.1:{port}")


async def test_the_client_hears_what_was_wrong():
    source = ProgramSource(port=0)
    async with listening(source):

        def drive() -> None:
            with FaceClient(f"ws://127.0.0.1:{source.port}") as face:
                face.set(arkit={"noseLength": 1.0})
                for _ in range(50):
                    time.sleep(0.02)
                    face.set(arkit={"jawOpen": 0.1})

        with pytest.raises(UsageError, match="noseLength"):
            await asyncio.to_thread(drive)
