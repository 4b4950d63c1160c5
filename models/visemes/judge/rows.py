"""The recognisers that ``avatar eval visemes`` compares. Each hears a sound and says what a face would show."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.features import FrameStream, Resampler, clean
from avatar.analysis.mouth import MouthShaper
from avatar.analysis.phonemes import PhonemeMark, lip_cues
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate, loudness
from avatar.analysis.voice import VoiceAnalyzer
from avatar.core.facs import INDEX, VISEMES
from avatar.core.types import F32, SECOND, LipCue
from avatar.errors import UsageError
from avatar.models.visemes.judge.metrics import HOPS, Shown, lip_gap
from avatar.models.visemes.judge.prototypes import WEIGHTS_FILE, PrototypeEstimator, Prototypes
from avatar.pipeline import offline

Recogniser = Callable[[F32, int], Shown]
"""Sound (n,) and its rate to what is shown, at 100 hops a second."""


def live(analyzer: VoiceAnalyzer) -> Recogniser:
    """The engine's own path, in chunks of 20 ms as on air; each sound begins with nothing known about the speaker."""

    def recognise(samples: F32, rate: int) -> Shown:
        return as_shown(*heard(analyzer, samples, rate))

    return recognise


def heard(analyzer: VoiceAnalyzer, samples: F32, rate: int) -> tuple[F32, F32]:
    """(n, 15) visemes and (n, 52) mouth at 100 a second, from the sound alone."""
    analyzer.reset()
    n = round(len(samples) * HOPS / rate)
    visemes, mouth = np.zeros((n, len(VISEMES)), np.float32), np.zeros((n, len(INDEX)), np.float32)
    visemes[:, 0] = 1
    cues: list[Any] = []
    for chunk in offline.chunks(samples, rate):
        cues += analyzer.step(chunk) or ()
    cues += analyzer.flush()
    for cue in cues:
        if isinstance(cue, LipCue):
            # A face holds what it shows until the next cue.
            i = round(cue.pts * HOPS / SECOND)
            visemes[i:], mouth[i:] = cue.visemes, cue.mouth
    return visemes, mouth


def as_shown(visemes: F32, mouth: F32) -> Shown:
    """Visemes (n, 15) and mouth (n, 52) as they are judged."""
    return Shown(visemes, lip_gap(mouth), mouth[:, INDEX["jawOpen"]].copy())


def prototypes(weights: Path) -> Recogniser:
    """uLipSync's way (mean MFCC per sound) behind the gate and the mouth of the engine."""
    vad, gate, shaper = SileroVad(weights / VAD_FILE), SpeechGate(), MouthShaper()
    estimator = PrototypeEstimator(Prototypes.load(weights / WEIGHTS_FILE))

    def recognise(samples: F32, rate: int) -> Shown:
        for part in (vad, gate, gate.levels, shaper, estimator):
            part.reset()
        frames, resampler = FrameStream(), Resampler(rate)
        n = round(len(samples) * HOPS / rate)
        visemes, mouth = np.zeros((n, len(VISEMES)), np.float32), np.zeros((n, len(INDEX)), np.float32)
        louds: deque[float] = deque(maxlen=estimator.ahead + 1)
        padded = np.concatenate((samples, np.zeros(rate // 4, np.float32)))
        for chunk in offline.chunks(padded, rate):
            for hop in frames.push(resampler.process(clean(chunk.samples))):
                gate.step(hop.level, vad.push(hop.new))
                estimate = estimator.step(hop, gate)
                louds.append(loudness(hop.level, gate.levels.speech))
                shape = shaper.step(estimate, louds[0])
                i, j = hop.index - estimator.ahead, hop.index - estimator.ahead - shaper.ahead
                if 0 <= i < n:
                    visemes[i] = estimate.visemes
                if 0 <= j < n:
                    mouth[j] = shape
        return as_shown(visemes, mouth)

    return recognise


HAMA_EARLY_S = 0.05
"""hama's spans lie this much behind the sound: frame accuracy on the LibriVox clips is largest at 40 to 60 ms."""
_HAMA_PAUSE_S = 0.1
"""Longer than this between two words is a pause."""


def hama() -> Recogniser:
    """The offline phoneme recogniser of the package ``hama``, its phonemes drawn as known ones are.

    It hears the whole sound at once, so it is a ceiling rather than a peer. Raises UsageError where it is missing.
    """
    try:
        from hama import ASRModel
    except ImportError as error:
        raise UsageError("hama is not installed: pip install hama==1.7.0") from error
    model = ASRModel()

    def recognise(samples: F32, rate: int) -> Shown:
        import soxr

        sound = samples if rate == 16_000 else soxr.resample(samples, rate, 16_000).astype(np.float32)
        duration = len(samples) / rate
        spans = model.phoneme_spans(model.transcribe_waveform(sound, 16_000))
        times = [(s.start_ms / 1000 - HAMA_EARLY_S, s.end_ms / 1000 - HAMA_EARLY_S, s.phoneme) for s in spans]
        cues = lip_cues(_without_gaps(times), duration)
        return as_shown(np.array([c.visemes for c in cues]), np.array([c.mouth for c in cues]))

    return recognise


def _without_gaps(spans: list[tuple[float, float, str]]) -> list[PhonemeMark]:
    """A span runs until the next emission; the frames of a short space between words go to the sound after it."""
    marks: list[PhonemeMark] = []
    before = -1.0
    for start, end, ipa in spans:
        begin = before if 0 <= start - before < _HAMA_PAUSE_S else start
        marks.append(PhonemeMark(max(0.0, begin), max(0.0, end), ipa))
        before = end
    return marks
