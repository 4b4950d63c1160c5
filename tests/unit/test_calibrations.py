"""What is kept of a calibration, where, and what happens when it is damaged."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from avatar.analysis.calibration import AXES, Habits
from avatar.analysis.head_features import FEATURES
from avatar.analysis.head_model import HeadModel, Manner
from avatar.analysis.speaker import Speaker
from avatar.calibrations import DEFAULT, Calibrations, find
from avatar.core import facs
from avatar.errors import ModelFileError, StorageError, UsageError
from avatar.store import Store

HABITS = Habits(60.0, 40.0, 0.98, 29.7, dict.fromkeys(AXES, 2.0), dict.fromkeys(AXES, 7.0), dict.fromkeys(AXES, 5.0))
SPEAKER = Speaker(7.5, 0.2, facs.arkit_vector({"mouthSmile": 0.2, "browDown": 0.3}))


def small_head(degrees: float = 1.0) -> HeadModel:
    """Two branches of one state each, and one gesture, which goes with either."""
    s, p = 2, len(FEATURES)
    return HeadModel(
        branch=np.arange(s),
        start=np.full(s, 0.5),
        transition=np.full((s, s), 0.5),
        prosody_mean=np.stack([np.full(p, -0.5), np.full(p, 0.5)]).astype(np.float32),
        prosody_sd=np.ones((s, p), np.float32),
        lasts=np.full(s, 20, np.float32),
        lasts_sd=np.full(s, 5, np.float32),
        manners={
            "neutral": Manner(
                mean=np.full((1, 1, 3), degrees, np.float32),
                choice=np.ones((s, 1), np.float32),
                gain=np.ones(3, np.float32),
                posture_sd=np.ones(3, np.float32),
                posture_seconds=np.full(3, 2, np.float32),
            )
        },
    )


def keep(store: Calibrations, name: str = "me", degrees: float = 1.0) -> Path:
    made, program = "2026-01-02T03:04:05+00:00", "vultus 0.1.0"
    return store.save(name, made, program, SPEAKER, HABITS, small_head(degrees).save)


@pytest.fixture
def store(tmp_path: Path) -> Calibrations:
    return Calibrations(Store(tmp_path / "data"))


def test_what_is_kept_comes_back(store: Calibrations) -> None:
    assert store.names() == []
    assert store.chosen is None
    assert find(store, "auto") == (None, "")
    keep(store)
    store.choose("me")
    found, fault = find(store, "auto")
    assert found is not None
    assert fault == ""
    assert found.habits == HABITS
    assert found.speaker.hertz == pytest.approx(2**7.5)
    assert np.allclose(found.speaker.neutral, SPEAKER.neutral, atol=1e-4)
    assert np.array_equal(found.head.manners["neutral"].mean, small_head().manners["neutral"].mean)
    assert (found.made, found.program) == ("2026-01-02T03:04:05+00:00", "vultus 0.1.0")


def test_the_description_says_what_it_is_and_holds_neither_sound_nor_pictures(store: Calibrations) -> None:
    folder = keep(store)
    assert {file.name for file in folder.iterdir()} == {"calibration.json", "head.npz"}
    about = json.loads((folder / "calibration.json").read_text())
    assert about["format"] == "vultus calibration"
    assert "No sound, no pictures" in about["about"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 64 * 1024


@pytest.mark.skipif(sys.platform == "win32", reason="no such modes there")
def test_it_is_for_its_owner_only(store: Calibrations) -> None:
    folder = keep(store)
    store.choose("me")
    root = store.store.root
    for file in root.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o600 if file.is_file() else 0o700), file.name
    assert folder.is_relative_to(root)


def test_a_new_one_takes_the_place_of_the_old_one_and_a_failure_leaves_the_old_one(store: Calibrations) -> None:
    keep(store, degrees=1.0)
    keep(store, degrees=2.0)
    assert store.load("me").head.manners["neutral"].mean[0, 0, 0] == 2.0

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        store.save("me", "", "", SPEAKER, HABITS, full)
    assert store.load("me").head.manners["neutral"].mean[0, 0, 0] == 2.0
    root = store.store.root
    assert [path.name for path in root.glob("files/*/*")] == ["me"], "nothing is left behind"
    assert len([path for path in (root / "blobs").rglob("*") if path.is_file()]) == 2


def test_one_that_is_deleted_is_no_longer_used(store: Calibrations) -> None:
    keep(store)
    store.choose("me")
    store.delete("me")
    assert store.names() == []
    assert find(store, "auto") == (None, "")
    keep(store)
    assert store.chosen is None, "one of the same name is not used unasked"
    with pytest.raises(UsageError, match="known: me"):
        store.delete("you")


def test_the_default_can_be_chosen_and_the_own_one_again(store: Calibrations) -> None:
    keep(store)
    for name, used in (("me", "me"), (DEFAULT, None), ("me", "me")):
        store.choose(name)
        assert store.chosen == used
    assert find(store, "none") == (None, "")
    assert find(store, "me")[0] is not None
    with pytest.raises(UsageError):
        store.choose("you")


@pytest.mark.parametrize("name", ["default", "auto", "none", "../me", "Me", "", ".new-x", "a" * 41])
def test_names_that_cannot_be(store: Calibrations, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        keep(store, name)


def _other_version(folder: Path) -> None:
    file = folder / "calibration.json"
    file.write_text(file.read_text().replace('"format_version": 1', '"format_version": 2'))


def _other_head_version(folder: Path) -> None:
    head, file = folder / "head.npz", folder / "calibration.json"
    with np.load(head) as data:
        arrays = {**data, "version": np.int64(99)}
    np.savez(head, **arrays)
    import hashlib

    about = json.loads(file.read_text())
    about["head"]["sha256"] = hashlib.sha256(head.read_bytes()).hexdigest()
    file.write_text(json.dumps(about))


def _broken_json(folder: Path) -> None:
    (folder / "calibration.json").write_text("{")


def _broken_head(folder: Path) -> None:
    (folder / "head.npz").write_bytes(b"PK\x03\x04")


def _no_head(folder: Path) -> None:
    (folder / "head.npz").unlink()


def _no_voice(folder: Path) -> None:
    file = folder / "calibration.json"
    about = json.loads(file.read_text())
    del about["voice"]
    file.write_text(json.dumps(about))


def _nan(folder: Path) -> None:
    file = folder / "calibration.json"
    file.write_text(file.read_text().replace("40.0", "NaN"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_other_version, "another version"),
        (_other_head_version, "version 99"),
        (_broken_json, "cannot be read"),
        (_broken_head, "damaged"),
        (_no_head, "damaged"),
        (_no_voice, "damaged"),
        (_nan, "damaged"),
    ],
)
def test_a_broken_one_is_one_line_and_the_default_goes_on(store: Calibrations, damage, says: str) -> None:
    folder = keep(store)
    store.choose("me")
    damage(folder)
    with store.store.change() as change:
        change.put("calibration", "me", {path.name: path.read_bytes() for path in folder.iterdir()})
    found, fault = find(store, "auto")
    assert found is None
    assert says in fault
    assert "The default head is used." in fault
    assert "\n" not in fault
    with pytest.raises(ModelFileError, match=says):
        find(store, "me")
    store.delete("me")
    assert store.names() == []
