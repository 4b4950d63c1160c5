"""Every way out carries the labels, and what people try to get round them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from kept_camera import Camera, kept_camera

from avatar import plugins
from avatar.assembly import Pipeline
from avatar.config import load
from avatar.core.types import FaceState, Ns
from avatar.engines.base import Engine
from avatar.errors import ConfigError, ConsentError, EngineError
from avatar.labels import Labels, labelled, origin_of, while_agreed
from avatar.models.trust.watermark import coded
from avatar.streams.sinks.virtual_camera import VirtualCameraSink
from avatar.testing.fakes import MemorySink
from avatar.trust import badge_finder, watermark_reader
from avatar.trust.verify import verify

BACKEND = "labels_test"
REASON = "shown inside a page that says so itself"


@dataclass
class Outputs:
    """What a live session of some seconds left at each of its sinks."""

    session: str
    memory: list[np.ndarray]
    camera: list[np.ndarray]
    recording: Path


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outputs]:
    folder = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch, kept_camera(BACKEND):
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        yield asyncio.run(_live(folder / "clip.mp4"))


async def _live(recording: Path) -> Outputs:
    settings = ["server.enabled=false", "input.audio=silence", "input.video=none", "avatar.quality=high"]
    settings += ['output.sinks=["recorder"]', f"output.record_to={json.dumps(str(recording))}"]
    pipeline = Pipeline(load(None, settings).config)
    memory = MemorySink(pipeline.clock)
    pipeline.attach(memory)
    pipeline.attach(VirtualCameraSink(backend=BACKEND))
    task = asyncio.create_task(pipeline.run())
    while len(memory.frames) < 45:
        await asyncio.sleep(0.05)
        assert not task.done(), task
    task.cancel()
    await asyncio.wait({task})
    pictures = [frame.pixels for _, frame in memory.frames]
    return Outputs(pipeline.origin.name, pictures, Camera.frames, recording)


@pytest.mark.parametrize("sink", ["memory", "camera"])
def test_a_live_sink_gets_labelled_pictures(live, sink):
    pictures = getattr(live, sink)
    reading = watermark_reader.read(pictures)
    assert reading is not None
    assert reading.message.name == live.session
    assert badge_finder.find(pictures[-1]) is not None


def test_a_recording_carries_every_label(live):
    found = verify(live.recording)
    said = found.to_json()
    assert (said["manifest"]["found"], said["manifest"]["valid"]) == (True, True)
    assert said["manifest"]["digital_source_type"].endswith("/trainedAlgorithmicMedia")
    assert said["manifest"]["facts"]["session"] == said["watermark"]["session"] == live.session
    assert said["label"]["aigc"]["Label"] == "1"
    assert said["label"]["aigc"]["ProduceID"].startswith(live.session)
    assert said["badge"]["found"]
    assert not found.broken
    with av.open(str(live.recording)) as clip:
        assert json.loads(clip.metadata["AIGC"]) == said["label"]["aigc"]


@pytest.mark.parametrize("where", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_one_flipped_byte_breaks_the_manifest(live, tmp_path, where):
    data = bytearray(live.recording.read_bytes())
    data[int(where * len(data))] ^= 1
    flipped = tmp_path / "flipped.mp4"
    flipped.write_bytes(data)
    from avatar.trust import manifest

    found = manifest.read(flipped)
    assert (found.found, found.valid) == (True, False)
    assert found.problems


@pytest.mark.parametrize("attempt", ["the badge cut off", "coded twice more, at half the size"])
def test_cutting_off_the_badge_and_re_encoding_leave_the_mark(live, tmp_path, attempt):
    with av.open(str(live.recording)) as clip:
        pictures = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    cut = attempt.startswith("the badge")
    again = [picture[:-52, :-52] for picture in pictures] if cut else coded(pictures, "libvpx", 256)
    bare = tmp_path / "bare.mp4"
    with av.open(str(bare), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width = stream.height = len(again[0])
        stream.pix_fmt, stream.bit_rate = "yuv420p", 500_000
        for picture in again:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(stream.encode(None))
    found = verify(bare).to_json()
    assert (found["manifest"]["found"], found["label"]["found"]) == (False, False)
    assert found["badge"]["found"] != cut
    assert found["watermark"]["session"] == live.session
    assert found["labelled"]


def test_metadata_of_another_session_is_told(live, tmp_path):
    """Somebody puts a harmless clip's label on other pictures."""
    found = verify(live.recording)
    assert found.label is not None
    other = replace(found, label={**found.label, "ProduceID": "00000000-0123456789abcdef"})
    assert other.broken
    assert "metadata names session 00000000" in other.contradiction


# --- attempts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting", ["avatar.badge=none", "avatar.badge_size=0.01", "avatar.badge=off", "avatar.watermark=false"]
)
def test_no_setting_takes_a_label_off_quietly(setting):
    with pytest.raises(ConfigError, match=r"badge|watermark"):
        load(None, [setting])


def test_a_badge_that_is_taken_off_for_a_reason_is_logged_and_written_down(avatar, tmp_path):
    out = tmp_path / "a.png"
    arguments = ("image", "-o", out, "--set", "avatar.badge=none", "--set", f"avatar.badge_reason={REASON}")
    run = avatar(*arguments)
    assert run.returncode == 0, run.stderr
    assert f"the visible badge is off ({REASON})" in run.stderr
    found = verify(out).to_json()
    assert not found["badge"]["found"]
    assert found["watermark"]["found"]
    assert found["manifest"]["facts"]["badge"] == f"none: {REASON}"


