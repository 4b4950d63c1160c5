"""A corpus as features and targets, ready to be trained on, kept in files so that they are made once.

Every training utterance is kept twice: as it is, and played faster or slower (which also moves pitch and formants) in a
made-up room or over a telephone. What is cheaper to do on mel frames is done at each use (:mod:`.augment`).
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soxr

from avatar.analysis.features import HALF, HOP, RATE, WINDOW, log_mel
from avatar.analysis.phonemes import PhonemeMark
from avatar.core.facs import VISEMES
from avatar.core.types import F32
from avatar.models.data.corpus import MANIFEST, read_sound, rows
from avatar.models.visemes.targets import Targets, targets

log = logging.getLogger(__name__)

SHARD = 400
"""Utterances in a file."""
SPARED_SOURCES = ("amazon-queen", "emodb", "hedgewars")
VERSION = 3
"""Part of every key: raise it when features or targets change."""
COLUMNS = len(VISEMES) + 3 + 2 + 1
"""Of the packed targets: visemes, curves, weights (all in 1 / 255) and the phone."""


def mel_frames(samples: F32) -> F32:
    """(n,) at 16 kHz to (len // HOP + 1, MELS), frame i centred on sample i * HOP, as the live frames are."""
    padded = np.pad(samples, (HALF, HALF + HOP))
    count = len(samples) // HOP + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: count * HOP : HOP]
    return np.concatenate([log_mel(windows[i : i + 2000]) for i in range(0, count, 2000)])


def pack(t: Targets) -> np.ndarray:
    """(n, COLUMNS) uint8."""
    shares = np.concatenate((t.visemes, t.curves, t.weight), axis=1)
    packed = np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return np.concatenate((packed, (t.phones + 1).astype(np.uint8)[:, None]), axis=1)


def unpack(packed: np.ndarray) -> tuple[F32, F32, F32, np.ndarray]:
    """(..., COLUMNS) to visemes (..., 15), curves (..., 3), weights (..., 2), phones (...)."""
    v = len(VISEMES)
    shares: F32 = packed[..., : v + 5].astype(np.float32) / np.float32(255)
    return shares[..., :v], shares[..., v : v + 3], shares[..., v + 3 :], packed[..., -1].astype(np.int64) - 1


def distort(x: F32, random: np.random.Generator) -> tuple[F32, float]:
    """A sound in another room, speed or line; returns it and how many times longer it is."""
    factor = float(np.exp(random.uniform(np.log(0.86), np.log(1.16))))
    out = soxr.resample(x, RATE, RATE * factor).astype(np.float32)
    if random.random() < 0.5:
        seconds = float(random.uniform(0.08, 0.5))
        n = int(seconds * RATE)
        tail = random.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n) * float(random.uniform(0.01, 0.06))
        tail[0] = 1.0
        out = scipy.signal.fftconvolve(out, tail)[: len(out)].astype(np.float32)
    kind = random.random()
    if kind < 0.2:  # a telephone
        band = (float(random.uniform(100, 350)), float(random.uniform(3200, 3800)))
        out = scipy.signal.sosfilt(scipy.signal.butter(4, band, "band", fs=RATE, output="sos"), out)
    elif kind < 0.3:  # a microphone turned up too far
        out = np.clip(out, *(float(np.abs(out).max()) * float(random.uniform(0.15, 0.6)) * np.array((-1, 1))))
    return out.astype(np.float32), len(out) / max(1, len(x))


@dataclass(frozen=True, slots=True)
class Item:
    """One utterance in memory."""

    mel: np.ndarray
    """(n, MELS) float16."""
    packed: np.ndarray
    """(n, COLUMNS) uint8."""
    file: str
    voice: str
    source: str
    language: str
    split: str
    variant: int
    """0 = as recorded."""


def split_of(row: dict[str, Any]) -> str:
    """The corpus' split, but that every eighth voice of sources with many people is kept for choosing thresholds
    where the corpus has no "val" of its own: "train" people only, never those of "test"."""
    spared = row["source"] in SPARED_SOURCES and zlib.crc32(row["voice"].encode()) % 8 == 0
    return "val" if spared and row["split"] == "train" else str(row["split"])


def _key(row: dict[str, Any]) -> str:
    said = json.dumps([VERSION, row["marks"], row.get("trust"), row.get("trusts")], ensure_ascii=False)
    return f"{row['file']}:{zlib.crc32(said.encode()):08x}"


def _items(corpus: Path, row: dict[str, Any]) -> Iterator[Item]:
    samples = read_sound(corpus / row["file"])
    trusts = np.asarray(row.get("trusts") or [row.get("trust", 1.0)] * len(row["marks"]), np.float32)
    random = np.random.default_rng(zlib.crc32(row["file"].encode()))
    speech = bool(row["marks"])
    for variant in range(2 if row["split"] == "train" and speech else 1):
        sound, factor = distort(samples, random) if variant else (samples, 1.0)
        mel = mel_frames(sound)
        marks = [PhonemeMark(float(a) * factor, float(b) * factor, str(ipa)) for a, b, ipa in row["marks"]]
        packed = pack(targets(marks, trusts, len(mel)))
        about = (row["file"], row["voice"], row["source"], row["language"], row["split"])
        yield Item(mel.astype(np.float16), packed, *about, variant)


def prepare(corpus: Path, cache: Path) -> int:
    """Make the features that ``cache`` lacks; returns how many utterances were new."""
    cache.mkdir(parents=True, exist_ok=True)
    known: set[str] = set()
    for path in cache.glob("shard-*.json"):
        known.update(entry["key"] for entry in json.loads(path.read_text(encoding="utf-8")))
    todo = [row for row in rows(corpus) if _key(row) not in known]
    for first in range(0, len(todo), SHARD):
        number = len(list(cache.glob("shard-*.json")))
        _write_shard(corpus, todo[first : first + SHARD], cache / f"shard-{number:04d}")
        log.info("features: %d of %d utterances", min(len(todo), first + SHARD), len(todo))
    return len(todo)


def _write_shard(corpus: Path, part: list[dict[str, Any]], stem: Path) -> None:
    entries: list[dict[str, Any]] = []
    mels: list[np.ndarray] = []
    packs: list[np.ndarray] = []
    for row in part:
        for item in _items(corpus, row):
            fields = {name: getattr(item, name) for name in ("file", "voice", "source", "language", "split", "variant")}
            entries.append({"key": _key(row), "hops": len(item.mel), **fields})
            mels.append(item.mel)
            packs.append(item.packed)
    np.save(stem.with_suffix(".mel.npy"), np.concatenate(mels))
    np.save(stem.with_suffix(".targets.npy"), np.concatenate(packs))
    # Written last: a shard without it does not count.
    stem.with_suffix(".json").write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")


def load(corpus: Path, cache: Path, splits: tuple[str, ...] = ("train",)) -> list[Item]:
    """The prepared utterances that are in the corpus as it is now."""
    wanted = {_key(row) for row in rows(corpus) if split_of(row) in splits}
    log.debug("%s: %d utterances wanted", corpus / MANIFEST, len(wanted))
    out: list[Item] = []
    for path in sorted(cache.glob("shard-*.json")):
        stem = path.with_suffix("")
        mel, packed = np.load(stem.with_suffix(".mel.npy")), np.load(stem.with_suffix(".targets.npy"))
        at = 0
        for entry in json.loads(path.read_text(encoding="utf-8")):
            a, at = at, at + entry["hops"]
            if entry["key"] in wanted:
                about = (entry[k] for k in ("file", "voice", "source", "language", "split", "variant"))
                out.append(Item(mel[a:at], packed[a:at], *about))
    return out
