"""The five ways out of the engine, each ending in a file that ``avatar verify`` is asked about; the engine and the
avatar are changed on the way. And every engine that is installed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from kept_camera import Camera, kept_camera
from rtc_client import Client

from avatar import plugins
from avatar.assembly import Pipeline
from avatar.config import load
from avatar.core.types import U8, FaceState, Ns
from avatar.engines.choice import speaking
from avatar.errors import ConsentError
from avatar.labels import labelled, origin_of
from avatar.parts import choose_engine, create_avatar, library, make_engine
from avatar.portrait.consent import ConsentRecord
from avatar.testing.fakes import MemorySink
from avatar.trust import badge_finder, manifest, metadata, watermark_reader
from avatar.trust.recordings import of_record
from avatar.trust.verify import verify

BACKEND = "ways_out_test"


@dataclass
class Outputs:
    """What a live session left, of which the engine and then the avatar were changed."""

    session: str
    engines: list[str]
    memory: list[list[U8]]
    """Pictures by engine."""
    files: dict[str, Path]


def lossless(path: Path, pictures: list[U8]) -> Path:
    """What another program has received, as a file that changes no pixel."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264rgb", rate=30, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "rgb24"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outputs]:
    folder = tmp_path_factory.mktemp("ways")
    with pytest.MonkeyPatch.context() as patch, kept_camera(BACKEND):
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        yield asyncio.run(_live(folder))


async def _live(folder: Path) -> Outputs:
    from avatar.streams.sinks.virtual_camera import VirtualCameraSink

    record = folder / "record.mkv"
    settings = ["server.enabled=false", "input.audio=silence", "input.video=none", "avatar.engine=head"]
    settings += ['output.sinks=["recorder", "webrtc"]', f"output.record_to={json.dumps(str(record))}"]
    pipeline = Pipeline(load(None, [*settings, "avatar.quality=high"]).config)
    memory = MemorySink(pipeline.clock)
    pipeline.attach(memory)
    pipeline.attach(VirtualCameraSink(backend=BACKEND))
    hub = pipeline.hub
    assert hub is not None

    async def signal(sdp: str, kind: str) -> tuple[str, str, str]:
        answer = await hub.offer(sdp, kind)
        return answer.sdp, answer.type, answer.peer

    task = asyncio.create_task(pipeline.run())
    marks = [0]

    async def pictures(count: int) -> None:
        while len(memory.frames) < marks[-1] + count:
            await asyncio.sleep(0.05)
            assert not task.done(), task
        marks.append(len(memory.frames))

    engines = [pipeline.engine.name]
    async with Client(signal) as page:
        await pictures(40)
        for engine, name in (("map", None), ("screen", None), ("head", "iris")):
            bundle = pipeline.bundle if name is None else await asyncio.to_thread(pipeline.library.load, name)
            asked = pipeline.config.avatar.model_copy(update={"engine": engine})
            chosen = await asyncio.to_thread(choose_engine, asked, bundle)
            marks[-1] = len(memory.frames) + 2  # one is on its way still
            pipeline.show(bundle, chosen)
            engines.append(pipeline.engine.name)
            await pictures(40)
        received = [frame.to_ndarray(format="rgb24") for frame in page.frames["video"]]
    task.cancel()
    await asyncio.wait({task})
    ends = [*marks[1:-1], len(memory.frames)]
    drawn = [[frame.pixels for _, frame in memory.frames[end - 30 : end]] for end in ends]
    files = {
        "record": record,
        "webrtc": lossless(folder / "webrtc.mp4", [p for p in received if p.shape == received[-1].shape]),
        "camera": lossless(folder / "camera.mp4", Camera.frames),
    }
    return Outputs(pipeline.origin.name, engines, drawn, files)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["record", "webrtc", "camera"])
def test_live_ways_out_are_found_labelled_by_verify(live, way):
    found = verify(live.files[way]).to_json()
    assert found["badge"]["found"]
    assert found["badge"]["score"] > badge_finder.SURE
    assert (found["watermark"]["found"], found["watermark"]["session"]) == (True, live.session)
    assert (found["watermark"]["recovered"], found["broken"]) == (found["watermark"]["windows"], False)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["render", "still"])
