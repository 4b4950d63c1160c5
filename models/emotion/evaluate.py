"""``avatar eval emotion``: what is heard in recordings whose emotion is known, clip by clip and as a stream."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.emotion import CLASSES, WEIGHTS_FILE, WINDOW_HOPS, EmotionModel
from avatar.analysis.manner import ShiftModel, softmax
from avatar.analysis.voice_functionals import functionals, speech_part
from avatar.core.types import F32
from avatar.errors import UsageError
from avatar.models.emotion import build, kept, learn
from avatar.models.emotion.clips import Clips, described, frames_of, read, sound
from avatar.models.emotion.linear import Linear, one_thread
from avatar.models.emotion.streamed import Heard, streamed

Progress = Callable[[int, int], None]

NEUTRAL, BORED = CLASSES.index("neutral"), CLASSES.index("boredom")
EVERY_CLASS = np.ones(len(CLASSES), bool)
ORDERS = 5
"""Orders in which a speaker's clips are heard."""
STAGES = ((0, 3), (3, 10), (10, 20), (20, 10_000))
"""How many clips of the speaker were heard before: first and the one after the last of each row."""
KNOWN_NEUTRAL = 3
LATENCY_TRIALS = 40
TARGETS_LOSO = {"uar": 0.83, "uar_neutral_history": 0.79, "uar_plain": 0.76}
TARGET_OTHER = 0.45
LATENCY_S, FLIPS = 1.2, 2.0


@dataclass(slots=True)
class Found:
    """Who said what, and what was heard, of all speakers."""

    rows: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = field(default_factory=dict)
    """Way of hearing -> (speaker, labels, answers) each time."""

    def add(self, way: str, speaker: str, labels: np.ndarray, said: np.ndarray) -> None:
        self.rows.setdefault(way, []).append((speaker, labels, said))

    def uar(self, way: str) -> dict[str, Any] | None:
        """Over all clips, and the mean, deviation and 95 % interval over speakers (bootstrap)."""
        rows = self.rows.get(way)
        if not rows:
            return None
        together = learn.recall(np.concatenate([r[1] for r in rows]), np.concatenate([r[2] for r in rows]))
        each = {
            s: np.mean([learn.recall(y, p) for who, y, p in rows if who == s]) for s in sorted({r[0] for r in rows})
        }
        values = np.array(list(each.values()))
        drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
        low, high = np.percentile(drawn, (2.5, 97.5))
        return {
            "uar": round(together, 3),
            "speakers_mean": round(float(values.mean()), 3),
            "speakers_sd": round(float(values.std()), 3),
            "speakers_95": [round(float(low), 3), round(float(high), 3)],
            "each": {s: round(float(v), 3) for s, v in each.items()},
        }

    def confusion(self, way: str) -> np.ndarray:
        """(classes, classes) clips, rows: what was said."""
        table = np.zeros((len(CLASSES), len(CLASSES)), int)
        for _, labels, said in self.rows.get(way, ()):
            np.add.at(table, (labels, said), 1)
        return table


def usual() -> F32:
    """What the live stream expects before it hears anything: mostly neutral."""
    out = np.zeros(len(CLASSES), np.float32)
    out[0] = build.USUAL
    return out


def hear(
    found: Found,
    speaker: str,
    labels: np.ndarray,
    answers: np.ndarray,
    shifts: ShiftModel,
    there: np.ndarray = EVERY_CLASS,
) -> None:
    """All ways of knowing one speaker. "Running" takes all classes to be alike, as they are in acted corpora; "live"
    expects mostly neutral, as the stream does; "open" may also say what the recordings do not have.

    :param labels: (n,) :param answers: (n, k) of the classifier to the speaker's clips.
    :param there: (classes,) bool, which the recordings have: no other is said.
    """
    classes = len(shifts.bias)
    shifts = replace(shifts, usual=expected(there))

    def said(answers: np.ndarray, shift: np.ndarray) -> np.ndarray:
        return decide(answers[:, :classes] - shift[:classes] + shifts.bias, there)

    none = np.zeros(answers.shape[1])
    found.add("plain", speaker, labels, said(answers, none))
    found.add("all known", speaker, labels, said(answers, shifts.shift(answers, iterations=30)))
    for order in range(ORDERS):
        random = np.random.default_rng(order)
        way = random.permutation(len(labels))
        heard = _running(answers[way], shifts, there)
        found.add("running", speaker, labels[way], heard)
        live = replace(shifts, usual=usual())
        found.add("live", speaker, labels[way], _running(answers[way], live, there))
        found.add("open", speaker, labels[way], _running(answers[way], replace(shifts, usual=None), said_at_all(there)))
        for first, last in STAGES:
            if len(way) > first:
                found.add(f"running {first}", speaker, labels[way][first:last], heard[first:last])
        neutral = random.permutation(np.flatnonzero(labels == NEUTRAL))[:KNOWN_NEUTRAL]
        rest = np.setdiff1d(np.arange(len(labels)), neutral)
        if len(neutral) == KNOWN_NEUTRAL and len(rest):
            shift = shifts.known(answers[neutral], NEUTRAL)
            found.add("neutral history", speaker, labels[rest], said(answers[rest], shift))


