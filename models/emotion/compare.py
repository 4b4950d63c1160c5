"""What ships beside other ways of hearing, on the same speakers left out. Needs torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avatar.analysis.emotion import CLASSES, WINDOW_HOPS
from avatar.analysis.manner import ShiftModel, softmax
from avatar.analysis.voice_frames import WIDTH
from avatar.core.types import F32
from avatar.errors import AvatarError, UsageError
from avatar.models.data.corpus import read_sound
from avatar.models.data.fetch import debian_package
from avatar.models.emotion import build, learn, networks
from avatar.models.emotion.clips import Clips, Views, described, frames_of, sessions_of, sound
from avatar.models.emotion.evaluate import KNOWN_NEUTRAL, NEUTRAL, ORDERS, Found, hear
from avatar.models.emotion.linear import scale
from avatar.models.emotion.networks import Attention, Network, Recurrent, Windows

Progress = Callable[[int, int], None]

log = logging.getLogger(__name__)

FOLDS = 5
PRETRAIN_EPOCHS = 10
DISTILLED_SHARE = 0.7
"""Of a clip's target that comes from the ensemble; the rest is its label."""
TEACHER_SHARPNESS = 0.5
UNLABELLED = tuple(f"asterisk-core-sounds-{code}-g722" for code in ("fr", "it", "ru"))
UNLABELLED_S = 200.0
"""Of each package."""
SVM_COSTS = (3e-5, 1e-4, 3e-4, 1e-3)


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that the methods learn from and are judged on."""

    labels: np.ndarray
    """(n,)."""
    speakers: np.ndarray
    """(n,)."""
    frames: list[F32]
    """Of each clip (T, WIDTH)."""
    sessions: list[list[F32]]
    """The same through made-up sessions."""
    views: Views
    """Functionals of the same."""
    unlabelled: list[F32]


def material(clips: Clips, cache: Path) -> Material:
    """All of it from recordings: ten minutes on one core."""
    frames = [frames_of(sound(clip.file)) for clip in clips.clips]
    sounds = [sound(clip.file) for clip in clips.clips]
    copies = [list(sessions_of(clips, sounds, copy)) for copy in range(build.COPIES)]
    return described_material(clips.labels, clips.speakers, frames, copies, list(_unlabelled(cache)))


def described_material(
    labels: np.ndarray, speakers: np.ndarray, frames: list[F32], copies: list[list[F32]], unlabelled: list[F32]
) -> Material:
    """The same from ready frames."""
    random = np.random.default_rng(0)
    pieces = np.array([described(f, random) for f in frames])
    made = [np.array([described(f) for f in copy]) for copy in copies]
    parts = [np.array([described(f, random) for f in copy]) for copy in copies]
    plain = np.array([described(f) for f in frames])
    return Material(labels, speakers, frames, copies, Views(plain, pieces, np.array(made), np.array(parts)), unlabelled)


def _unlabelled(cache: Path) -> Iterator[F32]:
    """Two seconds each of telephone prompts in three languages; fewer where a package cannot be had."""
    for package in UNLABELLED:
        seconds = 0.0
        try:
            files = sorted(debian_package(cache, package).rglob("*.g722"))
        except AvatarError as error:
            log.warning("%s is left out: %s", package, error)
            continue
        for k in np.random.default_rng(0).permutation(len(files)):
            samples = read_sound(files[k], "g722")[: 160 * WINDOW_HOPS]
            if len(samples) >= 80 * WINDOW_HOPS and seconds < UNLABELLED_S:
                seconds += len(samples) / 16000
                yield frames_of(samples)


# --- ways of being judged -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """One fold's left-out clips."""

    labels: np.ndarray
    speakers: np.ndarray
    test: Windows


