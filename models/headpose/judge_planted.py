"""The judge where the truth is known: a planted corpus, and what other models make of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.metrics import adjusted_rand_score

from avatar.analysis.head_features import FEATURES
from avatar.analysis.head_hmm import LAG, HmmHead
from avatar.analysis.head_model import NEUTRAL, HeadModel
from avatar.analysis.headpose import RuleHead
from avatar.analysis.prosody import AccentDetector, Prosody
from avatar.core.types import freeze
from avatar.models.headpose import pairs, phmm
from avatar.models.headpose.clips import HZ, Clip, gestures
from avatar.models.headpose.learn import Learnt, study
from avatar.models.headpose.metrics import correlations, interval
from avatar.models.headpose.planted import Planted, plant

F64 = NDArray[np.float64]

TRAIN_SECONDS, TRAIN, TEST = 60.0, 3, 3
PIECE_S = 10
N = len(FEATURES)


def planted(keep: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Train on planted sequences and judge on others."""
    learning = [plant(TRAIN_SECONDS, 10 * seed + i) for i in range(TRAIN)]
    testing = [plant(TRAIN_SECONDS, 1000 + 10 * seed + i) for i in range(TEST)]
    begun = time.perf_counter()
    found = study([p.clip for p in learning], seed=seed)
    spent = time.perf_counter() - begun
    rows = [found.rows(p.clip) for p in testing]
    truth = np.concatenate([p.prosody_label for p in testing])
    gesture_truth = np.concatenate([p.gesture_label for p in testing])
    prosody = np.concatenate(phmm.decode(found.prosody.model, [x[:, :N] for x in rows])) // found.prosody.states
    gesture = np.concatenate(phmm.decode(found.gesture.model, [x[:, N:] for x in rows])) // found.gesture.states
    joint = np.concatenate([found.joint_branches(p.clip) for p in testing])
    errors, missed = apexes(found.model, testing)
    frames = np.abs(errors) * 30 / HZ
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(keep / "curves.npz", curves=found.model.curves)
    return {
        "ari": round(float(adjusted_rand_score(truth, joint)), 4),
        "ari_prosody": round(float(adjusted_rand_score(truth, prosody)), 4),
        "ari_gesture": round(float(adjusted_rand_score(gesture_truth, gesture)), 4),
        "apex_frames": round(float(np.median(frames)), 3),
        "apex_frames_mean": round(float(frames.mean()), 3),
        "apex_within_one": round(float((frames <= 1).mean()), 3),
        "apex_missed": round(missed, 3),
        "seconds": round(spent, 1),
        "sizes": {"prosody": [found.prosody.branches, found.prosody.states],
                  "gesture": [found.gesture.branches, found.gesture.states],
                  "pairs": list(found.joint.choice.shape)},
        "rows": compared(found, learning, testing),
    }  # fmt: skip


def run(model: HeadModel, clip: Clip, ahead: int, vary: bool = False, seed: int = 0) -> F64:
    """(T, 3) pitch, yaw, roll that a model makes of a clip's prosody with so many hops of look-ahead, each at the
    moment that it is for."""
    head = HmmHead(model, seed, ahead=ahead, vary=vary)
    rows = clip.prosody.astype(np.float64)
    padded = np.concatenate([rows, np.repeat(rows[-1:], ahead, axis=0)])
    return np.array([head.follow(row) for row in padded])[ahead:, [1, 0, 2]]


def apexes(model: HeadModel, sequences: Sequence[Planted], ahead: int = LAG) -> tuple[F64, float]:
    """Hops by which the made gestures' farthest points come late, and the share of planted ones without one."""
    errors: list[float] = []
    missed = asked = 0
    for p in sequences:
        made, real = run(model, p.clip, ahead), gestures(p.clip.pose)[:, :3]
        for _, axis, hop in p.apexes:
            low, high = hop - 25, hop + 26
            if low < 50 or high > len(made):
                continue
            asked += 1
            sign = np.sign(p.clip.pose[hop, axis])
            track = sign * made[low:high, axis]
            at = int(track.argmax())
            # The planted noise moves the real farthest point as well; the truth is where the gesture was planted.
            if 0 < at < len(track) - 1 and track[at] > 0.2 * abs(float(real[hop, axis])):
                errors.append(at - 25.0)
            else:
                missed += 1
    return np.array(errors or [99.0]), missed / max(asked, 1)


