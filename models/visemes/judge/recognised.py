"""``avatar eval visemes``: how well lips recognised from sound fit what was said, on voices that training never heard.

Three sets stand apart: espeak-ng, Kokoro and people. Definitions: :mod:`avatar.models.visemes.judge.metrics`; the
recognisers: :mod:`avatar.models.visemes.judge.rows`; where the speech comes from:
:mod:`avatar.models.visemes.judge.held_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.mouth import CALM_MS, LIVE_MS
from avatar.analysis.voice import VoiceAnalyzer
from avatar.core.facs import INDEX
from avatar.core.types import F32
from avatar.errors import AvatarError
from avatar.models.visemes.judge import held_out
from avatar.models.visemes.judge.align import Aligner
from avatar.models.visemes.judge.held_out import Clip
from avatar.models.visemes.judge.metrics import Tally, Truth, figures, measure
from avatar.models.visemes.judge.rows import Recogniser, as_shown, hama, heard, live, prototypes
from avatar.models.visemes.texts import TEST_VARIANTS
from avatar.streams.sources.text import Speech

CLOSURES = {"kokoro": 160, "real": 320}
"""p, b, m that a set of the corpus holds, where it has as many."""
POOLED = ("espeak", "kokoro", "real", "data")
"""The sets whose utterances make up the overall rows."""
TARGETS: dict[str, dict[str, dict[str, float]]] = {
    "espeak": {"ours": {"closure_recall": 0.92, "false_closure": 0.08}},
    "kokoro": {"ours": {"closure_recall": 0.88, "false_closure": 0.12}},
    "real": {
        "ours": {"closure_recall": 0.85, "false_closure": 0.20},
        "ours_calm": {"closure_recall": 0.92, "false_closure": 0.10},
    },
}
"""What the rows have to show: recall at least, false closures at most."""

Progress = Callable[[int, int], None]


def visemes(
    weights: Path,
    data: Path | None = None,
    corpus: Path | None = None,
    minutes: float = 15.0,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The figures under the keys ``sets.NAME.rows.ROW`` and, pooled, ``rows.ROW``.

    :param data: a folder of recordings with text, judged in place of the sets; at most ``minutes`` of it.
    :param corpus: a corpus whose test voices are Kokoro's and people's.

    Raises UsageError where nothing can be judged, ModelFileError where the engine's own weights are missing.
    """
    sets: dict[str, dict[str, Any]] = {}
    clips: dict[str, list[Clip]] = {}
    if data is not None:
        found, skipped, total = held_out.folder_clips(data, minutes)
        clips["data"] = found
        sets["data"] = {"folder": str(data), "recordings": total, "skipped": skipped}
    else:
        _gather(clips, sets, corpus)
    rows, absent = _rows(weights)
    of = sum(map(len, clips.values())) * len(rows)
    tallies: dict[tuple[str, str], list[Tally]] = {}
    done = 0
    for name, members in clips.items():
        for row, recognise in rows.items():
            made = tallies[name, row] = []
            for clip in members:
                made.append(measure(clip.truth, recognise(clip.samples, clip.rate)))
                done += 1
                progress(done, of)
        sets[name] |= _describe(members, {row: tallies[name, row] for row in rows})
    pooled: dict[str, Any] = {
        row: figures([t for name in clips if name in POOLED for t in tallies[name, row]]) for row in rows
    }
    return {"task": "visemes", "rows": pooled | absent, "sets": sets, "missed_targets": missed_targets(sets)}


def _gather(clips: dict[str, list[Clip]], sets: dict[str, dict[str, Any]], corpus: Path | None) -> None:
    """The three sets and the odd voices; what cannot be had says why. Voices that the corpus trains on are left out."""
    trained = held_out.trained_on(corpus)

    def gather(name: str, source: Callable[[], Iterable[Clip]]) -> None:
        try:
            found = list(source())
        except AvatarError as error:
            sets[name] = {"missing": str(error)}
            return
        known = {clip.voice for clip in found if clip.voice in trained or _variant(clip.voice) in trained}
        found = [clip for clip in found if clip.voice not in known]
        sets[name] = {"left_out_as_trained": sorted(known)} if known else {}
        if found:
            clips[name] = found
        else:
            sets[name] |= {"missing": "the corpus has no test voices for it"}

    gather("espeak", lambda: held_out.espeak_clips(TEST_VARIANTS, per_sentence=4))
    gather("kokoro", lambda: held_out.kokoro_clips(corpus, CLOSURES["kokoro"]))
    gather("real", lambda: held_out.real_clips(corpus, Aligner(), CLOSURES["real"]))
    gather("espeak_odd", lambda: held_out.espeak_clips(held_out.ODD_VARIANTS, per_sentence=1))


def _variant(voice: str) -> str:
    """espeak-ng's "de+f3" as the corpus calls it."""
    return f"espeak-{voice.partition('+')[2]}" if "+" in voice else voice