def expected(there: np.ndarray) -> F32:
    """(classes,) log odds where those ``there`` are alike and the others all but impossible. Where there is no boredom,
    a half of neutral sounds so."""
    out = np.where(there, 0.0, -3.0)
    if there[NEUTRAL] and not there[BORED]:
        out[[NEUTRAL, BORED]] = np.log(0.5)
    return out.astype(np.float32)


def said_at_all(there: np.ndarray) -> np.ndarray:
    """Every class, but boredom only where the recordings know it: a reading calls it neutral."""
    out = EVERY_CLASS.copy()
    out[BORED] = there[BORED]
    return out


def _heard_as_a_whole(model: EmotionModel, frames: F32) -> F32:
    """The mean of the answers to windows of a recording, as long as the stream's and half of one apart."""
    part = speech_part(frames)
    if len(part) <= WINDOW_HOPS * 5 // 4:
        return model.answers(described(frames))[0]
    firsts = range(0, len(part) - WINDOW_HOPS + 1, WINDOW_HOPS // 2)
    return np.mean([model.answers(functionals(part[a : a + WINDOW_HOPS]))[0] for a in firsts], axis=0)


def decide(scores: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(n, classes) log odds to classes (n,), only those ``there``. Where the recordings know no boredom it counts as
    neutral, as in a reading."""
    p = softmax(build.SHARPNESS * scores)
    if not there[BORED]:
        p[..., NEUTRAL] += p[..., BORED]
    return np.asarray(np.where(there, p, 0).argmax(axis=-1))


def _running(answers: np.ndarray, shifts: ShiftModel, there: np.ndarray) -> np.ndarray:
    """(n,) classes of clips (n, k) in the order in which they are heard, each with what was heard up to it."""
    classes, out = len(shifts.bias), np.empty(len(answers), int)
    shift = np.zeros(answers.shape[1])
    for n, clip in enumerate(answers):
        shift = shifts.shift(answers[: n + 1], shift)
        out[n] = decide(clip[:classes] - shift[:classes] + shifts.bias, there)
    return out


def emotion(
    weights: Path, data: Path | None = None, loso: bool = False, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """Judge the shipped weights on the recordings of ``data/index.csv``; with ``loso`` train on all its speakers but
    one and judge on that one, for each, decay chosen among the training speakers.

    Raises UsageError for unusable data.
    """
    if data is None:
        raise UsageError("eval emotion: give the recordings with --data DIR; DIR/index.csv has file,speaker,emotion")
    clips = build.clips_of(data) if loso else read(data)
    found, heard = Found(), Heard()
    if loso:
        with one_thread():  # a second thread would only spin: the matrices are small
            for at, (speaker, some, file) in enumerate(_left_out(clips, found, progress)):
                streamed(heard, clips, speaker, ~some, file, weights, LATENCY_TRIALS, at)
    else:
        file = weights / WEIGHTS_FILE
        model = EmotionModel(file)
        answers = np.stack([_heard_as_a_whole(model, frames_of(sound(clip.file))) for clip in clips.clips])
        labels = clips.labels
        if not clips.bored:
            labels[labels == BORED] = NEUTRAL
        there = np.isin(np.arange(len(CLASSES)), labels)
        for at, speaker in enumerate(np.unique(clips.speakers)):
            some = clips.speakers == speaker
            hear(found, str(speaker), labels[some], answers[some], model.speakers, there)
            streamed(heard, clips, str(speaker), some, file, weights, LATENCY_TRIALS, at)
            progress(at + 1, len(np.unique(clips.speakers)))
    return _result(clips, found, heard, loso)


def _left_out(clips: Clips, found: Found, progress: Progress) -> Iterator[tuple[str, np.ndarray, Path]]:
    """For each speaker who is left out: the name, which clips (n,) were learnt from, and a file of those weights."""
    labels, speakers = clips.labels, clips.speakers
    everyone = np.unique(speakers)
    if len(everyone) < 3:
        raise UsageError("--loso needs at least three speakers: give more recordings, or leave --loso out")
    made = kept.views(clips, build.COPIES, progress)
    judge, scale_of = None, None
    known: learn.Known = {}
    for at, speaker in enumerate(everyone):
        some = speakers != speaker
        decay = learn.choose_decay(made, labels, speakers, some, known)
        model = learn.classifier(made, labels, speakers, some, decay)
        hear(found, str(speaker), labels[~some], model.answers(made.plain[~some]), ShiftModel(model.bias, model.means))
        if judge is None or scale_of is None:  # whether a sound can be judged has nothing to do with who speaks
            judge, scale_of = build.trust_of(model, clips, made), model
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / WEIGHTS_FILE
            build.save(file, model, made, labels, speakers, _moved(judge, scale_of, model), some)
            yield str(speaker), some, file
        progress(at + 1, len(everyone))


def _moved(judge: build.Trust, old: Linear, new: Linear) -> build.Trust:
    """The same trust on another scale of the functionals."""
    weights: F32 = (judge.weights / old.std * new.std).astype(np.float32)
    return build.Trust(weights, judge.bias + float(((new.mean - old.mean) / old.std) @ judge.weights))


def _result(clips: Clips, found: Found, heard: Heard, loso: bool) -> dict[str, Any]:
    table = found.confusion("running")
    count = table.sum(axis=1)
    there = [c for c in range(len(CLASSES)) if count[c]]
    ways = {name: found.uar(name) for name in ("running", "live", "open", "plain", "neutral history", "all known")}

    def value(way: str) -> float | None:
        return (ways[way] or {}).get("uar")

    result = {
        "task": "emotion",
        "loso": loso,
        "clips": len(clips.clips),
        "speakers": len(set(clips.speakers.tolist())),
        "unknown_labels": clips.unknown,
        "uar": value("running"),
        "uar_plain": value("plain"),
        "uar_neutral_history": value("neutral history"),
        "uar_live": value("live"),
        "uar_open": value("open"),
        "uar_all_clips": value("all known"),
        "ways": ways,
        "by_clips_heard": {
            f"{first}-{last - 1}" if last < 10_000 else f"{first}-": (found.uar(f"running {first}") or {}).get("uar")
            for first, last in STAGES
        },
        "per_class": {CLASSES[c]: round(float(table[c, c] / count[c]), 3) for c in there},
        "labels": list(CLASSES),
        "confusion": table.tolist(),
        **heard.summary(),
    }
    result["missed_targets"] = _missed(result)
    return result


def _missed(result: dict[str, Any]) -> list[str]:
    least = TARGETS_LOSO if result["loso"] else {"uar": TARGET_OTHER}
    out = [
        f"{k}: {result[k]}, wanted at least {v}" for k, v in least.items() if result[k] is not None and result[k] < v
    ]
    out += [f"{c}: never recognised" for c, v in result["per_class"].items() if v == 0]
    if result["latency_s"] is not None and result["latency_s"] > LATENCY_S:
        out.append(f"latency_s: {result['latency_s']}, wanted at most {LATENCY_S}")
    if result["flips_per_minute"] is not None and result["flips_per_minute"] > FLIPS:
        out.append(f"flips_per_minute: {result['flips_per_minute']}, wanted at most {FLIPS}")
    return out


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes of the tables."""
    ways = []
    for name, row in result["ways"].items():
        if row:
            low, high = row["speakers_95"]
            mean, sd = row["speakers_mean"], row["speakers_sd"]
            ways.append([name, f"{row['uar']:.3f}", f"{mean:.3f}", f"{sd:.3f}", f"{low:.3f} to {high:.3f}"])
    confusion = [
        [name, str(sum(row)), f"{result['per_class'][name]:.2f}", *(str(n) for n in row)]
        for name, row in zip(result["labels"], result["confusion"], strict=True)
        if sum(row)
    ]
    notes = [f"left out, label not known: {name} ({n} clips)" for name, n in result["unknown_labels"].items()]
    notes += [
        f"clips of the speaker heard before {k}: {v}" for k, v in result["by_clips_heard"].items() if v is not None
    ]
    stream = [
        f"neutral speech, {result['neutral_s']:.0f} s: neutral {result['neutral_share']} of the time, "
        f"{result['flips_per_minute']} flips a minute"
        if result["neutral_share"] is not None
        else "no neutral speech in it",
        f"from neutral to another emotion, {result['latency_trials']} times: {result['latency_s']} s (median), "
        f"{result['latency_reached']} of them reached"
        if result["latency_trials"]
        else "no speaker with neutral speech and another emotion in it",
    ]
    return [
        ("Unweighted average recall", ["speaker", "uar", "mean of speakers", "sd", "95 %"], ways, notes),
        ("What was said and what was heard", ["said", "clips", "recall", *result["labels"]], confusion, []),
        ("As a stream", [], [], [*stream, *(f"missed: {m}" for m in result["missed_targets"])]),
    ]