def _hear_network(found: Found, name: str, part: Part, ask: Callable[[F32], F32]) -> None:
    """``ask``: shifts (n, WIDTH) to be taken off the clips, to log odds (n, classes)."""
    means = part.test.means()
    for speaker in np.unique(part.speakers):
        mine = np.flatnonzero(part.speakers == speaker)

        def said(heard: list[np.ndarray], mine: np.ndarray = mine) -> np.ndarray:
            shift = np.zeros((len(part.speakers), WIDTH), np.float32)
            for i, before in zip(mine, heard, strict=True):
                shift[i] = means[before].sum(axis=0) / (len(before) + networks.PRIOR_CLIPS)
            return np.asarray(ask(shift)[mine].argmax(axis=1))

        labels = part.labels[mine]
        found.add(f"{name}: plain", speaker, labels, said([mine[:0]] * len(mine)))
        for order in range(ORDERS):
            random = np.random.default_rng(order)
            place = np.argsort(way := random.permutation(len(mine)))
            found.add(f"{name}: running", speaker, labels, said([mine[way[: place[k] + 1]] for k in range(len(mine))]))
            neutral = random.permutation(np.flatnonzero(labels == NEUTRAL))[:KNOWN_NEUTRAL]
            rest = np.setdiff1d(np.arange(len(mine)), neutral)
            heard = said([mine[neutral]] * len(mine))
            found.add(f"{name}: neutral history", speaker, labels[rest], heard[rest])


# --- the methods --------------------------------------------------------------------------------------------------


def _matrix(found: Found, data: Material, some: np.ndarray) -> F32:
    """What ships; its answers to all clips (n, classes), their speakers' shifts taken off."""
    decay = learn.choose_decay(data.views, data.labels, data.speakers, some)
    model = learn.classifier(data.views, data.labels, data.speakers, some, decay)
    judged, own = Found(), ShiftModel(model.bias, model.means)
    answers, out = model.answers(data.views.plain), np.empty((len(some), len(CLASSES)), np.float32)
    for speaker in np.unique(data.speakers):
        mine = data.speakers == speaker
        out[mine] = answers[mine] - own.shift(answers[mine], iterations=20) + model.bias
        if not some[mine].any():
            hear(judged, str(speaker), data.labels[mine], answers[mine], own)
    for way in ("plain", "running", "neutral history"):
        for row in judged.rows.get(way, ()):
            found.add(f"matrix: {way}", *row)
    return out


def _svm(found: Found, data: Material, some: np.ndarray) -> None:
    """The pilot's: a linear support vector machine on functionals, each less its running mean over its running
    deviation, cost chosen inside."""
    from sklearn.svm import SVC

    x, labels, speakers = data.views.plain, data.labels, data.speakers
    mean, std = scale(x[some])
    inside = np.concatenate([_normalised(x[m], np.arange(m.sum()), mean, std, True) for m in _each(speakers, some)])
    y, who = (np.concatenate([a[m] for m in _each(speakers, some)]) for a in (labels, speakers))

    def fitted(rows: np.ndarray, cost: float) -> Any:
        return SVC(kernel="linear", C=cost, class_weight="balanced").fit(inside[rows], y[rows])

    def score(cost: float) -> float:
        halves = [np.isin(who, np.unique(who)[k::2]) for k in range(2)]
        return float(np.mean([learn.recall(y[h], fitted(~h, cost).predict(inside[h])) for h in halves]))

    machine = fitted(np.ones(len(y), bool), max(SVM_COSTS, key=score))
    for mine in _each(speakers, ~some):
        for order in range(ORDERS):
            way = np.random.default_rng(order).permutation(int(mine.sum()))
            heard = machine.predict(_normalised(x[mine], way, mean, std, False))
            found.add("svm: running", str(speakers[mine][0]), labels[mine], heard)


def _each(speakers: np.ndarray, some: np.ndarray) -> list[np.ndarray]:
    return [some & (speakers == s) for s in np.unique(speakers[some])]


