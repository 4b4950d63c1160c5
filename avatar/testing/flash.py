"""Flashes and beeps: a face that opens its mouth at the very moment of a click, and what finds the two again.

The events of a :class:`Script` come at irregular intervals of about a second. Pictures and sounds are each matched to
the script by that pattern alone, so two halves are never taken from different events, however far apart they are.

The mouth opens along a ramp of 100 ms whose middle is the event. A picture that falls into the ramp says by how far the
mouth is open how long before or after the event it was taken, so the event is found between the pictures.

Skew is when the picture's half is seen less when the sound's half is heard: positive where the sound leads, as in
ITU-R BT.1359.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.testing.browser import spread

F64 = NDArray[np.float64]

RATE = 48_000
RAMP = 0.1
"""Seconds in which the mouth opens, and in which it closes."""
HOLD = 0.08
"""Seconds for which it stays open."""
TONE = 1_000.0
"""Hertz."""
CLICK = 0.02
"""Seconds; it begins at once."""
LEVEL = 0.5
GAPS = (0.85, 1.35)
"""Seconds between events."""
FIELDS = 12
"""A picture's region is kept as FIELDS x FIELDS grey levels."""


@dataclass(frozen=True, slots=True)
class Script:
    """When something happens."""

    times: F64
    """(n,) seconds: the mouth is half open, the click begins."""
    seconds: float

    @classmethod
    def make(cls, seconds: float, seed: int = 0) -> Script:
        """Events for so long, the same for the same seed, none in the first and the last half second."""
        gaps = np.random.default_rng(seed).uniform(*GAPS, size=int(seconds / GAPS[0]) + 1)
        # A whole number of samples, so that the click's first sample is exact.
        times = np.round(np.cumsum(gaps) * RATE) / RATE
        return cls(times[times < seconds - 0.5], seconds)

    def jaw(self, t: F64) -> F64:
        """How far the mouth is open, 0 to 1, at times (n,)."""
        corners = np.array([-RAMP / 2, RAMP / 2, RAMP / 2 + HOLD, RAMP * 3 / 2 + HOLD])
        at = (self.times[:, None] + corners).ravel()
        return np.interp(t, at, np.tile([0.0, 1.0, 1.0, 0.0], len(self.times)))

    def sound(self) -> NDArray[np.int16]:
        """(n,) at :data:`RATE`."""
        samples = np.zeros(round(self.seconds * RATE))
        n = np.arange(round(CLICK * RATE))
        for start in np.round(self.times * RATE).astype(int):
            samples[start + n] = LEVEL * np.sin(2 * np.pi * TONE * n / RATE)
        return (samples * 32767).astype(np.int16)

    def write(self, folder: Path, fps: int) -> Path:
        """Make ``flash.jsonl``, one state a frame, and its sound ``flash.wav`` beside it; returns the former."""
        path = folder / "flash.jsonl"
        t = np.arange(round(self.seconds * fps)) / fps
        with path.open("w", encoding="utf-8") as lines:
            for at, jaw in zip(t, self.jaw(t), strict=True):
                state = {"t": round(float(at), 9), "arkit": {"jawOpen": round(float(jaw), 5)}, "voiced": bool(jaw > 0)}
                lines.write(json.dumps(state) + "\n")
        with wave.open(str(path.with_suffix(".wav")), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(RATE)
            sound.writeframes(self.sound().tobytes())
        return path


# --- finding them again ----------------------------------------------------------------------------------------------


def fields(grey: NDArray[Any], region: Sequence[float]) -> F64:
    """(FIELDS * FIELDS,) mean grey levels of ``region`` (left, top, width, height in parts) of a picture (h, w)."""
    h, w = grey.shape
    left, top, width, height = region
    part = grey[int(top * h) : int((top + height) * h), int(left * w) : int((left + width) * w)]
    rows, columns = part.shape[0] // FIELDS * FIELDS, part.shape[1] // FIELDS * FIELDS
    blocks = part[:rows, :columns].reshape(FIELDS, rows // FIELDS, FIELDS, columns // FIELDS)
    return blocks.mean(axis=(1, 3)).ravel()


def openness(pictures: F64) -> F64:
    """(n,) how far the grey levels are on their way from a shut mouth (0) to an open one (1).

    :param pictures: (n, k) grey levels. What differs most from the usual picture is taken for the open mouth; every
        picture is measured along the line between the two, which noise and motion elsewhere hardly touch.
    """
    off = pictures - np.median(pictures, axis=0)
    size = np.linalg.norm(off, axis=1)
    for _ in range(3):
        wide = off[size >= 0.95 * np.quantile(size, 0.97)].mean(axis=0)
        size = off @ wide / (wide @ wide)
    return size


class Mouth:
    """What the grey levels say about the jaw: they are no straight line, as lips part at first and teeth show later.

    :param drawn: (n, k) grey levels of one face with its jaw open from 0 to 1 in even steps.
    """

    def __init__(self, drawn: F64) -> None:
        off = drawn - drawn[0]
        self._curve = np.maximum.accumulate(off @ off[-1] / (off[-1] @ off[-1]))

    def jaw(self, pictures: F64) -> F64:
        """(n,) jawOpen of pictures (n, k)."""
        return np.interp(openness(pictures), self._curve, np.linspace(0, 1, len(self._curve)))


def openings(times: F64, values: F64, level: float = 0.5, hole: float = 0.075) -> tuple[F64, int]:
    """Times at which a mouth passes ``level`` on its way open, and how many openings could not be timed.

    :param times: (n,) seconds, ascending.
    :param values: (n,) as of :func:`openness`.
    :param hole: seconds between two pictures beyond which the moment between them is unknown: the picture stood still.
    """
    found, lost, ready = [], 0, False
    for i in range(1, len(values)):
        ready = ready or values[i - 1] < level / 2
        if not (ready and values[i - 1] < level <= values[i]):
            continue
        ready = False
        if times[i] - times[i - 1] > hole:
            lost += 1
            continue
        part = (level - values[i - 1]) / (values[i] - values[i - 1])
        found.append(times[i - 1] + part * (times[i] - times[i - 1]))
    return np.array(found), lost


def clicks(times: F64, peaks: F64, rest: float = 0.25) -> F64:
    """Times at which a click begins.

    :param times: (n,) seconds, of the beginning of short pieces of sound (a millisecond).
    :param peaks: (n,) the largest magnitude in each.
    :param rest: seconds of quiet before a click.
    """
    if not len(peaks):
        return np.zeros(0)
    loud = times[peaks > 0.3 * np.quantile(peaks, 0.999)] if peaks.max() > 0.02 else np.zeros(0)
    if not len(loud):
        return np.zeros(0)
    begins = loud[np.concatenate([[loud[0] - times[0] > rest], np.diff(loud) > rest])]
    return begins


def peaks_of(samples: NDArray[Any], rate: int, start: float, step: float = 0.00025) -> tuple[F64, F64]:
    """Times and peaks, as :func:`clicks` takes them, of sound (n,) that begins at ``start`` seconds."""
    n = round(step * rate)
    count = len(samples) // n
    return start + np.arange(count) * n / rate, np.abs(samples[: count * n].astype(np.float64)).reshape(count, n).max(1)


def clicks_in(pieces: Sequence[tuple[NDArray[Any], int, float]]) -> F64:
    """Times at which a click begins in pieces of sound ``(samples, rate, start in seconds)`` that follow each other."""
    if not pieces:
        return np.zeros(0)
    found = [peaks_of(samples, rate, start) for samples, rate, start in pieces]
    return clicks(np.concatenate([times for times, _ in found]), np.concatenate([peaks for _, peaks in found]))


def pair(pictures: F64, sounds: F64, reach: float = 0.4) -> list[tuple[float, float]]:
    """Which opening and which click are two halves of one event: ``(picture, sound)``, in order.

    The irregular intervals of the script say how far the two series are apart altogether (the difference that most
    pairs have in common), however far that is; a half further than ``reach`` seconds from where the other puts it has
    lost its partner.
    """
    if not len(pictures) or not len(sounds):
        return []
    differences = np.sort((pictures[:, None] - sounds[None, :]).ravel())
    # Of equally good ones the smallest: short recordings leave a choice.
    counts = np.searchsorted(differences, differences + 0.12, side="right") - np.arange(len(differences))
    good = np.flatnonzero(counts >= 0.8 * counts.max())
    best = good[np.argmin(np.abs(differences[good]))]
    apart = float(np.median(differences[best : best + counts[best]]))
    pairs: list[tuple[float, float]] = []
    for picture in pictures:
        sound = float(sounds[np.argmin(np.abs(sounds + apart - picture))])
        if abs(sound + apart - picture) > reach or (pairs and pairs[-1][1] >= sound):
            continue
        pairs.append((float(picture), sound))
        apart = float(np.median([p - s for p, s in pairs[-9:]]))  # follows a drift
    return pairs


def theil_sen(x: F64, y: F64) -> tuple[float, float, float]:
    """Median of the slopes of all pairs of points, and its 95 % confidence interval (Sen 1968)."""
    n = len(x)
    i, j = np.triu_indices(n, 1)
    apart = x[j] != x[i]
    slopes = np.sort((y[j] - y[i])[apart] / (x[j] - x[i])[apart])
    if not len(slopes):
        return 0.0, -np.inf, np.inf
    half = 1.96 * np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = int(max(0, np.floor((len(slopes) - half) / 2)))
    high = int(min(len(slopes) - 1, np.ceil((len(slopes) + half) / 2)))
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])


