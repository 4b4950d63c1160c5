"""What the engine measures about itself while it runs."""

from __future__ import annotations

import os
import time
from collections import defaultdict, deque
from collections.abc import Iterable

import numpy as np


def percentiles(values: Iterable[float], points: tuple[int, ...] = (50, 95, 99)) -> dict[str, float]:
    """``{"p50": ..., ...}`` rounded to three digits; zeros where there are no values."""
    data = np.fromiter(values, float)
    if not len(data):
        return {f"p{p}": 0.0 for p in points}
    return {f"p{p}": round(float(v), 3) for p, v in zip(points, np.percentile(data, points), strict=True)}


class Meters:
    """Rolling measurements; cheap enough for every frame. Counters only grow."""

    def __init__(self, window: int = 600) -> None:
        self._series: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=window))
        self.counters: dict[str, int] = defaultdict(int)
        self._cpu = (time.process_time(), time.monotonic())
        self._cores = 0.0

    def add(self, name: str, value: float) -> None:
        self._series[name].append(value)

    def count(self, name: str, n: int = 1) -> None:
        self.counters[name] += n

    def series(self, name: str) -> tuple[float, ...]:
        return tuple(self._series[name])

    def clear(self) -> None:
        """Forget the series (not the counters): a measurement begins."""
        self._series.clear()

    def rate(self, name: str) -> float:
        """Events a second of a series of time stamps in seconds."""
        stamps = self._series[name]
        span = stamps[-1] - stamps[0] if len(stamps) > 1 else 0.0
        return (len(stamps) - 1) / span if span > 0 else 0.0

    def cpu_cores(self) -> float:
        """Cores this process used since the last call at least a second ago."""
        cpu, wall = time.process_time(), time.monotonic()
        if wall - self._cpu[1] >= 1.0:
            self._cores = (cpu - self._cpu[0]) / (wall - self._cpu[1])
            self._cpu = (cpu, wall)
        return round(self._cores, 3)


def resident_mb() -> float:
    """Resident memory of this process in MiB; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError):
        try:
            import resource
        except ImportError:
            return 0.0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes, and the peak is all it gives
        return peak / 2**20
