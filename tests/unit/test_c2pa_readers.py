"""Manifests read by others than the library that writes them: a second implementation, and a reader written from the
published texts (c2pa_book). All must agree on what is whole and on what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import c2pa_book
import cv2
import numpy as np
import pytest

from avatar.core.types import Ns
from avatar.portrait.consent import ConsentRecord
from avatar.streams.sinks.recorder import Mux
from avatar.trust import keys, manifest, metadata
from avatar.trust.provenance import Provenance
from avatar.trust.recordings import of_record
from avatar.trust.verify import verify

ORIGIN = Provenance(0xC0FFEE, ConsentRecord.given("licensed", "Ada Miller"), "head", "bottom-right")
EMBEDDED, BESIDE = ("a.png", "a.jpg", "a.mp4"), ("a.mkv", "a.webm")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signed file of each kind."""
    folder = tmp_path_factory.mktemp("signed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "keys_folder", lambda: folder / "keys")
        for name in (*EMBEDDED, *BESIDE):
            path = folder / name
            if path.suffix in (".png", ".jpg"):
                pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
                path.write_bytes(metadata.put(cv2.imencode(path.suffix, pixels)[1].tobytes(), ORIGIN.aigc()))
            else:
                _clip(path)
            assert manifest.sign(path, ORIGIN)
    return folder


def _clip(path: Path) -> None:
    clear, rng = path.suffix == ".webm", np.random.default_rng(2)
    mux = Mux(path, (64, 64), 30, None, metadata={metadata.KEY: ORIGIN.aigc()})
    for index in range(10):
        mux.video(rng.integers(0, 256, (64, 64, 4 if clear else 3), dtype=np.uint8), Ns(index * 33_000_000))
    mux.close()


def second(path: Path) -> dict[str, Any]:
    """What an implementation that shares no code with the writer's says."""
    other = pytest.importorskip("encypher_c2pa", reason="encypher-c2pa is the second reader (extra: test)")
    return dict(other.verify(path, telemetry=False, online=False, no_default_trust=True))


def beside(path: Path) -> Path | None:
    return manifest.sidecar(path) if path.suffix in manifest.BESIDE else None


def flipped(path: Path, where: float, folder: Path) -> Path:
    """A copy with one bit of the byte at ``where`` (part of the length) turned, its manifest beside it as it was."""
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    copy = folder / path.name
    copy.write_bytes(data)
    if (lies := beside(path)) is not None:
        (folder / lies.name).write_bytes(lies.read_bytes())
    return copy


@pytest.mark.parametrize("name", [*EMBEDDED, *BESIDE])
def test_the_reader_from_the_texts_finds_signature_assertions_and_file_right(signed, name):
    facts = c2pa_book.check(signed / name, beside(signed / name))
    assert facts["session"] == "00c0ffee"
    assert facts["consent"]["kind"] == "licensed"
    ours = manifest.read(signed / name)
    assert (ours.valid, ours.facts) == (True, facts)


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_second_implementation_finds_them_right(signed, name):
    report = second(signed / name)
    assert (report["integrity"], report["signature"], report["hard_binding"]) == ("valid", "valid", "match")
    assert report["validation_results"]["failure"] == []


@pytest.mark.parametrize("where", [0.2, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("name", [*EMBEDDED, *BESIDE])
def test_one_flipped_bit_is_seen_by_every_reader(signed, tmp_path, name, where):
    copy = flipped(signed / name, where, tmp_path)
    assert (manifest.read(copy).found, manifest.read(copy).valid) == (True, False)
    with pytest.raises(Exception):  # noqa: B017, PT011 - a torn manifest may fail anywhere in the reader
        c2pa_book.check(copy, beside(copy))
    if name in EMBEDDED:
        assert second(copy)["integrity"] != "valid"


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_flipped_bit_in_the_room_behind_the_signature_is_seen_too(signed, tmp_path, name):
    """No signature covers it, and the other implementations do not look; the specification asks for zeros there."""
    path = signed / name
    data = path.read_bytes()
    copy = flipped(path, (data.rindex(b"\x63pad") + 40.5) / len(data), tmp_path)
    assert not manifest.read(copy).valid
    with pytest.raises(c2pa_book.Broken, match="room behind the signature"):
        c2pa_book.check(copy)


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
def test_a_manifest_beside_the_file_is_broken_by_its_own_bytes_too(signed, tmp_path, name, where):
    (tmp_path / name).write_bytes((signed / name).read_bytes())
    lies = manifest.sidecar(signed / name)
    torn = flipped(lies, where, tmp_path)
    assert torn.name == f"{name}.c2pa"
    found = manifest.read(tmp_path / name)
    assert (found.found, found.valid, found.beside) == (True, False, torn.name)
    with pytest.raises(Exception):  # noqa: B017, PT011
        c2pa_book.check(tmp_path / name, torn)


def test_verify_finds_the_manifest_beside_a_recording_and_says_where(signed):
    found = verify(signed / "a.mkv")
    assert found.to_json()["manifest"]["beside"] == "a.mkv.c2pa"
    assert "found in a.mkv.c2pa, valid" in found.lines()[0]
    assert not found.broken


def test_the_shorter_name_that_other_programs_use_is_found(signed, tmp_path):
    (tmp_path / "a.mkv").write_bytes((signed / "a.mkv").read_bytes())
    assert not manifest.read(tmp_path / "a.mkv").found
    (tmp_path / "a.c2pa").write_bytes((signed / "a.mkv.c2pa").read_bytes())
    assert manifest.read(tmp_path / "a.mkv").valid


def test_another_files_manifest_is_not_taken_for_ones_own(signed, tmp_path):
    (tmp_path / "a.mkv").write_bytes((signed / "a.webm").read_bytes())
    (tmp_path / "a.mkv.c2pa").write_bytes((signed / "a.mkv.c2pa").read_bytes())
    assert not manifest.read(tmp_path / "a.mkv").valid


def test_a_new_recording_of_the_same_name_gets_a_new_manifest(signed, tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "keys_folder", lambda: tmp_path / "keys")
    path = tmp_path / "a.mkv"
    path.write_bytes((signed / "a.webm").read_bytes())
    (tmp_path / "a.mkv.c2pa").write_bytes((signed / "a.mkv.c2pa").read_bytes())
    assert manifest.sign(path, ORIGIN)
    assert manifest.read(path).valid
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.mkv", "a.mkv.c2pa", "keys"]


def test_deleting_a_persons_recordings_finds_the_manifests_beside_them(signed):
    names = [path.name for path in of_record(signed, ORIGIN.record.id)]
    assert names == ["a.jpg", "a.mkv", "a.mkv.c2pa", "a.mp4", "a.png", "a.webm", "a.webm.c2pa"]
