"""``avatar train emotion --data DIR``: recordings with emotions to ``weights/emotion.npz``."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.emotion import CLASSES, FORMAT
from avatar.analysis.held_class import Leaving
from avatar.core.types import F32
from avatar.errors import UsageError
from avatar.models.emotion import kept, learn, trust
from avatar.models.emotion.clips import Clips, Views, described, frames_of, read, sound
from avatar.models.emotion.linear import Linear, one_thread, standardised

CORPORA = ("speech/emodb",)
"""Folders below ``--data``. ``speech/nvidia`` is left for judging: it is the only other corpus."""
COPIES = 3
BAD_OF_EACH = 160
SHARPNESS = 1.0
"""Answers times this are log odds. Measured on speakers who were left out cross entropy is least at .6; taken as they
are, a change is heard sooner and neutral sentences flip less."""
SHIFT_SHARPNESS, SHIFT_PRIOR, BALANCE = 0.4, 3.0, 0.3
"""Of :class:`avatar.analysis.manner.ShiftModel`."""
SMOOTH = 1.0
"""Share of the way to the newest probabilities that a reading goes in 100 ms."""
MARGIN, OWED = 0.0, 0.05
LEAVING = Leaving(
    deviations=1.45, owed=0.41, most=1.0, against=-0.6, least=-2.0, narrowest=2.25, memory=1200, usual=(10, -8.0, 3.5)
)
"""Both of :class:`avatar.analysis.held_class.HeldClass`. Set on changes within EmoDB, with weights without their
speakers, and on readers that no evaluation judges (Kokoro's voices, and prompts that ``emotion_neutral`` does not
take)."""
SHORT = 0.5
"""How much the answers to the newest second count beside those to two seconds in the probabilities. Which class is
held the newest second says alone."""
LEAN = 0.0
"""Log odds by which neutral is expected more than each other class: in a stream most speech is."""
USUAL = 1.5
"""The same, where a speaker's shift is looked for."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Weights (d,) and bias of whether a window can be judged."""

    weights: F32
    bias: float


def build(data: Path, out: Path) -> dict[str, Any]:
    """Train on all of ``data/speech/emodb``, or of ``data`` where it has an index itself, and write ``out``. Raises
    UsageError where it has neither."""
    found = clips_of(data)
    with one_thread():  # matrices this small gain nothing from a second thread, which spins beside the first
        return fit(found, kept.views(found, COPIES), out)


def fit(found: Clips, made: Views, out: Path) -> dict[str, Any]:
    """The same from ready views."""
    everyone = np.ones(len(found.clips), bool)
    decay = learn.choose_decay(made, found.labels, found.speakers, everyone)
    model = learn.classifier(made, found.labels, found.speakers, everyone, decay)
    save(out, model, made, found.labels, found.speakers, trust_of(model, found, made))
    return {
        "clips": len(found.clips),
        "speakers": len(set(found.speakers.tolist())),
        "decay": decay,
        "bytes": out.stat().st_size,
    }


def clips_of(data: Path) -> Clips:
    """The corpora below ``data`` as one, or ``data`` itself where it has an index."""
    if (data / "index.csv").is_file():
        return read(data)
    parts = [read(data / name) for name in CORPORA if (data / name).is_dir()]
    if not parts:
        raise UsageError(f"{data} has neither {' nor '.join(CORPORA)} nor an index.csv: give another folder")
    unknown: dict[str, int] = {}
    for part in parts:
        unknown |= part.unknown
    return Clips(tuple(clip for part in parts for clip in part.clips), unknown, any(part.bored for part in parts))


def trust_of(model: Linear, found: Clips, made: Views, each: int = BAD_OF_EACH) -> Trust:
    """Learnt from the clips, their sessions, and made sounds that cannot be judged."""

    def make() -> dict[str, np.ndarray]:
        sounds = [sound(clip.file) for clip in found.clips]
        bad = []
        for number, of_kind in enumerate(trust.KINDS.values()):
            random = np.random.default_rng((5, number))
            bad += [described(frames_of(of_kind(sounds, found.speakers, random))) for _ in range(each)]
        return {"bad": np.array(bad)}

    bad = kept.kept("bad", (str(each).encode(), *kept.content(found)), make)["bad"]
    sessions = [*made.sessions[:2], *made.session_pieces[:1]] if len(made.sessions) else []
    good = np.concatenate([made.plain, made.pieces, *sessions])
    a, b = (standardised(x, model.mean, model.std) for x in (good, bad))
    return Trust(*trust.fit_trust(a, b))


def save(
    out: Path,
    model: Linear,
    made: Views,
    labels: np.ndarray,
    speakers: np.ndarray,
    judge: Trust,
    some: Any = slice(None),
) -> None:
    """Write the file that :class:`avatar.analysis.emotion.EmotionModel` reads."""
    part = Views(made.plain[some], made.pieces[some], made.sessions[:, some], made.session_pieces[:, some])
    manner, manner_means = learn.embedding(part, labels[some], speakers[some], model)
    weights = np.concatenate([model.weights, manner, judge.weights[:, None]], axis=1).astype(np.float16)
    lean, usual = np.zeros(len(CLASSES), np.float32), np.zeros(len(CLASSES), np.float32)
    lean[0], usual[0] = LEAN, USUAL
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        out,
        format=np.array(FORMAT),
        classes=np.array(CLASSES),
        name=np.array(hashlib.sha256(weights.tobytes()).hexdigest()[:16]),
        mean=model.mean,
        std=model.std,
        weights=weights,
        bias=model.bias,
        means=np.concatenate([model.means, manner_means], axis=1).astype(np.float32),
        trust_bias=np.array(judge.bias, np.float32),
        prior=np.array(SHIFT_PRIOR, np.float32),
        balance=np.array(BALANCE, np.float32),
        sharpness=np.array(SHARPNESS, np.float32),
        shift_sharpness=np.array(SHIFT_SHARPNESS, np.float32),
        smooth=np.array(SMOOTH, np.float32),
        short=np.array(SHORT, np.float32),
        margin=np.array(MARGIN, np.float32),
        owed=np.array(OWED, np.float32),
        leaving=np.array([*astuple(LEAVING)[:-1], *LEAVING.usual], np.float32),
        lean=lean,
        usual=usual,
    )
