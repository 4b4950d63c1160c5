"""The judge of the shipped head: on voices that it has not heard, and over ten minutes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.analysis.head_features import FEATURES
from avatar.analysis.head_hmm import LAG, HmmHead
from avatar.analysis.head_model import HeadModel
from avatar.analysis.headpose import RuleHead
from avatar.analysis.prosody import Melody
from avatar.analysis.viterbi import FixedLagViterbi, GaussianScores
from avatar.models.headpose import phmm
from avatar.models.headpose.clips import HZ, Heard
from avatar.models.headpose.generated import RECOGNISED_LATE, phrases
from avatar.models.headpose.metrics import begins, carried, habits, nods, recurrence

F64 = NDArray[np.float64]

CALM, LIVE = 15, 5
"""Hops of look-ahead: of ``avatar render``, and of conversation."""
SEEDS = 2


def follow(
    model: HeadModel, heard: Heard, ahead: int, seed: int = 0, emotion: tuple[str, float] = ("neutral", 0.0)
) -> F64:
    """(T, 3) pitch, yaw, roll, each at the moment that it is for."""
    head = HmmHead(model, seed, ahead=ahead)
    head.emotion = emotion
    out = [head.step(melody, hop) for melody, hop in zip(heard.melody, heard.hops, strict=True)]
    out += [head.step(Melody(), heard.hops[-1]) for _ in range(ahead)]
    return np.array(out)[ahead:, [1, 0, 2]]


def spoken(model: HeadModel, heard: Mapping[str, Heard], keep: Path | None = None) -> dict[str, Any]:
    """Habits on unseen voices, nods with accents and who is first at phrase onsets, for both look-aheads."""
    result: dict[str, Any] = {}
    for name, ahead in (("calm", CALM), ("live", LIVE)):
        tracks = {(v, s): follow(model, h, ahead, s) for v, h in heard.items() for s in range(SEEDS)}
        if name == "calm":
            result |= habits(list(tracks.values()))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            kept: dict[str, Any] = {f"{v}.{s}": t for (v, s), t in tracks.items()}
            np.savez_compressed(keep / f"heads_{name}.npz", **kept)
        result[name] = _accents_and_onsets(tracks, heard)
    rules = {(v, s): rule_track(h, s) for v, h in heard.items() for s in range(SEEDS)}
    result["rules"] = {**_accents_and_onsets(rules, heard), **habits(list(rules.values()))}
    return result


def rule_track(heard: Heard, seed: int) -> F64:
    """(T, 3) pitch, yaw, roll of the rules on the same sound."""
    head = RuleHead(seed)
    return np.array([head.step(m, hop) for m, hop in zip(heard.melody, heard.hops, strict=True)])[:, [1, 0, 2]]


def _accents_and_onsets(tracks: Mapping[tuple[str, int], F64], heard: Mapping[str, Heard]) -> dict[str, Any]:
    random = np.random.default_rng(0)
    shares, chances, first, first_chance = [], [], [], []
    accents_in_all = onsets_in_all = 0
    for (voice, seed), track in tracks.items():
        h = heard[voice]
        accents = np.array([i for i, m in enumerate(h.melody) if m.accent > 0]) - RECOGNISED_LATE
        speaking = np.flatnonzero([hop.speaking for hop in h.hops])
        nod = nods(track)
        shares += [carried(nod, accents)] * len(accents)
        chances.append(carried(nod, random.choice(speaking, 200)))
        onsets = [o for o in phrases(h)[0] if 60 < o < len(track) - 60]
        first += [b < o for o in onsets if (b := begins(track, o)) is not None]
        other = random.integers(60, len(track) - 60, 60)
        first_chance += [b < o for o in other if (b := begins(track, int(o))) is not None]
        if seed == 0:
            accents_in_all += len(accents)
            onsets_in_all += len(onsets)
    return {
        "accents": accents_in_all,
        "nod_share": round(float(np.mean(shares)), 3),
        "nod_share_chance": round(float(np.mean(chances)), 3),
        "onsets": onsets_in_all,
        "lead_share": round(float(np.mean(first)), 3),
        "lead_share_chance": round(float(np.mean(first_chance)), 3),
    }


def emotions(model: HeadModel, heard: Mapping[str, Heard]) -> dict[str, float]:
    """Mean speed in shares of the neutral one."""
    speeds = {}
    for label in ("neutral", "happiness", "anger", "sadness"):
        tracks = [follow(model, h, LIVE, 0, (label, 1.0)) for h in list(heard.values())[:3]]
        speeds[label] = float(np.mean([np.linalg.norm(np.diff(t, axis=0), axis=1).mean() for t in tracks]))
    return {label: round(speed / speeds["neutral"], 3) for label, speed in speeds.items()}


def live(model: HeadModel, heard: Sequence[Heard], minutes: float = 10.0) -> dict[str, float]:
    """Ten minutes in virtual time: speech and half a minute of silence in turn, the same sounds again and again."""
    silence = Heard(heard[0].features[:1], heard[0].hops[:1], (Melody(),))
    head = HmmHead(model, 0, ahead=LIVE)
    poses: list[tuple[float, float, float]] = []
    wanted, number = int(minutes * 60 * HZ), 0
    begun: dict[int, list[int]] = {}
    while len(poses) < wanted:
        part = heard[number % len(heard)]
        begun.setdefault(number % len(heard), []).append(len(poses))
        poses += [head.step(m, hop) for m, hop in zip(part.melody, part.hops, strict=True)]
        if number % 2:
            poses += [head.step(Melody(), silence.hops[0]) for _ in range(30 * HZ)]
        number += 1
    track = np.array(poses[:wanted])[:, [1, 0, 2]]
    frames = track[:: HZ // 30]  # a little more than 30 a second: a step is at most a frame's
    again = []
    for index, starts in begun.items():
        n = len(heard[index].hops)
        for a, b in itertools.pairwise(starts):
            if b + n <= wanted:
                again.append(float(np.corrcoef(track[a : a + n, 0], track[b : b + n, 0])[0, 1]))
    still = np.ptp(track[: len(track) // 400 * 400].reshape(-1, 400, 3), axis=1).max(1)
    return {
        "minutes": minutes,
        "jump_deg": round(float(np.abs(np.diff(frames, axis=0)).max() * 1.1112), 3),
        "farthest_deg": round(float(np.abs(track).max()), 2),
        "recurrence": round(recurrence(track), 3),
        "same_sound_again": round(float(np.mean(again)), 3) if again else 0.0,
        "stillest_4s_deg": round(float(still.min()), 3),
    }


def decoder(model: HeadModel, heard: Sequence[Heard]) -> dict[str, float]:
    """The live decoder against hmmlearn's over the whole sequence, and what a hop costs."""
    p = len(FEATURES)
    whole = phmm.Streams.of(model.start, model.transition, model.prosody_mean.astype(np.float64),
                            model.prosody_sd.astype(np.float64) ** 2)  # fmt: skip
    whole.covars_ = np.maximum(model.prosody_sd.astype(np.float64) ** 2, 1e-8)
    same = rows = 0
    scores = GaussianScores(model.prosody_mean, model.prosody_sd)
    for h in heard:
        x = h.features.astype(np.float64)
        steps = FixedLagViterbi(model.start, model.transition, LAG)
        found = np.array([steps.step(scores(row)) for row in x])[LAG:]
        path = whole.predict(x)[: len(found)]
        same += int((model.branch[found] == model.branch[path]).sum())
        rows += len(found)
    random = np.random.default_rng(0)
    start, transition = phmm.topology(8, 4, 6)
    score = GaussianScores(random.standard_normal((32, p)), np.ones((32, p)))
    steps, spent = FixedLagViterbi(start, transition, LAG), []
    for row in random.standard_normal((4000, p)):
        begun = time.perf_counter()
        steps.step(score(row))
        spent.append(time.perf_counter() - begun)
    return {
        "agreement": round(same / rows, 4),
        "lag_ms": LAG * 10,
        "hop_ms": round(1000 * float(np.median(spent)), 4),
    }
