"""Batches: a table of clips to draw, and a journal of those that are done, so that no clip is ever drawn twice.

The table is CSV with a head line. ``output`` and one of ``audio``, ``text``, ``states``, ``video`` are needed; every
other column is a setting of that clip. Paths are relative to the table's folder. What is wrong with a row is one line
that names file and line; the other rows go on.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from avatar.config import Config
from avatar.errors import StorageError, UsageError

INPUTS = ("audio", "text", "states", "video")
SETTINGS = {
    "avatar": ("avatar", "name"),
    "engine": ("avatar", "engine"),
    "size": ("avatar", "size"),
    "fps": ("avatar", "fps"),
    "quality": ("avatar", "quality"),
    "background": ("avatar", "background"),
    "head": ("face", "head"),
    "seed": ("face", "seed"),
    "micro_gain": ("face", "micro_gain"),
}
"""Column -> table and key of the configuration."""
OTHERS = ("output", "emotion", "act", "voice", "states_out", "consent")
COLUMNS = (*INPUTS, *SETTINGS, *OTHERS)
CONSENTS = ("self", "licensed", "synthetic")
MOST = 1_000_000
"""Rows of a table."""


def _look(path: Path) -> os.stat_result | None:
    """None where there is no such file, or no file can be called that."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


@dataclass(frozen=True, slots=True)
class Job:
    """One clip."""

    line: int
    """Of the table."""
    output: Path
    source: dict[str, str]
    """``audio``, ``text``, ``states`` or ``video``, and perhaps ``act`` and ``voice``."""
    config: dict[str, Any]
    states_out: str = ""
    consent: str = "self"

    @property
    def key(self) -> str:
        """Of what is drawn and where to: another when anything about the row is changed, or the file that it is made of
        (by size and time)."""
        facts: list[Any] = [str(self.output), self.source, self.config, self.states_out, self.consent]
        for kind in ("audio", "states", "video"):
            if kind in self.source and (found := _look(Path(self.source[kind]))) is not None:
                facts.append([found.st_size, found.st_mtime_ns])
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def as_json(self) -> dict[str, Any]:
        """For another process or machine."""
        return {
            "line": self.line,
            "output": str(self.output),
            "source": self.source,
            "config": self.config,
            "states_out": self.states_out,
            "consent": self.consent,
            "key": self.key,
        }


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be drawn."""

    line: int
    why: str


def read(table: Path, config: Config) -> tuple[list[Job], list[Bad]]:
    """The jobs of a table, and its bad rows. Raises UsageError for a table that cannot be read at all."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return _rows(file, table, config)
    except OSError as error:
        raise UsageError(f"{table}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table}: is no CSV table in UTF-8 ({error})") from error


def _rows(file: IO[str], table: Path, config: Config) -> tuple[list[Job], list[Bad]]:
    reader = csv.DictReader(file, restkey="", restval="", strict=True)
    columns = [name.strip() for name in reader.fieldnames or ()]
    if "output" not in columns or not set(columns) & set(INPUTS):
        raise UsageError(f"{table}: the first line names the columns: output, and one of {', '.join(INPUTS)}")
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise UsageError(f"{table}: unknown column {unknown[0]!r}; there are: {', '.join(COLUMNS)}")
    if len(set(columns)) < len(columns):
        raise UsageError(f"{table}: a column is there twice")
    reader.fieldnames = columns
    base, outputs = config.model_dump(mode="json"), dict[Path, int]()
    jobs: list[Job] = []
    bad: list[Bad] = []
    for row in reader:
        if reader.line_num > MOST:
            raise UsageError(f"{table}: more than {MOST} rows; split it")
        if not any(row.values()):
            continue
        try:
            job = _job(row, reader.line_num, table.resolve().parent, base)
            if (twice := outputs.setdefault(job.output, job.line)) != job.line:
                raise UsageError(f"output {row['output']} is that of line {twice} already")
            jobs.append(job)
        except UsageError as error:
            bad.append(Bad(reader.line_num, str(error)))
    return jobs, bad


def _job(row: dict[str, Any], line: int, folder: Path, base: dict[str, Any]) -> Job:
    """Raises UsageError."""
    if row.pop("", None):
        raise UsageError("more cells than columns; quote texts that have commas")
    given = {key: value.strip() for key, value in row.items() if value and value.strip()}
    if "output" not in given:
        raise UsageError("output is empty")
    inputs = [kind for kind in INPUTS if kind in given]
    if len(inputs) != 1:
        raise UsageError(f"give one of {', '.join(INPUTS)}, not {len(inputs)}")
    (kind,) = inputs
    source = {kind: given[kind] if kind == "text" else str(folder / given[kind])}
    for name in ("act", "voice"):
        if name in given and kind != "text":
            raise UsageError(f"{name} says how a text is spoken, and there is none")
        if name in given:
            source[name] = given[name]
    if given.get("consent", "self") not in CONSENTS:
        raise UsageError(f"consent: one of {', '.join(CONSENTS)}")
    states_out = str(folder / given["states_out"]) if "states_out" in given else ""
    config = _configured(given, base, folder)
    return Job(line, folder / given["output"], source, config, states_out, given.get("consent", "self"))


def _configured(given: dict[str, str], base: dict[str, Any], folder: Path) -> dict[str, Any]:
    from pydantic import ValidationError

    made = {name: dict(table) if isinstance(table, dict) else table for name, table in base.items()}
    for column, (table, key) in SETTINGS.items():
        if column in given:
            made[table][key] = given[column]
    if "avatar" in given and _look(folder / given["avatar"]) is not None:
        made["avatar"]["name"] = str(folder / given["avatar"])
    if "emotion" in given:
        label, colon, degree = given["emotion"].partition(":")
        made["face"]["emotion"] = label
        if colon:
            made["face"]["intensity"] = degree
    try:
        return Config.model_validate(made).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name} = {first['input']!r}: {first['msg']}") from None


class Journal:
    """What is done: a line of JSON for each clip, on the disk before the next one begins.

    A line that was cut off by a crash counts for nothing, and neither does a clip whose file is not there any more.
    """

    def __init__(self, table: Path) -> None:
        self.path = table.with_name(table.name + ".journal")
        self._done: dict[str, dict[str, Any]] = {}
        self._file: IO[bytes] | None = None
        whole = 0
        if self.path.exists():
            whole = self._load()
        try:
            self._file = self.path.open("ab")
            self._file.truncate(whole)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written ({error.strerror or error})") from error

    def _load(self) -> int:
        """Returns the length of its whole lines in bytes."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                entry = json.loads(line)
                self._done[entry["key"]] = {"key": entry["key"], "bytes": int(entry["bytes"])}
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                raise UsageError(
                    f"{self.path}, line {number}: is no journal of a batch; move it away to draw all again"
                ) from None
        return whole

    def has(self, job: Job) -> bool:
        """Whether this very clip is drawn, and is there."""
        entry = self._done.get(job.key)
        there = _look(job.output)
        return entry is not None and there is not None and there.st_size == entry["bytes"]

    def add(self, entry: dict[str, Any]) -> None:
        """Raises StorageError."""
        assert self._file is not None
        try:
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written ({error.strerror or error})") from error
        self._done[entry["key"]] = entry

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def missing(jobs: Iterable[Job], journal: Journal) -> Iterator[Job]:
    """Those that are not done."""
    return (job for job in jobs if not journal.has(job))