@dataclass(frozen=True, slots=True)
class Seen:
    """What came out of a path, all in seconds on one clock of the receiver."""

    pictures: F64
    """(n,) when a mouth opened."""
    sounds: F64
    """(n,) when a click began."""
    more: dict[str, Any]
    """Further figures of that path."""


def figures(seen: Seen) -> dict[str, Any]:
    """``skew_ms`` {p50, p95, p99}: the median, and the signed values whose magnitudes rank at 95 and 99 %;
    ``range_ms``; ``drift_ms_per_hour`` and its 95 % interval; ``events`` with both halves; ``lost_pictures`` and
    ``lost_sounds``, how many between the first and the last lack that half, ``lost`` in all."""
    pairs = np.array(pair(seen.pictures, seen.sounds)).reshape(-1, 2)
    result: dict[str, Any] = {"skew_ms": None, "range_ms": None, "drift_ms_per_hour": None, "events": len(pairs)}
    if len(pairs):
        (first, last), skews = pairs[[0, -1]], (pairs[:, 0] - pairs[:, 1]) * 1e3
        found = spread(skews.tolist())
        result["skew_ms"] = {k: round(found[k], 2) for k in ("p50", "p95", "p99")}
        result["range_ms"] = [round(found["min"], 2), round(found["max"], 2)]
        for name, times, k in (("lost_sounds", seen.pictures, 0), ("lost_pictures", seen.sounds, 1)):
            result[name] = int(((times >= first[k]) & (times <= last[k])).sum()) - len(pairs)
        result["lost"] = result["lost_sounds"] + result["lost_pictures"]
    if len(pairs) > 2:
        slope = np.array(theil_sen(pairs[:, 1], skews)) * 3600
        result["drift_ms_per_hour"] = round(float(slope[0]), 1)
        result["drift_ci_ms_per_hour"] = [round(float(v), 1) for v in slope[1:]]
    return result | seen.more