def compared(found: Learnt, learning: Sequence[Planted], testing: Sequence[Planted]) -> dict[str, Any]:
    """The joint model beside stage one alone, the rules and a BLSTM: log-likelihood of a frame of gesture features (6,)
    in units of their deviations, given the sound, and first canonical correlation less shuffled over pieces of 10 s.

    A regression and a network see nothing of the gestures that went before, so nor may the HMMs; what those two make of
    a frame when they know the ones before it as well is ``log_likelihood_in_sequence``."""
    train, test = [found.rows(p.clip) for p in learning], [found.rows(p.clip) for p in testing]
    seen = [x[:, N:] for x in test]
    rules = {p.clip.name: rule_track(p.clip) for p in (*learning, *testing)}
    fit = _affine([_features(found, rules[p.clip.name]) for p in learning], [x[:, N:] for x in train])
    numbers = found.joint.numbers
    from avatar.models.headpose import blstm  # brings in torch, which nothing else here needs

    net = blstm.train([x[:, :N] for x in train], [x[:, N:] for x in train], numbers)
    guesses = [blstm.predict(net, x[:, :N]) for x in test]
    shuffled = _aimless(found.model)
    tracks = {
        "joint": [run(found.model, p.clip, LAG) for p in testing],
        "stage one": [run(shuffled, p.clip, LAG, vary=True, seed=i) for i, p in enumerate(testing)],
        "rules": [rules[p.clip.name] for p in testing],
        "blstm": [mean[:, :3] * found.scale[N : N + 3] for mean, _ in guesses],
    }
    likelihood = {
        "joint": float(np.mean([pairs.given_sound(found.joint, x) for x in test])),
        "stage one": float(np.mean([unheard(found, x) for x in test])),
        "rules": float(np.mean([_gauss(x, *fit(_features(found, rules[p.clip.name]))) for x, p in
                                zip(seen, testing, strict=True)])),
        "blstm": float(np.mean([_gauss(x, m, s) for x, (m, s) in zip(seen, guesses, strict=True)])),
    }  # fmt: skip
    in_sequence = {
        "joint": pairs.likelihood(found.joint, test) - pairs.likelihood(found.joint, test, both=False),
        "stage one": found.gesture.model.likelihood(seen),
    }
    real = _pieces([gestures(p.clip.pose)[:, :3] for p in testing])
    return {
        name: {
            "log_likelihood": round(likelihood[name], 3),
            "log_likelihood_in_sequence": round(in_sequence[name], 3) if name in in_sequence else None,
            "cca_minus_shuffled": interval(correlations(_pieces(tracks[name]), real)),
        }
        for name in tracks
    }


def unheard(found: Learnt, x: F64) -> float:
    """What :func:`pairs.given_sound` is for stage one alone: it knows how often a state comes, and hears nothing."""
    model = found.gesture.model
    share = model.get_stationary_distribution()
    return float(logsumexp(model.scores(x[:, N:]), b=np.maximum(share, 1e-12)[None], axis=1).mean())


def rule_track(clip: Clip) -> F64:
    """(T, 3) pitch, yaw, roll of the rules on a clip's prosody."""
    head, accents = RuleHead(0), AccentDetector()
    out = []
    for pitch, confidence, intensity in clip.prosody[:, :3].astype(np.float64):
        speaking = bool(intensity > -2.5)
        hop = Prosody(150.0 if confidence > 0.5 else 0.0, confidence, -20 + 6 * intensity, pitch, intensity, speaking)
        yaw, up, roll = head.step(accents.step(hop), hop)
        out.append((up, yaw, roll))
    return np.array(out)


def _features(found: Learnt, track: F64) -> F64:
    return gestures(track) / found.scale[N:]


def _affine(made: Sequence[F64], real: Sequence[F64]) -> Any:
    """The best that a track can be turned into: a regression, and what it leaves, as a Gaussian."""
    x, y = np.concatenate(made), np.concatenate(real)
    design = np.hstack([x, np.ones((len(x), 1))])
    weights = np.linalg.lstsq(design, y, rcond=None)[0]
    spread = np.maximum((y - design @ weights).std(0), 1e-3)
    return lambda track: (np.hstack([track, np.ones((len(track), 1))]) @ weights, np.broadcast_to(spread, track.shape))


def _gauss(x: F64, mean: F64, spread: F64) -> float:
    return float((-0.5 * ((x - mean) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2 * np.pi)).sum(1).mean())


def _aimless(model: HeadModel) -> HeadModel:
    """The same gestures as often, whatever is heard."""
    own = model.manners[NEUTRAL]
    share = np.bincount(model.branch, 1 / model.lasts)  # by how often a pattern comes
    even = np.tile((share[:, None] * own.choice).sum(0), (model.branches, 1)).astype(np.float32)
    return replace(model, manners={NEUTRAL: replace(own, choice=freeze(even))})


def _pieces(tracks: Sequence[F64]) -> list[F64]:
    n = PIECE_S * HZ
    return [t[i : i + n] for t in tracks for i in range(n, len(t) - n + 1, n)]