def _normalised(x: F32, way: np.ndarray, mean: F32, std: F32, whole: bool) -> F32:
    """(n, d) by what was heard up to each in the order ``way``, or by the ``whole`` of it; worth six clips at first."""
    n, total, square = 6.0, 6 * mean, 6 * (std**2 + mean**2)
    out = np.empty_like(x)
    if whole:
        n, total, square = n + len(x), total + x.sum(axis=0), square + (x**2).sum(axis=0)
    for i in way:
        if not whole:
            n, total, square = n + 1, total + x[i], square + x[i] ** 2
        spread = np.sqrt(np.maximum(square / n - (total / n) ** 2, (0.3 * std) ** 2))
        out[i] = np.clip((x[i] - total / n) / spread, -5, 5)
    return out


def _networks(found: Found, data: Material, some: np.ndarray, matrix: F32, seed: int) -> dict[str, int]:
    """Recurrent, transformer, the same pre-trained, and the distilled one: how many weights each has."""
    mean, std = scale(np.concatenate([f for f, s in zip(data.frames, some, strict=True) if s]))
    rows = np.flatnonzero(some)
    copies = [data.frames, *data.sessions[:1]]
    known = Windows.of([copy[i] for copy in copies for i in rows], mean, std)
    groups = np.concatenate([np.char.add(data.speakers[rows], f" {k}") for k in range(len(copies))])
    labels = np.tile(data.labels[rows], len(copies))
    share = (1 / np.bincount(labels, minlength=len(CLASSES)).clip(1))[labels].astype(np.float32)
    wanted = np.eye(len(CLASSES), dtype=np.float32)[labels]
    left = np.flatnonzero(~some)
    part = Part(data.labels[left], data.speakers[left], Windows.of([data.frames[i] for i in left], mean, std))
    nets: dict[str, Network] = {}

    def learnt(name: str, body: torch.nn.Module, target: F32, start: Network | None = None) -> None:
        net = start or Network(body)
        networks.train(net, known, groups, target, share, seed, networks.EPOCHS)
        nets[name] = net
        _hear_network(found, name, part, lambda shift: networks.answers(net, part.test.without(shift)))

    torch.manual_seed(seed)
    learnt("recurrent", Recurrent(), wanted)
    learnt("transformer", Attention(), wanted)
    begun = Network(Attention())
    others = Windows.of([data.frames[i] for i in rows] + data.unlabelled, mean, std)
    who = np.concatenate([data.speakers[rows], np.full(len(data.unlabelled), "prompts")])
    networks.pretrain(begun, others, who, seed, PRETRAIN_EPOCHS)
    learnt("pre-trained transformer", Attention(), wanted, begun)
    x = known.without(networks.shifts_for_training(known.means(), groups, np.random.default_rng(seed)))
    teachers = [softmax(networks.answers(net, x)) for net in nets.values()]
    teachers.append(softmax(TEACHER_SHARPNESS * np.tile(matrix[rows], (len(copies), 1))))
    target = DISTILLED_SHARE * np.mean(teachers, axis=0) + (1 - DISTILLED_SHARE) * wanted
    learnt("distilled", Recurrent(), target.astype(np.float32))
    return {name: networks.parameters(net) for name, net in nets.items()}


def compared(data: Material, progress: Callable[[int, int], None] = lambda done, of: None) -> dict[str, Any]:
    """Every method on the same folds."""
    found, everyone, sizes = Found(), np.unique(data.speakers), dict[str, int]()
    if len(everyone) < 2 * FOLDS:
        raise UsageError(f"eval emotion_methods needs {2 * FOLDS} speakers: give more recordings")
    for fold in range(FOLDS):
        some = ~np.isin(data.speakers, everyone[[fold, fold + FOLDS]])
        _svm(found, data, some)
        matrix = _matrix(found, data, some)
        sizes |= _networks(found, data, some, matrix, fold)
        progress(fold + 1, FOLDS)
    return {"task": "emotion_methods", "rows": {way: found.uar(way) for way in found.rows}, "weights": sizes}