class Sly(Engine):
    """A plug-in that hands out one picture that it keeps, in whatever form."""

    name = "sly"
    form = "read-only"

    def render(self, state: FaceState) -> np.ndarray:
        picture = np.ascontiguousarray(cv2.resize(self.bundle.portrait, (self.size, self.size)))
        if self.form == "read-only":
            picture.setflags(write=False)
        if self.form == "strided":
            picture = np.asfortranarray(picture)
        if self.form == "larger":
            picture = np.zeros((self.size + 2, self.size, 3), np.uint8)
        return picture.astype(np.float32) if self.form == "floating" else picture


@pytest.mark.parametrize("form", ["read-only", "strided"])
def test_a_plug_in_engine_is_labelled_whatever_it_hands_out(sam, monkeypatch, form):
    monkeypatch.setattr(Sly, "form", form)
    monkeypatch.setattr(plugins, "load", lambda group, name: Sly)
    from avatar.parts import make_engine

    asked = load(None).config.avatar
    engine = make_engine("sly", sam, 512)
    origin = origin_of(sam, engine.name, asked, 77)
    picture = labelled(engine, asked, origin)(FaceState(Ns(0)))
    reading = watermark_reader.read([picture])
    assert reading is not None
    assert reading.message.session == 77
    assert badge_finder.find(picture) is not None


@pytest.mark.parametrize("form", ["larger", "floating"])
def test_a_plug_in_whose_pictures_cannot_be_labelled_is_refused(sam, tmp_path, monkeypatch, form):
    monkeypatch.setattr(Sly, "form", form)
    asked = load(None).config.avatar
    labels = Labels(Sly(sam, 512, tmp_path), asked, origin_of(sam, "sly", asked, 1))
    with pytest.raises(EngineError, match="cannot be labelled"):
        labels.draw(FaceState(Ns(0)))


def test_a_raw_states_file_is_drawn_with_labels(avatar, tmp_path):
    states, out = tmp_path / "s.jsonl", tmp_path / "s.mp4"
    states.write_text("".join(json.dumps({"t": i / 30, "arkit": {"jawOpen": 0.4}}) + "\n" for i in range(40)))
    run = avatar("render", "--states", states, "-o", out, "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(avatar("verify", out, "--json").stdout)
    assert said["watermark"]["session"] == json.loads(run.stdout)["session"]
    assert said["manifest"]["valid"]
    assert said["label"]["found"]
    assert said["badge"]["found"]


def test_a_photo_by_its_path_is_vouched_for_and_says_so(avatar, tmp_path):
    data = pytest.importorskip("skimage.data", reason="scikit-image has the portrait (extra: test)")
    photo, out = tmp_path / "me.png", tmp_path / "o.png"
    cv2.imwrite(str(photo), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    run = avatar("image", "--avatar", photo, "--consent", "licensed", "-o", out)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("drawn on your word") == 1
    said = json.loads(avatar("verify", out, "--json").stdout)
    assert said["watermark"]["consent"] == said["manifest"]["facts"]["consent"]["kind"] == "licensed"


def test_an_unmarked_picture_is_said_to_be_unmarked(avatar, tmp_path, sam):
    cv2.imwrite(str(tmp_path / "plain.png"), sam.portrait[..., ::-1])
    run = avatar("verify", tmp_path / "plain.png", "--json")
    said = json.loads(run.stdout)
    assert run.returncode == 1
    assert [said[key]["found"] for key in ("manifest", "watermark", "label", "badge")] == [False] * 4
    assert avatar("verify", tmp_path / "nothing.png").returncode == 2


# --- consent while it is drawn ----------------------------------------------------------------------------------------


def test_drawing_stops_at_the_next_picture_after_the_record_changes(tmp_path):
    record = tmp_path / "ada" / "consent.json"
    record.parent.mkdir()
    record.write_text("{}")
    faults = [""]
    draw = while_agreed(lambda state: np.zeros((2, 2, 3), np.uint8), record, lambda: faults[0])
    draw(FaceState(Ns(0)))
    record.write_text("{ }")  # renewed: still valid
    draw(FaceState(Ns(1)))
    faults[0] = "it was revoked"
    draw(FaceState(Ns(2)))  # nothing has changed on the disk
    record.unlink()
    with pytest.raises(ConsentError, match="ada is not drawn any more: it was revoked"):
        draw(FaceState(Ns(3)))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_command_revokes_and_deletes_the_recordings_of_that_avatar_only(avatar, tmp_path):
    data = pytest.importorskip("skimage.data", reason="scikit-image has the portrait (extra: test)")
    photo = tmp_path / "me.png"
    cv2.imwrite(str(photo), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    made = avatar("create", photo, "--name", "eileen", "--consent", "licensed", "--consent-by", "E. C.", "--json")
    assert json.loads(made.stdout)["consent"]["by"] == "E. C."
    videos = Path(avatar.environment["XDG_VIDEOS_DIR"]) / "vultus"
    videos.mkdir(parents=True)
    for name, of in (("hers.png", "eileen"), ("other.png", "lin")):
        run = avatar("image", "--avatar", of, "--size", 256, "-o", videos / name)
        assert run.returncode == 0, run.stderr
    gone = avatar("avatars", "revoke", "eileen", "--reason", "changed her mind", "--json")
    assert gone.returncode == 0, gone.stderr
    assert json.loads(gone.stdout)["recordings_deleted"] == ["hers.png"]
    assert [path.name for path in videos.iterdir()] == ["other.png"]
    assert "changed her mind" in avatar("avatars", "show", "eileen").stdout
    refused = avatar("render", "--text", "Yes.", "--avatar", "eileen", "-o", tmp_path / "x.mp4")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "revoked" in refused.stderr
    assert not (tmp_path / "x.mp4").exists()
