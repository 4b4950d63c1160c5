"""A corpus of speech with phoneme times, on disk: 16 kHz FLAC files and ``manifest.jsonl``, one object an utterance.

    python -m avatar.models.data.corpus --out DIR [--part espeak ...] [--data BUNDLE]

The parts are in :data:`PARTS`. Making it again makes only what is missing; a source that cannot be reached is left out
and named in the log. Voices of the splits ``train``, ``val`` and ``test`` are apart: no speaker is in two of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from avatar.analysis.phonemes import PhonemeMark
from avatar.core.types import F32, freeze
from avatar.errors import AvatarError, MediaError, UsageError
from avatar.models.data.closures import snap_closures
from avatar.streams.sources.text import Speech

log = logging.getLogger(__name__)

RATE = 16_000
"""Of every sound of the corpus, a second."""
MANIFEST = "manifest.jsonl"
REFUSED = "refused.txt"
"""Recordings that could not be labelled, by name, one a line."""

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Sound, what is said in it and when, and how far that is to be trusted."""

    samples: F32
    """(n,) mono at 16 kHz in [-1, 1]."""
    marks: tuple[PhonemeMark, ...]
    """Empty for sound without speech."""
    voice: str
    """The speaker; unique over all sources."""
    source: str
    language: str
    """As espeak-ng names it, "" where nothing is said."""
    trusts: F32
    """(len(marks),) in 0..1."""
    split: Split = "train"
    file: str = ""
    """Its name in the corpus."""


def utterance(speech: Speech, voice: str, source: str, language: str, split: Split, trust: float = 1.0) -> Utterance:
    """Speech whose phoneme times a synthesizer gave."""
    samples = speech.resampled(RATE).samples
    marks = snap_closures(speech.marks, samples, RATE)
    trusts = np.full(len(marks), trust, np.float32)
    return Utterance(samples, marks, voice, source, language, freeze(trusts), split)


class Corpus:
    """A corpus that is being made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._seconds = {row["file"]: float(row["seconds"]) for row in rows(folder)}
        refused = folder / REFUSED
        self._refused = set(refused.read_text(encoding="utf-8").splitlines()) if refused.is_file() else set()

    def __contains__(self, name: str) -> bool:
        return f"{name}.flac" in self._seconds

    def seconds(self, prefix: str) -> float:
        """Seconds of sound of the utterances whose names begin with ``prefix``."""
        return sum(s for file, s in self._seconds.items() if file.startswith(prefix))

    def refused(self, name: str) -> bool:
        """Whether :meth:`refuse` was called for it, now or in an earlier run."""
        return name in self._refused

    def refuse(self, name: str) -> None:
        """Remember that a recording is of no use, so that nobody tries again."""
        self._refused.add(name)
        _append(self.folder / REFUSED, f"{name}\n")

    def add(self, name: str, item: Utterance) -> None:
        """Keep an utterance under ``name`` ("espeak/00017"). One that is there already stays as it is."""
        file = f"{name}.flac"
        if file in self._seconds:
            return
        target = self.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        write_flac(item.samples, part)
        os.replace(part, target)
        seconds = len(item.samples) / RATE
        row: dict[str, Any] = {
            "file": file,
            "marks": [[round(m.start_s, 4), round(m.end_s, 4), m.ipa] for m in item.marks],
            "voice": item.voice,
            "source": item.source,
            "language": item.language,
            "split": item.split,
            "seconds": round(seconds, 4),
        }
        if len(item.trusts) == 0 or np.ptp(item.trusts) == 0:
            row["trust"] = round(float(item.trusts[0]), 3) if len(item.trusts) else 1.0
        else:
            row["trusts"] = [round(float(t), 3) for t in item.trusts]
        _append(self.folder / MANIFEST, json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._seconds[file] = seconds


def _append(file: Path, line: str) -> None:
    """One write at the end of the file, so that several processes may make parts of one corpus."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The manifest's objects; of a file that is named twice the last one. A line cut off by a kill is left out."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    found: dict[str, dict[str, Any]] = {}
    for line in manifest.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            found[row["file"]] = row
        except (ValueError, KeyError, TypeError):
            log.warning("%s: a broken line is left out", manifest)
    yield from found.values()


def read(folder: Path, split: str | None = None, sources: Collection[str] | None = None) -> Iterator[Utterance]:
    """The utterances of a corpus in the order in which they were made.

    :param split: only "train", "val" or "test"; :param sources: only these.

    Raises MediaError where there is no corpus or a file of it cannot be read.
    """
    if not (folder / MANIFEST).is_file():
        raise MediaError(f"{folder} holds no corpus: make one with python -m avatar.models.data.corpus --out {folder}")
    for row in rows(folder):
        if (split and row["split"] != split) or (sources is not None and row["source"] not in sources):
            continue
        yield of_row(folder, row)


