"""``avatar eval emotion_neutral``: ten minutes of people who read without emotion, each from the first word on.

LibriVox clips of a Debian package, what ``--data`` has (neutral sentences, a president's address), and prompts of
telephone systems by four professional speakers for the rest of the ten minutes: studio recordings of 7 kHz (G.722), not
telephone sound. The shipped weights learnt from none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.emotion import WEIGHTS_FILE, EmotionEstimator
from avatar.analysis.features import RATE
from avatar.core.types import F32
from avatar.errors import AvatarError
from avatar.models import registry
from avatar.models.data.corpus import read_sound
from avatar.models.data.fetch import debian_package
from avatar.models.emotion.stream import Listener

Progress = Callable[[int, int], None]

TOTAL_S = 600.0
LANGUAGES = ("en", "fr", "it", "ru")
PAUSE_S = 0.3
NEUTRAL_SHARE, FLIPS = 0.8, 2.0
SHORTEST_S = 1.5
"""Of a prompt: single words are no reading."""


def emotion_neutral(
    weights: Path, data: Path | None = None, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """Every reader as a stream of their own, somebody new each time."""
    found = dict(_readers(data))
    wanted = {name: sounds for name, sounds in found.items() if sounds}
    left = max(0.0, TOTAL_S - sum(_seconds(s) for s in wanted.values()))
    for language in LANGUAGES:
        wanted[f"prompts {language}"] = _prompts(language, left / len(LANGUAGES))
    rows: dict[str, dict[str, float]] = {}
    for name, sounds in wanted.items():
        if sounds:
            rows[name] = _heard(sounds, weights)
        progress(len(rows), len(wanted))
    readings = sum(row["readings"] for row in rows.values())
    neutral = sum(row["neutral"] for row in rows.values())
    flips = sum(row["flips"] for row in rows.values())
    seconds, share = round(readings / 10, 1), round(neutral / max(1, readings), 3)
    per_minute = round(600 * flips / max(1, readings), 2)
    missed = []
    if share < NEUTRAL_SHARE:
        missed.append(f"neutral_share: {share}, wanted at least {NEUTRAL_SHARE}")
    if per_minute > FLIPS:
        missed.append(f"flips_per_minute: {per_minute}, wanted at most {FLIPS}")
    if seconds < TOTAL_S - 30:
        missed.append(f"seconds: {seconds}, wanted {TOTAL_S:.0f}")
    return {
        "task": "emotion_neutral",
        "seconds": seconds,
        "neutral_share": share,
        "flips_per_minute": per_minute,
        "rows": rows,
        "missed_targets": missed,
    }


def _seconds(sounds: list[F32]) -> float:
    return sum(len(sound) / RATE + PAUSE_S for sound in sounds)


def _heard(sounds: list[F32], weights: Path) -> dict[str, float]:
    pause = np.zeros(int(PAUSE_S * RATE), np.float32)
    samples = np.concatenate([part for sound in sounds for part in (sound, pause)])
    readings = Listener(weights, EmotionEstimator(weights / WEIGHTS_FILE)).hear(samples)
    labels = [reading.label for _, reading in readings]
    return {
        "readings": len(labels),
        "neutral": sum(label == "neutral" for label in labels),
        "flips": sum(a != b for a, b in pairwise(labels)),
        "confidence": round(float(np.mean([reading.confidence for _, reading in readings])), 3),
    }


def _readers(data: Path | None) -> Iterator[tuple[str, list[F32]]]:
    folder = debian_package(registry.cache_dir(), "pocketsphinx-testdata")
    yield "LibriVox", [read_sound(path) for path in sorted(folder.rglob("librivox/*.wav"))]
    if data is not None:
        for path in sorted((data / "speech" / "nvidia").glob("*_neutral.flac")):
            yield path.stem, [read_sound(path)]
        yield "address", [read_sound(path) for path in sorted((data / "talking" / "obama").glob("*.flac"))]


def _prompts(language: str, seconds: float) -> list[F32]:
    """At most ``seconds`` of whole prompts of one speaker; none where the package cannot be had."""
    try:
        folder = debian_package(registry.cache_dir(), f"asterisk-core-sounds-{language}-g722")
    except AvatarError:
        return []
    files = sorted(folder.rglob("*.g722"))
    out: list[F32] = []
    for k in np.random.default_rng(0).permutation(len(files)):
        if _seconds(out) >= seconds:
            break
        if "silence" in files[k].parts:
            continue
        sound = read_sound(files[k], "g722")
        if len(sound) >= SHORTEST_S * RATE and float(np.abs(sound).max(initial=0)) > 0.01:
            out.append(sound)
    return out


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes of the table."""
    rows = [
        [
            name, f"{row['readings'] / 10:.0f}", f"{row['neutral'] / row['readings']:.2f}",
            f"{600 * row['flips'] / row['readings']:.1f}", f"{row['confidence']:.2f}",
        ]
        for name, row in result["rows"].items()
    ]  # fmt: skip
    share, flips = result["neutral_share"], result["flips_per_minute"]
    notes = [f"together: {result['seconds']:.0f} s, neutral {share} of them, {flips} flips a minute"]
    heads = ["reader", "seconds", "neutral", "flips a minute", "confidence"]
    return [("Neutral reading", heads, rows, [*notes, *(f"missed: {m}" for m in result["missed_targets"])])]
