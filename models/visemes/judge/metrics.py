"""How well a shown mouth fits the phonemes that were said: figures that do not depend on how the mouth was made.

A closure is a run of p, b, m. It counts as shown where the lips of the face touch, by any means: :func:`lip_gap` is the
opening that the face has, not a probability. Everything is at 100 hops a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.signal

from avatar.analysis.phonemes import PhonemeMark, lip_cues, viseme_track
from avatar.core.facs import ARKIT, INDEX, VISEME_INDEX
from avatar.core.types import F32

HOPS = 100
"""A second."""
TOLERANCE = 4
"""Hops by which a closure may be early or late: 40 ms."""
CONTACT = 0.015
"""Of the mouth's width: lips nearer than this touch (0.7 mm of a mouth 50 mm wide)."""
LAG_LIMIT = 20
"""Hops either way in which the lag is looked for."""
_BAND = (300.0, 3000.0)
"""Hz; the formants of vowels."""
_RESAMPLES = 1000
_VOWELS = [VISEME_INDEX[v] for v in ("aa", "E", "ih", "oh", "ou")]
_SIL, _PP = VISEME_INDEX["sil"], VISEME_INDEX["PP"]

GAP: dict[str, float] = {
    "jawOpen": 0.74, "mouthClose": -0.82, "mouthPress": -0.05, "mouthRollLower": -0.09, "mouthRollUpper": 0.008,
    "mouthLowerDown": 0.20, "mouthUpperUp": 0.225, "mouthFunnel": 0.255, "mouthPucker": -0.01, "mouthShrugLower": -0.14,
    "mouthShrugUpper": 0.008, "tongueOut": 0.22,
}  # fmt: skip
"""Height of the middle of the inner lips' opening, in widths of the mouth, at coefficient 1 (both sides): measured on
the mesh of the head engine, where it is linear; the shipped avatars agree to 3 %."""


def _gap_weights() -> F32:
    out = np.zeros(len(ARKIT), np.float32)
    for name, value in GAP.items():
        for key, part in ((name, value), (name + "Left", value / 2), (name + "Right", value / 2)):
            if key in INDEX:
                out[INDEX[key]] = part
    return out


_WEIGHTS = _gap_weights()


def lip_gap(mouth: F32) -> F32:
    """(n, 52) coefficients to the opening between the lips (n,) in widths of the mouth; below 0 they are pressed."""
    shown = np.clip(mouth, 0, 1)
    close = INDEX["mouthClose"]
    # As engines have it: the lips cannot close what the jaw has not opened.
    shown[:, close] = np.minimum(shown[:, close], shown[:, INDEX["jawOpen"]])
    return shown @ _WEIGHTS


# --- what was said, what was shown --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Truth:
    """What an utterance should look like."""

    label: np.ndarray
    """(n,) index into VISEMES; 0 where nobody speaks."""
    trusted: np.ndarray
    """(n,) bool: the label is sure enough to be judged by."""
    jaw: F32
    """(n,) jawOpen as made from the phonemes themselves."""
    energy: F32
    """(n,) loudness of the vowels' formants in [0, 1], 0 outside vowels."""
    phonemes: tuple[str, ...]
    """(n,) IPA, "" in pauses."""

    @classmethod
    def of(cls, samples: F32, rate: int, marks: Sequence[PhonemeMark], trusts: Sequence[float] | None = None) -> Truth:
        """From the sound (n,) and its phonemes; those trusted below .5 are not judged by."""
        duration = len(samples) / rate
        label = viseme_track(marks, duration).argmax(axis=1)
        trusted = np.ones(len(label), bool)
        phonemes = [""] * len(label)
        for i, mark in enumerate(marks):
            a, b = max(0, round(mark.start_s * HOPS)), min(len(label), round(mark.end_s * HOPS))
            phonemes[a:b] = [mark.ipa] * max(0, b - a)
            if trusts is not None and trusts[i] < 0.5:
                trusted[a:b] = False
        jaw = np.array([c.mouth[INDEX["jawOpen"]] for c in lip_cues(marks, duration)], np.float32)
        vowel = np.isin(label, _VOWELS)
        energy = formant_loudness(samples, rate, len(label)) * vowel
        return cls(label, trusted, jaw, energy.astype(np.float32), tuple(phonemes))


