"""How sure of a closure each head has to be: chosen on the voices of the split "val", never on those of "test".

The estimator adds a bias to the logit of lip contact; the mouth acts at a probability of one half. Judged as
``avatar eval visemes`` judges, through the gate and the contact of the engine.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar.analysis.features import HOP, RATE, FrameStream
from avatar.analysis.mouth import LIVE_MS, PRESS_OFF, PRESS_ON, _Contact
from avatar.analysis.normalizer import Normalizer
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate
from avatar.analysis.visemes import FRAME_MS, GATE_LATE, VisemeEstimator
from avatar.core.facs import VISEMES
from avatar.core.types import F32
from avatar.models.data.corpus import Utterance
from avatar.models.visemes.judge.metrics import Shown, Tally, Truth, measure
from avatar.models.visemes.sampler import kind_of
from avatar.network import one_thread_session

log = logging.getLogger(__name__)

BIASES = tuple(float(b) for b in np.arange(-2.5, 2.01, 0.25))
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
    """What the network says of one utterance, kept so that many biases can be tried."""

    truth: Truth
    kind: str
    visemes: dict[int, F32]
    """Head -> (n, 15) logits."""
    press: dict[int, F32]
    """Head -> (n,) logits."""
    opened: dict[int, F32]
    """Head -> (n,) how far the gate is open for each hop."""


def listen(weights: Path, file: Path, items: Iterable[Utterance]) -> list[Heard]:
    """Run the gate and the network over utterances, each as a stream of its own.

    :param weights: the folder of the voice activity detector. :param file: the network.
    """
    vad, gate = SileroVad(weights / VAD_FILE), SpeechGate()
    session = one_thread_session(file)
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    norm = Normalizer(np.array(about["shape"], np.float32))
    out = []
    for item in items:
        for part in (vad, gate, gate.levels, norm):
            part.reset()
        pause = np.zeros(PAUSE * HOP, np.float32)
        features, smooth = [], []
        for hop in FrameStream().push(np.concatenate((pause, item.samples, pause))):
            gate.step(hop.level, vad.push(hop.new))
            features.append(norm.step(hop.logmel, np.float32(gate.open)))
            smooth.append(gate.smooth)
        x = np.stack(features[: len(features) // 2 * 2], axis=1)[None]
        (logits,) = session.run(["logits"], {"features": x, "state": np.zeros((1, about["state"]), np.float32)})
        # (heads, 2, outputs, pairs) to (heads, hops, outputs)
        said = logits[0].transpose(0, 3, 1, 2).reshape(len(about["heads"]), -1, logits.shape[3])
        gates, n = np.array(smooth, np.float32), len(item.samples) // HOP
        heard = Heard(Truth.of(item.samples, RATE, item.marks, item.trusts.tolist()), kind_of(item.source), {}, {}, {})
        for k, head in enumerate(about["heads"]):
            at = PAUSE + np.arange(n)
            # As the estimator has it: place i is about hop i - head + 1, and the gate is the widest of the last ones.
            heard.visemes[head] = said[k, at + head - 1, : len(VISEMES)]
            heard.press[head] = said[k, at + head - 1, -1]
            last = [gates[at + head - back] for back in range(max(1, head - GATE_LATE + 1))]
            heard.opened[head] = np.max(last, axis=0)
        out.append(heard)
    return out


def shown(heard: Heard, head: int, bias: float, ahead: int) -> Shown:
    """What the lips do at this bias; ``ahead``: hops that the shaper waits. Only contact depends on the bias, so the
    shaper's own decision about contact stands for the whole mouth."""
    contact = _Contact(ahead, PRESS_ON, PRESS_OFF)
    press = heard.opened[head] / (1 + np.exp(-(heard.press[head] + bias)))
    levels = [contact.step(p) for p in press.tolist()]
    level = np.array(levels[ahead:] + [0.0] * min(ahead, len(levels)), np.float32)
    return Shown(heard.visemes[head], 1 - level, heard.opened[head])


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


def table(heard: list[Heard], head: int, bias: float, ahead: int) -> dict[str, tuple[float, float, float]]:
    """Kind of speech -> recall, false, accuracy."""
    tallies: dict[str, list[Tally]] = defaultdict(list)
    for one in heard:
        tallies[one.kind].append(measure(one.truth, shown(one, head, bias, ahead)))
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
    heard = listen(weights, file, items)
    for head in VisemeEstimator(file).heads:
        tier, ahead = ("live", min(1, head)) if head * 10 + FRAME_MS <= LIVE_MS else ("calm", 2)
        scores = {}
        for bias in BIASES:
            rows = table(heard, head, bias, ahead)
            scores[bias] = margin(rows, tier)
            log.info("head %d bias %.2f: %s", head, bias, {k: tuple(round(x, 3) for x in v) for k, v in rows.items()})
        out[str(head)] = max(scores, key=scores.__getitem__)
        log.info("head %d: bias %.2f", head, out[str(head)])
    return out
