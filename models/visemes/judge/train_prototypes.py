"""Make the viseme prototypes (:mod:`.prototypes`) from synthetic speech with exact phoneme times.

Ten minutes of espeak-ng in six languages and twenty-two voices go, with random gain, noise and tone, through
the very classes that run live. Linear discriminants, k-means within each class, and a logistic closure detector follow.
Deterministic but for espeak-ng; half a minute on one core.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.signal
import soxr

from avatar.analysis.features import MFCCS, RATE, FrameStream
from avatar.analysis.phonemes import viseme_track
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate
from avatar.core.facs import VISEME_INDEX, VISEMES
from avatar.core.types import F32
from avatar.models import registry
from avatar.models.data.speech import KokoroVoice
from avatar.models.visemes.judge.prototypes import (
    AHEAD,
    BANDS,
    CLOSURE_OFFSETS,
    OFFSETS,
    Normalizer,
    closure_features,
)
from avatar.models.visemes.texts import KOKORO_VOICES, TRAIN, TRAIN_VARIANTS
from avatar.streams.sources.text import EspeakVoice, Speech

log = logging.getLogger(__name__)

_PP = VISEME_INDEX["PP"]
DIMENSIONS = 14
PER_CLASS = 8
THRESHOLD = 0.8
"""Of the closure detector: below it false closures grow faster than found ones. Chosen once, on the voices of
:mod:`avatar.models.visemes.judge.recognised`, so that its figures are a little kind."""
PRIOR_POWER = 0.4
"""How much of the classes' frequency counts: rare shapes matter to the eye more than their share of time."""


@dataclass(frozen=True)
class Example:
    """Frames of one utterance."""

    stacked: F32
    """(n, len(OFFSETS) * MFCCS)."""
    bands: F32
    """(n, len(CLOSURE_OFFSETS), len(BANDS)) for the closure detector."""
    share: F32
    """(n, 15) true visemes."""
    open: np.ndarray
    """(n,) bool: the gate was open."""


def _disturb(x: F32, random: np.random.Generator) -> F32:
    """Gain, tone and background as microphones and rooms have them."""
    a = float(random.uniform(-0.5, 0.3))
    x = scipy.signal.lfilter([1, a], [1.0], x)
    if random.random() < 0.5:  # a few early reflections
        room = np.zeros(int(0.03 * RATE))
        room[0] = 1
        for _ in range(6):
            room[int(random.uniform(0.002, 0.03) * RATE) - 1] += float(random.normal(0, 0.12))
        x = scipy.signal.fftconvolve(x, room)[: len(x)]
    level = float(np.sqrt(np.mean(x**2)))
    noise = scipy.signal.lfilter([1.0], [1, -float(random.uniform(0, 0.95))], random.standard_normal(len(x)))
    snr = float(random.uniform(15, 55))
    x = x + noise * (level / float(np.sqrt(np.mean(noise**2))) * 10 ** (-snr / 20))
    target = 10 ** (float(random.uniform(-38, -16)) / 20)
    return np.clip(x * (target / level), -1, 1).astype(np.float32)


