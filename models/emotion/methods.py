"""``avatar eval emotion_methods``: the way to it, which needs no torch to be found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.emotion import build
from avatar.models.emotion.linear import one_thread


def emotion_methods(
    weights: Path, data: Path | None = None, progress: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, Any]:
    """Train and judge all of them on the recordings of ``data``. Raises UsageError for unusable data."""
    if data is None:
        raise UsageError("eval emotion_methods: give the recordings with --data DIR: index.csv or speech/emodb")
    try:
        from avatar.models.emotion.compare import compared, material
    except ModuleNotFoundError as error:
        raise UsageError(f"eval emotion_methods: needs {error.name}; pip install 'vultus[train]'") from error
    with one_thread():
        return compared(material(build.clips_of(data), registry.cache_dir()), progress)


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes of the table."""
    rows = []
    for name, row in result["rows"].items():
        low, high = row["speakers_95"]
        mean, sd = row["speakers_mean"], row["speakers_sd"]
        rows.append([name, f"{row['uar']:.3f}", f"{mean:.3f}", f"{sd:.3f}", f"{low:.3f} to {high:.3f}"])
    notes = [f"{name}: {count} weights" for name, count in result["weights"].items()]
    return [("Speakers left out, two at a time", ["method", "recall", "mean of speakers", "sd", "95 %"], rows, notes)]
