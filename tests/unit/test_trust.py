"""Metadata, keys and signatures: written, found again, and refused where they were changed."""

from __future__ import annotations

import json
import os
import stat

import av
import cv2
import numpy as np
import pytest
from cryptography import x509

from avatar.core.types import Ns
from avatar.engines.badge import CORNERS, Badge
from avatar.errors import MediaError
from avatar.portrait.consent import ConsentRecord
from avatar.streams.sinks.recorder import Mux
from avatar.trust import badge_finder, keys, manifest, metadata, signed_label
from avatar.trust.provenance import Provenance, new_session, session_of
from avatar.trust.recordings import of_record
from avatar.trust.verify import verify

ORIGIN = Provenance(0xBEEF, ConsentRecord.given("self", "Ada Miller"), "head", "bottom-right")


@pytest.fixture(autouse=True)
def own_keys(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "keys_folder", lambda: tmp_path / "keys")


def test_the_label_has_the_seven_fields_of_the_standard_and_names_nobody():
    label = json.loads(ORIGIN.aigc())
    assert tuple(label) == metadata.FIELDS
    assert label["Label"] == "1"
    assert label["ProduceID"] == f"0000beef-{ORIGIN.record.id}"
    assert "Ada" not in ORIGIN.aigc() + json.dumps(ORIGIN.facts())


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_carries_the_label_and_stays_the_picture(tmp_path, suffix):
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    plain = cv2.imencode(suffix, pixels)[1].tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(metadata.put(plain, ORIGIN.aigc()))
    assert metadata.find(path) == json.loads(ORIGIN.aigc())
    np.testing.assert_array_equal(cv2.imread(str(path)), cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_COLOR))
    path.write_bytes(plain)
    assert metadata.find(path) is None


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_clip_carries_the_label_beside_its_title(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    mux = Mux(path, (64, 64), 30, None, metadata={metadata.KEY: ORIGIN.aigc()})
    for index in range(10):
        mux.video(np.full((64, 64, 3), 20 * index, np.uint8), Ns(index * 33_000_000))
    mux.close()
    assert metadata.find(path) == json.loads(ORIGIN.aigc())
    with av.open(str(path)) as clip:
        tags = {key.lower(): value for key, value in clip.metadata.items()}
    assert tags["title"] == "AI-generated"
    assert list(of_record(tmp_path, ORIGIN.record.id)) == [path]
    assert list(of_record(tmp_path, "0" * 16)) == []


def test_keys_are_made_once_for_their_owner_alone(tmp_path):
    chain, key = keys.signing_chain()
    assert keys.signing_chain() == (chain, key)
    assert keys.label_key().private_bytes_raw() == keys.label_key().private_bytes_raw()
    for name in ("c2pa_key.pem", "label_key.pem"):
        assert stat.S_IMODE(os.stat(tmp_path / "keys" / name).st_mode) == 0o600
    signer, root = x509.load_pem_x509_certificates(chain.encode())
    assert "development" in signer.subject.rfc4514_string()
    assert signer.issuer == root.subject != signer.subject


def test_a_manifest_is_right_until_the_picture_changes(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((256, 256, 3), 90, np.uint8))
    assert manifest.read(path) == manifest.Manifest(found=False)
    assert manifest.sign(path, ORIGIN)
    found = manifest.read(path)
    assert (found.found, found.valid, found.trusted, found.problems) == (True, True, False, ())
    assert found.source_type.endswith("trainedAlgorithmicMedia")
    assert found.facts is not None
    assert found.facts["session"] == "0000beef"
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    broken = manifest.read(path)
    assert (broken.found, broken.valid) == (True, False)
    assert broken.problems
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".signing")] == []


def test_where_no_manifest_fits_the_log_says_so_and_the_file_stays(tmp_path, caplog):
    path = tmp_path / "a.avi"
    path.write_bytes(b"a clip")
    assert not manifest.sign(path, ORIGIN)
    assert "takes no C2PA manifest" in caplog.text
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no clip at all")
    assert not manifest.sign(broken, ORIGIN)
    assert broken.read_bytes() == b"no clip at all"


def test_a_live_label_holds_for_its_words_its_key_and_its_connection():
    key = keys.label_key()
    public = signed_label.public_key(key)
    message = signed_label.signed(ORIGIN, ("sha-256 AB:CD",), key)
    facts = signed_label.check(message, public)
    assert facts is not None
    assert (facts["session"], facts["fingerprints"], facts["label"]) == ("0000beef", ["sha-256 AB:CD"], "AI-generated")
    assert signed_label.check(message.replace("0000beef", "0000beee"), public) is None
    assert signed_label.check("{}", public) is None
    assert signed_label.check(message, "AAAA") is None


def test_sessions_are_numbers_that_do_not_come_again_and_clips_that_do(sam):
    assert len({new_session() for _ in range(50)}) == 50
    same = session_of(sam.portrait, "text", "head")
    assert session_of(sam.portrait, "text", "head") == same
    assert session_of(sam.portrait, "texth", "ead") != same
    assert session_of(sam.portrait[::-1].copy(), "text", "head") != same


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("share", [0.05, 0.1])
def test_the_badge_is_found_wherever_it_is(sam, corner, share):
    picture = sam.at_size(512)[0].copy()
    assert badge_finder.find(picture) is None
    Badge(512, corner=corner, share=share).apply(picture)
    found = badge_finder.find(picture)
    assert found is not None
    assert (found.y < 0.5) == corner.startswith("top")
    assert (found.x < 0.5) == corner.endswith("left")
    assert found.share == pytest.approx(share, rel=0.12)
    half = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
    assert badge_finder.find(half) is not None


@pytest.mark.parametrize(
    "name", ["empty.png", "empty.jpg", "torn.png", "vast.png", "empty.mp4", "noise.mp4", "noise.mkv"]
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, name):
    png = cv2.imencode(".png", np.full((32, 32, 3), 90, np.uint8))[1].tobytes()
    vast = png[:16] + (2**31 - 1).to_bytes(4, "big") * 2 + png[24:]
    content = {"empty": b"", "torn": png[: len(png) // 2], "vast": vast, "noise": bytes(range(256)) * 20}
    path = tmp_path / name
    path.write_bytes(content[path.stem])
    with pytest.raises(MediaError, match=path.name) as said:
        verify(path)
    assert "\n" not in str(said.value)
