"""How sure of a closure each head has to be: chosen on the voices of the split "val", never on those of "test".

The estimator adds a bias to the logit of lip contact; the mouth acts at a probability of one half. Judged as
``avatar eval visemes`` judges: by the lips that the face shows, through the gate and the shaper of the engine.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avatar.analysis.features import FrameStream, Hop
from avatar.analysis.mouth import LipEstimate, MouthShaper
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate, loudness
from avatar.analysis.visemes import CALM_MS, FRAME_MS, LIVE_MS, VisemeEstimator
from avatar.core.facs import INDEX
from avatar.core.types import F32
from avatar.models.data.corpus import Utterance
from avatar.models.visemes.eval_metrics import Shown, Tally, Truth, lip_gap, measure
from avatar.models.visemes.sampler import kind_of

log = logging.getLogger(__name__)

BIASES = tuple(float(b) for b in np.arange(-2.0, 2.01, 0.5))
WANTED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "live": {"espeak": (0.92, 0.08), "kokoro": (0.88, 0.12), "real": (0.85, 0.20)},
    "calm": {"espeak": (0.94, 0.06), "kokoro": (0.92, 0.10), "real": (0.92, 0.10)},
}
"""Recall at least, false closures at most, that a bias should reach on each kind of speech."""
IMPORTANCE: Mapping[str, float] = {"espeak": 1.0, "kokoro": 1.0, "real": 2.0}
PAUSE = 30
"""Hops of silence before and after each utterance."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the estimator says of one utterance, kept so that many biases can be tried."""

    truth: Truth
    kind: str
    estimates: list[LipEstimate]
    """One a hop, with the logit of lip contact in place of its probability."""
    opened: F32
    """(n,) how far the gate is open for each."""
    loud: F32
    """(n,)."""


def listen(weights: Path, estimator: VisemeEstimator, items: Iterable[Utterance]) -> list[Heard]:
    """Run the gate and the network over utterances, each as a stream of its own.

    :param weights: the folder of the voice activity detector.
    """
    vad, gate = SileroVad(weights / VAD_FILE), SpeechGate()
    out = []
    for item in items:
        for part in (vad, gate, gate.levels, estimator):
            part.reset()
        n, ahead = len(item.samples) // 160, estimator.ahead
        pause = np.zeros(PAUSE * 160, np.float32)
        estimates: list[LipEstimate] = []
        opened, loud = np.zeros(n, np.float32), np.zeros(n, np.float32)
        levels: dict[int, float] = {}
        for hop in FrameStream().push(np.concatenate((pause, item.samples, pause))):
            estimate, open_now = _hear(estimator, hop, gate, vad)
            levels[hop.index] = loudness(hop.level, gate.levels.speech)
            i = hop.index - ahead - PAUSE
            if 0 <= i < n:
                estimates.append(estimate)
                opened[i], loud[i] = open_now, levels[hop.index - ahead]
        truth = Truth.of(item.samples, 16_000, item.marks, item.trusts.tolist())
        out.append(Heard(truth, kind_of(item.source), estimates, opened, loud))
    return out


def _hear(estimator: VisemeEstimator, hop: Hop, gate: SpeechGate, vad: SileroVad) -> tuple[LipEstimate, float]:
    gate.step(hop.level, vad.push(hop.new))
    estimate = estimator.step(hop, gate)
    return replace(estimate, press=estimator.press_logit), estimator.opened


def shown(heard: Heard, bias: float, ahead: int) -> Shown:
    """What the face does at this bias; ``ahead``: hops that the shaper waits."""
    shaper = MouthShaper(ahead)
    n = len(heard.estimates)
    mouth = np.zeros((n, len(INDEX)), np.float32)
    for i, (estimate, opened, loud) in enumerate(zip(heard.estimates, heard.opened, heard.loud, strict=True)):
        press = float(opened) / (1 + np.exp(-(estimate.press + bias)))
        shape = shaper.step(replace(estimate, press=press), float(loud))
        if i >= ahead:
            mouth[i - ahead] = shape
    visemes = np.stack([e.visemes for e in heard.estimates])
    return Shown(visemes, lip_gap(mouth), mouth[:, INDEX["jawOpen"]].copy())


def figures(tallies: Iterable[Tally]) -> tuple[float, float, float]:
    """Recall, share of false closures, frame accuracy."""
    parts = list(tallies)

    def total(name: str) -> int:
        return sum(getattr(t, name) for t in parts)

    return (
        total("found") / max(1, total("closures")),
        total("false") / max(1, total("shown")),
        total("right") / max(1, total("frames")),
    )


def table(heard: list[Heard], bias: float, ahead: int) -> dict[str, tuple[float, float, float]]:
    """Kind of speech -> recall, false, accuracy."""
    tallies: dict[str, list[Tally]] = defaultdict(list)
    for one in heard:
        tallies[one.kind].append(measure(one.truth, shown(one, bias, ahead)))
    return {kind: figures(parts) for kind, parts in tallies.items()}


def margin(rows: Mapping[str, tuple[float, float, float]], tier: str) -> float:
    """How well a bias does: over the kinds, the worse of the two distances from what is wanted; short ones count
    fourfold."""
    total = 0.0
    for kind, (recall, false, _) in rows.items():
        least, most = WANTED[tier][kind]
        worse = min(recall - least, most - false)
        total += IMPORTANCE[kind] * (worse if worse > 0 else 4 * worse)
    return total


def choose(weights: Path, file: Path, items: list[Utterance]) -> dict[str, float]:
    """The bias of each head, by name of the head ("4").

    :param file: the network. :param items: utterances of voices that are in no other split.
    """
    out: dict[str, float] = {}
    for head in VisemeEstimator(file).heads:
        estimator = VisemeEstimator(file, round(head * 10 + FRAME_MS + 0.5))
        tier, ahead = ("live", min(1, head)) if head * 10 + FRAME_MS <= LIVE_MS else ("calm", 2)
        assert estimator.ahead == head
        heard = listen(weights, estimator, items)
        scores = {}
        for bias in BIASES:
            rows = table(heard, bias, ahead)
            scores[bias] = margin(rows, tier)
            log.info("head %d bias %.2f: %s", head, bias, {k: tuple(round(x, 3) for x in v) for k, v in rows.items()})
        out[str(head)] = max(scores, key=scores.__getitem__)
        log.info("head %d: bias %.2f (at most %d ms)", head, out[str(head)], CALM_MS if tier == "calm" else LIVE_MS)
    return out