@dataclass(frozen=True, slots=True)
class Shown:
    """What a recogniser made the face do during an utterance."""

    visemes: F32
    """(n, 15)."""
    gap: F32
    """(n,) as :func:`lip_gap`."""
    jaw: F32
    """(n,) jawOpen."""


def formant_loudness(samples: F32, rate: int, n: int) -> F32:
    """(n,) level of the 300-3000 Hz band at each hop: 1 = the loudest, 0 = 30 dB below it. Without delay."""
    if len(samples) < rate // 20:
        return np.zeros(n, np.float32)
    high = min(_BAND[1], 0.45 * rate)
    sos = scipy.signal.butter(3, (_BAND[0], high), "bandpass", fs=rate, output="sos")
    power = scipy.signal.sosfiltfilt(sos, samples.astype(np.float64)) ** 2
    window = np.hanning(round(0.03 * rate) | 1)
    smooth = scipy.signal.fftconvolve(power, window / window.sum(), "same")
    at = np.minimum(np.round(np.arange(n) * rate / HOPS).astype(int), len(samples) - 1)
    level = 10 * np.log10(np.maximum(smooth[at], 1e-12))
    return np.clip(1 + (level - np.percentile(level, 98)) / 30, 0, 1).astype(np.float32)


def runs(on: np.ndarray, shortest: int = 1) -> list[tuple[int, int]]:
    """[start, end) of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], on.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= shortest]


def closures(truth: Truth) -> list[tuple[float, float]]:
    """(start s, end s) of the runs of p, b, m that are sure enough to be judged by."""
    found = runs(truth.label == _PP)
    return [(a / HOPS, b / HOPS) for a, b in found if truth.trusted[a:b].all()]


def _near(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] + TOLERANCE and b[0] < a[1] + TOLERANCE


# --- one utterance ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """Counts of one utterance; sums of them are figures."""

    frames: int = 0
    """Judged hops in speech."""
    right: int = 0
    closures: int = 0
    found: int = 0
    inside: int = 0
    """Closures with speech on both sides, where a mouth that rests shut is of no help."""
    inside_found: int = 0
    shown: int = 0
    """Closures shown inside speech."""
    false: int = 0
    shut: int = 0
    """Hops of speech with the lips in contact."""
    shut_wrong: int = 0
    """Of these, those more than :data:`TOLERANCE` away from every closure."""
    lag: np.ndarray = field(default_factory=lambda: np.zeros((3, 2 * LAG_LIMIT + 1)))
    """Cross-correlation of jaw and vowels: products, and the two norms."""
    lag_true: np.ndarray = field(default_factory=lambda: np.zeros((3, 2 * LAG_LIMIT + 1)))
    """The same against the jaw of the true phonemes."""
    false_in: Counter[str] = field(default_factory=Counter)
    """Phoneme in the middle of each false closure."""
    missed: Counter[str] = field(default_factory=Counter)
    """Phoneme of each closure that was not shown."""


def measure(truth: Truth, shown: Shown) -> Tally:
    """Judge one utterance."""
    n = min(len(truth.label), len(shown.gap))
    label, trusted, gap = truth.label[:n], truth.trusted[:n], shown.gap[:n]
    talk = label != _SIL
    out = Tally()
    judged = talk & trusted
    out.frames = int(judged.sum())
    out.right = int((shown.visemes[:n].argmax(axis=1) == label)[judged].sum())

    every = runs(label == _PP)
    touching = gap < CONTACT
    contacts = runs(touching)
    for a, b in every:
        if not trusted[a:b].all():
            continue
        hit = any(_near((a, b), c) for c in contacts)
        between = bool(talk[max(0, a - 6) : a].all() and talk[b : b + 6].all() and a > 0 and b < n)
        out.closures += 1
        out.found += hit
        out.inside += between
        out.inside_found += hit and between
        if not hit:
            out.missed[truth.phonemes[(a + b) // 2]] += 1
    for a, b in contacts:
        if talk[a:b].mean() <= 0.5:  # a pause
            continue
        matched = any(_near(r, (a, b)) for r in every)
        if not matched and not trusted[max(0, a - TOLERANCE) : b + TOLERANCE].all():
            continue
        out.shown += 1
        out.false += not matched
        if not matched:
            out.false_in[truth.phonemes[(a + b) // 2]] += 1
    allowed = np.convolve(label == _PP, np.ones(2 * TOLERANCE + 1), "same") > 0
    # Next to a pause the mouth may be shut already, or still.
    calm = np.convolve(talk, np.ones(2 * TOLERANCE + 1), "same") > 2 * TOLERANCE
    out.shut = int((touching & judged).sum())
    out.shut_wrong = int((touching & judged & calm & ~allowed).sum())
    out.lag = correlation(shown.jaw[:n], truth.energy[:n])
    out.lag_true = correlation(shown.jaw[:n], truth.jaw[:n])
    return out


def correlation(a: np.ndarray, b: np.ndarray, limit: int = LAG_LIMIT) -> np.ndarray:
    """(3, 2 * limit + 1): sum of products and the two sums of squares of ``a`` against ``b`` for delays of ``a`` by
    -limit .. limit, means removed. Those of several utterances may be added before :func:`peak`."""
    out = np.zeros((3, 2 * limit + 1))
    n = min(len(a), len(b))
    if n <= 2 * limit:
        return out
    x, y = a[:n] - a[:n].mean(), b[:n] - b[:n].mean()
    for i, k in enumerate(range(-limit, limit + 1)):
        p, q = (x[k:], y[: n - k]) if k >= 0 else (x[: n + k], y[-k:])
        out[:, i] = np.dot(p, q), np.dot(p, p), np.dot(q, q)
    return out


def peak(sums: np.ndarray) -> tuple[float, float]:
    """Hops by which the first signal of :func:`correlation` is later than the second, to parts of a hop, and the
    correlation there; (nan, 0) where nothing moved."""
    r = sums[0] / np.sqrt(np.maximum(sums[1] * sums[2], 1e-12))
    if min(sums[1].max(), sums[2].max()) < 1e-9:
        return float("nan"), 0.0
    i = int(np.argmax(r))
    shift = 0.0
    if 0 < i < len(r) - 1:
        bend = r[i - 1] - 2 * r[i] + r[i + 1]
        shift = 0.5 * float(r[i - 1] - r[i + 1]) / float(bend) if bend < 0 else 0.0
    return i - len(r) // 2 + shift, float(r[i])


# --- many utterances ----------------------------------------------------------------------------------------------


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _interval(parts: np.ndarray, wholes: np.ndarray) -> list[float] | None:
    """95 % interval of sum(parts) / sum(wholes), by drawing utterances anew."""
    if wholes.sum() == 0 or len(wholes) < 2:
        return None
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(wholes), (_RESAMPLES, len(wholes)))
    values = parts[drawn].sum(axis=1) / np.maximum(wholes[drawn].sum(axis=1), 1)
    return [round(float(v), 4) for v in np.percentile(values, (2.5, 97.5))]


def _milliseconds(sums: Sequence[np.ndarray]) -> float | None:
    lag, _ = peak(np.sum(sums, axis=0))
    return round(1000 / HOPS * lag, 1) if np.isfinite(lag) else None


def figures(tallies: Sequence[Tally]) -> dict[str, object]:
    """The figures of a set. Ratios are None where there is nothing to count."""

    def column(name: str) -> np.ndarray:
        return np.array([getattr(t, name) for t in tallies], np.float64)

    def total(name: str) -> int:
        return int(column(name).sum())

    false_in = sum((t.false_in for t in tallies), Counter[str]())
    missed = sum((t.missed for t in tallies), Counter[str]())
    return {
        "frame_accuracy": _ratio(total("right"), total("frames")),
        "closure_recall": _ratio(total("found"), total("closures")),
        "false_closure": _ratio(total("false"), total("shown")),
        "lag_ms": _milliseconds([t.lag for t in tallies]) if tallies else None,
        "lag_to_phonemes_ms": _milliseconds([t.lag_true for t in tallies]) if tallies else None,
        "closure_recall_interval": _interval(column("found"), column("closures")),
        "false_closure_interval": _interval(column("false"), column("shown")),
        "closure_recall_inside": _ratio(total("inside_found"), total("inside")),
        "shut_elsewhere": _ratio(total("shut_wrong"), total("frames")),
        "frames": total("frames"),
        "closures": total("closures"),
        "shown": total("shown"),
        "confusions": {"false": dict(false_in.most_common(12)), "missed": dict(missed.most_common(12))},
    }