def example(
    speech: Speech, vad: SileroVad, mean: F32 | None = None, random: np.random.Generator | None = None
) -> Example:
    """The features of an utterance exactly as the estimator sees them."""
    x = soxr.resample(speech.samples, speech.rate, RATE).astype(np.float32)
    x = np.concatenate((np.zeros(RATE // 4, np.float32), x, np.zeros(RATE // 4, np.float32)))
    if random is not None:
        x = _disturb(x, random)
    vad.reset()
    gate, norm = SpeechGate(), Normalizer(mean)
    # A live stream has heard the speaker before: begin with the level known to a few decibels.
    rms = 10 * np.log10(np.mean(x[RATE // 4 : -RATE // 4] ** 2) + 1e-9)
    gate.levels.speech = float(rms) + (float(random.uniform(-3, 3)) if random is not None else 0.0)
    cepstra, bands, opened = [], [], []
    for hop in FrameStream().push(x):
        gate.step(hop.level, vad.push(hop.new))
        c, b = norm.step(hop.logmel, gate.levels.speech, gate.open)
        cepstra.append(c)
        bands.append(b)
        opened.append(gate.open)
    c, b = np.array(cepstra), np.array(bands)
    share = np.zeros((len(c), len(VISEMES)), np.float32)
    share[:, 0] = 1
    truth = viseme_track(speech.marks, speech.duration)[: len(c) - 25]
    share[25 : 25 + len(truth)] = truth
    low, high = -min(*OFFSETS, *CLOSURE_OFFSETS), max(*OFFSETS, *CLOSURE_OFFSETS)
    at = np.arange(low, len(c) - high)
    stacked = np.concatenate([c[at + o] for o in OFFSETS], axis=1)
    around = np.stack([b[at + o] for o in CLOSURE_OFFSETS], axis=1)
    # The gate as it is known when this hop is judged.
    return Example(stacked, around, share[at], np.array(opened)[np.minimum(at + AHEAD, len(c) - 1)])


def utterances(random: np.random.Generator) -> Iterator[Speech]:
    """Every training sentence by several voices."""
    espeak = EspeakVoice()
    for language, sentences in TRAIN.items():
        for sentence in sentences:
            for variant in random.choice(TRAIN_VARIANTS, size=5 if language.startswith("en") else 3, replace=False):
                yield espeak.synthesize(
                    sentence,
                    f"{language}+{variant}" if variant else language,
                    rate=int(random.integers(125, 230)),
                    pitch=int(random.integers(30, 70)),
                    pitch_range=int(random.integers(30, 80)),
                )


def kokoro_utterances(voice: KokoroVoice, seed: int = 3, rounds: int = 4) -> Iterator[Speech]:
    """The English sentences ``rounds`` times by Kokoro's voices; slow, about as long as they last."""
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        for sentence in TRAIN["en-us"] + TRAIN["en-gb-x-rp"]:
            name = str(random.choice(KOKORO_VOICES))
            yield voice.synthesize(sentence, name, speed=float(random.uniform(0.85, 1.2)))


def discriminants(x: F32, labels: np.ndarray, d: int) -> tuple[F32, F32]:
    """Linear discriminant analysis (Fisher 1936): projection (f, d) with unit variance within classes, offset (d,)."""
    mean = x.mean(axis=0)
    within = np.zeros((x.shape[1], x.shape[1]))
    between = np.zeros_like(within)
    for k in np.unique(labels):
        part = x[labels == k]
        centred = part - part.mean(axis=0)
        # Every class counts the same, so that silence does not decide.
        within += centred.T @ centred / len(part)
        delta = (part.mean(axis=0) - mean)[:, None]
        between += delta @ delta.T
    within /= len(np.unique(labels))
    within += 1e-3 * np.trace(within) / len(within) * np.eye(len(within))
    _, vectors = scipy.linalg.eigh(between, within)
    projection = vectors[:, ::-1][:, :d]
    return projection.astype(np.float32), (mean @ projection).astype(np.float32)


def k_means(x: F32, k: int, random: np.random.Generator, rounds: int = 25) -> F32:
    """(k, d) centres (Lloyd 1982)."""
    centres = x[random.choice(len(x), size=min(k, len(x)), replace=False)]
    for _ in range(rounds):
        nearest = (((x[:, None] - centres[None]) ** 2).sum(axis=2)).argmin(axis=1)
        centres = np.stack([x[nearest == i].mean(axis=0) if (nearest == i).any() else centres[i] for i in range(k)])
    return centres.astype(np.float32)


def logistic(x: F32, y: np.ndarray, weight: np.ndarray, ridge: float = 30.0, rounds: int = 12) -> F32:
    """Weights and bias of ridge logistic regression by Newton's method."""
    a = np.concatenate((x, np.ones((len(x), 1))), axis=1).astype(np.float64)
    w = np.zeros(a.shape[1])
    penalty = ridge * np.eye(len(w))
    penalty[-1, -1] = 0
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(a @ w, -30, 30)))
        gradient = a.T @ (weight * (p - y)) + penalty @ w
        hessian = (a * (weight * p * (1 - p))[:, None]).T @ a + penalty
        w -= np.linalg.solve(hessian, gradient)
    return w.astype(np.float32)


def build(out: Path, seed: int = 1, extra: Iterable[Speech] = ()) -> Path:
    """Train and write the file ``out``. Returns it.

    :param extra: more speech with phoneme times; the shipped file had five minutes of Kokoro
        (:func:`kokoro_utterances`), without which strangers' closures are told apart less well.
    """
    random = np.random.default_rng(seed)
    vad = SileroVad(registry.weights_dir() / VAD_FILE)
    speeches = [*utterances(random), *extra]
    seconds = sum(s.duration for s in speeches)
    log.info("%d utterances, %.1f minutes", len(speeches), seconds / 60)

    first = [example(s, vad, None, np.random.default_rng((seed, i))) for i, s in enumerate(speeches[::4])]
    centre = OFFSETS.index(0) * MFCCS
    speech_rows = np.concatenate([e.stacked[e.share[:, 0] < 0.5, centre : centre + MFCCS] for e in first])
    mean = speech_rows.mean(axis=0)
    mean[0] = 0
    # The rows above have a running mean from 0 taken off already; a second look from this prior finds the rest.
    examples = [example(s, vad, mean, np.random.default_rng((seed, i))) for i, s in enumerate(speeches)]

    stacked = np.concatenate([e.stacked for e in examples])
    share = np.concatenate([e.share for e in examples])
    opened = np.concatenate([e.open for e in examples])
    labels, pure = share.argmax(axis=1), share.max(axis=1) > 0.9
    use = pure & opened
    projection, offset = discriminants(stacked[use], labels[use], DIMENSIONS)
    z = stacked[use] @ projection - offset
    centres, classes, prior = [], [], []
    for k in range(len(VISEMES)):
        part = z[labels[use] == k]
        found = k_means(part, min(PER_CLASS, max(1, len(part) // 40)), random)
        centres.append(found)
        classes += [k] * len(found)
        prior += [PRIOR_POWER * np.log(len(part) / len(z)) - np.log(len(found))] * len(found)

    closed = share[:, _PP] > 0.5
    sure = (share[:, _PP] > 0.9) | (share[:, _PP] < 0.1)
    chosen = opened & sure
    bands = np.concatenate([e.bands for e in examples])[chosen]
    inputs = closure_features(bands, stacked[chosen] @ projection - offset)
    truth = closed[chosen].astype(np.float64)
    weight = np.where(truth > 0, 0.5 / truth.mean(), 0.5 / (1 - truth.mean()))
    detector = logistic(inputs, truth, weight)

    np.savez_compressed(
        out,
        cepstral_mean=mean.astype(np.float32),
        projection=projection,
        offset=offset,
        centres=np.concatenate(centres).astype(np.float32),
        labels=np.array(classes),
        prior=np.array(prior, np.float32),
        closure=detector,
        closure_threshold=np.float32(THRESHOLD),
        bands=np.array(BANDS),
    )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the viseme prototypes.")
    parser.add_argument("out", type=Path, help="the file to write, .npz")
    parser.add_argument("kokoro", type=Path, nargs="*", help="MODEL VOCABULARY VOICES, see avatar.models.data.speech")
    args = parser.parse_args()
    build(args.out, extra=kokoro_utterances(KokoroVoice(*args.kokoro)) if args.kokoro else ())


if __name__ == "__main__":
    main()
