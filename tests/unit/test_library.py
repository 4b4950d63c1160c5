"""Avatars by name: listed, made, replaced, deleted; complete or not at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from avatar.errors import ConsentError, PhotoError, StorageError, UsageError
from avatar.models import registry
from avatar.portrait import bundle
from avatar.portrait import library as library_module
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.library import Library
from avatar.store import Store, blobs, shared, user_data_dir


@pytest.fixture
def shelf(tmp_path: Path) -> Library:
    return Library(registry.avatars_dir(), Store(tmp_path / "data"))


@pytest.fixture(scope="module")
def sam() -> bundle.AvatarBundle:
    return bundle.load(registry.avatars_dir() / "sam")


def kept(shelf: Library) -> list[Path]:
    """Files with content of the user's avatars, wherever they are: content and copies."""
    root = shelf.store.root
    return [path for folder in ("blobs", "files") for path in (root / folder).rglob("*") if path.is_file()]


def own(sam: bundle.AvatarBundle, name: str, title: str = "Mine") -> bundle.AvatarBundle:
    return replace(sam, name=name, title=title, consent="self")


def test_shipped_first_then_own_by_name(shelf, sam):
    shelf.add(own(sam, "zoe"))
    shelf.add(own(sam, "abe"))
    entries = shelf.entries()
    shipped = [e.name for e in entries if e.builtin]
    assert shipped == sorted(shipped)
    assert len(shipped) >= 4
    assert [e.name for e in entries if not e.builtin] == ["abe", "zoe"]
    assert [e.name for e in entries] == shelf.names()
    assert entries[-1].title == "Mine"


def test_without_a_user_folder_there_are_the_shipped_ones(shelf):
    assert all(e.builtin and not e.error for e in shelf.entries())
    assert not shelf.store.root.exists(), "looking makes no folder"


def test_the_users_folder_is_the_systems_own():
    assert "vultus" in str(user_data_dir())
    assert shared().root == user_data_dir()


def test_create_from_a_photo_and_load(shelf, tmp_path):
    import cv2

    photo = tmp_path / "eileen.png"
    cv2.imwrite(str(photo), data.astronaut()[..., ::-1])
    (model,) = registry.fetch("face_landmarker_v2.task")
    with LandmarkDetector(model) as detector:
        made = shelf.create(photo, "eileen", "Eileen", "licensed", detector)
        read = shelf.load("eileen")
        assert np.array_equal(read.portrait, made.portrait)
        assert np.array_equal(read.landmarks, made.landmarks)
        assert (read.title, read.consent, read.warnings) == ("Eileen", "licensed", made.warnings)
        with pytest.raises(
            UsageError, match=r"avatar eileen exists already; choose another name than .*sam.*--overwrite"
        ):
            shelf.create(photo, "eileen", "Again", "licensed", detector)
        assert shelf.create(photo.read_bytes(), "eileen", "Again", "self", detector, overwrite=True).title == "Again"
        assert shelf.load("eileen").title == "Again"
        with pytest.raises(PhotoError):
            shelf.create(b"", "nobody", "", "self", detector)
        with pytest.raises(ConsentError):
            shelf.create(photo, "nobody", "", "maybe", detector)
    assert shelf.store.index().names("avatar") == ["eileen"], "nothing half made is left"
    assert {path.parent for path in kept(shelf) if "files" in path.parts} == {shelf.folder("eileen")}


def test_unknown_name_lists_the_known(shelf):
    with pytest.raises(UsageError, match=r"no avatar is called nobody; known: .*sam") as caught:
        shelf.load("nobody")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no avatar is called nobody"):
        shelf.delete("nobody")
    with pytest.raises(UsageError, match="none yet"):
        Library(shelf.store.root, shelf.store).load("nobody")


@pytest.mark.parametrize("name", ["../sam", "Sam", "", ".new-x", "a/b", "a" * 41])
def test_names_cannot_leave_the_folder(shelf, sam, name):
    for attempt in (shelf.load, shelf.delete, shelf.thumb):
        with pytest.raises(UsageError, match="avatar name"):
            attempt(name)
    with pytest.raises(UsageError, match="avatar name"):
        shelf.add(own(sam, name))


def test_the_shipped_cannot_be_replaced_or_deleted(shelf, sam):
    with pytest.raises(UsageError, match="comes with the program; choose another name"):
        shelf.add(own(sam, "sam"), overwrite=True)
    with pytest.raises(UsageError, match="comes with the program and cannot be deleted"):
        shelf.delete("sam")
    assert (registry.avatars_dir() / "sam" / "avatar.json").is_file()


def test_delete(shelf, sam):
    shelf.add(own(sam, "mine"))
    shelf.delete("mine")
    assert kept(shelf) == []
    with pytest.raises(UsageError):
        shelf.load("mine")


def test_a_damaged_avatar_is_listed_with_its_reason(shelf, sam):
    files = {path.name: path.read_bytes() for path in shelf.add(own(sam, "mine")).iterdir()}
    record = files.pop("consent.json").decode()
    files["portrait.png"] = b"no picture"
    with shelf.store.change() as change:
        change.put("avatar", "mine", files, record)
    (entry,) = [e for e in shelf.entries() if not e.builtin]
    assert "create it again" in entry.error
    with pytest.raises(UsageError, match="cannot be read; create it again"):
        shelf.thumb("mine")
    del files["landmarks.npy"]
    with shelf.store.change() as change:
        change.put("avatar", "mine", files, record)
    with pytest.raises(UsageError, match="create it again"):
        shelf.load("mine")


def test_a_copy_that_somebody_changed_is_made_again(shelf, sam):
    folder = shelf.add(own(sam, "mine"))
    (folder / "portrait.png").write_bytes(b"no picture")
    (folder / "landmarks.npy").unlink()
    (folder / "more").write_text("?")
    assert np.array_equal(shelf.load("mine").portrait, sam.portrait)
    assert not (folder / "more").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_what_was_there(shelf, sam, monkeypatch, overwrite):
    if overwrite:
        shelf.add(own(sam, "mine", "First"))

    def full(avatar: bundle.AvatarBundle, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "avatar.json").write_text("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(library_module.bundle, "save", full)
    with pytest.raises(StorageError, match="No space left on device"):
        shelf.add(own(sam, "mine", "Second"), overwrite=overwrite)
    assert shelf.store.index().names("avatar") == (["mine"] if overwrite else [])
    assert not [path for path in kept(shelf) if path.read_bytes() == b"{"]
    if overwrite:
        assert shelf.load("mine").title == "First"


def test_a_failing_rename_leaves_the_old_one(shelf, sam, monkeypatch):
    shelf.add(own(sam, "mine", "First"))
    real = blobs.os.replace

    def fail(source: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(blobs.os, "replace", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        shelf.add(own(sam, "mine", "Second"), overwrite=True)
    monkeypatch.setattr(blobs.os, "replace", real)
    assert shelf.load("mine").title == "First"


def test_a_data_folder_that_is_a_file_is_one_line(tmp_path, sam):
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Library(registry.avatars_dir(), Store(tmp_path / "data")).add(own(sam, "mine"))


def test_thumb(shelf):
    small = shelf.thumb("sam", 96)
    assert small.shape == (96, 96, 3)
    full = shelf.load("sam").portrait
    assert np.abs(small.reshape(-1, 3).mean(0) - full.reshape(-1, 3).mean(0)).max() < 2, "RGB, not BGR"