def _rows(weights: Path) -> tuple[dict[str, Recogniser], dict[str, dict[str, str]]]:
    """The recognisers, and why the others are not there."""
    rows: dict[str, Recogniser] = {
        "ours": live(VoiceAnalyzer(weights, head="still", look_ahead_ms=LIVE_MS)),
        "ours_calm": live(VoiceAnalyzer(weights, head="still", look_ahead_ms=CALM_MS)),
    }
    absent: dict[str, dict[str, str]] = {}
    others: dict[str, Callable[[], Recogniser]] = {"mfcc": lambda: prototypes(weights), "hama": hama}
    for name, make in others.items():
        try:
            rows[name] = make()
        except AvatarError as error:
            absent[name] = {"missing": str(error)}
    return rows, absent


def _describe(clips: Sequence[Clip], tallies: dict[str, list[Tally]]) -> dict[str, Any]:
    def part(wanted: Callable[[Clip], bool]) -> dict[str, Any]:
        kept = [i for i, clip in enumerate(clips) if wanted(clip)]
        return {row: figures([made[i] for i in kept]) for row, made in tallies.items()}

    languages = sorted({clip.language for clip in clips})
    out: dict[str, Any] = {
        "utterances": len(clips),
        "seconds": round(sum(clip.seconds for clip in clips), 1),
        "voices": sorted({clip.voice for clip in clips}),
        "rows": part(lambda clip: True),
    }
    if len(languages) > 1:
        out["languages"] = {name: {"rows": part(partial(_speaks, name))} for name in languages}
    return out


def _speaks(language: str, clip: Clip) -> bool:
    return clip.language == language


def missed_targets(sets: dict[str, dict[str, Any]]) -> list[str]:
    """One line for each of :data:`TARGETS` that was measured and not met."""
    out = []
    for name, rows in TARGETS.items():
        for row, limits in rows.items():
            got = sets.get(name, {}).get("rows", {}).get(row, {})
            for key, limit in limits.items():
                value = got.get(key)
                if value is not None and (value < limit if key == "closure_recall" else value > limit):
                    out.append(f"{name} {row} {key}: {value:.3f}, wanted {limit:.2f}")
    return out


_COLUMNS = {
    "frame accuracy": "frame_accuracy",
    "closures found": "closure_recall",
    "false closures": "false_closure",
    "lag ms": "lag_ms",
    "frames": "frames",
    "closures": "closures",
}


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes of a table for each set, and one for all."""
    out: list[tuple[str, list[str], list[list[str]], list[str]]] = []
    for name, found in result["sets"].items():
        if "missing" in found:
            out.append((name, [], [], [f"{name}: {found['missing']}"]))
            continue
        title = f"{name}: {found['utterances']} utterances, {found['seconds']:.0f} s, {len(found['voices'])} voices"
        notes = [f"left out: {line}" for line in found.get("skipped", ())]
        out.append((title, ["row", *_COLUMNS], _cells(found["rows"]), notes))
    absent = [f"{row}: {found['missing']}" for row, found in result["rows"].items() if "missing" in found]
    notes = absent + [f"missed: {line}" for line in result["missed_targets"]]
    pooled = [name for name, found in result["sets"].items() if name in POOLED and "missing" not in found]
    rows = _cells(result["rows"]) if len(pooled) > 1 else []
    out.append((f"{', '.join(pooled)} together" if rows else "", ["row", *_COLUMNS] if rows else [], rows, notes))
    return out


def _cells(rows: dict[str, dict[str, Any]]) -> list[list[str]]:
    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.3f}" if isinstance(value, float) and abs(value) <= 1 else f"{value}"

    return [
        [row, *(cell(found.get(key)) for key in _COLUMNS.values())]
        for row, found in rows.items()
        if "missing" not in found
    ]


# --- for tests and training ----------------------------------------------------------------------------------------


def recognise(speech: Speech, analyzer: VoiceAnalyzer) -> tuple[F32, F32]:
    """(n, 15) visemes and (n, 52) mouth at 100 a second, from the sound alone, as live."""
    return heard(analyzer, speech.samples, speech.rate)


def score(items: Iterable[tuple[F32, F32, Speech]]) -> dict[str, Any]:
    """``items``: recognised visemes and mouth, and the speech they belong to.

    The figures of :func:`avatar.models.visemes.judge.metrics.figures`, and ``jaw_gain``: the mean opening in speech
    against that made from the true phonemes.
    """
    tallies, gains = [], []
    for visemes, mouth, speech in items:
        truth = Truth.of(speech.samples, speech.rate, speech.marks)
        tallies.append(measure(truth, as_shown(visemes, mouth)))
        n = min(len(mouth), len(truth.label))
        talk = truth.label[:n] != 0
        jaw = mouth[:n, INDEX["jawOpen"]]
        gains.append(float(jaw[talk].mean() / max(1e-3, truth.jaw[:n][talk].mean())))
    return figures(tallies) | {"jaw_gain": float(np.mean(gains))}
