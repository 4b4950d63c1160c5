"""How well lips recognised from sound fit the phonemes that were said, measured on voices that training never heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from avatar.analysis.phonemes import viseme_track
from avatar.analysis.voice import VoiceAnalyzer
from avatar.core.facs import INDEX, VISEME_INDEX
from avatar.core.types import F32, SECOND, LipCue, Ns
from avatar.models.visemes.texts import TEST, TEST_VARIANTS
from avatar.streams.sources.text import EspeakVoice, Speech

TOLERANCE = 4
"""Hops by which a closure may be early or late: 40 ms."""


def held_out_speech(seed: int = 7, per_sentence: int = 3) -> Iterator[Speech]:
    """Sentences and voices that training does not use."""
    random = np.random.default_rng(seed)
    espeak = EspeakVoice()
    for language, sentences in TEST.items():
        for sentence in sentences:
            for variant in random.choice(TEST_VARIANTS, size=per_sentence, replace=False):
                yield espeak.synthesize(sentence, f"{language}+{variant}", rate=int(random.integers(135, 215)))


def recognise(speech: Speech, analyzer: VoiceAnalyzer) -> tuple[F32, F32]:
    """(n, 15) visemes and (n, 52) mouth at 100 a second, from the sound alone, as live."""
    analyzer.reset()
    n = round(speech.duration * 100)
    visemes, mouth = np.zeros((n, 15), np.float32), np.zeros((n, 52), np.float32)
    cues: list = []
    for chunk in Speech(speech.samples, speech.rate).chunks(Ns(0)):
        cues += analyzer.step(chunk) or ()
    cues += analyzer.flush()
    for cue in cues:
        if isinstance(cue, LipCue):
            i = round(cue.pts * 100 / SECOND)
            if i < n:
                visemes[i], mouth[i] = cue.visemes, cue.mouth
    return visemes, mouth


def runs(on: np.ndarray, shortest: int = 1) -> list[tuple[int, int]]:
    """[start, end) of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], on.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= shortest]


def score(items: Iterable[tuple[F32, F32, Speech]]) -> dict[str, float]:
    """``items``: recognised visemes and mouth, and the speech they belong to.

    Returns ``frame_accuracy`` in speech, ``closure_recall`` (true closures of p, b, m that were shown),
    ``false_closure`` (shown closures inside speech that are none), ``lag_ms`` of the jaw behind the jaw made from the
    true phonemes, ``jaw_gain`` (mean opening against that jaw), and ``silent_open``: the share of silent frames with an
    open jaw, 100 ms and more after speech.
    """
    right = frames = true = hit = shown = wrong = silent = open_silent = 0
    lags: list[float] = []
    gains: list[float] = []
    for visemes, mouth, speech in items:
        track = viseme_track(speech.marks, speech.duration)
        n = min(len(track), len(visemes))
        label = track[:n].argmax(axis=1)
        talk = label != 0
        right += int((visemes[:n].argmax(axis=1) == label)[talk].sum())
        frames += int(talk.sum())
        closed = mouth[:n, INDEX["mouthPressLeft"]] > 0.16
        references = runs(label == VISEME_INDEX["PP"])
        found = [r for r in runs(closed) if talk[max(0, r[0] - TOLERANCE) : r[1] + TOLERANCE].mean() > 0.5]
        near = lambda a, b: a[0] < b[1] + TOLERANCE and b[0] < a[1] + TOLERANCE  # noqa: E731
        true += len(references)
        hit += sum(any(near(r, f) for f in found) for r in references)
        shown += len(found)
        wrong += sum(not any(near(r, f) for r in references) for f in found)
        jaw, known = mouth[:n, INDEX["jawOpen"]], np.array([c.mouth[INDEX["jawOpen"]] for c in speech.lips])[:n]
        lags.append(10.0 * best_lag(jaw, known))
        gains.append(float(jaw[talk].mean() / max(1e-3, known[talk].mean())))
        quiet = np.convolve(talk[:n], np.ones(11), "full")[:n] == 0
        silent += int(quiet.sum())
        open_silent += int((jaw[quiet] > 0.04).sum())
    return {
        "frame_accuracy": right / max(1, frames),
        "closure_recall": hit / max(1, true),
        "false_closure": wrong / max(1, shown),
        "lag_ms": float(np.median(lags)),
        "silent_open": open_silent / max(1, silent),
        "jaw_gain": float(np.mean(gains)),
        "closures": float(true),
    }


def best_lag(a: F32, b: F32, limit: int = 15) -> int:
    """Hops by which ``a`` is later than ``b``, by the largest correlation."""
    a, b = a - a.mean(), b - b.mean()
    n = len(a)

    def correlation(k: int) -> float:
        x, y = (a[k:], b[: n - k]) if k >= 0 else (a[: n + k], b[-k:])
        return float(np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-9))

    return max(range(-limit, limit + 1), key=correlation)


def evaluate(weights: Path, seed: int = 7) -> dict[str, float]:
    """The scores of the shipped prototypes on voices and sentences that training did not use."""
    analyzer = VoiceAnalyzer(weights)
    return score((*recognise(s, analyzer), s) for s in held_out_speech(seed))
