"""The VTube Studio output against a fake that keeps its rules."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from pathlib import Path

import pytest
from fake_vtube_studio import FakeVtubeStudio
from receivers import any_face, face, frame, opened, until

from avatar.core import facs
from avatar.core.types import FaceState
from avatar.errors import ConfigError, UsageError
from avatar.streams.sinks.parameters import base, vtube_api
from avatar.streams.sinks.parameters.vtube_studio import VtubeStudioSink, discover


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "vtube_studio.json"


def rights(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def kept(file: Path) -> str:
    return str(json.loads(file.read_text())["token"])


def damage(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("{")
    file.chmod(0o644)


async def shown(studio: FakeVtubeStudio, token_file: Path, state: FaceState) -> dict[str, float]:
    studio.injections = 0
    async with opened(VtubeStudioSink(token_file, studio.address)) as sink:
        await until(lambda: sink.linked)
        await sink.video(frame(state))
        await until(lambda: studio.injections)
    return {name: value for name, (value, _) in studio.values.items()}


async def test_token_parameters_and_values(token_file: Path) -> None:
    state = any_face(4)
    async with FakeVtubeStudio().running() as studio:
        found = await shown(studio, token_file, state)
    assert studio.errors == []
    assert studio.popups == 1
    assert len(studio.custom) == 52
    for name, value in zip(facs.ARKIT, state.arkit, strict=True):
        assert found["Vultus" + name[0].upper() + name[1:]] == pytest.approx(value, abs=5e-5)
    yaw, pitch, roll = state.head.euler
    assert [found[f"FaceAngle{axis}"] for axis in "XYZ"] == pytest.approx([yaw, pitch, -roll], abs=5e-5)


async def test_tracking_parameters(token_file: Path) -> None:
    async with FakeVtubeStudio().running() as studio:
        rest = await shown(studio, token_file, face())
        assert (rest["MouthSmile"], rest["Brows"], rest["MouthOpen"]) == (0.5, 0.5, 0)
        assert (rest["EyeOpenLeft"], rest["EyeOpenRight"]) == (1, 1)
        state = face(eyeBlinkLeft=0.75, mouthSmile=1, jawOpen=0.3, browDownRight=1, look=(facs.EYE_RANGE / 2, 0))
        moved = await shown(studio, token_file, state)
    assert (moved["EyeOpenLeft"], moved["MouthSmile"], moved["MouthOpen"]) == (0.25, 1, 0.5)
    assert (moved["BrowRightY"], moved["BrowLeftY"]) == (0, 0.5)
    assert moved["EyeLeftX"] == moved["EyeRightX"] == pytest.approx(0.5, abs=1e-4)


async def test_the_token_is_asked_for_once_and_only_its_user_can_read_it(token_file: Path) -> None:
    async with FakeVtubeStudio().running() as studio:
        await shown(studio, token_file, face())
        assert rights(token_file) == 0o600
        await shown(studio, token_file, face())
        assert studio.popups == 1
        studio.tokens.clear()  # its user revokes it
        await shown(studio, token_file, face())
        assert studio.popups == 2
        assert kept(token_file) in studio.tokens


async def test_a_damaged_token_file_is_replaced(token_file: Path) -> None:
    damage(token_file)
    async with FakeVtubeStudio().running() as studio:
        await shown(studio, token_file, face())
    assert rights(token_file) == 0o600


async def test_a_user_who_refuses_is_not_asked_again(token_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        FakeVtubeStudio(allows=False).running() as studio,
        opened(VtubeStudioSink(token_file, studio.address)) as sink,
    ):
        await until(lambda: "has not allowed it" in caplog.text)
        for i in range(5):
            await sink.video(frame(face(i / 60)))
        await asyncio.sleep(0.1)
    assert studio.popups == 1
    assert not list(token_file.parent.glob("*"))


async def test_parameters_are_not_lost_while_no_state_comes(token_file: Path) -> None:
    async with FakeVtubeStudio().running() as studio, opened(VtubeStudioSink(token_file, studio.address)) as sink:
        await until(lambda: sink.linked)
        await sink.video(frame(face(jawOpen=0.6)))
        await asyncio.sleep(2.2)
        assert studio.value("MouthOpen") == 1
        assert studio.value("VultusJawOpen") == pytest.approx(0.6)
    assert studio.injections >= 3
    assert studio.longest_gap < 1


async def test_the_rate_of_states_is_held(token_file: Path) -> None:
    async with FakeVtubeStudio().running() as studio, opened(VtubeStudioSink(token_file, studio.address)) as sink:
        await until(lambda: sink.linked)
        for i in range(60):
            await sink.video(frame(face(i / 60, jawOpen=i / 60)))
            await asyncio.sleep(1 / 60)
        await until(lambda: studio.injections + sink.dropped >= 60)
        assert sink.dropped <= 3, "a machine that is busy may be late now and then"


async def test_it_comes_back_when_vtube_studio_does(
    token_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(base, "RETRY_FIRST", 0.05)
    studio = FakeVtubeStudio()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with opened(VtubeStudioSink(token_file, f"ws://127.0.0.1:{port}")) as sink:
        await until(lambda: "no connection to" in caplog.text)
        for _ in range(2):
            async with studio.running(port):
                await until(lambda: sink.linked)
                studio.injections = 0
                await sink.video(frame(face(jawOpen=0.5)))
                await until(lambda: studio.injections)
            await until(lambda: not sink.linked)
    assert studio.popups == 1
    lines = [record.message for record in caplog.records if "no connection to" in record.message]
    assert len(lines) <= 3, "one line each time it goes, not one for each attempt"


async def test_a_stalled_program_costs_states_and_no_time(token_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeVtubeStudio().running() as studio, opened(VtubeStudioSink(token_file, studio.address)) as sink:
        await until(lambda: sink.linked)
        studio.stalled = True
        loop = asyncio.get_running_loop()
        longest = 0.0
        for i in range(600):
            begun = loop.time()
            await sink.video(frame(face(i / 60, jawOpen=(i % 10) / 10)))
            longest = max(longest, loop.time() - begun)
            await asyncio.sleep(0.001)
        assert sink.dropped > 0
        assert longest < 0.1
        assert len([r for r in caplog.records if "is slow" in r.message]) == 1
        await sink.video(frame(face(11, jawOpen=0.123)))
        studio.stalled = False
        await until(lambda: studio.values.get("VultusJawOpen", (0, 0))[0] == pytest.approx(0.123))


async def test_discovery_finds_the_one_whose_api_is_on() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def broadcast(active: bool, number: int) -> bytes:
        data = {"active": active, "port": number, "instanceID": "93aa", "windowTitle": "VTube Studio"}
        head = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0", "timestamp": 1, "requestID": "x"}
        return json.dumps({**head, "messageType": "VTubeStudioAPIStateBroadcast", "data": data}).encode()

    looking = asyncio.create_task(discover(port, 3))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(20):
            await asyncio.sleep(0.02)
            for data in (b"noise", b"{}", broadcast(False, 8001), broadcast(True, 8123)):
                sender.sendto(data, ("127.0.0.1", port))
    assert await looking == "ws://127.0.0.1:8123"
    assert await discover(port, 0.05) is None


def test_names_that_it_would_refuse() -> None:
    assert len(vtube_api.CUSTOM) <= vtube_api.CUSTOM_MOST
    assert [vtube_api.check_name(name) for name in vtube_api.CUSTOM] == list(vtube_api.CUSTOM)
    for name in ("abc", "with space", "x" * 33, "mund_auf", "Mündung", ""):
        with pytest.raises(UsageError, match="4 to 32"):
            vtube_api.check_name(name)


def test_an_address_that_is_none(token_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"vtube_studio\.address"):
        VtubeStudioSink(token_file, "localhost:8001")