def of_row(folder: Path, row: dict[str, Any]) -> Utterance:
    """The utterance of one object of the manifest. Raises MediaError where its file cannot be read."""
    marks = tuple(PhonemeMark(float(a), float(b), str(ipa)) for a, b, ipa in row["marks"])
    trusts = np.asarray(row.get("trusts") or [row.get("trust", 1.0)] * len(marks), np.float32)
    samples = read_sound(folder / row["file"])
    return Utterance(
        samples, marks, row["voice"], row["source"], row["language"], freeze(trusts), row["split"], row["file"]
    )


# --- sound files -------------------------------------------------------------------------------------------------


def read_sound(path: Path | IO[bytes], form: str | None = None) -> F32:
    """A sound file at 16 kHz, mono.

    :param form: FFmpeg's name of a format that the file does not tell by itself ("g722").

    Raises MediaError where it cannot be read.
    """
    import av

    try:
        source = str(path) if isinstance(path, Path) else path
        with av.open(source, "r", format=form, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise MediaError(f"{path} has no sound in it: give a sound file")
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
            parts = [
                frame.to_ndarray().reshape(-1)
                for decoded in (*container.decode(stream), None)
                for frame in resampler.resample(decoded)
            ]
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path} cannot be read as sound: {error}") from error
    return freeze(np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32))


def write_flac(samples: F32, path: Path, rate: int = RATE) -> None:
    """Mono, 16 bit; louder than full scale is turned down as a whole."""
    import av

    peak = float(np.abs(samples).max(initial=0.0))
    pcm = np.round(samples * (32767 * min(1.0, 0.99 / max(peak, 1e-9)))).astype(np.int16)
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono", format="s16")
        for first in range(0, max(len(pcm), 1), 4096):
            frame = av.AudioFrame.from_ndarray(pcm[None, first : first + 4096].copy(), format="s16", layout="mono")
            frame.rate, frame.pts = rate, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# --- making it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made, and where things are kept."""

    corpus: Corpus
    cache: Path
    """Where downloads stay."""
    data: Path | None = None
    """A folder with ``speech/emodb``, ``speech/nvidia`` and ``talking/obama``; without it that part is left out."""
    minutes: float | None = None
    """Of sound, for the parts that are synthesized; each part's own default where None."""
    seed: int = 1


PARTS: dict[str, str] = {
    "espeak": "avatar.models.data.synthetic:make_espeak",
    "noise": "avatar.models.data.noises:make_noise",
    "kokoro": "avatar.models.data.synthetic:make_kokoro",
    "librivox": "avatar.models.data.prompts:make_librivox",
    "prompts": "avatar.models.data.prompts:make_prompts",
    "games": "avatar.models.data.prompts_games:make_games",
    "bundle": "avatar.models.data.prompts:make_bundle",
    "music": "avatar.models.data.prompts:make_music",
}
"""Name -> the function that makes it, of a :class:`Plan`."""


def build(
    out: Path,
    parts: Sequence[str] = (),
    data: Path | None = None,
    cache: Path | None = None,
    minutes: float | None = None,
    seed: int = 1,
) -> dict[str, float]:
    """Make a corpus, or what it lacks; all parts where none is named. Returns the minutes of sound of each source.

    A part that cannot be made (no package index, no such package here) is left out with a warning.

    Raises UsageError for an unknown part.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UsageError(f"no corpus part named {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    plan = Plan(Corpus(out), cache or out.parent / f"{out.name}-downloads", data, minutes, seed)
    for part in parts or PARTS:
        module, _, function = PARTS[part].partition(":")
        make: Callable[[Plan], None] = getattr(import_module(module), function)
        try:
            make(plan)
        except ModuleNotFoundError as error:
            log.warning("corpus part %s is left out: needs %s; pip install 'vultus[train]'", part, error.name)
        except (AvatarError, OSError) as error:
            log.warning("corpus part %s is left out or not complete: %s", part, error)
    return summary(out)


def summary(folder: Path) -> dict[str, float]:
    """Minutes of sound of each source and split ("espeak/train")."""
    out: dict[str, float] = {}
    for row in rows(folder):
        key = f"{row['source']}/{row['split']}"
        out[key] = out.get(key, 0.0) + row["seconds"] / 60
    return {key: round(value, 2) for key, value in sorted(out.items())}


def main(argv: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a corpus of speech with phoneme times.")
    parser.add_argument("--out", type=Path, required=True, help="the corpus' folder; what is there is kept")
    parser.add_argument("--part", nargs="+", default=[], choices=sorted(PARTS), help="only these; default: all")
    parser.add_argument("--data", type=Path, help="folder with speech/emodb, speech/nvidia and talking/obama")
    parser.add_argument("--cache", type=Path, help="where downloads stay; default: beside the corpus")
    parser.add_argument("--minutes", type=float, help="of sound for the synthesized parts")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(None if argv is None else list(argv))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        made = build(args.out, args.part, args.data, args.cache, args.minutes, args.seed)
    except AvatarError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(made, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
