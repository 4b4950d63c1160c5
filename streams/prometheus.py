"""The live meters in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

KIND = "text/plain; version=0.0.4; charset=utf-8"


def text(meters: Mapping[str, Any]) -> str:
    """Every number in ``meters`` as a gauge ``vultus_NAME``; the parts of a nested one joined by ``_``."""
    lines = []
    for name, value in numbers(meters, "vultus"):
        lines += [f"# TYPE {name} gauge", f"{name} {value:g}"]
    return "\n".join(lines) + "\n"


def numbers(meters: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in meters.items():
        name = f"{prefix}_{''.join(c if c.isalnum() else '_' for c in str(key))}"
        if isinstance(value, Mapping):
            yield from numbers(value, name)
        elif isinstance(value, int | float):
            yield name, float(value)