def test_offline_ways_out_are_found_labelled_by_verify(avatar, tmp_path, way):
    states = tmp_path / "s.jsonl"
    states.write_text("".join(json.dumps({"t": i / 30, "arkit": {"jawOpen": 0.3}}) + "\n" for i in range(30)))
    out = tmp_path / ("o.mp4" if way == "render" else "o.png")
    run = avatar(*(("render", "--states", states) if way == "render" else ("image", "--au", "12=1")), "-o", out)
    assert run.returncode == 0, run.stderr
    found = json.loads(avatar("verify", out, "--json").stdout)
    assert found["badge"]["found"]
    assert found["watermark"]["found"]
    assert found["manifest"]["facts"]["session"] == found["watermark"]["session"]
    assert found["manifest"]["valid"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_changing_engine_and_avatar_live_leaves_no_picture_without_labels(live):
    assert live.engines == ["head", "map", "screen", "head"]
    for pictures in live.memory:
        reading = watermark_reader.read(pictures)
        assert reading is not None
        assert reading.message.name == live.session
        assert all(badge_finder.find(picture) is not None for picture in pictures[::10])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_recordings_manifest_names_everybody_in_it(live):
    found = manifest.read(live.files["record"])
    assert (found.valid, found.beside) == (True, "record.mkv.c2pa")
    assert found.facts is not None
    assert [entry["engine"] for entry in found.facts["before"]] == ["head", "map", "screen"]
    assert len(found.records) == 2, "two avatars, two consents"
    label = metadata.find(live.files["record"])
    assert label is not None
    named = str(label["ProduceID"]).partition("-")[2]
    (late,) = found.records - {named}
    names = [path.name for path in of_record(live.files["record"].parent, late)]
    assert names == ["record.mkv", "record.mkv.c2pa"], "though its metadata name the first avatar only"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", plugins.names("engines"))
def test_every_engine_draws_labelled_pictures_only(sam, name):
    asked = load(None).config.avatar
    engine = make_engine(name, sam, 512)
    draw = labelled(engine, asked, origin_of(sam, engine.name, asked, 0xE11E))
    pictures = [draw(state) for state in speaking(8)[::2]]
    reading = watermark_reader.read(pictures[-1:])
    assert reading is not None
    assert reading.message.session == 0xE11E
    assert badge_finder.find(pictures[-1]) is not None


# --- consent that ends while it is recorded ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_revoking_while_it_is_recorded_leaves_no_recording(tmp_path, monkeypatch, suffix):
    data = pytest.importorskip("skimage.data", reason="scikit-image has the portrait (extra: test)")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_VIDEOS_DIR", str(tmp_path / "videos"))
    photo = cv2.imencode(".png", cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))[1].tobytes()
    record = ConsentRecord.given("licensed", "E. C.")
    create_avatar(library(), photo, "eileen", "Eileen", record.kind, None, False, record)
    recording = tmp_path / "videos" / "vultus" / f"live{suffix}"
    settings = ["server.enabled=false", "input.audio=silence", "input.video=none", "avatar.engine=head"]
    settings += ['output.sinks=["recorder"]', f"output.record_to={json.dumps(str(recording))}", "avatar.name=eileen"]

    async def live() -> tuple[float, list[Ns]]:
        pipeline = Pipeline(load(None, [*settings, "avatar.quality=high"]).config)
        memory = MemorySink(pipeline.clock)
        pipeline.attach(memory)
        task = asyncio.create_task(pipeline.run())
        while len(memory.frames) < 45:
            await asyncio.sleep(0.05)
            assert not task.done(), task
        revoked = await asyncio.to_thread(_revoke, pipeline.bundle.folder / "consent.json", pipeline.clock.now)
        await asyncio.wait({task}, timeout=20)
        error = task.exception()
        while isinstance(error, BaseExceptionGroup):  # the picture may meet it before the guard does
            (error,) = error.exceptions
        assert isinstance(error, ConsentError)
        return revoked, [at for at, _ in memory.frames]

    revoked, shown = asyncio.run(live())
    took = (shown[-1] - revoked) / 1e9
    print(f"the last picture left {took:+.3f} s after the record was no longer valid")
    assert took <= 1.0
    assert list((tmp_path / "videos" / "vultus").iterdir()) == [], "nothing is left of the recording"


def _revoke(record: Path, now: Callable[[], Ns]) -> Ns:
    """By the command, in a process of its own; when the record was gone."""
    command = [sys.executable, "-m", "avatar.cli", "avatars", "revoke", "eileen", "--reason", "asked"]
    revoking = subprocess.Popen(command, env={**os.environ}, stdout=subprocess.DEVNULL)
    while record.exists() and revoking.poll() is None:
        time.sleep(0.002)
    at = now()
    assert revoking.wait(60) == 0
    return at


def test_a_state_is_drawn_with_labels_by_whoever_asks_the_engine_through_the_package(sam):
    """The one place: what `labelled` returns is all that sinks ever get."""
    asked = load(None).config.avatar
    engine = make_engine("head", sam, 512)
    plain = engine.render(FaceState(Ns(0)))
    drawn = labelled(engine, asked, origin_of(sam, "head", asked, 5))(FaceState(Ns(0)))
    assert watermark_reader.read([plain]) is None
    assert badge_finder.find(plain) is None
    assert watermark_reader.read([drawn]) is not None
